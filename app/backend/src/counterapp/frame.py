"""What surrounds every request: its ID, who answered it, and its line in the log."""

import logging
import re
import uuid
from typing import Any

from counterapp.logs import AccessLog, elapsed_ms
from counterapp.settings import Settings

REQUEST_ID = re.compile("[A-Za-z0-9._:-]{1,128}")


class Frame:
    """The frame of one node's answers."""

    def __init__(self, settings: Settings) -> None:
        self.access_log = AccessLog()
        self._who = {"node": settings.node, "release": settings.release}
        self._headers = {
            "X-Served-By": settings.node,
            "X-Release": settings.release,
            "X-Content-Type-Options": "nosniff",
        }

    def request_id(self, asked: str) -> str:
        """Return the ID of a request that came with ``asked`` in its ``X-Request-ID``."""
        return asked if REQUEST_ID.fullmatch(asked) else uuid.uuid4().hex

    def headers(self, request_id: str) -> dict[str, str]:
        """Return the headers that every answer has."""
        return {**self._headers, "X-Request-ID": request_id}

    def log(self, *, started: float, quiet: bool = False, **request: Any) -> None:
        """Write the access log's line of a request that was answered.

        :param started: its begin, a ``time.perf_counter()`` value.
        :param quiet: that nobody wants to read of it unless he looks for faults.
        :param request: ``method``, ``path``, ``status``, ``request_id`` and ``client``.
        """
        self.access_log.write(
            logging.DEBUG if quiet else logging.INFO,
            **request,
            duration_ms=elapsed_ms(started),
            **self._who,
        )


NO_STORE = ("Cache-Control", "no-store")
"""What is counted now is not what is counted next."""
