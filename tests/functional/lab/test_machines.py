"""Nodes that a killed `make up` left half-made, in podman."""

import dataclasses
import ipaddress
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab import engine, images, machines
from lab.config import Lab, Node

OTHER_NETWORK = ipaddress.IPv4Network("192.168.50.0/24")


@pytest.fixture
def lab():
    """A lab of one running node."""
    node = Node("web-1", "192.168.49.11", ("web",), "debian12")
    lab = Lab(
        name="counterapp-test-machines",
        topology_name="machines-test",
        network=ipaddress.IPv4Network("192.168.49.0/24"),
        vip="192.168.49.200",
        nodes=(node,),
        platforms={},
    )
    engine.remove_containers(lab)
    engine.ensure_network(lab)
    make(lab, "run", "--detach")
    yield lab
    engine.remove_containers(lab)
    engine.remove_network(lab)


def make(lab, *words):
    (node,) = lab.nodes
    engine.podman(
        *words,
        f"--name={lab.name}-{node.id}",
        f"--label={engine.LABEL}={lab.name}",
        "--privileged",
        f"--network={lab.name}",
        f"--ip={node.address}",
        "--stop-signal=SIGRTMIN+3",
        images.name(node.platform),
        "/sbin/init",
    )


def state(lab):
    (container,) = engine.containers(lab)
    return container["State"], container["Id"]


def test_a_node_that_is_well_is_left_alone(lab):
    before = engine.podman("inspect", "--format", "{{.State.StartedAt}}", state(lab)[1])
    machines.mend_broken(lab)
    assert engine.podman("inspect", "--format", "{{.State.StartedAt}}", state(lab)[1]) == before


def test_a_node_without_its_network_gets_it_back(lab):
    running, container = state(lab)
    link = engine.podman("exec", container, "cat", "/sys/class/net/eth0/iflink").strip()
    links = subprocess.run(["ip", "-o", "link"], check=True, capture_output=True, text=True).stdout
    host_end = re.search(rf"^{link}: ([^@:]+)", links, re.MULTILINE)[1]
    subprocess.run(["ip", "link", "delete", host_end], check=True)
    assert machines._cut_off("192.168.49.11")
    machines.mend_broken(lab)
    assert not machines._cut_off("192.168.49.11")
    assert state(lab) == (running, container)


def test_a_node_that_was_never_started_is_removed(lab):
    engine.remove_containers(lab)
    make(lab, "create")
    machines.mend_broken(lab)
    assert engine.containers(lab) == []


def test_networks_are_told_while_that_of_another_lab_comes_and_goes(lab):
    other = dataclasses.replace(lab, name=f"{lab.name}-2", network=OTHER_NETWORK)

    def come_and_go():
        for _ in range(10):
            engine.ensure_network(other)
            engine.remove_network(other)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(come_and_go)
        while not done.done():
            assert lab.name in [network["name"] for network in engine.networks()]
    done.result()
