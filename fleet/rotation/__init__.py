"""
Rotating a secret: another one takes its place, no request fails meanwhile, and the old one is
refused afterwards.

While it goes on the old one and the new one are both good. So a rotation that fails or dies leaves
a fleet that serves, and has to be given again, which goes on with it; until then no other change
begins. It never goes back: to go on takes the same nodes, and ends with what nobody else has.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fleet import hooks, preflight, secret_files, unfinished
from fleet import revision as revisions
from fleet.change import Change, Listener
from fleet.command import one_of
from fleet.errors import FleetError, refuse, sentences
from fleet.journal import history
from fleet.master import Master
from fleet.minions import Minions
from fleet.revision import BASE, Revision
from fleet.rotation.course import STAGE, Kind, Rotation, nodes_of
from fleet.rotation.gluster import Authority, Certificates
from fleet.rotation.https import Https
from fleet.rotation.keyfile import Keyfile
from fleet.rotation.operator import Operator
from fleet.rotation.users import User
from fleet.work import Work, limits

KIND = "rotation"
KINDS: dict[str, Kind] = {
    kind.secret: kind
    for kind in (
        Keyfile(),
        User("mongodb_admin", "admin_user"),
        User("mongodb_health", "health_user"),
        User("mongodb_backup", "backup_user", service="db.archive"),
        User("mongodb_app", "app_user", "app_database", web=True),
        Operator(),
        Https(),
        Certificates(),
        Authority(),
    )
}
#: What else there is that must stay secret, and how it becomes another.
OTHERS = {
    "mongodb_backup_key": (
        "you have made it yourself, and old backups want the old one: docs/backup.md, Encryption, "
        "has how another one takes its place"
    ),
    "mongodb_backup_old_keys": (
        "it is what reads old backups: take a key out of it when no backup needs it any more"
    ),
}


def table(master: Master) -> dict[str, dict[str, Any]]:
    """
    Return the secrets that can be rotated.

    Each has ``nodes`` (who has to do with it), ``since`` (ISO 8601, UTC: since when nodes have it),
    ``days`` (its age), ``rotated`` (the ID of the change that made it, as far as the history says,
    or None) and ``unfinished`` (bool: its rotation has not come to its end).

    Raises FleetError before the first rollout.
    """
    base = _base(master)
    begun = unfinished.noted(master, unfinished.ROTATION) or {}
    ended = [
        entry
        for entry in history(master.state)
        if entry.get("kind") == KIND and entry["outcome"] == "succeeded"
    ]
    found = {}
    for name, kind in KINDS.items():
        since = secret_files.made(master, name)
        found[name] = {
            "nodes": nodes_of(kind, base.topology["nodes"]),
            "since": since,
            "days": (datetime.now(UTC) - datetime.fromisoformat(since)).days if since else None,
            "rotated": next((each["id"] for each in ended if each.get("secret") == name), None),
            "unfinished": begun.get("secret") == name,
        }
    return found


def rotate(
    master: Master,
    minions: Minions,
    name: str,
    test: bool = False,
    wait: float = 0,
    said: Mapping[str, Any] | None = None,
    listeners: Sequence[Listener] = (),
) -> dict[str, Any]:
    """
    Have another secret take the place of one, and the old one be refused.

    name
        The secret's name, one of :data:`KINDS`.
    test
        True to say what would be done, and do nothing.
    wait
        Seconds to wait for the lock of another change.
    said
        Settings of ``rollout`` in the pillar for this one.

    Returns ``secret``, ``goes_on`` (bool: an earlier one had not come to its end) and ``did``, a
    sentence; with ``test`` also ``steps``, those not done yet, else ``change``.

    Raises FleetError when it is refused, and StepFailed when it fails: before its first step was
    through everything is as it was, else the command has to be given again.
    """
    if name in OTHERS:
        raise FleetError(
            f"{name} is not rotated by a command: {OTHERS[name]}. By a command are: "
            f"{', '.join(KINDS)}"
        )
    kind = KINDS[one_of(name, KINDS, "secret that can be rotated")]
    _ready(master, name)
    begun = unfinished.noted(master, unfinished.ROTATION)
    told: dict[str, Any] = {"secret": name, "goes_on": begun is not None}
    if test:
        done = begun["done"] if begun else []
        steps = [part.text for part in kind.parts() if part.text not in done]
        return {**told, "steps": steps, "did": "nothing: this is a test"}
    with Change(master, KIND, wait, tuple(listeners), secret=name) as change:
        # Another change may have ended since.
        base = _ready(master, name)
        chosen = {**limits(base), **(said or {})}
        change.hook = hooks.hook(chosen, change)
        work = Work(change, minions, base, BASE, None, chosen)
        rotation = Rotation(work, kind)
        change.note(
            **{"from": base.id, "to": base.id}, release=base.release, nodes=rotation.nodes()
        )
        change.hook("before", change.entry("begun"))
        with work.step(STAGE, "checking what a rotation needs") as step:
            work.ask(rotation.nodes(), "test.ping")
            refuse(preflight.problems(work, rotation.nodes(), step, kind.checks))
        try:
            rotation.run()
        except (FleetError, OSError) as error:
            raise FleetError(*sentences(error), *unfinished.problems(master)) from error
    return {**told, "did": f"{name} {kind.did}", "change": change.id}


def _base(master: Master) -> Revision:
    base = revisions.base(master)
    if base is None:
        raise FleetError("the fleet is on no revision yet, and nobody has a secret: roll out first")
    return base


def _ready(master: Master, name: str) -> Revision:
    """Return the revision that the fleet is on; refuse where no rotation may begin, or go on."""
    base = _base(master)
    if begun := unfinished.noted(master, unfinished.ROTATION):
        refuse(unfinished.problems(master) if begun["secret"] != name else [])
    refuse(unfinished.problems(master, but=unfinished.ROTATION))
    if moving := revisions.moving(master):
        raise FleetError(
            f"{', '.join(moving)}: between two revisions since the change "
            f"{', '.join(sorted(set(moving.values())))} was not finished: run it again, or "
            "`salt-run rollout.rollback`"
        )
    if "secrets.own." not in (base.folder / "pillar/top.sls").read_text(encoding="utf-8"):
        raise FleetError(
            f"the revision that the fleet is on, {base.id}, knows of no rotation: roll out what is "
            "in the checkout first"
        )
    return base
