"""Where the module's settings come from, and who may be drained."""

import pytest
from salt.exceptions import CommandExecutionError

from tests.support.loading import load

haproxy = load("_modules/haproxy.py")
utils = load("_utils/haproxy.py")


def _server(name, in_service=True):
    return {"name": name, "in_service": in_service, "admin": "ready"}


@pytest.fixture
def settings():
    return {}


@pytest.fixture
def backend():
    return []


@pytest.fixture
def asked():
    return []


@pytest.fixture
def configure_loader_modules(settings, backend, asked):
    def servers(address, name):
        asked.append(address)
        return backend

    return {
        haproxy: {
            "__opts__": {},
            "__pillar__": settings,
            "__utils__": {"haproxy.servers": servers, "haproxy.chosen": utils.chosen},
        }
    }


@pytest.mark.parametrize(
    ("configured", "argument", "expected"),
    [
        ({}, None, "/run/haproxy/admin.sock"),
        ({"lb": {"socket": "/lb.sock"}}, None, "/lb.sock"),
        (
            {"haproxy": {"socket": "/nested.sock"}, "lb": {"socket": "/lb.sock"}},
            None,
            "/nested.sock",
        ),
        (
            {"haproxy.socket": "/flat.sock", "haproxy": {"socket": "/nested.sock"}},
            None,
            "/flat.sock",
        ),
        ({"haproxy.socket": "/flat.sock"}, "/given.sock", "/given.sock"),
    ],
)
def test_which_socket_is_asked(settings, asked, configured, argument, expected):
    settings.update(configured)
    haproxy.servers("web", socket=argument)
    assert asked == [expected]


@pytest.mark.parametrize(
    ("servers", "minimum", "allowed"),
    [
        ([("a", True), ("b", True)], 1, True),
        ([("a", True), ("b", False)], 1, False),
        ([("a", True)], 1, False),
        ([("a", True)], 0, True),
        ([("a", False)], 1, True),
        ([("a", True), ("b", True), ("c", True)], 2, True),
        ([("a", True), ("b", True), ("c", False)], 2, False),
    ],
)
def test_who_may_be_drained(backend, servers, minimum, allowed):
    backend.extend(_server(*each) for each in servers)
    assert haproxy.may_drain("web", "a", min_in_service=minimum)["allowed"] is allowed


@pytest.mark.parametrize("minimum", [True, 1.5, "1", None])
def test_minimum_is_a_whole_number(backend, minimum):
    backend.append(_server("a"))
    with pytest.raises(CommandExecutionError, match="min_in_service must be a whole number"):
        haproxy.may_drain("web", "a", min_in_service=minimum)


@pytest.mark.parametrize("error", [OSError("gone"), LookupError("gone"), ValueError("gone")])
def test_errors_of_the_protocol_become_salts(configure_loader_modules, error):
    def fail(*_):
        raise error

    haproxy.__utils__["haproxy.servers"] = fail
    with pytest.raises(CommandExecutionError, match="gone"):
        haproxy.servers("web")


def test_config_check_needs_haproxy(monkeypatch):
    monkeypatch.setattr(haproxy.salt.utils.path, "which", lambda _: None)
    with pytest.raises(CommandExecutionError, match="install its package"):
        haproxy.check_config("/etc/haproxy/haproxy.cfg")
