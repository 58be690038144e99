"""What a lab is: its name, its topology, and where its files are."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fleet import topology

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
TOPOLOGY_FILE = ROOT / "pillar" / "topology.sls"
DEFAULT_NAME = "counterapp"


class LabError(Exception):
    """Something an operator can mend; the message says what and how."""


@dataclass(frozen=True)
class Node:
    """One node of the topology, as the lab runs it."""

    id: str
    address: str
    roles: tuple[str, ...]
    platform: str


@dataclass(frozen=True)
class Lab:
    """A cluster on this machine: everything of it carries ``name``."""

    name: str
    topology_name: str
    network: ipaddress.IPv4Network
    vip: str
    nodes: tuple[Node, ...]
    platforms: dict[str, dict[str, Any]]
    moved_to: str | None = None

    @property
    def directory(self) -> Path:
        """What the lab keeps on the host: its own topology, Vagrant's state, logs."""
        return _directory(self.name)

    @property
    def master(self) -> Node:
        return next(node for node in self.nodes if "master" in node.roles)

    def node(self, node_id: str) -> Node:
        """Return the node ``node_id``; raises :class:`LabError` when there is none."""
        for node in self.nodes:
            if node.id == node_id:
                return node
        raise LabError(
            f"There is no node '{node_id}': use one of {', '.join(n.id for n in self.nodes)}."
        )


def _directory(name: str) -> Path:
    return BUILD / "labs" / name


def _own_file(name: str) -> Path:
    """Return the topology that a lab reads: its own once it has been moved."""
    own = _directory(name) / "pillar" / "topology.sls"
    return own if own.exists() else TOPOLOGY_FILE


def load(
    name: str | None = None,
    topology_name: str | None = None,
    network: str | None = None,
    document: dict[str, Any] | None = None,
) -> Lab:
    """Return the lab that the environment asks for.

    :param name: overrides ``LAB``, the prefix of everything the lab makes (``counterapp``).
    :param topology_name: overrides ``TOPOLOGY``, the topology in pillar/topology.sls.
    :param network: overrides ``LAB_NETWORK``, which moves the topology to another network.
    :param document: the topology document, instead of pillar/topology.sls.
    :raises LabError: with every problem of the topology, each with its remedy.
    """
    name = name or os.environ.get("LAB") or DEFAULT_NAME
    topology_name = topology_name or os.environ.get("TOPOLOGY") or "default"
    network = network or os.environ.get("LAB_NETWORK") or None
    if not re.fullmatch(r"[a-z][a-z0-9-]{1,30}", name):
        raise LabError(
            f"LAB is {name!r}: use 2 to 31 lower-case letters, digits and dashes, a letter first."
        )
    if document is None:
        document = read_document(_own_file(name) if not network else TOPOLOGY_FILE)
    try:
        selected = topology.select(document, topology_name)
    except topology.TopologyError as error:
        raise LabError(str(error)) from error
    if network:
        selected = moved(selected, network)
    nodes = tuple(
        Node(node_id, node["address"], tuple(node["roles"]), node["lab"])
        for node_id, node in selected["nodes"].items()
    )
    return Lab(
        name=name,
        topology_name=topology_name,
        network=ipaddress.IPv4Network(selected["network"]),
        vip=selected["vip"],
        nodes=nodes,
        platforms=document["platforms"],
        moved_to=network,
    )


def read_document(path: Path = TOPOLOGY_FILE) -> dict[str, Any]:
    """Return the parsed topology file; raises :class:`LabError` when it is not YAML."""
    try:
        document: dict[str, Any] = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise LabError(f"Cannot read {path}: {error}") from error
    return document


def moved(selected: dict[str, Any], network: str) -> dict[str, Any]:
    """Return a topology with every address moved to ``network``, keeping its host part.

    It lets the tests run a cluster beside the operator's.
    """
    try:
        target = ipaddress.IPv4Network(network)
    except ValueError as error:
        raise LabError(f"LAB_NETWORK is {network!r}: write it as 192.168.34.0/24.") from error
    source = ipaddress.IPv4Network(selected["network"])
    if target.prefixlen != source.prefixlen or not target.is_private:
        raise LabError(
            f"LAB_NETWORK is {target}: use a private network with the prefix length of {source}."
        )

    def move(address: str) -> str:
        host = int(ipaddress.IPv4Address(address)) - int(source.network_address)
        return str(target.network_address + host)

    nodes = {
        node_id: {**node, "address": move(node["address"])}
        for node_id, node in selected["nodes"].items()
    }
    return {**selected, "network": str(target), "vip": move(selected["vip"]), "nodes": nodes}


def write_own_topology(lab: Lab) -> None:
    """Give a lab that was moved to another network a topology file of its own.

    Its master reads it before the one of the tree, and so does every later command on the lab.
    """
    path = lab.directory / "pillar" / "topology.sls"
    path.parent.mkdir(parents=True, exist_ok=True)
    if lab.moved_to is None:
        return
    document = read_document()
    known = document["topologies"]
    document["topologies"] = {name: moved(known[name], lab.moved_to) for name in known}
    text = yaml.safe_dump(document, sort_keys=False)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
