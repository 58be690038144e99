"""What is told of a member that does not serve, and when one may lose its data."""

import pytest
from bson import Timestamp

from tests.support.loading import load

health = load("_utils/mongodb_health.py")
utils = load("_utils/mongodb.py")

A, B, C = (f"db-{n}:27017" for n in (1, 2, 3))
# 2026-11-28 07:00:00 UTC
SEVEN = 1795849200


def member(name=B, state="RECOVERING", health=1, votes=1, **more):
    return {"name": name, "state": state, "health": health, "votes": votes, **more}


def at(minute):
    return Timestamp(SEVEN + 60 * minute, 1)


def test_too_stale_is_older_than_all_that_it_could_copy_from():
    told = health.trouble(member(), at(0), [at(10), at(20)])
    assert told == (
        "it cannot catch up: its last write is of 2026-11-28 07:00:00 UTC, and the oldest entry in "
        "the others' oplogs is of 2026-11-28 07:10:00 UTC; it has to copy all data anew: "
        "mongodb.resync on its node"
    )
    assert health.cannot_catch_up({"trouble": told})


@pytest.mark.parametrize(
    ("last", "oldest"), [(at(10), [at(10), at(20)]), (at(15), [at(20), at(9)])]
)
def test_one_that_reaches_back_far_enough_is_enough(last, oldest):
    told = health.trouble(member(), last, oldest)
    assert told.startswith("it catches up by itself: the others' oplogs reach back to 2026-11-28")
    assert not health.cannot_catch_up({"trouble": told})


@pytest.mark.parametrize(("last", "oldest"), [(None, [at(1)]), (at(0), [])])
def test_what_is_not_known_is_not_said(last, oldest):
    told = health.trouble(member(), last, oldest)
    assert told.startswith("it is catching up; whether it can is not known")
    assert not health.cannot_catch_up({"trouble": told})


def test_a_member_that_says_it_of_itself_is_believed():
    told = health.trouble(member(stale=True), at(0), [])
    assert told.startswith("it cannot catch up, as it says itself")
    assert told.endswith(health.RESYNC)


@pytest.mark.parametrize("state", ["PRIMARY", "SECONDARY", "ARBITER"])
def test_nothing_is_wrong_with_who_serves(state):
    assert health.trouble(member(state=state), at(0), [at(10)]) is None


def test_the_cause_of_silence_is_the_last_of_the_chain():
    message = "Error connecting to db-2:27017 :: caused by :: onInvoke :: caused by :: No route"
    down = member(state="(not reachable/healthy)", health=0, message=message)
    assert health.trouble(down) == "No route"
    assert health.trouble({**down, "message": None}) is None
    assert health.told(down) == f"{B} is (not reachable/healthy)"
    assert health.told({**down, "trouble": "No route"}).endswith("healthy): No route")


SYNC = {"source": A, "copied": 2**20, "total": 2**22, "left_s": 12.3, "failures": 2}


@pytest.mark.parametrize(
    ("sync", "told"),
    [
        (None, "it copies all data, it serves by itself then"),
        (
            {**SYNC, "failures": 0},
            f"it copies all data from {A}, 25 % of 4 MiB are there, some 12 s are left, it serves"
            " by itself then",
        ),
        (
            dict.fromkeys(SYNC) | {"failures": 2},
            "it copies all data, 2 attempts have failed, its log says why, it serves by itself"
            " then",
        ),
    ],
)
def test_how_far_a_copy_is_is_told_as_far_as_it_is_known(sync, told):
    assert health.trouble(member(state="STARTUP2"), None, [], sync) == told


def test_a_delayed_member_is_late_by_what_is_more():
    assert health.behind({"lag_s": 61.5, "delay_s": 60}) == 1.5
    assert health.behind({"lag_s": 3.0, "delay_s": 60}) == 0.0
    assert health.behind({"lag_s": 3.0, "delay_s": None}) == 3.0
    assert health.behind({"lag_s": None, "delay_s": 60}) is None


def test_notes_are_of_those_that_are_no_reason():
    seen = [member(A, "PRIMARY"), member(B), member(C, "STARTUP2")]
    assert health.notes(seen, [f"{B} is RECOVERING"]) == [f"{C} is STARTUP2"]
    assert health.sources(seen, C) == [A]


# Who may lose its data

P, S, R, D = "PRIMARY", "SECONDARY", "RECOVERING", "(not reachable/healthy)"


def three(*states, votes=(1, 1, 1)):
    return [
        member(name, state, int(state != D), vote)
        for name, state, vote in zip((A, B, C), states, votes, strict=True)
    ]


@pytest.mark.parametrize(
    "members",
    [three(P, R, S), three(P, S, S), three(P, D, S), three(P, R, "STARTUP2", votes=(1, 0, 0))],
)
def test_the_others_are_a_majority(members):
    assert health.keeps_majority(members, B) is None


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (three(S, P, S), f"{B} is the primary: let it step down first"),
        (three(S, R, S), "the set has no primary"),
        (three(P, R, D), "only 1 of 3 votes are of members that have the data"),
        (three(P, R, "STARTUP2"), "only 1 of 3 votes"),
        (three(P, R, "RECOVERING"), f"{C} is RECOVERING"),
        # Nothing could be had from an arbiter.
        (three(P, R, "ARBITER"), "only 1 of 3 votes"),
        (three(P, R, S, votes=(1, 1, 0)), "only 1 of 2 votes"),
        (three(P, R, S)[:1], f"{B} is no member; members are {A}"),
    ],
)
def test_a_member_that_must_keep_its_data(members, words):
    assert words in health.keeps_majority(members, B)


def test_what_is_not_acknowledged_as_asked_for_is_an_error():
    utils.acknowledged({"ok": 1.0})
    refused = {"code": 64, "codeName": "WriteConcernFailed", "errmsg": "waiting timed out"}
    with pytest.raises(utils.OperationFailure) as caught:
        utils.acknowledged({"ok": 1.0, "writeConcernError": refused})
    assert utils.explain(caught.value) == "waiting timed out (WriteConcernFailed, code 64)"
