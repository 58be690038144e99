"""A client's address is what the connection says, or what one of our balancers says."""

from dataclasses import replace

import pytest
from counterapp.app import create_app
from counterapp.clients import Client, Clients
from counterapp.logs import AccessLog

BALANCER = "192.168.33.21"
CLIENTS = Clients(frozenset({BALANCER, "192.168.33.22", "fd00::21"}))


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.7", "", "203.0.113.7"),
        # Anybody can send the header.
        ("203.0.113.7", "198.51.100.1", "203.0.113.7"),
        ("203.0.113.7", BALANCER, "203.0.113.7"),
        (BALANCER, "198.51.100.1", "198.51.100.1"),
        ("fd00::21", "198.51.100.1", "198.51.100.1"),
        (f"::ffff:{BALANCER}", " 198.51.100.1\t", "198.51.100.1"),
        # What is before the last one, the client may have said itself.
        (BALANCER, "1.2.3.4, 198.51.100.1", "198.51.100.1"),
        (BALANCER, "nonsense,198.51.100.1", "198.51.100.1"),
        (BALANCER, "::ffff:198.51.100.1", "198.51.100.1"),
        (BALANCER, "2001:DB8:0::1", "2001:db8::1"),
        # Without an address it is the balancer's.
        (BALANCER, "", BALANCER),
        (BALANCER, "198.51.100.1,", BALANCER),
        (BALANCER, "198.51.100.256", BALANCER),
        (BALANCER, "198.51.100.1:80", BALANCER),
        (BALANCER, "unknown", BALANCER),
        (BALANCER, "1" * 8000, BALANCER),
        ("", "198.51.100.1", ""),
    ],
)
def test_the_address_is_whom_our_balancers_name(peer, forwarded, address):
    assert CLIENTS.of(peer, forwarded).address == address


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:0:0:ffff::", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
    ],
)
def test_of_ipv6_a_network_is_one_client(address, group):
    assert CLIENTS.of(address, "").group == group


def test_without_balancers_nobody_is_believed():
    assert Clients(frozenset()).of(BALANCER, "198.51.100.1") == Client(BALANCER, BALANCER)


@pytest.mark.parametrize(
    ("peer", "logged"), [(BALANCER, "198.51.100.1"), ("203.0.113.7", "203.0.113.7")]
)
def test_the_log_has_the_address(settings, store, monkeypatch, peer, logged):
    lines = []
    monkeypatch.setattr(AccessLog, "write", lambda log, level, **fields: lines.append(fields))
    client = create_app(replace(settings, balancers=frozenset({BALANCER})), store).test_client()
    client.get(
        "/livez",
        headers={"X-Forwarded-For": "198.51.100.1"},
        environ_overrides={"REMOTE_ADDR": peer},
    )
    assert lines[0]["client"] == logged
