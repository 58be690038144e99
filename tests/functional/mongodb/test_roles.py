"""Roles of a running set, from any of its nodes."""

import pytest
from salt.exceptions import CommandExecutionError

COUNTERS = {"db": "counterapp", "collection": "counters"}
WANTED = {
    "database": "counterapp",
    "privileges": [{"resource": COUNTERS, "actions": ["insert", "find"]}],
    "roles": [{"role": "read", "db": "counterapp"}],
}
MADE = {
    "name": "looker",
    "database": "counterapp",
    "privileges": [{"resource": COUNTERS, "actions": ["find", "insert"]}],
    "roles": ["read@counterapp"],
}


@pytest.fixture
def secondary(cluster):
    """A node that is not the primary, in a set without the role."""
    node = cluster.secondaries[0]
    if node.call("role_info", "looker", "counterapp"):
        node.call("role_remove", "looker", "counterapp", confirm="looker")
    return node


def test_a_role_is_made_kept_and_put_right(cluster, secondary):
    plan = secondary.state("role_present", "looker", test=True, **WANTED)
    assert plan["result"] is None
    assert plan["changes"] == {
        "role": {"old": None, "new": "looker"},
        "privileges": {"old": [], "new": MADE["privileges"]},
        "roles": {"old": [], "new": MADE["roles"]},
    }
    assert secondary.call("role_info", "looker", "counterapp") is None

    made = secondary.state("role_present", "looker", **WANTED)
    assert (made["result"], made["changes"]) == (True, plan["changes"]), made
    assert secondary.call("role_info", "looker", "counterapp") == MADE
    for node in cluster.nodes:
        for test in (True, False):
            again = node.state("role_present", "looker", test=test, **WANTED)
            assert (again["result"], again["changes"]) == (True, {})

    fewer = {"database": "counterapp", "privileges": [{"resource": COUNTERS, "actions": ["find"]}]}
    expected = {
        "privileges": {"old": MADE["privileges"], "new": fewer["privileges"]},
        "roles": {"old": ["read@counterapp"], "new": []},
    }
    for test, result in ((True, None), (False, True)):
        ret = secondary.state("role_present", "looker", test=test, **fewer)
        assert (ret["result"], ret["changes"]) == (result, expected)


def test_the_functions_under_the_state(secondary):
    arguments = ("looker", WANTED["privileges"], "counterapp", WANTED["roles"])
    assert secondary.call("role_create", *arguments) is True
    with pytest.raises(CommandExecutionError, match="already exists"):
        secondary.call("role_create", *arguments)
    assert secondary.call("role_update", "looker", [], "counterapp") is True
    emptied = {**MADE, "privileges": [], "roles": []}
    assert secondary.call("role_info", "looker", "counterapp") == emptied
    # What MongoDB brings is no role of ours, so nothing is held against it.
    assert secondary.call("role_info", "readWrite", "counterapp") is None
    with pytest.raises(CommandExecutionError, match="RoleNotFound, code 31"):
        secondary.call("role_update", "nosuch", [])
    with pytest.raises(CommandExecutionError, match="say confirm=looker"):
        secondary.call("role_remove", "looker", "counterapp")
    assert secondary.call("role_remove", "looker", "counterapp", confirm="looker") is True
    assert secondary.call("role_info", "looker", "counterapp") is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"privileges": [{"resource": COUNTERS}]}, "is no privilege: write a dict of resource"),
        ({"privileges": [{"resource": COUNTERS, "actions": ["fly"]}]}, "fly"),
        ({"privileges": [{"resource": {"cluster": True}, "actions": ["shutdown"]}]}, "the cluster"),
        ({"roles": ["nosuch"]}, "RoleNotFound, code 31"),
    ],
)
def test_what_cannot_be_is_said(secondary, arguments, words):
    ret = secondary.state("role_present", "looker", **{**WANTED, **arguments})
    assert (ret["result"], ret["changes"]) == (False, {})
    assert words in ret["comment"]
    assert secondary.call("role_info", "looker", "counterapp") is None
