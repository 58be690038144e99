"""The haproxy modules against a real HAProxy with real servers and sessions."""

import http.client
import threading
import time

import pytest
from salt.exceptions import CommandExecutionError

from tests.support.waiting import until


def _admin(balancer, name="web-1"):
    return balancer.call("server_state", "web", name)["admin"]


def _down(balancer, name):
    balancer.servers[name].ready = False
    until(
        lambda: balancer.call("server_state", "web", name),
        10,
        f"{name} is down",
        wanted=lambda server: not server["up"],
    )


def _once_drained(balancer, name, seconds, act):
    """Act so many seconds after a server was seen in drain; return the thread that does it."""

    def run():
        until(lambda: _admin(balancer, name), 10, f"{name} drains", wanted="drain")
        time.sleep(seconds)
        act()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_info_and_stat_are_typed(balancer):
    info = balancer.call("info")
    assert info["Name"] == "HAProxy"
    assert info["Pid"] == balancer.process.pid
    rows = {(row["pxname"], row["svname"]): row for row in balancer.call("stat")}
    assert rows["web", "web-1"]["scur"] == 0
    assert rows["web", "web-1"]["status"].startswith("UP")
    assert ("front", "FRONTEND") in rows


def test_servers_are_described(balancer):
    # Each second there is a moment in which the next check is under way.
    found = until(
        lambda: balancer.call("servers", "web"),
        10,
        "web-1 is checked",
        wanted=lambda servers: servers[0]["checked"],
    )
    assert [entry["name"] for entry in found] == ["web-1", "web-2"]
    entry = found[0]
    assert 0 <= entry.pop("since") < 600
    assert entry.pop("check").startswith("L7OK")
    assert entry == {
        "name": "web-1",
        "backend": "web",
        "address": f"127.0.0.1:{balancer.servers['web-1'].port}",
        "admin": "ready",
        "status": "UP",
        "up": True,
        "checked": True,
        "in_service": True,
        "sessions": 0,
        "queued": 0,
        "weight": 100,
        "initial_weight": 100,
        "health_checks": True,
        "agent_checks": None,
    }


def test_server_without_checks_counts_as_up(balancer):
    entry = balancer.call("server_state", "other", "alone")
    assert (entry["status"], entry["up"], entry["checked"]) == ("no check", True, True)
    assert balancer.call("wait_up", "other", "alone", timeout=0)["waited"] == 0


@pytest.mark.parametrize("form", ["{}", "unix@{}"])
def test_socket_as_a_path(balancer, form):
    address = form.format(balancer.socket)
    assert balancer.call("info", socket=address)["Pid"] == balancer.process.pid


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ipv4@127.0.0.1:{}", "tcp@127.0.0.1:{}"])
def test_socket_on_tcp(balancer, form):
    address = form.format(balancer.stats_port)
    assert balancer.call("info", socket=address)["Pid"] == balancer.process.pid


def test_drain_without_sessions_is_immediate(balancer):
    entry = balancer.call("drain", "web", "web-1", timeout=20)
    assert (entry["admin"], entry["in_service"], entry["changed"]) == ("drain", False, True)
    assert entry["waited"] < 2
    assert {balancer.get() for _ in range(4)} == {"web-2"}
    assert balancer.call("drain", "web", "web-1")["changed"] is False


def test_drain_waits_for_the_sessions_that_are_there(balancer):
    with balancer.held_session("web-1") as backend:
        assert balancer.call("sessions", "web", "web-1") == 1
        letting_go = _once_drained(balancer, "web-1", 0.6, backend.let_go.set)
        entry = balancer.call("drain", "web", "web-1", timeout=20)
        letting_go.join()
    assert entry["waited"] >= 0.5
    assert entry["sessions"] == 0


def test_drain_that_takes_too_long_is_taken_back(balancer):
    with balancer.held_session("web-1"):
        with pytest.raises(
            CommandExecutionError,
            match="web/web-1 still has 1 session 0.5 s after.*put back to 'ready'",
        ):
            balancer.call("drain", "web", "web-1", timeout=0.5)
        assert _admin(balancer) == "ready"


def test_drain_that_was_there_before_is_not_taken_back(balancer):
    with balancer.held_session("web-1"):
        balancer.call("set_state", "web", "web-1", "drain")
        with pytest.raises(CommandExecutionError, match="still has 1 session"):
            balancer.call("drain", "web", "web-1", timeout=0.2)
        assert _admin(balancer) == "drain"


def test_server_that_is_down_is_not_waited_for(balancer):
    with balancer.held_session("web-1"):
        _down(balancer, "web-1")
        entry = balancer.call("drain", "web", "web-1", timeout=20)
        assert (entry["admin"], entry["sessions"], entry["waited"]) == ("drain", 1, 0)


def test_server_that_goes_down_while_it_drains_is_not_waited_for(balancer):
    with balancer.held_session("web-1") as backend:
        failing = _once_drained(balancer, "web-1", 0.3, lambda: setattr(backend, "ready", False))
        entry = balancer.call("drain", "web", "web-1", timeout=20)
        failing.join()
    assert (entry["up"], entry["sessions"]) == (False, 1)


def test_the_last_one_is_never_drained(balancer):
    balancer.call("drain", "web", "web-1")
    with pytest.raises(
        CommandExecutionError, match="0 servers would be left in backend 'web', at least 1 must"
    ):
        balancer.call("drain", "web", "web-2")
    assert _admin(balancer, "web-2") == "ready"
    assert balancer.get() == "web-2"


def test_a_server_that_is_down_does_not_count_as_left(balancer):
    _down(balancer, "web-2")
    assert balancer.call("may_drain", "web", "web-1")["allowed"] is False
    # Nothing is lost with one that serves nobody.
    assert balancer.call("may_drain", "web", "web-2")["allowed"] is True


@pytest.mark.parametrize(("minimum", "allowed"), [(0, True), (1, True), (2, False)])
def test_how_many_must_stay_is_the_callers_choice(balancer, minimum, allowed):
    verdict = balancer.call("may_drain", "web", "web-1", min_in_service=minimum)
    assert verdict["allowed"] is allowed
    assert verdict["others"] == ["web-2"]
    assert bool(verdict["reason"]) is not allowed


def test_wait_drained_wants_a_drained_server(balancer):
    with pytest.raises(CommandExecutionError, match="drain it first"):
        balancer.call("wait_drained", "web", "web-1")


def test_ready_and_up_again(balancer):
    balancer.call("drain", "web", "web-1")
    _down(balancer, "web-1")
    with pytest.raises(CommandExecutionError, match="DOWN after 0.3 s.*L7"):
        balancer.call("wait_up", "web", "web-1", timeout=0.3)
    balancer.servers["web-1"].ready = True
    # Checks go on in drain: it is known to be up before it gets a session.
    entry = balancer.call("wait_up", "web", "web-1", timeout=10)
    assert (entry["admin"], entry["in_service"]) == ("drain", False)
    assert balancer.call("ready", "web", "web-1")["in_service"] is True
    assert {balancer.get() for _ in range(4)} == {"web-1", "web-2"}


def test_a_weight_is_a_part_of_the_requests(balancer):
    assert balancer.call("set_weight", "web", "web-1", "10%")["weight"] == 10
    assert balancer.call("set_weight", "web", "web-1", "10%")["weight"] == 10
    answered = [balancer.get() for _ in range(55)]
    assert answered.count("web-1") == 5
    found = balancer.call("set_weight", "web", "web-1", "100%")
    assert (found["weight"], found["initial_weight"], found["in_service"]) == (100, 100, True)
    assert balancer.call("set_weight", "web", "web-1", 7)["weight"] == 7
    assert balancer.call("set_weight", "web", "web-1", 0)["in_service"] is False


def test_a_weight_outlives_a_reload_when_the_state_was_saved(balancer):
    balancer.call("set_weight", "web", "web-1", "10%")
    balancer.call("save_state", str(balancer.folder / "server-state"))
    balancer.start()
    found = balancer.call("server_state", "web", "web-1")
    assert (found["weight"], found["initial_weight"]) == (10, 100)


def test_counters_tell_what_became_of_requests(balancer):
    before = balancer.call("counters", "web")
    assert before["process"] == balancer.process.pid
    assert list(before["servers"]) == ["web-1", "web-2"]
    balancer.call("set_state", "web", "web-2", "drain")
    for _ in range(3):
        balancer.get()
    for _ in range(2):
        with pytest.raises(AssertionError, match="500"):
            balancer.get("/broken")
    after = balancer.call("counters", "web")
    grown = {
        name: {key: after["servers"][name][key] - old[key] for key in old if key != "status"}
        for name, old in before["servers"].items()
    }
    failures = {"hrsp_5xx": 2, "econ": 0, "eresp": 0, "wretr": 0, "wredis": 0}
    assert grown["web-1"] == {"answers": 5, **failures}
    assert set(grown["web-2"].values()) == {0}
    # HAProxy says "UP 2/3" after a check that a busy machine was late for.
    assert after["servers"]["web-1"]["status"].startswith("UP")
    assert after["servers"]["web-2"]["status"].startswith("DRAIN")


def test_counters_of_what_another_server_had_to_answer(balancer):
    missed = balancer.servers["web-1"].missed
    before = balancer.call("counters", "web")["servers"]["web-1"]
    assert {balancer.get("/missing") for _ in range(4)} == {"web-2"}
    after = balancer.call("counters", "web")["servers"]["web-1"]
    assert after["wredis"] - before["wredis"] == balancer.servers["web-1"].missed - missed > 0
    assert after["answers"] == before["answers"]
    assert (after["econ"], after["eresp"]) == (before["econ"], before["eresp"])


def test_counters_start_anew_with_a_reload(balancer):
    balancer.get()
    before = balancer.call("counters", "web")
    balancer.start()
    after = balancer.call("counters", "web")
    assert after["process"] != before["process"]
    assert {each["answers"] for each in after["servers"].values()} == {0}


def test_wait_up_does_not_wait_in_maint(balancer):
    balancer.call("set_state", "web", "web-1", "maint")
    with pytest.raises(CommandExecutionError, match="is in maint"):
        balancer.call("wait_up", "web", "web-1", timeout=20)


def test_clients_notice_nothing_of_drains(balancer):
    """Requests that run all the time are all answered while servers go in and out of rotation."""
    stop, answers, failures = threading.Event(), [], []

    def ask():
        while not stop.is_set():
            try:
                answers.append(balancer.get())
            except (OSError, AssertionError, http.client.HTTPException) as error:
                failures.append(repr(error))

    clients = [threading.Thread(target=ask) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        for _ in range(3):
            for name in balancer.servers:
                balancer.call("drain", "web", name, timeout=10)
                balancer.call("ready", "web", name)
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert failures == []
    assert set(answers) == {"web-1", "web-2"}


def test_reload_forgets_a_drain_unless_the_state_was_saved(balancer):
    path = balancer.folder / "server-state"
    balancer.call("drain", "web", "web-1")
    assert balancer.call("save_state", str(path)) == {"path": str(path), "servers": 6}
    assert path.stat().st_mode & 0o777 == 0o600
    balancer.start()
    assert _admin(balancer) == "drain"
    assert {balancer.get() for _ in range(4)} == {"web-2"}

    path.unlink()
    balancer.start()
    assert _admin(balancer) == "ready"


def test_state_that_cannot_be_saved(balancer):
    with pytest.raises(CommandExecutionError, match="cannot be saved to /nowhere/state: No such"):
        balancer.call("save_state", "/nowhere/state")
    with pytest.raises(CommandExecutionError, match="cannot be saved"):
        balancer.call("save_state", str(balancer.folder))
    name = f".{balancer.folder.name}."
    assert [each for each in balancer.folder.parent.iterdir() if each.name.startswith(name)] == []


def test_configuration_is_checked_in_haproxys_words(balancer, tmp_path):
    found = balancer.call("check_config", str(balancer.config))
    assert found["valid"] is True
    assert any("server-state" in warning for warning in found["warnings"])

    bad = tmp_path / "bad.cfg"
    bad.write_text("frontend x\n  bind :1\n  optionn httplog\n")
    with pytest.raises(CommandExecutionError, match=f"does not accept {bad}.*'optionn'"):
        balancer.call("check_config", str(bad))
    with pytest.raises(CommandExecutionError, match="/nowhere.cfg"):
        balancer.call("check_config", "/nowhere.cfg")
