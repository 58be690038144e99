"""Where the module's settings come from, and who may be drained."""

import pytest
from salt.exceptions import CommandExecutionError

from tests.support.loading import load

haproxy = load("_modules/haproxy.py")
drain = load("_modules/haproxy_drain.py")
protocol = load("_utils/haproxy.py")
declared = load("_utils/haproxy_declared.py")


def _server(name, in_service=True):
    return {"name": name, "in_service": in_service, "admin": "ready"}


@pytest.fixture
def backend():
    return []


@pytest.fixture
def configure_loader_modules(backend):
    return {
        drain: {
            "__salt__": {"haproxy.servers": lambda _, socket: backend},
            "__utils__": {"haproxy_declared.number": declared.number},
        },
    }


@pytest.mark.parametrize(
    ("opts", "pillar", "argument", "expected"),
    [
        ({}, {}, None, "/run/haproxy/admin.sock"),
        ({}, {"lb": {"socket": "/lb.sock"}}, None, "/lb.sock"),
        (
            {"haproxy": {"socket": "/nested.sock"}},
            {"lb": {"socket": "/lb.sock"}},
            None,
            "/nested.sock",
        ),
        (
            {"haproxy": {"socket": "/opts.sock"}},
            {"haproxy.socket": "/flat.sock"},
            None,
            "/flat.sock",
        ),
        ({"haproxy.socket": "/opts.sock"}, {"haproxy.socket": "/pillar.sock"}, None, "/opts.sock"),
        ({"haproxy.socket": "/flat.sock"}, {}, "/given.sock", "/given.sock"),
    ],
)
def test_which_socket_is_asked(opts, pillar, argument, expected):
    assert protocol.chosen(argument, opts, pillar) == expected


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
    assert drain.may_drain("web", "a", min_in_service=minimum)["allowed"] is allowed


@pytest.mark.parametrize("minimum", [True, 1.5, "1", None, -1])
def test_minimum_is_a_whole_number(backend, minimum):
    backend.append(_server("a"))
    with pytest.raises(CommandExecutionError, match="min_in_service must be a whole number"):
        drain.may_drain("web", "a", min_in_service=minimum)


@pytest.mark.parametrize("error", [OSError("gone"), LookupError("gone"), ValueError("gone")])
def test_errors_of_the_protocol_become_salts(monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(protocol, "info", fail)
    with pytest.raises(CommandExecutionError, match="gone"):
        protocol.call("info", "/nowhere", {}, {})


def test_config_check_needs_haproxy(monkeypatch):
    monkeypatch.setattr(haproxy.salt.utils.path, "which", lambda _: None)
    with pytest.raises(CommandExecutionError, match="install its package"):
        haproxy.check_config("/etc/haproxy/haproxy.cfg")


SERVER = {
    "backend": "web",
    "name": "web-1",
    "initial_weight": 10,
    "health_checks": True,
    "agent_checks": None,
}


@pytest.mark.parametrize("weight", [0, 256, "7", "0%", "10%", "100%"])
def test_weights_that_can_be(weight):
    assert declared.weight(SERVER, weight) == str(weight)


@pytest.mark.parametrize("weight", [-1, 257, 1.5, True, None, "heavy", "10 %", "%", "5%\n", "٣"])
def test_weights_that_cannot_be(weight):
    with pytest.raises(CommandExecutionError, match="is no weight for web/web-1: give 0 to 256"):
        declared.weight(SERVER, weight)


def test_a_percentage_of_which_nothing_is_left():
    with pytest.raises(
        CommandExecutionError, match="9% of the weight of web/web-1 .*, 10, is none"
    ):
        declared.weight(SERVER, "9%")


@pytest.mark.parametrize("value", [True, "1", -0.1, None])
def test_seconds_are_a_number(value):
    with pytest.raises(CommandExecutionError, match="timeout must be a number of seconds, not"):
        declared.seconds("timeout", value)


@pytest.mark.parametrize(("given", "meant"), [("up", "UP"), ("No Check", "no check")])
def test_a_status_in_small_letters(given, meant):
    assert declared.status(given) == meant


@pytest.mark.parametrize("given", ["gone", "", None, "UP 1/3"])
def test_a_status_that_is_none(given):
    with pytest.raises(CommandExecutionError, match="use one of UP, DOWN, DRAIN, MAINT, NOLB, no"):
        declared.status(given)


def test_checks_that_are_not_configured_are_not_turned_off():
    assert declared.checks(SERVER, "health", False) is False
    with pytest.raises(CommandExecutionError, match="web/web-1 has no agent checks.*`agent-check`"):
        declared.checks(SERVER, "agent", False)
    with pytest.raises(CommandExecutionError, match="health checks of web/web-1 are True"):
        declared.checks(SERVER, "health", "off")


def test_the_last_look_begins_after_the_time_is_over():
    assert list(protocol.looks(0)) == [0]
    waited = list(protocol.looks(0.15))
    assert len(waited) >= 2
    assert waited[-1] >= 0.1
