"""gunicorn's own messages in the format of all the others."""

import os
from typing import Any

from gunicorn import glogging  # type: ignore[import-untyped]

from counterapp import logs


class JsonLogger(glogging.Logger):  # type: ignore[misc]
    """Sends gunicorn's messages to our log. The access log is the application's own."""

    def setup(self, cfg: Any) -> None:
        self.cfg = cfg
        logs.configure(os.environ.get("COUNTERAPP_LOG_LEVEL") or "INFO")
        self.error_log.propagate = True

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Nothing: ``counterapp.access`` has the request, with its ID."""
