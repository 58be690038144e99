"""
How a rotation goes: by parts, each of which may be done again, and what is known of those done.

What nodes are to have while it goes on is written node by node, beside the secret itself
(:mod:`fleet.secret_files`): so whoever applies states to a node at any moment gives it what the
rotation gave it last.
"""

import functools
import importlib.machinery
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from fleet import secret_files, unfinished
from fleet.lock import now
from fleet.master import Master
from fleet.preflight import Check
from fleet.work import Work

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: The stage of steps that are no step of a stage of a rollout.
STAGE = "secret"
#: What has become of a secret at the end, after its name.
REFUSED = "is another one, and the old one is refused"


@dataclass(frozen=True)
class Part:
    """A part of a rotation: ``text`` says what ``do`` does, as often as it is called."""

    text: str
    do: Callable[["Rotation"], None]


class Kind(Protocol):
    """A kind of secret: who has it, and how it becomes another."""

    @property
    def secret(self) -> str:
        """Its name, which is that of its file; see :mod:`fleet.secret_files`."""

    @property
    def did(self) -> str:
        """What has become of it at the end, after its name."""

    @property
    def roles(self) -> Sequence[str]:
        """The roles of the nodes that have to answer, since they have it or are asked for it."""

    @property
    def checks(self) -> Sequence[Check]:
        """What has to be so before anything is touched."""

    def begin(self, rotation: "Rotation") -> dict[str, Any]:
        """
        Make the secret to come, which may be made again.

        Returns what whoever goes on has to know; never a secret.
        """

    def parts(self) -> Sequence[Part]:
        """Return all parts, in their order."""


class Rotation:
    """
    A rotation that runs, or goes on.

    work
        How nodes are reached and what they are to have otherwise: the fleet's own revision.
    kind
        What is rotated.
    """

    def __init__(self, work: Work, kind: Kind) -> None:
        self.work = work
        self.kind = kind
        self.facts: dict[str, Any] = unfinished.noted(self.master, unfinished.ROTATION) or {}

    @property
    def master(self) -> Master:
        return self.work.change.master

    def run(self) -> None:
        """Do all that is not done yet, and forget what it took."""
        if "known" not in self.facts:
            with self.work.step(STAGE, "making the new one"):
                # First that it has begun, so that nothing is left which nobody knows of.
                change = self.work.change.id
                self._note(secret=self.kind.secret, since=now(), change=change, done=[])
                self._note(known=self.kind.begin(self))
        for part in self.kind.parts():
            self.once(part.text, functools.partial(part.do, self))
        with self.work.step(STAGE, "forgetting the old one"):
            secret_files.clear(self.master, self.kind.secret)
            self.refresh(self.nodes())
            unfinished.forget(self.master, unfinished.ROTATION)

    def nodes(self) -> list[str]:
        """Return the nodes that have to do with it, in the topology's order."""
        return nodes_of(self.kind, self.work.nodes)

    def once(self, what: str, action: Callable[[], None]) -> None:
        """Do something, unless it was done in this rotation, and note that it was."""
        if what not in self.facts["done"]:
            action()
            self._note(done=[*self.facts["done"], what])

    def turn(
        self, word: str, node: str, pillar: Mapping[str, Any], replace: Callable[[], None]
    ) -> None:
        """
        Give a node something of its own, and have what runs there go by it.

        word
            What of this node is done then; it is not done again.
        replace
            Brings it in when nobody needs the node. Until then, states that somebody applies to it
            refuse, as they do on nodes that are moved.
        """

        def act() -> None:
            secret_files.give(self.master, node, {**pillar, "rotating": self.kind.secret})
            replace()
            secret_files.give(self.master, node, pillar)

        self.once(f"{word} {node}", act)

    def promote(self, witnesses: Sequence[str] = ()) -> None:
        """
        Have the secret to come be the one that nodes have, and keep the former one.

        witnesses
            Nodes that get the former one as well, at ``secrets:former``, to see that it is refused.
        """
        name = self.kind.secret
        if not secret_files.path(self.master, name, "former").exists():
            secret_files.copy(self.master, name, "", "former")
        secret_files.copy(self.master, name, "coming", "")
        former = {"former": {name: secret_files.value(self.master, name, "former")}}
        for node in witnesses:
            secret_files.give(self.master, node, {"secrets": former})
        self.refresh(witnesses)

    def refresh(self, nodes: Sequence[str]) -> None:
        """Have the modules on nodes go by what the pillar says now."""
        self.work.ask(nodes, "saltutil.refresh_pillar", wait=True, timeout=30)

    def _note(self, **facts: Any) -> None:
        self.facts = {**self.facts, **facts}
        unfinished.note(self.master, unfinished.ROTATION, **self.facts)


def nodes_of(kind: Kind, nodes: Mapping[str, Any]) -> list[str]:
    """Return which nodes have to do with a kind of secret."""
    return [node for node, entry in nodes.items() if set(entry["roles"]) & set(kind.roles)]


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a program as a module, and leaves no cache beside it."""

    def set_data(self, path: str, data: "ReadableBuffer", *, _mode: int = 0o666) -> None:
        """Keep nothing."""


@functools.cache
def maker() -> ModuleType:
    """Return ``bootstrap/make-secrets`` as a module: it makes every secret, also the first."""
    program = Path(__file__).resolve().parents[2] / "bootstrap/make-secrets"
    loader = _Loader("make_secrets", str(program))
    spec = importlib.util.spec_from_loader("make_secrets", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def fresh(secret: str) -> str:
    """Return a new value of a secret."""
    made: str = maker().KINDS[secret]()
    return made


def make_coming(master: Master, secret: str) -> None:
    """
    Make the value to come of a secret.

    Raises FleetError where there is none yet.
    """
    secret_files.value(master, secret)
    secret_files.write(master, secret, {"secrets": {secret: fresh(secret)}}, "coming")
