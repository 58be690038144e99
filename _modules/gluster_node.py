"""
Bring back Gluster nodes that lost a disk, or that a new machine replaces: the part of ``gluster``
for them.

:depends: the ``gluster`` command, and glusterd as systemd's unit ``glusterd``. Works with glusterfs
    10 and 11.

These functions look at and touch this node itself: run them on the node that is to be brought back.
"""

import os
import pathlib

import salt.utils.platform
from salt.exceptions import CommandExecutionError

GLUSTERD = "/var/lib/glusterd"
VOLUME_ID = "trusted.glusterfs.volume-id"

__virtualname__ = "gluster"


def __virtual__():
    if not salt.utils.platform.is_linux():
        return False, "gluster: GlusterFS servers and mounts are managed on Linux only"
    return __virtualname__


def lost_bricks(volume):
    """
    Return those bricks of a volume on this node whose data is gone: a new disk, or a missing one.

    :param str volume: its name.
    :returns: list of dicts with ``name``, ``path``, ``reason`` and ``directory`` (bool: there is
        one), empty if every brick of this node has its data, or the node has none.
    :raises CommandExecutionError: if there is no such volume.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.lost_bricks shared
    """
    made_of = __salt__["gluster.info"](volume)
    own = _own_uuid()
    lost = []
    for item in made_of["bricks"]:
        if item["uuid"] == own:
            gone, reason = _brick_state(made_of, item["path"])
            if gone:
                directory = pathlib.Path(item["path"]).is_dir()
                lost.append(
                    {
                        "name": item["name"],
                        "path": item["path"],
                        "reason": reason,
                        "directory": directory,
                    }
                )
    return lost


def reset_brick(volume, brick, confirm=None, force=False, timeout=60):
    """
    Make a brick anew whose data is gone, under its old name, and launch the healing of its files.

    For a disk that was replaced: mount the new one first. The directory above the brick must be
    there; the brick itself is made. Refused, with nothing changed, if the brick holds anything or
    if another copy of its files is offline. A brick without data on the root file system is taken
    for a disk that is not mounted.

    :param str volume: its name.
    :param str brick: ``host:/path`` as in :py:func:`info`; on this node.
    :param str confirm: the volume's name once more; without it nothing is done.
    :param bool force: also a brick on the root file system, and with a copy offline.
    :param float timeout: seconds to wait for this node to be seen by the other members of the pool,
        and for the brick to be online.
    :returns: dict with ``brick`` and ``reason``, why it was lost. Follow with
        :py:func:`wait_healed`.
    :raises CommandExecutionError: if it is refused, here or by glusterd, or does not come online.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.reset_brick shared db-1:/srv/gluster/shared/brick confirm=shared
    """
    brick = __utils__["gluster_declared.brick"](brick)
    name = brick["name"]
    made_of = __salt__["gluster.info"](volume)
    own = [item["name"] for item in made_of["bricks"] if item["uuid"] == _own_uuid()]
    if name not in own:
        raise CommandExecutionError(
            f"{name} is no brick of volume {volume} on this node; here are: "
            f"{', '.join(own) or 'none'}"
        )
    gone, reason = _brick_state(made_of, brick["path"])
    if gone is False:
        raise CommandExecutionError(
            f"brick {name} of volume {volume} was left as it is, its data is there. If it is "
            "offline, gluster.start with force=True starts it"
        )
    if gone is None:
        raise CommandExecutionError(f"brick {name} was left as it is: {reason}")
    if not pathlib.Path(brick["path"]).parent.is_dir():
        raise CommandExecutionError(
            f"brick {name}: {pathlib.Path(brick['path']).parent} is missing on this node: mount "
            "the brick's disk and make that directory"
        )
    online = {item["name"]: item["online"] for item in __salt__["gluster.status"](volume)["bricks"]}
    (copies,) = (
        names for names in __utils__["gluster_layout.replica_sets"](made_of) if name in names
    )
    if len(copies) < 2:
        raise CommandExecutionError(
            f"brick {name} was left as it is: volume {volume} keeps no copies to heal it from"
        )
    away = [other for other in copies if other != name and not online[other]]
    if away and not force:
        raise CommandExecutionError(
            f"brick {name} was left as it is: its copies {', '.join(away)} are offline, and could "
            "be the only ones of some files. Start them first, or say force=True"
        )
    if confirm != volume:
        raise CommandExecutionError(
            f"brick {name} of volume {volume} ({reason}) was not reset: say confirm={volume}"
        )
    __salt__["gluster.wait_met"]([brick["host"]], timeout)
    # The process of a brick that was emptied under it runs on.
    if online[name]:
        _gluster("volume", "reset-brick", volume, name, "start")
    pathlib.Path(brick["path"]).mkdir(exist_ok=True)
    # Left by a commit that glusterd refused; with it there it wants force.
    if VOLUME_ID in os.listxattr(brick["path"]):
        os.removexattr(brick["path"], VOLUME_ID)
    commit = ["commit", "force"] if force else ["commit"]
    try:
        _gluster("volume", "reset-brick", volume, name, name, *commit)
    except CommandExecutionError as error:
        if "destination brick is new" not in str(error):
            raise
        raise CommandExecutionError(
            f"{error}: glusterd started without this directory. Now that it is there, restart "
            "glusterd on this node and say this again"
        ) from None
    _launch_full_heal(volume, name, timeout)
    return {"brick": name, "reason": reason}


def replaced(hosts):
    """
    Tell which nodes are new machines under the names of old ones: this node, or peers of it.

    A pool knows its members by their UUIDs, and a new machine has another. It cannot be probed into
    the pool either, which has a member of its name.

    :param list hosts: names or addresses of the pool; this node itself may be among them.
    :returns: list of sentences with the remedy, empty if there is none.
    :raises CommandExecutionError: if this node's glusterd does not answer.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.replaced '[db-1, db-2, db-3]'
    """
    own, known = _own_uuid(), __salt__["gluster.peers"]()
    words = []
    for peer in known:
        uuid = peer["uuid"] if peer["ready"] else _uuid_of(peer["hostname"])
        if uuid not in (None, peer["uuid"]):
            words.append(
                f"{peer['hostname']} is a new machine: it has the UUID {uuid}, the pool knows "
                f"{peer['uuid']}; run gluster.rejoin there"
            )
    for host in [] if known else hosts:
        try:
            seen = _peers_of(host)
        except CommandExecutionError:
            continue  # it is down, or no storage node yet
        for peer in seen:
            if peer["uuid"] != own and _is_self(peer["names"]):
                words.append(
                    f"this node is a new machine: it has the UUID {own}, the pool of {host} knows "
                    f"{peer['hostname']} by {peer['uuid']}; run gluster.rejoin {host} "
                    f"confirm={peer['hostname']} on it"
                )
                return words
    return words


def rejoin(server, confirm=None, force=False, timeout=120):
    """
    Make this new machine the one that it replaces in a pool: same name, same UUID, same bricks.

    Takes the UUID by which the pool knows this host from ``server``, starts this node's glusterd
    with it and with the pool's hosts as peers, waits until it knows the pool's volumes and each
    connected member of the pool sees it (:py:func:`wait_met`), makes this host's bricks anew and
    launches the healing of their files. Where an earlier call ended half-way, this one goes on.
    glusterd is restarted twice.

    Refused, with nothing changed, if this node is in a pool or has volumes already, if the pool can
    still use the peer of that name, or if a directory above one of the bricks is missing.

    :param str server: another host of the pool, connected with the others.
    :param str confirm: this host, by the name that the pool knows it by; without it nothing is
        done.
    :param bool force: also make bricks anew that are on the root file system; see
        :py:func:`reset_brick`.
    :param float timeout: seconds to wait for the pool, and for each brick.
    :returns: dict with ``uuid``, ``identity`` (bool: the UUID was changed), ``volumes``, a list of
        those known here now, and ``bricks``, a dict of those made anew to why. Follow with
        :py:func:`wait_healed` on each volume.
    :raises CommandExecutionError: if it is refused, the pool does not take this node, or a brick
        cannot be made anew.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.rejoin db-2 confirm=db-1
    """
    __utils__["gluster_declared.host_name"](server)
    own = _own_uuid()
    pool = _peers_of(server)
    former = next((peer for peer in pool if _is_self(peer["names"])), None)
    if former is None:
        known = ", ".join(peer["hostname"] for peer in pool) or "no other host"
        raise CommandExecutionError(
            f"the pool of {server} does not know this node, but {known}: have it probed instead"
        )
    if confirm not in former["names"]:
        raise CommandExecutionError(
            f"this node was not made {former['hostname']} ({former['uuid']}) of the pool of "
            f"{server}: say confirm={former['hostname']}"
        )
    identity = own != former["uuid"]
    bricks = _bricks_at(server, former["uuid"])
    if identity:
        _refuse_rejoin(server, former, pool, bricks)
    if identity or not _in_pool(server, former):
        _become(former["uuid"], _members(server, former, pool), timeout)
    _wait_in_pool(server, former, timeout)
    if any(lost_bricks(name) for name in __salt__["gluster.volumes"]()):
        # Of a volume that it was told of, glusterd has the bricks' real paths only after a start
        # with their directories there; without them reset-brick refuses a brick as a new one.
        for path in bricks:
            pathlib.Path(path).mkdir(exist_ok=True)
        _glusterd("restart", timeout)
        _wait_in_pool(server, former, timeout)
    made, failed = {}, []
    for name in __salt__["gluster.volumes"]():
        for item in lost_bricks(name):
            try:
                reset_brick(name, item["name"], confirm=name, force=force, timeout=timeout)
                made[item["name"]] = item["reason"]
            except CommandExecutionError as error:
                failed.append(str(error))
    if failed:
        raise CommandExecutionError(
            f"this node is back in the pool of {server}, its bricks are not all: "
            f"{'; '.join(failed)}. Made anew: {', '.join(made) or 'none'}. Say the same again then"
        )
    return {
        "uuid": former["uuid"],
        "identity": identity,
        "volumes": __salt__["gluster.volumes"](),
        "bricks": made,
    }


def _refuse_rejoin(server, former, pool, bricks):
    """Raise if taking over a peer's identity could harm this node, that peer or its pool."""
    host = former["hostname"]
    own_pool = [peer["hostname"] for peer in __salt__["gluster.peers"]()]
    own_volumes = __salt__["gluster.volumes"]()
    if own_pool or own_volumes:
        raise CommandExecutionError(
            f"this node was not made {host} of the pool of {server}: it already has "
            f"{'peers ' if own_pool else 'volumes '}{', '.join(own_pool or own_volumes)}"
        )
    for other in [server, *(peer["hostname"] for peer in pool if peer["ready"])]:
        try:
            seen = _peers_of(other)
        except CommandExecutionError:
            continue  # it is down; the server itself has answered before
        if any(peer["uuid"] == former["uuid"] and peer["ready"] for peer in seen):
            raise CommandExecutionError(
                f"this node was not made {host} of the pool of {server}: {other} is connected to "
                f"the {host} with UUID {former['uuid']}, which is in the cluster"
            )
    missing = sorted(
        {
            str(pathlib.Path(path).parent)
            for path in bricks
            if not pathlib.Path(path).parent.is_dir()
        }
    )
    if missing:
        raise CommandExecutionError(
            f"this node was not made {host} of the pool of {server}: {', '.join(missing)} is "
            "missing, where its bricks were: mount the disks and make what lies above the bricks"
        )


def _members(server, former, pool):
    """Return what a pool's other hosts are known by, as a dict of UUID to list of names."""
    members = {peer["uuid"]: peer["names"] for peer in pool if peer["uuid"] != former["uuid"]}
    uuid = _uuid_of(server)
    for peer in pool:
        if peer["ready"] and uuid not in members:
            seen = {other["uuid"]: other["names"] for other in _peers_of(peer["hostname"])}
            members[uuid] = seen[uuid]
    return {uuid: [server], **members}


def _become(uuid, members, timeout):
    """Give this node's glusterd the UUID and the peers of the one that it replaces.

    Written into its files: after a probe the pool takes this node for a peer that knows everything,
    and a restart, which upstream's procedure has here, fails when the volumes have come before the
    peers ("Failed to resolve brick").
    """
    info = pathlib.Path(GLUSTERD, "glusterd.info")
    # It is there: glusterd was asked for its UUID, and makes one when asked.
    text = __utils__["gluster_node.with_uuid"](info.read_text(encoding="utf-8"), uuid)
    _glusterd("stop", timeout)
    info.write_text(text, encoding="utf-8")
    for member, names in members.items():
        file = pathlib.Path(GLUSTERD, "peers", member)
        file.write_text(__utils__["gluster_node.peer_file"](member, names), encoding="utf-8")
        file.chmod(0o600)
    _glusterd("start", timeout)


def _wait_in_pool(server, former, timeout):
    for _ in __utils__["gluster.attempts"](timeout):
        # Not for the server alone: each member takes part in what follows.
        if _in_pool(server, former) and not __salt__["gluster.unmet"]():
            return
    states = [f"{peer['hostname']} ({peer['state']})" for peer in __salt__["gluster.peers"]()]
    states += __salt__["gluster.unmet"]()
    raise CommandExecutionError(
        f"this node has the UUID {former['uuid']} now, but is not back in the pool of {server} "
        f"after {timeout} s: {', '.join(states) or 'no peers'}. Say the same again to go on"
    )


def _in_pool(server, former):
    """Tell whether this node and the server's pool see each other, and it knows the volumes."""
    try:
        known = __salt__["gluster.peers"]()
        volumes = __salt__["gluster.volumes"]()
        seen = {peer["uuid"]: peer for peer in _peers_of(server)}
        expected = _volumes_at(server)
    except CommandExecutionError:
        return False
    ready = {peer["uuid"] for peer in known if peer["ready"]}
    others = {uuid for uuid, peer in seen.items() if peer["ready"]} - {former["uuid"]}
    return (
        len(ready) >= len(others) + 1
        and others <= ready
        and seen[former["uuid"]]["ready"]
        and set(expected) <= set(volumes)
    )


def _launch_full_heal(volume, name, timeout):
    """Wait for a new brick to be online, and for the self-heal daemons to take the command."""
    words = "its process did not start"
    for _ in __utils__["gluster.attempts"](timeout):
        state = __salt__["gluster.status"](volume)
        if not any(item["online"] for item in state["bricks"] if item["name"] == name):
            continue
        try:
            __salt__["gluster.heal"](volume, full=True)
        except CommandExecutionError as error:
            words = str(error)
            continue
        return
    raise CommandExecutionError(
        f"brick {name} was made anew, but its files are not being healed after {timeout} s: {words}"
    )


def _brick_state(made_of, path):
    directory = pathlib.Path(path)
    names, xattr = None, None
    if directory.is_dir():
        names = [entry.name for entry in directory.iterdir()]
        if VOLUME_ID in os.listxattr(directory):
            xattr = os.getxattr(directory, VOLUME_ID)
    return __utils__["gluster_node.brick_state"](made_of["id"], xattr, names)


def _bricks_at(server, uuid):
    """Return the paths of a node's bricks in the volumes that another host knows."""
    paths = []
    for name in _volumes_at(server):
        made_of = __utils__["gluster.info"](_gluster(_at(server), "volume", "info", name))
        paths += [item["path"] for item in made_of["bricks"] if item["uuid"] == uuid]
    return paths


def _volumes_at(server):
    return __utils__["gluster.volumes"](_gluster(_at(server), "volume", "list"))


def _peers_of(server):
    return __utils__["gluster.peers"](_gluster(_at(server), "peer", "status"))


def _at(server):
    return __utils__["gluster.at"](__utils__["gluster_declared.host_name"](server))


def _own_uuid():
    return __utils__["gluster_node.own_uuid"](_gluster("system::", "uuid", "get"))


def _uuid_of(host):
    """Return the UUID that a host's glusterd has, None if it does not answer."""
    try:
        return __utils__["gluster_node.own_uuid"](_gluster(_at(host), "system::", "uuid", "get"))
    except CommandExecutionError:
        return None


def _is_self(names):
    for name in names:
        try:
            if __salt__["gluster.find_peers"]([name])[name]["self"]:
                return True
        except CommandExecutionError:
            continue  # it does not resolve here
    return False


def _glusterd(verb, timeout):
    """Start, stop or restart glusterd, and wait for its answer if it is to run."""
    # Its unit allows six starts an hour, whoever asked for them.
    for words in (["reset-failed", "glusterd"], [verb, "glusterd"]):
        argv = ["systemctl", *words]
        result = __salt__["cmd.run_all"](argv, python_shell=False, ignore_retcode=True)
        if result["retcode"] and words[0] == verb:
            raise CommandExecutionError(f"{' '.join(argv)}: {result['stderr']}")
    if verb == "stop":
        return
    for last in __utils__["gluster.attempts"](timeout):
        try:
            _own_uuid()
        except CommandExecutionError:
            if last:
                raise
        else:
            return


def _gluster(*words):
    patience = __salt__["config.get"]("gluster.lock_timeout", 30)
    return __utils__["gluster.run"](words, __salt__["cmd.run_all"], patience)
