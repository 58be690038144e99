"""The app as it runs on nodes: real gunicorn processes in front of a real replica set."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import uuid

import pytest
import requests

from tests.support.browser import chromium
from tests.support.loading import ROOT
from tests.support.mongod import free_port, replica_set
from tests.support.waiting import PATIENCE, until

# Some tests speak to the store itself, as it stands in the source tree.
sys.path.insert(0, str(ROOT / "app" / "backend" / "src"))

FROM_SOURCE = (sys.executable, "-m", "gunicorn")
HIT = "/api/v1/counters/default/shared/hits"
ANSWER_SECONDS = 30 * PATIENCE
"""For how long a client of a test waits for an answer: no promise, but the end of what hangs."""
COMMAND = ["-c", "python:counterapp.gunicorn_conf", "counterapp.wsgi:app"]


class Node:
    """One web node: a gunicorn process, started with the environment that a node has."""

    def __init__(self, name, folder, environ, gunicorn):
        self.name = name
        self.port = free_port()
        self.metrics_port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / f"{name}.log"
        self._command = [*gunicorn, *COMMAND]
        self._environ = environ | {
            "COUNTERAPP_NODE": name,
            "COUNTERAPP_BIND": f"127.0.0.1:{self.port}",
            "COUNTERAPP_METRICS_BIND": f"127.0.0.1:{self.metrics_port}",
        }
        self._process = None

    def start(self, ready=True, stdout=None):
        """Start the process and wait until it answers, or even is ready for traffic.

        :param stdout: a file for what is logged; by default the one that ``log`` reads.
        """
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *self._command],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log if stdout is None else stdout,
                stderr=log,
                process_group=0,
            )
        path = "/readyz" if ready else "/livez"
        until(
            lambda: {"status": self.status(path), "log": self.log[-2000:]},
            20,
            f"{path} of {self.name} answers 200",
            wanted=lambda seen: seen["status"] == 200,
        )
        return self

    @property
    def log(self):
        return self._log.read_text() if self._log.exists() else ""

    @property
    def log_lines(self):
        return [json.loads(line) for line in self.log.splitlines()]

    def workers(self):
        """Return the numbers of the processes that serve."""
        children = pathlib.Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [int(number) for number in children.read_text().split()]

    def computed(self):
        """Return the seconds of a processor that the serving processes have used so far."""
        # The clocks of clock_getcpuclockid(3): with threads that have ended, and exact.
        return sum(time.clock_gettime((~worker << 3) | 2) for worker in self.workers())

    def get(self, path, **options):
        return requests.get(self.url + path, **{"timeout": ANSWER_SECONDS, **options})

    def metrics(self):
        """Return what the metrics' listener answers to a reader."""
        answer = requests.get(
            f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=ANSWER_SECONDS
        )
        answer.raise_for_status()
        return answer.text

    def post(self, path=HIT, **options):
        return requests.post(self.url + path, **{"timeout": ANSWER_SECONDS, **options})

    def status_line(self, sent):
        """Send bytes as they are and return the first line of the answer, empty without one."""
        with socket.create_connection(("127.0.0.1", self.port), ANSWER_SECONDS) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(65536).split(b"\r\n")[0]

    def status(self, path):
        """Return the status of the answer, None when there is none."""
        with contextlib.suppress(requests.ConnectionError):
            return self.get(path).status_code
        return None

    def accepts(self):
        """Tell whether the process takes new connections."""
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.port), ANSWER_SECONDS).close()
            return True
        return False

    def terminate(self):
        """Ask the process to stop, as the service manager does; do not wait."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self, timeout=40):
        """Wait for the end of the process and return its exit code.

        :param timeout: seconds, on a machine that does nothing else; see ``until``.
        """
        return self._process.wait(timeout * PATIENCE)

    def kill(self):
        """Crash the process and its workers."""
        if self._process is not None:
            # The group outlives its leader when a worker does.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10 * PATIENCE)


@pytest.fixture(scope="session")
def replicas():
    """A replica set of three. Who breaks it heals it (`rs.heal()`)."""
    with replica_set(members=3) as rs:
        yield rs


@pytest.fixture
def rs(replicas):
    yield replicas
    replicas.heal()


@pytest.fixture(scope="session")
def single():
    """A replica set of one, for what needs no majority to lose."""
    with replica_set(members=1) as rs:
        yield rs


@pytest.fixture
def database():
    """The name of a database that no other test has."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def static(tmp_path):
    folder = tmp_path / "static"
    folder.mkdir()
    (folder / "index.html").write_text("<!doctype html><title>counterapp</title>")
    return folder


@pytest.fixture
def environ(static):
    """What every node of a test has in common: a database of its own, the source tree."""
    inherited = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    return inherited | {
        "PYTHONPATH": str(ROOT / "app" / "backend" / "src"),
        "COUNTERAPP_STATIC": str(static),
        "COUNTERAPP_DATABASE": f"test-{uuid.uuid4().hex[:12]}",
        # As long as a node waits by itself, on a machine that has nothing else to do.
        "COUNTERAPP_DATABASE_TIMEOUT": str(5 * PATIENCE),
        "COUNTERAPP_HIT_DEADLINE": str(min(8 * PATIENCE, 25)),
    }


@pytest.fixture
def make_node(tmp_path, environ):
    """Return a function that makes a node, not yet started, on a given replica set."""
    made = []

    def make(rs, name="web-1", gunicorn=FROM_SOURCE, **more):
        environment = environ | {"COUNTERAPP_MONGODB_URI": rs.uri} | more
        node = Node(name, tmp_path, environment, gunicorn)
        made.append(node)
        return node

    yield make
    for node in made:
        node.kill()


@pytest.fixture(scope="session")
def browser():
    """Chromium; Playwright runs only once in a process."""
    with chromium() as started:
        yield started


@pytest.fixture
def run_gunicorn(environ, tmp_path):
    """Return a function that runs gunicorn to its end with changes to the environment."""

    def run(changes, cwd=tmp_path):
        changed = {key: value for key, value in (environ | changes).items() if value is not None}
        return subprocess.run(
            [*FROM_SOURCE, *COMMAND],
            env=changed,
            cwd=pathlib.Path(cwd),
            capture_output=True,
            text=True,
            timeout=30 * PATIENCE,
            check=False,
        )

    return run
