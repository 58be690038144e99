"""
A restore of the replica set: the fleet's counters become what they were.

It is a change as others are, whose revision is the one that the fleet is on. From its first step on
that alters anything the application is shut out of the database, by the server itself: its role has
no rights until the end. So nothing is counted that would be lost, web servers are not ready, and
clients are told so by the balancers. What is in the set is backed up before it is removed. Where
the set is gone, with the data of all its members, it is made anew first.

:mod:`fleet.unfinished` knows that it has begun; given again, the command does all of it once more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleet import backup, backups, hooks, segments, unfinished
from fleet import revision as revisions
from fleet.change import Change, Listener
from fleet.errors import FleetError, refuse
from fleet.lock import now
from fleet.master import Master
from fleet.minions import Minions, ask
from fleet.revision import CANDIDATE, Revision
from fleet.rotation.users import SECOND
from fleet.stages import db
from fleet.verify import verify
from fleet.waiting import until
from fleet.work import Work, limits

STAGE = "restore"
#: What comes first where the set is gone.
ANEW = "stop the application, and make the replica set anew"
STEPS = (
    "read the backup, and compare it with what was noted of it",
    "find what the archive of the oplog has from there to the target",
    "shut the application out of the database",
    "back up what is in the set",
    "restore, through the primary",
    "let the application in again",
    "wait until every web server is ready, and count hits through the VIP",
    "back up what is in the set now",
)
#: As a target: all that the archive has since the backup.
LATEST = "latest"
#: Seconds in which the archive has what happened just now.
_ARCHIVED = 30.0


@dataclass
class Plan:
    """
    What is restored over what.

    entry
        What is noted of the backup.
    target
        The operation time or time to restore, or None for the backup's own.
    when
        The same as a time.
    oplog
        The archive's files from the backup to the target.
    sums
        The SHA-256, by path, of those that this master has noted.
    node
        Where it is done.
    there
        What is in the set: about how many documents, by database and collection.
    half
        Whether an earlier restore has left the set half restored.
    gone
        Whether the set is gone: every member answers, and none belongs to one.
    """

    entry: dict[str, Any]
    target: str | None
    when: str
    oplog: list[str]
    sums: dict[str, str]
    node: str
    there: dict[str, dict[str, int]]
    half: bool
    gone: bool

    def steps(self) -> list[str]:
        """Return what would be done."""
        return [*((ANEW,) if self.gone else ()), *STEPS]

    def words(self) -> list[str]:
        """Return what will be gone, a sentence for each database."""
        return [
            f"{database} with {len(found)} collections and about {sum(found.values())} documents"
            for database, found in self.there.items()
        ]


def plan(
    master: Master, minions: Minions, name: str | None = None, target: str | None = None
) -> Plan:
    """
    Find out what would be restored over what; touches nothing.

    name
        Of the backup. Default: with a time the newest before it, else the newest.
    target
        An operation time (``SECONDS:ORDINAL``), a time with its zone, or ``latest``: all that the
        archive has since the backup.

    Raises FleetError when there is no such backup, when the archive does not reach the target, and
    when the set has no primary.
    """
    base = revisions.require_base(master)
    chosen = backups.settings(base.settings)
    node = backup.holder(minions, base)
    gone = _is_gone(minions, base)
    state = {} if gone else ask(minions, [node], "mongodb_backup.state", [])[node]
    entry = _chosen(master, name, target)
    oplog: list[str] = []
    noted = segments.known(master, entry)
    when = target or entry["to"]["wall"]
    if target is not None:
        found = _chain(minions, node, chosen, entry, target, list(noted))
        oplog = found["paths"]
        if target == LATEST:
            reached = found["recoverable_until"]
            # Without a file the backup itself is the latest there is.
            target = reached["time"] if oplog else None
            when = reached["wall"] or entry["to"]["wall"]
    sums = segments.by_path(oplog, noted)
    there = {} if gone else ask(minions, [node], "mongodb_backup.contents", [])[node]
    return Plan(entry, target, when, oplog, sums, node, there, bool(state.get("restoring")), gone)


def _is_gone(minions: Minions, base: Revision) -> bool:
    seen = minions.everyone(base.with_role("db"), "mongodb.status")
    # One that does not run may have all that there was.
    return not seen.failed and all(
        each["reachable"] and not each["initialized"] for each in seen.answers.values()
    )


def _chosen(master: Master, name: str | None, target: str | None) -> dict[str, Any]:
    if name is not None or target in (None, LATEST):
        return backups.find(master, name)
    found = [each for each in backups.noted(master) if backups.is_before(each, target)]
    if not found:
        first = next(iter(backups.noted(master)), None)
        since = f"the oldest is of {first['to']['wall']}" if first else "there is none"
        raise FleetError(f"there is no backup from before {target}: {since}")
    return found[-1]


def _chain(
    minions: Minions,
    node: str,
    chosen: Mapping[str, Any],
    entry: Mapping[str, Any],
    target: str,
    known: Sequence[str],
) -> dict[str, Any]:
    """Return what leads from a backup to the target, as ``mongodb_archive.chain`` does."""
    if not chosen["archive"]["enabled"]:
        raise FleetError(
            f"{target} cannot be restored: backup:archive:enabled in pillar/backup.sls is false, "
            f"and without the oplog only the time of a backup can be, such as {entry['to']['wall']}"
        )
    arguments = [chosen["archive"]["folder"], entry["to"]["time"]]
    options: dict[str, Any] = {"timeline": entry["timeline"], "known": known}
    if target != LATEST:
        options["until"] = target
    found: dict[str, Any] = {}

    def look() -> tuple[bool, str]:
        seen = minions.everyone([node], "mongodb_archive.chain", arguments, options, backup.LONG)
        found.update(seen.answers)
        return not seen.failed, "; ".join(seen.problems())

    # What has happened just now is written within seconds.
    patience = _ARCHIVED if target != LATEST and backups.is_recent(target) else 0
    until(look, patience, f"the archive has {target}")
    chain: dict[str, Any] = found[node]
    return chain


def restore(
    master: Master,
    minions: Minions,
    name: str | None = None,
    target: str | None = None,
    confirm: str | None = None,
    dump: bool = True,
    test: bool = False,
    listeners: Sequence[Listener] = (),
    wait: float = 0,
) -> dict[str, Any]:
    """
    Restore a backup into the fleet's replica set.

    name, target
        As for :func:`plan`.
    confirm
        The name of the replica set.
    dump
        Whether what is in the set is backed up first. It never is while the set is half restored:
        the restore that left it so has done it.
    test
        True to say what would be done, and do nothing.
    wait
        Seconds to wait for the lock of another change.

    Returns ``backup``, ``target`` (a time, or None), ``gone`` (sentences) and ``did``; with
    ``test`` also ``steps``, else ``change`` (ID), ``kept`` (the name of the backup of what was
    there, or None) and what ``mongodb_backup.restore`` says: ``to``, ``documents``,
    ``operations``, ``checked``, ``unchecked``, ``seconds``.

    Raises FleetError when it is refused, and StepFailed when it fails: everything is as it was then
    if nothing was removed yet, else the command has to be given again.
    """
    made = plan(master, minions, name, target)
    set_ = revisions.require_base(master).settings["mongodb"]["replica_set"]
    gone = made.words()
    target = made.target
    told: dict[str, Any] = {"backup": made.entry["name"], "target": target, "gone": gone}
    if test:
        return {**told, "steps": made.steps(), "did": "nothing: this is a test"}
    if confirm != set_:
        raise FleetError(
            f"this removes from the replica set {set_}: {'; '.join(gone) or 'nothing'}; and "
            f"restores what it had at {made.when} from the backup "
            f"{made.entry['name']}. To do it say confirm={set_}"
        )
    with Change(master, "restore", wait, tuple(listeners)) as change:
        refuse(unfinished.problems(master, but=unfinished.RESTORE))
        if waits := set(revisions.moving(master).values()) - _ours(master):
            raise FleetError(
                f"nodes are between two revisions since the change {', '.join(waits)}: finish that "
                "first, or `salt-run rollout.rollback`"
            )
        base = revisions.require_base(master)
        chosen = limits(base)
        change.hook = hooks.hook(chosen, change)
        change.note(
            **{"from": base.id, "to": base.id},
            release=base.release,
            backup=made.entry["name"],
            target=target,
            nodes=base.with_role("db"),
        )
        change.hook("before", change.entry("begun"))
        work = Work(change, minions, base, CANDIDATE, None, chosen)
        done = _restore(work, made, set_, dump)
    return {**told, "did": f"restored {set_}", "change": change.id, **done}


def _ours(master: Master) -> set[str]:
    begun = unfinished.noted(master, unfinished.RESTORE)
    return {begun["change"]} if begun else set()


def _restore(work: Work, made: Plan, set_: str, dump: bool) -> dict[str, Any]:
    change, master, name = work.change, work.change.master, made.entry["name"]
    folder = backups.settings(work.settings)["folder"]
    with change.step(STAGE, f"reading the backup {name}", made.node) as step:
        step.did = backup.verify(master, work.minions, name)
    first = unfinished.noted(master, unfinished.RESTORE) is None
    kept = None
    # Before the application is shut out, until it is let in again.
    unfinished.note(master, unfinished.RESTORE, backup=name, change=change.id, since=now())
    try:
        _hold(work)
        if made.gone:
            _begin(work)
        _shut_out(work, made.node)
        if dump and made.there and not made.half:
            with change.step(STAGE, "backing up what is in the set") as step:
                kept = backup.run(master, work.minions, None, backups.BEFORE_RESTORE)["name"]
                step.did = kept
        found = _replace(work, made, f"{folder}/{name}", set_)
    except FleetError:
        if first and not _is_half(work, made.node):
            # Nothing was removed: all is as it was once the application is let in again.
            _let_in(work, made.node)
            change.undone = True
        raise
    _let_in(work, made.node)
    _serve(work)
    with change.step(STAGE, "backing up what is in the set now") as step:
        # What was archived before leads to what is no more.
        step.did = backup.run(master, work.minions, None, backups.SCHEDULED)["name"]
    return {"kept": kept, **{key: found[key] for key in _TOLD}}


#: What is told of ``mongodb_backup.restore``.
_TOLD = ("to", "documents", "operations", "checked", "unchecked", "seconds")


def _replace(work: Work, made: Plan, folder: str, set_: str) -> dict[str, Any]:
    """Restore, and return what ``mongodb_backup.restore`` says."""
    options = {"drop": True, "confirm": set_, "sha256": made.entry["sha256"]}
    if made.target is not None:
        options.update(target=made.target, oplog=made.oplog, oplog_sha256=made.sums)
    with work.step(STAGE, f"restoring {made.entry['name']}", made.node) as step:
        function = "mongodb_backup.restore"
        (found,) = work.ask([made.node], function, folder, timeout=backup.LONG, **options).values()
        step.did = f"{found['documents']} documents, {found['operations']} operations"
    done: dict[str, Any] = found
    return done


def _is_half(work: Work, node: str) -> bool:
    """Return whether the set is half restored, which it is as long as nobody can say."""
    told = work.everyone([node], "mongodb_backup.state").answers.get(node)
    return not isinstance(told, Mapping) or told["restoring"] is not None


def _hold(work: Work) -> None:
    """Keep db nodes from highstates, one of which would let the application in again."""
    members = work.with_role("db")
    with work.step(STAGE, "keeping db nodes from converging by themselves"):
        revisions.offer(work.target)
        revisions.move(work.change.master, members, work.change.id)
        work.ask(members, "saltutil.refresh_pillar", wait=True, timeout=30)


def _begin(work: Work) -> None:
    """Make the set anew; nothing is counted in it before it has what is restored."""
    with work.step(STAGE, "stopping the application"):
        work.ask(work.with_role("web"), "service.stop", "counterapp", timeout=60)
    db.begin(work, work.with_role("db"))


def _shut_out(work: Work, node: str) -> None:
    """
    Take all rights from the application's role.

    The server refuses whatever comes from then on, so that what was acknowledged is in the set.
    """
    mongodb = work.settings["mongodb"]
    with work.step(STAGE, "shutting the application out of the database", node):
        role = mongodb["app_user"].removesuffix(SECOND)
        work.ask([node], "mongodb.role_update", role, [], database=mongodb["app_database"])


def _let_in(work: Work, node: str) -> None:
    """Give the application's role its rights again, by the state that declares them; start it."""
    members = work.with_role("db")
    work.apply(STAGE, [node], ["db.replication"])
    with work.step(STAGE, "starting the application where it was stopped"):
        # It was where the set was gone, by this or by an earlier turn.
        work.ask(work.with_role("web"), "service.start", "counterapp", timeout=60)
    with work.step(STAGE, "letting nodes converge by themselves again"):
        revisions.settle(work.target)
        work.ask(members, "saltutil.refresh_pillar", wait=True, timeout=30)
        unfinished.forget(work.change.master, unfinished.RESTORE)


def _serve(work: Work) -> None:
    """Wait until every web server is ready, and count hits through the VIP."""
    servers, web = work.with_role("web"), work.settings["web"]
    with work.step(STAGE, "waiting until the web servers are ready", ", ".join(servers)):
        work.wait(servers, "counterapp.wait_ready", timeout=web["ready_timeout"])
    with work.step(STAGE, "counting hits through the VIP") as step:
        step.did = verify(work.change.master, work.minions, work.target)
