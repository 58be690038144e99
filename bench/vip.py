"""How soon one balancer alone holds the VIP, and serves, whatever befell its holder.

    bench/vip                            # the running lab: twenty times each harm
    bench/vip --harm "HAProxy frozen"    # only this one; may be repeated

Each time is from the harm to the moment from which one balancer alone has the address, by what the
kernels of all balancers tell. A harm is undone, and waited for until its node could take the
address again. Ends with 1 when the 95th percentile of a harm is over a second.
"""

from __future__ import annotations

import argparse
import json
import queue
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from bench.gaps import percentile
from lab import config, machines
from lab.config import Lab, LabError

P95 = 1.0
"""Seconds after which one balancer alone is to have the VIP."""

Commands = list[list[str]]


@dataclass(frozen=True)
class Harm:
    """What befalls the holder: commands, in which ``{vip}`` and ``{interface}`` are filled in."""

    commands: Commands
    undo: Commands = field(default_factory=list)
    stays: bool = False
    """Whether the address may come back to where it was."""


def _signal(name: str, unit: str) -> list[str]:
    return ["systemctl", "kill", f"--signal={name}", unit]


def _chains(policy: str, *rule: str) -> Commands:
    """Return what gives a node a firewall of one rule for each way; ``WAY`` is the word for it."""
    commands = [["nft", "add", "table", "inet", "bench"]]
    for hook, way in (("input", "iif"), ("output", "oif")):
        chain = f"{{{{ type filter hook {hook} priority -200; policy {policy}; }}}}"
        words = [way if word == "WAY" else word for word in rule]
        commands += [
            ["nft", "add", "chain", "inet", "bench", hook, chain],
            ["nft", "add", "rule", "inet", "bench", hook, *words],
        ]
    return commands


OPEN = [["nft", "delete", "table", "inet", "bench"]]
KILLED = "keepalived killed"
HARMS = {
    KILLED: Harm([_signal("KILL", "keepalived")]),
    "keepalived stopped": Harm(
        [["systemctl", "stop", "keepalived"]], [["systemctl", "start", "keepalived"]]
    ),
    "keepalived frozen": Harm([_signal("STOP", "keepalived")]),
    "HAProxy killed": Harm([_signal("KILL", "haproxy")]),
    "HAProxy stopped": Harm(
        [["systemctl", "stop", "haproxy"]], [["systemctl", "start", "haproxy"]]
    ),
    "HAProxy frozen": Harm([_signal("STOP", "haproxy")], [_signal("CONT", "haproxy")]),
    "cut off": Harm(_chains("drop", "WAY", "lo", "accept"), OPEN),
    "VRRP blocked": Harm(_chains("accept", "ip", "protocol", "vrrp", "drop"), OPEN),
    "address removed": Harm(
        [["ip", "-4", "address", "flush", "dev", "{interface}", "to", "{vip}/32"]], stays=True
    ),
}
#: Runs on the node; tells when it began.
RUN = """
import json, subprocess, sys, time
print(time.time(), flush=True)
for command in json.loads(sys.argv[1]):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
"""
PYTHON = "/opt/salt/bin/python"
#: Of a balancer that could take the VIP: its units, what vip-guard tells, and keepalived's state.
STANDBY = """
systemctl is-active --quiet haproxy keepalived vip-guard && grep -q 0 /run/vip-guard/fault &&
    journalctl --unit keepalived --output cat --grep Entering --lines 1 | grep -q BACKUP && echo yes
"""
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


def settled(holder: str, changes: list[Change], stays: bool = False) -> float | None:
    """Return since when one balancer alone has the VIP; None if none has.

    :param stays: whether that may be ``holder``, which had it at first, once anything has changed.
    """
    holders, since = {holder}, None
    for each in sorted(changes, key=lambda each: each.at):
        (holders.add if each.has else holders.discard)(each.node)
        if len(holders) != 1 or (holders == {holder} and not stays):
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

    def times(self, name: str, runs: int) -> Iterator[tuple[str, float]]:
        """Do a harm of ``HARMS`` to the holder so often; yields who it was, and after how many
        seconds one balancer alone had the VIP.

        :raises LabError: none has within a minute, or the harmed one does not come back.
        """
        harm = HARMS[name]
        with self._watched() as changes:
            for _ in range(runs):
                holder = self._holder()
                begun = float(self._run(holder, harm.commands).split()[0])
                seen: list[Change] = []
                try:
                    self._until_settled(name, holder, begun, changes, seen)
                finally:
                    self._run(holder, harm.undo)
                self._until_standby(name, holder, harm)
                # Perhaps somebody had it for a moment more.
                while not changes.empty():
                    seen.append(changes.get())
                at = settled(holder, [each for each in seen if each.at >= begun], harm.stays)
                if at is None:
                    raise LabError(f"{name} ({holder}): the VIP has no one holder: {seen}.")
                yield holder, at - begun

    def _run(self, node: str, commands: Commands) -> str:
        """Run commands on a node; return when they began, and nothing else."""
        [interface] = [
            each["ifname"]
            for each in self._interfaces(node)
            if self._lab.node(node).address in [one["local"] for one in each.get("addr_info", [])]
        ]
        filled = [
            [word.format(vip=self._lab.vip, interface=interface) for word in command]
            for command in commands
        ]
        return machines.on_node(self._lab, node, [PYTHON, "-c", RUN, json.dumps(filled)])

    def _interfaces(self, node: str) -> list[dict[str, Any]]:
        shown: list[dict[str, Any]] = json.loads(
            machines.on_node(self._lab, node, ["ip", "-json", "-4", "address"])
        )
        return shown

    def _holder(self) -> str:
        holders = [node for node in self._balancers if self._has_vip(node)]
        if len(holders) != 1:
            raise LabError(
                f"The VIP {self._lab.vip} is held by {', '.join(holders) or 'no balancer'}: one "
                "must hold it; see 'A balancer' in docs/operating.md."
            )
        return holders[0]

    def _has_vip(self, node: str) -> bool:
        return any(
            address["local"] == self._lab.vip
            for interface in self._interfaces(node)
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

    def _until_settled(
        self,
        name: str,
        holder: str,
        begun: float,
        changes: queue.Queue[Change],
        seen: list[Change],
    ) -> None:
        """Put what changes into ``seen``, until one balancer alone has the VIP."""
        stays = HARMS[name].stays
        while settled(holder, [each for each in seen if each.at >= begun], stays) is None:
            try:
                seen.append(changes.get(timeout=PATIENCE))
            except queue.Empty:
                raise LabError(
                    f"{name} ({holder}): {PATIENCE:g} s later no other balancer alone has the VIP:"
                    f" {seen or 'nothing has changed'}."
                ) from None

    def _until_standby(self, name: str, node: str, harm: Harm) -> None:
        """Wait until the harmed one is back, and ready to take the VIP, or has it."""
        ends = time.monotonic() + PATIENCE
        while not (harm.stays and self._has_vip(node)):
            if machines.on_node(self._lab, node, ["sh", "-c", STANDBY], check=False):
                return
            if time.monotonic() > ends:
                raise LabError(
                    f"{name} ({node}): it is not back after {PATIENCE:g} s: look at 'systemctl"
                    " status haproxy keepalived vip-guard' there."
                )
            time.sleep(0.1)


def measure(vip: Vip, harms: list[str], runs: int) -> dict[str, list[float]]:
    """Do each harm so often; return the seconds of each, and tell them."""
    taken: dict[str, list[float]] = {}
    for name in harms:
        for _node, seconds in vip.times(name, runs):
            taken.setdefault(name, []).append(seconds)
        found = taken[name]
        p95 = percentile(found, 0.95)
        print(
            f"{name}: {min(found):.2f} to {max(found):.2f} s, median {median(found):.2f} s,"
            f" p95 {p95:.2f} s{f'  MISSED: over {P95:g} s' if p95 > P95 else ''}"
        )
    return taken


def main(arguments: list[str] | None = None) -> int:
    """Run ``bench/vip``; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="bench/vip",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=20, help="of each harm (20)")
    parser.add_argument("--harm", action="append", choices=HARMS, help="only this; may be repeated")
    parser.add_argument("--json", type=Path, help="a file for all numbers")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        taken = measure(Vip(config.load()), options.harm or list(HARMS), options.runs)
    except LabError as error:
        print(f"bench/vip: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if options.json:
        options.json.write_text(json.dumps(taken, indent=2) + "\n")
    return 1 if any(percentile(each, 0.95) > P95 for each in taken.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
