"""A fleet of the mind for changes that take nodes out, or make them anew: no daemon, no Salt."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from fleet import minions

SETTINGS = {
    "mongodb": {"port": 27017},
    "lb": {"backend": "web", "frontend_port": 80},
    "web": {"drain_timeout": 30, "drain_lease": 300, "ready_timeout": 60},
    "gluster": {
        "volume": "shared",
        "mount": "/srv/shared",
        "replica": 3,
        "brick": "/srv/brick",
        "force": None,
    },
    "rollout": {"min_in_service": 1, "min_healthy_time": 0, "deadline": 600, "data_timeout": 60},
}
ROLES = {"boss": "master", "web": "web", "db": "db storage", "lb": "lb", "store": "storage"}


def entry(node: str) -> dict[str, Any]:
    name = node.partition("-")[0]
    number = sum(map(ord, node)) % 250
    return {"address": f"10.9.{len(name)}.{number}", "roles": ROLES[name].split()}


def address(node: str) -> str:
    return str(entry(node)["address"])


def revision(master, *nodes, leaving=(), settings=None, id_="a" * 12):
    """A revision whose topology has these nodes."""
    found = SimpleNamespace(
        master=master,
        id=id_,
        release="1.0",
        modules="ours",
        topology={
            "name": "default",
            "vip": "10.9.9.9",
            "nodes": {node: entry(node) for node in nodes},
            "leaving": {node: entry(node) for node in leaving},
        },
        settings={**SETTINGS, **(settings or {})},
    )
    found.with_role = lambda role: [node for node in nodes if role in entry(node)["roles"]]
    return found


@dataclass
class Fleet:
    """
    Minions that do to each other's world what ours do.

    ``members`` of the replica set with their states, ``pool`` of Gluster's peers, ``bricks``,
    ``servers`` that balancers have, ``vip``: who has it, ``stopped``: what was stopped where,
    ``modules``: the digest of a node's, where they are not those of every revision.
    """

    members: dict[str, str] = field(default_factory=dict)
    pool: list[str] = field(default_factory=list)
    bricks: list[str] = field(default_factory=list)
    servers: dict[str, list[str]] = field(default_factory=dict)
    vip: str | None = None
    silent: set[str] = field(default_factory=set)
    refuses: dict[tuple[str, str], str] = field(default_factory=dict)
    stopped: list[tuple[str, str]] = field(default_factory=list)
    running: set[tuple[str, str]] = field(default_factory=set)
    drained: list[str] = field(default_factory=list)
    rejoined: list[tuple[str, str, bool]] = field(default_factory=list)
    asked: list[tuple[Any, list[str], list[Any], dict[str, Any]]] = field(default_factory=list)
    roles: dict[str, list[str]] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)
    mounts: list[str] = field(default_factory=lambda: ["/"])

    def everyone(self, nodes, function, arg=(), kwarg=None, timeout=15, patience=10):
        nodes, kwarg = list(nodes), dict(kwarg or {})
        self.asked.append((function, nodes, list(arg), kwarg))
        found = minions.Answers()
        for node in nodes:
            if node in self.silent:
                found.failed[node] = "the minion does not answer"
            elif (node, str(function)) in self.refuses:
                found.failed[node] = self.refuses[node, function]
            elif isinstance(function, list):
                found.answers[node] = {
                    name: self.one(node, name, given, {})
                    for name, given in zip(function, arg, strict=True)
                }
            else:
                found.answers[node] = self.one(node, function, list(arg), kwarg)
        return found

    def one(self, node, function, arg, kwarg):
        name = "_" + function.replace(".", "_")
        return getattr(self, name)(node, *arg, **kwarg) if hasattr(self, name) else True

    def functions(self, node=None):
        return [name for name, nodes, *_ in self.asked if node is None or node in nodes]

    def did(self, function):
        return [(nodes, arg, kwarg) for name, nodes, arg, kwarg in self.asked if name == function]

    def _synced_digest(self, node):
        return self.modules.get(node, "ours")

    # The replica set

    def _own(self, node):
        return f"{address(node)}:27017"

    def _view(self):
        by_name = {self._own(node): node for node in self.members}
        return [
            {
                "name": name,
                "state": "DOWN" if node in self.silent else self.members[node],
                "health": 0 if node in self.silent else 1,
            }
            for name, node in by_name.items()
        ]

    def _mongodb_status(self, node):
        here = node in self.members
        return {
            "members": self._view() if here else [],
            "initialized": here,
            "state": self.members.get(node),
        }

    def _mongodb_is_primary(self, node):
        return self.members.get(node) == "PRIMARY"

    def _mongodb_healthy(self, _node, members=None, require="majority"):
        up = [member for member in self._view() if member["health"]]
        reasons = [f"{name} is down" for name in members or [] if name not in self._names(up)]
        if len(up) * 2 <= len(self.members):
            reasons.append("no majority")
        return {"healthy": not reasons, "reasons": reasons}

    @staticmethod
    def _names(members):
        return [member["name"] for member in members]

    def _mongodb_step_down(self, node, timeout=60):
        successor = next(
            other for other in self.members if other != node and other not in self.silent
        )
        self.members[node], self.members[successor] = "SECONDARY", "PRIMARY"
        return self._own(successor)

    def _mongodb_remove_member(self, _node, member, confirm=None):
        assert confirm == member
        gone = next(node for node in self.members if self._own(node) == member)
        assert self.members.pop(gone) != "PRIMARY"
        up = [node for node in self.members if node not in self.silent]
        assert len(up) * 2 > len(self.members)
        return [self._own(node) for node in self.members]

    def _mongodb_wait_member(self, _node, timeout=0):
        return {"state": "SECONDARY", "lag_s": 0}

    # Storage

    def _gluster_info(self, _node, _volume):
        return {
            "bricks": [
                {"host": address(node), "name": f"{address(node)}:/srv/brick"}
                for node in self.bricks
            ]
        }

    def _gluster_is_member(self, _node, host):
        return host in map(address, self.pool)

    def _gluster_detach(self, _node, host, confirm=None, force=False):
        assert confirm == host
        gone = next(node for node in self.pool if address(node) == host)
        assert force or gone not in self.silent
        self.pool.remove(gone)
        return True

    def _gluster_peers(self, node):
        return [{"names": [address(each)]} for each in self.pool if each != node]

    def _gluster_rejoin(self, node, server, confirm=None, force=False):
        assert confirm == address(node)
        self.rejoined.append((node, server, force))
        return {"uuid": "u", "bricks": {"b": "new"}}

    def _gluster_healthy(self, _node, _volume):
        return {"healthy": True, "reasons": []}

    def _gluster_mount_status(self, _node, _path):
        return {"mounted": True}

    def _mount_active(self, _node):
        return {mount: {} for mount in self.mounts}

    # Balancers

    def _haproxy_servers(self, node, _backend):
        return [
            {
                "name": name,
                "up": True,
                "in_service": name not in self.drained,
                "admin": "ready",
                "weight": 1,
            }
            for name in self.servers.get(node, [])
        ]

    def _haproxy_drain(self, _node, _backend, server, **_):
        self.drained.append(server)
        return {}

    def _haproxy_connections(self, _node, _frontend):
        return {"idle": 0}

    def _network_ip_addrs(self, node):
        return [address(node), *(["10.9.9.9"] if self.vip == node else [])]

    # Services

    def _service_stop(self, node, unit, no_block=None):
        self.stopped.append((node, unit))
        if unit == "keepalived" and self.vip == node:
            others = [each for each in self.servers if (each, unit) not in self.stopped]
            self.vip = next(iter(others), None)
        return True

    def _service_status(self, node, unit):
        if unit == "keepalived" and node in self.servers:
            return (node, unit) not in self.stopped
        return (node, unit) in self.running

    def _grains_get(self, node, _key):
        return self.roles.get(node, entry(node)["roles"])

    def _state_sls(self, _node, sls, **_):
        return {"x_|-x_|-x_|-y": {"result": True, "changes": {}, "__id__": sls}}

    def _counterapp_wait_ready(self, _node, **_):
        return {"waited": 1}
