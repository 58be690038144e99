"""The schemas of ``/api/v1``'s OpenAPI document: what its requests and answers look like."""

from typing import Any

from counterapp.counters import DEFAULT_NAMESPACE, LARGEST
from counterapp.inputs import LONGEST_LIFETIME

Json = dict[str, Any]

NAME = {"type": "string", "pattern": "^[A-Za-z0-9_.-]{3,64}$", "minLength": 3, "maxLength": 64}
NUMBER = {"type": "integer", "minimum": -LARGEST, "maximum": LARGEST}
TIME = {"type": "string", "format": "date-time"}


def object_of(properties: Json, optional: tuple[str, ...] = (), **more: Any) -> Json:
    required = [name for name in properties if name not in optional]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
        **more,
    }


def _or_null(schema: Json) -> Json:
    return {**schema, "type": [schema["type"], "null"]}


RATES = object_of(
    {name: {"type": "number"} for name in ("minute", "hour", "day")},
    description="By how much hits and updates changed it in the last 60 seconds, 60 minutes and 24"
    f" hours. What is beyond ±{LARGEST} is given as that.",
)
NODES = {
    "type": "object",
    "additionalProperties": NUMBER,
    "description": "How much of the value hits through each web node have added.",
}
WHO = {"node": {"type": "string"}, "release": {"type": "string"}}
SETTING = {
    "step": {**NUMBER, "not": {"const": 0}, "description": "What one hit adds."},
    "lower": {**_or_null(NUMBER), "description": "The least amount of one update."},
    "upper": {**_or_null(NUMBER), "description": "The greatest amount of one update."},
    "resettable": {"type": "boolean", "description": "Whether the value may be set."},
}
COUNTER = {
    "namespace": NAME,
    "key": NAME,
    "value": NUMBER,
    **SETTING,
    "owned": {"type": "boolean", "description": "Whether there is an admin key for it."},
    "created": TIME,
    "updated": TIME,
    "expires": _or_null(TIME),
    "nodes": NODES,
    "rates": {"$ref": "#/components/schemas/Rates"},
}
SECRET = {
    "type": "string",
    "description": "The new admin key. It is kept as a hash, so this is the one time it is seen.",
}
REFUSED = object_of(
    {
        "record": {"type": "integer", "minimum": 1, "description": "Which one, from 1."},
        "line": {
            "type": "integer",
            "minimum": 2,
            "description": "On which line of a CSV it begins, from 1.",
        },
        "text": {"type": "string", "description": "What it says, or the beginning of that."},
        "namespace": NAME,
        "key": NAME,
        "reason": {"type": "string"},
    },
    optional=("line", "namespace", "key"),
)
RECORD = object_of(
    {"namespace": {**NAME, "default": DEFAULT_NAMESPACE}, "key": NAME, "value": NUMBER},
    optional=("namespace",),
)
POINT = object_of(
    {
        "time": TIME,
        "value": {**NUMBER, "description": "At the end of this time, or now."},
        "change": {**NUMBER, "description": "By hits and updates; what was set is in none."},
    }
)
DELETED = {"type": "integer", "minimum": 0}

SCHEMAS: Json = {
    "Counter": object_of(COUNTER),
    "NewCounter": object_of({**COUNTER, "admin_key": SECRET}, optional=("admin_key",)),
    "Rates": RATES,
    "Plan": object_of(
        {
            "namespace": {**NAME, "default": DEFAULT_NAMESPACE},
            "key": {**NAME, "description": "Without it one is made up."},
            "value": {**NUMBER, "default": 0},
            **SETTING,
            "lifetime": {
                "type": ["integer", "null"],
                "minimum": 1,
                "maximum": LONGEST_LIFETIME,
                "description": "Seconds until it ceases to be.",
            },
        },
        optional=("namespace", "key", "value", *SETTING, "lifetime"),
    ),
    "Page": object_of(
        {
            "items": {"type": "array", "items": {"$ref": "#/components/schemas/Counter"}},
            "next": {
                "type": ["string", "null"],
                "description": "What 'after' must be for the next page; null on the last.",
            },
        }
    ),
    "History": object_of(
        {
            "resolution": {"enum": ["minute", "hour", "day"]},
            "points": {"type": "array", "items": POINT},
        }
    ),
    "Counted": object_of(
        {
            "namespace": NAME,
            "key": NAME,
            "value": NUMBER,
            "replayed": {
                "type": "boolean",
                "description": "Whether it was counted earlier, with the same Idempotency-Key.",
            },
            **WHO,
        }
    ),
    "Set": object_of({"namespace": NAME, "key": NAME, "value": NUMBER, "previous": NUMBER, **WHO}),
    "Amount": object_of({"amount": NUMBER}),
    "Value": object_of({"value": NUMBER}),
    "Requests": object_of(
        {"total": NUMBER, "nodes": NODES, "rates": {"$ref": "#/components/schemas/Rates"}, **WHO}
    ),
    "Stats": object_of(
        {
            "counters": {"type": "integer"},
            "namespaces": {"type": "integer"},
            "hits": {
                **_or_null(NUMBER),
                "description": "Of all counters that are there; null beyond what a number here is.",
            },
            **WHO,
        }
    ),
    "Records": {"type": "array", "items": RECORD},
    "Imported": object_of(
        {
            "admin_key": SECRET,
            "taken": {"type": "integer", "minimum": 0},
            "refused": {"type": "array", "items": REFUSED},
        },
        optional=("admin_key",),
    ),
    "Deleted": object_of(
        {
            "deleted": DELETED,
            "left": {**DELETED, "description": "How many there are still: ask again for them."},
        }
    ),
    "Problem": {
        "type": "object",
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "namespace": {**NAME, "description": "Of a counter that may have been made."},
            "key": {**NAME, "description": "Of a counter that may have been made."},
            "admin_key": {
                "type": "string",
                "description": "The new key of what may have been made or imported: send it along"
                " as the Bearer to try again.",
            },
            "taken": {"type": "integer", "description": "Records imported before it ended."},
            "refused": {"type": "array", "items": REFUSED},
            "record": {
                "type": "integer",
                "minimum": 1,
                "description": "The first record of an import that is to be sent again.",
            },
            "deleted": {**DELETED, "description": "Counters deleted before it ended."},
            "counters": {**DELETED, "description": "Counters that would be deleted."},
        },
        "required": ["type", "title", "status", "detail"],
    },
}
