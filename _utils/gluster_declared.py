"""
What a user declares of a Gluster pool, checked before anything is asked of glusterd.

Every function returns what it was given, in the one form that the other parts use.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from salt.exceptions import CommandExecutionError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:_-]*[A-Za-z0-9])?")
_OPTION = re.compile(r"[a-z][a-z0-9-]*(\.[A-Za-z0-9_-]+)+")


def volume_name(name: Any) -> str:
    """Return ``name``. Raise CommandExecutionError if glusterd would not take it for a volume."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name == "all":
        raise CommandExecutionError(
            f"{name!r} is no volume name: letters, digits, '-' and '_', and not 'all'"
        )
    return name


def host_name(name: Any) -> str:
    """Return ``name``. Raise CommandExecutionError if it cannot be a host name or address."""
    if not isinstance(name, str) or not _HOST.fullmatch(name):
        raise CommandExecutionError(f"{name!r} is no host name or address")
    return name


def brick(text: str) -> dict[str, str]:
    """Return ``{"name", "host", "path"}`` for a brick written ``host:/absolute/path``.

    :raises CommandExecutionError: if it is not written like that.
    """
    host, colon, path = str(text).partition(":/")
    if not colon or not _HOST.fullmatch(host) or re.search(r"[\s\0]", path) or not path.strip("/"):
        raise CommandExecutionError(f"brick {text!r} is not written as host:/absolute/path")
    path = "/" + re.sub("/+", "/", path).strip("/")
    return {"name": f"{host}:{path}", "host": host, "path": path}


def layout(
    bricks: Sequence[str],
    replica: int = 1,
    arbiter: int = 0,
    disperse: int = 0,
    redundancy: int = 0,
) -> list[str]:
    """Check a wanted layout and return its bricks, normalised, in order.

    :param bricks: list of ``host:/path``; each run of ``replica`` bricks holds the same files, and
        with ``arbiter=1`` the last of each run keeps their names and metadata only. With
        ``disperse`` each run of so many is erasure-coded, and ``redundancy`` of them may be lost.
    :raises CommandExecutionError: naming the first thing that glusterd could not make a volume of.
        It has to be found here: asked in XML, glusterd takes a brick count that is no multiple of
        the replica count, fails half-way and leaves a volume behind that cannot be used.
    """
    if isinstance(bricks, str) or not bricks:
        raise CommandExecutionError(
            "bricks must be a list of host:/absolute/path with at least one entry"
        )
    if not _whole(replica) or replica < 1:
        raise CommandExecutionError(f"replica must be a whole number from 1 on, not {replica!r}")
    if arbiter not in (0, 1) or (arbiter and replica != 3):
        raise CommandExecutionError(
            "arbiter must be 0 or 1, and 1 only with replica 3 (two copies and the arbiter)"
        )
    if disperse or redundancy:
        if not _whole(disperse) or not _whole(redundancy) or not 0 < 2 * redundancy < disperse:
            raise CommandExecutionError(
                "disperse must be a whole number greater than twice redundancy, and redundancy one "
                f"from 1 on, not {disperse!r} and {redundancy!r}"
            )
        if replica != 1:
            raise CommandExecutionError("disperse and replica exclude each other")
    wanted = [brick(text)["name"] for text in bricks]
    twice = sorted({name for name in wanted if wanted.count(name) > 1})
    if twice:
        raise CommandExecutionError(f"brick {twice[0]} is given twice")
    if len(wanted) % (disperse or replica):
        kind = f"disperse {disperse}" if disperse else f"replica {replica}"
        raise CommandExecutionError(
            f"{len(wanted)} bricks cannot be put into sets of {kind}: give a multiple of it"
        )
    return wanted


def option_values(options: Mapping[str, Any] | None) -> dict[str, str]:
    """Return volume options as glusterd wants them, ``{name: text}``; booleans become on and off.

    :raises CommandExecutionError: for a name that is not written in full (glusterd completes short
        names, so what was set could not be found again) and for a value without text.
    """
    values = {}
    for name, value in (options or {}).items():
        if not isinstance(name, str) or not _OPTION.fullmatch(name):
            raise CommandExecutionError(
                f"{name!r} is no volume option: write its full name, e.g. network.ping-timeout"
            )
        if isinstance(value, bool):
            value = "on" if value else "off"
        elif isinstance(value, list | tuple):
            value = ",".join(str(item) for item in value)
        elif value is None or isinstance(value, dict):
            raise CommandExecutionError(f"option {name} has no value: {value!r}")
        values[name] = str(value).strip()
        if not values[name]:
            raise CommandExecutionError(f"option {name} has an empty value")
    return values


def _whole(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)
