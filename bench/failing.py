"""What can fail, on loopback and in the running lab, and how it comes back."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager

import requests
import yaml

from bench.api import Counters
from bench.cluster import SERVICE, Cluster
from bench.gaps import CLIENT_SECONDS, Case
from bench.local import Loopback, loopback
from bench.vip import KILLED, Vip
from lab import machines
from lab.config import ROOT, Lab, LabError
from tests.support.hits import is_refusal

PRIMARY_KILLED = "primary killed"
STEPPED_DOWN = "primary steps down"
WEB_KILLED = "web server killed"
HOLDER_KILLED = "VIP's holder killed"
CASES = (PRIMARY_KILLED, STEPPED_DOWN, WEB_KILLED, HOLDER_KILLED)


def declared_elections() -> dict[str, int]:
    """Return the settings of the set that members have by the pillar."""
    pillar = yaml.safe_load((ROOT / "pillar" / "mongodb.sls").read_text(encoding="utf-8"))
    return dict(pillar["mongodb"].get("settings") or {})


class Here:
    """Three mongods and two web nodes on loopback: a :class:`~bench.gaps.Service`.

    There is no balancer: a client takes the nodes in turn, and goes on to the next one while the
    first cannot have seen its hit, as the balancer does.
    """

    def __init__(self, place: Loopback) -> None:
        self.name = place.name
        self._place = place
        self._turns = itertools.count()
        self.counters = Counters(place.endpoints[0])

    def send(self, counter: str, key: str | None) -> requests.Response:
        headers = {"Idempotency-Key": key} if key else {}
        endpoints, path = self._place.endpoints, self.counters.hits(counter)
        first = next(self._turns)
        for more in range(len(endpoints)):
            try:
                endpoint = endpoints[(first + more) % len(endpoints)]
                return endpoint.post(path, headers, CLIENT_SECONDS)
            except requests.ConnectionError as error:
                if not is_refusal(error) or more == len(endpoints) - 1:
                    raise
        raise AssertionError("there are no nodes")

    def cases(self) -> list[Case]:
        rs, servers = self._place.rs, itertools.cycle(self._place.servers)

        def kill_primary() -> str:
            primary = rs.wait_primary()
            primary.kill()
            return str(primary)

        def step_down() -> str:
            primary = rs.wait_primary()
            with primary.client() as client:
                client.admin.command("replSetStepDown", 60)
                # As mongodb.step_down does: the next one needs somebody who may be elected.
                client.admin.command("replSetFreeze", 0)
            return str(primary)

        def kill_server() -> str:
            server = next(servers)
            server.kill()
            return server.name

        def restart() -> None:
            for server in self._place.servers:
                server.revive()

        return [
            Case(PRIMARY_KILLED, kill_primary, rs.heal),
            Case(STEPPED_DOWN, step_down, rs.heal),
            Case(WEB_KILLED, kill_server, restart),
        ]


class There:
    """The running lab through its virtual address: a :class:`~bench.gaps.Service`."""

    def __init__(self, lab: Lab) -> None:
        """:raises LabError: the lab is not up, or packets to it would leave this machine."""
        self._lab = lab
        self._cluster = Cluster(lab)
        self.name = self._cluster.name
        self.counters = Counters(self._cluster.endpoints[0])
        self._dbs = [node.id for node in lab.nodes if "db" in node.roles]
        self._webs = itertools.cycle(node.id for node in lab.nodes if "web" in node.roles)
        self.vip_seconds: list[float] = []
        """After how many seconds one other balancer alone had the address, of each kill."""

    def send(self, counter: str, key: str | None) -> requests.Response:
        headers = {"Idempotency-Key": key} if key else {}
        [endpoint] = self._cluster.endpoints
        return endpoint.post(self.counters.hits(counter), headers, CLIENT_SECONDS)

    def cases(self) -> list[Case]:
        cases = [Case(WEB_KILLED, self._kill_web, self._until_webs)]
        if len(self._dbs) > 2:
            cases += [
                Case(PRIMARY_KILLED, self._kill_primary, self._until_whole),
                Case(STEPPED_DOWN, self._step_down, self._until_whole),
            ]
        if sum("lb" in node.roles for node in self._lab.nodes) > 1:
            vip = Vip(self._lab)

            def kill_holder() -> str:
                [(holder, seconds)] = vip.times(KILLED, 1)
                self.vip_seconds.append(seconds)
                return f"{holder}, one other alone had it after {seconds:.2f} s"

            cases.append(Case(HOLDER_KILLED, kill_holder, self._until_webs))
        return sorted(cases, key=lambda case: CASES.index(case.name))

    def _kill(self, node: str, unit: str) -> str:
        machines.on_node(self._lab, node, ["systemctl", "kill", "--signal=KILL", unit])
        return node

    def _kill_web(self) -> str:
        return self._kill(next(self._webs), SERVICE)

    def _kill_primary(self) -> str:
        return self._kill(self._primary(), "mongod")

    def _step_down(self) -> str:
        primary = self._primary()
        self._salt(primary, "mongodb.step_down")
        return primary

    def _primary(self) -> str:
        found = [node for node in self._dbs if self._salt(node, "mongodb.is_primary") is True]
        if len(found) != 1:
            raise LabError(f"The replica set has {found or 'no primary'}: see 'make status'.")
        return found[0]

    def _until_webs(self) -> None:
        self._cluster.wait_ready()

    def _until_whole(self) -> None:
        self._salt(self._dbs[0], "mongodb.wait_healthy", "require=all", "timeout=120")

    def _salt(self, node: str, *call: str) -> object:
        """Return what a function of the node's minion returns.

        :raises LabError: it fails.
        """
        command = ["salt", "--out=json", "--static", "--timeout=180", node, *call]
        answer = json.loads(machines.on_node(self._lab, self._lab.master.id, command))
        return answer[node]


@contextmanager
def here() -> Iterator[Here]:
    """Start a service on loopback whose set elects as the pillar has it, and stop it at the end."""
    with loopback(elections=declared_elections()) as place:
        yield Here(place)
