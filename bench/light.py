"""A real master with light minions of its own, on loopback: started, asked, counted and stopped."""

from __future__ import annotations

import ipaddress
import operator
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import salt.config
import salt.utils.event
import yaml

from bench.place import tree, tree_own_memory, tree_processor_time
from lab import wheels
from lab.config import LabError
from tests.support import light_fleet
from tests.support.mongod import free_port
from tests.support.waiting import until

#: Loopback, so that nothing leaves this machine: whoever looks for a daemon there is refused.
NETWORK = "127.77.0.0/24"
LEAST, MOST = 4, 180
#: Seconds that a command may take, and that anything else may that is waited for.
COMMAND, SECONDS = 900, 120
#: Minions that start at the same time: their start is what this machine's processors do worst.
_WAVE = 8


def roles(number: int) -> dict[str, list[str]]:
    """Return the nodes of a fleet and their roles: what grows are web servers.

    :param number: how many nodes; of those of 8 and more, three have the database and the volume.
    """
    members = 3 if number >= 8 else 1
    balancers = 2 if number >= 8 else 1
    found = {"master": ["master"]}
    found |= {f"db-{each}": ["db", "storage"] for each in range(1, members + 1)}
    found |= {f"lb-{each}": ["lb"] for each in range(1, balancers + 1)}
    return found | {f"web-{each}": ["web"] for each in range(1, number - len(found) + 1)}


def address(at: int) -> str:
    """Return the address of the node at a place in the fleet, the first being 0."""
    return str(ipaddress.IPv4Network(NETWORK)[10 + at])


@dataclass(frozen=True)
class Ran:
    """What a command said, and what it took.

    ``seconds`` until it ended; ``processor`` the seconds that it, master and minions had a
    processor for it, and ``masters`` those of the master and the command; ``peak`` the MiB that its
    largest process had in memory at most.
    """

    command: str
    code: int
    said: str
    warned: str
    seconds: float
    processor: float
    masters: float
    peak: float

    def require(self, *codes: int) -> Ran:
        """Return this.

        :param codes: those that are good; 0 alone, when there are none.
        :raises LabError: it ended with another code.
        """
        if self.code not in (codes or (0,)):
            said = f"{self.said.strip()}\n{self.warned.strip()}"
            raise LabError(f"`{self.command}` ended with {self.code}: {said[-2000:]}")
        return self


class Daemon:
    """A daemon of Salt in a folder of its own."""

    def __init__(
        self, kind: str, name: str, folder: Path, opts: Mapping[str, Any], path: str
    ) -> None:
        """Write its configuration.

        :param kind: ``master`` or ``minion``.
        :param path: ``PYTHONPATH``.
        """
        self.name = name
        self.folder = folder
        self.pki = folder / "pki"
        self.opts = {
            "id": name,
            "user": "root",
            "root_dir": str(folder),
            "pki_dir": str(self.pki),
            "cachedir": str(folder / "cache"),
            "sock_dir": str(folder / "run"),
            "pidfile": str(folder / "pid"),
            "log_file": str(folder / "log"),
            "log_level": "warning",
            "log_level_logfile": "warning",
            **opts,
        }
        self._kind = kind
        self._environ = {**os.environ, "PYTHONPATH": path}
        folder.mkdir(parents=True)
        (folder / kind).write_text(yaml.safe_dump(self.opts))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def started(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def start(self) -> None:
        """Start it; do not wait."""
        words = [program(f"salt-{self._kind}"), "-c", str(self.folder)]
        # As its unit has it.
        words += ["--disable-keepalive"] if self._kind == "minion" else []
        with (self.folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *words],
                cwd=self.folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
            )

    def require(self) -> None:
        """Raise :class:`LabError` unless it runs."""
        if self._process is None or self._process.poll() is not None:
            raise LabError(f"{self.name} ended: {self.last_words()}")

    def last_words(self) -> str:
        """Return the end of what it printed."""
        return (self.folder / "output").read_text(errors="replace").strip()[-2000:]

    def kill(self) -> None:
        """Have all its processes end at once: there is nothing that they should keep."""
        if self._process is None:
            return
        # Also what it has left behind when it ended by itself; there may be nothing.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Light:
    """A master and its minions, which run."""

    def __init__(self, number: int, code: Path, folder: Path) -> None:
        """Make what they need.

        :param number: how many minions.
        :param code: the folder of the Salt that nodes get.
        :param folder: of its own, empty and with a short name: sockets lie below it.
        """
        named = roles(number)
        nodes = {
            name: light_fleet.node(address(at), given)
            for at, (name, given) in enumerate(named.items())
        }
        self.number = number
        self._fleet = light_fleet.Fleet(folder / "fleet", nodes, NETWORK)
        self._folder = folder
        self._path = os.pathsep.join([str(code), str(self._fleet.python)])
        ports = {"publish_port": free_port(), "ret_port": free_port()}
        opts = {
            **light_fleet.settings("master"),
            **self._fleet.opts,
            **ports,
            "interface": "127.0.0.1",
            # All minions share this machine's processors, and each has to wait for its turn.
            "timeout": 120,
            "gather_job_timeout": 120,
        }
        self._master = Daemon("master", "light-master", folder / "master", opts, self._path)
        own = {
            **light_fleet.settings("minion"),
            "master_port": ports["ret_port"],
            "publish_port": ports["publish_port"],
        }
        self._minions = [
            Daemon(
                "minion",
                name,
                folder / "minions" / name,
                {**own, "grains": {"roles": given}},
                str(code),
            )
            for name, given in named.items()
        ]
        self._accept(own["keysize"])

    def _accept(self, bits: int) -> None:
        # To make a key takes seconds, and whose it is changes nothing of what it costs.
        first = self._minions[0].pki
        light_fleet.make_key(first, bits)
        accepted = self._master.pki / "minions"
        accepted.mkdir(parents=True)
        for minion in self._minions:
            if minion.pki != first:
                shutil.copytree(first, minion.pki)
            shutil.copy(first / "minion.pub", accepted / minion.name)

    def start(self) -> None:
        """Start the daemons, and have the minions be as after a rollout.

        :raises LabError: one of them does not start or does not answer.
        """
        self._master.start()
        config = salt.config.master_config(str(self._master.folder / "master"))
        with salt.utils.event.get_event(
            "master", sock_dir=config["sock_dir"], opts=config, listen=True
        ) as bus:
            _wait(lambda: bus.connect_pub(timeout=0.1), [self._master], "the master's bus is there")
            # The daemon has made the folders that it is to serve.
            self._fleet.reset()
            for at in range(0, self.number, _WAVE):
                wave = self._minions[at : at + _WAVE]
                for minion in wave:
                    minion.start()
                _wait_for_start(bus, wave)
        for function in (["saltutil.sync_all"], ["saltutil.refresh_pillar", "wait=True"]):
            self.run("salt", "*", *function).require()

    def kill(self) -> None:
        """End all processes at once."""
        with ExitStack() as stack:
            for daemon in [self._master, *self._minions]:
                stack.callback(daemon.kill)

    def memory(self) -> float:
        """Return the MiB of the master's processes, without pages of files."""
        return tree_own_memory(self._master.pid)

    def run(self, *command: str) -> Ran:
        """Run a command of Salt on the master, and wait until its jobs have left the minions.

        :raises LabError: it hangs, or a daemon has ended.
        """
        before = self._processor()
        began = time.monotonic()
        code, said, warned, usage = self._done(command)
        seconds = time.monotonic() - began
        _wait(
            # A job is a process of its minion.
            lambda: [each.name for each in self._minions if len(list(tree(each.pid))) > 1],
            [self._master, *self._minions],
            "no job is left on a minion",
            operator.not_,
        )
        masters, minions = (now - then for now, then in zip(self._processor(), before, strict=True))
        masters += usage.ru_utime + usage.ru_stime
        return Ran(
            shlex.join(command),
            code,
            said,
            warned,
            seconds,
            masters + minions,
            masters,
            usage.ru_maxrss / 1024,
        )

    def _processor(self) -> tuple[float, float]:
        minions = sum(tree_processor_time(each.pid) for each in self._minions if each.started)
        return tree_processor_time(self._master.pid), minions

    def _done(self, command: Sequence[str]) -> tuple[int, str, str, resource.struct_rusage]:
        name, *words = command
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                # Its own limit is only there for what hangs.
                [
                    "setpriv",
                    "--pdeathsig",
                    "TERM",
                    "timeout",
                    "--signal=KILL",
                    str(COMMAND),
                    program(name),
                ]
                + ["-c", str(self._master.folder), *words],
                cwd=self._folder,
                env={**os.environ, "PYTHONPATH": self._path},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                process_group=0,
            )
            try:
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            finally:
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            said, warned = (
                bytes(file.read()).decode(errors="replace")
                for file in (output, errors)
                if not file.seek(0)
            )
            return process.returncode, said, warned, usage


def program(name: str) -> str:
    """Return where a program of Salt is."""
    return str(Path(sys.executable).parent / name)


def _wait_for_start(bus: salt.utils.event.SaltEvent, minions: Sequence[Daemon]) -> None:
    missing = {f"salt/minion/{minion.name}/start" for minion in minions}

    def look() -> set[str]:
        event = bus.get_event(wait=0.5, tag="salt/minion/", full=True)
        if event:
            missing.discard(event["tag"])
        return missing

    _wait(look, minions, "minions tell the master that they have started", operator.not_)


def _wait(
    look: Callable[[], object],
    daemons: Sequence[Daemon],
    what: str,
    wanted: Callable[[object], bool] = bool,
) -> None:
    """Wait as :func:`tests.support.waiting.until`, for as long as daemons run."""

    def seen() -> object:
        for daemon in daemons:
            daemon.require()
        return look()

    try:
        until(seen, SECONDS, what, wanted=wanted)
    except AssertionError as error:
        words = "".join(f"; {each.name}: {said}" for each in daemons if (said := each.last_words()))
        raise LabError(f"{error}{words[-2000:]}") from None


@contextmanager
def light(number: int) -> Iterator[Light]:
    """Start a master with so many minions, and end them, whatever happens.

    :raises LabError: they do not start.
    """
    # Short, because the paths of the daemons' sockets lie below it.
    with tempfile.TemporaryDirectory(prefix="ca-", dir="/tmp") as name:
        folder = Path(name)
        with zipfile.ZipFile(wheels.salt_wheel(print)) as wheel:
            wheel.extractall(folder / "code")
        made = Light(number, folder / "code", folder)
        try:
            made.start()
            yield made
        finally:
            made.kill()
