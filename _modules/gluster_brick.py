"""
Add, remove and replace a Gluster volume's bricks, and spread its files over them.

:depends: the ``gluster`` command. Works with glusterfs 10 and 11.
"""

import functools

import salt.utils.platform
from salt.exceptions import CommandExecutionError

# What rebalance and remove-brick say when there is nothing to tell the status of.
_NOT_STARTED = " not started for volume "

__virtualname__ = "gluster"


def __virtual__():
    if not salt.utils.platform.is_linux():
        return False, "gluster: GlusterFS servers and mounts are managed on Linux only"
    return __virtualname__


def add_bricks(volume, bricks, replica=None, arbiter=None, force=False):
    """
    Add bricks to a volume: whole new sets, or more copies to each set that is there.

    New sets are empty until :py:func:`rebalance`; new copies are healed at once, in the background
    (see :py:func:`wait_healed`).

    :param str volume: its name.
    :param list bricks: ``host:/absolute/path`` each. Without ``replica`` each run of as many as a
        set has is a new set; with it, the first ones are for the first set, and so on.
    :param int replica: the number of copies to raise the volume to.
    :param int arbiter: 1 if the last of the new bricks of each set is to hold names and metadata
        only (with ``replica=3``).
    :param bool force: also take bricks on a root file system, several of one set on one host, and
        such as were part of a volume before, with the files that they hold.
    :returns: the volume as :py:func:`info` returns it.
    :raises CommandExecutionError: if the number of bricks does not fit, connected members of the
        pool do not see each other (:py:func:`wait_met`), glusterd refuses, or, with ``replica``,
        bricks are offline or files wait to be healed.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.add_bricks shared '[db-1:/bricks/b, db-2:/bricks/b, db-3:/bricks/b]'
    """
    made_of = __salt__["gluster.info"](volume)
    names = _names(bricks)
    sets = __utils__["gluster_layout.replica_sets"](made_of)
    words = []
    if replica is not None and replica != made_of["replica"]:
        _check_number(
            volume, names, len(sets) * (replica - made_of["replica"]), f"{replica} copies"
        )
        _check(made_of)
        words = ["replica", str(replica)]
        words += ["arbiter", str(arbiter)] if arbiter else []
    elif len(names) % len(sets[0]):
        _check_number(volume, names, len(sets[0]), "a whole set (or a multiple of it)")
    __salt__["gluster.wait_met"]([name.partition(":/")[0] for name in names])
    _gluster("volume", "add-brick", volume, *words, *names, *(["force"] if force else []))
    return __salt__["gluster.info"](volume)


def remove_bricks(volume, bricks, replica=None, confirm=None):
    """
    Take copies out of each set of a volume, or begin to move the data off whole sets.

    With ``replica`` the bricks are out at once; their files stay where they are, no longer as part
    of the volume, and the other copies remain. Without it nothing is out yet: follow with
    :py:func:`wait_emptied` and :py:func:`remove_commit`, or undo with :py:func:`remove_stop`.

    :param str volume: its name.
    :param list bricks: ``host:/path`` each: so many of each set as it shall have less, or all
        bricks of one or more sets.
    :param int replica: the number of copies to lower the volume to.
    :param str confirm: with ``replica``, the volume's name once more; without it nothing is done.
    :returns: the volume as :py:func:`info` returns it.
    :raises CommandExecutionError: without the confirmation, if the other copies are not all there
        (offline, waiting to be healed, in split-brain), or glusterd refuses.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.remove_bricks shared '[db-1:/bricks/b, db-2:/bricks/b, db-3:/bricks/b]'
    """
    made_of = __salt__["gluster.info"](volume)
    names = _names(bricks, made_of)
    if replica is None:
        _check(made_of)
        _gluster("volume", "remove-brick", volume, *names, "start")
        return __salt__["gluster.info"](volume)
    sets = __utils__["gluster_layout.replica_sets"](made_of)
    _check_number(volume, names, len(sets) * (made_of["replica"] - replica), f"{replica} copies")
    if confirm != volume:
        raise CommandExecutionError(
            f"{', '.join(names)} not taken out of volume {volume}: say confirm={volume}"
        )
    _check(made_of, names)
    # glusterd knows no other way than by force: there is no data to move.
    _gluster("volume", "remove-brick", volume, "replica", str(replica), *names, "force")
    return __salt__["gluster.info"](volume)


def remove_status(volume, bricks):
    """
    Return how far the data has been moved off bricks that are to be removed.

    :param str volume: its name.
    :param list bricks: as given to :py:func:`remove_bricks`.
    :returns: dict with ``status`` ("not started", "in progress", "completed", "failed", "stopped",
        "unknown" if a node at work on it cannot be reached), ``task`` (its ID, else None),
        ``layout_only`` (False here), the sums ``files`` and ``bytes`` (moved), ``scanned``,
        ``failures`` and ``skipped``, ``seconds``, and ``nodes``, a list of dicts with ``host``,
        ``uuid``, ``status`` and the same numbers.
    :raises CommandExecutionError: if the volume has no such bricks or glusterd refuses.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.remove_status shared '[db-1:/bricks/b, db-2:/bricks/b, db-3:/bricks/b]'
    """
    made_of = __salt__["gluster.info"](volume)
    names = _names(bricks, made_of)
    return _migration(made_of, names, "remove-brick", volume, *names, "status")


def wait_emptied(volume, bricks, timeout=600):
    """
    Wait until the data has been moved off bricks, then return :py:func:`remove_status`.

    That glusterd calls the move completed is no proof: it does so too where it has not looked at a
    single file, for a brick that did not answer at that moment. The bricks have to be empty.

    :param str volume: its name.
    :param list bricks: as given to :py:func:`remove_bricks`.
    :param float timeout: seconds to wait at most. The move itself goes on after them.
    :raises CommandExecutionError: when the time is over; at once if it has failed, also for single
        files, is not under way, or has completed with files left on the bricks.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.wait_emptied shared '[db-1:/bricks/b, db-2:/bricks/b, db-3:/bricks/b]'
    """
    for last in __utils__["gluster.attempts"](timeout):
        if not last and __utils__["gluster.migrating"](volume, __salt__["cmd.run_all"]):
            continue
        found = remove_status(volume, bricks)
        if found["status"] not in ("in progress", "unknown"):
            break
    _check_emptied(volume, bricks, found)
    return found


def remove_commit(volume, bricks, confirm=None):
    """
    Take bricks out of a volume whose data has been moved off them. Nothing brings them back.

    :param str volume: its name.
    :param list bricks: as given to :py:func:`remove_bricks`.
    :param str confirm: the volume's name once more; without it nothing is done.
    :returns: the volume as :py:func:`info` returns it.
    :raises CommandExecutionError: without the confirmation, or unless the data has been moved
        completely: no failures, no file skipped, none left on the bricks.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.remove_commit shared '[db-1:/bricks/b, db-2:/bricks/b, db-3:/bricks/b]' confirm=shared
    """  # noqa: E501
    names = _names(bricks)
    _check_emptied(volume, names, remove_status(volume, names))
    if confirm != volume:
        raise CommandExecutionError(
            f"{', '.join(names)} not taken out of volume {volume}: say confirm={volume}"
        )
    _gluster("volume", "remove-brick", volume, *names, "commit")
    return __salt__["gluster.info"](volume)


def remove_stop(volume, bricks, timeout=30):
    """
    Stop moving data off bricks: they stay in the volume. Return how far it had come.

    Files moved already stay where they are now, and those just under way are moved to their end;
    :py:func:`rebalance` spreads them again.

    :param str volume: its name.
    :param list bricks: as given to :py:func:`remove_bricks`.
    :param float timeout: seconds to wait at most for a node that has not begun to move files, and
        would not hear that it shall stop.
    :returns: dict as from :py:func:`remove_status`.
    :raises CommandExecutionError: if nothing is being moved, or a node has not begun in time:
        nothing is stopped then.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.remove_stop shared '[db-1:/bricks/b, db-2:/bricks/b, db-3:/bricks/b]'
    """
    made_of = __salt__["gluster.info"](volume)
    names = _names(bricks, made_of)
    look = functools.partial(__salt__["gluster.remove_status"], volume, names)
    before = __utils__["gluster_brick.begun"](volume, look, __utils__["gluster.attempts"](timeout))
    answer = _gluster("volume", "remove-brick", volume, *names, "stop")
    after = __utils__["gluster_brick.migration"](answer, made_of, names)
    return __utils__["gluster_brick.stopped"](before, after)


def replace_brick(volume, old, new, force=False):
    """
    Put a new, empty brick into the place of another; it is healed from the other copies.

    The old one may be lost already. Its files, if any, stay where they are. Returns before the new
    brick has its data: follow with :py:func:`wait_healed`.

    :param str volume: its name; it must be started and keep copies (or be erasure-coded).
    :param str old: ``host:/path`` of a brick of the volume.
    :param str new: ``host:/absolute/path`` of the new one. It may lie on a root file system.
    :param bool force: also where another brick of the set is on the same host.
    :returns: the volume as :py:func:`info` returns it.
    :raises CommandExecutionError: if the other bricks of the volume are not all there (offline,
        waiting to be healed, in split-brain), connected members of the pool do not see the new
        one's host (:py:func:`wait_met`), or glusterd refuses.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.replace_brick shared db-3:/srv/gluster/shared/brick db-3:/bricks/c
    """
    made_of = __salt__["gluster.info"](volume)
    (old,) = _names([old], made_of)
    (new,) = _names([new])
    if made_of["replica"] == 1 and not made_of["disperse"]:
        raise CommandExecutionError(
            f"volume {volume} keeps no copies: add {new}, then remove {old}, which moves its data"
        )
    sets = __utils__["gluster_layout.replica_sets"](made_of)
    others = next(names for names in sets if old in names)
    host = new.partition(":/")[0]
    same = [name for name in others if name != old and name.partition(":/")[0] == host]
    if same and not force:
        raise CommandExecutionError(f"{new} would be on one host with {same[0]} of the same set")
    peer = __salt__["gluster.find_peers"]([host])[host]
    if not peer["ready"]:
        # Of this glusterd says no more than that one should look into its log.
        raise CommandExecutionError(f"{host} is not in the pool or not connected: {peer['state']}")
    _check(made_of, [old])
    __salt__["gluster.wait_met"]([host])
    _gluster("volume", "replace-brick", volume, old, new, "commit", "force")
    return __salt__["gluster.info"](volume)


def hindrances(volume, dropped=()):
    """
    Tell what is in the way of changing how many copies a volume keeps, or which bricks hold them.

    :param str volume: its name.
    :param list dropped: the bricks that would go, with other copies left in their sets.
    :returns: list of sentences, empty if nothing is in the way.
    :raises CommandExecutionError: if the volume has no such bricks or glusterd refuses.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.hindrances shared
    """
    made_of = __salt__["gluster.info"](volume)
    return _reasons(made_of, _names(dropped, made_of) if dropped else [])


def _reasons(made_of, dropped=()):
    state, healing = None, []
    if made_of["started"]:
        answer = _gluster("volume", "status", made_of["name"])
        state = __utils__["gluster.status"](answer, made_of)
        if made_of["replica"] > 1 or made_of["disperse"]:
            answer = _gluster("volume", "heal", made_of["name"], "info", "summary")
            healing = __utils__["gluster.heal"](answer)
    return __utils__["gluster_layout.hindrances"](made_of, state, healing, dropped)


def _check(made_of, dropped=()):
    reasons = _reasons(made_of, dropped)
    if reasons:
        raise CommandExecutionError(
            f"volume {made_of['name']} was left as it is: {'; '.join(reasons)}"
        )


def _check_number(volume, names, number, purpose):
    if len(names) != number:
        raise CommandExecutionError(
            f"{len(names)} bricks were given for volume {volume}: {purpose} would take {number}"
        )


def _names(bricks, made_of=None):
    """Return bricks normalised; with a volume, raise for one that it does not have."""
    if isinstance(bricks, str) or not bricks:
        raise CommandExecutionError(f"bricks must be a list of host:/path, not {bricks!r}")
    names = [__utils__["gluster_declared.brick"](text)["name"] for text in bricks]
    if made_of:
        own = [item["name"] for item in made_of["bricks"]]
        strange = [name for name in names if name not in own]
        if strange:
            raise CommandExecutionError(
                f"volume {made_of['name']} has no brick {', '.join(strange)}, only {', '.join(own)}"
            )
    return names


def _migration(made_of, names, *words):
    try:
        answer = _gluster("volume", *words)
    except CommandExecutionError as error:
        if _NOT_STARTED not in str(error):
            raise
        answer = None
    return __utils__["gluster_brick.migration"](answer, made_of, names)


def _check_emptied(volume, names, found):
    words = __utils__["gluster_brick.progress"](found)
    if found["status"] == "completed" and not found["failures"] and not found["skipped"]:
        left = __salt__["gluster.files_on"](volume, names)
        if not left:
            return
        words += "".join(f"; still on {name}: {', '.join(left[name])}" for name in left)
    remedy = ""
    if found["status"] not in ("in progress", "not started", "unknown"):
        remedy = ": see the rebalance log on their hosts, then gluster.remove_stop and begin again"
    raise CommandExecutionError(
        f"volume {volume}: data not moved off {', '.join(names)}: {words}{remedy}"
    )


def _gluster(*words):
    patience = __salt__["config.get"]("gluster.lock_timeout", 30)
    return __utils__["gluster.run"](words, __salt__["cmd.run_all"], patience)
