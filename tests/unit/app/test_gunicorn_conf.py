"""gunicorn's configuration comes from the environment, or ends with a sentence."""

import runpy

import pytest


@pytest.fixture
def environ(monkeypatch, static):
    monkeypatch.setenv("COUNTERAPP_MONGODB_URI", "mongodb://db-1/?replicaSet=rs0")
    monkeypatch.setenv("COUNTERAPP_NODE", "web-1")
    monkeypatch.setenv("COUNTERAPP_STATIC", str(static))
    return monkeypatch


def configuration():
    return runpy.run_module("counterapp.gunicorn_conf")


def test_defaults(environ):
    conf = configuration()
    assert conf["bind"] == "127.0.0.1:8000"
    assert conf["worker_class"] == "counterapp.gunicorn_worker.Worker"
    assert conf["workers"] == 1
    assert conf["preload_app"] is False


def test_from_the_environment(environ):
    environ.setenv("COUNTERAPP_BIND", "192.168.33.11:8000")
    environ.setenv("COUNTERAPP_WORKERS", "2")
    environ.setenv("COUNTERAPP_THREADS", "8")
    environ.setenv("COUNTERAPP_GRACEFUL_TIMEOUT", "12")
    conf = configuration()
    assert conf["bind"] == "192.168.33.11:8000"
    assert (conf["workers"], conf["threads"], conf["graceful_timeout"]) == (2, 8, 12)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("COUNTERAPP_BIND", "8000"),
        ("COUNTERAPP_BIND", "127.0.0.1:99999"),
        ("COUNTERAPP_BIND", "unix:/tmp/x"),
        ("COUNTERAPP_THREADS", "0"),
        ("COUNTERAPP_WORKERS", "many"),
        ("COUNTERAPP_NODE", "not a node"),
    ],
)
def test_a_bad_value_ends_it_by_name(environ, variable, value):
    environ.setenv(variable, value)
    with pytest.raises(SystemExit, match=f"{variable} must be"):
        configuration()
