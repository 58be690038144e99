"""
Manage GlusterFS pools, volumes and mounts.

:depends: the ``gluster`` command (Debian: ``glusterfs-cli``, RedHat: ``glusterfs-cli``); for mounts
    ``mount.glusterfs`` and systemd. Works with glusterfs 10 and 11.

Every function here talks to the glusterd of the node it runs on, any node of the pool will do, and
raises ``CommandExecutionError`` with glusterd's own words and number when it refuses. A command
that meets another one holding glusterd's lock is repeated for up to 30 seconds; minion
configuration ``gluster.lock_timeout`` changes that.
"""

import difflib
import pathlib
import socket
import time

import salt.utils.atomicfile
import salt.utils.network
import salt.utils.path
import salt.utils.platform
from salt.exceptions import CommandExecutionError

POLL_SECONDS = 0.5
PRECEDENCE_SECONDS = 5
UNIT_DIRECTORY = "/etc/systemd/system"

__virtualname__ = "gluster"


def __virtual__():
    # Not tied to the gluster command being there: a state run installs it on its way.
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
    host = __utils__["gluster.host_name"](host)
    return {"host": host, **__utils__["gluster.probe"](_gluster("peer", "probe", host))}


def find_peers(hosts):
    """
    Tell of each host whether it is in this node's pool.

    A host is taken for a peer that has its name or one of the addresses that it resolves to, since
    glusterd may know it by another name than the one given here.

    :param list hosts: names or addresses; this node itself may be among them.
    :returns: dict of host to a dict with ``self`` (bool: it is this node), ``member`` (bool),
        ``ready`` (bool: member and usable now) and ``state`` (words).
    :raises CommandExecutionError: if a host's name does not resolve here.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.find_peers '[db-1, db-2, db-3]'
    """
    if isinstance(hosts, str) or not hosts:
        raise CommandExecutionError(f"hosts must be a list of names, not {hosts!r}")
    known = peers()
    own = _own_addresses()
    found = {}
    for host in hosts:
        __utils__["gluster.host_name"](host)
        peer = next((peer for peer in known if host in peer["names"]), None)
        if peer is None:
            addresses = _addresses(host)
            if not addresses:
                raise CommandExecutionError(
                    f"{host} does not resolve on this node: put it into DNS or /etc/hosts"
                )
            if addresses & own:
                found[host] = {"self": True, "member": True, "ready": True, "state": "this node"}
                continue
            for candidate in known:
                if any(addresses & _addresses(name) for name in candidate["names"]):
                    peer = candidate
        found[host] = {
            "self": False,
            "member": peer is not None,
            "ready": peer is not None and peer["ready"],
            "state": "not a peer" if peer is None else _peer_words(peer),
        }
    return found


def wait_peers(hosts, timeout=60):
    """
    Wait until each host is connected and in this node's pool, then return :py:func:`peers`.

    :param list hosts: names or addresses; this node itself may be among them.
    :param float timeout: seconds to wait at most.
    :raises CommandExecutionError: when the time is over, with the state of each peer that is not
        ready; at once if a name does not resolve.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.wait_peers '[db-1, db-2, db-3]' timeout=30
    """

    def lacking():
        found = find_peers(hosts)
        return [f"{host} ({seen['state']})" for host, seen in found.items() if not seen["ready"]]

    waiting = _until_empty(lacking, timeout)
    if waiting:
        raise CommandExecutionError(f"not in the pool after {timeout} s: {', '.join(waiting)}")
    return peers()


def gather(hosts, timeout=60):
    """
    Bring hosts into one pool with this node, and wait until all of them are connected.

    May run on several of the hosts at the same time. Two new nodes that probe each other end in two
    pools, which glusterd cannot join, so a node that is in no pool yet gives those listed before it
    five seconds each to take it in. A refused probe is repeated until the time is over: a glusterd
    may be about to start, or a pool about to take this node in.

    :param list hosts: names or addresses; this node itself may be among them.
    :param float timeout: seconds to go on at most.
    :returns: list of the hosts that this call added.
    :raises CommandExecutionError: when the time is over, with the state of each host that is not
        ready and what glusterd said to the last probe of it.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.gather '[db-1, db-2, db-3]'
    """
    added, refusals = [], {}
    began = time.monotonic()

    def lacking():
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
        return [
            f"{host} ({refusals.get(host, seen['state'])})"
            for host, seen in found.items()
            if not seen["ready"]
        ]

    waiting = _until_empty(lacking, timeout)
    if waiting:
        raise CommandExecutionError(f"not in the pool after {timeout} s: {', '.join(waiting)}")
    return added


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
    volume = __utils__["gluster.volume_name"](volume)
    return __utils__["gluster.info"](_gluster("volume", "info", volume))


def status(volume):
    """
    Return the state of a started volume's bricks and daemons.

    :param str volume: its name.
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
    detail = __utils__["gluster.status"](_gluster("volume", "status", volume, "detail"), made_of)
    sizes = {item["name"]: item for item in detail["bricks"]}
    # Whether a brick is online comes from one answer only, lest the two contradict each other.
    state["bricks"] = [{**sizes[item["name"]], **item} for item in state["bricks"]]
    return state


def create(volume, bricks, replica=1, arbiter=0, force=False):
    """
    Create a volume. It is not started.

    :param str volume: its name.
    :param list bricks: ``host:/absolute/path`` each. The hosts must be in the pool; the directory
        above each path must exist, the last part is made.
    :param int replica: copies of each file. Each run of this many bricks is one set of copies.
    :param int arbiter: 1 makes the last brick of each set hold names and metadata only (with
        ``replica=3``), which prevents split-brain at the price of two copies.
    :param bool force: also take bricks on the root file system, several of one set on one host.
    :returns: the new volume as :py:func:`info` returns it.
    :raises CommandExecutionError: if the layout is impossible (nothing is asked of glusterd then)
        or glusterd refuses.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.create shared '["db-1:/srv/b", "db-2:/srv/b", "db-3:/srv/b"]' replica=3
    """
    volume = __utils__["gluster.volume_name"](volume)
    wanted = __utils__["gluster.layout"](bricks, replica, arbiter)
    words = ["volume", "create", volume]
    if replica > 1:
        words += ["replica", str(replica)]
    if arbiter:
        words += ["arbiter", str(arbiter)]
    _gluster(*words, *wanted, *_force(force))
    return info(volume)


def start(volume, force=False):
    """
    Start a volume. Return True; follow with :py:func:`wait_online`.

    :param str volume: its name.
    :param bool force: on a started volume start those brick processes that are not running, instead
        of an error.
    :raises CommandExecutionError: if there is no such volume or it is started already.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.start shared
    """
    _gluster("volume", "start", __utils__["gluster.volume_name"](volume), *_force(force))
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
    _gluster("volume", "stop", __utils__["gluster.volume_name"](volume), *_force(force))
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
    volume = __utils__["gluster.volume_name"](volume)
    if confirm != volume:
        bricks = ", ".join(item["name"] for item in info(volume)["bricks"])
        raise CommandExecutionError(
            f"volume {volume} with bricks {bricks} was not deleted: say confirm={volume}"
        )
    _gluster("volume", "delete", volume)
    return True


def set_option(volume, key, value):
    """
    Set one option of a volume and return its value as glusterd now has it, as text.

    :param str volume: its name.
    :param str key: the option's full name, e.g. ``network.ping-timeout``.
    :param value: text or number; booleans become ``on`` and ``off``.
    :raises CommandExecutionError: if glusterd does not know the option or the value.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.set_option shared network.ping-timeout 10
    """
    return set_options(volume, {key: value})[key]


def set_options(volume, options):
    """
    Set several options of a volume in one transaction: either all are set or none.

    :param str volume: its name.
    :param dict options: as in :py:func:`set_option`.
    :returns: the same options as glusterd now has them, a dict of text.
    :raises CommandExecutionError: if glusterd does not know one of the options or values.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.set_options shared '{network.ping-timeout: 10, cluster.quorum-type: auto}'
    """
    volume = __utils__["gluster.volume_name"](volume)
    values = __utils__["gluster.option_values"](options)
    if not values:
        raise CommandExecutionError(f"no option to set on volume {volume} was given")
    _gluster("volume", "set", volume, *(word for pair in values.items() for word in pair))
    now = info(volume)["options"]
    unset = sorted(name for name in values if name not in now)
    if unset:
        raise CommandExecutionError(
            f"glusterd took {', '.join(unset)} for volume {volume} but does not list it afterwards"
        )
    return {name: now[name] for name in values}


def heal_info(volume, entries=False):
    """
    Return what waits to be healed on each brick of a replicated volume.

    :param str volume: its name.
    :param bool entries: also list the files, which costs two more passes over them.
    :returns: dict with ``total``, ``pending``, ``split_brain`` and ``healing``, each the highest
        count of any brick (an entry is usually listed by several), and ``bricks``, a list of dicts:
        ``name``, ``connected`` (bool), ``reason`` (why not, else None), the same four counts (None
        if the brick could not be asked) and ``entries``: dicts of ``gfid``, ``path`` (or
        ``<gfid:…>`` where the path is not known yet) and ``split_brain`` (bool).
    :raises CommandExecutionError: if the volume is not started or keeps no copies.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.heal_info shared entries=True
    """
    volume = __utils__["gluster.volume_name"](volume)
    bricks = _heal(volume, "summary")
    for item in bricks:
        del item["entries"]
    if entries:
        listed = {item["name"]: item["entries"] for item in _heal(volume)}
        split = {
            (item["name"], entry["gfid"] or entry["path"])
            for item in _heal(volume, "split-brain")
            for entry in item["entries"]
        }
        for item in bricks:
            item["entries"] = [
                {**entry, "split_brain": (item["name"], entry["gfid"] or entry["path"]) in split}
                for entry in listed.get(item["name"], [])
            ]
    counts = {
        key: max((item[key] or 0 for item in bricks), default=0)
        for key in ("total", "pending", "split_brain", "healing")
    }
    return {**counts, "bricks": bricks}


def wait_online(volume, timeout=60):
    """
    Wait until every brick of a volume is online, then return them as in :py:func:`status`.

    :param str volume: its name.
    :param float timeout: seconds to wait at most.
    :raises CommandExecutionError: when the time is over, naming the bricks that are offline and
        those of their hosts that are disconnected; at once if the volume is not started.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.wait_online shared timeout=30
    """
    made_of = info(volume)

    def offline():
        return [item for item in _status(made_of)["bricks"] if not item["online"]]

    waiting = _until_empty(offline, timeout)
    if waiting:
        gone = {peer["uuid"] for peer in peers() if not peer["connected"]}
        words = [
            item["name"] + (" (its host is disconnected)" if item["uuid"] in gone else "")
            for item in waiting
        ]
        raise CommandExecutionError(
            f"bricks of volume {volume} still offline after {timeout} s: {', '.join(words)}"
        )
    return status(volume)["bricks"]


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
            for peer in peers()
            if not peer["ready"]
        ]
        replicated = made_of["replica"] > 1 or made_of["disperse"]
        healing = _heal(volume, "summary") if state and replicated else []
        reasons += __utils__["gluster.health"](made_of, state, healing)
    except CommandExecutionError as error:
        reasons = [str(error)]
    if reasons:
        __context__["retcode"] = 1
    return {"healthy": not reasons, "reasons": reasons}


def mount_status(path):
    """
    Return whether and how a path is mounted, and what systemd knows about it.

    :param str path: the mount point.
    :returns: dict with ``mounted`` (bool), ``count`` (mounts on top of each other there),
        ``source``, ``fstype`` and ``options`` of the topmost (None if not mounted), ``alive``
        (bool: a process serves the mount; a dead one leaves a mount that answers every access with
        an error), ``unit``, ``enabled`` (bool) and ``active`` (systemd's word, e.g. "failed").
    :raises CommandExecutionError: if systemd does not answer.

    CLI Example:

    .. code-block:: bash

        salt web-1 gluster.mount_status /srv/shared
    """
    mountinfo = pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    found = __utils__["gluster.mounts"](mountinfo, path)
    top = found[-1] if found else {"source": None, "fstype": None, "options": None}
    unit = __utils__["gluster.unit_name"](path)
    # list-unit-files and show answer for units that are not there, where is-enabled fails.
    shown = _systemctl("show", "--property=ActiveState,UnitFileState", unit)
    words = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    return {
        "mounted": bool(found),
        "count": len(found),
        **top,
        "alive": top["fstype"] == "fuse.glusterfs" and _mount_process(path),
        "unit": unit,
        "enabled": words.get("UnitFileState") == "enabled",
        "active": words.get("ActiveState", "unknown"),
    }


def mount_units(path, volume, servers, options=None, test=False):
    """
    Write the systemd units that keep a volume mounted, where they differ, and enable the mount.

    The mount itself is left as it is: what was written holds from the next mount on.

    The units are a mount unit and a companion service that starts it again every ten seconds after
    it failed, until it succeeds. systemd itself never repeats a failed mount, so a node that boots
    before the storage nodes would stay without the volume. ``systemctl stop`` on the mount unit
    stays stopped.

    :param str path: the mount point; systemd makes the directory.
    :param str volume: its name.
    :param list servers: hosts to get the volume's layout from, the first that answers is taken.
        Data is read and written on all bricks at once, whatever is given here.
    :param list options: further mount options. Default: ``log-level=WARNING``.
    :param bool test: change nothing.
    :returns: dict of what differed, empty if nothing did: ``units``, a dict of file to difference
        as text, and ``enabled``.
    :raises CommandExecutionError: for a path, volume, server or option that cannot be used.

    CLI Example:

    .. code-block:: bash

        salt web-1 gluster.mount_units /srv/shared shared '[db-1, db-2, db-3]' test=True
    """
    differing = {}
    units = __utils__["gluster.mount_units"](path, volume, servers, options)
    for name, text in units.items():
        file = pathlib.Path(UNIT_DIRECTORY, name)
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        if before == text:
            continue
        differing[str(file)] = "\n".join(
            difflib.unified_diff(before.splitlines(), text.splitlines(), lineterm="", n=0)
        )
        if not test:
            with salt.utils.atomicfile.atomic_open(str(file), "w") as out:
                out.write(text)
            file.chmod(0o644)
    if differing and not test:
        _systemctl("daemon-reload")
    changes = {"units": differing} if differing else {}
    status_before = mount_status(path)
    if not status_before["enabled"]:
        changes["enabled"] = {"old": False, "new": True}
        if not test:
            _systemctl("enable", status_before["unit"])
    return changes


def mount(path, timeout=90):
    """
    Start the mount unit that :py:func:`mount_units` wrote, and wait until it is mounted.

    systemd runs the mount, so it outlives the minion. Does nothing to what is mounted already. A
    first attempt may meet bricks that are still starting; the unit's companion goes on trying, also
    after ``timeout``.

    :param str path: the mount point.
    :param float timeout: seconds to wait at most.
    :returns: :py:func:`mount_status`.
    :raises CommandExecutionError: when the time is over, with the mount's own last words.

    CLI Example:

    .. code-block:: bash

        salt web-1 gluster.mount /srv/shared
    """
    unit = __utils__["gluster.unit_name"](path)
    _systemctl("start", "--no-block", unit)

    def obstacles():
        now = mount_status(path)
        return [] if now["mounted"] and now["active"] == "active" else [now["active"]]

    if _until_empty(obstacles, timeout):
        raise CommandExecutionError(
            f"{path} not mounted after {timeout} s, attempts go on in the background: "
            f"{_mount_failure(path, unit)}"
        )
    return mount_status(path)


def unmount(path):
    """
    Stop a mount unit and its companion, so that it stays unmounted until the next boot or start.

    :param str path: the mount point.
    :returns: True.
    :raises CommandExecutionError: if it cannot be unmounted, because files on it are open, say.

    CLI Example:

    .. code-block:: bash

        salt web-1 gluster.unmount /srv/shared
    """
    unit = __utils__["gluster.unit_name"](path)
    _systemctl("stop", unit.removesuffix(".mount") + "-retry.service", unit)
    return True


def _gluster(*words):
    """Run one gluster command and return its parsed answer; repeat it while glusterd is locked."""
    argv = __utils__["gluster.command"](words)
    if not salt.utils.path.which(argv[0]):
        missing = "the gluster command is missing: install glusterfs-server (or glusterfs-cli)"
        __utils__["gluster.reply"](words, {"stdout": "", "stderr": missing, "retcode": 127})
    deadline = time.monotonic() + float(__salt__["config.get"]("gluster.lock_timeout", 30))
    while True:
        result = __salt__["cmd.run_all"](argv, python_shell=False, ignore_retcode=True)
        try:
            return __utils__["gluster.reply"](words, result)
        except CommandExecutionError as error:
            if not __utils__["gluster.locked"](error) or time.monotonic() >= deadline:
                raise
        time.sleep(POLL_SECONDS)


def _systemctl(*words):
    result = __salt__["cmd.run_all"](["systemctl", *words], python_shell=False, ignore_retcode=True)
    if result["retcode"]:
        text = (result["stderr"] or result["stdout"]).replace("\n", " ")
        raise CommandExecutionError(f"systemctl {' '.join(words)}: {text} ({result['retcode']})")
    return result["stdout"]


def _status(made_of):
    answer = _gluster("volume", "status", made_of["name"])
    return __utils__["gluster.status"](answer, made_of)


def _heal(volume, *words):
    answer = _gluster("volume", "heal", volume, "info", *words)
    return __utils__["gluster.heal"](answer)


def _force(force):
    return ["force"] if force else []


def _until_empty(look, timeout):
    """Call ``look`` until it returns an empty list or the time is over; return its last list."""
    deadline = time.monotonic() + float(timeout)
    while (left := look()) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return left


def _own_addresses():
    own = set(salt.utils.network.ip_addrs(include_loopback=True))
    own.update(salt.utils.network.ip_addrs6(include_loopback=True))
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


def _mount_failure(path, unit):
    """Return in words why the last attempt to mount failed: mount's own, then the client log's."""
    journal = __salt__["cmd.run_all"](
        [
            "journalctl",
            f"_SYSTEMD_UNIT={unit}",
            "--lines=2",
            "--output=cat",
            "--no-pager",
            "--quiet",
        ],
        python_shell=False,
        ignore_retcode=True,
    )
    words = journal["stdout"].splitlines()
    result = _systemctl("show", "--property=Result", unit).strip()
    words = words or [f"systemd says {result}"]
    log = pathlib.Path("/var/log/glusterfs", path.strip("/").replace("/", "-") + ".log")
    if log.exists():
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-200:]
        errors = [line.partition("] 0-")[2] for line in lines if "] E [" in line]
        words += [f"{log} says {error}" for error in errors[-1:]]
    return " | ".join(words)


def _mount_process(path):
    """Tell whether a glusterfs client process for this mount point is running."""
    mount_point = ("/" + path.strip("/")).encode()
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            argv = entry.read_bytes().rstrip(b"\0").split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        if argv[0].endswith(b"glusterfs") and argv[-1] == mount_point:
            return True
    return False
