"""Structured logs: one JSON object a line on standard output."""

import atexit
import json
import logging
import sys
import threading
import time
from collections import deque
from datetime import UTC, datetime
from typing import Any

import orjson

EXTRA = ("cause",)


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON, with the fields of ``EXTRA`` that it carries."""

    def format(self, record: logging.LogRecord) -> str:
        line = _line(record.created, record.levelno, record.name, record.getMessage())
        line.update({name: getattr(record, name) for name in EXTRA if hasattr(record, name)})
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class AccessLog:
    """A line for each request answered, among those of ``JsonFormatter``.

    It goes past ``logging``, whose records cost a quarter of what a plain hit does, and a thread of
    its own writes what there is in one go: with gevent, all that was answered in one turn of the
    event loop. The first line starts the thread, for none must be made before a fork.
    """

    NAME = "counterapp.access"

    def __init__(self) -> None:
        self._logger = logging.getLogger(self.NAME)
        self._lines: deque[str] = deque()
        self._there = threading.Event()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None

    def write(self, level: int, **fields: Any) -> None:
        """Write a line with these fields, unless the process logs from a higher level on."""
        if not self._logger.isEnabledFor(level):
            return
        line = _line(time.time(), level, self.NAME, "request")
        line.update(fields)
        self._lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE).decode())
        self._there.set()
        if self._thread is None:
            atexit.register(self._flush)
            self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while self._there.wait():
            self._there.clear()
            self._flush()

    def _flush(self) -> None:
        with self._writing:
            sys.stdout.write("".join([self._lines.popleft() for _ in range(len(self._lines))]))
            sys.stdout.flush()


def _line(created: float, level: int, logger: str, message: str) -> dict[str, Any]:
    return {
        "time": datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds"),
        "level": logging.getLevelName(level).lower(),
        "logger": logger,
        "message": message,
    }


def configure(level: str) -> None:
    """Send everything that the process logs at ``level`` or above to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # At DEBUG the driver logs every command; that is the driver's business, not ours.
    logging.getLogger("pymongo").setLevel(max(logging.INFO, logging.getLevelName(level)))


def elapsed_ms(since: float) -> float:
    """Milliseconds from ``since``, a ``time.perf_counter()`` value, to now."""
    return round((time.perf_counter() - since) * 1000, 2)
