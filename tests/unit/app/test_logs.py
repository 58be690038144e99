"""Logs are one JSON object a line, whatever is logged."""

import json
import logging
import sys

from counterapp.logs import JsonFormatter


def record(message, *args, **extra):
    made = logging.LogRecord("counterapp", logging.WARNING, __file__, 1, message, args, None)
    made.__dict__.update(extra)
    return made


def test_a_line_has_time_level_message_and_what_was_added():
    line = JsonFormatter().format(record("lost %s", "db-1", node="web-1", status=503, other="no"))
    parsed = json.loads(line)
    assert parsed.pop("time").endswith("+00:00")
    assert parsed == {
        "level": "warning",
        "logger": "counterapp",
        "message": "lost db-1",
        "node": "web-1",
        "status": 503,
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
