"""
What callers ask of HAProxy, looked at before HAProxy is asked: states, weights, checks, seconds.

HAProxy takes some of what cannot be, or refuses it without saying what could. A server is given as
:py:func:`haproxy.servers` returns it.
"""

import re
from typing import Any

from salt.exceptions import CommandExecutionError

_STATES = ("ready", "drain", "maint")
_STATUSES = ("UP", "DOWN", "DRAIN", "MAINT", "NOLB", "no check")
_CHECKS = {"health": "check", "agent": "agent-check"}


def seconds(name: str, value: Any) -> float:
    """
    Return a number of seconds that an argument of this name was given.

    Raises ``CommandExecutionError`` when it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise CommandExecutionError(f"{name} must be a number of seconds, not {value!r}")
    return value


def number(name: str, value: Any, least: int) -> int:
    """
    Return a whole number, not less than another, that an argument of this name was given.

    Raises ``CommandExecutionError`` when it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise CommandExecutionError(f"{name} must be a whole number from {least} on, not {value!r}")
    return value


def state(value: Any) -> str:
    """
    Return the state that an operator gives a server: ``ready``, ``drain`` or ``maint``.

    Raises ``CommandExecutionError`` when it is none.
    """
    if value not in _STATES:
        raise CommandExecutionError(
            f"{value!r} is no state of a server: use one of {', '.join(_STATES)}"
        )
    return str(value)


def status(value: Any) -> str:
    """
    Return HAProxy's word for how a server is, such as ``UP``; small letters will do.

    Raises ``CommandExecutionError`` when HAProxy has no such word.
    """
    for word in _STATUSES:
        if str(value).lower() == word.lower():
            return word
    raise CommandExecutionError(
        f"{value!r} is no status of a server: use one of {', '.join(_STATUSES)}"
    )


def weight(server: dict[str, Any], value: Any) -> str:
    """
    Return a weight for a server: ``0`` to ``256``, or a percentage of its own such as ``10%``.

    Raises ``CommandExecutionError`` for no such weight, and for a percentage of which is nothing
    left.
    """
    words = str(value)
    where = f"{server['backend']}/{server['name']}"
    match = re.fullmatch(r"([0-9]+)(%?)", words)
    if not match or (not match[2] and int(match[1]) > 256):
        raise CommandExecutionError(
            f"{words!r} is no weight for {where}: give 0 to 256, or a percentage such as 10%"
        )
    percent = bool(match[2]) and int(match[1])
    if percent and not server["initial_weight"] * percent // 100:
        raise CommandExecutionError(
            f"{words} of the weight of {where} in the configuration, "
            f"{server['initial_weight']}, is none: give its server a `weight 100` there"
        )
    return words


def checks(server: dict[str, Any], kind: str, enabled: Any) -> bool:
    """
    Return whether the checks of a server are to be on.

    kind
        ``health`` or ``agent``.

    Raises ``CommandExecutionError`` when the server's configuration has no such checks.
    """
    where = f"{server['backend']}/{server['name']}"
    if not isinstance(enabled, bool):
        raise CommandExecutionError(
            f"{kind} checks of {where} are True (on) or False (off), not {enabled!r}"
        )
    # HAProxy agrees to turn off what is not there.
    if server[f"{kind}_checks"] is None:
        raise CommandExecutionError(
            f"{where} has no {kind} checks to turn on or off: its server line in HAProxy's"
            f" configuration needs `{_CHECKS[kind]}`"
        )
    return enabled
