"""Errors as clients see them: ``application/problem+json`` (RFC 9457), never HTML."""

import logging
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, json, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from counterapp import counters

RETRY_AFTER = 2
"""Seconds after which a client may try again: about what an election takes at its best."""

CHALLENGE = 'Bearer realm="counterapp"'

REFUSALS: dict[type[counters.StoreError], int] = {
    counters.NotFound: 404,
    counters.AlreadyThere: 409,
    counters.Forbidden: 403,
    counters.OutOfBounds: 422,
    counters.KeyReused: 422,
    counters.Overloaded: 429,
}
"""What is the client's to mend, or to wait for. All else that a store raises is a 503."""

log = logging.getLogger(__name__)


def problem(status: int, detail: str, **members: Any) -> Response:
    """Build an error response; ``members`` are added to the RFC's own."""
    phrase = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": phrase, "status": status, "detail": detail, **members}
    response = Response(json.dumps(body), status=status, mimetype="application/problem+json")
    if status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = CHALLENGE
    return response


def refusal(error: counters.StoreError, **members: Any) -> Response:
    """Build the response for what a store raised."""
    status = next((code for kind, code in REFUSALS.items() if isinstance(error, kind)), 503)
    if status == 503:
        # One line, no traceback: with the database gone, every request comes through here.
        log.warning("%s", error, extra={"cause": repr(error.__cause__)[:500]})
        return problem(503, f"{_sentence(error)} Try again shortly.", **members)
    if status == 403 and "Authorization" not in request.headers:
        detail = f"{_sentence(error)} Send its admin key as 'Authorization: Bearer <key>'."
        return problem(401, detail, **members)
    return problem(status, _sentence(error), **members)


def _sentence(error: counters.StoreError) -> str:
    return f"{str(error).rstrip('.')}."


def register(app: Flask) -> None:
    """Let ``app`` answer every error as a problem."""
    app.register_error_handler(counters.StoreError, refusal)

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
