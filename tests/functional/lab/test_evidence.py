"""What a failed test tells of a real node."""

import ipaddress
import os
import subprocess
import sys

import pytest

from lab import engine, images
from lab.config import ROOT, Lab, Node
from lab.progress import Deadline
from tests.support import evidence

NODE = Node("web-1", "192.168.38.11", ("web",), "debian12")
LAB = Lab(
    name="counterapp-test-evidence",
    topology_name="evidence-test",
    network=ipaddress.IPv4Network("192.168.38.0/24"),
    vip="192.168.38.200",
    nodes=(NODE,),
    platforms={},
)
CONTAINER = f"{LAB.name}-{NODE.id}"
FAILING = """
from lab import engine
from tests.functional.lab import test_evidence as real
from tests.support import evidence

def test_it():
    evidence.watch(real.LAB)
    engine.podman("exec", real.CONTAINER, "logger", "-p", "daemon.err", "the disk is on fire")
    engine.podman("exec", real.CONTAINER, "logger", "-p", "daemon.info", "tea is ready")
    engine.podman("exec", real.CONTAINER, "logger", "-p", "daemon.info", "[ERROR   ] no sugar")
    engine.podman("exec", real.CONTAINER, "cp", "/etc/hostname", "/var/log/daemon.log")
    assert not "the failure itself"
"""


@pytest.fixture
def node():
    """The lab's node, with a journal."""
    engine.remove_containers(LAB)
    evidence.watch(LAB)
    try:
        engine.ensure_network(LAB)
        engine.podman(
            *("run", "--detach", f"--name={CONTAINER}", f"--hostname={NODE.id}"),
            *(f"--label={engine.LABEL}={LAB.name}", "--privileged"),
            *(f"--network={LAB.name}", f"--ip={NODE.address}", "--stop-signal=SIGRTMIN+3"),
            *(images.name(NODE.platform), "/sbin/init"),
        )
        deadline = Deadline(60)
        while not has_journal():
            assert not deadline.passed(), "the node has no journal"
        yield
    finally:
        evidence.forget(LAB)
        engine.remove_containers(LAB)
        engine.remove_network(LAB)


def has_journal():
    state = "systemctl is-active systemd-journald || true"
    return engine.podman("exec", CONTAINER, "sh", "-c", state).strip() == "active"


def test_a_failure_comes_with_the_journal_and_the_errors_of_its_node(node, tmp_path):
    (tmp_path / "test_failing.py").write_text(FAILING)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.support.evidence"),
            *("-p", "no:cacheprovider", f"--test-logs={tmp_path / 'logs'}"),
            *(f"--rootdir={tmp_path}", "test_failing.py"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 1
    assert "the failure itself" in done.stdout
    logs = tmp_path / "logs" / "test_failing.test_it"
    assert CONTAINER in (logs / "podman-ps.txt").read_text()
    assert "tea is ready" in (logs / "web-1/journal.log").read_text()
    assert (logs / "web-1/daemon.log").read_text().strip() == NODE.id
    section = done.stdout.partition(evidence.TITLE)[2]
    assert str(logs) in section
    assert "the disk is on fire" in section
    assert "[ERROR   ] no sugar" in section
    assert "tea is ready" not in section
    assert "could not be had" not in section
