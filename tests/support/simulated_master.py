"""A master over a simulated fleet: the orchestration as Salt compiles it, run without Salt."""

import contextlib
import functools
import json
import os
import shutil
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import fleet.canary
import fleet.certificate
import fleet.change
import fleet.clocks
import fleet.files
import fleet.journal
import fleet.lock
import fleet.pillar
import fleet.preflight
import fleet.releases
import fleet.revision
import fleet.rollout
import fleet.topology
import fleet.verify
import fleet.waiting
import fleet.work
from fleet.errors import FleetError
from fleet.master import Master
from tests.support import tree as trees
from tests.support.loading import load
from tests.support.simulated import Died, Fault, Fleet
from tests.support.simulated_nodes import PARTS, Clock

#: Settings as far as the package looks at them.
SETTINGS: dict[str, Any] = {
    "lb": {
        "backend": "web",
        "frontend_port": 80,
        "https": {"enabled": True, "port": 443, "names": [], "certificate": None, "key": None},
        "socket": "/run/haproxy/admin.sock",
    },
    "web": {"port": 8000, "drain_timeout": 30, "drain_lease": 300, "ready_timeout": 60},
    "gluster": {"volume": "shared", "mount": "/srv/shared", "tls": True},
    "mongodb": {
        "port": 27017,
        "compressors": ["snappy"],
        "install": {"source": "repo", "repo_series": "7.0", "repo_least": "7.0.28"},
    },
    "rollout": {
        "batch": 1,
        "min_in_service": 1,
        "min_healthy_time": 3,
        "deadline": 600,
        "total_deadline": None,
        "revisions_kept": 5,
        "canary": {"enabled": False},
        "hooks": {},
    },
}


@functools.cache
def table_of_contents() -> list[dict[str, Any]]:
    """Return the steps of ``salt/orch/rollout.sls`` as Salt compiles them."""
    with tempfile.TemporaryDirectory() as folder:
        tree = trees.Tree(Path(folder))
        grains = trees.recorded_grains("debian12", "default", "master")
        with tree.compiler("master", grains, {"said": True}) as compiler:
            chunks, errors = compiler.chunks(["orch.rollout"])
    assert not errors, errors
    return chunks


class InTurn:
    """Does in turn what threads would do at once, so that a course is the same each time."""

    def __init__(self, _workers: int) -> None:
        pass

    def __enter__(self) -> "InTurn":
        return self

    def __exit__(self, *_raised: object) -> None:
        pass

    def map(self, function: Callable[[Any], Any], each: Iterable[Any]) -> list[Any]:
        """Call a function with one after the other."""
        return list(map(function, each))


class Simulation:
    """
    A master in a folder, with its fleet, all on a first revision with release 1.0.

    seed
        What is left to chance follows from it: how long things take, who is the primary.
    """

    FLEET: type[Fleet] = Fleet
    #: SLS that the checkout has beside those of parts.
    MORE: tuple[str, ...] = ()
    #: Other files that the checkout has, without content.
    FILES: tuple[str, ...] = ()

    def __init__(self, folder: Path, seed: int = 0, topology: str = "default") -> None:
        self.folder = folder
        self.clock = Clock()
        self.master = Master(
            {
                "id": "master",
                "counterapp_state": str(folder / "state"),
                "counterapp_config": str(folder / "config"),
                "counterapp_dist": str(folder / "dist"),
                "counterapp_tree": str(folder / "tree"),
                "counterapp_pillar": [],
                "counterapp_topology": topology,
            }
        )
        for name in ("salt", "_modules", "_states", "_utils", "pillar"):
            (folder / "tree" / name).mkdir(parents=True)
        # JSON is YAML, and read and written in no time.
        (folder / "tree/pillar/topology.sls").write_text(json.dumps(trees.TOPOLOGY))
        shutil.copy(trees.ROOT / "pillar/top.sls", folder / "tree/pillar/top.sls")
        for parts in (*PARTS.values(), self.MORE):
            for part in parts:
                self.edit(part, "first")
        for file in self.FILES:
            (folder / "tree" / file).touch()
        self.settings = json.loads(json.dumps(SETTINGS))
        self.fleet = self.FLEET(
            self.master, trees.TOPOLOGY["topologies"][topology], self.clock, seed
        )
        #: What the package told, and each write of its own to the disk.
        self.told: list[dict[str, Any]] = []
        self.written: list[str] = []
        #: The steps that have begun, the innermost last.
        self.at: list[str] = []
        self.crashes: list[Exception] = []
        self._frozen: dict[Path, bytes | str] | None = None
        self._alone = False
        self._topologies: dict[Path, dict[str, Any]] = {}
        with self.patched():
            first = fleet.revision.capture(self.master, "1.0")
            fleet.revision.settle(first)
        self.first = first.id
        self.fleet.settle()

    def edit(self, part: str, text: str) -> None:
        """Alter a part of the state tree in the checkout."""
        path = self.folder / f"tree/salt/{part.replace('.', '/')}.sls"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{text}\n")

    def edit_module(self, text: str) -> None:
        """Alter what minions load, in the checkout."""
        (self.folder / "tree/_modules/edited.py").write_text(f"TEXT = {text!r}\n")

    # What an operator types

    def rollout(self, **given: Any) -> bool:
        """
        Run the orchestration; return whether all of it succeeded.

        Raises Died when the master was killed; then it is as dead as a process can be.
        """
        runner = load("_runners/rollout.py")
        results: dict[str, bool] = {}
        #: What each step answered, in their order.
        self.answers: list[Any] = []
        with self.patched(), self.living():
            for chunk in table_of_contents():
                if not self._due(chunk, results):
                    continue
                args = {
                    key: value
                    for key, value in chunk.items()
                    if not key.startswith("__")
                    and key not in ("state", "name", "fun", "order", "require", "onfail")
                }
                if "pillar" in args:
                    assert args["pillar"] == {"said": True}
                    args["pillar"] = given
                runner.__opts__ = self.master.opts
                runner.__context__ = {}
                function = getattr(runner, chunk["name"].removeprefix("rollout."))
                try:
                    answer = function(**args)
                    good = not runner.__context__.get("retcode")
                except Exception as error:
                    # Salt shows the trace, and takes the step for one that failed.
                    answer, good = error, False
                    self.crashes.append(error)
                results[chunk["__id__"]] = good
                self.answers.append(answer)
                self.last = answer
        return all(results.values())

    def rollback(self, revision: str | None = None) -> bool:
        """Do what ``rollout.rollback`` does."""
        runner = load("_runners/rollout.py")
        runner.__opts__ = self.master.opts
        runner.__context__ = {}
        runner.__salt__ = {"state.orchestrate": lambda _name, pillar: self.rollout(**pillar)}
        with self.patched():
            done = runner.rollback(revision=revision)
        if isinstance(done, dict):
            raise FleetError(*done["failed"])
        return bool(done)

    def _due(self, chunk: dict[str, Any], results: dict[str, bool]) -> bool:
        """Return whether a step is to be run, as Salt judges its requisites."""
        wanted = [next(iter(each.values())) for each in chunk.get("require", [])]
        if not all(results[step] for step in wanted):
            results[chunk["__id__"]] = False
            return False
        watched = [next(iter(each.values())) for each in chunk.get("onfail", [])]
        return not watched or not all(results[step] for step in watched)

    # Life and death

    @contextlib.contextmanager
    def living(self) -> Iterator[None]:
        """Run what is one process of the master's."""
        self.crashes = []
        self.at = []
        self.fleet.dead = False
        try:
            yield
        except Died:
            # Whatever was written while the process unwound was never written.
            assert self._frozen is not None
            self._thaw(self._frozen)
            raise
        finally:
            self._frozen = None
            self._bury()
            for change in [*fleet.change._open]:
                change._resources.close()
            fleet.change._open.clear()
            fleet.rollout._running.clear()

    def _freeze(self) -> None:
        """Remember what is on the disk at the moment of death."""
        self._frozen = {}
        for top in (self.master.state, self.master.config):
            for path in top.rglob("*"):
                if path.is_relative_to(self.master.state / "revisions"):
                    continue
                if path.is_symlink():
                    self._frozen[path] = str(path.readlink())
                elif path.is_file() and path.name != ".guard":
                    self._frozen[path] = path.read_bytes()

    def _thaw(self, frozen: dict[Path, bytes | str]) -> None:
        for top in (self.master.state, self.master.config):
            for path in [*top.rglob("*")]:
                if path.is_relative_to(self.master.state / "revisions"):
                    continue
                if path.is_symlink() or path.is_file():
                    path.unlink()
        for path, content in frozen.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                path.symlink_to(content)
            else:
                path.write_bytes(content)

    def _bury(self) -> None:
        """Have what the process held be held by one that is dead: it has ended."""
        lock = self.master.state / fleet.lock.NAME
        if lock.exists():
            held = json.loads(lock.read_text())
            if held["pid"] == os.getpid():
                lock.write_text(json.dumps({**held, "started": 1}))

    # The package in this world

    @contextlib.contextmanager
    def patched(self) -> Iterator[None]:
        if self._alone:
            yield
            return
        clock = types.SimpleNamespace(
            monotonic=lambda: self.clock.now,
            time=lambda: self.clock.now + 1.8e9,
            sleep=self._sleep,
        )
        with contextlib.ExitStack() as patches:
            for name, module in [*sys.modules.items()]:
                if name.startswith("fleet.") and getattr(module, "time", None) is time:
                    patches.enter_context(mock.patch.object(module, "time", clock))
            for thing, name, stand_in in (
                (os, "fsync", lambda _handle: None),
                (fleet.pillar, "settings", lambda *_: self.settings),
                (fleet.pillar, "select", self._select),
                (fleet.pillar, "of_node", lambda *_: {}),
                (fleet.rollout, "SaltMinions", lambda _master: self.fleet),
                (fleet.rollout, "audience", lambda _master: (self._hear,)),
                (fleet.lock, "beating", lambda _folder: contextlib.nullcontext()),
                (fleet.releases, "find", self._find_release),
                (fleet.releases, "require_whole", lambda *_: None),
                (fleet.releases, "publish", self._publish),
                (fleet.rollout.archive, "keep", lambda *_: False),
                (fleet.certificate, "opener", lambda *_: None),
                (fleet.preflight, "ThreadPoolExecutor", InTurn),
                (fleet.verify, "_request", self._request),
                (fleet.canary, "hit", self._hit),
                *self.stand_ins(),
            ):
                patches.enter_context(mock.patch.object(thing, name, stand_in))
            for name in ("write", "append", "point"):
                real = getattr(fleet.files, name)
                patches.enter_context(
                    mock.patch.object(fleet.files, name, self._watched(name, real))
                )
            patches.enter_context(mock.patch.object(self, "_alone", True))
            self.fleet.on_death = self._freeze
            self.fleet.at = lambda: self.at[-1] if self.at else ""
            yield

    def stand_ins(self) -> list[tuple[Any, str, Any]]:
        """Return what else has a stand-in: module, name, and what stands in."""
        return []

    def _select(self, master: Master, folders: list[Path]) -> dict[str, Any]:
        """Check the topology of a revision once: it does not change."""
        where = folders[0]
        if where not in self._topologies:
            document = json.loads((where / "topology.sls").read_text(encoding="utf-8"))
            assert not fleet.topology.problems(document, master.topology_name)
            self._topologies[where] = fleet.topology.select(document, master.topology_name)
        return self._topologies[where]

    def _hear(self, event: dict[str, Any]) -> None:
        self.told.append(event)
        if event["event"] == "begins":
            self.at.append(f"{event['stage']}: {event['step']}")
        elif event["event"] in ("done", "fails") and self.at:
            self.at.pop()

    def _publish(self, _master: Master, version: str) -> dict[str, str]:
        self.fleet.own("releases.publish")
        return {"version": version}

    def _hit(self, address: str, _port: int) -> bool:
        if self.fleet.dead:
            raise Died
        self.clock.advance(0.01)
        return next(node.ready for node in self.fleet.nodes.values() if node.address == address)

    def _sleep(self, seconds: float) -> None:
        if self.fleet.dead:
            raise Died
        self.clock.advance(seconds)

    def _watched(self, name: str, real: Callable[..., None]) -> Callable[..., None]:
        def watched(path: Path, *args: Any) -> None:
            if self.fleet.dead:
                real(path, *args)
                return
            number = len(self.written)
            self.written.append(f"{name} {path.name}")
            fault = self.fleet.fault
            here = fault is not None and fault.write == number
            if here and fault.kind == "fails" and fault.when == "before":
                raise OSError(28, "No space left on device", str(path))
            if here and fault.kind == "dies" and fault.when == "before":
                self.fleet.die()
            real(path, *args)
            if here and fault.kind == "dies" and fault.when == "after":
                self.fleet.die()

        return watched

    def _find_release(self, _master: Master, release: str | None) -> str:
        return release or fleet.releases.current(self.master) or "1.0"

    def _request(self, _opener: None, method: str, address: str, *keys: str) -> list[Any]:
        """Answer a request to the VIP as a balancer and a web server do."""
        if self.fleet.dead:
            raise Died
        self.clock.advance(0.01)
        holder = self.fleet.holder
        if holder is None:
            raise FleetError(f"{method} {address} failed: no route")
        balancer = self.fleet.nodes[holder]
        webs = [name for name in balancer.servers if self.fleet.in_service(balancer, name)]
        if not webs:
            raise FleetError(f"{method} {address} was answered with 503")
        self.fleet.hits += method == "POST"
        found = {"value": self.fleet.hits, "node": self.fleet.random.choice(webs)}
        return [found[key] for key in keys]

    # How it is

    def history(self) -> list[dict[str, Any]]:
        return fleet.journal.history(self.master.state, 1000)

    def base(self) -> str | None:
        found = fleet.revision.base(self.master)
        return found.id if found else None

    def problems(self) -> list[str]:
        """Return what is not as it must be whenever no change runs."""
        found = [*self.fleet.broken]
        found += [f"{error!r} was raised" for error in self.crashes]
        found += self.fleet.is_on("base")
        if fleet.lock.holder(self.master.state):
            found.append("the lock is still there")
        if moving := fleet.revision.moving(self.master):
            found.append(f"{', '.join(moving)} are still on their way")
        if (self.master.state / "candidate").is_symlink():
            found.append("a candidate is still served")
        for node in self.fleet.with_role("lb"):
            for name, server in node.servers.items():
                if not self.fleet.in_service(node, name):
                    found.append(f"{name} is not in rotation in {node.id}: {server}")
        if self.fleet.holder is None:
            found.append("nobody holds the VIP")
        states = [node.mongod for node in self.fleet.with_role("db")]
        if states.count("PRIMARY") != 1 or states.count("SECONDARY") != len(states) - 1:
            found.append(f"the replica set is {states}")
        began = fleet.journal.journals(self.master.state)
        told = [entry["id"] for entry in self.history()]
        if sorted(began) != sorted(told):
            found.append(f"the journals are {began} and the history has {sorted(told)}")
        return found

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


__all__ = ["Died", "Fault", "Simulation"]
