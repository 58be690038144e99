"""Logs are one JSON object a line, whatever is logged."""

import contextlib
import json
import logging
import os
import pathlib
import sys

import pytest
from counterapp.logs import AccessLog, Handler, JsonFormatter
from counterapp.output import MOST, Output

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
def pipe():
    """Return a pipe's ends, which nobody reads and writes unless told to."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


@pytest.fixture
def output(pipe):
    return Output(pipe[1], lambda dropped: b'{"gap": %d}\n' % dropped)


@pytest.fixture
def access_log(caplog, output):
    caplog.set_level(logging.INFO, logger=AccessLog.NAME)
    return AccessLog(output)


def taken(pipe, done):
    """Return the lines that come out of a pipe until there is one that ``done`` is true of."""
    lines = []
    with open(pipe[0], closefd=False) as read:
        while not lines or not done(lines[-1]):
            lines.append(json.loads(read.readline()))
    return lines


def test_lines_of_requests_are_written_in_order(access_log, pipe):
    for number in range(100):
        access_log.write(logging.INFO, path=f"/{number}\n", status=200)
    lines = taken(pipe, lambda line: line["path"] == "/99\n")
    assert [line["path"] for line in lines] == [f"/{number}\n" for number in range(100)]
    assert list(lines[0]) == ["time", "level", "logger", "message", "path", "status"]
    assert (lines[0]["level"], lines[0]["logger"]) == ("info", "counterapp.access")


def test_lines_below_the_level_are_not_written(access_log, pipe):
    access_log.write(logging.DEBUG, path="/livez")
    access_log.write(logging.INFO, path="/last")
    assert [line["path"] for line in taken(pipe, lambda _: True)] == ["/last"]


def test_records_and_lines_of_requests_keep_their_order(access_log, output, pipe):
    handler = Handler(output)
    handler.setFormatter(JsonFormatter())
    for number in range(50):
        access_log.write(logging.INFO, message=f"{number}")
        handler.handle(record(f"{number}"))
    lines = taken(pipe, lambda line: line["logger"] == "counterapp" and line["message"] == "49")
    assert [int(line["message"]) for line in lines] == [number // 2 for number in range(100)]


def fill(output, size=1000):
    """Put lines until one is dropped; return how many were kept."""
    number = 0
    while not output.dropped():
        output.put(b'{"line": %d, "more": "%s"}\n' % (number, b"x" * size))
        output.flush()
        number += 1
    return number - 1


@pytest.mark.parametrize("size", [10, 1000, 10_000])
def test_without_a_reader_nothing_waits_and_what_is_too_much_is_counted(output, pipe, size):
    kept = fill(output, size)
    assert kept * size < 2 * MOST
    for _ in range(9):
        output.put(b"{}\n")
    assert output.dropped() == 10
    # Read again, all that was kept comes whole and in order, and then how many did not.
    output.flush_soon()
    lines = taken(pipe, lambda line: "gap" in line)
    assert [line["line"] for line in lines[:-1]] == list(range(kept))
    assert lines[-1] == {"gap": 10}
    output.put(b'{"line": "next"}\n')
    # Its own thread may be at it.
    output.flush()
    assert taken(pipe, lambda _: True) == [{"line": "next"}]
    assert output.dropped() == 10


def test_a_gap_is_one_however_often_a_little_fits_again(output, pipe):
    kept = fill(output)
    for _ in range(5):
        os.read(pipe[0], 65536)
        output.flush()
        output.put(b'{"line": "too early"}\n')
    output.flush_soon()
    with open(pipe[0], "rb", closefd=False) as read:
        rest = next(line for line in read if line.startswith(b'{"gap"'))
    assert json.loads(rest) == {"gap": 6}
    assert kept > 1000


def test_a_reader_that_goes_and_another_that_comes(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    first = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write = os.open(path, os.O_WRONLY)
    output = Output(write, lambda dropped: b"")
    os.close(first)
    output.put(b"lost its reader\n")
    # A broken pipe is a failure like others: the line is kept, and tried again.
    assert not output.flush()
    second = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert output.flush()
    assert os.read(second, 100) == b"lost its reader\n"
    os.close(write)
    os.close(second)


def test_a_full_disk_is_waited_for_and_not_the_end(pipe):
    with pathlib.Path("/dev/full").open("wb", buffering=0) as full:
        output = Output(full.fileno(), lambda dropped: b"")
        output.put(b"line\n")
        output.flush_soon()
        assert not output.flush()
        output.put(b"another\n")
        assert not output.flush()
        assert output._thread.is_alive()
        os.dup2(pipe[1], full.fileno())
        # Room is made: what was kept is written.
        until(output.flush, 10, "everything is written")
        assert os.read(pipe[0], 100) == b"line\nanother\n"


def test_a_child_does_not_write_what_its_parent_kept(output, pipe):
    fill(output)
    child = os.fork()
    if child == 0:
        os._exit(0 if output.flush() and not output.dropped() else 1)
    assert os.waitpid(child, 0)[1] == 0
