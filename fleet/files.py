"""Writing a file in one step: whoever reads it sees the old one or the new one, whole."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """
    Have a file hold a text, also after the machine has lost its power.

    path
        The file; its folder is made (0700) when missing.
    mode
        Permissions of the file.

    Raises OSError when it cannot be written; then the old file is as it was.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    partial = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, content: Any, mode: int = 0o600) -> None:
    """Like :func:`write`, with the JSON of something."""
    write(path, json.dumps(content, indent=1) + "\n", mode)


def append(path: Path, line: str) -> None:
    """Add a line to a file, made when missing, and have it on the disk."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        # A line that a crash has cut is ended, so that it takes no other with it.
        if stream.tell() and not path.read_bytes().endswith(b"\n"):
            stream.write("\n")
        stream.write(line + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def lines_of_json(path: Path) -> list[dict[str, Any]]:
    """Return the dictionaries of a file, one a line; a line that a crash has cut is left out."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(entry, dict):
            found.append(entry)
    return found


def point(link: Path, target: str) -> None:
    """Have a symbolic link name a target, in one step."""
    link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if link.is_symlink() and str(link.readlink()) == target:
        return
    partial = link.with_name(f".{link.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    partial.replace(link)
    sync_folder(link.parent)


def sync_folder(folder: Path) -> None:
    """Have what was renamed in a folder on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
