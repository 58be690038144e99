"""Frontends: whether they take connections, and how many."""

import pytest


def test_frontends_are_described(balancer):
    assert balancer.call("backends") == ["again", "web", "other", "agent"]
    [front] = balancer.call("frontends")
    assert front["maxconn"] > 0
    assert {**front, "maxconn": 0} == {
        "name": "front",
        "status": "OPEN",
        "sessions": 0,
        "maxconn": 0,
    }


def test_a_frontend_that_takes_no_connections(balancer):
    for _ in range(2):
        assert balancer.call("disable_frontend", "front")["status"] == "PAUSED"
    with pytest.raises(ConnectionRefusedError):
        balancer.get()
    for _ in range(2):
        assert balancer.call("enable_frontend", "front")["status"] == "OPEN"
    assert balancer.get() in balancer.servers


def test_how_many_connections_a_frontend_may_have(balancer):
    [before] = balancer.call("frontends")
    assert balancer.call("set_frontend_maxconn", "front", 7)["maxconn"] == 7
    found = balancer.call("set_frontend_maxconn", "front", before["maxconn"])
    assert found["maxconn"] == before["maxconn"]
