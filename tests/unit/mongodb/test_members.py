"""How members are written, what a set can be, and the steps from one configuration to another."""

import copy

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.support.loading import load

members = load("_utils/mongodb_members.py")
utils = load("_utils/mongodb.py")

A, B, C, D = (f"db-{n}:27017" for n in (1, 2, 3, 4))


def form(host=A, **settings):
    return members.form({"host": host, **settings})


def config(*entries):
    """A configuration as a server shows it: all settings of each member."""
    full = [
        {"_id": number, "buildIndexes": True, **members.DEFAULTS, **entry}
        for number, entry in enumerate(entries)
    ]
    return {"_id": "rs0", "version": 5, "members": copy.deepcopy(full)}


THREE = config({"host": A}, {"host": B}, {"host": C})


# One member


def test_a_mere_address_says_nothing_of_settings():
    assert members.form(A) == {"host": A, "settings": None}


def test_what_a_mapping_leaves_out_has_mongodbs_default():
    assert form(priority=2)["settings"] == {**members.DEFAULTS, "priority": 2}
    assert form()["settings"] == members.DEFAULTS


@pytest.mark.parametrize("written", [{}, {"priority": 0}, {"priority": 1}])
def test_an_arbiter_has_no_priority_as_the_server_has_it(written):
    assert form(arbiterOnly=True, **written)["settings"]["priority"] == 0


RIGHT = [
    ({"votes": 0}, {"priority": 0}, "a member without a vote cannot be elected"),
    ({"votes": 0, "priority": 3}, {"priority": 0}, "a member without a vote cannot be elected"),
    ({"hidden": True}, {"priority": 0}, "a hidden member cannot be elected"),
    (
        {"secondaryDelaySecs": 60},
        {"priority": 0, "hidden": True},
        "a delayed member cannot be elected",
    ),
    (
        {"secondaryDelaySecs": 60, "priority": 0},
        {"hidden": True},
        "clients would read what is old from a delayed member",
    ),
    ({"arbiterOnly": True, "hidden": True}, {"hidden": False}, "an arbiter holds no data"),
    ({"arbiterOnly": True, "tags": {"a": "b"}}, {"tags": {}}, "an arbiter holds no data"),
    (
        {"arbiterOnly": True, "secondaryDelaySecs": 5},
        {"secondaryDelaySecs": 0},
        "an arbiter holds no data",
    ),
    ({"arbiterOnly": True, "votes": 0}, {"votes": 1}, "an arbiter is there for its vote"),
    ({"arbiterOnly": True, "priority": 2}, {"priority": 0}, "an arbiter cannot be elected"),
]


@pytest.mark.parametrize(("written", "repair", "why"), RIGHT)
def test_a_wrong_form_is_refused_with_the_right_one(written, repair, why):
    with pytest.raises(ValueError, match=why) as refused:
        form(**written)
    told = str(refused.value)
    assert told.startswith(f"{A}: ")
    right = yaml.safe_load(told.partition(": write ")[2])
    assert right["host"] == A
    # What is told is taken, and is what was meant but for what cannot be.
    settings = members.form(right)["settings"]
    assert settings.items() >= {**written, **repair}.items()


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("delay", "secondaryDelaySecs"),
        ("slaveDelay", "secondaryDelaySecs"),
        ("secondaryDelay", "secondaryDelaySecs"),
        ("arbiter", "arbiterOnly"),
        ("prio", "priority"),
        ("Priority", "priority"),
        ("vote", "votes"),
        ("tag", "tags"),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest(key, meant):
    with pytest.raises(ValueError, match=f"has the unknown key {key}: write {meant}$"):
        members.form({"host": A, key: 1})


def test_a_key_that_is_near_to_none_is_told_with_all():
    with pytest.raises(ValueError, match="unknown key buildIndexes: there are host, votes, prio"):
        members.form({"host": A, "buildIndexes": False})
    with pytest.raises(ValueError, match="unknown key hots: write host"):
        members.form({"hots": A})


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"votes": 2}, "votes is 2: write 0 or 1"),
        ({"votes": True}, "votes is True: write 0 or 1"),
        ({"priority": -1}, "priority is -1: write a number from 0 to 1000"),
        ({"priority": "high"}, "priority is 'high'"),
        ({"priority": float("nan")}, "priority is nan"),
        ({"hidden": "yes"}, "hidden is 'yes': write true or false"),
        ({"secondaryDelaySecs": 1.5}, "secondaryDelaySecs is 1.5: write whole seconds"),
        ({"secondaryDelaySecs": 10**9}, "secondaryDelaySecs is 1000000000"),
        ({"arbiterOnly": 1}, "arbiterOnly is 1: write true or false"),
        ({"tags": {"rack": 1}}, "tags is {'rack': 1}: write a mapping of texts"),
        ({"tags": ["a"]}, "tags is"),
    ],
)
def test_a_value_of_another_kind_is_named(written, words):
    with pytest.raises(ValueError, match=words):
        form(**written)


def test_a_mapping_without_a_host_is_named():
    with pytest.raises(ValueError, match=r"\{priority: 0\} names no host"):
        members.form({"priority": 0})


# All together


@pytest.mark.parametrize("wrong", ["a:1,b:1", {}, {"host": A}, None, [], 5])
def test_members_are_a_list(wrong):
    with pytest.raises(ValueError, match="must be a list"):
        members.forms(wrong)


def test_seven_votes_are_the_most():
    eight = [{"host": f"db-{n}:1"} for n in range(8)]
    with pytest.raises(ValueError, match="write {host: db-7:1, votes: 0, priority: 0}"):
        members.forms(eight)
    eight[3] = {"host": "db-3:1", "votes": 0, "priority": 0}
    assert len(members.forms(eight)) == 8
    # Of what is not said nobody knows whether it is too much.
    assert len(members.forms([each["host"] for each in eight])) == 8


def test_one_at_least_can_be_elected():
    with pytest.raises(ValueError, match="no member could be elected"):
        members.forms([{"host": A, "priority": 0}, {"host": B, "arbiterOnly": True}])
    assert members.forms([{"host": A, "priority": 0}, B])


def test_there_is_one_arbiter_at_most_and_no_more_than_fifty_members():
    with pytest.raises(ValueError, match=f"{B} and {C} are arbiters: one is enough"):
        members.forms([A, {"host": B, "arbiterOnly": True}, {"host": C, "arbiterOnly": True}])
    with pytest.raises(ValueError, match="51 members are more than the 50"):
        members.forms([f"db-{n}:1" for n in range(51)])


# Steps


def go(start, wanted, primary=None):
    """Return the configurations on the way, and check what MongoDB asks of each step."""
    way = [start]
    while (after := members.step(way[-1], wanted, primary)) is not None:
        votes = [sum(each["votes"] for each in found["members"]) for found in (way[-1], after)]
        changed = [
            old["host"]
            for old, new in zip(way[-1]["members"], after["members"], strict=True)
            if old != new
        ]
        assert abs(votes[0] - votes[1]) <= 1
        assert len(changed) == 1
        way.append(after)
        assert len(way) < 20
    return way[1:]


def test_nothing_is_done_to_what_is_as_declared():
    assert go(THREE, [members.form(each) for each in (A, B, C)]) == []
    assert go(THREE, [form(A), form(B), form(C)]) == []


def test_members_change_one_after_the_other():
    wanted = [form(A), form(B, votes=0, priority=0), form(C, priority=0, hidden=True)]
    assert members.differing(THREE, wanted) == {
        B: {"votes": {"old": 1, "new": 0}, "priority": {"old": 1, "new": 0}},
        C: {"priority": {"old": 1, "new": 0}, "hidden": {"old": False, "new": True}},
    }
    first, second = go(THREE, wanted)
    assert [each["votes"] for each in first["members"]] == [1, 0, 1]
    assert [each["hidden"] for each in second["members"]] == [False, False, True]
    assert second["members"][0]["buildIndexes"] is True


def test_the_order_is_one_that_each_step_can_be_in():
    start = config({"host": A}, {"host": B, "priority": 0})
    swapped = go(start, [form(A, priority=0), form(B)])
    assert [each["priority"] for each in swapped[0]["members"]] == [1, 1]
    assert [each["priority"] for each in swapped[1]["members"]] == [0, 1]
    seven = [{"host": f"db-{n}:1"} for n in range(7)]
    start = config(*seven, {"host": "db-7:1", "votes": 0, "priority": 0})
    swapped = go(start, [form("db-7:1"), form("db-0:1", votes=0, priority=0)])
    assert [sum(each["votes"] for each in found["members"]) for found in swapped] == [6, 7]


def test_the_primary_can_be_elected_until_it_has_stepped_down():
    wanted = [form(A, priority=0), form(C, priority=2)]
    with pytest.raises(ValueError, match=f"{A} is the primary.*step down first"):
        go(THREE, wanted, primary=A)
    assert "step down first" in members.blocked(THREE, wanted, A)
    assert members.blocked(THREE, wanted, B) is None
    assert len(go(THREE, wanted, primary=B)) == 2


def test_an_arbiter_cannot_get_data_where_it_stands():
    wanted = [form(C, arbiterOnly=True)]
    with pytest.raises(ValueError, match=f"take it out .mongodb.remove_member {C} confirm={C}.*"):
        members.step(THREE, wanted, None)
    arbiter = config({"host": A}, {"host": B}, {"host": C, "arbiterOnly": True, "priority": 0})
    assert "a member with data" in members.blocked(arbiter, [form(C)], None)


def test_a_set_that_nobody_could_lead_is_refused_before_anything():
    wanted = [form(host, priority=0) for host in (A, B, C)]
    assert "no member could be elected" in members.blocked(THREE, wanted, None)
    with pytest.raises(ValueError, match="no member could be elected"):
        go(THREE, wanted)


def test_an_older_server_gets_the_names_that_it_knows():
    old = config({"host": A}, {"host": B})
    for entry in old["members"]:
        entry["slaveDelay"] = entry.pop("secondaryDelaySecs")
    [after] = go(old, [form(B, priority=0, hidden=True, secondaryDelaySecs=60)])
    assert after["members"][1]["slaveDelay"] == 60
    assert "secondaryDelaySecs" not in after["members"][1]


# Coming and going


@pytest.mark.parametrize("wanted", [form(D), members.form(D), form(D, priority=0, hidden=True)])
def test_a_new_member_has_no_vote_until_it_has_the_data(wanted):
    joining = members.adding(THREE, wanted)
    new = joining["members"][-1]
    assert (new["_id"], new["host"], new["votes"], new["priority"]) == (3, D, 0, 0)
    assert members.is_joining(new)
    assert not any(map(members.is_joining, joining["members"][:-1]))
    # It is nobody's business meanwhile.
    assert members.adding(joining, wanted) is None
    assert members.differing(joining, [wanted]) == {}
    done = members.admitting(joining, wanted)
    settings = members.settings_of(done["members"][-1])
    assert settings == (wanted["settings"] or members.DEFAULTS)
    assert members.admitting(done, wanted) is None


def test_an_arbiter_waits_for_no_data():
    added = members.adding(THREE, form(D, arbiterOnly=True))["members"][-1]
    assert (added["votes"], added["priority"], added["tags"]) == (1, 0, {})


def test_a_vote_too_many_is_refused_before_anything_is_copied():
    full = config(*({"host": f"db-{n}:1"} for n in range(7)))
    with pytest.raises(ValueError, match="7 votes at most"):
        members.adding(full, form(D))
    assert members.adding(full, form(D, votes=0, priority=0))


def test_the_last_that_could_be_elected_stays():
    start = config({"host": A}, {"host": B, "priority": 0})
    with pytest.raises(ValueError, match="no member could be elected"):
        members.removing(start, A)
    assert [each["host"] for each in members.removing(start, B)["members"]] == [A]
    assert members.removing(start, D) is None


# The beginning


def test_only_the_initiator_may_be_elected_at_first_and_then_all_are_as_declared():
    declared = [members.form(A), form(B, priority=5), form(C, priority=0, hidden=True)]
    boot = members.boot_config("rs0", declared, B)
    assert [each["priority"] for each in boot["members"]] == [0, 1, 0]
    assert boot["members"][1]["tags"] == members.UNFINISHED == utils.UNFINISHED
    seen = [{"id": n, "name": name} for n, name in enumerate((A, B, C))]
    final = members.final_config("rs0", 2, seen, declared)
    assert final["version"] == 2
    assert final["members"] == [
        {"_id": 0, "host": A},
        {"_id": 1, "host": B, "priority": 5},
        {"_id": 2, "host": C, "priority": 0, "hidden": True},
    ]
    assert "settings" not in final


def test_votes_are_not_changed_by_the_end_of_an_initiation():
    declared = [form(A), form(B, votes=0, priority=0), form(C, arbiterOnly=True)]
    boot = members.boot_config("rs0", declared, A)
    final = members.final_config(
        "rs0", 2, [{"id": n, "name": each["host"]} for n, each in enumerate(declared)], declared
    )
    for found in (boot, final):
        assert [each.get("votes", 1) for each in found["members"]] == [1, 0, 1]
        assert found["members"][2]["arbiterOnly"] is True


def test_who_could_not_be_elected_does_not_initiate():
    with pytest.raises(ValueError, match=f"{A} cannot be elected as it is declared"):
        members.boot_config("rs0", [form(A, priority=0), form(B)], A)


SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "votes": st.sampled_from([0, 1]),
        "priority": st.sampled_from([0, 0.5, 1, 2]),
        "hidden": st.booleans(),
        "secondaryDelaySecs": st.sampled_from([0, 60]),
        "tags": st.sampled_from([{}, {"rack": "a"}]),
    },
)


@given(st.lists(SETTINGS, min_size=9, max_size=9), st.lists(SETTINGS, min_size=9, max_size=9))
def test_from_any_set_to_any_other_each_step_is_one_that_mongodb_takes(before, after):
    def declared(written):
        found = []
        for number, settings in enumerate(written):
            try:
                found.append(form(f"db-{number}:1", **settings))
            except ValueError:
                found.append(form(f"db-{number}:1", votes=0, priority=0))
        members.check_together({each["host"]: each["settings"] for each in found})
        return found

    try:
        old, new = declared(before), declared(after)
    except ValueError:
        return
    start = config(*({"host": each["host"], **each["settings"]} for each in old))
    if members.blocked(start, new, None):
        return
    way = go(start, new)
    assert members.differing(way[-1] if way else start, new) == {}
