"""Query parameters of the CountAPI family, each checked to its last character.

``ValueError`` has the sentence for the client.
"""

import re
from collections.abc import Iterable

from flask import Request

from counterapp.counters import LARGEST

# A '+' that nobody has quoted arrives as a space.
_WHOLE = re.compile("[ +-]?[0-9]{1,16}")
_FLAGS = {"1": True, "true": True, "0": False, "false": False}


def refuse_repeated(request: Request, names: Iterable[str]) -> None:
    """Make sure that none of these is there twice: nobody could say which one counts."""
    for name in names:
        if len(request.args.getlist(name)) > 1:
            raise ValueError(f"{name} is given more than once")


def whole(
    request: Request, name: str, default: int | None, least: int = -LARGEST, most: int = LARGEST
) -> int | None:
    """Return a parameter that is a whole number."""
    text = request.args.get(name)
    if text is None:
        return default
    if not _WHOLE.fullmatch(text) or not least <= int(text) <= most:
        raise ValueError(f"{name} must be a whole number from {_shown(least)} to {_shown(most)}")
    return int(text)


def required(request: Request, name: str, example: int) -> int:
    """Return a parameter that is a whole number and has to be there."""
    found = whole(request, name, None)
    if found is None:
        raise ValueError(f"{name} is missing: say ?{name}={example}")
    return found


def one_of(request: Request, names: tuple[str, str]) -> int | None:
    """Return the whole number that goes by either of two names, depending on the client."""
    given = [name for name in names if name in request.args]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} mean the same: give one of them")
    return whole(request, given[0], None) if given else None


def flag(request: Request, name: str, default: bool) -> bool:
    """Return a parameter that is 1 or 0, true or false."""
    text = request.args.get(name)
    if text is None:
        return default
    if text.lower() not in _FLAGS:
        raise ValueError(f"{name} must be 1 or 0")
    return _FLAGS[text.lower()]


def _shown(number: int) -> str:
    return {LARGEST: "2^53 - 1", -LARGEST: "-(2^53 - 1)"}.get(number, str(number))
