"""
Backups of the database: make them, prove them, and go back to any second of them.

    salt-run backup.run
    salt-run backup.list
    salt-run backup.restore target=2026-11-28T03:12:00Z test=True

They lie on the shared volume and, where the pillar says so, at a second place. How they are made
and what is in them is in docs/backup.md, what to do when something was lost in docs/operating.md.
A command that cannot do what it was asked for ends with exit code 1 and ``failed``: sentences that
name the thing and the remedy.
"""

from typing import Any

from fleet import (
    backup,
    backup_numbers,
    backups,
    command,
    drill,
    fetching,
    restore,
    revision,
    second,
    tending,
)
from fleet.master import Master
from fleet.minions import SaltMinions
from fleet.screen import audience

__context__: dict[str, Any]
__opts__: dict[str, Any]
__func_alias__ = {"list_": "list", "restore_": "restore", "drill_": "drill"}


def _master() -> Master:
    return Master(__opts__)


@command.checked
def run(name: str | None = None) -> dict[str, Any]:
    """
    Make a backup of the replica set, from a secondary, and put it on the volume.

    It is kept until ``backup.remove``; those that the schedule makes are removed by ``backup:keep``
    in pillar/backup.sls. It is copied to the second place at once where there is one.

    name
        What to call it. Default: the time, in UTC.

    Returns a dictionary: ``name``, ``set``, ``to`` (what it restores: ``time``, an operation time,
    and ``wall``), ``bytes``, ``documents``, ``member`` (who made it), ``second`` (when it was
    copied, or None), ``removed`` (names of old ones) and ``problems`` (what failed afterwards; the
    exit code is 1 then).

    CLI Example:

    .. code-block:: bash

        salt-run backup.run
    """
    made = backup.run(_master(), SaltMinions(_master()), name)
    return {**made, **({"retcode": 1} if made["problems"] else {})}


@command.checked
def list_() -> dict[str, Any]:
    """
    Return the backups that this master has noted, the oldest first, and what else is there.

    Returns a dictionary: ``backups``, each with ``name``, ``kind`` (scheduled, manual,
    before-restore, adopted), ``to``, ``ended``, ``bytes``, ``documents``, ``second`` and ``drill``;
    ``missing`` (names that are not on the volume), ``unknown`` (what is on the volume and was not
    made by this master) and ``problem`` (why the volume could not be looked at, or None).

    CLI Example:

    .. code-block:: bash

        salt-run backup.list
    """
    return backup.listing(_master(), SaltMinions(_master()))


@command.checked
def verify(name: str | None = None) -> dict[str, Any]:
    """
    Read all of a backup, and compare it with what was noted when it was made.

    name
        Which; the newest unless given.

    CLI Example:

    .. code-block:: bash

        salt-run backup.verify
    """
    return backup.verify(_master(), SaltMinions(_master()), name)


@command.checked
def drill_(name: str | None = None) -> dict[str, Any]:
    """
    Prove a backup: restore it into a mongod of its own on a node, and compare the counters.

    It goes on to the last moment of the archive. The replica set is not touched. The schedule does
    it with the newest, every ``backup:drill_every`` seconds.

    name
        Which; the newest unless given.

    Returns a dictionary: ``name``, ``node``, ``to`` (what was reached), ``documents``, ``checked``
    and ``unchecked`` (collections) and ``seconds`` for each part.

    CLI Example:

    .. code-block:: bash

        salt-run backup.drill
    """
    return drill.run(_master(), SaltMinions(_master()), name)


@command.checked
def restore_(
    name: str | None = None,
    target: str | int | None = None,
    confirm: str | None = None,
    dump: bool = True,
    test: bool = False,
    wait: float = 0,
) -> dict[str, Any]:
    """
    Restore the replica set as it was at the time of a backup, or at any later second.

    Clients get 503 meanwhile, and nothing is counted. What is in the set is backed up first, as
    ``before-restore``. Given again after it has died or failed, it does everything once more.

    name
        Which backup. Default: the newest, or with a time as target the newest from before it.
    target
        A time with its zone (``2026-11-28T03:12:00Z``), an operation time (``SECONDS:ORDINAL``), or
        ``latest``: all that the archive of the oplog has since the backup. Default: the time of the
        backup.
    confirm
        The name of the replica set. Without it the answer says what would be gone.
    dump
        False not to back up what is in the set, which is gone then.
    test
        True to say what would be done, and do nothing.
    wait
        Seconds to wait for another change to end.

    Returns a dictionary: ``backup``, ``target``, ``gone`` (what was removed), ``did``, with
    ``test`` ``steps``, and else ``change`` (ID), ``kept`` (the backup of what was there), ``to``
    (what was reached), ``documents``, ``operations``, ``checked``, ``unchecked``, ``seconds``.

    CLI Example:

    .. code-block:: bash

        salt-run backup.restore target=2026-11-28T03:12:00Z confirm=rs0
    """
    master = _master()
    if isinstance(target, int):
        # YAML takes `SECONDS:ORDINAL` with two digits at most for a number of base 60.
        target = "{}:{}".format(*divmod(target, 60))
    listeners = () if test else audience(master)
    return restore.restore(
        master, SaltMinions(master), name, target, confirm, dump, test, listeners, wait
    )


@command.checked
def remove(name: str, confirm: str | None = None) -> dict[str, Any]:
    """
    Remove a backup from the volume and from the second place.

    name
        Which.
    confirm
        Its name once more.

    CLI Example:

    .. code-block:: bash

        salt-run backup.remove 2026-11-28T031200Z confirm=2026-11-28T031200Z
    """
    return backup.remove(_master(), SaltMinions(_master()), name, confirm)


@command.checked
def adopt(name: str) -> dict[str, Any]:
    """
    Note a backup on the volume that another master has made, so that it can be restored.

    It is read as a whole first. Whether it is what it says it is, nobody but the operator can know:
    root of every node can write to the volume.

    name
        Its name, as ``unknown`` of ``backup.list`` has it.

    CLI Example:

    .. code-block:: bash

        salt-run backup.adopt 2026-11-28T031200Z
    """
    return backup.adopt(_master(), SaltMinions(_master()), name)


@command.checked
def fetch(name: str | None = None) -> dict[str, Any]:
    """
    Bring a backup from the second place back to the volume; without a name, say which are there.

    name
        Its name.

    Returns a dictionary: ``there`` (names), or ``path`` on the volume and ``noted``: whether this
    master has noted it; if not, ``backup.adopt`` does. What the archive of the oplog has after it
    comes by ``backup.fetch_archive`` then.

    CLI Example:

    .. code-block:: bash

        salt-run backup.fetch 2026-11-28T031200Z
    """
    master = _master()
    chosen = backups.settings(revision.require_base(master).settings)
    if name is None:
        return {"there": second.names(master, chosen)}
    path = second.fetch(master, chosen, name)
    return {"path": str(path), "noted": name in {each["name"] for each in backups.noted(master)}}


@command.checked
def fetch_archive(name: str | None = None) -> dict[str, Any]:
    """
    Bring back from the second place what the archive of the oplog has after a backup.

    Files that are missing on the volume are put there, and those that are others than noted are
    replaced. ``backup.restore`` reaches any second until the end of them.

    name
        The backup, which this master has noted; the newest unless given.

    Returns a dictionary: ``brought`` and ``there`` (numbers of files) and ``until``, what can be
    reached with them: ``time``, an operation time, and ``wall``; or None.

    CLI Example:

    .. code-block:: bash

        salt-run backup.fetch_archive 2026-11-28T031200Z
    """
    master = _master()
    chosen = backups.settings(revision.require_base(master).settings)
    return fetching.fetch(master, chosen, name)


@command.checked
def tend() -> dict[str, Any]:
    """
    Do what is due: a backup, a copy, a drill, the removal of what is old. Salt's schedule calls it.

    First the web servers are told what can be restored, for their ``/metrics``.

    Returns a dictionary: ``did`` and ``problems`` (sentences; with problems the exit code is 1),
    ``told`` (web servers) and ``untold`` (sentences about those that did not answer).

    CLI Example:

    .. code-block:: bash

        salt-run backup.tend
    """
    master = _master()
    found = backup_numbers.tell(master, SaltMinions(master))
    done = tending.tend(master, SaltMinions(master))
    return {**done, "told": list(found.answers), "untold": found.problems()}
