"""The whole system on nodes of its own: another name and network than the operator's cluster."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from lab import edge, engine, machines, up
from lab.config import ROOT, Lab, load
from tests.support import evidence, hits, inside
from tests.support.hits import Traffic
from tests.support.waiting import until

NAME = "counterapp-test"
NETWORK = "192.168.34.0/24"
# Releases that the tests build beside the tree's own.
NEXT, BAD, LEAKING = "0.1.0.post1", "0.1.0.post2", "0.1.0.post5"
# With it nodes are used as they are found, and left: for whoever writes a test.
KEEP = bool(os.environ.get("KEEP_NODES"))
ASKER = Path(__file__).with_name("asker.py").read_text(encoding="utf-8")


# In the end, for when they fail they leave a cluster that no other test can use.
LAST = ("test_anew.py",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name in LAST)


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


class Cluster:
    """The lab under test, and the ways to look at it and to hurt it."""

    # What looking at a server that is away may raise.
    AWAY = (requests.RequestException, ValueError, KeyError)

    def __init__(self, name: str, network: str, topology: str) -> None:
        self.lab: Lab = load(name=name, topology_name=topology, network=network)
        self.environment = {
            **machines.environment(self.lab),
            "LAB": name,
            "LAB_NETWORK": network,
            "TOPOLOGY": topology,
            "VERSION": "",
        }
        # Of the tests' counters; on a cluster that was kept, those of an earlier run are in others.
        self.namespace = f"kept-{uuid.uuid4().hex[:8]}" if KEEP else "default"
        self._asker: subprocess.Popen[str] | None = None
        # All that commands have printed so far, an item each.
        self.printed: list[str] = []

    @cached_property
    def url(self) -> str:
        return edge.url(self.lab)

    @property
    def authority(self) -> str:
        """Whom clients trust, as a file; until the lab is up, nobody."""
        path = edge.authority(self.lab)
        return str(path) if path.exists() else os.devnull

    def with_role(self, role: str) -> list[str]:
        return [node.id for node in self.lab.nodes if role in node.roles]

    def tool(self, *arguments: str, until: Callable[[str], bool] | None = None) -> Run:
        """Run the lab tool as `make` does; killed with -9 when ``until`` holds for a line."""
        return self._host([sys.executable, "-m", "lab", *arguments], until)

    def typed(self, line: str, node: str | None = None) -> Run:
        """Type a line of the documentation, with the addresses of this cluster.

        :param node: where; without it `make`, `vagrant` and what uses a file in `build/` in the
            checkout, all else on the master.
        """
        document, here = (str(net.network_address).rpartition(".")[0] for net in self._networks)
        line = line.replace(f"{document}.", f"{here}.")
        line = line.replace("build/labs/counterapp/", f"build/labs/{self.lab.name}/")
        if node is None and (line.startswith(("make ", "vagrant ")) or " build/" in line):
            return self._host(["bash", "-ec", line])
        command = ["bash", "-ec", line]
        process = machines.popen_on_node(self.lab, node or self.lab.master.id, command)
        output, _ = process.communicate()
        print(f"$ {line}\n{output}")
        self.printed.append(output)
        return Run(process.returncode, [(0.0, each) for each in output.splitlines()])

    @property
    def _networks(self) -> tuple[Any, Any]:
        return load(
            topology_name=self.lab.topology_name, name="documented"
        ).network, self.lab.network

    def _host(self, command: list[str], until: Callable[[str], bool] | None = None) -> Run:
        run = Run()
        begun = time.monotonic()
        with subprocess.Popen(
            command,
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
        self.printed.append(run.text)
        return run

    def on(self, node: str, *command: str, check: bool = True, stdin: str = "") -> str:
        container = f"{self.lab.name}-{self.lab.node(node).id}"
        return inside.run(container, *command, check=check, stdin=stdin)

    def master(self, *command: str, check: bool = True) -> str:
        return self.on(self.lab.master.id, *command, check=check)

    def salt(self, target: str, *arguments: str, kind: str = "glob") -> dict:
        """Return what each minion answered that did; asked as ``salt`` does, without its start."""
        if self._asker is None or self._asker.poll() is not None:
            command = ["/opt/salt/bin/python", "-c", ASKER]
            self._asker = machines.popen_on_node(
                self.lab, self.lab.master.id, command, stdin=subprocess.PIPE
            )
        assert self._asker.stdin is not None
        assert self._asker.stdout is not None
        function, *words = arguments
        self._asker.stdin.write(json.dumps([target, kind, function, words]) + "\n")
        self._asker.stdin.flush()
        answer = json.loads(self._asker.stdout.readline())
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer["return"]

    def close(self) -> None:
        """End what was kept open on the master."""
        if self._asker is not None:
            self._asker.communicate()
            self._asker = None

    def runner(self, *arguments: str) -> Any:
        return json.loads(self.master("salt-run", *arguments, "--out=json", check=False))

    def rollout(self, release: str | None = None) -> tuple[int, str]:
        """Run the orchestration as an operator does; returns exit code and output."""
        process = self.start_rollout(release)
        output, _ = process.communicate()
        self.printed.append(output)
        return process.returncode, output

    def start_rollout(self, release: str | None = None) -> subprocess.Popen[str]:
        """Start the orchestration and return it running, its output in a pipe."""
        command = ["salt-run", "state.orchestrate", "orch.rollout"]
        if release:
            command.append(f"pillar={json.dumps({'release': release})}")
        return machines.popen_on_node(self.lab, self.lab.master.id, command)

    def settings(self, part: str, **changes: Any) -> None:
        """Have these keys of a pillar file differ, in a file of the cluster's own."""
        own = self.lab.directory / "pillar" / f"{part}.sls"
        there = own if own.exists() else ROOT / f"pillar/{part}.sls"
        document = yaml.safe_load(there.read_text())
        for key, value in changes.items():
            if isinstance(value, dict):
                document[part][key].update(value)
            else:
                document[part][key] = value
        own.write_text(yaml.safe_dump(document))

    @contextmanager
    def changed(self, part: str, **changes: Any) -> Iterator[None]:
        """Have a pillar file of the cluster's own differ in these keys for as long as the block."""
        own = self.lab.directory / "pillar" / f"{part}.sls"
        before = own.read_text() if own.exists() else None
        document = yaml.safe_load(before or (ROOT / f"pillar/{part}.sls").read_text())
        document[part].update(changes)
        own.write_text(yaml.safe_dump(document))
        try:
            yield
        finally:
            if before is None:
                own.unlink()
            else:
                own.write_text(before)

    # Traffic: only ever to the lab's own bridge.

    def get(self, path: str, timeout: float = 10) -> requests.Response:
        engine.check_route(self.lab, self.lab.vip)
        return requests.get(f"{self.url}{path}", timeout=timeout, verify=self.authority)

    def path(self, counter: str) -> str:
        """Return where a counter is; one with a namespace before it, or a test's own."""
        return f"/api/v1/counters/{counter if '/' in counter else f'{self.namespace}/{counter}'}"

    def hit(self, counter: str, timeout: float = 10, key: str | None = None) -> requests.Response:
        url = f"{self.url}{self.path(counter)}/hits"
        headers = {"Idempotency-Key": key} if key else {}
        return requests.post(url, headers=headers, timeout=timeout, verify=self.authority)

    def count(self, counter: str) -> int:
        response = self.get(self.path(counter))
        if response.status_code == 404:
            return 0
        response.raise_for_status()
        return response.json()["value"]

    def send(self, counter: str, count: int, threads: int = 8) -> Traffic:
        """Send that many hits, each on a connection of its own, and note what came back."""
        engine.check_route(self.lab, self.lab.vip)
        traffic = Traffic()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda _: hits.hit(self._sender(counter), traffic), range(count)))
        return traffic

    @contextmanager
    def traffic(self, counter: str, threads: int = 3, keyed: bool = False) -> Iterator[Traffic]:
        """Send hits for as long as the block runs: see :func:`tests.support.hits.traffic`."""
        engine.check_route(self.lab, self.lab.vip)
        with hits.traffic(self._sender(counter), threads, keyed) as traffic:
            yield traffic

    def _sender(self, counter: str) -> hits.Send:
        return lambda key: self.hit(counter, key=key)

    # Harm, and recovery.

    def stop(self, node: str) -> None:
        """Pull the plug: nothing on the node gets to say goodbye."""
        engine.podman("kill", "--signal", "KILL", f"{self.lab.name}-{node}")

    def start(self, node: str) -> None:
        engine.podman("start", f"{self.lab.name}-{node}")

    def until_answers(self, node: str) -> None:
        """Wait until a node's minion answers."""
        until(
            lambda: self.salt(node, "test.ping"),
            60,
            f"the minion of {node} answers",
            wanted={node: True},
            ignoring=self.AWAY,
        )

    def until_whole(self) -> None:
        """Wait until every minion answers and every part says that it is well."""
        until(self.wrong, 120, "every node is up and well", wanted=[], ignoring=self.AWAY)

    def wrong(self) -> list[str]:
        """Return who does not answer; when all do, what a part of the system complains of."""
        answered = self.salt("*", "test.ping")
        silent = [node.id for node in self.lab.nodes if answered.get(node.id) is not True]
        return [f"{node} does not answer" for node in silent] or self.unhealthy()

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


@pytest.fixture(scope="session")
def no_release_of_ours():
    """A bare fleet gets the newest release that is built: none may be left of these tests."""
    remove_releases()
    yield
    remove_releases()


def remove_releases() -> None:
    for release in (NEXT, BAD, LEAKING):
        for archive in up.DIST.glob(f"counterapp-{release}.tar.gz*"):
            archive.unlink()


@pytest.fixture(scope="session")
def start_cluster():
    """A context manager for a lab that is gone before and after, whatever was left of it."""

    @contextmanager
    def start(name: str, network: str, topology: str) -> Iterator[Cluster]:
        cluster = Cluster(name, network, topology)
        if not KEEP:
            up.down(cluster.lab)
        evidence.watch(cluster.lab)
        try:
            yield cluster
        finally:
            evidence.forget(cluster.lab)
            cluster.close()
            if not KEEP:
                up.down(cluster.lab)

    return start


@dataclass
class FirstRollout:
    """The first `make up`, killed twice on the way to a cluster that serves."""

    cluster: Cluster
    killed: list[Run]
    run: Run


@pytest.fixture(scope="session")
def first_rollout(start_cluster, no_release_of_ours):
    """From nothing to a service: killed while nodes are made and while the set is, run again."""
    provisioners = []

    def half_way(line: str) -> bool:
        provisioners.extend([line] * ("Running provisioner" in line))
        return len(provisioners) == 3

    with start_cluster(NAME, NETWORK, "default") as cluster:
        killed = []
        if not KEEP:
            killed.append(cluster.tool("up", until=half_way))
            killed.append(cluster.tool("up", until=lambda line: "applying db" in line))
            # What died was the operator's side; the rollout dies with the master's process.
            cluster.master("pkill", "-KILL", "-f", "state.orchestrate", check=False)
        run = cluster.tool("up")
        assert run.code == 0, run.text
        yield FirstRollout(cluster, killed, run)


@pytest.fixture(scope="session")
def cluster(first_rollout):
    """A cluster that serves."""
    return first_rollout.cluster


@pytest.fixture(scope="session")
def next_release():
    """A release after the first one, built as an operator builds it."""
    subprocess.run(
        [sys.executable, "-m", "lab", "dist"],
        cwd=ROOT,
        env={**os.environ, "VERSION": NEXT},
        check=True,
    )
    return NEXT
