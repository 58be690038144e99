"""Vagrant's own commands on the nodes that `make up` started through it."""

import subprocess

import pytest

from lab import machines
from lab.config import ROOT


@pytest.fixture
def vagrant(cluster):
    def run(*arguments):
        done = subprocess.run(
            ["vagrant", *arguments],
            cwd=ROOT,
            env=machines.environment(cluster.lab),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_status_knows_every_node_as_running(cluster, vagrant):
    lines = vagrant("status", "--machine-readable").splitlines()
    states = {f[1]: f[3] for f in (line.split(",") for line in lines) if f[2] == "state"}
    assert states == dict.fromkeys([node.id for node in cluster.lab.nodes], "running")


def test_ssh_runs_a_command_as_root_on_a_node(vagrant):
    assert vagrant("ssh", "web-1", "--command", "sudo hostname").strip() == "web-1"


def test_provisioning_a_running_node_again_changes_nothing(cluster, vagrant):
    def minion():
        return cluster.on("web-1", "systemctl", "show", "salt-minion", "--property=MainPID")

    before = minion()
    output = vagrant("provision", "web-1")
    assert "Introducing web-1 and master to each other" in output
    assert "wrote" not in output
    assert minion() == before
