"""
Bring GlusterFS nodes into one pool: the part of ``gluster`` for peers.

:depends: the ``gluster`` command, and psutil, which Salt has. Works with glusterfs 10 and 11.
"""

import socket
import time

import psutil
import salt.utils.path
import salt.utils.platform
from salt.exceptions import CommandExecutionError

PRECEDENCE_SECONDS = 5
# Longer than a probed peer needs to become a member, on a busy machine too.
SETTLE_SECONDS = 15
# States that do not end by themselves, with the remedy; a new peer passes through for a moment.
_HALF_KNOWN = "one of the two forgot the other. Run gluster.rejoin {host} confirm={self} here"
REMEDIES = {
    "Peer Rejected": (
        "if it lost its list of peers, run gluster.rejoin {self} confirm={host} on it. If its "
        "volumes differ from the pool's, and the pool is right, run on {host}: systemctl stop "
        "glusterd && rm -rf /var/lib/glusterd/vols && systemctl start glusterd"
    ),
    "Accepted peer request": _HALF_KNOWN,
    "Sent and Received peer request": _HALF_KNOWN,
}

__virtualname__ = "gluster"


def __virtual__():
    if not salt.utils.platform.is_linux():
        return False, "gluster: GlusterFS servers and mounts are managed on Linux only"
    return __virtualname__


def peers():
    """
    Return the other members of this node's pool, sorted by host name.

    Each is a dict: ``hostname``; ``names``, all names and addresses that glusterd knows it by;
    ``uuid``; ``connected`` (bool); ``state``, glusterd's words such as "Peer in Cluster"; and
    ``ready`` (bool), which is both: connected and in the cluster.

    :raises CommandExecutionError: if glusterd does not answer.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.peers
    """
    return __utils__["gluster.peers"](_gluster("peer", "status"))


def probe(host):
    """
    Add a host to this node's pool.

    Returns before the new peer can be used: follow with :py:func:`wait_peers`.

    :param str host: name or address that every member of the pool can reach it by.
    :returns: dict with ``host``, ``added`` (bool, False for this node itself and for a peer already
        known) and ``words``, glusterd's own.
    :raises CommandExecutionError: if the host cannot be reached or belongs to another pool.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.probe db-2
    """
    host = __utils__["gluster_declared.host_name"](host)
    return {"host": host, **__utils__["gluster.probe"](_gluster("peer", "probe", host))}


def find_peers(hosts, known=None):
    """
    Tell of each host whether it is in this node's pool.

    A host is taken for a peer that has its name or one of the addresses that it resolves to, since
    glusterd may know it by another name than the one given here.

    :param list hosts: names or addresses; this node itself may be among them.
    :param list known: what :py:func:`peers` has just returned, for who has it; it is asked else.
    :returns: dict of host to a dict with ``self`` (bool: it is this node), ``member`` (bool),
        ``ready`` (bool: member and usable now), ``state`` (words) and ``uuid`` (None for this node
        and for who is no peer).
    :raises CommandExecutionError: if a host's name does not resolve here.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.find_peers '[db-1, db-2, db-3]'
    """
    if isinstance(hosts, str) or not hosts:
        raise CommandExecutionError(f"hosts must be a list of names, not {hosts!r}")
    known = peers() if known is None else known
    own = _own_addresses()
    found = {}
    for host in hosts:
        __utils__["gluster_declared.host_name"](host)
        peer = next((peer for peer in known if host in peer["names"]), None)
        if peer is None:
            addresses = _addresses(host)
            if not addresses:
                raise CommandExecutionError(
                    f"{host} does not resolve on this node: put it into DNS or /etc/hosts"
                )
            if addresses & own:
                found[host] = {
                    "self": True,
                    "member": True,
                    "ready": True,
                    "state": "this node",
                    "uuid": None,
                }
                continue
            for candidate in known:
                if any(addresses & _addresses(name) for name in candidate["names"]):
                    peer = candidate
        found[host] = {
            "self": False,
            "member": peer is not None,
            "ready": peer is not None and peer["ready"],
            "state": "not a peer" if peer is None else _peer_words(peer),
            "uuid": peer and peer["uuid"],
        }
    return found


def is_member(host, known=None):
    """
    Tell whether a host is in this node's pool, or is this node itself.

    :param str host: name or address; unlike with :py:func:`find_peers` it need not resolve, since
        the host may be gone for good.
    :param list known: as for :py:func:`find_peers`.
    :raises CommandExecutionError: if glusterd does not answer.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.is_member db-3
    """
    host = __utils__["gluster_declared.host_name"](host)
    known = peers() if known is None else known
    by_name = any(host in peer["names"] for peer in known)
    return by_name or bool(_addresses(host)) and find_peers([host], known)[host]["member"]


def wait_peers(hosts, timeout=60):
    """
    Wait until each host is connected and in this node's pool, then return :py:func:`peers`.

    Ends when the members see each other so, too; see :py:func:`wait_met`.

    :param list hosts: names or addresses; this node itself may be among them.
    :param float timeout: seconds to wait at most.
    :raises CommandExecutionError: when the time is over, with the state of each peer that is not
        ready, or who does not see whom; at once if a name does not resolve.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.wait_peers '[db-1, db-2, db-3]' timeout=30
    """
    began = time.monotonic()
    for _ in __utils__["gluster.attempts"](timeout):
        known = peers()
        found = find_peers(hosts, known)
        unmet = __salt__["gluster.unmet"](hosts) if _all_ready(found) else []
        if _all_ready(found) and not unmet:
            return known
        if _stuck(found, began):
            timeout = SETTLE_SECONDS
            break
    raise CommandExecutionError(_not_ready(found, timeout, unmet=unmet))


def gather(hosts, timeout=60):
    """
    Bring hosts into one pool with this node, and wait until all of them are connected with each
    other; see :py:func:`wait_met`.

    May run on several of the hosts at the same time. Two new nodes that probe each other end in two
    pools, which glusterd cannot join, so a node that is in no pool yet gives those listed before it
    five seconds each to take it in. A refused probe is repeated until the time is over: a glusterd
    may be about to start, or a pool about to take this node in.

    A node that lost its list of peers is not probed into the pool that still knows it: that leaves
    them half-known to each other for ever.

    :param list hosts: names or addresses; this node itself may be among them.
    :param float timeout: seconds to go on at most.
    :returns: list of the hosts that this call added.
    :raises CommandExecutionError: when the time is over, with the state of each host that is not
        ready and what glusterd said to the last probe of it, or who does not see whom; at once if
        this node lost its list of peers, with the remedy.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.gather '[db-1, db-2, db-3]'
    """
    if not peers():
        _refuse_forgetful(hosts)
    added, refusals = [], {}
    began = time.monotonic()
    for _ in __utils__["gluster.attempts"](timeout):
        found = find_peers(hosts)
        rank = next((rank for rank, host in enumerate(hosts) if found[host]["self"]), 0)
        if peers() or time.monotonic() - began >= rank * PRECEDENCE_SECONDS:
            for host in (host for host, seen in found.items() if not seen["member"]):
                refusals.pop(host, None)
                try:
                    if probe(host)["added"]:
                        added.append(host)
                except CommandExecutionError as error:
                    refusals[host] = str(error)
        unmet = __salt__["gluster.unmet"](hosts) if _all_ready(found) else []
        if _all_ready(found) and not unmet:
            return added
        if _stuck(found, began):
            timeout = SETTLE_SECONDS
            break
    raise CommandExecutionError(_not_ready(found, timeout, refusals, unmet))


def detach(host, force=False, confirm=None):
    """
    Take a host out of this node's pool. It forgets the pool's volumes, the pool forgets the host.

    :param str host: name or address of a peer. One that is down learns of it from nobody: when it
        is back, it takes itself for a member, until it is probed or detaches the others.
    :param bool force: detach it also if glusterd would rather not.
    :param str confirm: the host's name once more; without it nothing is done.
    :returns: True.
    :raises CommandExecutionError: without the confirmation, if the host is no peer, is this node
        itself, or still has bricks.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.detach db-3 confirm=db-3
    """
    host = __utils__["gluster_declared.host_name"](host)
    if confirm != host:
        raise CommandExecutionError(
            f"{host} was not detached: it would leave the pool and forget all volumes of it: say "
            f"confirm={host}"
        )
    _gluster("peer", "detach", host, *(["force"] if force else []))
    return True


def version():
    """
    Return the release of the ``gluster`` command on this node, as text, e.g. "10.3".

    :raises CommandExecutionError: if it is not installed.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.version
    """
    if not salt.utils.path.which("gluster"):
        raise CommandExecutionError(
            "the gluster command is missing: install glusterfs-server (or glusterfs-cli)"
        )
    # It is asked of no daemon and has no XML.
    words = __salt__["cmd.run"](["gluster", "--version"], python_shell=False).split()
    if words[:1] != ["glusterfs"]:
        raise CommandExecutionError(f"gluster --version answered {' '.join(words)!r}")
    return words[1]


def op_version():
    """
    Return the operating version of the pool, a whole number such as 100000.

    It is what all members agreed to be able to do; upgrading them does not raise it.

    :raises CommandExecutionError: if glusterd does not answer.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.op_version
    """
    return _pool_number("cluster.op-version")


def max_op_version():
    """
    Return the highest operating version that all connected members of the pool are able to run at.

    :raises CommandExecutionError: if glusterd does not answer.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.max_op_version
    """
    return _pool_number("cluster.max-op-version")


def set_op_version(version):
    """
    Raise the operating version of the pool and return it. It can never be lowered again.

    :param int version: the new one, higher than :py:func:`op_version`, at most
        :py:func:`max_op_version`.
    :raises CommandExecutionError: if it is not higher, if a member does not support it, or if a
        member is disconnected: it might be too old, and could not come back.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.set_op_version 100000
    """
    if not str(version).isdecimal():
        raise CommandExecutionError(f"version must be a whole number such as 100000: {version!r}")
    away = [peer["hostname"] for peer in peers() if not peer["connected"]]
    if away:
        raise CommandExecutionError(
            f"op-version was not set to {version}: {', '.join(away)} cannot be asked whether it "
            "supports it (disconnected)"
        )
    _gluster("volume", "set", "all", "cluster.op-version", str(version))
    return op_version()


def _gluster(*words):
    patience = __salt__["config.get"]("gluster.lock_timeout", 30)
    return __utils__["gluster.run"](words, __salt__["cmd.run_all"], patience)


def _own_addresses():
    # Salt's own function for it runs four programs.
    own = {
        address.address.partition("%")[0]
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family in (socket.AF_INET, socket.AF_INET6)
    }
    # Debian resolves a machine's own name to 127.0.1.1, which no interface lists.
    own.add("127.0.1.1")
    return own


def _addresses(host):
    try:
        return {entry[4][0].partition("%")[0] for entry in socket.getaddrinfo(host, None)}
    except socket.gaierror:
        return set()


def _peer_words(peer):
    return peer["state"] if peer["connected"] else "disconnected"


def _all_ready(found):
    return all(seen["ready"] for seen in found.values())


def _refuse_forgetful(hosts):
    """Raise if this node, which has no peers, is a member to the pool of one of the hosts."""
    own = __utils__["gluster_node.own_uuid"](_gluster("system::", "uuid", "get"))
    for host in hosts:
        try:
            seen = __utils__["gluster.peers"](
                _gluster(__utils__["gluster.at"](host), "peer", "status")
            )
        except CommandExecutionError:
            continue  # it is down, or no storage node yet
        peer = next((peer for peer in seen if peer["uuid"] == own), None)
        # Not if that pool is taking this node in right now.
        if peer and peer["state"] in ("Peer in Cluster", "Peer Rejected") and not peers():
            raise CommandExecutionError(
                f"this node lost its list of peers: the pool of {host} knows it as "
                f"{peer['hostname']}. Run gluster.rejoin {host} confirm={peer['hostname']} here"
            )


def _stuck(found, began):
    """Tell whether some are not ready, and all those in a state that does not end by itself."""
    waiting = [seen["state"] for seen in found.values() if not seen["ready"]]
    late = time.monotonic() - began > SETTLE_SECONDS
    return late and bool(waiting) and all(map(_remedy, waiting))


def _not_ready(found, timeout, refusals=None, unmet=()):
    if _all_ready(found):
        return f"the pool is not whole after {timeout} s: {'; '.join(unmet)}"
    waiting = {host: seen["state"] for host, seen in found.items() if not seen["ready"]}
    words = [f"{host} ({(refusals or {}).get(host, state)})" for host, state in waiting.items()]
    words += __salt__["gluster.replaced"](list(found))
    sentences = [f"not in the pool after {timeout} s: {', '.join(words)}"]
    own = next((host for host, seen in found.items() if seen["self"]), "a host of the pool")
    # Of a new machine under an old name the above tells more, and another remedy.
    if len(words) == len(waiting):
        for host, state in waiting.items():
            if remedy := _remedy(state):
                sentences.append(f"{host}: {remedy.format(host=host, self=own)}")
    return ". ".join(sentences)


def _remedy(state):
    return next((text for words, text in REMEDIES.items() if state.startswith(words)), None)


def _pool_number(name):
    found = __utils__["gluster_option.listed"](_gluster("volume", "get", "all", name))
    return int(found[name]["value"])
