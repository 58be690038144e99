"""What an operator reads while things run, and when they fail."""

import contextlib
import io
import json
import sys

import pytest

from lab import events, progress, summary
from lab.config import LabError, load
from tests.support.waiting import until


def event(tag, **data):
    return f"{tag}\t{json.dumps(data)}"


def test_a_step_of_the_rollout_names_its_node():
    line = event("counterapp/rollout/progress", stage="db", node="db-1", text="applying mongodb")
    assert events.describe(line) == "db-1: applying mongodb"


def test_a_step_that_is_about_no_node_stands_alone():
    line = event("counterapp/rollout/progress", stage="verify", node=None, text="counting hits")
    assert events.describe(line) == "counting hits"


def test_a_finished_job_counts_its_changes():
    states = {"a": {"result": True, "changes": {"x": 1}}, "b": {"result": True, "changes": {}}}
    line = event("salt/job/1/ret/db-1", fun="state.sls", fun_args=["web"], **{"return": states})
    assert events.describe(line) == "db-1: applying web done, 1 of 2 states changed"


def test_a_failed_state_is_named():
    states = {"a": {"result": False, "name": "mongod", "changes": {}}}
    line = event("salt/job/1/ret/db-1", fun="state.apply", fun_args=[], **{"return": states})
    assert events.describe(line) == "db-1: applying its highstate failed: mongod"


def test_a_render_error_is_a_failure():
    line = event(
        "salt/job/1/ret/db-1", fun="state.apply", fun_args=[], **{"return": ["no such key"]}
    )
    assert events.describe(line) == "db-1: applying its highstate failed"


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
    assert events.describe(line) is None


def test_a_failing_command_ends_in_its_last_lines_and_the_log(tmp_path):
    lines = []
    program = "print('first'); print('why'); raise SystemExit(3)"
    with pytest.raises(LabError, match="exited with 3") as caught:
        progress.stream([sys.executable, "-c", program], lines.append, tmp_path / "log")
    assert lines == ["first", "why"]
    assert "why" in str(caught.value)
    assert (tmp_path / "log").read_text() == "first\nwhy\n"


def test_a_silent_step_keeps_talking(monkeypatch):
    monkeypatch.setattr(progress, "HEARTBEAT_SECONDS", 0.5)
    shown = progress.Progress(3)
    # Not capsys, which would lose what the heartbeat's thread prints while it is read.
    with contextlib.redirect_stdout(io.StringIO()) as stdout, shown.step("rolling out"):
        shown.say("web-1: applying web")
        until(
            stdout.getvalue,
            10,
            "a heartbeat is printed",
            wanted=lambda text: "last: web-1" in text,
        )
    text = stdout.getvalue()
    assert "[1/3] 00:00  rolling out" in text
    assert "rolling out: still running after" in text
    assert "last: web-1: applying web" in text


def test_a_deadline_lets_one_look_pass_at_once():
    assert progress.Deadline(0.05, interval=0.2).passed() is False


def test_the_summary_names_every_node_even_a_silent_one():
    lab = load(name="counterapp")
    rows = summary.rows(
        lab, {"nodes": {"web-1": {"os": "Debian 12", "release": "1.0", "up": True}}}
    )
    assert ("web-1", "web", "192.168.33.11", "Debian 12", "1.0", "up") in rows
    assert ("db-1", "db,storage", "192.168.33.14", "-", "-", "no answer") in rows
