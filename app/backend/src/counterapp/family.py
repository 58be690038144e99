"""Which paths are those of the CountAPI family, and how they tell HTTP's own errors."""

from http import HTTPStatus

from flask import Response, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from counterapp import answers

COUNTAPI = "/countapi"
"""Below this, paths are CountAPI's alone."""

METHODS = {
    **{verb: ["GET", "POST"] for verb in ("hit", "get", "info", "reset", "stats")},
    "create": ["GET", "POST", "PUT"],
    "set": ["GET", "POST", "PUT"],
    "update": ["GET", "POST", "PATCH"],
    "delete": ["GET", "POST", "DELETE"],
    "healthcheck": ["GET"],
}
READING = frozenset({"get", "info", "stats", "healthcheck"})
"""What changes nothing, so that it may be asked for ahead, and with HEAD."""

NOWHERE = (
    "There is nothing at this path. Counters are at paths such as /hit/<namespace>/<key>;"
    " all are listed in /api/v1/openapi.json"
)


def verb(path: str) -> str:
    """Return the word that says what a path of the family does."""
    return path.removeprefix(COUNTAPI).split("/")[1]


def has(path: str) -> bool:
    """Return whether a path is one of the family's, there or not."""
    return f"{path}/".startswith(f"{COUNTAPI}/") or path.split("/")[1] in METHODS


def http_error(error: HTTPException) -> Response:
    """Tell what HTTP itself has against a request, in the form that the request wants."""
    if "callback" not in g:
        _choose()
    said = NOWHERE if isinstance(error, NotFound) else error.description or error.name
    response = answers.answer({"error": said}, error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def _choose() -> None:
    """Find out the form for a request that came to no route."""
    try:
        answers.choose(request)
    except ValueError:
        # It asks for none that there is: what is left is JSON, which the answer is without this.
        g.callback = None
