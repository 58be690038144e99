"""gunicorn's configuration comes from the environment, or ends with a sentence."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.loading import ROOT


@pytest.fixture
def environ(monkeypatch, static):
    monkeypatch.setenv("COUNTERAPP_MONGODB_URI", "mongodb://db-1/?replicaSet=rs0")
    monkeypatch.setenv("COUNTERAPP_NODE", "web-1")
    monkeypatch.setenv("COUNTERAPP_STATIC", str(static))
    return monkeypatch


def configuration():
    """Return the configuration, or the sentence that it ended with.

    In a process of its own: it lets gevent replace Python's threads and sockets.
    """
    ended = subprocess.run(
        [sys.executable, "-c", READ],
        env=os.environ | {"PYTHONPATH": str(ROOT / "app" / "backend" / "src")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return json.loads(ended.stdout) if ended.returncode == 0 else ended.stderr


READ = """
import json, runpy
conf = runpy.run_module("counterapp.gunicorn_conf")
plain = (str, int, bool, list)
print(json.dumps({key: value for key, value in conf.items() if type(value) in plain}))
"""


def test_defaults(environ):
    conf = configuration()
    assert conf["bind"] == ["127.0.0.1:8000"]
    assert conf["worker_class"] == "counterapp.gunicorn_worker.Worker"
    assert conf["workers"] == 1
    assert conf["preload_app"] is False


def test_from_the_environment(environ):
    environ.setenv("COUNTERAPP_BIND", "192.168.33.11:8000")
    environ.setenv("COUNTERAPP_METRICS_BIND", "192.168.33.11:8001")
    environ.setenv("COUNTERAPP_WORKERS", "2")
    environ.setenv("COUNTERAPP_CONNECTIONS", "8")
    environ.setenv("COUNTERAPP_GRACEFUL_TIMEOUT", "12")
    conf = configuration()
    assert conf["bind"] == ["192.168.33.11:8000", "192.168.33.11:8001"]
    assert (conf["workers"], conf["worker_connections"], conf["graceful_timeout"]) == (2, 8, 12)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("COUNTERAPP_BIND", "8000"),
        ("COUNTERAPP_BIND", "127.0.0.1:99999"),
        ("COUNTERAPP_BIND", "unix:/tmp/x"),
        ("COUNTERAPP_METRICS_BIND", "8001"),
        ("COUNTERAPP_METRICS_BIND", "127.0.0.1:8000"),
        ("COUNTERAPP_CONNECTIONS", "0"),
        ("COUNTERAPP_WORKERS", "many"),
        ("COUNTERAPP_NODE", "not a node"),
    ],
)
def test_a_bad_value_ends_it_by_name(environ, variable, value):
    environ.setenv(variable, value)
    assert f"{variable} must be" in configuration()
