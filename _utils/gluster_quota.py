"""
Quotas of Gluster volumes: limits as they are declared, and as glusterd tells them, as data.
"""

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

from salt.exceptions import CommandExecutionError

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGTP]?B)?", re.IGNORECASE)
_UNITS = {unit: 1024**power for power, unit in enumerate(("B", "KB", "MB", "GB", "TB", "PB"))}


def path(text: str) -> str:
    """Return a directory of a volume as glusterd writes it: from the volume's root, ``/`` first.

    :raises CommandExecutionError: if it is not written like that.
    """
    parts = str(text).split("/")
    if not str(text).startswith("/") or {".", ".."} & set(parts):
        raise CommandExecutionError(
            f"{text!r} is no directory of a volume: write it from the volume's root, as /logs"
        )
    return "/" + "/".join(part for part in parts if part)


def size(value: int | str) -> int:
    """Return a limit in bytes, from a whole number or text such as ``10GB`` or ``1.5TB``.

    glusterd takes multiples of 1024, and no limit below one byte.

    :raises CommandExecutionError: for anything else.
    """
    match = _SIZE.fullmatch(str(value).strip())
    found = int(float(match[1]) * _UNITS[(match[2] or "B").upper()]) if match else 0
    if found < 1 or isinstance(value, bool):
        raise CommandExecutionError(
            f"{value!r} is no size: write a number of bytes, or one with KB, MB, GB, TB or PB"
        )
    return found


def count(value: int | str) -> int:
    """Return a limit of files and directories as a whole number from 1 on.

    :raises CommandExecutionError: for anything else.
    """
    if isinstance(value, bool) or not str(value).isdecimal() or int(value) < 1:
        raise CommandExecutionError(f"{value!r} is no number of files and directories from 1 on")
    return int(value)


def percent(value: int | str) -> str:
    """Return a soft limit as glusterd wants it, e.g. ``80%``, from ``80`` or ``"80%"``.

    :raises CommandExecutionError: for anything but a whole number from 0 to 100.
    """
    text = str(value).strip().removesuffix("%")
    if isinstance(value, bool) or not text.isdecimal() or int(text) > 100:
        raise CommandExecutionError(f"{value!r} is no soft limit: write a percentage from 0 to 100")
    return f"{int(text)}%"


def limits(root: ElementTree.Element) -> dict[str, dict[str, Any]]:
    """Return the limits from ``volume quota NAME list`` or ``list-objects``, by path.

    Each is ``{"limit", "soft_percent", "soft_limit", "used", "available", "soft_exceeded",
    "exceeded"}``, in bytes or in numbers of files and directories.
    """
    found: dict[str, dict[str, Any]] = {}
    for node in root.iterfind("volQuota/limit"):
        if node.find("hard_limit") is None:
            continue  # a directory that cannot be asked has an error instead
        used = [
            int(node.findtext(tag, "")) for tag in ("file_count", "dir_count") if _has(node, tag)
        ]
        found[node.findtext("path", "")] = {
            "limit": int(node.findtext("hard_limit", "")),
            "soft_percent": int(node.findtext("soft_limit_percent", "").rstrip("%")),
            "soft_limit": int(node.findtext("soft_limit_value", "")),
            "used": sum(used) if used else _number(node.findtext("used_space")),
            "available": _number(node.findtext("avail_space") or node.findtext("available")),
            "soft_exceeded": node.findtext("sl_exceeded") == "Yes",
            "exceeded": node.findtext("hl_exceeded") == "Yes",
        }
    return found


def no_limits(error: Exception) -> bool:
    """Tell whether a refusal to list means that quota is on and nothing is limited."""
    return bool(re.search(r"^No (inode )?quota configured", getattr(error, "errstr", "")))


def _has(node: ElementTree.Element, tag: str) -> bool:
    return (node.findtext(tag) or "").isdecimal()


def _number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"-?\d+", text) else None
