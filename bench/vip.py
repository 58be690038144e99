"""How soon another balancer holds the VIP after the holder's keepalived was killed (`kill -9`).

Each time is from the kill to the moment from which one balancer alone has the address: the killed
one has let go of it, and the other one has taken it.
"""

from __future__ import annotations

import json
import queue
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from lab import machines
from lab.config import Lab, LabError

#: Runs on the node; tells when it killed. All at once, so that none of them can tidy up.
KILL = """
import os, pathlib, signal, time
pids = [int(each.parent.name) for each in pathlib.Path("/proc").glob("[0-9]*/comm")
        if each.read_text() == "keepalived\\n"]
print(time.time())
for pid in pids:
    os.kill(pid, signal.SIGKILL)
"""
PYTHON = "/opt/salt/bin/python"
#: As `ip -tshort -oneline monitor address` prints a change.
EVENT = re.compile(r"\[(?P<at>[^\]]+)\] (?P<gone>Deleted )?.* inet (?P<address>[0-9.]+)/")
#: Seconds that anything of this may take on a slow machine before it is a failure.
PATIENCE = 60.0


@dataclass(frozen=True)
class Change:
    """A node was given the VIP, or lost it."""

    at: float
    node: str
    has: bool


def change(line: str, node: str, vip: str) -> Change | None:
    """Return what a line of a node's `ip monitor` says of the VIP; None when it is of another."""
    match = EVENT.match(line)
    if not match or match["address"] != vip:
        return None
    at = datetime.fromisoformat(match["at"]).replace(tzinfo=UTC).timestamp()
    return Change(at, node, not match["gone"])


def settled(holder: str, changes: list[Change]) -> float | None:
    """Return since when one balancer other than ``holder`` alone has the VIP; None if none has."""
    holders, since = {holder}, None
    for each in sorted(changes, key=lambda each: each.at):
        (holders.add if each.has else holders.discard)(each.node)
        if len(holders) != 1 or holders == {holder}:
            since = None
        elif since is None:
            since = each.at
    return since


class Vip:
    """The balancers of a running lab, and what their kernels say of the VIP."""

    def __init__(self, lab: Lab) -> None:
        """:raises LabError: the lab has a single balancer, or one that does not run."""
        self._lab = lab
        self._balancers = [node.id for node in lab.nodes if "lb" in node.roles]
        if len(self._balancers) < 2:
            raise LabError(
                f"The topology '{lab.topology_name}' has no other balancer: take one that has two."
            )
        for node in self._balancers:
            machines.require_running(lab, node)

    def times(self, kills: int) -> Iterator[tuple[str, float]]:
        """Kill the holder's keepalived so often; yields who it was and after how many seconds the
        VIP had one other holder.

        :raises LabError: there is none within a minute, or the killed one does not come back.
        """
        with self._watched() as changes:
            for _ in range(kills):
                holder = self._holder()
                killed = float(machines.on_node(self._lab, holder, [PYTHON, "-c", KILL]))
                yield holder, self._next_holder(holder, killed, changes) - killed
                self._until_standby(holder, killed)

    def _holder(self) -> str:
        holders = [node for node in self._balancers if self._has_vip(node)]
        if len(holders) != 1:
            raise LabError(
                f"The VIP {self._lab.vip} is held by {', '.join(holders) or 'no balancer'}: one "
                "must hold it; see 'A balancer' in docs/operating.md."
            )
        return holders[0]

    def _has_vip(self, node: str) -> bool:
        shown = machines.on_node(self._lab, node, ["ip", "-json", "-4", "address"])
        return any(
            address["local"] == self._lab.vip
            for interface in json.loads(shown)
            for address in interface.get("addr_info", [])
        )

    @contextmanager
    def _watched(self) -> Iterator[queue.Queue[Change]]:
        """Have each balancer's kernel tell of the VIP, inside the ``with``."""
        changes: queue.Queue[Change] = queue.Queue()
        command = ["env", "TZ=UTC", "ip", "-4", "-tshort", "-oneline", "monitor", "address"]
        monitors = {
            node: machines.popen_on_node(self._lab, node, command) for node in self._balancers
        }

        def listen(node: str) -> None:
            stdout = monitors[node].stdout
            assert stdout is not None
            for line in stdout:
                if found := change(line, node, self._lab.vip):
                    changes.put(found)

        listeners = [threading.Thread(target=listen, args=(node,)) for node in monitors]
        for each in listeners:
            each.start()
        try:
            yield changes
        finally:
            for node in monitors:
                machines.on_node(
                    self._lab, node, ["pkill", "-f", "^ip -4 -tshort -oneline monitor"], check=False
                )
            for each in listeners:
                each.join()
            for monitor in monitors.values():
                monitor.wait()

    def _next_holder(self, holder: str, killed: float, changes: queue.Queue[Change]) -> float:
        seen: list[Change] = []
        while True:
            try:
                seen.append(changes.get(timeout=PATIENCE))
            except queue.Empty:
                raise LabError(
                    f"{holder}'s keepalived was killed, and {PATIENCE:g} s later no other balancer "
                    f"alone has the VIP: {seen or 'nothing has changed'}."
                ) from None
            at = settled(holder, [each for each in seen if each.at >= killed])
            if at is not None:
                return at

    def _until_standby(self, node: str, killed: float) -> None:
        """Wait until the killed one is back, and ready to take the VIP."""
        journal = [
            "journalctl",
            "--unit",
            "keepalived",
            "--output",
            "cat",
            "--since",
            f"@{killed:.6f}",
        ]
        ends = time.monotonic() + PATIENCE
        while "Entering BACKUP STATE" not in machines.on_node(self._lab, node, journal):
            if time.monotonic() > ends:
                raise LabError(
                    f"keepalived of {node} was killed and is not back after {PATIENCE:g} s: look "
                    "at 'systemctl status keepalived' there."
                )
            time.sleep(0.1)
