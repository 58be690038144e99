"""Logs are one JSON object a line, whatever is logged."""

import json
import logging
import sys
import time

import pytest
from counterapp.logs import AccessLog, JsonFormatter


def record(message, *args, **extra):
    made = logging.LogRecord("counterapp", logging.WARNING, __file__, 1, message, args, None)
    made.__dict__.update(extra)
    return made


def test_a_line_has_time_level_message_and_what_was_added():
    line = JsonFormatter().format(record("lost %s", "db-1", cause="gone", other="no"))
    parsed = json.loads(line)
    assert parsed.pop("time").endswith("+00:00")
    assert parsed == {
        "level": "warning",
        "logger": "counterapp",
        "message": "lost db-1",
        "cause": "gone",
    }


def test_nobody_can_forge_a_second_line():
    line = JsonFormatter().format(record('a\n{"level": "info"}', path="/\r\nx"))
    assert "\n" not in line
    assert json.loads(line)["message"] == 'a\n{"level": "info"}'


def test_an_exception_stays_in_its_line():
    made = record("broken")
    try:
        raise ValueError("why")
    except ValueError:
        made.exc_info = sys.exc_info()
    line = JsonFormatter().format(made)
    assert "\n" not in line
    assert "ValueError: why" in json.loads(line)["exception"]


@pytest.fixture
def access_log(caplog):
    caplog.set_level(logging.INFO, logger=AccessLog.NAME)
    return AccessLog()


def printed(capsys, number):
    """Return the first lines that are printed, so many if they come within ten seconds."""
    text = ""
    deadline = time.monotonic() + 10
    while text.count("\n") < number and time.monotonic() < deadline:
        text += capsys.readouterr().out
    return [json.loads(line) for line in text.splitlines()]


def test_lines_of_requests_are_written_in_order(access_log, capsys):
    for number in range(100):
        access_log.write(logging.INFO, path=f"/{number}\n", status=200)
    lines = printed(capsys, 100)
    assert [line["path"] for line in lines] == [f"/{number}\n" for number in range(100)]
    assert list(lines[0]) == ["time", "level", "logger", "message", "path", "status"]
    assert (lines[0]["level"], lines[0]["logger"]) == ("info", "counterapp.access")


def test_lines_below_the_level_are_not_written(access_log, capsys):
    access_log.write(logging.DEBUG, path="/livez")
    access_log.write(logging.INFO, path="/last")
    assert [line["path"] for line in printed(capsys, 1)] == ["/last"]
