"""What the roles of a simulated fleet do: the replica set, the app, the balancers, the volume."""

import json
import random
from collections.abc import Callable, Generator
from typing import Any

from tests.support.simulated_nodes import APP, CHECK, ELECTION, MONGOD, Clock, Failed, Node


class Roles:
    """The functions of what runs for a role; what they are asked as is in their names."""

    clock: Clock
    random: random.Random
    nodes: dict[str, Node]
    vip: str
    holder: str | None
    touched: list[str]
    _leases: dict[tuple[str, str], list[Callable[[], None]]]

    def breaks(self, rule: str) -> None:
        raise NotImplementedError

    def wanted(self, node: Node, environment: str) -> dict[str, str]:
        raise NotImplementedError

    def with_role(self, role: str) -> list[Node]:
        return [node for node in self.nodes.values() if role in node.roles]

    def in_service(self, balancer: Node, name: str) -> bool:
        server = balancer.servers[name]
        return bool(server["admin"] == "ready" and server["up"] and server["weight"])

    # The database

    def _restart_mongod(self, node: Node) -> list[str]:
        others = [each for each in self.with_role("db") if each is not node]
        if node.mongod == "PRIMARY" and others:
            self.breaks(f"the primary {node.id} is restarted")
            self.clock.at(ELECTION, self._elect)
        return self._start_mongod(node)

    def _start_mongod(self, node: Node) -> list[str]:
        if "does not start" in node.has["db.config"]:
            node.mongod = "DOWN"
            return ["db.service"]
        node.mongod = "STARTUP"

        def up() -> None:
            if node.mongod == "STARTUP":
                node.mongod = "SECONDARY"
                self._elect()

        self.clock.at(MONGOD + self.random.uniform(0, 3), up)
        return []

    def _elect(self) -> None:
        members = self.with_role("db")
        up = [node for node in members if node.mongod in ("PRIMARY", "SECONDARY")]
        if not any(node.mongod == "PRIMARY" for node in up) and len(up) > len(members) // 2:
            self.random.choice(up).mongod = "PRIMARY"

    def primary(self) -> Node | None:
        return next((node for node in self.with_role("db") if node.mongod == "PRIMARY"), None)

    def _address(self, node: Node) -> str:
        return f"{node.address}:27017"

    def do_mongodb_status(self, node: Node, address: str | None = None) -> dict[str, Any]:
        up = node.mongod in ("PRIMARY", "SECONDARY")
        primary = self.primary()
        return {
            "address": self._address(node),
            "reachable": up,
            "initialized": up,
            "authorized": up,
            "set": "rs0",
            "me": self._address(node),
            "state": node.mongod if up else None,
            "primary": self._address(primary) if primary and up else None,
            "members": self._members(node) if up else [],
            "reason": None if up else "connection refused",
        }

    def _members(self, node: Node) -> list[dict[str, Any]]:
        return [
            {
                "name": self._address(each),
                "state": each.mongod,
                "health": int(each.mongod in ("PRIMARY", "SECONDARY")),
                "lag_s": 0.0 if self.primary() else None,
                "votes": 1,
                "priority": 1,
                "self": each is node,
            }
            for each in self.with_role("db")
        ]

    def do_mongodb_is_open(self, _node: Node) -> bool:
        return False

    def do_mongodb_is_primary(self, node: Node) -> bool:
        return node.mongod == "PRIMARY"

    def do_mongodb_primary(self, node: Node) -> str | None:
        primary = self.primary()
        return self._address(primary) if primary else None

    def do_mongodb_server_info(self, node: Node) -> dict[str, Any]:
        if node.mongod not in ("PRIMARY", "SECONDARY"):
            raise Failed("connection refused")
        return {"version": "7.0.28", "compressors": ["snappy", "zstd"]}

    def do_mongodb_healthy(
        self, node: Node, members: Any = None, require: str = "majority"
    ) -> dict[str, Any]:
        states = {each.id: each.mongod for each in self.with_role("db")}
        down = [name for name, state in states.items() if state not in ("PRIMARY", "SECONDARY")]
        reasons = []
        if node.id in down:
            reasons.append("connection refused")
        if not self.primary():
            reasons.append("there is no primary")
        if down and (require == "all" or len(down) * 2 >= len(states)):
            reasons.append(f"{', '.join(down)} down")
        return {"healthy": not reasons, "reasons": reasons}

    def do_mongodb_wait_healthy(
        self, node: Node, members: Any = None, require: str = "majority", timeout: float = 120
    ) -> Generator[float, None, bool]:
        yield from self._await(
            lambda: self.do_mongodb_healthy(node, members, require)["healthy"], timeout
        )
        return True

    def do_mongodb_wait_primary(
        self, node: Node, timeout: float = 60
    ) -> Generator[float, None, str]:
        yield from self._await(lambda: self.primary() is not None, timeout)
        return str(self.do_mongodb_primary(node))

    def do_mongodb_wait_member(
        self, node: Node, state: str = "SECONDARY", max_lag: Any = 2, timeout: float = 120
    ) -> Generator[float, None, dict[str, Any]]:
        yield from self._await(
            lambda: node.mongod in ("PRIMARY", "SECONDARY") and self.primary() is not None, timeout
        )
        return next(each for each in self._members(node) if each["self"])

    def do_mongodb_step_down(self, node: Node, **_kwarg: Any) -> Generator[float, None, str]:
        yield 0.2
        if node.mongod != "PRIMARY":
            raise Failed("this node is not the primary")
        others = [
            each for each in self.with_role("db") if each is not node and each.mongod == "SECONDARY"
        ]
        if not others:
            raise Failed("no electable secondary")
        node.mongod = "SECONDARY"
        self.touched.append(f"{node.id}: stepped down")
        yield 0.3
        if not self.primary():
            self.random.choice(others).mongod = "PRIMARY"
        return str(self.do_mongodb_primary(node))

    # The web

    def _restart_app(self, node: Node) -> None:
        for balancer in self.with_role("lb"):
            if balancer.haproxy and self.in_service(balancer, node.id):
                self.breaks(f"{node.id} is restarted while {balancer.id} sends it requests")
        node.ready = False
        self._checks(node)
        if "never ready" in node.has["web.release"] + node.has["web.config"]:
            return

        def up() -> None:
            if "never ready" not in node.has["web.release"] + node.has["web.config"]:
                node.ready = True
                self.clock.at(CHECK, lambda: self._checks(node))

        self.clock.at(APP + self.random.uniform(0, 2), up)

    def _checks(self, node: Node) -> None:
        for balancer in self.with_role("lb"):
            if "sees nobody" not in balancer.has.get("lb.haproxy", ""):
                balancer.servers[node.id]["up"] = node.ready

    def do_counterapp_health(self, node: Node, **_kwarg: Any) -> dict[str, Any]:
        return {
            "url": f"http://{node.address}:8000",
            "live": True,
            "ready": node.ready,
            "release": json.loads(node.has["web.release"].split("\n")[0]),
            "node": node.id,
            "reason": None if node.ready else "starting",
        }

    def do_counterapp_wait_ready(
        self,
        node: Node,
        timeout: float = 60,
        release: str | None = None,
        hold: float = 0,
        url: str | None = None,
    ) -> Generator[float, None, dict[str, Any]]:
        def good() -> bool:
            seen = self.do_counterapp_health(node)
            return bool(seen["ready"] and release in (None, seen["release"]))

        yield from self._await(good, timeout)
        yield hold
        if not good():
            raise Failed("it was ready and is not any more")
        return {**self.do_counterapp_health(node), "waited": 1.0}

    def do_counterapp_clock(self, _node: Node) -> float:
        return self.clock.now + 1.8e9

    # The balancers

    def _reload(self, node: Node) -> None:
        others = [each for each in self.with_role("lb") if each is not node and each.keepalived]
        if self.holder == node.id and others:
            self.breaks(f"{node.id} is altered while it holds the VIP")
        blind = "sees nobody" in node.has["lb.haproxy"]
        for name, server in node.servers.items():
            server["up"] = not blind and self.nodes[name].ready

    def _move_vip(self) -> None:
        """Have keepalived find out, in its time, who holds the VIP."""

        def claim() -> None:
            if self.holder is None or not self.nodes[self.holder].keepalived:
                able = [each for each in self.with_role("lb") if each.keepalived and each.haproxy]
                self.holder = self.random.choice(able).id if able else None

        self.clock.at(0.7, claim)

    def _server(self, node: Node, backend: str, server: str) -> dict[str, Any]:
        if not node.haproxy:
            raise Failed("HAProxy cannot be asked")
        if backend != "web" or server not in node.servers:
            raise Failed(f"No such server: backend '{backend}' has no '{server}'")
        return node.servers[server]

    def _seen(self, node: Node, name: str) -> dict[str, Any]:
        server = node.servers[name]
        return {
            "name": name,
            "backend": "web",
            "address": f"{self.nodes[name].address}:8000",
            "admin": server["admin"],
            "status": "UP" if server["up"] else "DOWN",
            "up": server["up"],
            "checked": True,
            "in_service": self.in_service(node, name),
            "sessions": server["sessions"],
            "queued": 0,
            "weight": server["weight"],
            "initial_weight": 100,
            "check": "",
            "since": 10,
        }

    def do_haproxy_servers(self, node: Node, backend: str, **_kwarg: Any) -> list[dict[str, Any]]:
        if not node.haproxy:
            raise Failed("HAProxy cannot be asked")
        if backend != "web":
            raise Failed(f"No such backend: {backend}")
        return [self._seen(node, name) for name in node.servers]

    def do_haproxy_may_drain(
        self, node: Node, backend: str, server: str, min_in_service: int = 1
    ) -> dict[str, Any]:
        self._server(node, backend, server)
        others = [name for name in node.servers if name != server and self.in_service(node, name)]
        allowed = not self.in_service(node, server) or len(others) >= min_in_service
        reason = "" if allowed else f"{backend}/{server} stays in service: too few are left"
        return {"allowed": allowed, "others": others, "reason": reason}

    def do_haproxy_drain(
        self,
        node: Node,
        backend: str,
        server: str,
        timeout: float = 30,
        min_in_service: int = 1,
        lease: float | None = None,
        **_kwarg: Any,
    ) -> Generator[float, None, dict[str, Any]]:
        yield 0.1
        entry = self._server(node, backend, server)
        verdict = self.do_haproxy_may_drain(node, backend, server, min_in_service)
        if not verdict["allowed"]:
            raise Failed(verdict["reason"])
        before = entry["admin"]
        self._disarm(node, server)
        if lease is not None:

            def end() -> None:
                entry["admin"] = "ready"

            self._leases[node.id, server] = self.clock.at(lease, end)
        if before != "drain":
            self.touched.append(f"{node.id}: {server} drained")
            entry["admin"] = "drain"
            sessions = self.random.uniform(0, 3)
            self.clock.at(sessions, lambda: entry.update(sessions=0))
        deadline = self.clock.now + timeout
        while entry["sessions"] and entry["up"]:
            if self.clock.now > deadline:
                self._disarm(node, server)
                entry["admin"] = before
                raise Failed(f"{server} still has sessions")
            yield 0.2
        entry["sessions"] = 0
        return {**self._seen(node, server), "changed": before != "drain", "waited": 1.0}

    def _disarm(self, node: Node, server: str) -> None:
        self._leases.pop((node.id, server), []).clear()

    def do_haproxy_ready(
        self, node: Node, backend: str, server: str, **_kwarg: Any
    ) -> dict[str, Any]:
        entry = self._server(node, backend, server)
        entry["admin"] = "ready"
        entry["sessions"] = 3
        self._disarm(node, server)
        return self._seen(node, server)

    def do_haproxy_set_state(
        self, node: Node, backend: str, server: str, state: str, **_kwarg: Any
    ) -> dict[str, Any]:
        self._server(node, backend, server)["admin"] = state
        return self._seen(node, server)

    def do_haproxy_set_weight(
        self, node: Node, backend: str, server: str, weight: str
    ) -> dict[str, Any]:
        self._server(node, backend, server)["weight"] = int(weight.removesuffix("%"))
        return self._seen(node, server)

    def do_haproxy_counters(self, node: Node, backend: str) -> dict[str, Any]:
        figures = dict.fromkeys(("answers", "hrsp_5xx", "econ", "eresp", "wretr", "wredis"), 0)
        return {
            "process": 1,
            "servers": {
                each["name"]: {**figures, "status": each["status"]}
                for each in self.do_haproxy_servers(node, backend)
            },
        }

    def do_counterapp_latency(self, node: Node) -> dict[str, Any]:
        return {"process": 1, "node": node.id, "routes": {}, "not_found": 0}

    def do_haproxy_wait_up(
        self, node: Node, backend: str, server: str, timeout: float = 30, **_kwarg: Any
    ) -> Generator[float, None, dict[str, Any]]:
        entry = self._server(node, backend, server)
        yield from self._await(lambda: entry["up"], timeout)
        return {**self._seen(node, server), "waited": 1.0}

    def do_service_stop(self, node: Node, name: str) -> bool:
        assert name == "keepalived"
        node.keepalived = False
        self.touched.append(f"{node.id}: keepalived stopped")
        if self.holder == node.id:
            self.holder = None
            self._move_vip()
        return True

    def do_service_start(self, node: Node, name: str) -> bool:
        assert name == "keepalived"
        node.keepalived = True
        self._move_vip()
        return True

    def do_service_status(self, node: Node, name: str) -> bool:
        return {"keepalived": node.keepalived, "haproxy": node.haproxy}[name]

    def do_haproxy_closing(self, node: Node, seconds: float = 60) -> dict[str, Any]:
        if not node.haproxy:
            raise Failed("HAProxy cannot be asked")
        return {"closing": bool(seconds), "until": 0}

    def do_haproxy_connections(self, _node: Node, _frontend: str) -> dict[str, Any]:
        return {"idle": self.random.choice((0, 0, 1, 2))}

    def do_haproxy_wait_answered(
        self, _node: Node, _frontend: str, _timeout: float = 5
    ) -> Generator[float, None, dict[str, Any]]:
        yield self.random.uniform(0, 0.3)
        return {"waited": 0.1}

    def do_newcomers_hold(self, _node: Node, *_where: Any) -> dict[str, Any]:
        return {"held": True}

    def do_newcomers_admit(self, _node: Node) -> dict[str, Any]:
        return {"held": False}

    # The volume

    def do_gluster_volumes(self, _node: Node) -> list[str]:
        return ["shared"]

    def do_gluster_healthy(self, _node: Node, _volume: str, **_kwarg: Any) -> dict[str, Any]:
        return {"healthy": True, "reasons": []}

    def _await(self, look: Callable[[], Any], timeout: float) -> Generator[float, None, None]:
        deadline = self.clock.now + timeout
        while not look():
            if self.clock.now >= deadline:
                raise Failed(f"not within {timeout:g} s")
            yield 0.2
