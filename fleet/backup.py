"""
Backups of the replica set: made on a node of the set, noted on the master, kept by the pillar.

A backup is made from a secondary and needs no lock of the fleet: a change that restarts that member
makes it fail, and the next one is made then. What it is and how it is made is in
``_modules/mongodb_backup.py``.
"""

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from salt.exceptions import SaltException

from fleet import backups, second, unfinished
from fleet import revision as revisions
from fleet.errors import FleetError, refuse, sentences
from fleet.master import Master
from fleet.minions import Minions, ask
from fleet.revision import Revision

#: Seconds until a node that makes, reads or restores a backup is asked whether it is still at it.
LONG = 60.0


def run(
    master: Master, minions: Minions, name: str | None = None, kind: str = backups.MANUAL
) -> dict[str, Any]:
    """
    Make a backup, note it, remove what is not kept any more, and copy it to the second place.

    name
        What to call it. Default: the time, in UTC.
    kind
        What it is noted as; only those of the schedule are removed by themselves.

    Returns what is noted of it (:func:`fleet.backups.noted`), ``member`` (the node that made it),
    ``removed`` (names) and ``problems`` (sentences: what failed after it was made).

    Raises FleetError when there is none afterwards.
    """
    base = revisions.require_base(master)
    chosen = backups.settings(base.settings)
    if kind != backups.BEFORE_RESTORE and unfinished.noted(master, unfinished.RESTORE):
        refuse(unfinished.problems(master))
    name = _named(master, name)
    node, alone = member(minions, base)
    folder = chosen["folder"]
    ask(minions, [node], "file.mkdir", [folder], {"mode": "0700"})
    made = ask(
        minions, [node], "mongodb_backup.dump", [f"{folder}/{name}"], {"primary": alone}, LONG
    )[node]
    entry = backups.add(master, kind, name, made)
    removed, problems = _keep(master, minions, chosen, node)
    if chosen["second"]:
        try:
            second.copy(master, chosen, entry)
        except (SaltException, OSError) as error:
            problems += sentences(error)
    return {**backups.find(master, name), "member": node, "removed": removed, "problems": problems}


def _named(master: Master, name: str | None) -> str:
    """Return the name of a new backup: the one given, or the time."""
    taken = {each["name"] for each in backups.noted(master)}
    if name is not None:
        if backups.check_name(name) in taken:
            raise FleetError(f"there is a backup {name!r} already: choose another name")
        return name
    time = f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}"
    # Small ones can be made within a second.
    later = (f"{time}-{number}" for number in itertools.count(2))
    return next(each for each in itertools.chain([time], later) if each not in taken)


def member(minions: Minions, base: Revision) -> tuple[str, bool]:
    """
    Return the node that backups are made on, and whether it may be the primary.

    It is a secondary where the volume is mounted; the primary only where the set has one member.

    Raises FleetError naming each node and what it lacks.
    """
    members = base.with_role("db")
    mount = base.settings["gluster"]["mount"]
    functions = ["mongodb.status", "gluster.mount_status"]
    found = minions.everyone(members, functions, [[], [mount]], None, 15)
    problems = found.problems()
    wanted = "PRIMARY" if len(members) == 1 else "SECONDARY"
    for node in reversed(list(found.answers)):
        told = found.answers[node]
        state, mounted = told["mongodb.status"], told["gluster.mount_status"]
        if not isinstance(state, Mapping) or not isinstance(mounted, Mapping):
            problems.append(f"{node}: {state if isinstance(state, str) else mounted}")
        elif state["state"] != wanted:
            problems.append(f"{node}: its mongod is {state['state'] or 'no member'}")
        elif not mounted["alive"]:
            problems.append(f"{node}: the volume is not mounted on {mount}")
        else:
            return node, wanted == "PRIMARY"
    raise FleetError(
        f"no node can be used: a {wanted.lower()} with the volume mounted is wanted", *problems
    )


def holder(minions: Minions, base: Revision) -> str:
    """
    Return a node of the set where the volume is mounted, to read a backup or to restore it.

    Raises FleetError when there is none.
    """
    mount = base.settings["gluster"]["mount"]
    found = minions.everyone(base.with_role("db"), "gluster.mount_status", [mount], None, 15)
    for node, told in found.answers.items():
        if isinstance(told, Mapping) and told["alive"]:
            return node
    raise FleetError(f"on no node of the replica set is the volume mounted on {mount}")


def _keep(
    master: Master, minions: Minions, chosen: Mapping[str, Any], node: str
) -> tuple[list[str], list[str]]:
    """Remove what is not kept any more; return that, and what could not be removed and why."""
    gone = backups.expired(backups.noted(master), chosen["keep"])
    removed, problems = [], []
    for name in gone:
        try:
            remove(master, minions, name, name, node)
            removed.append(name)
        except SaltException as error:
            problems += sentences(error)
    return removed, problems


def remove(
    master: Master, minions: Minions, name: str, confirm: str | None, node: str | None = None
) -> dict[str, Any]:
    """
    Remove a backup from the volume, and from the second place.

    confirm
        Its name once more.
    node
        On which node; one of the set that has the volume mounted unless given.

    Raises FleetError when it is not noted, is not confirmed, or cannot be removed.
    """
    entry = backups.find(master, name)
    if confirm != name:
        raise FleetError(
            f"this removes the backup {name} of {entry['to']['wall']} with {entry['documents']} "
            f"documents, also from the second place: say confirm={name}"
        )
    base = revisions.require_base(master)
    chosen = backups.settings(base.settings)
    node = node or holder(minions, base)
    path = f"{chosen['folder']}/{name}"
    found = minions.everyone([node], "mongodb_backup.remove", [path], {"confirm": name}, LONG)
    # One that is gone already is what was wanted.
    refuse(each for each in found.problems() if "is no backup" not in each)
    if chosen["second"] and entry["second"]:
        second.remove(master, chosen, name)
    backups.forget(master, [name])
    return {"removed": name}


def verify(master: Master, minions: Minions, name: str | None = None) -> dict[str, Any]:
    """
    Have a node read all of a backup and compare it with what was noted when it was made.

    name
        Which; the newest unless given.

    Returns ``name``, ``node``, ``files`` and ``bytes``.

    Raises FleetError naming what is missing, damaged, or another backup than the one noted.
    """
    entry = backups.find(master, name)
    base = revisions.require_base(master)
    node = holder(minions, base)
    path = f"{backups.settings(base.settings)['folder']}/{entry['name']}"
    found = ask(
        minions, [node], "mongodb_backup.verify", [path], {"sha256": entry["sha256"]}, LONG
    )[node]
    return {"name": entry["name"], "node": node, **{key: found[key] for key in ("files", "bytes")}}


def listing(master: Master, minions: Minions) -> dict[str, Any]:
    """
    Return the backups that are noted, and what else lies on the volume.

    Returns ``backups`` (:func:`fleet.backups.noted`), ``missing`` (names of those that are not on
    the volume), ``unknown`` (``name`` and ``to`` of those that are there and not noted) and
    ``problem`` (a sentence when the volume could not be looked at, else None).
    """
    there = backups.noted(master)
    told: dict[str, Any] = {"backups": there, "missing": [], "unknown": [], "problem": None}
    try:
        base = revisions.require_base(master)
        folder = backups.settings(base.settings)["folder"]
        node = holder(minions, base)
        (seen,) = ask(minions, [node], "mongodb_backup.list", [folder], None, LONG).values()
    except SaltException as error:
        return {**told, "problem": "; ".join(sentences(error))}
    names = {each["name"] for each in there}
    lying = {each["name"]: each for each in seen}
    told["missing"] = [each["name"] for each in there if each["name"] not in lying]
    told["unknown"] = [
        {"name": name, "to": each["to"], "problem": each["problem"]}
        for name, each in lying.items()
        if name not in names
    ]
    return told


def adopt(master: Master, minions: Minions, name: str) -> dict[str, Any]:
    """
    Note a backup that lies on the volume and that this master has not made.

    It is read as a whole first. Whether it is what it says it is, nobody but the operator can know.

    Raises FleetError when there is none of that name, when it is noted already, or damaged.
    """
    backups.check_name(name)
    if any(each["name"] == name for each in backups.noted(master)):
        raise FleetError(f"{name} is noted already: `salt-run backup.verify {name}` reads it")
    base = revisions.require_base(master)
    path = f"{backups.settings(base.settings)['folder']}/{name}"
    node = holder(minions, base)
    info = ask(minions, [node], "mongodb_backup.info", [path], None, LONG)[node]
    ask(minions, [node], "mongodb_backup.verify", [path], {"sha256": info["sha256"]}, LONG)
    return backups.add(master, backups.ADOPTED, name, info)
