"""What differs between two revisions, and keeping secrets out of what is shown."""

import difflib
import json
import re
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from fleet import pillar
from fleet.revision import NOTE, Revision

#: What is shown in the place of a secret.
MASK = "***"
#: A secret that is not longer would be found in words that are none.
_SHORT = 5
#: Bytes of a file beyond which only its name is shown.
_LARGE = 2**20


def of_revisions(before: Revision | None, after: Revision) -> list[dict[str, Any]]:
    """
    Return the files that differ between two revisions, by name.

    before
        The revision that the fleet is on; None has nothing differ, for there is nothing to hold
        the first one against.

    Returns of each ``path``, ``change`` (``added``, ``removed``, ``changed``) and ``diff``: a
    unified one, or None where one of the two is no text.
    """
    if before is None:
        return []
    old, new = _files(before.folder), _files(after.folder)
    found = []
    for path in sorted(old.keys() | new.keys()):
        one, other = old.get(path), new.get(path)
        if one == other:
            continue
        change = "added" if one is None else "removed" if other is None else "changed"
        found.append({"path": path, "change": change, "diff": _unified(path, one, other)})
    return found


def _files(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Return kind and content of every file and link below a folder, by its name."""
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = ("link", f"{path.readlink()}\n".encode())
        elif path.is_file() and name != NOTE:
            program = path.stat().st_mode & stat.S_IXUSR
            found[name] = ("program" if program else "file", path.read_bytes())
    return found


def _unified(
    path: str, one: tuple[str, bytes] | None, other: tuple[str, bytes] | None
) -> str | None:
    old, new = _text(one), _text(other)
    if old is None or new is None:
        return None
    lines = difflib.unified_diff(
        old,
        new,
        _label("a", path, one, other),
        _label("b", path, other, one),
        lineterm="",
    )
    text = "\n".join(lines)
    if not text and one and other:
        return f"--- {_label('a', path, one, other)}\n+++ {_label('b', path, other, one)}"
    return text


def _label(
    side: str, path: str, own: tuple[str, bytes] | None, other: tuple[str, bytes] | None
) -> str:
    if own is None:
        return "/dev/null"
    kind = f" ({own[0]})" if other and other[0] != own[0] else ""
    return f"{side}/{path}{kind}"


def _text(entry: tuple[str, bytes] | None) -> list[str] | None:
    if entry is None:
        return []
    if len(entry[1]) > _LARGE or b"\0" in entry[1]:
        return None
    try:
        return entry[1].decode("utf-8").splitlines()
    except UnicodeDecodeError:
        return None


# Secrets


def secrets(revision: Revision, nodes: Iterable[str]) -> set[str]:
    """
    Return every secret that nodes have by the pillar of a revision, and how it may be written.

    Raises FleetError when the pillar does not render.
    """
    found: set[str] = set()
    for node in nodes:
        chosen = pillar.of_node(revision.master, revision.pillars, node)
        for text in _leaves(chosen.get("secrets")):
            found |= _spellings(text)
    return {each for each in found if len(each) > _SHORT}


def masker(secrets: Iterable[str]) -> Callable[[Any], Any]:
    """Return a function that puts ``***`` in the place of each secret, wherever in data it is."""
    longest_first = sorted(set(secrets), key=lambda each: (-len(each), each))
    pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def mask(value: Any) -> Any:
        if isinstance(value, str):
            return pattern.sub(MASK, value)
        if isinstance(value, dict):
            return {mask(key): mask(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [mask(each) for each in value]
        return value

    return mask


def _leaves(value: Any) -> Iterable[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _leaves(each)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _spellings(secret: str) -> set[str]:
    """Return a secret as files have it: whole, line by line, in a URL, in JSON."""
    # The first and the last line of a PEM block are everybody's.
    lines = [line.strip() for line in secret.splitlines() if not line.startswith("-----")]
    found = {secret.strip(), *lines}
    for each in [secret.strip(), *lines]:
        found |= {quote(each, safe=""), quote(each), quote_plus(each), json.dumps(each)[1:-1]}
    return found
