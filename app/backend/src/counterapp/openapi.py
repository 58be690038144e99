"""The OpenAPI document of ``/api/v1``, as ``/api/v1/openapi.json`` serves it.

Tests hold it against the routes that there are and against every answer they get; schemathesis
makes requests of it.
"""

from typing import Any

from counterapp.access import READ, WRITE
from counterapp.counters import DEFAULT_NAMESPACE, LONGEST_KEY, SHARED
from counterapp.inputs import MAX_BODY
from counterapp.operators import PREFIX
from counterapp.schemas import NAME, SCHEMAS, Json

PROBLEMS = {
    400: "The request is not well-formed; the detail says where.",
    401: "No admin key or token was sent, or one that is not valid.",
    403: "The admin key or token that was sent does not allow this, or the request is made ahead"
    " (Sec-Purpose), before anybody asked for the page.",
    404: "There is no such counter.",
    408: "The body did not come whole within 10 s.",
    409: "There is a counter of this name already.",
    413: f"The body is above {MAX_BODY} bytes (an import's: above 1 MiB).",
    415: "The body's media type is not one that is taken here.",
    422: "The request is well-formed, but says something that is not allowed.",
    429: "Too much waits already, the database holds as much as it may, or the client has had its"
    " share; nothing was begun. Try again after Retry-After seconds.",
    503: "The database cannot do it now. Try again after Retry-After seconds, a hit or an update"
    " with the same Idempotency-Key: it may have been counted.",
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


def _ref(name: str) -> Json:
    return {"schema": {"$ref": f"#/components/schemas/{name}"}}


def _body(name: str) -> Json:
    return {"required": True, "content": {"application/json": _ref(name)}}


def _problem(status: int) -> Json:
    headers = dict(HEADERS)
    if status in {429, 503}:
        headers["Retry-After"] = {"required": True, "schema": {"type": "integer"}}
    if status == 401:
        headers["WWW-Authenticate"] = {"required": True, "schema": {"type": "string"}}
    return {
        "description": PROBLEMS[status],
        "headers": headers,
        "content": {"application/problem+json": _ref("Problem")},
    }


def _operation(
    name: str,
    summary: str,
    status: int,
    content: Json | None,
    problems: tuple[int, ...],
    *,
    tagged: bool = False,
    headers: Json | None = None,
    **more: Any,
) -> Json:
    """Describe one operation; ``tagged`` for an answer that has an ETag."""
    success: Json = {"description": "Done.", "headers": {**HEADERS, **(headers or {})}}
    if content is not None:
        success["content"] = content
    responses: Json = {str(status): success}
    if tagged:
        success["headers"]["ETag"] = {"required": True, "schema": {"type": "string"}}
        responses["304"] = {"description": "It is what If-None-Match names.", "headers": HEADERS}
        more["parameters"] = [*more.get("parameters", []), KNOWN]
    # Any request may be malformed, too large, one too many, or come while the database is away.
    for code in sorted({400, 408, 413, 429, 503, *problems}):
        responses[str(code)] = _problem(code)
    return {"operationId": name, "summary": summary, "responses": responses, **more}


def _json(name: str) -> Json:
    return {"application/json": _ref(name)}


def _query(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _paths() -> Json:
    writing = (401, 403, 404, 415, 422)
    return {
        "/counters": {
            "post": _operation(
                "createCounter",
                "Make a counter, owned by the admin key that comes along, else by a new one.",
                201,
                _json("NewCounter"),
                (401, 403, 409, 415, 422),
                security=OPTIONAL_OWNER,
                requestBody=_body("Plan"),
                headers={"Location": {"required": True, "schema": {"type": "string"}}},
            ),
            "get": _operation(
                "listCounters",
                "Look at one's own counters in the order of their names; an operator at all.",
                200,
                _json("Page"),
                (401, 403),
                tagged=True,
                security=OWNER_OR_OPERATOR,
                parameters=[
                    _query(
                        "after",
                        {
                            "type": "string",
                            "pattern": "^[A-Za-z0-9_.-]{3,64}/[A-Za-z0-9_.-]{3,64}$",
                        },
                        "The 'next' of an earlier page.",
                    ),
                    _query(
                        "limit",
                        {"type": "integer", "minimum": 1, "maximum": 500, "default": 100},
                        "How many at most.",
                    ),
                ],
                headers={
                    "Link": {
                        "description": "The next page (RFC 8288), if there is one.",
                        "schema": {"type": "string"},
                    }
                },
            ),
        },
        "/counters/{namespace}/{name}": {
            "parameters": NAMED,
            "get": _operation(
                "readCounter", "Look at a counter.", 200, _json("Counter"), (404,), tagged=True
            ),
            "delete": _operation(
                "deleteCounter",
                "Remove a counter with its history.",
                204,
                None,
                (401, 403, 404),
                security=OWNER,
            ),
        },
        "/counters/{namespace}/{name}/history": {
            "parameters": NAMED,
            "get": _operation(
                "readHistory",
                "Look at how a counter's value came to be, oldest first, without gaps.",
                200,
                _json("History"),
                (404,),
                tagged=True,
                parameters=[
                    _query(
                        "resolution",
                        {"enum": ["minute", "hour", "day"], "default": "minute"},
                        "What time each point stands for.",
                    )
                ],
            ),
        },
        "/counters/{namespace}/{name}/hits": {
            "parameters": NAMED,
            "post": _operation(
                "hit",
                "Count a hit; the counter is made if need be. There is no body.",
                200,
                _json("Counted"),
                (422,),
                parameters=[ONCE],
            ),
        },
        "/counters/{namespace}/{name}/updates": {
            "parameters": NAMED,
            "post": _operation(
                "updateCounter",
                "Add an amount, which may be negative. Only who has its key may, if it has one.",
                200,
                _json("Counted"),
                writing,
                parameters=[ONCE],
                security=OPTIONAL_OWNER,
                requestBody=_body("Amount"),
            ),
        },
        "/counters/{namespace}/{name}/value": {
            "parameters": NAMED,
            "put": _operation(
                "setCounter",
                "Set the value.",
                200,
                _json("Set"),
                writing,
                security=OWNER,
                requestBody=_body("Value"),
            ),
        },
        "/requests": {
            "get": _operation(
                "readRequests",
                f"Look at the shared counter, {DEFAULT_NAMESPACE}/{SHARED}.",
                200,
                _json("Requests"),
                (),
            ),
        },
        "/stats": {
            "get": _operation(
                "readStats",
                "Look at how much is counted altogether; may be some seconds old.",
                200,
                _json("Stats"),
                (),
            ),
        },
        "/import": {
            "post": _operation(
                "importCounts",
                "Bring counts from elsewhere. What cannot be taken is told, and the rest is taken."
                " If it is cut off (503), the rest is to be sent from 'record' on.",
                200,
                _json("Imported"),
                (401, 403, 415, 422),
                security=OPTIONAL_OWNER,
                parameters=[
                    _query(
                        "replace",
                        {"enum": ["false", "true"], "default": "false"},
                        "Whether counters that the sent admin key owns already get the new value.",
                    )
                ],
                requestBody={
                    "required": True,
                    "content": {
                        "application/json": _ref("Records"),
                        "text/csv": {
                            "schema": {"type": "string"},
                            "example": "namespace,key,value\r\ndefault,visits,1234\r\n",
                        },
                    },
                },
            ),
        },
        "/export": {
            "get": _operation(
                "exportCounts",
                "Take all of one's own counts away; an operator gets all. An import takes it.",
                200,
                {"text/csv": {"schema": {"type": "string"}}, **_json("Records")},
                (401, 403),
                security=OWNER_OR_OPERATOR,
                parameters=[
                    _query("format", {"enum": ["csv", "json"], "default": "csv"}, "Which form.")
                ],
                headers={"Content-Disposition": {"schema": {"type": "string"}}},
            ),
        },
        "/operator/counters": {
            "delete": _operation(
                "operatorDeleteCounters",
                "Remove all counters whose namespace/key begins with a prefix, but for the"
                " service's own.",
                200,
                _json("Deleted"),
                (401, 403, 422),
                security=OPERATOR,
                parameters=[
                    {
                        **_query(
                            "prefix",
                            {"type": "string", "pattern": f"^{PREFIX.pattern}$"},
                            "What their <namespace>/<key> begins with.",
                        ),
                        "required": True,
                    },
                    _query(
                        "confirm",
                        {"type": "string"},
                        "The prefix once more. Without it the 422 tells how many there are.",
                    ),
                ],
            ),
        },
        "/operator/counters/{namespace}/{name}/value": {
            "parameters": NAMED,
            "put": _operation(
                "operatorSetCounter",
                "Set the value, whoever owns the counter, resettable or not.",
                200,
                _json("Set"),
                writing,
                security=OPERATOR,
                requestBody=_body("Value"),
            ),
        },
        "/operator/counters/{namespace}/{name}": {
            "parameters": NAMED,
            "delete": _operation(
                "operatorDeleteCounter",
                "Remove a counter, whoever owns it.",
                204,
                None,
                (401, 403, 404),
                security=OPERATOR,
            ),
        },
        "/openapi.json": {
            "get": _operation(
                "readDocument",
                "Read this document.",
                200,
                {"application/json": {"schema": {"type": "object"}}},
                (),
                tagged=True,
            ),
        },
    }


def document(release: str) -> Json:
    """Return the document of a release."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "counterapp",
            "version": release,
            "description": "Counts hits, exactly: a hit is acknowledged once a majority of the"
            " database has it on disk. Errors are application/problem+json (RFC 9457).",
        },
        "servers": [{"url": "/api/v1"}],
        "paths": _paths(),
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "adminKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The admin key that a counter was made with.",
                },
                "operator": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "An operator's token: HS256, with sub, exp, aud 'counterapp' and"
                    f" a scope of {READ} and {WRITE}.",
                },
            },
        },
    }
