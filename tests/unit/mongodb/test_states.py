"""What the states do when the world changes between their look and their deed."""

from typing import ClassVar
from unittest.mock import patch

import pytest
from salt.exceptions import CommandExecutionError

from tests.support.loading import load

state = load("_states/mongodb.py")
utils = load("_utils/mongodb.py")
forms = load("_utils/mongodb_members.py").forms

MEMBERS = ["db-1:1", "db-2:1", "db-3:1"]
WHOLE = {
    "conflicts": [],
    "exists": True,
    "members": MEMBERS,
    "missing": [],
    "surplus": [],
    "silent": [],
    "own": MEMBERS[0],
    "state": "SECONDARY",
    "unfinished": False,
    "contact": MEMBERS[0],
    "differing": {},
    "blocked": None,
    "first": None,
}
SMALL = {**WHOLE, "members": MEMBERS[:1], "missing": MEMBERS[1:]}


@pytest.fixture
def salt_functions():
    """The functions a state calls; a test puts in those that it is about."""
    return {
        "mongodb.ping": lambda: True,
        "mongodb.wait_member": lambda **_: {},
        "mongodb.is_primary": lambda: True,
    }


@pytest.fixture
def configure_loader_modules(salt_functions):
    return {
        state: {
            "__opts__": {"id": "db-1", "test": False},
            "__salt__": salt_functions,
            "__utils__": {
                "mongodb_members.forms": forms,
                **{
                    f"mongodb.{name}": getattr(utils, name)
                    for name in ("check_members", "normal_privileges", "normal_roles", "role_names")
                },
            },
        }
    }


def in_turn(*answers):
    left = list(answers)
    return lambda *_, **__: left.pop(0) if len(left) > 1 else left[0]


def failing(*_, **__):
    raise CommandExecutionError("the server said no")


def test_members_added_before_a_failure_are_reported(salt_functions):
    salt_functions["mongodb.survey"] = in_turn(SMALL)
    asked = []

    def add_member(member, _contact, **_):
        asked.append(member)
        if member == MEMBERS[2]:
            failing()

    salt_functions["mongodb.add_member"] = add_member
    ret = state.replica_set_present("rs0", MEMBERS)
    assert ret["result"] is False
    assert ret["comment"] == "the server said no"
    assert ret["changes"] == {"members": {"old": MEMBERS[:1], "new": MEMBERS[:2]}}
    assert asked == MEMBERS[1:]


class TestLeaving:
    """Members that are about to be taken out are none of the declared, and in nobody's way."""

    STAYS = MEMBERS[:1]
    SURPLUS = {**WHOLE, "surplus": MEMBERS[1:]}

    def test_they_are_borne_with(self, salt_functions):
        salt_functions["mongodb.survey"] = in_turn(self.SURPLUS)
        ret = state.replica_set_present("rs0", self.STAYS, leaving=MEMBERS[1:])
        assert (ret["result"], ret["changes"]) == (True, {})

    def test_any_other_is_reported(self, salt_functions):
        salt_functions["mongodb.survey"] = in_turn(self.SURPLUS)
        ret = state.replica_set_present("rs0", self.STAYS, leaving=MEMBERS[2:])
        assert ret["result"] is False
        assert "not declared: db-2:1. Declare them" in ret["comment"]

    def test_they_stay_in_what_would_be_changed(self, salt_functions, configure_loader_modules):
        salt_functions["mongodb.survey"] = in_turn(
            {**self.SURPLUS, "missing": ["db-4:1"], "surplus": MEMBERS[2:]}
        )
        with patch.dict(state.__opts__, {"test": True}):
            ret = state.replica_set_present("rs0", [*MEMBERS[:2], "db-4:1"], leaving=MEMBERS[2:])
        assert ret["result"] is None
        assert set(ret["changes"]["members"]["new"]) == {*MEMBERS, "db-4:1"}


def test_copying_all_data_does_not_count_for_the_rest(salt_functions, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(state.time, "monotonic", lambda: now[0])
    salt_functions["mongodb.survey"] = in_turn(SMALL, WHOLE)
    asked = []

    def add_member(member, _contact, timeout, data_timeout):
        asked.append((member, timeout, data_timeout))
        now[0] += 1000

    salt_functions["mongodb.add_member"] = add_member
    ret = state.replica_set_present("rs0", MEMBERS, timeout=120, data_timeout=3600)
    assert ret["result"] is True
    assert asked == [(member, 120, 3600) for member in MEMBERS[1:]]


def test_a_set_that_is_not_as_declared_afterwards_fails(salt_functions):
    salt_functions["mongodb.survey"] = in_turn(SMALL)
    salt_functions["mongodb.add_member"] = lambda *_, **__: {}
    ret = state.replica_set_present("rs0", MEMBERS)
    assert ret["result"] is False
    assert "is not as declared: missing: db-2:1, db-3:1" in ret["comment"]


def test_a_set_that_got_a_surplus_meanwhile_fails(salt_functions):
    surplus = {**WHOLE, "surplus": ["db-9:1"]}
    salt_functions["mongodb.survey"] = in_turn(SMALL, surplus)
    salt_functions["mongodb.add_member"] = lambda *_, **__: {}
    ret = state.replica_set_present("rs0", MEMBERS)
    assert ret["result"] is False
    assert "not declared: db-9:1" in ret["comment"]


HIDDEN = {"host": MEMBERS[2], "priority": 0, "hidden": True}
DIFFERING = {MEMBERS[2]: {"priority": {"old": 1, "new": 0}, "hidden": {"old": False, "new": True}}}
OTHER = {**WHOLE, "differing": DIFFERING}
CHANGES = {
    "settings": {
        "old": {MEMBERS[2]: {"priority": 1, "hidden": False}},
        "new": {MEMBERS[2]: {"priority": 0, "hidden": True}},
    }
}


class TestSettings:
    """Members that are declared with settings have them."""

    DECLARED = [*MEMBERS[:2], HIDDEN]

    def test_a_difference_is_told_and_left_alone_in_a_test(self, salt_functions):
        salt_functions["mongodb.survey"] = in_turn(OTHER)
        with patch.dict(state.__opts__, {"test": True}):
            ret = state.replica_set_present("rs0", self.DECLARED)
        assert (ret["result"], ret["changes"]) == (None, CHANGES)
        assert ret["comment"] == f"the settings of {MEMBERS[2]} would be changed"

    def test_only_what_differs_is_configured(self, salt_functions):
        salt_functions["mongodb.survey"] = in_turn(OTHER, WHOLE)
        asked = []
        salt_functions["mongodb.configure_members"] = lambda *args: asked.append(args)
        ret = state.replica_set_present("rs0", self.DECLARED)
        assert (ret["result"], ret["changes"]) == (True, CHANGES)
        assert asked == [([HIDDEN], MEMBERS[0])]

    def test_what_differs_afterwards_fails(self, salt_functions):
        salt_functions["mongodb.survey"] = in_turn(OTHER)
        salt_functions["mongodb.configure_members"] = lambda *_: {}
        ret = state.replica_set_present("rs0", self.DECLARED)
        assert ret["result"] is False
        assert f"other settings: {MEMBERS[2]}" in ret["comment"]

    @pytest.mark.parametrize("test", [True, False])
    def test_what_cannot_be_is_refused_before_anything(self, salt_functions, test):
        salt_functions["mongodb.survey"] = in_turn({**OTHER, "blocked": "nobody could be elected"})
        with patch.dict(state.__opts__, {"test": test}):
            ret = state.replica_set_present("rs0", self.DECLARED)
        assert (ret["result"], ret["changes"]) == (False, {})
        assert ret["comment"] == "nobody could be elected"

    def test_a_primary_that_has_to_step_down_first_is_told(self, salt_functions):
        salt_functions["mongodb.survey"] = in_turn({**OTHER, "first": "let it step down"})
        with patch.dict(state.__opts__, {"test": True}):
            ret = state.replica_set_present("rs0", self.DECLARED)
        assert (ret["result"], ret["changes"]) == (None, CHANGES)
        assert "refused now: let it step down" in ret["comment"]
        ret = state.replica_set_present("rs0", self.DECLARED)
        assert (ret["result"], ret["changes"]) == (False, {})

    def test_the_others_are_for_their_own_nodes(self, salt_functions):
        asked = []

        def survey(_name, members):
            asked.append(members)
            return OTHER if HIDDEN in members else WHOLE

        salt_functions["mongodb.survey"] = survey
        ret = state.replica_set_present("rs0", self.DECLARED, own_settings=True)
        assert (ret["result"], ret["changes"]) == (True, {})
        assert asked[-1] == MEMBERS

    def test_a_wrong_form_is_refused_with_the_right_one(self, salt_functions):
        ret = state.replica_set_present("rs0", [{"host": "db-1:1", "votes": 0}, *MEMBERS[1:]])
        assert (ret["result"], ret["changes"]) == (False, {})
        assert "write {host: db-1:1, votes: 0, priority: 0}" in ret["comment"]


GRANTED = {"level": "granted", "user": "admin", "primary": "db-1:1", "reason": None}


def user_of(roles):
    return {"name": "app", "database": "app", "roles": roles, "mechanisms": ["SCRAM-SHA-256"]}


def test_a_user_that_differs_after_its_change_fails(salt_functions):
    salt_functions.update(
        {
            "mongodb.wait_access": lambda **_: GRANTED,
            "mongodb.user_info": in_turn(user_of(["read@app"])),
            "mongodb.user_login": lambda *_: True,
            "mongodb.user_update_roles": lambda *_: True,
        }
    )
    ret = state.user_present("app", "secrets:app", "app", ["readWrite"])
    assert ret["result"] is False
    assert "still differs in roles" in ret["comment"]


def test_a_role_changed_before_a_failing_password_is_reported(salt_functions):
    salt_functions.update(
        {
            "mongodb.wait_access": lambda **_: GRANTED,
            "mongodb.user_info": in_turn(user_of(["read@app"])),
            "mongodb.user_login": lambda *_: False,
            "mongodb.user_update_roles": lambda *_: True,
            "mongodb.user_update_password": failing,
        }
    )
    ret = state.user_present("app", "secrets:app", "app", ["readWrite"])
    assert ret["result"] is False
    assert ret["changes"] == {"roles": {"old": ["read@app"], "new": ["readWrite@app"]}}


@pytest.mark.parametrize(
    ("level", "primary_here", "result"),
    [
        ("unavailable", False, None),
        ("open", True, None),
        ("refused", False, None),
        ("refused", True, False),
    ],
)
def test_a_test_run_says_false_only_to_what_would_fail(salt_functions, level, primary_here, result):
    state.__opts__["test"] = True
    access = {**GRANTED, "level": level, "reason": "because"}
    salt_functions["mongodb.wait_access"] = lambda **_: access
    salt_functions["mongodb.is_primary"] = lambda: primary_here
    ret = state.user_present("app", "secrets:app", "app", ["readWrite"])
    assert (ret["result"], ret["changes"]) == (result, {})
    assert "because" in ret["comment"]


def test_a_role_that_differs_after_its_change_fails(salt_functions):
    salt_functions.update(
        {
            "mongodb.wait_access": lambda **_: GRANTED,
            "mongodb.role_info": lambda *_: {"privileges": [], "roles": []},
            "mongodb.role_update": lambda *_: True,
        }
    )
    wanted = [{"resource": {"db": "app", "collection": "c"}, "actions": ["find"]}]
    ret = state.role_present("counters", wanted, "app")
    assert ret["result"] is False
    assert "still differs in privileges" in ret["comment"]


class TestAccessOfARun:
    PRIVILEGES: ClassVar[list] = [
        {"resource": {"db": "app", "collection": "c"}, "actions": ["find"]}
    ]

    @pytest.fixture
    def asked(self, salt_functions):
        """What was asked, in turn. The second look at a user meets no primary."""
        asked = []
        role = {"privileges": utils.normal_privileges(self.PRIVILEGES), "roles": []}

        def answer(name, *found):
            def answering(*_, **__):
                asked.append(name)
                if isinstance(found[0], Exception) and asked.count(name) == 2:
                    raise found[0]
                return found[-1]

            salt_functions[f"mongodb.{name}"] = answering

        answer("wait_access", GRANTED)
        answer("role_info", role)
        answer("user_info", CommandExecutionError("no primary"), user_of(["read@app"]))
        answer("user_login", True)
        return asked

    def role(self):
        return state.role_present("counters", self.PRIVILEGES, "app")

    def user(self):
        return state.user_present("app", "secrets:app", "app", ["read"])

    def test_it_is_asked_for_once(self, asked):
        assert [self.role()["result"], self.user()["result"], self.role()["result"]] == [True] * 3
        assert asked == ["wait_access", "role_info", "user_info", "user_login", "role_info"]

    def test_a_primary_that_went_meanwhile_is_waited_for_as_at_first(self, asked):
        assert [self.user()["result"], self.user()["result"]] == [True, True]
        assert asked == [
            *("wait_access", "user_info", "user_login"),
            *("user_info", "wait_access", "user_info", "user_login"),
        ]

    def test_a_refusal_is_not_remembered(self, asked, salt_functions):
        granting = salt_functions["mongodb.wait_access"]
        refused = {**GRANTED, "level": "refused", "reason": "another password"}
        salt_functions["mongodb.wait_access"] = lambda **_: refused
        assert "another password" in self.role()["comment"]
        assert asked == []
        salt_functions["mongodb.wait_access"] = granting
        assert self.role()["result"] is True
        assert asked == ["wait_access", "role_info"]


def test_only_what_is_named_may_initiate():
    assert state._is_initiator("db-1", None) is True
    assert state._is_initiator("db-2", None) is False
    assert state._is_initiator(None, WHOLE) is False
    assert state._is_initiator(MEMBERS[0], WHOLE) is True
    assert state._is_initiator(MEMBERS[1], WHOLE) is False
