"""What the guard of the VIP takes for dead, cut off or untold; it does so for real in
tests/functional/haproxy/test_vip_guard.py and tests/system/test_failures.py."""

import asyncio
import os
import signal
import socket
import subprocess

import pytest

from tests.support.loading import load
from tests.support.waiting import until

guard = load("salt/lb/files/vip-guard.py")
OUT = ("eth0", guard.IPV4, socket.PACKET_OUTGOING, 1, b"")


class Clock:
    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(guard.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_what_nobody_had_a_turn_for_does_not_count(clock):
    turns = guard.Turns()
    for seconds in (0.05, guard.TURN, 30.0):
        clock.now += seconds
        turns.take()
    assert turns.seconds == pytest.approx(0.05 + 2 * guard.TURN)


def test_somebody_new_is_not_missed_and_somebody_dead_is_at_once(clock):
    turns = guard.Turns()
    turns.seconds = 7.0
    signs = guard.Signs(turns)
    assert signs.silence("haproxy") == 0
    turns.seconds += 2
    assert signs.silence("haproxy") == 2
    signs.of("haproxy")
    assert signs.silence("haproxy") == 0
    signs.end_of("haproxy")
    assert signs.silence("haproxy") > guard.BUSY


@pytest.mark.parametrize(
    ("haproxy", "waits", "others", "reason"),
    [
        (0.0, False, 0.0, ""),
        (guard.DEAD - 0.01, False, guard.CUT_OFF - 0.01, ""),
        (guard.DEAD + 0.01, False, 0.0, "HAProxy does not answer"),
        # It would answer if it had its turn.
        (guard.DEAD + 0.01, True, 0.0, ""),
        (guard.BUSY + 0.01, True, 0.0, "HAProxy does not answer"),
        (0.0, False, guard.CUT_OFF + 0.01, "no other node answers"),
    ],
)
def test_who_is_not_to_have_the_address(clock, haproxy, waits, others, reason):
    turns = guard.Turns()
    signs = guard.Signs(turns)
    turns.seconds = 50.0 - others
    signs.of("others")
    turns.seconds = 50.0 - haproxy
    signs.of("haproxy")
    turns.seconds = 50.0
    assert guard.fault(signs, lambda: waits) == reason


@pytest.mark.parametrize(
    ("address", "there"),
    [("10.0.0.9", True), ("10.0.0.0", False), ("10.0.0.90", False), ("0.0.0.9", False)],
)
def test_an_address_is_this_nodes_when_the_kernel_takes_it_for_local(address, there):
    trie = (
        "     +-- 10.0.0.0/24 2 1 2\n        |-- 10.0.0.0\n           /24 link UNICAST\n"
        "        |-- 10.0.0.9\n           /32 host LOCAL\n"
        "        |-- 10.0.0.90\n           /32 link BROADCAST\n"
    )
    assert guard.holds(address, trie) is there


def advert(protocol=112, router=51, options=b""):
    header = bytes([0x40 | (5 + len(options) // 4), *[0] * 8, protocol, *[0] * 10]) + options
    return header + bytes([0x31, router, 150, 1])


@pytest.mark.parametrize(
    ("packet", "sender", "own"),
    [
        (advert(), OUT, True),
        (advert(options=bytes(4)), OUT, True),
        # Another virtual router's, another protocol's, a peer's, no IP, and a torn one.
        (advert(router=52), OUT, False),
        (advert(protocol=6), OUT, False),
        (advert(), ("eth0", guard.IPV4, socket.PACKET_HOST, 1, b""), False),
        (advert(), ("eth0", 0x0806, socket.PACKET_OUTGOING, 1, b""), False),
        (advert()[:21], OUT, False),
        (b"", OUT, False),
    ],
)
def test_an_advert_of_this_node(packet, sender, own):
    assert guard.is_own_advert(packet, sender, 51) is own


def test_one_that_refuses_is_there_and_one_that_cannot_be_reached_is_not():
    with socket.create_server(("127.0.0.1", 0)) as server:
        there = server.getsockname()
        assert asyncio.run(guard.is_there(there))
    assert asyncio.run(guard.is_there(there))
    # Nobody can connect to an address that stands for all.
    assert not asyncio.run(guard.is_there(("255.255.255.255", 9)))


def test_what_a_process_is_at(tmp_path):
    pid_file = tmp_path / "some.pid"
    assert guard.states(pid_file) == ""
    pid_file.write_text(f"{os.getpid()}\n")
    # It runs, as it asks.
    assert guard.states(pid_file) == "R"
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        assert len(guard.states(pid_file, children=True)) == 1
        pid_file.write_text(f"{sleeper.pid}\n")
        until(lambda: guard.states(pid_file), 10, "it sleeps", wanted="S")
        sleeper.send_signal(signal.SIGSTOP)
        until(lambda: guard.states(pid_file), 10, "it is stopped", wanted="T")
        sleeper.kill()
    assert guard.states(pid_file) == ""


def test_the_hardware_of_balancers_is_what_the_kernel_knows():
    table = """IP address       HW type     Flags       HW address            Mask     Device
10.0.0.7         0x1         0x2         02:00:00:00:00:07     *        eth0
10.0.0.8         0x1         0x0         00:00:00:00:00:00     *        eth0
10.0.0.9         0x1         0x2         02:00:00:00:00:09     *        eth1
10.0.0.70        0x1         0x2         02:00:00:00:00:70     *        eth0
"""
    wanted = ["10.0.0.7", "10.0.0.8", "10.0.0.9"]
    assert guard.hardware(wanted, "eth0", table) == [bytes.fromhex("020000000007")]


LOW, HIGH = b"\x02\0\0\0\0\1", b"\x02\0\0\0\0\2"


class Balancer:
    """One that looks for doubles in each turn."""

    def __init__(self, own):
        self.turns = guard.Turns()
        self.doubles = guard.Doubles(self.turns, own)

    def turn(self, seconds, has=True, rival=b"", hears=False):
        """Look for so long; return after how many seconds it gave way, None for never."""
        for number in range(1, round(seconds / guard.TURN) + 1):
            self.turns.seconds += guard.TURN
            if self.doubles.look(has, rival, hears):
                return number * guard.TURN
        return None


def test_the_one_that_had_it_gives_way_soon_and_the_one_that_took_it_does_not():
    first, second = Balancer(LOW), Balancer(HIGH)
    assert first.turn(5) is None
    assert second.turn(5, has=False) is None
    assert first.turn(2, rival=HIGH) == pytest.approx(guard.TWICE, abs=2.1 * guard.TURN)
    assert second.turn(2, rival=LOW) is None
    # The other one has given way.
    assert second.turn(10) is None


def test_it_stays_away_for_as_long_as_the_other_one_has_it():
    first = Balancer(LOW)
    first.turn(5)
    first.turn(2, rival=HIGH)
    for _ in range(50):
        assert first.turn(guard.TURN, has=False, rival=HIGH)
    away = [first.turn(guard.TURN, has=False) is not None for _ in range(10)]
    # One answer that is lost is not the end of it.
    assert away[0]
    assert away == sorted(away, reverse=True)
    assert not away[5]
    # It may have it as any other.
    assert first.turn(5) is None


def test_it_is_back_when_it_hears_the_other_one():
    first = Balancer(LOW)
    first.turn(5)
    # Where only the other one is deaf, this one hears it meanwhile.
    assert first.turn(2, rival=HIGH, hears=True)
    assert first.turn(guard.TURN, has=False, rival=HIGH)
    assert first.turn(guard.TURN, has=False, rival=HIGH, hears=True) is None
    assert first.turn(5, has=False, rival=HIGH) is None


def test_of_two_that_took_it_at_once_one_gives_way():
    low, high = Balancer(LOW), Balancer(HIGH)
    assert low.turn(10, rival=HIGH) is None
    assert high.turn(10, rival=LOW) == pytest.approx(guard.LONG_TWICE, abs=2.1 * guard.TURN)


def test_a_moment_is_no_reason_to_give_way():
    first = Balancer(LOW)
    first.turn(5)
    assert first.turn(guard.TWICE - guard.TURN, rival=HIGH) is None
    assert first.turn(1) is None
    assert first.turn(guard.TWICE - guard.TURN, rival=HIGH) is None
