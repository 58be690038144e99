"""Structured logs: one JSON object a line on standard output."""

import json
import logging
import sys
import time
from datetime import UTC, datetime

EXTRA = (
    *("method", "path", "status", "duration_ms", "request_id"),
    *("client", "node", "release", "cause"),
)


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON, with the fields of ``EXTRA`` that it carries."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({name: getattr(record, name) for name in EXTRA if hasattr(record, name)})
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


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
