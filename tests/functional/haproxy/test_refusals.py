"""What HAProxy, or the modules, refuse: each error names the thing and what to do about it."""

import os
import pathlib
import socket

import pytest
from salt.exceptions import CommandExecutionError

NO_BACKEND = r"Can't find backend. \(its backends: again, web, other, agent\)"
NO_SERVER = "No such server: backend 'web' has no 'nope' .its servers: web-1, web-2"

FILES = {
    "haproxy",
    "haproxy_drain",
    "haproxy_everywhere",
    "haproxy_frontend",
    "haproxy_server",
}
#: Each function that changes something, with arguments that would do.
STEERING = {
    "set_state": ["web", "web-1", "maint"],
    "set_weight": ["web", "web-1", "10%"],
    "set_health_checks": ["web", "web-1", False],
    "set_agent_checks": ["agent", "told", False],
    "shutdown_sessions": ["web", "web-1"],
    "set_server": ["web-1", "maint", "web", None, None, None, None, False, 0],
    "drain": ["web", "web-1", 1, 0],
    "ready": ["web", "web-1"],
    "disable_frontend": ["front"],
    "set_frontend_maxconn": ["front", 100],
    "closing": [30],
}
LOOKING = {
    "info": [],
    "stat": [],
    "backends": [],
    "servers": ["web"],
    "server_state": ["web", "web-1"],
    "sessions": ["web", "web-1"],
    "counters": ["web"],
    "may_drain": ["web", "web-1"],
    "wait_up": ["web", "web-1"],
    "wait_status": ["web", "web-1"],
    "frontends": [],
    "enable_frontend": ["front"],
}
#: What HAProxy tells operators only.
FOR_OPERATORS = {"connections": ["front"], "wait_answered": ["front"]}


@pytest.fixture(scope="module")
def balancer(running):
    """One for all tests: nothing here changes anything."""
    running.reset()
    return running


EVERY = [*STEERING.items(), *LOOKING.items(), *FOR_OPERATORS.items()]


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("servers", ["nope"], NO_BACKEND),
        ("counters", ["nope"], NO_BACKEND),
        ("set_state", ["nope", "web-1", "drain"], NO_BACKEND),
        ("set_weight", ["nope", "web-1", "10%"], NO_BACKEND),
        ("set_health_checks", ["nope", "web-1", True], NO_BACKEND),
        ("set_agent_checks", ["nope", "web-1", True], NO_BACKEND),
        ("shutdown_sessions", ["nope", "web-1"], NO_BACKEND),
        ("may_drain", ["nope", "web-1"], NO_BACKEND),
        ("drain", ["nope", "web-1"], NO_BACKEND),
        ("ready", ["nope", "web-1"], NO_BACKEND),
        ("wait_status", ["nope", "web-1"], NO_BACKEND),
        ("drain", ["web", "nope"], NO_SERVER),
        ("may_drain", ["web", "nope"], NO_SERVER),
        ("ready", ["web", "nope"], NO_SERVER),
        ("set_state", ["web", "nope", "drain"], NO_SERVER),
        ("set_weight", ["web", "nope", "10%"], NO_SERVER),
        ("set_health_checks", ["web", "nope", True], NO_SERVER),
        ("set_agent_checks", ["web", "nope", True], NO_SERVER),
        ("shutdown_sessions", ["web", "nope"], NO_SERVER),
        ("wait_up", ["web", "nope"], NO_SERVER),
        ("wait_drained", ["web", "nope"], NO_SERVER),
        ("wait_status", ["web", "nope"], NO_SERVER),
        ("set_state", ["web", "web-1", "gone"], "'gone' is no state.* ready, drain, maint"),
        ("set_state", ["web", ["web-1"], "drain"], "backend 'web' has no"),
        ("servers", ["web; shutdown"], "cannot be the name of a backend"),
        ("servers", ["web\nshow info"], "cannot be the name of a backend"),
        ("drain", ["web", "web-1", -1], "timeout must be a number of seconds"),
        ("wait_status", ["web", "web-1", "UP", "1"], "timeout must be a number of seconds"),
        ("wait_status", ["web", "web-1", "gone"], "use one of UP, DOWN, DRAIN"),
        ("set_weight", ["web", "web-1", "heavy"], "'heavy' is no weight for web/web-1: give 0"),
        ("set_weight", ["web", "web-1", 257], "'257' is no weight"),
        ("set_weight", ["other", "alone", "10%"], "10% of .* other/alone .*, 1, is none"),
        ("set_health_checks", ["other", "alone", False], "other/alone has no health checks"),
        ("set_agent_checks", ["web", "web-1", False], "web/web-1 has no agent checks"),
        ("set_health_checks", ["web", "web-1", "off"], "True .on. or False .off., not 'off'"),
        ("may_drain", ["web", "web-1", "one"], "min_in_service must be a whole number"),
        ("set_server", ["nope", "maint"], "no backend has a 'nope' .*again/web-1, again/web-2, w"),
        ("set_server", ["nope", "maint", "web"], "backend 'web' has no 'nope'.*web/web-1, web/w"),
        ("set_server", ["web-1", "maint", "nope"], NO_BACKEND),
        ("set_server", ["web-1", "gone"], "'gone' is no state.* ready, drain, maint"),
        ("set_server", ["web-1", "drain", None, "heavy"], "'heavy' is no weight for again/web-1"),
        ("set_server", ["web-1", "drain", None, None, 1], "health checks of again/web-1 are True"),
        ("set_server", ["web-1", "drain", None, None, None, True], "has no agent checks"),
        ("set_server", ["web-1", "ready", None, None, None, None, "1"], "timeout must be a number"),
        ("set_server", ["web-1", "ready", None, None, None, None, 1, True], "goes with 'drain'"),
        ("enable_frontend", ["nope"], r"No such frontend: .* has no 'nope' \(its frontends: front"),
        ("disable_frontend", ["web"], "No such frontend: HAProxy has no 'web'"),
        ("set_frontend_maxconn", ["nope", 10], "No such frontend"),
        ("set_frontend_maxconn", ["front", 0], "maxconn must be a whole number from 1 on, not 0"),
        ("set_frontend_maxconn", ["front", "many"], "maxconn must be a whole number from 1 on"),
        ("connections", ["nope"], "has no frontend 'nope'"),
    ],
)
def test_bad_input_is_named_and_changes_nothing(balancer, function, arguments, message):
    before = _settings(balancer)
    with pytest.raises(CommandExecutionError, match=message):
        balancer.call(function, *arguments)
    assert _settings(balancer) == before


def _settings(balancer):
    keys = ("name", "backend", "admin", "weight", "health_checks", "agent_checks")
    return [
        *(
            {key: entry[key] for key in keys}
            for backend in balancer.call("backends")
            for entry in balancer.call("servers", backend)
        ),
        *({**each, "sessions": 0} for each in balancer.call("frontends")),
    ]


@pytest.mark.parametrize("level", ["user", "operator"])
@pytest.mark.parametrize(("function", "arguments"), STEERING.items())
def test_socket_without_the_right_to_change_anything(balancer, level, function, arguments):
    before = _settings(balancer)
    address = str(balancer.folder / f"{level}.sock")
    with pytest.raises(
        CommandExecutionError, match=f"{address} refused .*Permission denied.*'level admin'"
    ):
        balancer.call(function, *arguments, socket=address)
    assert _settings(balancer) == before


@pytest.mark.parametrize("level", ["user", "operator"])
@pytest.mark.parametrize(("function", "arguments"), LOOKING.items())
def test_whoever_only_looks_needs_no_right(balancer, level, function, arguments):
    address = str(balancer.folder / f"{level}.sock")
    assert balancer.call(function, *arguments, socket=address) is not None


@pytest.mark.parametrize(("function", "arguments"), FOR_OPERATORS.items())
def test_nobody_is_taken_for_away_where_haproxy_does_not_tell(balancer, function, arguments):
    with pytest.raises(CommandExecutionError, match="Permission denied.*'level admin'"):
        balancer.call(function, *arguments, socket=str(balancer.folder / "user.sock"))
    assert balancer.call(function, *arguments, socket=str(balancer.folder / "operator.sock"))


@pytest.mark.parametrize("address", ["/nowhere/admin.sock", "127.0.0.1:1", "nonsense", "a@b:1"])
def test_socket_that_is_none(balancer, address):
    with pytest.raises(CommandExecutionError, match=address):
        balancer.call("info", socket=address)


@pytest.mark.parametrize(("function", "arguments"), EVERY)
def test_each_function_names_a_socket_that_is_missing(balancer, function, arguments):
    with pytest.raises(
        CommandExecutionError,
        match="cannot be asked at /nowhere/admin.sock: No such file.*have this 'stats socket'",
    ):
        balancer.call(function, *arguments, socket="/nowhere/admin.sock")


def test_each_function_is_among_those_that_are_tried(balancer):
    tried = {name for name, _ in EVERY} | {"wait_drained", "save_state", "check_config"}
    loaded = {name.partition(".")[2] for name in balancer.loaders.modules if "haproxy." in name}
    here = {name for name in loaded if _is_of(balancer, name)}
    assert here == tried


def _is_of(balancer, name):
    """Tell whether a function is of a file that is tried here."""
    code = balancer.loaders.modules[f"haproxy.{name}"].__wrapped__.__code__
    return pathlib.Path(code.co_filename).stem in FILES


def test_socket_that_haproxy_has_left_behind(balancer, tmp_path):
    address = str(tmp_path / "left.sock")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(address)
    with pytest.raises(CommandExecutionError, match=f"{address}: Connection refused; is it runn"):
        balancer.call("info", socket=address)


def test_socket_that_this_user_may_not_use(balancer):
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    os.seteuid(65534)
    try:
        with pytest.raises(
            CommandExecutionError,
            match=f"{balancer.socket}: this user may not use that socket; be root, or.*'group'",
        ):
            balancer.call("info")
    finally:
        os.seteuid(0)
