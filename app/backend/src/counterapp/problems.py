"""Errors as clients see them: ``application/problem+json`` (RFC 9457), never HTML."""

import logging
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, json, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from counterapp import answers, counters, family, limits

RETRY_AFTER = 2
"""Seconds after which a client may try again: about what an election takes at its best."""

ROOM_AFTER = 60
"""Seconds after which a client may try again where there was no room."""

LIST = "/api/v1/openapi.json"
"""Where the routes of the API are described."""

FAILED = "The server failed. Its log has the request's ID."

CHALLENGE = 'Bearer realm="counterapp"'

REFUSALS: dict[type[counters.StoreError], int] = {
    counters.NotFound: 404,
    counters.AlreadyThere: 409,
    counters.Forbidden: 403,
    counters.OutOfBounds: 422,
    counters.KeyReused: 422,
    # The first that applies: one client's share is a kind of too much.
    limits.OverLimit: 429,
    counters.Overloaded: 503,
    counters.Full: 429,
}
"""What is the client's to mend, or to wait for. All else that a store raises is a 503."""

TITLES = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
"""As RFC 9110 has them; before 3.13, Python has those of older RFCs."""

log = logging.getLogger(__name__)


def problem(status: int, detail: str, **members: Any) -> Response:
    """Build an error response; ``members`` are added to the RFC's own."""
    title = TITLES.get(status) or HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **members}
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
        note(error)
        return problem(503, f"{_sentence(error)} Try again shortly.", **members)
    detail = _sentence(error)
    if status == 403 and "Authorization" not in request.headers:
        remedy = "Send its admin key as 'Authorization: Bearer <key>'."
        return problem(401, f"{detail} {remedy}", **members)
    if status == 404:
        detail += " A hit makes it, and so does POST /api/v1/counters."
    response = problem(status, detail, **members)
    if status == 429:
        response.headers["Retry-After"] = str(retry_after(error))
    return response


def note(error: counters.StoreError) -> None:
    """Log that a store could not do what it was asked for."""
    # One line, no traceback: with the database gone, every request comes through here. Of those who
    # are too many the line of the request says enough.
    if not isinstance(error, counters.Overloaded):
        log.warning("%s", error, extra={"cause": repr(error.__cause__)[:500]})


def retry_after(error: counters.StoreError) -> int:
    """Return the seconds after which a client may try again what a store refused or missed."""
    if isinstance(error, limits.OverLimit):
        return error.after
    return ROOM_AFTER if isinstance(error, counters.Full) else RETRY_AFTER


def _sentence(error: counters.StoreError) -> str:
    return f"{str(error).rstrip('.')}."


def register(app: Flask) -> None:
    """Let ``app`` answer every error as a problem."""
    app.register_error_handler(counters.StoreError, refusal)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        if family.has(request.path):
            return family.http_error(error)
        if isinstance(error, MethodNotAllowed) and error.valid_methods:
            allowed = ", ".join(sorted(error.valid_methods))
            detail = f"{request.method} is not for this path: it has {allowed}."
            response = problem(405, detail)
            response.headers["Allow"] = allowed
            return response
        if isinstance(error, NotFound):
            return problem(404, f"There is nothing at this path. The API's are listed in {LIST}.")
        return problem(error.code or 500, error.description or "")

    @app.errorhandler(Exception)
    def bug(error: Exception) -> Response:
        log.error("unexpected error", exc_info=error)
        if family.has(request.path):
            return answers.answer({"error": FAILED}, 500)
        return problem(500, FAILED)
