"""What the OpenAPI document says of the routes that are compatible with CountAPI and Abacus.

Each verb has its paths and its methods, each of which is an operation: the root's, with what both
families answer, and those below ``/countapi`` with what CountAPI answered alone.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from counterapp import shields
from counterapp.family import COUNTAPI, METHODS
from counterapp.inputs import LONGEST_LIFETIME
from counterapp.operations import (
    ONCE,
    OPTIONAL_OWNER,
    failure,
    of_json,
    operation,
    query,
)
from counterapp.schemas import NUMBER, Json, object_of

_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}

_WORD = {
    "type": "string",
    "minLength": 3,
    "maxLength": 64,
    "description": "A name, or ':HOST:' or ':PATHNAME:' for the page that asks.",
}
_WORDS = {
    word: {"name": word, "in": "path", "required": True, "schema": _WORD}
    for word in ("namespace", "name")
}

_FORMS = [
    query("callback", _TEXT, "The JavaScript function that JSONP calls; without it, it is JSON."),
    query("img", _TEXT, "A transparent pixel instead, whatever happened; the status tells."),
]
_KEYS = [
    query("admin_key", _TEXT, "The admin key, where no header can be sent."),
    query("token", _TEXT, "The same, by Abacus' name."),
]


def _open(properties: Json, required: tuple[str, ...] = (), **more: Any) -> Json:
    """Return the schema of an object that may have more: each family's clients find their own."""
    optional = tuple(name for name in properties if name not in required)
    return {**object_of(properties, optional, **more), "additionalProperties": True}


SCHEMAS: Json = {
    "CompatValue": _open({"value": NUMBER}, required=("value",)),
    "CompatChange": _open({"value": NUMBER, "old_value": NUMBER}, required=("value", "old_value")),
    "CompatMade": _open(
        {"namespace": _TEXT, "key": _TEXT, "value": NUMBER, "admin_key": _TEXT},
        required=("namespace", "key", "value"),
    ),
    "CompatDeleted": _open({"status": _TEXT, "message": _TEXT}, required=("status", "message")),
    "CompatInfo": _open(
        {
            "namespace": _TEXT,
            "key": _TEXT,
            "value": NUMBER,
            "created": {"type": "integer", "description": "Milliseconds since 1970."},
            "ttl": {
                "type": ["integer", "null"],
                "description": "Milliseconds; null for never.",
            },
            "update_lowerbound": NUMBER,
            "update_upperbound": NUMBER,
            "enable_reset": {"type": "boolean"},
            "full_key": _TEXT,
            "exists": {"type": "boolean"},
            "is_genuine": {"type": "boolean", "description": "Nobody has its admin key."},
            "expires_in": {"type": "integer", "description": "Seconds; -1 for never."},
            "expires_str": _TEXT,
            "step": NUMBER,
        },
        required=("namespace", "key", "value", "created", "ttl"),
    ),
    "CompatStats": _open(
        {
            "keys_created": _COUNT,
            "keys_updated": {**NUMBER, "type": ["integer", "null"]},
            "requests": NUMBER,
            "version": _TEXT,
        },
        required=("keys_created", "keys_updated", "requests", "version"),
    ),
    "CompatHealth": _open({"status": _TEXT, "uptime": _TEXT}, required=("status", "uptime")),
    "CompatRefusal": _open(
        {"error": {"type": "string", "description": "A sentence."}}, required=("error",)
    ),
    "CountapiRefusal": _open(
        {
            "error": {"type": "string", "description": "A sentence, where CountAPI had no form."},
            "value": {**NUMBER, "type": ["integer", "null"]},
            "old_value": {**NUMBER, "type": ["integer", "null"]},
        }
    ),
}


@dataclass(frozen=True)
class _Verb:
    """What one word of the family does."""

    summary: str
    answer: str
    parameters: list[Json] = field(default_factory=list)
    problems: tuple[int, ...] = ()
    owned: bool = False
    """Whether the admin key of the counter is looked at."""
    statuses: tuple[int, ...] = (200,)
    """Of its success. With JSONP it is always 200."""
    places: tuple[tuple[str, ...], ...] = (("name",), ("namespace", "name"))
    """Which names may stand in its path."""


_CHANGING = (403, 405, 422)

_VERBS = {
    "hit": _Verb(
        "Count a hit; the counter is made if need be.", "CompatValue", [ONCE], (403, 405, 422)
    ),
    "get": _Verb("Look at the value.", "CompatValue", [], (404,)),
    "info": _Verb("Look at all that is known of a counter.", "CompatInfo", [], (404,)),
    "update": _Verb(
        "Add an amount.",
        "CompatValue",
        [
            query("amount", NUMBER, "What is added, by CountAPI's name."),
            query("value", NUMBER, "The same, by Abacus' name."),
            ONCE,
        ],
        (403, 404, 405, 422),
        owned=True,
    ),
    "set": _Verb(
        "Set the value.",
        "CompatChange",
        [{**query("value", NUMBER, "The new value."), "required": True}],
        (403, 404, 405),
        owned=True,
    ),
    "reset": _Verb("Set the value to 0.", "CompatChange", [], (403, 404, 405), owned=True),
    "delete": _Verb(
        "Remove a counter with its history.", "CompatDeleted", [], (403, 404, 405), owned=True
    ),
    "create": _Verb(
        "Make a counter.",
        "CompatMade",
        [
            query("value", NUMBER, "What it begins with."),
            query("initializer", NUMBER, "The same, by Abacus' name."),
            query("step", NUMBER, "What one hit adds; not 0."),
            query("update_lowerbound", NUMBER, "The least amount of one update."),
            query("update_upperbound", NUMBER, "The greatest amount of one update."),
            query("enable_reset", {"type": "boolean"}, "Whether it may be set and reset."),
            query(
                "expiration",
                {"type": "integer", "minimum": 1, "maximum": LONGEST_LIFETIME},
                "Seconds until it ceases to be.",
            ),
        ],
        (403, 405, 409),
        owned=True,
        statuses=(200, 201),
        places=((), ("name",), ("namespace", "name")),
    ),
    "stats": _Verb("Look at how much the service holds.", "CompatStats", places=((),)),
    "healthcheck": _Verb("Look whether the process runs.", "CompatHealth", places=((),)),
}

_NAMES_IN_QUERY = [
    query("namespace", _TEXT, "Its namespace; 'default' without it."),
    query("key", _TEXT, "Its key; without it one is made up."),
]

REFUSALS = {
    400: "A name, number, flag, callback or key is none; a parameter is missing or there twice.",
    403: "No admin key or another one, not resettable, out of bounds, or asked for ahead.",
    404: "There is no such counter.",
    405: "The route does not have this method.",
    408: "The body did not come whole within 10 s.",
    409: "There is a counter of this name already.",
    413: "The body is too large.",
    422: "The Idempotency-Key was used for something else.",
    429: "There is no room, or the client has had its share.",
    503: "The database cannot do it now, or too much waits; what was asked for may have been done.",
}


# What `img` asks for, and `callback`, which has no other status than 200.
_PIXEL: Json = {"image/gif": {"schema": {"type": "string", "contentMediaType": "image/gif"}}}
_SCRIPT: Json = {"application/javascript": {"schema": _TEXT}}
_IMAGE: Json = {"image/svg+xml": {"schema": _TEXT}}

_SHIELDS = {
    "hit": "Count a hit, and show the new value as Abacus' badge.",
    "get": "Look at the value as Abacus' badge.",
}
_LOOK = [query(name, _TEXT, "As Abacus has it.") for name in shields.QUERY]

COUNTAPI_VERBS = ("hit", "get", "info", "update", "set", "create", "stats")
"""What there is below ``/countapi``."""


def paths() -> Json:
    """Return the paths of all verbs."""
    found: Json = {}
    for verb, described in _VERBS.items():
        for words in described.places:
            found[_path(f"/{verb}", words)] = _item("compat", verb, described, words)
    for verb in COUNTAPI_VERBS:
        # There, a counter is named in the query when it is made.
        described = replace(_VERBS[verb], places=((),)) if verb == "create" else _VERBS[verb]
        for words in described.places:
            path = _path(f"{COUNTAPI}/{verb}", words)
            found[path] = _item("countapi", verb, described, words)
    for verb, summary in _SHIELDS.items():
        described = replace(_VERBS[verb], summary=summary, parameters=[*_LOOK, ONCE])
        words = ("namespace", "name")
        path = f"{_path(f'/{verb}', words)}/shield"
        found[path] = _item("compat", verb, described, words, "Shield", _IMAGE)
    return found


def _path(begin: str, words: tuple[str, ...]) -> str:
    return "".join([begin, *(f"/{{{word}}}" for word in words)])


def _item(
    family: str,
    verb: str,
    described: _Verb,
    words: tuple[str, ...],
    suffix: str = "",
    content: Json | None = None,
) -> Json:
    parameters = [*described.parameters, *_FORMS, *(_KEYS if described.owned else [])]
    if verb == "create" and not words:
        parameters += _NAMES_IN_QUERY
    # By both names it is the operation itself; the others are told apart by what they leave out.
    left_out = ("Anew" if verb == "create" else "", "Default", "")[len(words)]
    item: Json = {"parameters": [_WORDS[word] for word in words] + parameters}
    for method in METHODS[verb]:
        by = "" if method == "GET" else f"By{method.capitalize()}"
        each = operation(
            f"{family}{verb.capitalize()}{suffix}{left_out}{by}",
            described.summary,
            described.statuses[0],
            content or of_json(described.answer) | _SCRIPT | _PIXEL,
            described.problems,
            failed=_refused if family == "compat" else _refused_by_countapi,
            headers={"X-Path": {"description": "Namespace and key.", "schema": _TEXT}},
        )
        for status in described.statuses:
            each["responses"][str(status)] = each["responses"][str(described.statuses[0])]
        if described.owned:
            each["security"] = OPTIONAL_OWNER
        item[method.lower()] = each
    return item


def _refused(status: int) -> Json:
    return {"$ref": f"#/components/responses/Refusal{status}"}


def _refused_by_countapi(status: int) -> Json:
    return {"$ref": f"#/components/responses/Countapi{status}"}


def answers() -> Json:
    """Return the answers that the operations refer to."""
    return {
        f"{form}{status}": failure(text, status, of_json(schema) | _PIXEL)
        for form, schema in (("Refusal", "CompatRefusal"), ("Countapi", "CountapiRefusal"))
        for status, text in REFUSALS.items()
    }
