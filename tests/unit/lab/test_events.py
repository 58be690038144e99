"""What an operator reads of the master's events while a rollout runs."""

import json
from typing import ClassVar

import pytest

from lab import events

NOW = "2026-11-27T22:58:47+00:00"
LATER = "2026-11-27T22:58:59+00:00"
TEST = [{"__kwarg__": True, "test": True, "queue": True}]


def event(tag, **data):
    return f"{tag}\t{json.dumps(data)}"


def change(kind, time=NOW, **data):
    facts = {"change": "20261127-225800-abcd", "kind": "rollout", "event": kind, "time": time}
    return event("counterapp/change", **facts, **data)


def step(kind, time=NOW, node="db-1", **data):
    return change(kind, time, stage="db", node=node, step="applying db", **data)


def describe(*lines):
    teller = events.Teller()
    return [teller.describe(line) for line in lines]


def test_a_step_of_a_change_is_told_in_the_words_of_the_change_itself():
    begins, waits, done = describe(
        step("begins"),
        step("waits", seen="no primary yet", left=28.0),
        step("done", LATER, did={"db-1": {"states": 9, "changed": ["a"]}}),
    )
    assert begins == "db-1: db: applying db"
    assert waits == "db-1: db: applying db: no primary yet, 28 s left"
    assert done == "db-1: db: applying db: done after 12 s, 1 of 9 states changed"


def test_a_step_that_is_about_no_node_stands_alone():
    assert describe(step("begins", node=None)) == ["db: applying db"]


def test_a_change_ends_with_what_it_came_to():
    assert describe(change("ended", outcome="succeeded", seconds=70, failed=None)) == [
        "rollout 20261127-225800-abcd succeeded after 1 min 10 s"
    ]


def test_a_finished_job_counts_its_changes():
    states = {"a": {"result": True, "changes": {"x": 1}}, "b": {"result": True, "changes": {}}}
    line = event("salt/job/1/ret/db-1", fun="state.sls", fun_args=["web"], **{"return": states})
    assert describe(line) == ["db-1: applying web done, 1 of 2 states changed"]


def test_a_failed_state_is_named():
    states = {"a": {"result": False, "name": "mongod", "changes": {}}}
    line = event("salt/job/1/ret/db-1", fun="state.apply", fun_args=[], **{"return": states})
    assert describe(line) == ["db-1: applying its highstate failed: mongod"]


def test_a_render_error_is_a_failure():
    line = event(
        "salt/job/1/ret/db-1", fun="state.apply", fun_args=[], **{"return": ["no such key"]}
    )
    assert describe(line) == ["db-1: applying its highstate failed"]


def test_a_slow_state_is_told_when_it_has_changed_something():
    def progress(**state):
        return event(
            "salt/state_result/1/db-1/progress", data={"ret": {"__id__": "mongod runs", **state}}
        )

    assert describe(
        progress(result=True, duration=900.0, changes={"x": 1}),
        progress(result=True, duration=90.0, changes={"x": 1}),
        progress(result=False, duration=90.0, changes={}),
    ) == ["db-1: mongod runs", None, "db-1: mongod runs failed"]


class TestDryRun:
    """What only looks at states must not read as if it had applied, or failed at, anything."""

    STATES: ClassVar = {
        "a": {"result": None, "changes": {"x": 1}},
        "b": {"result": False, "changes": {}, "name": "mongod"},
        "c": {"result": True, "changes": {}},
    }

    def returned(self, states):
        return event(
            "salt/job/7/ret/db-1", fun="state.highstate", fun_args=TEST, **{"return": states}
        )

    def test_it_counts_what_would_change(self):
        assert describe(self.returned(self.STATES)) == ["db-1: looked at: 2 states would change"]
        assert describe(self.returned({"c": self.STATES["c"]})) == [
            "db-1: looked at: 0 states would change"
        ]

    def test_states_that_do_not_render_are_told(self):
        assert describe(self.returned(["no such key"])) == [
            "db-1: looked at: its states do not render"
        ]

    def test_its_single_states_are_passed_over(self):
        failed = {"__id__": "mongod runs", "result": False, "duration": 900.0, "changes": {}}
        told = describe(
            event("salt/job/7/new", fun="state.highstate", arg=TEST, minions=["db-1"]),
            event("salt/state_result/7/db-1/progress", data={"ret": failed}),
            event("salt/state_result/8/db-1/progress", data={"ret": failed}),
        )
        assert told == [None, None, "db-1: mongod runs failed"]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "salt/auth\t{}",
        "salt/job/1/new\tnot json",
        "salt/job/1/new\t" + json.dumps({"fun": "test.ping"}),
    ],
)
def test_everything_else_is_passed_over(line):
    assert describe(line) == [None]
