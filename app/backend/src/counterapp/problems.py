"""Errors as clients see them: ``application/problem+json`` (RFC 9457), never HTML."""

import logging
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, json
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from counterapp.store import StoreUnavailable

RETRY_AFTER = 2
"""Seconds after which a client may try again: about what an election takes at its best."""

log = logging.getLogger(__name__)


def problem(status: int, detail: str, **members: Any) -> Response:
    """Build an error response; ``members`` are added to the RFC's own."""
    phrase = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": phrase, "status": status, "detail": detail, **members}
    response = Response(json.dumps(body), status=status, mimetype="application/problem+json")
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


def register(app: Flask) -> None:
    """Let ``app`` answer every error as a problem."""

    @app.errorhandler(StoreUnavailable)
    def unavailable(error: StoreUnavailable) -> Response:
        # One line, no traceback: with the database gone, every request comes through here.
        log.warning("%s", error, extra={"cause": repr(error.__cause__)[:500]})
        return problem(503, f"{error}. Try again shortly.")

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        response = problem(error.code or 500, error.description or "")
        if isinstance(error, MethodNotAllowed) and error.valid_methods:
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
        return response

    @app.errorhandler(Exception)
    def bug(error: Exception) -> Response:
        log.error("unexpected error", exc_info=error)
        return problem(500, "The server failed. Its log has the request's ID.")
