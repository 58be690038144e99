"""The one lock of the fleet: who changes it, since when, and whether that process still lives."""

import contextlib
import fcntl
import getpass
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fleet import files
from fleet.errors import FleetError

NAME = "change.lock"
#: Seconds between two signs of life of the owner.
BEAT = 5.0


def now() -> str:
    """Return the present time as ISO 8601 text in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def started(pid: int) -> int | None:
    """
    Return when a process began, in the kernel's ticks since boot, or None when there is none, or
    none any more that does anything: it is dead, and its parent has not asked how it ended.

    With the PID it names a process for good: PIDs come back, this pair does not before a reboot.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name stands in parentheses and may hold spaces and parentheses itself.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def boot() -> str:
    """Return the kernel's ID of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def owner() -> str:
    """Return who runs this process, as user@host; behind sudo the one who called it."""
    return f"{os.environ.get('SUDO_USER') or getpass.getuser()}@{socket.gethostname()}"


def holder(folder: Path) -> dict[str, Any] | None:
    """
    Return who has the lock, or None.

    The dictionary has ``owner``, ``host``, ``pid``, ``since``, ``change`` (ID), ``kind``,
    ``started``, ``boot``, ``alive`` (whether that process still runs), ``mine`` (whether it is
    this one) and ``beat`` (seconds since its last sign of life).
    """
    path = folder / NAME
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        beat = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return None
    except json.JSONDecodeError as error:
        raise FleetError(f"{path} is damaged ({error}): remove it") from error
    alive = found["boot"] == boot() and started(found["pid"]) == found["started"]
    mine = alive and found["pid"] == os.getpid()
    return {**found, "alive": alive, "mine": mine, "beat": round(max(beat, 0.0), 1)}


def take(
    folder: Path,
    change: str,
    kind: str,
    wait: float = 0,
    tell: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """
    Take the lock for this process: it is free, or its owner is dead.

    change, kind
        The change that it is taken for.
    wait
        Seconds to wait for a living owner to be done.
    tell
        Gets a sentence when there is somebody to wait for.

    Returns the lock as :func:`holder` does, with ``taken_from``: the dead owner's lock or None.

    Raises FleetError naming the owner when a living process has it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    deadline = time.monotonic() + wait
    told = False
    while True:
        with _alone(folder):
            present = holder(folder)
            if not present or not present["alive"]:
                mine = {
                    "owner": owner(),
                    "host": socket.gethostname(),
                    "pid": os.getpid(),
                    "started": started(os.getpid()),
                    "boot": boot(),
                    "since": now(),
                    "change": change,
                    "kind": kind,
                }
                files.write_json(folder / NAME, mine)
                return {**mine, "alive": True, "mine": True, "beat": 0.0, "taken_from": present}
        if time.monotonic() >= deadline:
            raise FleetError(
                f"{_words(present)}: wait for its end (wait=600 waits ten minutes), or break its "
                f"lock with `salt-run rollout.unlock confirm={present['owner']}`"
            )
        if tell and not told:
            tell(f"waiting: {_words(present)}")
            told = True
        time.sleep(0.5)


def _words(present: dict[str, Any]) -> str:
    return (
        f"the change {present['change']} ({present['kind']}) of {present['owner']} has run since "
        f"{present['since']} (process {present['pid']})"
    )


def release(folder: Path) -> bool:
    """Give the lock back if this process has it; return whether it had."""
    with _alone(folder):
        present = holder(folder)
        if not present or not present["mine"]:
            return False
        (folder / NAME).unlink()
        return True


def break_(folder: Path, confirm: str | None) -> dict[str, Any]:
    """
    Remove the lock whoever has it.

    confirm
        The owner, as a sign that the caller knows whose change is at stake.

    Returns the lock that was removed.

    Raises FleetError when there is none or ``confirm`` is not its owner.
    """
    if not folder.is_dir():
        raise FleetError("there is no lock")
    with _alone(folder):
        present = holder(folder)
        if present is None:
            raise FleetError("there is no lock")
        if confirm != present["owner"]:
            state = "runs" if present["alive"] else "is dead"
            raise FleetError(
                f"the lock is {present['owner']}'s since {present['since']} and its process "
                f"{present['pid']} {state}: to break it say confirm={present['owner']}"
            )
        (folder / NAME).unlink()
        return present


@contextlib.contextmanager
def beating(folder: Path) -> Iterator[None]:
    """Give a sign of life for as long as the block runs and the lock is this process's."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(BEAT):
            with contextlib.suppress(FileNotFoundError):
                os.utime(folder / NAME)

    thread = threading.Thread(target=beat, daemon=True, name="heartbeat of the lock")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / ".guard").open("w", encoding="utf-8") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield
