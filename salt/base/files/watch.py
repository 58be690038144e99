#!/usr/bin/python3 -I
"""Bring back what systemd takes for alive: daemons that are stopped, and what no unit stands for.

systemd starts a daemon again that has ended. It does not see

- a process that is stopped (state T, as after SIGSTOP): nobody continues a daemon, and until
  somebody does it keeps its ports, locks and leases. After ``LIMIT`` seconds it is killed. A
  process under a debugger (state t) is left alone.
- a brick or the self-heal daemon of Gluster that is gone while glusterd runs;
- a mount of Gluster whose client is gone: every access fails, and no unit has failed.

For the latter two, units are started that the configuration names. Nothing else is done: a unit
that was stopped on purpose stays stopped.

The only argument is the configuration, a JSON file (salt://base/watch.sls):

- ``units``: names of the units watched, each with what the command line of its daemon's processes
  contains; empty for all processes of the unit.
- ``volume``: null, or ``name``, ``home`` (glusterd's folder), ``host`` and ``path`` of this node's
  brick, and ``remedy``, the unit that starts what is missing.
- ``mount``: null, or the path of a mount. Beside its unit, ``srv-shared.mount``, there is another,
  ``srv-shared-lost.service``, which takes away a mount without a client and mounts anew.

Runs on Python 3.9 and later, with nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

INTERVAL = 2.0
"""Seconds between two looks."""

LIMIT = 10.0
"""Seconds for which a daemon may be stopped."""

WAIT = 4.0
"""Seconds for which something is missing before it is started: it may be on its way."""

LONGEST_PAUSE = 300.0
"""Seconds between two attempts to start the same, at the most; each pause is twice the last."""

FRESH = 30
"""Looks after which it is found out anew which processes are to be watched."""

GLUSTERD = "glusterd.service"
CLIENT = "glusterfs"
"""Name of the process that serves a mount of Gluster, and of the self-heal daemon."""

BRICK = "glusterfsd"
MOUNTS = "/proc/1/mountinfo"
"""As systemd sees them: a service with a view of its own may not see what is mounted later."""

HEALING = "cluster.self-heal-daemon"
YES = ("on", "enable", "true", "yes", "1")
"""What Gluster takes for a yes."""

REMEDY = "Salt writes it: state.apply base.watch"


class WatchError(Exception):
    """The service cannot do its work; the message says what is missing."""


class Process(NamedTuple):
    """A process as a look finds it."""

    pid: int
    unit: str | None
    """The watched unit that it belongs to."""
    name: str
    words: tuple[str, ...]
    """Its command line; empty where nobody wants to know it."""
    state: str
    """The kernel's letter."""
    started: int
    """When it began, which tells it from a later one with the same number."""


class Stat(NamedTuple):
    """What ``/proc/<pid>/stat`` says."""

    name: str
    state: str
    started: int


def parse_stat(text: str) -> Stat:
    """Return what a ``stat`` file says; a name may hold anything, parentheses too."""
    name, _, rest = text.partition("(")[2].rpartition(")")
    fields = rest.split()
    return Stat(name, fields[0], int(fields[19]))


def unit_of(cgroup: str, units: Any) -> str | None:
    """Return which of the units a ``/proc/<pid>/cgroup`` names, None for none of them."""
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "name=systemd"):
            for step in path.split("/"):
                if step in units:
                    return step
    return None


class Processes:
    """The processes of the watched units, and Gluster's.

    Which these are is remembered, so that a look costs next to nothing.

    :param units: names of units.
    :param proc: the folder of processes.
    """

    def __init__(self, units: Any, proc: Path = Path("/proc")) -> None:
        self._units = units
        self._proc = str(proc)
        self._known: dict[int, tuple[str | None, str, tuple[str, ...]] | None] = {}
        self._age = 0

    def look(self) -> list[Process]:
        """Return them as they are now."""
        self._age += 1
        if self._age >= FRESH:
            self.forget()
        found, known = [], {}
        # Not by way of pathlib: this and the reading are all that the service costs.
        for entry in os.listdir(self._proc):  # noqa: PTH208
            if not entry.isdecimal():
                continue
            pid = int(entry)
            try:
                what = self._known[pid] if pid in self._known else self._what(pid)
                known[pid] = what
                if what is not None:
                    unit, name, words = what
                    _, state, started = parse_stat(self._read(pid, "stat"))
                    found.append(Process(pid, unit, name, words, state, started))
            except (FileNotFoundError, ProcessLookupError):
                # It ended meanwhile.
                known.pop(pid, None)
        self._known = known
        return found

    def forget(self) -> None:
        """Find out anew at the next look: one that was just begun may have become another."""
        self._known = {}
        self._age = 0

    def words(self, pid: int) -> tuple[str, ...]:
        """Return the command line of a process; empty when it has ended."""
        try:
            return tuple(self._read(pid, "cmdline").rstrip("\0").split("\0"))
        except (FileNotFoundError, ProcessLookupError):
            return ()

    def kill(self, process: Process) -> bool:
        """Kill a stopped process, unless it has ended or gone on meanwhile; tell whether."""
        try:
            handle = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return False
        try:
            # From here on the number can be no other's.
            now = parse_stat(self._read(process.pid, "stat"))
            if now.started != process.started or now.state != "T":
                return False
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            return False
        finally:
            os.close(handle)
        return True

    def _what(self, pid: int) -> tuple[str | None, str, tuple[str, ...]] | None:
        unit = unit_of(self._read(pid, "cgroup"), self._units)
        name = parse_stat(self._read(pid, "stat")).name
        of_gluster = name in (CLIENT, BRICK)
        if unit is None and not of_gluster:
            return None
        return unit, name, self.words(pid) if of_gluster else ()

    def _read(self, pid: int, file: str) -> str:
        path = f"{self._proc}/{pid}/{file}"
        with open(path, encoding="utf-8", errors="replace") as opened:  # noqa: PTH123
            return opened.read()


class Stopped:
    """Which processes have been stopped, and since when.

    :param limit: seconds for which one may be.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._since: dict[tuple[int, int], float] = {}

    def overdue(self, processes: list[Process], now: float) -> list[Process]:
        """Return those that have been stopped for too long.

        :param processes: all that there are.
        :param now: a ``time.monotonic()`` value.
        """
        stopped = {(p.pid, p.started): p for p in processes if p.unit and p.state == "T"}
        self._since = {which: self._since.get(which, now) for which in stopped}
        return [stopped[w] for w, since in self._since.items() if now - since >= self._limit]


class Patience:
    """When to do something about what is missing: not at once, and ever more rarely."""

    def __init__(self) -> None:
        self._next: float | None = None
        self._pause = WAIT

    def over(self, missing: bool, now: float) -> bool:
        """Tell whether it is time. It is again later if it is still missing then.

        :param now: a ``time.monotonic()`` value.
        """
        if not missing:
            self._next, self._pause = None, WAIT
        elif self._next is None:
            self._next = now + WAIT
        elif now >= self._next:
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._next = now + self._pause
            return True
        return False


def missing_of_volume(volume: dict[str, str], processes: list[Process]) -> list[str]:
    """Return which daemons of a started volume are not there on this node, as words.

    Nothing is missing while glusterd is not there: it starts them itself.

    :param volume: as in the configuration.
    """
    running = [p.name for p in processes if p.unit == GLUSTERD]
    folder = Path(volume["home"], "vols", volume["name"])
    declared = folder / "bricks" / f"{volume['host']}:{volume['path'].replace('/', '-')}"
    # A brick whose disk is not there cannot be started, and somebody has to look at it.
    if "glusterd" not in running or not declared.exists() or not Path(volume["path"]).is_dir():
        return []
    try:
        lines = (folder / "info").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        # The volume is being deleted.
        return []
    info = dict(line.split("=", 1) for line in lines if "=" in line)
    if info.get("status") != "1":
        return []
    missing = []
    if not any(p.name == BRICK and volume["path"] in p.words for p in processes):
        missing.append(f"brick {volume['path']}")
    heals = info.get("replica_count", "1") != "1" and info.get(HEALING, "on") in YES
    if heals and not any(p.name == CLIENT and "glustershd" in p.words for p in processes):
        missing.append("self-heal daemon")
    return missing


def is_mounted(path: str, mountinfo: str) -> bool:
    """Tell whether Gluster is mounted at a path, by the text of a ``mountinfo``."""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        there = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), before.split(" ")[4])
        if there == path and after.startswith("fuse.glusterfs "):
            return True
    return False


def has_client(path: str, processes: list[Process]) -> bool:
    """Tell whether a process serves the mount at a path."""
    return any(p.name == CLIENT and p.words[-1:] == (path,) for p in processes)


def was_lost(shown: dict[str, str]) -> bool:
    """Tell whether a mount that is not there was neither stopped on purpose nor has failed.

    A unit that is stopped is for a moment neither active nor inactive. One whose mount goes by
    itself is the one until it is the other.

    :param shown: what systemd says of the unit, by property.
    """
    left = shown.get("ActiveExitTimestampMonotonic", "0")
    return (
        shown.get("ActiveState") == "inactive"
        and left != "0"
        and left == shown.get("InactiveEnterTimestampMonotonic")
    )


class Watch:
    """The service.

    :param configuration: see the module.
    """

    def __init__(self, configuration: dict[str, Any]) -> None:
        self._units = configuration["units"]
        self._volume = configuration["volume"]
        self._mount = configuration["mount"]
        self._mount_unit = mount_unit(self._mount) if self._mount else ""
        if self._mount:
            self._units = {**self._units, self._mount_unit: ""}
        self._processes = Processes(self._units)
        self._stopped = Stopped(LIMIT)
        self._volume_patience = Patience()
        self._dead_patience = Patience()
        self._gone_patience = Patience()

    def look(self, now: float) -> None:
        """Look once, and do what is to be done.

        :param now: a ``time.monotonic()`` value.
        """
        processes = self._processes.look()
        for process in self._stopped.overdue(processes, now):
            line = " ".join(self._processes.words(process.pid))
            if self._units[process.unit] in line and self._processes.kill(process):
                say(
                    f"killed process {process.pid} ({process.name}) of {process.unit}: it had been"
                    f" stopped for {LIMIT:g} s, and nobody continued it"
                )
        if self._volume:
            self._look_at_volume(processes, now)
        if self._mount:
            self._look_at_mount(processes, now)

    def _look_at_volume(self, processes: list[Process], now: float) -> None:
        missing = missing_of_volume(self._volume, processes)
        if missing:
            self._processes.forget()
        if self._volume_patience.over(bool(missing), now):
            words = f"volume {self._volume['name']} has no {' and no '.join(missing)} here"
            start(self._volume["remedy"], words)

    def _look_at_mount(self, processes: list[Process], now: float) -> None:
        path, unit = self._mount, self._mount_unit
        mounted = is_mounted(path, Path(MOUNTS).read_text(encoding="utf-8"))
        dead = mounted and not has_client(path, processes)
        if dead:
            self._processes.forget()
        if self._dead_patience.over(dead, now):
            remedy = unit.removesuffix(".mount") + "-lost.service"
            start(remedy, f"{path} is mounted, but its client is gone")
        if self._gone_patience.over(not mounted, now) and was_lost(show(unit)):
            start(unit, f"{path} is no longer mounted, and nobody stopped it")


def show(unit: str) -> dict[str, str]:
    """Return what systemd says of a unit, by property; empty if it does not answer."""
    properties = "ActiveState,ActiveExitTimestampMonotonic,InactiveEnterTimestampMonotonic"
    shown = run("systemctl", "show", f"--property={properties}", unit)
    return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)


def start(unit: str, why: str) -> None:
    """Have systemd start a unit, without waiting for it, and say why."""
    say(f"{why}: starting {unit}")
    run("systemctl", "start", "--no-block", unit)


def mount_unit(path: str) -> str:
    """Return the name of the unit of a mount.

    :raises WatchError: systemd does not tell.
    """
    name = run("systemd-escape", "--path", "--suffix=mount", path).strip()
    if not name:
        raise WatchError(f"systemd-escape does not tell the unit of the mount {path}")
    return name


def run(*command: str) -> str:
    """Run a command and return what it printed; a failure is said, and returns nothing."""
    try:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or error
        say(f"{' '.join(command)} failed: {str(reason).strip()}")
        return ""
    return ended.stdout


def say(message: str) -> None:
    """Write a line to the journal, as a warning."""
    print(f"<4>{message}", file=sys.stderr, flush=True)


def notify(state: str) -> None:
    """Tell the service manager something, where there is one (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.connect("\0" + address[1:] if address.startswith("@") else address)
            to.sendall(state.encode())


def configured(file: str) -> dict[str, Any]:
    """Return the configuration.

    :raises WatchError: it cannot be read, or has not what it must have.
    """
    try:
        read = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WatchError(f"{file} cannot be read: {error}. {REMEDY}") from None
    if not isinstance(read, dict) or set(read) != {"units", "volume", "mount"}:
        raise WatchError(f"{file} must have units, volume and mount. {REMEDY}")
    return read


def main(arguments: list[str]) -> int:
    """Look until the service is stopped."""
    try:
        if len(arguments) != 1:
            raise WatchError("say which configuration: counterapp-watch /etc/counterapp/watch.json")
        watch = Watch(configured(arguments[0]))
        if not re.search(r"\.(service|scope|slice)\b", Path("/proc/self/cgroup").read_text()):
            raise WatchError(
                "/proc/self/cgroup names no unit, so nobody can tell whose a process is:"
                " systemd's cgroups must be visible here (v2, or v1 with name=systemd)"
            )
    except WatchError as error:
        print(f"<3>{error}", file=sys.stderr)
        return 78
    notify("READY=1")
    while True:
        watch.look(time.monotonic())
        notify("WATCHDOG=1")
        time.sleep(INTERVAL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
