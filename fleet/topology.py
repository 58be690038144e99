"""
Reading and checking the topology: which nodes exist, where, and for what.

Pure Python on plain data, so that the lab tool, the runners and the tests share one idea of
what a good topology is.
"""

import ipaddress
import re
from typing import Any

ROLES = ("master", "web", "db", "storage", "lb")

# What a DNS label, a minion ID and a container name all accept.
_NODE_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class TopologyError(ValueError):
    """The topology file is wrong; the message names what and how to mend it."""


def problems(document: Any, name: str) -> list[str]:
    """
    Return everything wrong with the topology ``name`` of a topology document.

    document
        The parsed ``pillar/topology.sls``: a dict with ``platforms`` and ``topologies``.
    name
        Which of ``topologies`` to check.

    Returns a list of sentences, each naming the thing and the remedy; empty when all is well.
    """
    if not isinstance(document, dict) or not isinstance(document.get("topologies"), dict):
        return ["pillar/topology.sls has no mapping `topologies`: add one with a `default` in it."]
    known = document["topologies"]
    if name not in known:
        return [
            f"Topology '{name}' does not exist: set TOPOLOGY to one of {', '.join(sorted(known))}."
        ]
    topology = known[name]
    if not isinstance(topology, dict) or not isinstance(topology.get("nodes"), dict):
        return [f"Topology '{name}' has no mapping `nodes`: list its nodes by ID."]
    network, found = _network(topology, name)
    platforms = document.get("platforms") or {}
    seen: dict[ipaddress.IPv4Address, str] = {}
    leaving, wrong = _leaving(topology, name)
    found += wrong
    for node_id, node in topology["nodes"].items():
        found += _node_problems(node_id, node, platforms)
        address = node.get("address") if isinstance(node, dict) else None
        found += _address_problems(f"Node '{node_id}'", address, network, seen)
    found += _address_problems("The VIP", topology.get("vip"), network, seen)
    staying = {id_: node for id_, node in topology["nodes"].items() if id_ not in leaving}
    return found + _role_problems(staying, name)


def select(document: Any, name: str) -> dict[str, Any]:
    """
    Return the checked topology ``name``: its ``name``, ``network``, ``vip``, ``nodes`` by ID, and
    ``leaving``, which has those of the file's nodes that are on their way out, and are no longer
    among ``nodes``.

    Raises :class:`TopologyError` with every problem, one a line, when there is any.
    """
    found = problems(document, name)
    if found:
        raise TopologyError("\n".join(found))
    topology = document["topologies"][name]
    leaving, _ = _leaving(topology, name)
    whole = topology["nodes"]
    return {
        "name": name,
        **topology,
        "nodes": {id_: node for id_, node in whole.items() if id_ not in leaving},
        "leaving": {id_: whole[id_] for id_ in leaving},
    }


def with_role(topology: dict[str, Any], role: str) -> list[str]:
    """Return the IDs of the nodes that have ``role``, in the order of the file."""
    return [node_id for node_id, node in topology["nodes"].items() if role in node["roles"]]


def _leaving(topology: dict[str, Any], name: str) -> tuple[list[str], list[str]]:
    """Return the IDs of the nodes that are leaving, and what is wrong with the list of them."""
    listed = topology.get("leaving")
    if listed is None:
        return [], []
    if not isinstance(listed, list):
        return [], [
            f"`leaving` of topology '{name}' is {listed!r}: give it a list of node IDs, as in "
            "`leaving: [web-2]`."
        ]
    nodes = topology["nodes"]
    leaving: list[str] = []
    found = []
    for node_id in listed:
        node = nodes.get(node_id) if isinstance(node_id, str) else None
        if not isinstance(node, dict):
            found.append(
                f"`leaving` of topology '{name}' has {node_id!r}, which is not among its nodes: a "
                "node is kept under `nodes` until it has left; name one of those."
            )
        elif "master" in (node.get("roles") or []):
            found.append(
                f"`leaving` of topology '{name}' has the master '{node_id}', which never leaves: "
                "take it out of `leaving`."
            )
        elif node_id not in leaving:
            leaving.append(node_id)
    return leaving, found


def _network(topology: dict[str, Any], name: str) -> tuple[ipaddress.IPv4Network | None, list[str]]:
    value = topology.get("network")
    try:
        network = ipaddress.IPv4Network(value)
    except (ValueError, TypeError):
        return None, [
            f"Topology '{name}' has network {value!r}: write it as 192.168.33.0/24 "
            "(an IPv4 network without host bits)."
        ]
    if not network.is_private:
        return network, [f"Network {network} of topology '{name}' is public: use a private range."]
    return network, []


def _node_problems(node_id: Any, node: Any, platforms: dict[str, Any]) -> list[str]:
    if not isinstance(node_id, str) or not _NODE_ID.fullmatch(node_id):
        return [
            f"Node ID {node_id!r} is not a host name: use lower-case letters, digits and dashes."
        ]
    if not isinstance(node, dict):
        return [f"Node '{node_id}' is not a mapping: give it address, roles, lab and vm."]
    found = []
    roles = node.get("roles")
    if not isinstance(roles, list) or not roles:
        found.append(f"Node '{node_id}' has no roles: give it a list out of {', '.join(ROLES)}.")
    else:
        found += [
            f"Node '{node_id}' has the unknown role '{role}': use {', '.join(ROLES)}."
            for role in roles
            if role not in ROLES
        ]
    for kind in ("lab", "vm"):
        if node.get(kind) not in platforms:
            found.append(
                f"Node '{node_id}' has the unknown platform {node.get(kind)!r} for `{kind}`: "
                f"use one of {', '.join(sorted(platforms))}."
            )
    for key in ("memory", "cpus"):
        value = node.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            found.append(
                f"Node '{node_id}' has {key} {value!r}: give a whole number of at least 1."
            )
    return found


def _address_problems(
    owner: str,
    value: Any,
    network: ipaddress.IPv4Network | None,
    seen: dict[ipaddress.IPv4Address, str],
) -> list[str]:
    try:
        address = ipaddress.IPv4Address(value)
    except (ValueError, TypeError):
        return [f"{owner} has address {value!r}: give it an IPv4 address."]
    if address in seen:
        return [f"{owner} has the address {address} of {seen[address]}: give each its own."]
    seen[address] = owner
    if network is None:
        return []
    if address not in network:
        return [f"{owner} has address {address}, outside the network {network}: move it inside."]
    # The first host address is the bridge's (the host's own), as podman and Vagrant set it up.
    if address in (network.network_address, network.broadcast_address, network[1]):
        return [f"{owner} has the reserved address {address} of {network}: choose another."]
    return []


def _role_problems(nodes: dict[str, Any], name: str) -> list[str]:
    count = dict.fromkeys(ROLES, 0)
    for node in nodes.values():
        roles = node.get("roles") if isinstance(node, dict) else None
        for role in set(roles) if isinstance(roles, list) else ():
            if role in count:
                count[role] += 1
    found = [
        f"Topology '{name}' has no {role} node: give a node the role '{role}'."
        for role in ROLES
        if not count[role]
    ]
    if count["master"] > 1:
        found.append(f"Topology '{name}' has {count['master']} masters: keep one.")
    if count["db"] and count["db"] % 2 == 0:
        found.append(
            f"Topology '{name}' has {count['db']} db nodes: a replica set wants an odd number "
            "to keep a majority when one fails."
        )
    if count["storage"] == 2:
        found.append(
            f"Topology '{name}' has 2 storage nodes: a volume wants one brick, or three to keep "
            "its quorum when one fails."
        )
    return found
