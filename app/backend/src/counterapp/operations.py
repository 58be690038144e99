"""How one operation is described in the OpenAPI document, and what many of them have in common."""

from collections.abc import Callable, Iterable
from typing import Any

from counterapp.access import READ, WRITE
from counterapp.counters import LONGEST_KEY
from counterapp.inputs import MAX_BODY
from counterapp.schemas import NAME, Json

PROBLEMS = {
    400: "The request is not well-formed; the detail says where.",
    401: "No admin key or token was sent, or one that is not valid.",
    403: "The admin key or token that was sent does not allow this, or the request is made ahead"
    " (Sec-Purpose), before anybody asked for the page.",
    404: "There is no such counter.",
    408: "The body did not come whole within 10 s.",
    409: "There is a counter of this name already.",
    412: "It is not what If-Match names.",
    413: f"The body is above {MAX_BODY} bytes (an import's: above 1 MiB).",
    415: "The body's media type is not one that is taken here.",
    422: "The request is well-formed, but says something that is not allowed.",
    429: "The database holds as much as it may, or the client has had its share; nothing was begun."
    " Try again after Retry-After seconds.",
    503: "The database cannot do it now, or too much waits for it. Try again after Retry-After"
    " seconds, a hit or an update with the same Idempotency-Key: it may have been counted, unless"
    " the detail says that it was not.",
}

HEADERS: Json = {
    "X-Served-By": {"description": "The web node that answered.", "schema": {"type": "string"}},
    "X-Release": {"description": "The release it runs.", "schema": {"type": "string"}},
    "X-Request-ID": {
        "description": "The request's ID: the one it came with, else a new one.",
        "schema": {"type": "string"},
    },
}

NAMED = [
    {"name": "namespace", "in": "path", "required": True, "schema": NAME},
    {"name": "name", "in": "path", "required": True, "schema": NAME},
]

ONCE = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Sent again with the same key within a day, it is counted once and answered"
    " with the same value. Each counter has keys of its own.",
    "schema": {"type": "string", "pattern": f"^[!-~]{{1,{LONGEST_KEY}}}$"},
}

KNOWN = {
    "name": "If-None-Match",
    "in": "header",
    "description": "The ETag of an earlier answer.",
    "schema": {"type": "string"},
}

OWNER: list[Json] = [{"adminKey": []}]
OWNER_OR_OPERATOR: list[Json] = [{"adminKey": []}, {"operator": [READ]}]
OPERATOR = [{"operator": [WRITE]}]
OPTIONAL_OWNER: list[Json] = [{}, {"adminKey": []}]

COMMON = frozenset({400, 408, 413, 429, 503})
"""Any request may be malformed, too large, one too many, or come while the database is away."""

RETRY_AFTER: Json = {
    "Retry-After": {
        "required": True,
        "description": "Seconds after which to try again.",
        "schema": {"type": "integer"},
    }
}


def ref(name: str) -> Json:
    """Return what refers to a schema by its name."""
    return {"schema": {"$ref": f"#/components/schemas/{name}"}}


def of_json(name: str) -> Json:
    """Return the content that is JSON of a schema."""
    return {"application/json": ref(name)}


def body(name: str) -> Json:
    """Return the body of a request, JSON of a schema."""
    return {"required": True, "content": of_json(name)}


def query(name: str, schema: Json, description: str) -> Json:
    """Return a query parameter."""
    return {"name": name, "in": "query", "description": description, "schema": schema}


def problem(status: int) -> Json:
    """Return the answer to what failed with a status."""
    return {"$ref": f"#/components/responses/Problem{status}"}


def answers() -> Json:
    """Return the answers that :func:`problem` refers to."""
    content = {"application/problem+json": ref("Problem")}
    return {f"Problem{status}": failure(PROBLEMS[status], status, content) for status in PROBLEMS}


def failure(description: str, status: int, content: Json) -> Json:
    """Describe the answer to what failed with a status."""
    headers = HEADERS | (RETRY_AFTER if status in {429, 503} else {})
    if status == 401:
        headers["WWW-Authenticate"] = {"required": True, "schema": {"type": "string"}}
    return {"description": description, "headers": headers, "content": content}


def operation(
    name: str,
    summary: str,
    status: int,
    content: Json | None,
    problems: Iterable[int],
    *,
    tagged: bool = False,
    headers: Json | None = None,
    failed: Callable[[int], Json] = problem,
    **more: Any,
) -> Json:
    """Describe one operation.

    :param status: of its success, which has ``content`` and ``headers`` beside the common ones.
    :param problems: statuses of failures beside the common ones; ``failed`` describes each.
    :param tagged: that the answer has an ETag.
    """
    success: Json = {"description": "Done.", "headers": HEADERS | (headers or {})}
    if content is not None:
        success["content"] = content
    responses: Json = {str(status): success}
    if tagged:
        success["headers"]["ETag"] = {"required": True, "schema": {"type": "string"}}
        responses["304"] = {"description": "It is what If-None-Match names.", "headers": HEADERS}
        responses["412"] = failed(412)
        more["parameters"] = [*more.get("parameters", []), KNOWN]
    for code in sorted(COMMON.union(problems)):
        responses[str(code)] = failed(code)
    return {"operationId": name, "summary": summary, "responses": responses, **more}


def under(tag: str, paths: Json) -> Json:
    """Put all operations of these paths under a tag, and return the paths."""
    for item in paths.values():
        for method, described in item.items():
            if method != "parameters":
                described["tags"] = [tag]
    return paths
