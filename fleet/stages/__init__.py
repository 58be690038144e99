"""
The stages of a rollout, in their order.

Each stage is a module with ``run(work)``, the whole of it on the way to a revision, and
``back(work, nodes)``, which puts nodes back; both go by the same steps, mostly its ``replace``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fleet.stages import db, lb, leaving, prepare, storage, web
from fleet.work import Work


@dataclass(frozen=True)
class Stage:
    """
    A stage by its name.

    ``run`` does all that the plan has for it; ``back`` puts nodes that were touched back to the
    revision before, the last one first, and returns a sentence for each that it could not.
    """

    name: str
    run: Callable[[Work], None]
    back: Callable[[Work, Sequence[str]], list[str]]


STAGES = (
    Stage("prepare", prepare.run, prepare.back),
    Stage("storage", storage.run, storage.back),
    Stage("db", db.run, db.back),
    Stage("web", web.run, web.back),
    Stage("lb", lb.run, lb.back),
    # What is done to nodes that leave is noted, and put back, by the stages of their roles.
    Stage("leaving", leaving.run, lambda _work, _nodes: []),
)
