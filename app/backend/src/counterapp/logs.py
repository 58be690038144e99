"""Structured logs: one JSON object a line on standard output."""

import functools
import json
import logging
import time
from datetime import UTC, datetime
from typing import Any

import orjson

from counterapp.output import Output

EXTRA = ("cause",)

STANDARD_OUTPUT = 1
"""The number that every process knows it by."""


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

    It goes past ``logging``, whose records cost a quarter of what a plain hit does, and is written
    with all that was answered in one turn of the event loop.

    :param output: where it goes; by default where everything goes that the process logs.
    """

    NAME = "counterapp.access"

    def __init__(self, output: Output | None = None) -> None:
        self._logger = logging.getLogger(self.NAME)
        self._output = output or standard_output()

    def write(self, level: int, **fields: Any) -> None:
        """Write a line with these fields, unless the process logs from a higher level on."""
        if not self._logger.isEnabledFor(level):
            return
        line = _line(time.time(), level, self.NAME, "request")
        line.update(fields)
        self._output.put(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        self._output.flush_soon()


class Handler(logging.Handler):
    """Writes records at once if that is possible without waiting, else as soon as it is."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._output.put(f"{self.format(record)}\n".encode())
            self._output.flush()
        except Exception:
            self.handleError(record)


@functools.cache
def standard_output() -> Output:
    """Return the process's standard output, which has one log."""
    return Output(STANDARD_OUTPUT, _gap)


def _gap(dropped: int) -> bytes:
    message = f"{dropped} lines of the log were dropped, because nobody took them"
    line = _line(time.time(), logging.WARNING, __name__, message)
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _line(created: float, level: int, logger: str, message: str) -> dict[str, Any]:
    return {
        "time": datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds"),
        "level": logging.getLevelName(level).lower(),
        "logger": logger,
        "message": message,
    }


def configure(level: str) -> None:
    """Send everything that the process logs at ``level`` or above to standard output."""
    handler = Handler(standard_output())
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # At DEBUG the driver logs every command; that is the driver's business, not ours.
    logging.getLogger("pymongo").setLevel(max(logging.INFO, logging.getLevelName(level)))


def elapsed_ms(since: float) -> float:
    """Milliseconds from ``since``, a ``time.perf_counter()`` value, to now."""
    return round((time.perf_counter() - since) * 1000, 2)
