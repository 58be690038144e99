"""What Salt itself does on the nodes of a simulated fleet: above all, applying states."""

from collections.abc import Generator
from typing import Any

from tests.support.simulated_nodes import PREPARED, RUN, Failed, Node, Unknown
from tests.support.simulated_roles import Roles


def _result(failed: bool, pending: bool) -> bool | None:
    return False if failed else None if pending else True


class Functions(Roles):
    """Salt's own functions; what they are asked as is in their names."""

    # Salt's own

    def do_test_ping(self, _node: Node) -> bool:
        return True

    def do_grains_item(self, node: Node, *names: str) -> dict[str, Any]:
        known = {"roles": node.roles, "id": node.id, "osfinger": "Debian-12"}
        return {name: known.get(name) for name in names}

    def do_saltutil_refresh_pillar(self, _node: Node, **_kwarg: Any) -> bool:
        return True

    def do_synced_digest(self, node: Node) -> str:
        return node.modules

    def do_saltutil_sync_all(self, node: Node, saltenv: str = "base") -> dict[str, Any]:
        node.modules = self.modules(saltenv)
        return {}

    def do_saltutil_refresh_modules(self, _node: Node, **_kwarg: Any) -> bool:
        return True

    def do_network_ip_addrs(self, node: Node, **_kwarg: Any) -> list[str]:
        return [node.address, *([self.vip] if self.holder == node.id else [])]

    def do_state_highstate(self, node: Node, **kwarg: Any) -> Generator[float, None, Any]:
        return self._states(node, node.parts(), **kwarg)

    def do_state_sls(self, node: Node, mods: str, **kwarg: Any) -> Generator[float, None, Any]:
        parts = []
        for sls in mods.split(","):
            if sls == "prepare":
                fresh = node.id in (kwarg.get("pillar") or {}).get("fresh", [])
                parts += [
                    part
                    for part in node.parts()
                    if part in PREPARED or fresh and part.endswith(".install")
                ]
                continue
            found = [part for part in node.parts() if f"{part}.".startswith(f"{sls}.")]
            if not found:
                raise Unknown(f"SLS {sls} on {node.id}")
            parts += found
        return self._states(node, parts, **kwarg)

    def _states(
        self,
        node: Node,
        parts: list[str],
        test: bool = False,
        queue: bool = False,
        saltenv: str = "base",
        pillarenv: str = "base",
        pillar: Any = None,
    ) -> Generator[float, None, Any]:
        if saltenv != pillarenv:
            raise Unknown(f"saltenv {saltenv}, pillarenv {pillarenv}")
        while node.busy:
            if not queue:
                return ["The function state.sls is running as PID 1 and was started at x"]
            yield 0.2
        node.busy += 1
        try:
            yield RUN / 2
            try:
                wanted = self.wanted(node, saltenv)
            except Failed as error:
                return [str(error)]
            # As the guard that each SLS begins with.
            node.modules = self.modules(saltenv)
            different = [
                part for part in dict.fromkeys(parts) if node.has.get(part) != wanted[part]
            ]
            failed = []
            if not test:
                failed = self._become(node, {part: wanted[part] for part in different})
            bad = [part for part in parts if "state fails" in wanted[part]]
            different += [part for part in bad if part not in different]
            stopped = [part for part in self._stopped(node) if part in parts]
            different += [part for part in stopped if part not in different]
            if not test:
                self._start(node, stopped)
            failed += [] if test else bad
            yield RUN / 2 + (self.random.uniform(0, 2) if different else 0)
            return {
                f"file_|-{part}_|-{part}_|-managed": {
                    "result": False
                    if part in failed
                    else None
                    if test and part in different
                    else True,
                    "changes": {"new": wanted[part]} if part in different else {},
                    "comment": "it does not start" if part in failed else "",
                    "name": part,
                    "__id__": part,
                    "__sls__": part,
                    "__run_num__": number,
                }
                for number, part in enumerate(parts)
            }
        finally:
            node.busy -= 1

    def _become(self, node: Node, changed: dict[str, str]) -> list[str]:
        """Have a node be otherwise, with what restarts for it; returns what does not start."""
        before = dict(node.has)
        node.has.update(changed)
        if changed:
            self.touched.append(f"{node.id}: {', '.join(changed)}")
        roles = {part.partition(".")[0] for part in changed}
        failed = []
        if "db" in roles and before:
            failed += self._restart_mongod(node)
        if "web" in roles and before:
            self._restart_app(node)
        if "lb" in roles:
            self._reload(node)
        return failed

    def _stopped(self, node: Node) -> list[str]:
        """Return the parts whose service does not run, which each state run starts."""
        stopped = []
        if "db" in node.roles and node.mongod == "DOWN":
            stopped.append("db.service")
        if "lb" in node.roles and not node.keepalived:
            stopped.append("lb.keepalived")
        return stopped

    def _start(self, node: Node, parts: list[str]) -> None:
        if "lb.keepalived" in parts:
            node.keepalived = True
            self._move_vip()
        if "db.service" in parts:
            self._start_mongod(node)
