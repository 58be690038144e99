"""
What a rollout leaves on the master: the lock, the journal of the one that runs, the history.

All are small JSON files in one folder, each replaced in one step, so that a master that dies at
any moment leaves whole ones.
"""

import contextlib
import datetime
import fcntl
import getpass
import json
import os
import pathlib
import socket
import tempfile
from collections.abc import Iterator
from typing import Any

from salt.exceptions import CommandExecutionError

LOCK = "rollout.lock"
JOURNAL = "rollout.json"
HISTORY = "history.jsonl"


class LedgerError(CommandExecutionError):
    """Somebody else has the lock, or there is nothing to unlock; the message says who and what."""


def now() -> str:
    """Return the present time as ISO 8601 text in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def started(pid: int) -> int | None:
    """
    Return when a process began, in the kernel's ticks since boot, or None when there is none.

    With the PID it names a process for good: PIDs come back, this pair does not before a reboot.
    """
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name stands in parentheses and may hold spaces and parentheses itself.
    return int(stat.rpartition(")")[2].split()[19])


def boot() -> str:
    """Return the kernel's ID of this boot."""
    return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def holder(folder: str | pathlib.Path) -> dict[str, Any] | None:
    """
    Return who has the lock, or None.

    The dictionary has ``owner``, ``pid``, ``since``, ``jid``, ``started``, ``boot``, ``alive``
    (whether that process still runs) and ``mine`` (whether it is this one).
    """
    found = _read(pathlib.Path(folder) / LOCK)
    if found is None:
        return None
    alive = found["boot"] == boot() and started(found["pid"]) == found["started"]
    return {**found, "alive": alive, "mine": alive and found["pid"] == os.getpid()}


def take(folder: str | pathlib.Path, jid: str | None = None) -> dict[str, Any]:
    """
    Take the lock for this process; it is this process's already, or free, or its owner is dead.

    folder
        Where the lock lies; made when missing.
    jid
        The job that the lock is for, if any.

    Returns the lock as :py:func:`holder` does, with ``taken_from``: the dead owner's lock or None.

    Raises LedgerError naming the owner when a living process has it.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(folder):
        present = holder(folder)
        if present and present["mine"]:
            return {**present, "taken_from": None}
        if present and present["alive"]:
            raise LedgerError(
                f"a rollout of {present['owner']} has run since {present['since']} (process "
                f"{present['pid']}, job {present['jid']}): wait for its end, or break its lock "
                f"with `salt-run counterapp.unlock confirm={present['owner']}`"
            )
        mine = {
            "owner": owner(),
            "pid": os.getpid(),
            "started": started(os.getpid()),
            "boot": boot(),
            "since": now(),
            "jid": jid,
        }
        _write(folder / LOCK, mine)
        return {**mine, "alive": True, "mine": True, "taken_from": present}


def release(folder: str | pathlib.Path) -> bool:
    """Give the lock back if this process has it; return whether it had."""
    folder = pathlib.Path(folder)
    present = holder(folder)
    if not present or not present["mine"]:
        return False
    (folder / LOCK).unlink()
    return True


def break_lock(folder: str | pathlib.Path, confirm: str | None) -> dict[str, Any]:
    """
    Remove the lock whoever has it.

    confirm
        The owner, as a sign that the caller knows whose rollout is at stake.

    Returns the lock that was removed.

    Raises LedgerError when there is none or ``confirm`` is not its owner.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise LedgerError("there is no rollout lock")
    with _alone(folder):
        present = holder(folder)
        if present is None:
            raise LedgerError("there is no rollout lock")
        if confirm != present["owner"]:
            state = "runs" if present["alive"] else "is dead"
            raise LedgerError(
                f"the lock is {present['owner']}'s since {present['since']} and its process "
                f"{present['pid']} {state}: to break it say confirm={present['owner']}"
            )
        (folder / LOCK).unlink()
        return present


def owner() -> str:
    """Return who runs this process, as user@host; behind sudo the one who called it."""
    return f"{os.environ.get('SUDO_USER') or getpass.getuser()}@{socket.gethostname()}"


def journal(folder: str | pathlib.Path) -> dict[str, Any] | None:
    """Return the journal of the rollout that runs, or ran last; None when there was none."""
    return _read(pathlib.Path(folder) / JOURNAL)


def note(folder: str | pathlib.Path, **facts: Any) -> dict[str, Any]:
    """Add facts to the journal, made when missing, and return it."""
    folder = pathlib.Path(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = {**(journal(folder) or {}), **facts}
    _write(folder / JOURNAL, found)
    return found


def open_journal(folder: str | pathlib.Path, **facts: Any) -> dict[str, Any]:
    """Begin a new journal with these facts and return it."""
    folder = pathlib.Path(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(folder / JOURNAL, facts)
    return facts


def record(folder: str | pathlib.Path, entry: dict[str, Any]) -> None:
    """Add a finished rollout to the history."""
    folder = pathlib.Path(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / HISTORY).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def history(folder: str | pathlib.Path, limit: int = 20) -> list[dict[str, Any]]:
    """Return the last finished rollouts, newest first; a line cut by a crash is left out."""
    path = pathlib.Path(folder) / HISTORY
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            found.append(json.loads(line))
    return found[::-1][:limit]


@contextlib.contextmanager
def _alone(folder: pathlib.Path) -> Iterator[None]:
    with (folder / ".guard").open("w", encoding="utf-8") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


def _read(path: pathlib.Path) -> dict[str, Any] | None:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        found: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError as error:
        raise LedgerError(f"{path} is damaged ({error}): remove it") from error
    return found


def _write(path: pathlib.Path, content: dict[str, Any]) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(content, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        pathlib.Path(name).replace(path)
    except OSError:
        pathlib.Path(name).unlink(missing_ok=True)
        raise
