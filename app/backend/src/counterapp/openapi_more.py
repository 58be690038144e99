"""What the OpenAPI document says of badges, streams and health, which are not below ``/api/v1``."""

from typing import Any

from counterapp.drawing import STYLES
from counterapp.operations import (
    KNOWN,
    NAMED,
    ONCE,
    PROBLEMS,
    failure,
    of_json,
    operation,
    problem,
    query,
    ref,
)
from counterapp.schemas import WHO, Json, object_of

_NAME = NAMED[-1:]
_COLOUR = {"type": "string", "example": "blue"}
_FLAG = {"type": "boolean", "default": False}

_LOOK = [
    query("label", {"type": "string", "default": "hits"}, "The text on the left; may be empty."),
    query(
        "color", _COLOUR, "Behind the number: a name of shields' or CSS', or hexadecimal digits."
    ),
    query("labelColor", _COLOUR, "Behind the label."),
    query("colorB", _COLOUR, "The old name of color."),
    query("colorA", _COLOUR, "The old name of labelColor."),
    query("style", {"type": "string", "enum": list(STYLES), "default": "flat"}, "How it looks."),
    query(
        "separator",
        {"type": "string", "maxLength": 1, "example": ","},
        "What stands between thousands: a comma, dot, apostrophe, underscore or space.",
    ),
    query("abbreviated", _FLAG, "Whether the number is cut short: 1.2k, 12k, 1.2M."),
]

SCHEMAS: Json = {
    "Badge": object_of(
        {
            "schemaVersion": {"type": "integer", "enum": [1]},
            "label": {"type": "string"},
            "message": {"type": "string", "minLength": 1},
            "color": {"type": "string"},
            "labelColor": {"type": "string"},
            "style": {"type": "string", "enum": list(STYLES)},
            "isError": {"type": "boolean", "description": "Whether the message is what is wrong."},
        },
        optional=("labelColor", "style", "isError"),
        description="What shields draws an endpoint badge from.",
    ),
    "Live": object_of({"live": {"type": "boolean"}, **WHO}),
    "Ready": object_of({"ready": {"type": "boolean"}, **WHO}),
}

_PASSING = (429, 503)
"""Statuses of which the image, or what shields gets, says something itself."""

_IMAGE: Json = {"image/svg+xml": {"schema": {"type": "string"}}}


def badges() -> Json:
    """Return the paths of badges."""

    def image(operation_id: str, parameters: list[Json]) -> Json:
        described = operation(
            operation_id,
            "Look at a counter as an image; with hit=1 count a hit first. What cannot be shown,"
            " such as a counter that is not there, is said in it.",
            200,
            _IMAGE,
            (),
            failed=_said_in_the_image,
            headers={
                "ETag": {
                    "description": "Not of an image that counts.",
                    "schema": {"type": "string"},
                },
                "Idempotency-Replayed": {
                    "description": "That the hit was counted earlier, with the same key.",
                    "schema": {"type": "string"},
                },
            },
            parameters=[
                *_LOOK,
                query("hit", _FLAG, "Whether to count a hit. Each request for it counts one."),
                ONCE,
                KNOWN,
            ],
        )
        described["responses"]["304"] = {"description": "It is what If-None-Match names."}
        return {"parameters": parameters, "get": described}

    def data(operation_id: str, parameters: list[Json]) -> Json:
        summary = "Look at a counter in the form of shields' endpoint badge. It counts nothing."
        described = operation(
            *(operation_id, summary, 200, of_json("Badge"), ()),
            failed=_said_as_data,
            tagged=True,
            parameters=_LOOK,
        )
        return {"parameters": parameters, "get": described}

    return {
        "/badge/{namespace}/{name}.svg": image("badge", NAMED),
        "/badge/{name}.svg": image("badgeDefault", _NAME),
        "/badge/{namespace}/{name}.json": data("badgeData", NAMED),
        "/badge/{name}.json": data("badgeDataDefault", _NAME),
    }


def _said_in_the_image(status: int) -> Json:
    return _also("Image", status)


def _said_as_data(status: int) -> Json:
    return _also("Data", status)


def _also(form: str, status: int) -> Json:
    if status in _PASSING:
        return {"$ref": f"#/components/responses/{form}{status}"}
    return problem(status)


def answers() -> Json:
    """Return the answers that the operations refer to."""
    # What is refused before anybody looks at the path is a problem here, too.
    other = {"application/problem+json": ref("Problem")}
    return {
        f"{form}{status}": failure(PROBLEMS[status], status, content | other)
        for form, content in (("Image", _IMAGE), ("Data", of_json("Badge")))
        for status in _PASSING
    }


def streams() -> Json:
    """Return the paths of streams."""

    def stream(operation_id: str, parameters: list[Json]) -> Json:
        summary = (
            "Follow a counter's value as server-sent events; one that is not there is waited for."
            " A stream ends after some 20 s, for its client to come again."
        )
        content = {"text/event-stream": {"schema": {"type": "string"}}}
        described = operation(operation_id, summary, 200, content, ())
        return {"parameters": parameters, "get": described}

    return {
        "/stream/{namespace}/{name}": stream("follow", NAMED),
        "/stream/{name}": stream("followDefault", _NAME),
    }


def health() -> Json:
    """Return the paths of the health of one web node."""

    def asked(operation_id: str, summary: str, schema: str) -> dict[str, Any]:
        return {"get": operation(operation_id, summary, 200, of_json(schema), ())}

    return {
        "/livez": asked("live", "Look whether the node that answers lives.", "Live"),
        "/readyz": asked("ready", "Look whether it can count: 503 says why not.", "Ready"),
    }
