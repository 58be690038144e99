"""The OpenAPI document of all that clients may ask, as ``/api/v1/openapi.json`` serves it.

Here are the operations of ``/api/v1``. Tests hold it against the routes that there are and against
every answer they get; schemathesis makes requests of it, and openapi-python-client a client.
"""

from counterapp import openapi_compat, openapi_more, operations
from counterapp.access import READ, WRITE
from counterapp.counters import DEFAULT_NAMESPACE, SHARED
from counterapp.operations import (
    NAMED,
    ONCE,
    OPERATOR,
    OPTIONAL_OWNER,
    OWNER,
    OWNER_OR_OPERATOR,
    body,
    of_json,
    operation,
    query,
    ref,
)
from counterapp.operators import PREFIX
from counterapp.schemas import SCHEMAS, Json

_WRITING = (401, 403, 404, 415, 422)


def _counters() -> Json:
    return {
        "/counters": {
            "post": operation(
                "createCounter",
                "Make a counter, owned by the admin key that comes along, else by a new one.",
                201,
                of_json("NewCounter"),
                (401, 403, 409, 415, 422),
                security=OPTIONAL_OWNER,
                requestBody=body("Plan"),
                headers={"Location": {"required": True, "schema": {"type": "string"}}},
            ),
            "get": operation(
                "listCounters",
                "Look at one's own counters in the order of their names; an operator at all.",
                200,
                of_json("Page"),
                (401, 403),
                tagged=True,
                security=OWNER_OR_OPERATOR,
                parameters=[
                    query(
                        "after",
                        {
                            "type": "string",
                            "pattern": "^[A-Za-z0-9_.-]{3,64}/[A-Za-z0-9_.-]{3,64}$",
                        },
                        "The 'next' of an earlier page.",
                    ),
                    query(
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
            "get": operation(
                "readCounter", "Look at a counter.", 200, of_json("Counter"), (404,), tagged=True
            ),
            "delete": operation(
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
            "get": operation(
                "readHistory",
                "Look at how a counter's value came to be, oldest first, without gaps.",
                200,
                of_json("History"),
                (404,),
                tagged=True,
                parameters=[
                    query(
                        "resolution",
                        {"enum": ["minute", "hour", "day"], "default": "minute"},
                        "What time each point stands for.",
                    )
                ],
            ),
        },
        "/counters/{namespace}/{name}/hits": {
            "parameters": NAMED,
            "post": operation(
                "hit",
                "Count a hit; the counter is made if need be. There is no body.",
                200,
                of_json("Counted"),
                (422,),
                parameters=[ONCE],
            ),
        },
        "/counters/{namespace}/{name}/updates": {
            "parameters": NAMED,
            "post": operation(
                "updateCounter",
                "Add an amount, which may be negative. Only who has its key may, if it has one.",
                200,
                of_json("Counted"),
                _WRITING,
                parameters=[ONCE],
                security=OPTIONAL_OWNER,
                requestBody=body("Amount"),
            ),
        },
        "/counters/{namespace}/{name}/value": {
            "parameters": NAMED,
            "put": operation(
                "setCounter",
                "Set the value.",
                200,
                of_json("Set"),
                _WRITING,
                security=OWNER,
                requestBody=body("Value"),
            ),
        },
    }


def _service() -> Json:
    return {
        "/requests": {
            "get": operation(
                "readRequests",
                f"Look at the shared counter, {DEFAULT_NAMESPACE}/{SHARED}.",
                200,
                of_json("Requests"),
                (),
            ),
        },
        "/stats": {
            "get": operation(
                "readStats",
                "Look at how much is counted altogether; may be some seconds old.",
                200,
                of_json("Stats"),
                (),
            ),
        },
        "/openapi.json": {
            "get": operation(
                "readDocument",
                "Read this document.",
                200,
                {"application/json": {"schema": {"type": "object"}}},
                (),
                tagged=True,
            ),
        },
    }


def _transfer() -> Json:
    return {
        "/import": {
            "post": operation(
                "importCounts",
                "Bring counts from elsewhere. What cannot be taken is told, and the rest is taken."
                " If it is cut off (503), the rest is to be sent from 'record' on.",
                200,
                of_json("Imported"),
                (401, 403, 415, 422),
                security=OPTIONAL_OWNER,
                parameters=[
                    query(
                        "replace",
                        {"enum": ["false", "true"], "default": "false"},
                        "Whether counters that the sent admin key owns already get the new value.",
                    )
                ],
                requestBody={
                    "required": True,
                    "content": {
                        "application/json": ref("Records"),
                        "text/csv": {
                            "schema": {"type": "string"},
                            "example": "namespace,key,value\r\ndefault,visits,1234\r\n",
                        },
                    },
                },
            ),
        },
        "/export": {
            "get": operation(
                "exportCounts",
                "Take all of one's own counts away; an operator gets all. An import takes it.",
                200,
                {"text/csv": {"schema": {"type": "string"}}, **of_json("Records")},
                (401, 403),
                security=OWNER_OR_OPERATOR,
                parameters=[
                    query("format", {"enum": ["csv", "json"], "default": "csv"}, "Which form.")
                ],
                headers={"Content-Disposition": {"schema": {"type": "string"}}},
            ),
        },
    }


def _operators() -> Json:
    return {
        "/operator/counters": {
            "delete": operation(
                "operatorDeleteCounters",
                "Remove all counters whose namespace/key begins with a prefix, but for the"
                " service's own.",
                200,
                of_json("Deleted"),
                (401, 403, 422),
                security=OPERATOR,
                parameters=[
                    {
                        **query(
                            "prefix",
                            {"type": "string", "pattern": f"^{PREFIX.pattern}$"},
                            "What their <namespace>/<key> begins with.",
                        ),
                        "required": True,
                    },
                    query(
                        "confirm",
                        {"type": "string"},
                        "The prefix once more. Without it the 422 tells how many there are.",
                    ),
                ],
            ),
        },
        "/operator/counters/{namespace}/{name}/value": {
            "parameters": NAMED,
            "put": operation(
                "operatorSetCounter",
                "Set the value, whoever owns the counter, resettable or not.",
                200,
                of_json("Set"),
                _WRITING,
                security=OPERATOR,
                requestBody=body("Value"),
            ),
        },
        "/operator/counters/{namespace}/{name}": {
            "parameters": NAMED,
            "delete": operation(
                "operatorDeleteCounter",
                "Remove a counter, whoever owns it.",
                204,
                None,
                (401, 403, 404),
                security=OPERATOR,
            ),
        },
    }


TAGS = {
    "counters": "Counters, and the hits that they count.",
    "service": "The service as a whole, and how it is.",
    "transfer": "Counts that are brought from elsewhere, or taken away.",
    "operators": "What only operators may do.",
    "badges": "Counters as images.",
    "streams": "Counters as they change.",
    "compatible": "What clients of CountAPI and Abacus ask for.",
}


def _paths() -> Json:
    api = (
        operations.under("counters", _counters())
        | operations.under("service", _service())
        | operations.under("transfer", _transfer())
        | operations.under("operators", _operators())
    )
    return {
        **{f"/api/v1{path}": item for path, item in api.items()},
        **operations.under("badges", openapi_more.badges()),
        **operations.under("streams", openapi_more.streams()),
        **operations.under("service", openapi_more.health()),
        **operations.under("compatible", openapi_compat.paths()),
    }


def document(release: str) -> Json:
    """Return the document of a release."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "counterapp",
            "version": release,
            "description": "Counts hits, exactly: a hit is acknowledged once a majority of the"
            " database has it on disk. Errors are application/problem+json (RFC 9457), but for"
            " those of images and of what is compatible with CountAPI and Abacus.",
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": _paths(),
        "components": {
            "responses": operations.answers() | openapi_more.answers() | openapi_compat.answers(),
            "schemas": SCHEMAS | openapi_more.SCHEMAS | openapi_compat.SCHEMAS,
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
