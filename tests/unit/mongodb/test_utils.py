"""What the answers of MongoDB mean, and what may be done about them."""

import datetime

import pymongo.errors
import pytest
from bson import Timestamp
from salt.exceptions import CommandExecutionError

from tests.support.loading import load

utils = load("_utils/mongodb.py")
survey_of = load("_utils/mongodb_survey.py").survey
health = load("_utils/mongodb_health.py")

MEMBERS = ["db-1:27017", "db-2:27017", "db-3:27017"]


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("db-1:27017", ("db-1", 27017)),
        ("192.168.33.14:1", ("192.168.33.14", 1)),
        ("[fd00::1]:65535", ("fd00::1", 65535)),
    ],
)
def test_split_address(address, parts):
    assert utils.split_address(address) == parts


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("db-1", "names no port: write host:port, e.g. db-1:27017"),
        (":27017", "names no port"),
        ("db-1:", "no valid port"),
        ("db-1:0", "no valid port"),
        ("db-1:65536", "no valid port"),
        ("db-1:mongo", "no valid port"),
        ("fd00::1:27017", "ambiguous"),
        (27017, "names no port"),
    ],
)
def test_bad_addresses(address, words):
    with pytest.raises(ValueError, match=words):
        utils.split_address(address)


def test_roles_have_one_form_however_they_are_written():
    roles = ["readWrite", {"role": "read", "db": "b"}, {"db": "app", "role": "readWrite"}]
    normal = utils.normal_roles(roles)
    assert utils.role_names(normal, "app") == ["read@b", "readWrite@app"]
    assert utils.role_names(utils.normal_roles(reversed(roles)), "app") == utils.role_names(
        normal, "app"
    )
    assert utils.normal_roles([]) == []


@pytest.mark.parametrize("roles", ["read", None, [""], [{"role": "read"}], [1]])
def test_bad_roles(roles):
    with pytest.raises(ValueError, match="role"):
        utils.normal_roles(roles)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            pymongo.errors.OperationFailure(
                "x, full error: {…}",
                13,
                {"errmsg": "not authorized", "code": 13, "codeName": "Unauthorized"},
            ),
            "not authorized (Unauthorized, code 13)",
        ),
        (
            pymongo.errors.NotPrimaryError(
                "not primary",
                {"errmsg": "not primary", "code": 10107, "codeName": "NotWritablePrimary"},
            ),
            "not primary (NotWritablePrimary, code 10107)",
        ),
        (pymongo.errors.OperationFailure("so it is", 8000), "so it is (code 8000)"),
        (pymongo.errors.OperationFailure("nothing known"), "nothing known"),
        (
            pymongo.errors.ServerSelectionTimeoutError(
                "h:1: [Errno 111] Connection refused (configured timeouts: x), Timeout: 3.0s, <…>"
            ),
            "h:1: [Errno 111] Connection refused",
        ),
    ],
)
def test_errors_are_the_servers_words_and_code(error, line):
    assert utils.explain(error) == line


def test_long_errors_are_cut():
    error = pymongo.errors.OperationFailure("x" * 1000, 1)
    assert len(utils.explain(error)) < 320


def hello(**answer):
    return utils.describe("db-1:27017", {"isWritablePrimary": False, "secondary": False, **answer})


def test_describe_each_state_of_a_server():
    fresh = hello(isreplicaset=True, info="Does not have a valid replica set config")
    assert (fresh["replication"], fresh["initialized"], fresh["state"]) == (True, False, None)
    alone = utils.describe("a:1", {"isWritablePrimary": True})
    assert (alone["replication"], alone["state"], alone["writable"]) == (False, None, True)
    assert hello(setName="rs0", isWritablePrimary=True)["state"] == "PRIMARY"
    assert hello(setName="rs0", secondary=True)["state"] == "SECONDARY"
    assert hello(setName="rs0", arbiterOnly=True)["state"] == "ARBITER"
    assert hello(setName="rs0")["state"] == "OTHER"
    seen = hello(setName="rs0", hosts=["a:1"], passives=["b:1"], arbiters=["c:1"])
    assert seen["hosts"] == ["a:1", "b:1", "c:1"]
    assert hello(setName="rs0", tags=utils.UNFINISHED)["unfinished"] is True
    assert hello(setName="rs0", tags={"rack": "1"})["unfinished"] is False


# Logins


def test_privileges_have_one_form_however_they_are_written():
    counters = {"db": "app", "collection": "counters"}
    normal = [
        {"resource": {"cluster": True}, "actions": ["serverStatus"]},
        {"resource": counters, "actions": ["find", "insert", "update"]},
    ]
    written = [
        {"actions": ["update", "find"], "resource": {"collection": "counters", "db": "app"}},
        {"resource": {"cluster": True}, "actions": ["serverStatus"]},
        {"resource": counters, "actions": ["insert", "find"]},
    ]
    assert utils.normal_privileges(written) == sorted(normal, key=lambda each: repr(each))
    assert utils.normal_privileges(reversed(written)) == utils.normal_privileges(written)
    assert utils.normal_privileges([]) == []


@pytest.mark.parametrize(
    "privileges",
    [
        "find",
        None,
        {"resource": {}, "actions": ["find"]},
        ["find"],
        [{"resource": {"db": "app", "collection": ""}}],
        [{"resource": "app", "actions": ["find"]}],
        [{"resource": {"cluster": True}, "actions": "find"}],
        [{"resource": {"cluster": True}, "actions": []}],
    ],
)
def test_bad_privileges(privileges):
    with pytest.raises(ValueError, match="privilege"):
        utils.normal_privileges(privileges)


# survey


def view(number, hosts=(), *, name="rs0", writable=False, version=1, **more):
    """What db-<number> says: a member of the set of ``hosts``, or of none."""
    return {
        "address": f"db-{number}:27017",
        "replication": True,
        "initialized": bool(hosts),
        "set": name if hosts else None,
        "me": f"db-{number}:27017" if hosts else None,
        "primary": None,
        "hosts": list(hosts),
        "version": version if hosts else None,
        "state": ("PRIMARY" if writable else "SECONDARY") if hosts else None,
        "writable": writable,
        "unfinished": False,
        "process": f"process-{number}",
        **more,
    }


def survey(views, here=0, members=MEMBERS, known=None):
    return survey_of("rs0", members, views[here], dict(zip(members, views, strict=True)), known)


def test_nothing_exists_yet():
    found = survey([view(1), view(2), view(3)], here=1)
    assert found["conflicts"] == []
    assert found["exists"] is False
    assert found["missing"] == MEMBERS
    assert found["own"] == MEMBERS[1]
    assert found["contact"] is None


def test_a_silent_member_is_named_and_may_be_this_node():
    found = survey([view(1), None, view(3)])
    assert found["silent"] == [MEMBERS[1]]
    found = survey_of(
        "rs0", MEMBERS, view(9), {MEMBERS[0]: None, MEMBERS[1]: view(2), MEMBERS[2]: view(3)}
    )
    assert found["conflicts"] == []
    assert found["own"] is None


def test_the_set_is_whole():
    found = survey([view(n, MEMBERS, writable=n == 2) for n in (1, 2, 3)])
    assert found["exists"] is True
    assert (found["conflicts"], found["missing"], found["surplus"]) == ([], [], [])
    assert found["contact"] == MEMBERS[1]


def test_a_re_imaged_node_finds_the_set_of_the_others():
    found = survey([view(1), view(2, MEMBERS), view(3, MEMBERS)])
    assert (found["exists"], found["state"], found["missing"]) == (True, None, [])
    assert found["conflicts"] == []


def test_the_newest_configuration_is_believed():
    found = survey([view(1, MEMBERS[:2]), view(2, MEMBERS, version=2), None])
    assert found["members"] == MEMBERS
    assert found["contact"] == MEMBERS[1]


def test_missing_and_surplus():
    hosts = [*MEMBERS[:2], "db-9:27017"]
    found = survey([view(1, hosts), view(2, hosts), view(3)])
    assert found["missing"] == [MEMBERS[2]]
    assert found["surplus"] == ["db-9:27017"]


def test_a_hidden_member_tells_of_itself_where_no_admin_can_be_asked():
    found = survey([view(n, MEMBERS[:2], me=MEMBERS[n - 1]) for n in (1, 2, 3)])
    assert (found["members"], found["missing"]) == (MEMBERS, [])


def test_hidden_members_count_when_an_admin_sees_them():
    found = survey([view(n, MEMBERS[:2]) for n in (1, 2, 3)], known=MEMBERS)
    assert found["missing"] == []


@pytest.mark.parametrize(
    ("views", "words"),
    [
        ([view(1), view(2, MEMBERS, name="other"), view(3)], "db-2:27017 already belongs"),
        ([view(1), view(2), view(3, replication=False)], "db-3:27017 runs without replication"),
        ([view(1, MEMBERS[:1]), view(2, MEMBERS[1:2]), view(3)], "2 separate sets named rs0"),
    ],
)
def test_what_forbids_to_do_anything(views, words):
    (conflict,) = survey(views)["conflicts"]
    assert words in conflict


def test_this_node_must_be_one_of_the_members():
    views = dict(zip(MEMBERS, [view(1), view(2), view(3)], strict=True))
    (conflict,) = survey_of("rs0", MEMBERS, view(9), views)["conflicts"]
    assert "db-9:27017) is none of the declared members" in conflict


# Health and hand-over


def members(*states, lags=(0, 0, 0), priorities=(1, 1, 1), votes=(1, 1, 1)):
    return [
        {
            "name": MEMBERS[n],
            "state": state,
            "health": int(state in ("PRIMARY", "SECONDARY", "ARBITER", "RECOVERING")),
            "votes": votes[n],
            "priority": priorities[n],
            "lag_s": lags[n],
        }
        for n, state in enumerate(states)
    ]


P, S, D, A, R = "PRIMARY", "SECONDARY", "(not reachable/healthy)", "ARBITER", "RECOVERING"


@pytest.mark.parametrize(
    ("states", "primary", "more", "reasons"),
    [
        ((P, S, S), MEMBERS[0], {}, []),
        ((P, S, D), MEMBERS[0], {}, []),
        ((P, S, D), MEMBERS[0], {"need_all": True}, [f"db-3:27017 is {D}"]),
        ((P, S, R), MEMBERS[0], {"need_all": True}, ["db-3:27017 is RECOVERING"]),
        ((P, S, D), MEMBERS[0], {"expected": MEMBERS[:2]}, []),
        ((P, S, S), MEMBERS[0], {"expected": ["x:1"]}, ["x:1 is not a member"]),
        ((S, D, D), None, {}, ["the set has no primary", "only 1 of 3 voting members are up"]),
        ((P, S, A), MEMBERS[0], {"need_all": True}, []),
        ((P,), MEMBERS[0], {"need_all": True}, []),
    ],
)
def test_unhealthy(states, primary, more, reasons):
    assert health.unhealthy(members(*states), primary, **more) == reasons


def test_half_is_no_majority_and_members_without_a_vote_do_not_count():
    assert health.unhealthy(members(P, D), MEMBERS[0]) == ["only 1 of 2 voting members are up"]
    seen = members(P, S, D, votes=(1, 0, 1))
    assert health.unhealthy(seen, MEMBERS[0]) == ["only 1 of 2 voting members are up"]
    unknown = members(P, S, D, votes=(None, None, None))
    assert health.unhealthy(unknown, MEMBERS[0]) == []


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (members(P), "the set has no other member"),
        (members(P, D, D), "no electable secondary has caught up: db-2:27017 is (not reach"),
        (members(P, S, S, lags=(0, 9, 5)), "db-2:27017 is SECONDARY, 9 s behind"),
        (members(P, S, S, lags=(0, None, None)), "no electable secondary"),
        (members(P, S, S, priorities=(1, 0, 0)), "priority 0"),
        (members(P, A), "db-2:27017 is ARBITER"),
        (members(P, S, D, votes=(1, 0, 1)), "nobody could be elected"),
    ],
)
def test_nobody_to_hand_over_to(seen, words):
    assert words in health.no_successor(seen, 2)


def test_one_ready_secondary_is_enough():
    assert health.no_successor(members(P, S, D, lags=(0, 2, None)), 2) is None


class OplogOf:
    """A primary whose oplog has these entries; only what ``lag`` asks of one."""

    def __init__(self, *entries):
        self.local = {"oplog.rs": self}
        self.entries = entries

    def find_one(self, wanted, _fields, sort):
        assert sort == [("$natural", 1)]
        return next((e for e in self.entries if e["ts"] > wanted["ts"]["$gt"]), None)


def test_lag_is_the_age_of_the_oldest_write_that_is_missing():
    now = datetime.datetime(2026, 1, 1, 12, 0, 30)
    entries = [
        {"ts": Timestamp(second, 1), "wall": datetime.datetime(2026, 1, 1, 12, 0, second)}
        for second in (1, 10, 28)
    ]
    primary = OplogOf(*entries)
    newest = entries[-1]["ts"]
    assert utils.lag(primary, newest, newest, now) == 0.0
    assert utils.lag(primary, newest, Timestamp(10, 1), now) == 2.0
    assert utils.lag(primary, newest, Timestamp(1, 1), now) == 20.0


class Closed:
    """A primary in the middle of an initiation that tells strangers no more about its set."""

    def __init__(self):
        self.admin = self

    def command(self, name):
        if name != "hello":
            raise pymongo.errors.OperationFailure("not authorized", utils.UNAUTHORIZED)
        return {"setName": "rs0", "setVersion": 1, "tags": utils.UNFINISHED}


def test_an_initiation_that_strangers_may_not_finish_is_refused_as_such():
    with pytest.raises(pymongo.errors.OperationFailure) as caught:
        utils.finish_initiation(Closed(), lambda *_: {}, 0)
    assert utils.explain(caught.value) == "the server does not tell its members (code 13)"


def test_turns_come_once_at_least_and_end_in_time():
    assert len(list(utils.turns(0))) == 1
    assert 2 <= len(list(utils.turns(0.05, interval=0.01))) <= 6


def test_what_is_awaited_is_looked_for_until_it_is_there():
    calls = []

    def probe():
        calls.append(1)
        if len(calls) == 1:
            try:
                raise pymongo.errors.AutoReconnect("gone")
            except pymongo.errors.AutoReconnect as err:
                raise CommandExecutionError("it is restarting") from err
        return len(calls) == 3, len(calls)

    assert utils.awaited(probe, 5, "the third call") == 3
    with pytest.raises(CommandExecutionError, match="not within 0 s: a sign; last seen: no"):
        utils.awaited(lambda: (False, "no"), 0, "a sign")


def test_a_refusal_is_not_awaited():
    def probe():
        raise CommandExecutionError("not authorized")

    with pytest.raises(CommandExecutionError, match="^not authorized$"):
        utils.awaited(probe, 5, "anything")
