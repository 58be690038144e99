"""Prints as JSON what the logs of a node say: run on the node by evidence.py, with any Python 3.

Its arguments are when the test began, in seconds of the epoch, and the places to read: a file is
read in any case, of a folder what was written to since then.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

KEPT_LINES = 2000
KEPT_BYTES = 2_000_000


def read(began: float, places: list[Path]) -> dict[str, object]:
    """Return the ends of the text files by path as ``logs``, and ``problems`` with them."""
    logs: dict[str, str] = {}
    problems: list[str] = []
    for path in (path for place in places for path in _files(place)):
        try:
            text = _end(path) if path in places or path.stat().st_mtime >= began else None
        except OSError as error:
            # A log that is rotated meanwhile; the others are as good as before.
            problems.append(str(error))
            continue
        if text is not None:
            logs[str(path)] = text
    return {"logs": logs, "problems": problems}


def _files(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        yield from [place] if place.exists() else []
        return
    for path in sorted(place.rglob("*")):
        # journalctl tells what is in the journal.
        if path.is_file() and path.relative_to(place).parts[0] != "journal":
            yield path


def _end(path: Path) -> str | None:
    """Return the last lines of a file, None of one that is no text."""
    with path.open("rb") as file:
        size = path.stat().st_size
        file.seek(max(0, size - KEPT_BYTES))
        data = file.read()
    if b"\0" in data:
        return None
    return "".join(data.decode(errors="replace").splitlines(keepends=True)[-KEPT_LINES:])


if __name__ == "__main__":
    print(json.dumps(read(float(sys.argv[1]), [Path(place) for place in sys.argv[2:]])))
