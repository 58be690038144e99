"""What requests carry: bodies, query parameters, headers. All is checked before it is used.

What is not well-formed is refused with 400, what is well-formed but not allowed with 422; each by
:func:`flask.abort` with a sentence that names the field.
"""

import json
import logging
import re
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn, TypeVar

from flask import abort, request
from werkzeug.exceptions import HTTPException

from counterapp.counters import LARGEST, LONGEST_KEY, NAME, Key

MAX_BODY = 16 * 1024
"""Bytes of a body, but for an import's."""

LONGEST_LIFETIME = 100 * 366 * 24 * 3600
"""Seconds: a hundred years, so that every end is a date."""

_NUMBER = re.compile("[1-9][0-9]{0,8}")
_IDEMPOTENCY_KEY = re.compile(f"[!-~]{{1,{LONGEST_KEY}}}")

Word = TypeVar("Word", bound=str)

Check = Callable[[Any], Any]
"""Returns what a member of a JSON object says; ``ValueError`` says what it must be."""

log = logging.getLogger(__name__)


def key(namespace: str, name: str) -> Key:
    """Return the key that a path names."""
    try:
        return Key.make(namespace, name)
    except ValueError as error:
        abort(400, str(error))


def body() -> bytes:
    """Return the request's whole body."""
    # Reading also covers chunked bodies, which announce no length; Flask's limit ends it.
    try:
        found = request.get_data(cache=False)
    except HTTPException:
        raise
    except Exception as error:
        # Each WSGI server has its own errors for bytes that are no body by the rules of HTTP.
        log.info("unreadable body", extra={"cause": type(error).__name__})
        abort(400, "The request's body cannot be read.")
    limit = request.max_content_length
    if request.content_length is None and limit is not None and len(found) >= limit:
        # Of a chunked body, Werkzeug silently gives what is within the limit.
        abort(413, f"The body must be smaller than {limit} bytes.")
    return found


def no_body() -> None:
    """Refuse a request that has a body, for one whose body would be mistaken for an amount."""
    if body():
        abort(400, "A hit takes no body: send the request without one.")


def text() -> str:
    """Return the body, which is UTF-8; a byte order mark, as spreadsheets write it, is dropped."""
    try:
        return body().decode("utf-8-sig")
    except UnicodeDecodeError:
        abort(400, "The body must be UTF-8.")


def json_value() -> Any:
    """Return what the JSON of the body says."""
    if request.mimetype != "application/json":
        abort(415, "The body must be JSON, with 'Content-Type: application/json'.")
    try:
        return json.loads(
            text(),
            parse_constant=_no_number,
            parse_float=_exactly,
            object_pairs_hook=_once_each,
        )
    except (ValueError, RecursionError) as error:
        # Python's own words quote no input; some are about Python, so only the position is told.
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        abort(400, f"The body is not valid JSON{where}.")


def _no_number(_word: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")


def _exactly(number: str) -> Decimal | float:
    # As a float, 9007199254740990.5 would be a whole number.
    try:
        return Decimal(number)
    except InvalidOperation:
        # An exponent beyond all that a Decimal has, which is no whole number that we take.
        return float("inf")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is there twice")
    return found


def json_object(checks: Mapping[str, Check], required: Collection[str] = ()) -> dict[str, Any]:
    """Return the members of the JSON object in the body, each as its check returned it."""
    found = json_value()
    if not isinstance(found, dict):
        abort(422, "The body must be a JSON object.")
    try:
        return members(found, checks, required)
    except ValueError as error:
        abort(422, str(error))


def members(
    found: Mapping[str, Any], checks: Mapping[str, Check], required: Collection[str] = ()
) -> dict[str, Any]:
    """Return the checked members of an object; ``ValueError`` says everything that is wrong."""
    problems = [f"{json.dumps(word[:64])} is no field here" for word in found if word not in checks]
    if len(problems) > 5:
        problems[5:] = [f"{len(problems) - 5} more are none either"]
    problems += [f'"{word}" is missing' for word in required if word not in found]
    checked = {}
    for word, check in checks.items():
        if word in found:
            try:
                checked[word] = check(found[word])
            except ValueError as error:
                problems.append(f'"{word}" {error}')
    if problems:
        raise ValueError(f"{'; '.join(problems)}.")
    return checked


def integer(least: int = -LARGEST, most: int = LARGEST) -> Check:
    """Return the check for a whole number between two others."""

    def check(value: Any) -> int:
        # To JSON 1.0 and 1e3 are whole numbers; to Python True is one.
        whole = type(value) in {int, Decimal} and least <= value <= most and value % 1 == 0
        if not whole:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(value)

    return check


def or_null(check: Check) -> Check:
    """Return a check that takes null for None."""
    return lambda value: None if value is None else check(value)


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def name(value: Any) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError("must be 3 to 64 letters, digits, '_', '.' or '-'")
    return value


def step(value: Any) -> int:
    found: int = integer()(value)
    if found == 0:
        raise ValueError("must not be 0")
    return found


def query(*known: str) -> dict[str, str]:
    """Return the query parameters; one that is not known, or is there twice, is refused."""
    for word, values in request.args.lists():
        if word not in known:
            there = f"; there are {', '.join(known)}" if known else ""
            abort(400, f"There is no query parameter {json.dumps(word[:64])} here{there}.")
        if len(values) > 1:
            abort(400, f"The query parameter {word} may be there only once.")
    return dict(request.args)


def readable_query() -> None:
    """Refuse a query with bytes that are no UTF-8, which clients have to write as ``%xx``."""
    try:
        _ = request.args
    except UnicodeDecodeError:
        abort(400, "The query must be UTF-8, or written with %.")


def choice(parameters: Mapping[str, str], word: str, choices: Collection[Word]) -> Word:
    """Return one of some words; the first is the default."""
    asked = parameters.get(word, next(iter(choices)))
    found = next((each for each in choices if each == asked), None)
    if found is None:
        abort(400, f"{word} must be one of {', '.join(choices)}.")
    return found


def whole_number(parameters: Mapping[str, str], word: str, default: int, most: int) -> int:
    """Return a query parameter that is a number from 1 to ``most``."""
    found = parameters.get(word, str(default))
    if not _NUMBER.fullmatch(found) or int(found) > most:
        abort(400, f"{word} must be a whole number from 1 to {most}.")
    return int(found)


def idempotency_key() -> str | None:
    """Return the ``Idempotency-Key`` of the request, if it has one."""
    found = request.headers.get("Idempotency-Key")
    if found is not None and not _IDEMPOTENCY_KEY.fullmatch(found):
        abort(400, f"An Idempotency-Key has 1 to {LONGEST_KEY} printable ASCII characters.")
    return found
