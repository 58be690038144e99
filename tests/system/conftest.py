"""The whole system on nodes of its own: another name and network than the operator's cluster."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from lab import engine, machines, up
from lab.config import ROOT, Lab, load
from tests.support import evidence
from tests.support.waiting import until

NAME = "counterapp-test"
NETWORK = "192.168.34.0/24"
# Releases that the tests build beside the tree's own.
NEXT, BAD = "0.1.0.post1", "0.1.0.post2"


@dataclass
class Run:
    """How a command on the host ended, and every line it printed with its second."""

    code: int = 0
    lines: list[tuple[float, str]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(line for _second, line in self.lines)

    @property
    def longest_silence(self) -> float:
        """The longest time, in seconds, that the operator saw nothing new."""
        seconds = [second for second, _line in self.lines]
        return max((b - a for a, b in zip(seconds, seconds[1:], strict=False)), default=0.0)


@dataclass
class Traffic:
    """What clients of the VIP saw: the value of each acknowledged hit, and every failure."""

    values: list[int] = field(default_factory=list)
    nodes: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


class Cluster:
    """The lab under test, and the ways to look at it and to hurt it."""

    # What looking at a server that is away may raise.
    AWAY = (requests.RequestException, ValueError, KeyError)

    def __init__(self, name: str, network: str, topology: str) -> None:
        self.lab: Lab = load(name=name, topology_name=topology, network=network)
        self.environment = {
            **os.environ,
            "LAB": name,
            "LAB_NETWORK": network,
            "TOPOLOGY": topology,
            "VERSION": "",
        }

    @property
    def url(self) -> str:
        return f"http://{self.lab.vip}"

    def with_role(self, role: str) -> list[str]:
        return [node.id for node in self.lab.nodes if role in node.roles]

    def tool(self, *arguments: str, until: Callable[[str], bool] | None = None) -> Run:
        """Run the lab tool as `make` does; killed with -9 when ``until`` holds for a line."""
        run = Run()
        begun = time.monotonic()
        with subprocess.Popen(
            [sys.executable, "-m", "lab", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                run.lines.append((time.monotonic() - begun, line.rstrip()))
                print(line, end="")
                if until and until(line):
                    os.killpg(process.pid, 9)
                    break
        run.code = process.returncode
        return run

    def on(self, node: str, *command: str, check: bool = True, stdin: str = "") -> str:
        return machines.on_node(self.lab, node, list(command), check=check, stdin=stdin)

    def master(self, *command: str, check: bool = True) -> str:
        return self.on(self.lab.master.id, *command, check=check)

    def salt(self, target: str, *arguments: str) -> dict:
        """Return what each minion answered; a silent one is a failure."""
        text = self.master("salt", target, *arguments, "--out=json", "--static", check=False)
        return json.loads(text[text.index("{") :])

    def runner(self, *arguments: str) -> Any:
        return json.loads(self.master("salt-run", *arguments, "--out=json", check=False))

    def rollout(self, release: str | None = None) -> tuple[int, str]:
        """Run the orchestration as an operator does; returns exit code and output."""
        command = ["salt-run", "state.orchestrate", "orch.rollout"]
        if release:
            command.append(f"pillar={json.dumps({'release': release})}")
        process = machines.popen_on_node(self.lab, self.lab.master.id, command)
        output, _ = process.communicate()
        return process.returncode, output

    # Traffic: only ever to the lab's own bridge.

    def get(self, path: str, timeout: float = 10) -> requests.Response:
        engine.check_route(self.lab, self.lab.vip)
        return requests.get(f"{self.url}{path}", timeout=timeout)

    def hit(self, counter: str, timeout: float = 10) -> requests.Response:
        return requests.post(f"{self.url}/api/v1/counters/default/{counter}/hits", timeout=timeout)

    def count(self, counter: str) -> int:
        response = self.get(f"/api/v1/counters/default/{counter}")
        if response.status_code == 404:
            return 0
        response.raise_for_status()
        return response.json()["value"]

    def send(self, counter: str, hits: int, threads: int = 8) -> Traffic:
        """Send that many hits, each on a connection of its own, and note what came back."""
        engine.check_route(self.lab, self.lab.vip)
        traffic = Traffic()
        lock = threading.Lock()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda _: self._one(counter, traffic, lock), range(hits)))
        return traffic

    @contextmanager
    def traffic(self, counter: str, threads: int = 3) -> Iterator[Traffic]:
        """Send hits for as long as the block runs; a failure is noted and the client goes on."""
        engine.check_route(self.lab, self.lab.vip)
        traffic = Traffic()
        lock = threading.Lock()
        stop = threading.Event()

        def client() -> None:
            while not stop.is_set():
                self._one(counter, traffic, lock)
                # The pace of an ordinary client: these tests are about order, not about load.
                stop.wait(0.02)

        with ThreadPoolExecutor(threads) as pool:
            clients = [pool.submit(client) for _ in range(threads)]
            try:
                yield traffic
            finally:
                stop.set()
            for each in clients:
                each.result()

    def _one(self, counter: str, traffic: Traffic, lock: threading.Lock) -> None:
        try:
            response = self.hit(counter)
            response.raise_for_status()
            body = response.json()
        except requests.RequestException as error:
            with lock:
                traffic.failures.append(f"{type(error).__name__}: {error}")
            return
        with lock:
            traffic.values.append(body["value"])
            traffic.nodes[body["node"]] = traffic.nodes.get(body["node"], 0) + 1

    # Harm, and recovery.

    def stop(self, node: str) -> None:
        """Pull the plug: nothing on the node gets to say goodbye."""
        engine.podman("kill", "--signal", "KILL", f"{self.lab.name}-{node}")

    def start(self, node: str) -> None:
        engine.podman("start", f"{self.lab.name}-{node}")

    def until_whole(self) -> None:
        """Wait until every minion answers and every part says that it is well."""

        def wrong() -> list[str]:
            nodes = up.status(self.lab)["nodes"]
            silent = [f"{name} does not answer" for name, node in nodes.items() if not node["up"]]
            return silent or self.unhealthy()

        until(wrong, 120, "every node is up and well", wanted=[], ignoring=self.AWAY)

    def unhealthy(self) -> list[str]:
        """Return what a part of the system complains of."""
        db, storage = self.with_role("db")[0], self.with_role("storage")[0]
        found = [
            *self.salt(db, "mongodb.healthy", "require=all")[db]["reasons"],
            *self.salt(storage, "gluster.healthy", "shared")[storage]["reasons"],
        ]
        for node, servers in self.salt("lb-*", "haproxy.servers", "web").items():
            found += [f"{node}: {s['name']} is not up" for s in servers if not s["up"]]
        return found


@pytest.fixture(scope="session", autouse=True)
def no_release_of_ours():
    """A bare fleet gets the newest release that is built: none may be left of these tests."""
    remove_releases()
    yield
    remove_releases()


def remove_releases() -> None:
    for release in (NEXT, BAD):
        for archive in up.DIST.glob(f"counterapp-{release}.tar.gz*"):
            archive.unlink()


@pytest.fixture(scope="session")
def start_cluster():
    """A context manager for a lab that is gone before and after, whatever was left of it."""

    @contextmanager
    def start(name: str, network: str, topology: str) -> Iterator[Cluster]:
        cluster = Cluster(name, network, topology)
        up.down(cluster.lab)
        evidence.watch(cluster.lab)
        try:
            yield cluster
        finally:
            evidence.forget(cluster.lab)
            up.down(cluster.lab)

    return start


@pytest.fixture(scope="session")
def nodes(start_cluster):
    """Bare nodes that answer the master. The first `make up` is killed half-way."""
    with start_cluster(NAME, NETWORK, "default") as cluster:
        start_killed(cluster)
        yield cluster


def start_killed(cluster: Cluster) -> None:
    seen = []

    def half_way(line: str) -> bool:
        if "Running provisioner" in line:
            seen.append(line)
        return len(seen) == 3

    killed = cluster.tool("up", "--nodes-only", until=half_way)
    assert killed.code == -9, killed.text
    run = cluster.tool("up", "--nodes-only")
    assert run.code == 0, run.text


@dataclass
class FirstRollout:
    cluster: Cluster
    killed: Run
    run: Run


@pytest.fixture(scope="session")
def first_rollout(nodes):
    """The rollout on bare nodes, killed while the replica set is made, then run again."""
    killed = nodes.tool("up", until=lambda line: "applying mongodb" in line)
    # What died was the operator's side; the rollout itself dies with the master's process.
    nodes.master("pkill", "-KILL", "-f", "state.orchestrate", check=False)
    run = nodes.tool("up")
    assert run.code == 0, run.text
    return FirstRollout(nodes, killed, run)


@pytest.fixture(scope="session")
def cluster(first_rollout):
    """A cluster that serves."""
    return first_rollout.cluster
