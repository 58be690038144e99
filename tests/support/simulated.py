"""
A fleet that is only simulated: nodes with what runs on them, and a clock that nobody waits for.

It answers every function that ``fleet`` asks minions for, as the modules in ``_modules`` do, and
has each of its own time: a job runs on while the master is dead. After each event the safety rules
of the design are checked; what breaks one is noted in ``Fleet.broken``.
"""

import inspect
import json
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from fleet import revision
from fleet.errors import FleetError
from fleet.master import Master
from fleet.minions import Answers
from fleet.utils import synced
from tests.support.simulated_nodes import PARTS, Clock, Failed, Node, Unknown
from tests.support.simulated_salt import Functions

SILENT = "the minion does not answer"
#: Seconds for which nobody may hold the VIP: the time that it needs to move.
VIP_MOVES = 1.5


class Died(BaseException):
    """The master was killed: no handler of the package may see it, as none sees a kill."""


@dataclass
class Fault:
    """
    What goes wrong at a question.

    kind
        ``fails`` (on one of the nodes that are asked), ``silent`` (its minion, from then on) or
        ``dies`` (the master).
    call
        Number of the question.
    when
        ``before`` anything is done, ``after`` it, or, when the master dies, ``during`` it.
    pick
        Which of the nodes that are asked.
    write
        Instead of a question, the number of a write to the master's disk.
    """

    kind: str
    call: int | None = None
    when: str = "before"
    pick: int = 0
    write: int | None = None


class Fleet(Functions):
    """
    The minions of a master, by its topology, all on the revision that is its ``base``.

    folder
        The master's state folder, by whose links ``base`` and ``candidate`` are found.
    """

    def __init__(self, master: Master, topology: dict[str, Any], clock: Clock, seed: int) -> None:
        self.master = master
        self.vip = topology["vip"]
        self.clock = clock
        self.random = random.Random(seed)
        self.nodes = {
            name: Node(name, entry["address"], list(entry["roles"]))
            for name, entry in topology["nodes"].items()
        }
        self.min_in_service = 1
        self.holder: str | None = None
        self.unheld_since: float | None = None
        self.fault: Fault | None = None
        self.dead = False
        self.on_death: Callable[[], None] = lambda: None
        #: What the master is at, as stage and step.
        self.at: Callable[[], str] = lambda: ""
        #: Every question: functions and nodes; and what the master was at when it asked.
        self.steps: list[str] = []
        self.asked: list[tuple[str, list[str]]] = []
        #: What changed anything that serves, in words.
        self.touched: list[str] = []
        self.broken: list[str] = []
        self.hits = 0
        self._known: dict[tuple[Path, str], dict[str, str]] = {}
        self._leases: dict[tuple[str, str], list[Callable[[], None]]] = {}
        for node in self.with_role("lb"):
            node.servers = {
                web.id: {"admin": "ready", "weight": 100, "sessions": 3, "up": True, "since": 0.0}
                for web in self.with_role("web")
            }
        members = self.with_role("db")
        members[self.random.randrange(len(members))].mongod = "PRIMARY"
        self.holder = self.random.choice(self.with_role("lb")).id
        clock.after = self.check

    def settle(self, environment: str = "base") -> None:
        """Have every node be on a revision, as after a rollout long ago."""
        for node in self.nodes.values():
            node.has = dict(self.wanted(node, environment))
            node.modules = self.modules(environment)

    def wanted(self, node: Node, environment: str) -> dict[str, str]:
        """Return what a revision gives a node, by part."""
        link = self.master.state / environment
        if not link.is_symlink():
            raise Failed(f"No matching sls found in env '{environment}'")
        return self._wanted((self.master.state / link.readlink()), node)

    def modules(self, environment: str) -> str:
        """Return the digest of the modules that a revision has."""
        link = self.master.state / environment
        if not link.is_symlink():
            return ""
        return modules(self.master.state / link.readlink())

    def _wanted(self, folder: Path, node: Node) -> dict[str, str]:
        key = (folder, node.id)
        if key not in self._known:
            contents = content(folder)
            self._known[key] = {part: contents[part] for part in node.parts()}
        return self._known[key]

    def is_on(self, environment: str) -> list[str]:
        """Return what of which node is not as a revision says."""
        return [
            f"{node.id} {part}: {node.has.get(part)!r} instead of {text!r}"
            for node in self.nodes.values()
            for part, text in self.wanted(node, environment).items()
            if node.has.get(part) != text
        ] + [
            f"{node.id}: it has loaded the modules of another revision"
            for node in self.nodes.values()
            if node.modules != self.modules(environment)
        ]

    # Questions

    def everyone(
        self,
        nodes: Any,
        function: Any,
        arg: Any = (),
        kwarg: Any = None,
        timeout: float = 15,
        patience: float = 10,
    ) -> Answers:
        if self.dead:
            raise Died
        names = [function] if isinstance(function, str) else list(function)
        for name in names:
            if not hasattr(self, "do_" + name.replace(".", "_")):
                raise Unknown(f"{name} {arg} {kwarg}")
        nodes = list(nodes)
        if not nodes:
            return Answers()
        number = len(self.asked)
        self.asked.append((",".join(names), nodes))
        self.steps.append(self.at())
        fault = self.fault if self.fault and self.fault.call == number else None
        hit = nodes[fault.pick % len(nodes)] if fault and nodes else None
        if fault and fault.kind == "dies" and fault.when == "before":
            self.die()
        if fault and fault.kind == "silent" and fault.when == "before" and hit:
            self.nodes[hit].answers = False
        jobs = {}
        for node in nodes:
            if not self.nodes[node].answers:
                continue
            if fault and fault.kind == "fails" and fault.when == "before" and node == hit:
                jobs[node] = Job(self.clock, _refuse())
                continue
            one = isinstance(function, str)
            given = [arg] if one else list(arg)
            jobs[node] = Job(
                self.clock, self._run(self.nodes[node], names, given, kwarg or {}, one)
            )
        if fault and fault.kind == "dies" and fault.when == "during":
            self.clock.advance(self.random.uniform(0.1, 1.2))
            self.die()
        while any(not job.done for job in jobs.values()):
            self.clock.step()
        self.clock.advance(0.02)
        if fault and fault.when == "after":
            if fault.kind == "dies":
                self.die()
            if fault.kind == "silent" and hit:
                self.nodes[hit].answers = False
            if fault.kind == "fails" and hit in jobs:
                jobs[hit].failed = "it failed at the end"
        found = Answers()
        for node in nodes:
            if not self.nodes[node].answers or node not in jobs:
                found.failed[node] = SILENT
            elif jobs[node].failed is not None:
                found.failed[node] = str(jobs[node].failed)
            else:
                found.answers[node] = jobs[node].answer
        self.check_places()
        return found

    def own(self, name: str) -> None:
        """Take what the master does by itself for a question as well, which can go wrong."""
        if self.dead:
            raise Died
        fault = self.fault if self.fault and self.fault.call == len(self.asked) else None
        self.asked.append((name, ["master"]))
        self.steps.append(self.at())
        self.clock.advance(0.1)
        if fault and fault.kind == "dies":
            self.die()
        if fault and fault.kind == "fails":
            raise FleetError("it failed")

    def die(self) -> None:
        self.on_death()
        self.dead = True
        raise Died

    def _run(
        self, node: Node, names: list[str], given: list[Any], kwarg: dict[str, Any], one: bool
    ) -> Generator[float, None, Any]:
        answers = {}
        for name, arg in zip(names, given, strict=True):
            try:
                answer = getattr(self, "do_" + name.replace(".", "_"))(node, *arg, **kwarg)
                if inspect.isgenerator(answer):
                    answer = yield from answer
            except Failed as error:
                if one:
                    raise
                # One of several that fails keeps none of the others from being run.
                answer = str(error)
            answers[name] = answer
        return answers[names[0]] if one else answers

    # Safety rules

    def breaks(self, rule: str) -> None:
        self.broken.append(f"{self.clock.now:.1f}: {rule}")

    def check(self) -> None:
        """See that the rules hold, whatever has just happened."""
        members = self.with_role("db")
        away = [node.id for node in members if node.mongod not in ("PRIMARY", "SECONDARY")]
        if len(members) > 2 and len(away) > 1:
            self.breaks(f"{' and '.join(away)} of the replica set are away at once")
        balancers = [node for node in self.with_role("lb") if node.haproxy]
        for balancer in balancers:
            serving = [name for name in balancer.servers if self.in_service(balancer, name)]
            # One that was altered badly serves nobody, as long as it does not have the VIP.
            excused = "sees nobody" in balancer.has.get("lb.haproxy", "")
            if excused and self.holder != balancer.id:
                continue
            if len(serving) < self.min_in_service:
                self.breaks(f"{balancer.id} has only {serving} in rotation")
        if len(self.with_role("lb")) - len(balancers) > 1:
            self.breaks("more than one balancer is out")
        if self.holder is None:
            if self.unheld_since is None:
                self.unheld_since = self.clock.now
            elif self.clock.now - self.unheld_since > VIP_MOVES:
                self.breaks("nobody holds the VIP")
                self.unheld_since = self.clock.now
        else:
            self.unheld_since = None

    def check_places(self) -> None:
        """See that each node that no change moves is on the revision of the fleet."""
        if not (self.master.state / "base").is_symlink():
            return
        moving = revision.moving(self.master)
        for node in self.nodes.values():
            if node.id in moving or node.busy:
                continue
            for part, text in self.wanted(node, "base").items():
                if node.has.get(part) != text:
                    self.breaks(f"{node.id} is not moved and {part} is {node.has.get(part)!r}")


def _refuse() -> Generator[float, None, Any]:
    yield 0.05
    raise Failed("it failed")


class Job:
    """A function that runs on a node, whoever waits for it."""

    def __init__(self, clock: Clock, course: Generator[float, None, Any]) -> None:
        self._clock = clock
        self._course = course
        self.done = False
        self.answer: Any = None
        self.failed: str | None = None
        clock.at(0.03, self._go)

    def _go(self) -> None:
        try:
            pause = next(self._course)
        except StopIteration as end:
            self.done, self.answer = True, end.value
        except Failed as error:
            self.done, self.failed = True, str(error)
        else:
            self._clock.at(pause, self._go)


@cache
def modules(folder: Path) -> str:
    """Return the digest of the modules that a revision has; it never changes."""
    return synced.of_tree(folder)


@cache
def content(folder: Path) -> dict[str, str]:
    """Return what a revision has of each part; a revision never changes."""
    found = {
        part: (folder / f"salt/{part.replace('.', '/')}.sls").read_text(encoding="utf-8")
        for parts in PARTS.values()
        for part in parts
    }
    release = yaml.safe_load((folder / "pillar/release.sls").read_text(encoding="utf-8"))
    found["web.release"] = f"{json.dumps(release['release'])}\n{found['web.release']}"
    return found
