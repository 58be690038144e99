"""
The fleet from the operator's side: look at it, check it, publish a release, verify it counts.

Each function ends with exit code 0 only when what it says is true of every node. A failure is a
dictionary with ``retcode`` 1 and ``failed``: a list of sentences that name node and reason.

Settings, in the master's configuration: ``counterapp_state`` (folder of lock, journal and history,
default ``/var/lib/counterapp``), ``counterapp_dist`` (where built releases lie, default
``/srv/counterapp-dist``), ``counterapp_config`` (default ``/etc/salt/counterapp``).
"""

import contextlib
import datetime
import json
import logging
import os
import pathlib
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import jwt
from salt.exceptions import CommandExecutionError, SaltException

__context__: dict[str, Any]
__opts__: dict[str, Any]
__utils__: dict[str, Callable[..., Any]]

log = logging.getLogger(__name__)
#: A node is fresh in a role when both are pending: then nothing of the role runs there yet.
_FRESH = {
    "db": {"mongodb.install", "mongodb.service"},
    "web": {"web.install", "web.config"},
    "lb": {"lb.install", "lb.haproxy"},
}
_VERSION = re.compile(r"counterapp-(?P<version>[A-Za-z0-9][A-Za-z0-9.+_-]*)\.tar\.gz\Z")
#: The counter that checks whether hits are counted exactly; nobody else uses it.
_VERIFY_COUNTER = "default/rollout-verify"
#: Seconds by which a node's clock may differ from the master's.
_CLOCK_TOLERANCE = 2
#: Seconds after which a VIP that moves has a holder again.
_VIP_MOVES = 2
#: What an operator's token can allow.
_SCOPES = {"counters:read", "counters:write"}


def _fail(*reasons: str) -> dict[str, Any]:
    __context__["retcode"] = 1
    return {"retcode": 1, "failed": list(reasons)}


def _fleet(function: str, *args: Any, **kwargs: Any) -> Any:
    return __utils__[f"fleet.{function}"](*args, **kwargs)


def _ledger(function: str, *args: Any, **kwargs: Any) -> Any:
    return __utils__[f"ledger.{function}"](
        __opts__.get("counterapp_state", "/var/lib/counterapp"), *args, **kwargs
    )


def _config_dir() -> pathlib.Path:
    return pathlib.Path(__opts__.get("counterapp_config", "/etc/salt/counterapp"))


def _dist_dir() -> pathlib.Path:
    return pathlib.Path(__opts__.get("counterapp_dist", "/srv/counterapp-dist"))


def topology() -> dict[str, Any]:
    """
    Return the fleet's topology, checked: ``name``, ``network``, ``vip``, ``nodes`` by ID.

    CLI Example:

    .. code-block:: bash

        salt-run counterapp.topology
    """
    document = _fleet("topology_document")
    name = _fleet("topology_name")
    if problems := __utils__["topology.problems"](document, name):
        raise CommandExecutionError("; ".join(problems))
    found: dict[str, Any] = __utils__["topology.select"](document, name)
    return found


def with_role(role: str) -> list[str]:
    """
    Return the IDs of the nodes with a role, in the order of the topology.

    role
        A role, as the topology has it.

    CLI Example:

    .. code-block:: bash

        salt-run counterapp.with_role web
    """
    nodes: list[str] = __utils__["topology.with_role"](topology(), role)
    return nodes


def settings() -> dict[str, Any]:
    """
    Return the fleet's settings: the pillar of the master's own minion, without secrets.

    CLI Example:

    .. code-block:: bash

        salt-run counterapp.settings
    """
    found = topology()
    masters = __utils__["topology.with_role"](found, "master")
    chosen: dict[str, Any] = _fleet("settings", masters[0])
    # A master that has another role as well gets that one's; runners' returns are kept as jobs.
    chosen.pop("secrets", None)
    return chosen


# The lock


def lock() -> dict[str, Any]:
    """
    Take the rollout lock for the process that runs this, and begin a new journal.

    A lock whose process has died is taken over; that is logged.

    CLI Example:

    .. code-block:: bash

        salt-run counterapp.lock
    """
    try:
        taken = _ledger("take", jid=globals().get("__jid__"))
    except CommandExecutionError as error:
        return _fail(str(error))
    stale = taken["taken_from"]
    if stale:
        log.warning(
            "The rollout lock of %s since %s was taken over: its process %s is dead",
            stale["owner"],
            stale["since"],
            stale["pid"],
        )
    _ledger("open_journal", owner=taken["owner"], started=taken["since"], jid=taken["jid"])
    return {"owner": taken["owner"], "since": taken["since"], "taken_from": stale}


def unlock(confirm: str | None = None) -> dict[str, Any]:
    """
    Break the rollout lock, whoever has it. A rollout that runs is not stopped by this.

    confirm
        The lock's owner, as ``counterapp.status`` and a refused rollout show it.

    CLI Example:

    .. code-block:: bash

        salt-run counterapp.unlock confirm=root@master
    """
    try:
        broken = _ledger("break_lock", confirm)
    except CommandExecutionError as error:
        return _fail(str(error))
    log.warning("The rollout lock of %s was broken on purpose", broken["owner"])
    return {"broken": broken}


def history(limit: int = 20) -> list[dict[str, Any]]:
    """
    Return the last rollouts, newest first: who, when, which release, how it ended and why.

    limit
        How many of them.

    CLI Example:

    .. code-block:: bash

        salt-run counterapp.history limit=5
    """
    rollouts: list[dict[str, Any]] = _ledger("history", limit)
    return rollouts


# Releases


def current_release() -> str | None:
    """
    Return the release that the last successful rollout left the fleet on; None before the first.

    CLI Example:

    .. code-block:: bash

        salt-run counterapp.current_release
    """
    return settings().get("release")


def releases() -> list[dict[str, Any]]:
    """
    Return the releases that can be rolled out, oldest first.

    They lie in the builder's output folder, or on the volume since they were published. What lies
    on the volume and was not published is none.

    Returns of each ``version``, ``path``, ``sha256`` and ``size`` as they were noted when it was
    published, and ``published``, when that was (ISO 8601); the last three are None before that.

    CLI Example:

    .. code-block:: bash

        salt-run counterapp.releases
    """
    unpublished = {"sha256": None, "size": None, "published": None}
    notes, volume = _notes(), _volume_dir()
    found = []
    for version in {**_built(), **notes}:
        if path := _archive(version, notes, volume):
            note = notes.get(version, unpublished)
            # Times on the volume are what anybody wants them to be.
            when = _built_at(path) if path.parent == _dist_dir() else note["published"]
            found.append((when, {"version": version, "path": str(path), **note}))
    return [each for _when, each in sorted(found, key=lambda pair: pair[0])]


def _built() -> dict[str, pathlib.Path]:
    folder = _dist_dir()
    paths = folder.iterdir() if folder.is_dir() else ()
    return {match["version"]: path for path in paths if (match := _VERSION.search(path.name))}


def _built_at(path: pathlib.Path) -> str:
    return datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC).isoformat()


def _archive(version: str, notes: dict[str, Any], volume: pathlib.Path) -> pathlib.Path | None:
    """Return where a release is read from: as it was built, else as it was published."""
    built = _dist_dir() / f"counterapp-{version}.tar.gz"
    if built.exists():
        return built
    published = volume / built.name
    return published if version in notes and os.path.lexists(published) else None


def _notes() -> dict[str, Any]:
    notes: dict[str, Any] = _release("noted", _notes_dir())
    return notes


def _release(function: str, *args: Any) -> Any:
    """Ask what judges archives and notes them; a CommandExecutionError says what is wrong."""
    try:
        return __utils__[f"release.{function}"](*args)
    except OSError as error:
        raise CommandExecutionError(f"{error.filename}: {error.strerror}") from error
    except ValueError as error:
        raise CommandExecutionError(str(error)) from error


def _notes_dir() -> pathlib.Path:
    return _config_dir() / "pillar"


def _volume_dir() -> pathlib.Path:
    return pathlib.Path(settings().get("gluster", {}).get("mount", "/srv/shared")) / "releases"


def _find_release(release: str | float | None) -> str:
    """Return the version of the release to roll out; see :py:func:`preflight`."""
    if isinstance(release, float):
        raise CommandExecutionError(
            f"the release came as the number {release} (1.10 would become 1.1): write it as "
            """text, release='"1.10"' or pillar='{"release": "1.10"}'"""
        )
    known = [each["version"] for each in releases()]
    version = release or current_release() or next(reversed(known), None)
    if version is None:
        raise CommandExecutionError(
            f"there is no release in {_dist_dir()}, and none was published: build one with "
            "`make dist`"
        )
    version = str(version)
    if version not in known:
        published = version in _notes()
        raise CommandExecutionError(
            f"release {version} is not in {_dist_dir()}, and "
            + (f"is gone from {_volume_dir()}" if published else "was not published")
            + f" (there are: {', '.join(known) or 'none'}): build it with `make dist VERSION="
            f"{version}`, or publish the archive from elsewhere with `salt-run counterapp.publish "
            f"{version} source=ARCHIVE`; what only lies on the volume is not believed"
        )
    return version


def _require_whole(version: str) -> None:
    """
    Raise unless the archive of a release is whole and what was published.

    So that this is known before anything is touched; the web nodes find it out by themselves too.
    """
    notes, volume = _notes(), _volume_dir()
    archive = _archive(version, notes, volume)
    if archive and archive.parent == _dist_dir():
        _inspect(version, archive, notes)
    target = volume / f"counterapp-{version}.tar.gz"
    if version in notes and os.path.lexists(target):
        _check_published(version, target, notes[version])


def _check_published(version: str, target: pathlib.Path, note: dict[str, Any]) -> None:
    try:
        _release("check", target, note["sha256"], note["size"])
    except CommandExecutionError as error:
        raise CommandExecutionError(
            f"{error}; find out who did, then put it back with `salt-run counterapp.publish "
            f"{version}`, where it is no longer in {_dist_dir()} with `source=` and the path of an "
            "archive that did not lie on the volume"
        ) from error


def _inspect(version: str, archive: pathlib.Path, notes: dict[str, Any]) -> dict[str, Any]:
    """Return SHA-256 and size of a whole archive; one that was published must still be the same."""
    found: dict[str, Any] = _release("digest", archive)
    manifest = _release("inspect", archive)["manifest"]
    if manifest["version"] != version:
        raise CommandExecutionError(f"{archive} holds release {manifest['version']}, not {version}")
    noted = notes.get(version)
    if noted and noted["sha256"] != found["sha256"]:
        raise CommandExecutionError(
            f"{archive} is not the release {version} that was published on {noted['published']} "
            f"with the SHA-256 {noted['sha256']}: give the new build a version of its own"
        )
    return found


def publish(version: str, source: str | None = None) -> dict[str, Any]:
    """
    Vouch for a release, and put it on the shared volume, where the web nodes take it from.

    Its SHA-256 and size are noted where root of the master alone can write (``pillar/releases.sls``
    of ``counterapp_config``); the nodes have them by pillar and install nothing else, whatever lies
    on the volume. What lies there of this version is replaced unless it is the same. A release that
    was published with other content is refused, since a release never changes.

    version
        Which release.
    source
        Path of the archive on the master, outside of the volume; the default is that of the
        version in the builder's output folder.

    Returns ``version``, ``path``, ``sha256``, ``size`` and ``changed``.

    CLI Example:

    .. code-block:: bash

        salt-run counterapp.publish 1.4.0
    """
    try:
        version = _release("check_version", str(version))
        mount = pathlib.Path(settings()["gluster"]["mount"])
        if not mount.is_mount():
            raise CommandExecutionError(
                f"the shared volume is not mounted on {mount} of the master: apply the state "
                "`gluster` there first"
            )
        notes, target = _notes(), mount / "releases" / f"counterapp-{version}.tar.gz"
        archive = pathlib.Path(source) if source else _dist_dir() / target.name
        if not source and not archive.exists():
            # Then an earlier rollout has published it; a master made anew has no builds.
            version = _find_release(version)
            _check_published(version, target, notes[version])
            found = {key: notes[version][key] for key in ("sha256", "size")}
            return {"version": version, "path": str(target), **found, "changed": False}
        if archive.resolve().is_relative_to(mount.resolve()):
            raise CommandExecutionError(
                f"{archive} lies on the volume, where root of any node can write: name the archive "
                "where it was built"
            )
        found = _inspect(version, archive, notes)
        changed = _put(archive, target, found)
        _release("note", _notes_dir(), version, found["sha256"], found["size"])
        return {"version": version, "path": str(target), **found, "changed": changed}
    except (SaltException, OSError) as error:
        return _fail(f"release {version} cannot be published: {error}")


def _put(archive: pathlib.Path, target: pathlib.Path, found: dict[str, Any]) -> bool:
    """Have an archive lie at its place on the volume, whatever others have made there."""
    try:
        _release("check", target, found["sha256"], found["size"])
    except CommandExecutionError as error:
        if os.path.lexists(target):
            log.warning("%s; it is replaced", error)
    else:
        return False
    with contextlib.suppress(FileExistsError):
        target.parent.mkdir(mode=0o755)
    # By the folder's handle: a link in its place would have root write anywhere on the master.
    try:
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except NotADirectoryError as error:
        raise CommandExecutionError(
            f"{target.parent} is a link or a file, and no folder; somebody has made it: remove it"
        ) from error
    partial = f".{target.name}.{os.urandom(8).hex()}"
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(partial, flags, 0o600, dir_fd=folder)
        with os.fdopen(handle, "wb") as copy, archive.open("rb") as content:
            shutil.copyfileobj(content, copy, 2**20)
            copy.flush()
            os.fchmod(handle, 0o644)
            os.fsync(handle)
        os.rename(partial, target.name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial, dir_fd=folder)
        os.close(folder)
    _release("check", target, found["sha256"], found["size"])
    return True


# Before a rollout


def preflight(release: str | float | None = None) -> dict[str, Any]:
    """
    Check everything that a rollout needs, and find out what it would change; touch nothing.

    Every node of the topology answers, by name; roles agree; modules are in step; every SLS
    renders on every node; the release is there, whole, and what was published under its name; all
    clocks tell the same; what runs already is healthy. A mongod whose version lets strangers read
    its memory over zlib (CVE-2025-14847) is refused where the settings have it offer zlib, and
    told of otherwise.

    release
        Which release to roll out. Default: the one that the fleet is on; before the first
        rollout the newest built.

    Returns the plan, as :py:func:`plan` does.

    CLI Example:

    .. code-block:: bash

        salt-run counterapp.preflight release=1.4.0
    """
    try:
        found = topology()
        nodes = found["nodes"]
        _fleet("tell", "preflight", f"asking {len(nodes)} nodes by name")
        if problems := _unreachable(nodes):
            return _failed_preflight(problems)
        version = _find_release(release)
        _require_whole(version)
        # This brings the modules of every node in step too, as each highstate does first.
        _fleet("tell", "preflight", "rendering every state on every node to see what would change")
        made, problems = _make_plan(nodes, version)
        if problems:
            return _failed_preflight(problems)
        _fleet("tell", "preflight", "asking what runs already for its health")
        if problems := _unhealthy(nodes):
            return _failed_preflight(problems)
        for node, warning in _database_warnings(nodes).items():
            _fleet("tell", "preflight", warning, node)
        if _ledger("holder") and _ledger("holder")["mine"]:
            _ledger("note", release=version, previous=current_release(), plan=made)
        return made
    except SaltException as error:
        return _failed_preflight([str(error)])


def _failed_preflight(problems: list[str]) -> dict[str, Any]:
    holder = _ledger("holder")
    if holder and holder["mine"]:
        failure = {"stage": "preflight", "node": None, "step": "preflight", "reason": problems}
        _ledger("note", failed=failure)
    return _fail(*problems)


def plan(release: str | float | None = None) -> dict[str, Any]:
    """
    Return what a rollout would change, without the checks and without touching anything.

    release
        As for :py:func:`preflight`.

    Returns ``release``; ``nodes``, each with ``roles``, ``pending`` (changes by SLS, with the IDs
    of the states), ``fresh`` (nothing of its role is installed).

    CLI Example:

    .. code-block:: bash

        salt-run counterapp.plan release=1.4.0
    """
    try:
        made, problems = _make_plan(topology()["nodes"], _find_release(release))
    except SaltException as error:
        return _fail(str(error))
    return _fail(*problems) if problems else made


def _make_plan(nodes: dict[str, Any], version: str) -> tuple[dict[str, Any], list[str]]:
    reports = _fleet("apply", nodes, pillar={"release": version}, test=True, timeout=20)
    problems = [f"{node}: {report['error']}" for node, report in reports.items() if report["error"]]
    made: dict[str, Any] = {"release": version, "nodes": {}}
    for node, report in reports.items():
        pending: dict[str, list[str]] = {}
        # A state that fails in a dry run wants something that an earlier one would have made.
        for each in report["changed"] + report["failed"]:
            pending.setdefault(each["sls"], []).append(each["id"])
        roles = nodes[node]["roles"]
        made["nodes"][node] = {
            "roles": roles,
            "pending": pending,
            "fresh": any(_FRESH[role] <= pending.keys() for role in roles if role in _FRESH),
        }
    return made, problems


def _unreachable(nodes: dict[str, Any]) -> list[str]:
    # The pillar that a minion has in memory, which plain functions go by, is as old as the minion;
    # while the states render it is brought up to date.
    functions = ["grains.item", "saltutil.refresh_pillar"]
    found = _fleet("everyone", nodes, functions, [["roles"], []], None, 10, 5)
    problems = [
        f"{node}: {reason}; look at `salt-key -l all` on the master and at "
        f"`systemctl status salt-minion` on the node"
        for node, reason in found["failed"].items()
    ]
    for node, answer in found["answers"].items():
        claimed = sorted(answer["grains.item"].get("roles") or [])
        given = sorted(nodes[node]["roles"])
        if claimed != given:
            problems.append(
                f"{node}: its roles grain is {claimed}, but the topology gives it {given}; correct "
                "/etc/salt/grains on the node or pillar/topology.sls"
            )
    return problems


def _unhealthy(nodes: dict[str, Any]) -> list[str]:
    return [
        *_clocks(nodes, list(nodes))[1],
        *_database_problems(nodes),
        *_zlib_problems(nodes),
        *_volume_problems(nodes),
        *_balancer_problems(nodes),
    ]


def _clocks(nodes: dict[str, Any], asked: list[str]) -> tuple[dict[str, float], list[str]]:
    """
    Hold the clocks of these nodes against each other.

    Returns by how many seconds each wrong one is ahead or behind (< 0), by node; and a sentence
    about each that is wrong or was not told.
    """
    found = _fleet("clocks", asked, _CLOCK_TOLERANCE)
    wrong, measure = found["wrong"], "the master's"
    [master] = __utils__["topology.with_role"]({"nodes": nodes}, "master")
    others = [node for node in asked if node != master]
    deviations = sorted(wrong.values())
    # They were held against the master's. It is the one that is wrong where all others agree.
    if (
        len(others) > 1
        and wrong.keys() == set(others)
        and deviations[-1] - deviations[0] <= 2 * _CLOCK_TOLERANCE
    ):
        wrong = {master: -deviations[len(deviations) // 2]}
        measure = "all others"
    problems = [
        f"{node}: its clock is {abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} "
        f"{measure}, more than {_CLOCK_TOLERANCE} s: run `salt {node} state.apply base`, which has "
        "chrony run there, and `chronyc makestep` on the node; a container has its host's clock"
        for node, seconds in wrong.items()
    ]
    problems += [f"{node}: its clock is not known: {why}" for node, why in found["failed"].items()]
    return wrong, problems


def _database_problems(nodes: dict[str, Any]) -> list[str]:
    members = [node for node in nodes if "db" in nodes[node]["roles"]]
    found = _fleet("replica_set", members)
    if not found["begun"]:
        return []
    # One whose daemon is down cannot tell; the rollout brings it up, as long as the rest serve.
    witness = next(
        (node for node, state in found["states"].items() if state["initialized"]), members[0]
    )
    healthy = _fleet("ask", [witness], "mongodb.healthy")[witness]
    return [f"{witness}: the replica set is not healthy: {why}" for why in healthy["reasons"]]


def _zlib_problems(nodes: dict[str, Any]) -> list[str]:
    """
    Return for which nodes the settings that are rolled out want zlib of a vulnerable mongod.

    They decide, and not what runs: it may be what this very rollout ends.
    """
    wanted = settings()["mongodb"]
    install = wanted["install"]
    key = "version" if install["source"] == "wheel" else "repo_least"
    version = str(install[key])
    try:
        repaired = __utils__["mongodb_version.repaired_in"](version)
    except ValueError as error:
        return [f"mongodb:install:{key} in pillar/mongodb.sls: {error}"]
    if not repaired or "zlib" not in wanted["compressors"]:
        return []
    return [
        f"{node}: its mongod would be {version} and offer zlib, over which a stranger reads its "
        "memory (CVE-2025-14847): take zlib out of mongodb:compressors in pillar/mongodb.sls, or "
        f"have {repaired} or newer installed"
        for node in nodes
        if "db" in nodes[node]["roles"]
    ]


def _database_warnings(nodes: dict[str, Any]) -> dict[str, str]:
    """Return which nodes run a mongod with CVE-2025-14847, and whether a stranger can use it."""
    members = [node for node in nodes if "db" in nodes[node]["roles"]]
    warnings = {}
    # One that does not run yet cannot tell.
    for node, told in _fleet("everyone", members, "mongodb.server_info")["answers"].items():
        if not isinstance(told, dict):
            continue
        if repaired := __utils__["mongodb_version.repaired_in"](told["version"]):
            state = (
                "strangers read its memory over zlib until its configuration is rolled out"
                if "zlib" in told["compressors"]
                else "it is out of reach, since zlib is off"
            )
            warnings[node] = (
                f"its mongod {told['version']} has CVE-2025-14847, repaired in {repaired}: {state}"
            )
    return warnings


def _volume_problems(nodes: dict[str, Any]) -> list[str]:
    keepers = [node for node in nodes if "storage" in nodes[node]["roles"]]
    volume = settings()["gluster"]["volume"]
    answers = _fleet("everyone", keepers, "gluster.volumes")["answers"]
    holders = [
        node for node, found in answers.items() if isinstance(found, list) and volume in found
    ]
    if not holders:
        return []
    # What a node missed while it was down is healed in the background within seconds.
    deadline = time.monotonic() + 30
    while True:
        healthy = _fleet("ask", holders[:1], "gluster.healthy", [volume])[holders[0]]
        if healthy["healthy"] or time.monotonic() > deadline:
            return [f"{holders[0]}: volume {volume}: {why}" for why in healthy["reasons"]]
        time.sleep(1)


def _balancer_problems(nodes: dict[str, Any]) -> list[str]:
    balancers = [node for node in nodes if "lb" in nodes[node]["roles"]]
    backend = settings()["lb"]["backend"]
    deadline = time.monotonic() + 15
    while True:
        # One that does not run or has no such backend yet is brought up by the rollout.
        answers = _fleet("everyone", balancers, "haproxy.servers", [backend])["answers"]
        views = {
            node: sorted(each["name"] for each in servers if each["up"])
            for node, servers in answers.items()
            if isinstance(servers, list)
        }
        if len({tuple(up) for up in views.values()}) <= 1:
            return []
        if time.monotonic() > deadline:
            seen = "; ".join(f"{node} sees {', '.join(up) or 'none'}" for node, up in views.items())
            return [f"the balancers do not agree on which web servers are up: {seen}"]
        time.sleep(1)


# After a rollout


def verify(hits: int = 20, release: str | None = None, timeout: float = 30) -> dict[str, Any]:
    """
    Count hits through the VIP and see that exactly these were counted.

    hits
        How many hits to send to the counter ``rollout-verify``, at least one.
    release
        The release that every web node must answer with. Default: the fleet's.
    timeout
        Seconds until the VIP must answer at all.

    Returns ``url``, ``hits``, ``by_node`` (who counted how many) and ``release``.

    CLI Example:

    .. code-block:: bash

        salt-run counterapp.verify hits=100
    """
    if hits < 1:
        return _fail(f"hits must be a whole number from 1 on, not {hits!r}")
    try:
        expected = release or current_release()
        webs = with_role("web")
        url = _url()
        _await_answer(url, timeout)
        before = 0
        by_node: dict[str, int] = {}
        for number in range(1, hits + 1):
            answer = _request("POST", f"{url}api/v1/counters/{_VERIFY_COUNTER}/hits")
            by_node[answer["node"]] = by_node.get(answer["node"], 0) + 1
            if number == 1:
                # A counter that nobody has hit yet does not exist: the first hit tells where it
                # stood. Nobody else counts on it, since only one rollout runs at a time.
                before = answer["value"] - 1
            if answer["value"] != before + number:
                return _fail(
                    f"hit {number} through {url} made the count {answer['value']}, not "
                    f"{before + number}"
                )
        after = _request("GET", f"{url}api/v1/counters/{_VERIFY_COUNTER}")["value"]
        if after != before + hits:
            return _fail(f"{hits} hits through {url} moved the count from {before} to {after}")
        problems = []
        for node, health in _fleet("ask", webs, "counterapp.health").items():
            if not health["ready"]:
                problems.append(f"{node}: it is not ready: {health['reason']}")
            elif expected and health["release"] != expected:
                problems.append(f"{node}: it answers with {health['release']}, not {expected}")
        if problems:
            return _fail(*problems)
        return {"url": url, "hits": hits, "by_node": by_node, "release": expected}
    except (SaltException, OSError, ValueError, KeyError) as error:
        return _fail(f"hits through the VIP could not be verified: {error}")


def _url() -> str:
    port = settings()["lb"]["frontend_port"]
    return f"http://{topology()['vip']}{'' if port == 80 else f':{port}'}/"


def _await_answer(url: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            _request("GET", f"{url}readyz")
        except (OSError, ValueError) as error:
            if time.monotonic() > deadline:
                raise CommandExecutionError(
                    f"{url} does not answer within {timeout} s: {error}"
                ) from error
            time.sleep(0.3)
        else:
            return


def _request(method: str, url: str) -> Any:
    request = urllib.request.Request(url, method=method, data=b"" if method == "POST" else None)
    # Straight to the VIP: a proxy of the environment has no way there.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=15) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            raise OSError(f"{method} {url} was answered with {error.code}") from error


# Operators of the counters


def token(
    scopes: str = "counters:read",
    minutes: int = 15,
    subject: str | None = None,
    path: str | None = None,
) -> dict[str, Any]:
    """
    Make a token for the operator's endpoints of the app, and put it into a file of root's alone.

    The file holds the whole header, for ``curl --header @<file>``: so the token is in no argument,
    no log and no job cache. It is signed with the fleet's operator key and ends by itself; a new
    one takes the place of the one before.

    scopes
        What it allows, separated by commas or blanks: ``counters:read`` (list and export all
        counters), ``counters:write`` (set and delete any).
    minutes
        For how long it is good, from 1 to 1440: a day is the longest that the app takes.
    subject
        Whom the app's log shall name. Default: the user who runs this, at this master.
    path
        Where to put it. Default: ``operator.header`` in the folder of the rollouts' journal.

    Returns ``path``, ``subject``, ``scopes`` and ``expires``; never the token.

    CLI Example:

    .. code-block:: bash

        salt-run counterapp.token scopes=counters:read,counters:write minutes=10
    """
    try:
        wanted = sorted(set(str(scopes).replace(",", " ").split()))
        if not wanted or not set(wanted) <= _SCOPES:
            raise CommandExecutionError(
                f"the scopes must be some of {', '.join(sorted(_SCOPES))}, not {scopes!r}"
            )
        if type(minutes) is not int or not 1 <= minutes <= 1440:
            raise CommandExecutionError(
                f"minutes must be from 1 to 1440, for the app takes no token that is good for more "
                f"than a day, not {minutes!r}"
            )
        who = str(subject or f"{globals().get('__user__', 'root')}@{__opts__['id']}")
        expires = int(time.time()) + 60 * minutes
        claims = {"sub": who, "aud": "counterapp", "scope": " ".join(wanted), "exp": expires}
        signed = jwt.encode(claims, _operator_key(), algorithm="HS256")
        state = pathlib.Path(__opts__.get("counterapp_state", "/var/lib/counterapp"))
        target = pathlib.Path(path) if path else state / "operator.header"
        _write_secret(target, f"Authorization: Bearer {signed}\n")
    except (SaltException, OSError) as error:
        return _fail(f"no token was made: {error}")
    ends = datetime.datetime.fromtimestamp(expires, datetime.UTC).isoformat()
    return {"path": str(target), "subject": who, "scopes": wanted, "expires": ends}


def _operator_key() -> str:
    secrets = _fleet("settings", with_role("web")[0]).get("secrets", {})
    key: str | None = secrets.get("counterapp_operator")
    if not key:
        raise CommandExecutionError(
            "the pillar has no secrets:counterapp_operator for the web nodes: run "
            "`/srv/counterapp/bootstrap/make-secrets /etc/salt/counterapp/pillar/secrets`"
        )
    return key


def _write_secret(target: pathlib.Path, text: str) -> None:
    """Put a file in place whole, readable by root alone from its first byte on."""
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(text)
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)


# The whole at a glance


def status() -> dict[str, Any]:
    """
    Return how the fleet is: ``url``, ``release``, ``lock`` and ``nodes``.

    Each node has ``roles``, ``address``, ``os``, ``up`` (the minion answers), ``release`` (of a
    web node, what it serves) and ``state`` (a few words on what it does). The exit code is 1 when
    a node does not answer, when its clock is more than 2 s off, or when the VIP is held by no
    balancer or by several; ``failed`` says so of each.

    CLI Example:

    .. code-block:: bash

        salt-run counterapp.status
    """
    try:
        found = topology()
        nodes = found["nodes"]
        chosen = settings()
        facts = _fleet("everyone", nodes, "grains.item", ["osfinger"], None, 6, 4)["answers"]
        up = [node for node in nodes if node in facts]
        words = _words(nodes, up, chosen)
        wrong, problems = _clocks(nodes, up)
        problems += _vip_problems(nodes, up, found["vip"], words)
    except SaltException as error:
        return _fail(str(error))
    for node, seconds in wrong.items():
        way = "ahead" if seconds > 0 else "behind"
        words.setdefault(node, {"state": []})["state"].append(f"clock {abs(seconds):.1f} s {way}")
    overview = {
        node: {
            "roles": entry["roles"],
            "address": entry["address"],
            "os": facts.get(node, {}).get("osfinger"),
            "up": node in facts,
            "release": words.get(node, {}).get("release"),
            "state": ", ".join(words.get(node, {}).get("state", [])) or None,
        }
        for node, entry in nodes.items()
    }
    result = {
        "url": _url(),
        "topology": found["name"],
        "release": chosen.get("release"),
        "lock": _ledger("holder"),
        "nodes": overview,
    }
    silent = [f"{node}: the minion does not answer" for node in nodes if node not in facts]
    if silent or problems:
        __context__["retcode"] = 1
        result.update(retcode=1, failed=[*silent, *problems])
    return result


def _words(
    nodes: dict[str, Any], up: list[str], chosen: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Ask each role what it does, and put it in a few words a node."""
    words: dict[str, dict[str, Any]] = {node: {"state": []} for node in up}

    def ask(role: str, function: str, arg: list[str], say: Callable[[str, Any], str]) -> None:
        having = [node for node in up if role in nodes[node]["roles"]]
        found = _fleet("everyone", having, function, arg, None, 8, 4)
        for node, answer in found["answers"].items():
            words[node]["state"].append(say(node, answer))
        for node in found["failed"]:
            words[node]["state"].append(f"{role} does not answer")

    def web(node: str, health: dict[str, Any]) -> str:
        words[node]["release"] = health["release"]
        return "ready" if health["ready"] else f"not ready: {health['reason']}"

    def balancer(_node: str, servers: list[dict[str, Any]]) -> str:
        return f"{sum(each['in_service'] for each in servers)}/{len(servers)} servers up"

    ask("web", "counterapp.health", [], web)
    ask("db", "mongodb.status", [], lambda _node, seen: seen["state"] or "no replica set")
    ask("storage", "gluster.healthy", [chosen["gluster"]["volume"]], _volume_words)
    ask("lb", "haproxy.servers", [chosen["lb"]["backend"]], balancer)
    return words


def _vip_problems(
    nodes: dict[str, Any], up: list[str], vip: str, words: dict[str, dict[str, Any]]
) -> list[str]:
    """Add who holds the VIP to the words; returns a sentence unless one balancer alone does."""
    balancers = [node for node in nodes if "lb" in nodes[node]["roles"]]
    asked = [node for node in balancers if node in up]
    deadline = time.monotonic() + _VIP_MOVES
    while True:
        found = _fleet("everyone", asked, "network.ip_addrs", [], None, 8, 4)
        holders = [node for node in asked if vip in found["answers"].get(node, [])]
        # One that does not answer may hold it.
        unknown = not holders and len(found["answers"]) < len(balancers)
        if len(holders) == 1 or unknown or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    for node in found["answers"]:
        words[node]["state"].append("has the VIP" if node in holders else "standby")
    if len(holders) > 1:
        return [
            f"{' and '.join(holders)} hold the VIP {vip} at the same time: run `systemctl restart "
            "keepalived` on all but one, and see that VRRP (IP protocol 112) passes between them"
        ]
    if holders or unknown:
        return []
    return [
        f"no balancer holds the VIP {vip}: look at `systemctl status haproxy keepalived` on "
        f"{', '.join(balancers)}"
    ]


def _volume_words(_node: str, healthy: dict[str, Any]) -> str:
    return "volume healthy" if healthy["healthy"] else f"volume: {'; '.join(healthy['reasons'])}"
