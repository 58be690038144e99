"""The running lab as a place to measure in: clients go through the virtual address."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from bench.place import Endpoint, tree_memory
from lab import edge, engine, machines
from lab.config import Lab, LabError

SERVICE = "counterapp"
# Gone with the next start of the node, should a benchmark be killed with -9.
DROP_IN = f"/run/systemd/system/{SERVICE}.service.d/bench.conf"
READY_SECONDS = 60


class Cluster:
    """A :class:`~bench.place.Place`: the lab ``lab``, which must be up."""

    def __init__(self, lab: Lab) -> None:
        """:raises LabError: the lab is not up, or packets to it would leave this machine."""
        engine.check_route(lab, lab.vip)
        self.name = f"the lab '{lab.name}' through {lab.vip}"
        self._lab = lab
        self._webs = [node for node in lab.nodes if "web" in node.roles]
        self._processes: dict[str, int] = {}
        for node in self._webs:
            machines.require_running(lab, node.id)
        self.wait_ready()

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return (Endpoint(edge.url(self._lab), edge.authority(self._lab)),)

    @contextmanager
    def once_per_request(self) -> Iterator[None]:
        try:
            self._restart(f"[Service]\nEnvironment={SERVICE.upper()}_COMBINE=no\n")
            yield
        finally:
            self._restart(None)

    def memory(self) -> dict[str, float]:
        # Asked of the nodes once: to ask each time would take much of what is measured.
        for node in self._webs:
            if node.id not in self._processes:
                self._processes[node.id] = self._main_pid(node.id)
        return {node: tree_memory(pid) for node, pid in self._processes.items()}

    def _main_pid(self, node: str) -> int:
        """Return the service's first process, as this machine numbers it."""
        inside = self._on(node, "systemctl", "show", "--value", "--property=MainPID", SERVICE)
        container = f"{self._lab.name}-{node}"
        listed = engine.podman("top", container, "pid", "hpid").split("\n")[1:]
        for line in listed:
            if line.split()[:1] == [inside.strip()]:
                return int(line.split()[1])
        raise LabError(f"The service {SERVICE} does not run on {node}: run 'make up'.")

    def _restart(self, drop_in: str | None) -> None:
        self._processes.clear()
        for node in self._webs:
            if drop_in is None:
                self._on(node.id, "rm", "-f", DROP_IN)
            else:
                self._on(node.id, "mkdir", "-p", DROP_IN.rpartition("/")[0])
                machines.on_node(self._lab, node.id, ["tee", DROP_IN], stdin=drop_in)
            self._on(node.id, "systemctl", "daemon-reload")
        # At once: that nobody is served for a moment is no matter to a benchmark.
        before = {self._main_pid(node.id) for node in self._webs}
        for node in self._webs:
            self._on(node.id, "systemctl", "--no-block", "restart", SERVICE)
        self._wait_ready(before)

    def wait_ready(self) -> None:
        """Wait until every web node is ready, and has its share of the clients."""
        self._wait_ready(set())

    def _wait_ready(self, gone: set[int]) -> None:
        """Wait until every web node is a new process, ready, and has its share of the clients."""
        deadline = time.monotonic() + READY_SECONDS
        wanted = {node.id for node in self._webs}
        seen: set[str] = set()
        while not seen >= wanted:
            if time.monotonic() > deadline:
                late = ", ".join(sorted(wanted - seen))
                raise LabError(f"No answer from {late} through {self._lab.vip}: see 'make status'.")
            try:
                if {self._main_pid(node) for node in wanted} & gone:
                    raise LabError("an old process still runs")
                seen.add(self._who_answers())
            except (LabError, urllib.error.URLError, ConnectionError):
                seen.clear()
                time.sleep(0.2)

    def _who_answers(self) -> str:
        url, context = f"{edge.url(self._lab)}/readyz", edge.context(self._lab)
        with urllib.request.urlopen(url, timeout=5, context=context) as response:
            return str(json.load(response)["node"])

    def _on(self, node: str, *command: str) -> str:
        return machines.on_node(self._lab, node, list(command))
