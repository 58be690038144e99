"""One server in each backend that has it; its weight, checks and sessions."""

import http.client
import threading

import pytest
from salt.exceptions import CommandExecutionError

from tests.support.waiting import until

PLACES = ["again", "web"]


def _is(balancer, key, server="web-1"):
    """Return what a key of the server is in each backend."""
    return [balancer.call("server_state", place, server)[key] for place in PLACES]


def _until(balancer, place, server, key, wanted):
    until(
        lambda: balancer.call("server_state", place, server),
        20,
        f"{place}/{server} has {key} {wanted}",
        wanted=lambda entry: entry[key] == wanted,
    )


@pytest.fixture
def cut_off(balancer):
    """Hold one session of web-1 that is not answered; yields what its client got, in the end."""
    balancer.call("set_state", "web", "web-2", "drain")
    got = []

    def ask():
        try:
            got.append(balancer.get("/hold"))
        except (OSError, AssertionError, http.client.HTTPException) as error:
            got.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    backend = balancer.servers["web-1"]
    until(lambda: backend.held, 10, "a session is held")
    balancer.call("ready", "web", "web-2")
    balancer.call("wait_up", "web", "web-2")
    yield got
    backend.let_go.set()
    thread.join(10)
    until(lambda: not backend.held, 10, "the session is over")
    backend.let_go.clear()


def test_in_each_backend_that_has_it(balancer):
    found = balancer.call("set_server", "web-1", "drain")
    assert list(found) == PLACES
    assert {each["changed"] for each in found.values()} == {True}
    assert _is(balancer, "admin") == ["drain", "drain"]
    again = balancer.call("set_server", "web-1", "drain", timeout=20)
    assert {each["changed"] for each in again.values()} == {False}
    back = balancer.call("set_server", "web-1", "ready", timeout=20)
    assert {(each["changed"], each["up"]) for each in back.values()} == {(True, True)}
    assert _is(balancer, "admin") == ["ready", "ready"]


def test_in_one_backend(balancer):
    assert list(balancer.call("set_server", "web-1", "maint", backend="web")) == ["web"]
    assert _is(balancer, "admin") == ["ready", "maint"]
    # The second time there is nothing to wait for, and nothing that HAProxy would begin anew.
    again = balancer.call("set_server", "web-1", "maint", backend="web", timeout=20)
    assert again["web"]["changed"] is False


def test_maint_begins_when_the_sessions_have_ended(balancer):
    with balancer.held_session("web-1") as backend:
        timer = threading.Thread(
            target=lambda: (
                _until(balancer, "web", "web-1", "admin", "drain"),
                backend.let_go.set(),
            )
        )
        timer.start()
        found = balancer.call("set_server", "web-1", "maint", timeout=20)
        timer.join()
    assert [each["admin"] for each in found.values()] == ["maint", "maint"]


def test_maint_that_takes_too_long_is_taken_back_everywhere(balancer):
    with (
        balancer.held_session("web-1"),
        pytest.raises(CommandExecutionError, match="web/web-1 still has 1 session.*put back"),
    ):
        balancer.call("set_server", "web-1", "maint", timeout=0.3, weight=7)
    assert _is(balancer, "admin") == ["ready", "ready"]
    assert _is(balancer, "weight") == [100, 100]


def test_the_last_one_is_refused_before_anything_is_changed(balancer):
    balancer.call("set_state", "web", "web-2", "maint")
    with pytest.raises(CommandExecutionError, match="web/web-1 stays in service.*at least 1 must"):
        balancer.call("set_server", "web-1", "maint")
    assert _is(balancer, "admin") == ["ready", "ready"]
    balancer.call("set_server", "web-1", "maint", min_in_service=0)
    assert _is(balancer, "admin") == ["maint", "maint"]


def test_sessions_are_ended_at_once(balancer, cut_off):
    found = balancer.call("set_server", "web-1", "maint", shutdown_sessions=True)
    assert found["web"]["changed"] is True
    until(lambda: cut_off, 10, "the client is cut off")
    assert isinstance(cut_off[0], Exception)
    assert _is(balancer, "admin") == ["maint", "maint"]


def test_sessions_that_are_left_after_the_time_are_ended(balancer, cut_off):
    entry = balancer.call("drain", "web", "web-1", timeout=0.3, shutdown_sessions=True)
    assert (entry["admin"], entry["sessions"]) == ("drain", 0)
    until(lambda: cut_off, 10, "the client is cut off")
    assert isinstance(cut_off[0], Exception)


def test_how_many_sessions_were_ended(balancer, cut_off):
    assert balancer.call("shutdown_sessions", "web", "web-1") == {"ended": 1}
    until(lambda: cut_off, 10, "the client is cut off")
    assert balancer.call("shutdown_sessions", "web", "web-1") == {"ended": 0}


def test_weight_and_checks_with_the_state(balancer):
    balancer.call("set_server", "web-1", "drain", weight="10%", health_checks=False)
    assert _is(balancer, "weight") == [10, 10]
    assert _is(balancer, "health_checks") == [False, False]
    found = balancer.call("set_server", "web-1", "ready", weight=50, health_checks=True)
    assert [each["weight"] for each in found.values()] == [50, 50]
    assert _is(balancer, "health_checks") == [True, True]
    same = balancer.call("set_server", "web-1", "ready", weight="50%")
    assert {each["changed"] for each in same.values()} == {False}


def test_a_server_that_is_not_found_may_be_no_fault(balancer):
    assert balancer.call("set_server", "nope", "maint", fail_on_not_found=False) == {}
    with pytest.raises(CommandExecutionError, match="Can't find backend"):
        balancer.call("set_server", "web-1", "maint", backend="nope", fail_on_not_found=False)


def test_health_checks_that_are_off_see_nothing(balancer):
    assert balancer.call("set_health_checks", "web", "web-1", False)["health_checks"] is False
    balancer.servers["web-1"].ready = False
    # The same server, where the checks are on.
    _until(balancer, "again", "web-1", "up", False)
    assert balancer.call("server_state", "web", "web-1")["up"] is True
    assert balancer.call("set_health_checks", "web", "web-1", True)["health_checks"] is True
    _until(balancer, "web", "web-1", "up", False)


def test_an_agent_is_asked_while_its_checks_are_on(balancer):
    balancer.agent.weight = 40
    _until(balancer, "agent", "told", "weight", 40)
    assert balancer.call("set_agent_checks", "agent", "told", False)["agent_checks"] is False
    balancer.call("set_weight", "agent", "told", 7)
    asked = balancer.agent.asked
    # HAProxy asks ten times a second, and may just have begun to when it was told not to.
    _until(balancer, "web", "web-1", "checked", True)
    assert balancer.agent.asked <= asked + 1
    assert balancer.call("set_agent_checks", "agent", "told", True)["agent_checks"] is True
    _until(balancer, "agent", "told", "weight", 40)


def test_a_status_is_waited_for(balancer):
    assert balancer.call("wait_status", "web", "web-1", "up", timeout=20)["up"] is True
    assert balancer.call("wait_status", "other", "alone", "no check")["waited"] == 0
    balancer.servers["web-1"].ready = False
    assert balancer.call("wait_status", "web", "web-1", "DOWN", timeout=20)["up"] is False
    balancer.call("set_state", "web", "web-1", "maint")
    assert balancer.call("wait_status", "web", "web-1", "MAINT")["admin"] == "maint"
    with pytest.raises(CommandExecutionError, match="web/web-1 is 'MAINT' after 0.2 s, not 'UP'"):
        balancer.call("wait_status", "web", "web-1", timeout=0.2)
