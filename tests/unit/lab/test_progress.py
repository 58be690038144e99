"""What an operator reads while things run, and when they fail."""

import contextlib
import io
import sys

import pytest

from lab import progress
from lab.config import LabError
from tests.support.waiting import until


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
