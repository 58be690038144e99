"""A place of its own on loopback: three mongods, and the web nodes in front of them."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.place import Endpoint, tree_memory
from lab.config import ROOT, LabError
from tests.support.mongod import SOON, ReplicaSet, free_port, replica_set

GUNICORN = f"{sys.executable} -m gunicorn -c python:counterapp.gunicorn_conf counterapp.wsgi:app"
START_SECONDS = 30
STOP_SECONDS = 60


class Server:
    """One web node: the processes that a command starts, listening on ``port``."""

    def __init__(self, name: str, command: str, environ: dict[str, str], folder: Path) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.name = name
        self._log = folder / f"{name}.log"
        self._log.touch()
        self._words = [word.replace("{port}", str(self.port)) for word in shlex.split(command)]
        self._environ = environ | {"COUNTERAPP_NODE": name, "COUNTERAPP_BIND": self.address}
        self.start()

    def start(self) -> None:
        """Start the processes; do not wait."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *self._words],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )

    def kill(self) -> None:
        """Crash all processes at once."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def revive(self) -> None:
        """Start the processes unless they run, and wait until the node takes traffic."""
        if self._process.poll() is not None:
            self.start()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until the node takes traffic; raises :class:`LabError` when it does not."""
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"{self.name} does not serve: {self._log.read_text()[-2000:]}")
            time.sleep(0.05)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.address}/readyz", timeout=5):
                return True
        except OSError:
            # Also one that takes the connection and answers late.
            return False

    def memory(self) -> float:
        return tree_memory(self._process.pid)

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise LabError(f"{self.name} did not stop: {self._log.read_text()[-2000:]}") from None


class Loopback:
    """A :class:`~bench.place.Place` on 127.0.0.1."""

    def __init__(self, rs: ReplicaSet, nodes: int, command: str, folder: Path) -> None:
        self.name = f"{nodes} web nodes and {len(rs.members)} mongods on loopback"
        self.rs = rs
        self._nodes = nodes
        self._command = command
        self._folder = folder
        static = folder / "static"
        static.mkdir()
        (static / "index.html").write_text("<!doctype html><title>counterapp</title>")
        self._environ = os.environ | {
            "PYTHONPATH": str(ROOT / "app" / "backend" / "src"),
            "COUNTERAPP_STATIC": str(static),
            "COUNTERAPP_MONGODB_URI": rs.uri,
            # All load comes from one address here.
            "COUNTERAPP_CLIENT_PLACES": "15000",
        }
        self._stack = ExitStack()
        self._servers: list[Server] = []

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(Endpoint(f"http://{server.address}") for server in self._servers)

    @property
    def servers(self) -> tuple[Server, ...]:
        return tuple(self._servers)

    def start(self, **settings: str) -> None:
        """Start the nodes, with more settings in their environment."""
        for number in range(1, self._nodes + 1):
            environ = self._environ | settings
            server = Server(f"web-{number}", self._command, environ, self._folder)
            self._stack.callback(server.stop)
            self._servers.append(server)
        for server in self._servers:
            server.wait_ready()

    def stop(self) -> None:
        """Stop the nodes."""
        self._servers.clear()
        self._stack.close()

    @contextmanager
    def once_per_request(self) -> Iterator[None]:
        self.stop()
        self.start(COUNTERAPP_COMBINE="no")
        yield
        self.stop()
        self.start()

    def memory(self) -> dict[str, float]:
        return {server.name: server.memory() for server in self._servers}


@contextmanager
def loopback(
    nodes: int = 2,
    command: str = GUNICORN,
    *,
    auth: bool = False,
    oplog_mib: int = 64,
    elections: Mapping[str, int] = SOON,
) -> Iterator[Loopback]:
    """Start a replica set and web nodes, and stop them at the end.

    :param command: starts one web node; ``{port}`` in it is where it has to listen.
    :param auth: whether who speaks to the set has to log in.
    :param oplog_mib: size of each member's oplog.
    :param elections: the set's settings, by MongoDB's names.
    """
    with (
        tempfile.TemporaryDirectory(prefix="counterapp-bench-") as folder,
        replica_set(members=3, auth=auth, oplog_mib=oplog_mib, elections=elections) as rs,
    ):
        place = Loopback(rs, nodes, command, Path(folder))
        try:
            place.start()
            yield place
        finally:
            place.stop()
