"""Real releases: small archives with real wheels, installed by pip, served by gunicorn."""

import getpass
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile

import pytest
import salt._logging

from tests.support import release_archive
from tests.support.loading import ROOT, minion_loader

WSGI = '''
"""A web node's surface in small, for tests of how releases are switched."""
import importlib.metadata
import json
import os
import sys

RELEASE = importlib.metadata.version("counterapp")
BROKEN = {broken!r}
COUNTS = {{}}
if BROKEN == "import":
    raise RuntimeError("this release cannot be imported")


def app(environ, start_response):
    path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
    who = {{"release": RELEASE, "node": os.environ["COUNTERAPP_NODE"]}}
    status, body = "404 Not Found", {{"title": "Not Found"}}
    if path == "/livez":
        status, body = "200 OK", {{"live": True, "prefix": sys.prefix, **who}}
    elif path == "/readyz" and (BROKEN == "ready" or os.path.exists(os.environ["NOT_READY"])):
        status = "503 Service Unavailable"
        body = {{"ready": False, "reason": "the database has no primary", **who}}
    elif path == "/readyz":
        status, body = "200 OK", {{"ready": True, **who}}
    elif path == "/api/v1/requests":
        count = COUNTS.get("default/shared", 0)
        status, body = "200 OK", {{"total": count, "nodes": {{who["node"]: count}}, **who}}
    elif path.startswith("/api/v1/counters/") and path.endswith("/hits") and method == "POST":
        counter = path.removeprefix("/api/v1/counters/").removesuffix("/hits")
        COUNTS[counter] = COUNTS.get(counter, 0) + 1
        namespace, key = counter.split("/")
        status = "200 OK"
        body = {{"namespace": namespace, "key": key, "value": COUNTS[counter], **who}}
    headers = [("Content-Type", "application/json"), ("X-Release", RELEASE),
               ("X-Served-By", who["node"])]
    start_response(status, headers)
    return [json.dumps(body).encode()]
'''

# What systemd is on a node: the one thing of it that a machine without it cannot have.
SERVICE = """
import pathlib, signal, subprocess, time

__virtualname__ = "service"


def __virtual__():
    return __virtualname__


def _state():
    return __context__.setdefault("counterapp_test_service", {{"process": None, "restarts": 0}})


def _stop():
    process = _state()["process"]
    if process is not None and process.poll() is None:
        process.terminate()
        process.wait(10)


def status(name):
    process = _state()["process"]
    return process is not None and process.poll() is None


def stop(name):
    _stop()
    return True


def restarts(name):
    return _state()["restarts"]


def restart(name):
    _stop()
    state = _state()
    state["restarts"] += 1
    state["process"] = subprocess.Popen(
        [{program!r}, "--bind", {bind!r}, "--log-level", "critical", "--no-control-socket",
         "counterapp.wsgi:app"],
        env={env!r}, cwd="/", stderr=open({log!r}, "ab"),
    )
    return True
"""


@pytest.fixture(scope="session", autouse=True)
def _no_late_logging():
    """Keep Salt from printing at exit what it stored before any logging was set up."""
    salt._logging.shutdown_temp_handler()


@pytest.fixture(scope="session")
def build_release():
    """Return a function that writes the archive of a release which gunicorn can serve."""

    def build(node: "Node", version: str, broken: str = "") -> pathlib.Path:
        modules = {"counterapp/__init__.py": "", "counterapp/wsgi.py": WSGI.format(broken=broken)}
        return release_archive.installable(
            node.archives,
            version,
            modules,
            packages=("gunicorn", "packaging"),
            pythons=(f"{sys.version_info.major}.{sys.version_info.minor}",),
        )

    return build


class Node:
    """A web node in small: Salt's loaders, a root for releases, a service that runs one."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.root = folder / "opt"
        self.archives = folder / "archives"
        self.archives.mkdir()
        self.not_ready = folder / "not-ready"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        # Root checks what it has made as another user.
        self.user = "nobody" if os.geteuid() == 0 else getpass.getuser()
        fake = folder / "service_module"
        fake.mkdir()
        (fake / "service.py").write_text(
            SERVICE.format(
                program=str(self.root / "current" / "venv" / "bin" / "gunicorn"),
                bind=f"127.0.0.1:{self.port}",
                env={
                    "PATH": os.environ["PATH"],
                    "COUNTERAPP_NODE": "web-1",
                    "NOT_READY": str(self.not_ready),
                },
                log=str(folder / "service.log"),
            )
        )
        self.overrides = {
            "module_dirs": [str(fake), str(ROOT / "_modules")],
            "pillar": {
                "web": {"root": str(self.root), "port": self.port, "user": self.user},
                "topology": {"nodes": {"test-minion": {"address": "127.0.0.1"}}},
            },
            "counterapp.python": sys.executable,
        }
        self.loaders = minion_loader(folder / "salt", **self.overrides)
        self.dry = minion_loader(folder / "salt", test=True, **self.overrides)
        self.modules = self.loaders.modules

    def install(self, archive: pathlib.Path, **options) -> dict:
        """Install an archive as the one that was published."""
        note = release_archive.note(archive)
        return self.modules["counterapp.install"](str(archive), **note, **options)

    def state(self, name: str, *args, **kwargs) -> dict:
        """Run a state for real."""
        return self.loaders.states[f"counterapp.{name}"](*args, **kwargs)

    def dry_state(self, name: str, *args, **kwargs) -> dict:
        """Run a state with test=True, on the same running service."""
        self.dry.modules.pack["__context__"].update(self.modules.pack["__context__"])
        return self.dry.states[f"counterapp.{name}"](*args, **kwargs)

    def restarts(self) -> int:
        """Return how often the service was restarted."""
        return self.modules["service.restarts"]("counterapp")


@pytest.fixture(scope="module")
def node():
    """A node on which tests of one file install releases one after the other."""
    # Nobody but root gets into pytest's own folders.
    with tempfile.TemporaryDirectory(prefix="counterapp-node-") as folder:
        pathlib.Path(folder).chmod(0o755)
        made = Node(pathlib.Path(folder))
        yield made
        made.modules["service.stop"]("counterapp")


@pytest.fixture
def run_and_kill():
    """Start a Python program in a session of its own; what is left of it is killed at the end."""
    started = []

    def start(code: str) -> subprocess.Popen:
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, start_new_session=True)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
