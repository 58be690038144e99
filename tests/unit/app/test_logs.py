"""Logs are one JSON object a line, whatever is logged."""

import contextlib
import io
import json
import logging
import sys

import pytest
from counterapp.logs import AccessLog, JsonFormatter

from tests.support.waiting import until


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


@contextlib.contextmanager
def printed(number):
    """Give the lines that are printed meanwhile, once there are so many.

    ``capsys`` reads and empties in two steps, and would lose what the log's thread writes between.
    """
    lines = []
    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        yield lines
        text = until(
            stdout.getvalue,
            10,
            f"{number} lines are printed",
            wanted=lambda text: text.count("\n") >= number,
        )
        lines += [json.loads(line) for line in text.splitlines()]


def test_lines_of_requests_are_written_in_order(access_log):
    with printed(100) as lines:
        for number in range(100):
            access_log.write(logging.INFO, path=f"/{number}\n", status=200)
    assert [line["path"] for line in lines] == [f"/{number}\n" for number in range(100)]
    assert list(lines[0]) == ["time", "level", "logger", "message", "path", "status"]
    assert (lines[0]["level"], lines[0]["logger"]) == ("info", "counterapp.access")


def test_lines_below_the_level_are_not_written(access_log):
    with printed(1) as lines:
        access_log.write(logging.DEBUG, path="/livez")
        access_log.write(logging.INFO, path="/last")
    assert [line["path"] for line in lines] == ["/last"]
