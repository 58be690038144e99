"""The guard of the VIP and a real HAProxy: what it has keepalived know.

With a real keepalived, and with nodes that can be cut off, tests/system/test_failures.py tries it.
"""

import signal
import subprocess
import sys
import time

import pytest

from tests.functional.haproxy.role import Balancer
from tests.support.loading import ROOT
from tests.support.waiting import until

GUARD = ROOT / "salt/lb/files/vip-guard.py"
FREE, GIVE_AWAY = "0\n", "1\n"


@pytest.fixture
def balancer(tmp_path):
    balancer = Balancer(tmp_path)
    try:
        yield balancer
    finally:
        balancer.stop()


def command(folder, balancer, interface="lo"):
    told = {
        "vip": "192.0.2.100",
        "interface": interface,
        "router": 51,
        "silence": 0.7,
        "alive": balancer.metrics_port,
        "haproxy-pid": folder / "haproxy.pid",
        "keepalived-pid": folder / "keepalived.pid",
        "fault": folder / "fault",
        "balancer": "127.0.0.9",
        "other": f"127.0.0.2:{balancer.webs[0].server_port}",
    }
    return [sys.executable, "-I", GUARD, *(f"--{name}={value}" for name, value in told.items())]


@pytest.fixture
def guard(tmp_path, balancer):
    """Guard it."""
    guard = subprocess.Popen(command(tmp_path, balancer))
    try:
        yield guard
    finally:
        guard.kill()
        guard.wait(10)


@pytest.fixture
def fault(tmp_path, guard):
    """What looks at what keepalived is told."""
    return (tmp_path / "fault").read_text


def told(fault, wanted):
    until(fault, 20, "keepalived is told", wanted=wanted, ignoring=(FileNotFoundError,))


def test_a_frozen_haproxy_has_not_the_address_until_it_goes_on(balancer, fault):
    told(fault, FREE)
    balancer.process.send_signal(signal.SIGSTOP)
    told(fault, GIVE_AWAY)
    balancer.process.send_signal(signal.SIGCONT)
    told(fault, FREE)


def test_one_that_is_gone_has_not_the_address_until_there_is_another(balancer, fault):
    told(fault, FREE)
    balancer.process.kill()
    balancer.process.wait(10)
    told(fault, GIVE_AWAY)
    balancer._start()
    told(fault, FREE)


def test_a_reload_leaves_the_address_where_it_is(balancer, fault, tmp_path):
    told(fault, FREE)
    (tmp_path / "fault").unlink()
    for _ in range(5):
        balancer.reload()
    # It tells what changes.
    assert not (tmp_path / "fault").exists()


def test_a_guard_that_seldom_has_a_turn_takes_nobody_for_dead(guard, fault, tmp_path):
    told(fault, FREE)
    (tmp_path / "fault").unlink()
    for _ in range(60):
        guard.send_signal(signal.SIGSTOP)
        time.sleep(0.15)
        guard.send_signal(signal.SIGCONT)
        # Enough to wake up once, and not to hear an answer to what it asks then.
        time.sleep(0.0005)
    assert not (tmp_path / "fault").exists()


def test_an_interface_that_is_not_there_is_named(balancer, tmp_path):
    done = subprocess.run(
        command(tmp_path, balancer, "gone0"), capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 1
    assert done.stderr.startswith("vip-guard: gone0: ")
    assert "Traceback" not in done.stderr
