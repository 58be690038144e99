"""
Manage GlusterFS pools, volumes and mounts.

:depends: the ``gluster`` command (Debian: ``glusterfs-cli``, RedHat: ``glusterfs-cli``); for mounts
    ``mount.glusterfs`` and systemd. Works with glusterfs 10 and 11.

Every function here talks to the glusterd of the node it runs on, any node of the pool will do, and
raises ``CommandExecutionError`` with glusterd's own words and number when it refuses. A command
that meets another one holding glusterd's lock is repeated for up to 30 seconds; minion
configuration ``gluster.lock_timeout`` changes that.
"""

import salt.utils.platform
from salt.exceptions import CommandExecutionError

__virtualname__ = "gluster"


def __virtual__():
    # Not tied to the gluster command being there: a state run installs it on its way.
    if not salt.utils.platform.is_linux():
        return False, "gluster: GlusterFS servers and mounts are managed on Linux only"
    return __virtualname__


def volumes():
    """
    Return the names of all volumes of the pool, as a list.

    :raises CommandExecutionError: if glusterd does not answer.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.volumes
    """
    return __utils__["gluster.volumes"](_gluster("volume", "list"))


def info(volume):
    """
    Return what a volume is made of.

    :param str volume: its name.
    :returns: dict with ``name``, ``id``, ``type`` (e.g. "Replicate"), ``status`` ("Created",
        "Started", "Stopped"), ``started`` (bool), the counts ``distribute``, ``replica``,
        ``arbiter``, ``disperse`` and ``redundancy``, ``bricks`` (a list, in order, of dicts with
        ``name`` as ``host:/path``, ``host``, ``path``, ``uuid`` of the node, ``arbiter`` as bool)
        and ``options`` (dict of those that were set, as text).
    :raises CommandExecutionError: if there is no such volume (30806).

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.info shared
    """
    volume = __utils__["gluster_declared.volume_name"](volume)
    return __utils__["gluster.info"](_gluster("volume", "info", volume))


def status(volume, sizes=True):
    """
    Return the state of a started volume's bricks and daemons.

    :param str volume: its name.
    :param bool sizes: False to leave out sizes and inodes, and ask all nodes once instead of twice;
        each time takes the pool's lock.
    :returns: dict with ``bricks``, each brick of the volume in order, those of unreachable nodes
        too: ``name``, ``host``, ``path``, ``uuid``, ``online`` (bool), ``port`` and ``pid`` (None
        when offline) and, where its node answers, ``size_total``, ``size_free`` (bytes),
        ``inodes_total``, ``inodes_free``; and ``daemons``, those that answered: ``daemon`` (e.g.
        "Self-heal Daemon"), ``uuid`` of the node, ``online``, ``port``, ``pid``.
    :raises CommandExecutionError: if the volume is missing or not started.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.status shared
    """
    made_of = info(volume)
    state = _status(made_of)
    if not sizes:
        return state
    detail = __utils__["gluster.status"](_gluster("volume", "status", volume, "detail"), made_of)
    sized = {item["name"]: item for item in detail["bricks"]}
    # Whether a brick is online comes from one answer only, lest the two contradict each other.
    state["bricks"] = [{**sized[item["name"]], **item} for item in state["bricks"]]
    return state


def create(volume, bricks, replica=1, arbiter=0, force=False, disperse=0, redundancy=0):
    """
    Create a volume. It is not started.

    :param str volume: its name.
    :param list bricks: ``host:/absolute/path`` each. The hosts must be in the pool; the directory
        above each path must exist, the last part is made.
    :param int replica: copies of each file. Each run of this many bricks is one set of copies.
    :param int arbiter: 1 makes the last brick of each set hold names and metadata only (with
        ``replica=3``), which prevents split-brain at the price of two copies.
    :param bool force: also take bricks on the root file system, several of one set on one host,
        and such as were part of a volume before.
    :param int disperse: instead of copies, erasure coding over each run of this many bricks.
    :param int redundancy: how many bricks of each such run may be lost; less than half of them.
    :returns: the new volume as :py:func:`info` returns it.
    :raises CommandExecutionError: if the layout is impossible (nothing is asked of glusterd then),
        connected members of the pool do not see each other (:py:func:`wait_met`), or glusterd
        refuses.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.create data '[db-1:/bricks/a, db-2:/bricks/a, db-3:/bricks/a]' replica=3
    """
    volume = __utils__["gluster_declared.volume_name"](volume)
    wanted = __utils__["gluster_declared.layout"](bricks, replica, arbiter, disperse, redundancy)
    words = ["volume", "create", volume]
    if disperse:
        words += ["disperse", str(disperse), "redundancy", str(redundancy)]
    if replica > 1:
        words += ["replica", str(replica)]
    if arbiter:
        words += ["arbiter", str(arbiter)]
    hosts = [__utils__["gluster_declared.brick"](name)["host"] for name in wanted]
    __salt__["gluster.wait_met"](hosts)
    _gluster(*words, *wanted, *_force(force))
    return info(volume)


def start(volume, force=False):
    """
    Start a volume. Return True; follow with :py:func:`wait_online`.

    :param str volume: its name.
    :param bool force: on a started volume start those brick processes that are not running, instead
        of an error.
    :raises CommandExecutionError: if there is no such volume or it is started already; with force
        if a brick of this node lost its data but has its directory.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.start shared
    """
    volume = __utils__["gluster_declared.volume_name"](volume)
    # Forced, glusterd takes an empty directory for the brick, and serves it as if it were whole.
    for item in __salt__["gluster.lost_bricks"](volume) if force else []:
        if item["directory"]:
            raise CommandExecutionError(
                f"volume {volume} was not started with force: brick {item['name']} lost its data, "
                f"{item['reason']}. gluster.reset_brick {volume} {item['name']} confirm={volume} "
                "makes it anew"
            )
    _gluster("volume", "start", volume, *_force(force))
    return True


def stop(volume, force=False):
    """
    Stop a volume: every mount of it fails until it is started again. Return True.

    :param str volume: its name.
    :param bool force: stop it even if glusterd would rather not (a rebalance is running, say).
    :raises CommandExecutionError: if there is no such volume or it is not started.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.stop shared
    """
    _gluster("volume", "stop", __utils__["gluster_declared.volume_name"](volume), *_force(force))
    return True


def delete(volume, confirm=None):
    """
    Delete a stopped volume. The files stay on the bricks, but no longer as a volume. Return True.

    :param str volume: its name.
    :param str confirm: its name once more; without it nothing is done.
    :raises CommandExecutionError: without the confirmation, if there is no such volume, or if it
        is started.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.delete shared confirm=shared
    """
    volume = __utils__["gluster_declared.volume_name"](volume)
    if confirm != volume:
        bricks = ", ".join(item["name"] for item in info(volume)["bricks"])
        raise CommandExecutionError(
            f"volume {volume} with bricks {bricks} was not deleted: say confirm={volume}"
        )
    _gluster("volume", "delete", volume)
    return True


def wait_online(volume, timeout=60, bricks=None):
    """
    Wait until every brick of a volume is online, then return all of them as in :py:func:`status`.

    :param str volume: its name.
    :param float timeout: seconds to wait at most.
    :param list bricks: wait only for those of these, ``host:/path`` each, that the volume has.
    :raises CommandExecutionError: when the time is over, naming the bricks that are offline and
        those of their hosts that are disconnected; at once if the volume is not started.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.wait_online shared timeout=30
    """
    made_of = info(volume)
    for _ in __utils__["gluster.attempts"](timeout):
        waiting = [
            item
            for item in _status(made_of)["bricks"]
            if not item["online"] and (bricks is None or item["name"] in bricks)
        ]
        if not waiting:
            return status(volume)["bricks"]
    gone = {peer["uuid"] for peer in __salt__["gluster.peers"]() if not peer["connected"]}
    lost = {
        item["name"]: f" ({item['reason']}: with its disk in place, gluster.reset_brick {volume} "
        f"{item['name']} confirm={volume} makes it anew)"
        for item in __salt__["gluster.lost_bricks"](volume)
    }
    words = [
        item["name"]
        + (" (its host is disconnected)" if item["uuid"] in gone else lost.get(item["name"], ""))
        for item in waiting
    ]
    raise CommandExecutionError(
        f"bricks of volume {volume} still offline after {timeout} s: {', '.join(words)}"
    )


def healthy(volume):
    """
    Tell whether a volume is as it should be, as one call for gates.

    It is when it is started, all its bricks and self-heal daemons run, all peers are connected,
    each set of copies has its quorum, and nothing waits to be healed. When it is not, the job's
    return code is 1.

    :param str volume: its name.
    :returns: dict with ``healthy`` (bool) and ``reasons`` (list of sentences, empty if healthy).
        That glusterd refuses to tell (it is down, the volume is missing) is a reason, not an error.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.healthy shared
    """
    try:
        made_of = info(volume)
        state = _status(made_of) if made_of["started"] else None
        # By the name that the bricks have; glusterd may know the host by its address.
        hosts = {item["uuid"]: item["host"] for item in made_of["bricks"]}
        reasons = [
            f"peer {hosts.get(peer['uuid'], peer['hostname'])} is not ready: {_peer_words(peer)}"
            for peer in __salt__["gluster.peers"]()
            if not peer["ready"]
        ]
        replicated = made_of["replica"] > 1 or made_of["disperse"]
        healing = []
        if state and replicated:
            answer = _gluster("volume", "heal", volume, "info", "summary")
            healing = __utils__["gluster.heal"](answer)
        reasons += __utils__["gluster_layout.health"](made_of, state, healing)
    except CommandExecutionError as error:
        reasons = [str(error)]
    if reasons:
        __context__["retcode"] = 1
    return {"healthy": not reasons, "reasons": reasons}


def _gluster(*words):
    patience = __salt__["config.get"]("gluster.lock_timeout", 30)
    return __utils__["gluster.run"](words, __salt__["cmd.run_all"], patience)


def _status(made_of):
    answer = _gluster("volume", "status", made_of["name"])
    return __utils__["gluster.status"](answer, made_of)


def _force(force):
    return ["force"] if force else []


def _peer_words(peer):
    return peer["state"] if peer["connected"] else "disconnected"
