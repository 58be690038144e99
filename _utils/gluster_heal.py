"""
What ``gluster volume heal`` says in words.

Launching a heal and resolving a split-brain know no XML in glusterfs 10 and 11: with ``--xml`` they
print the same text. The lists of ``heal info`` do, but a file whose name is not UTF-8 leaves the
XML empty, with exit code 0.
"""

import re
from typing import Any

_STATES = re.compile(r"(.*?) ?(- (?:Is in split-brain|Possibly undergoing heal)[^/]*)?", re.DOTALL)
_HEALED = re.compile(r"^Healed (.*?)\.$", re.MULTILINE)
_FAILED = re.compile(r"^Healing (.*?) failed: *(.*?)\.?$", re.MULTILINE)
_GFID = re.compile(r"<?(?:gfid:)?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})>?")


def entries(text: str) -> dict[str, list[dict[str, Any]]]:
    """Return the files that wait on each brick from the text of ``heal info``.

    :returns: dict of brick name to a list of ``{"gfid": None or text, "path", "split_brain"}``. The
        text has the gfid only of a file whose path is not known, as ``<gfid:…>``.
    """
    found: dict[str, list[str]] = {}
    brick: list[str] | None = None
    for line in text.splitlines():
        if line.startswith("Brick ") and ":/" in line:
            brick = found.setdefault(line.removeprefix("Brick "), [])
        elif line.startswith(("Status: ", "Number of entries: ")):
            brick = None
        elif brick is not None and line.startswith(("/", "<gfid:")):
            brick.append(line)
        elif brick:
            # A name with a line break in it goes on here.
            brick[-1] += "\n" + line
    return {name: [_entry(line) for line in lines] for name, lines in found.items()}


def target(path: Any) -> str | None:
    """Return a path or gfid as ``split-brain`` wants it, None if it is neither.

    :param path: absolute within the volume, or ``gfid:…``, also as ``heal info`` shows it.
    """
    match = _GFID.fullmatch(str(path))
    if match:
        return f"gfid:{match.group(1)}"
    return path if isinstance(path, str) and path.startswith("/") else None


def resolved(text: str) -> dict[str, Any]:
    """Return ``{"healed": [path or gfid], "failed": {path or gfid: words}}`` of ``split-brain``."""
    return {"healed": _HEALED.findall(text), "failed": dict(_FAILED.findall(text))}


def left(bricks: list[dict[str, Any]]) -> list[str]:
    """Return in words what is left to heal where, an empty list if nothing is.

    :param bricks: as ``gluster.heal`` returns them for ``info summary``.
    """
    words = []
    for item in bricks:
        if not item["connected"]:
            words.append(f"{item['name']} cannot be asked ({item['reason']})")
        elif item["total"]:
            split = f", {item['split_brain']} of them in split-brain" if item["split_brain"] else ""
            words.append(f"{item['total']} entries on {item['name']}{split}")
    return words


def _entry(line: str) -> dict[str, Any]:
    parts = _STATES.fullmatch(line)
    assert parts, "the pattern matches every text"
    path, states = parts.groups("")
    match = _GFID.fullmatch(path)
    gfid = match.group(1) if match else None
    return {"gfid": gfid, "path": path, "split_brain": "split-brain" in states}
