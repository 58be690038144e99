"""
MongoDB as the execution module needs it: connections, commands, and what their answers mean.

The functions that open a connection raise nothing but PyMongo's errors; the ones that check
what a user wrote raise ``ValueError``. A ``login`` is a dict with ``user``, ``password``,
``database`` and ``mechanism``, ``logins`` are those to try, in this order; a ``tls`` is a dict of
PyMongo's options that begin with ``tls``.

Needs PyMongo 4 and MongoDB 4.4 or newer.
"""

# The annotations name PyMongo's classes, and without PyMongo the module has to load and say so.
from __future__ import annotations

import contextlib
import datetime
import socket
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from salt.exceptions import CommandExecutionError

try:
    import pymongo
    from bson import Timestamp
    from pymongo.errors import (
        ConnectionFailure,
        InvalidOperation,
        NotPrimaryError,
        OperationFailure,
    )

    HAS_PYMONGO = True
except ImportError:
    HAS_PYMONGO = False

UNAUTHORIZED = 13
# What a reconfiguration meets while an earlier one, or an election, has not settled yet:
# ConfigurationInProgress, NewReplicaSetConfigurationIncompatible (somebody was faster),
# PrimarySteppedDown, CurrentConfigNotCommittedYet, NotWritablePrimary.
UNSETTLED = frozenset({109, 103, 189, 308, 10107})
# What a login meets that is wrong or comes too early: UserNotFound, AuthenticationFailed,
# NotPrimaryOrSecondary (a member that has not got its data yet).
LOGIN_REFUSED = frozenset({11, 18, 13436})

# The tag that the initiator carries until all members are as declared (see mongodb_members).
UNFINISHED = {"salt_initiation": "unfinished"}


def __virtual__() -> bool | tuple[bool, str]:
    if not HAS_PYMONGO:
        return False, "PyMongo is missing in Salt's Python: salt-pip install pymongo"
    return True


# Names and errors


def split_address(address: str) -> tuple[str, int]:
    """Return ``(host, port)`` of ``host:port`` or ``[v6]:port``; else ``ValueError``."""
    host, colon, port = str(address).rpartition(":")
    if not colon or not host:
        raise ValueError(f"{address!r} names no port: write host:port, e.g. {address}:27017")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{address!r} has no valid port: it must be a number from 1 to 65535")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"{address!r} is ambiguous: write an IPv6 address as [address]:port")
    return host.strip("[]"), int(port)


def check_members(members: Sequence[str]) -> list[str]:
    """Return ``members`` as a list of distinct ``host:port``; ``ValueError`` names the bad one."""
    if isinstance(members, str) or not members:
        raise ValueError(f"members must be a list of host:port, not {members!r}")
    seen = []
    for member in members:
        split_address(member)
        if member in seen:
            raise ValueError(f"member {member} is listed twice")
        seen.append(member)
    return seen


def normal_roles(roles: Iterable[str | dict[str, str]] | None) -> list[str | dict[str, str]]:
    """Return ``roles`` (``name`` or ``{role, db}``) sorted; a bare name stays bare."""
    if isinstance(roles, str) or roles is None:
        raise ValueError(f"roles must be a list, not {roles!r}")
    normal = set()
    for role in roles:
        if isinstance(role, str) and role:
            normal.add((role, ""))
        elif isinstance(role, dict) and set(role) == {"role", "db"}:
            normal.add((role["role"], role["db"]))
        else:
            raise ValueError(f"{role!r} is no role: write a name, or a dict of role and db")
    return [{"role": name, "db": db} if db else name for name, db in sorted(normal)]


def normal_privileges(privileges: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return privileges, each ``{resource, actions}``, as the server keeps them: one a resource.

    :raises ValueError: one that cannot be meant; the message says how to write it.
    """
    if isinstance(privileges, (str, Mapping)) or privileges is None:
        raise ValueError(f"privileges must be a list, not {privileges!r}")
    actions: dict[tuple[tuple[str, Any], ...], set[str]] = {}
    for privilege in privileges:
        if (
            not isinstance(privilege, Mapping)
            or set(privilege) != {"resource", "actions"}
            or not isinstance(privilege["resource"], Mapping)
            or isinstance(privilege["actions"], str)
            or not privilege["actions"]
        ):
            raise ValueError(
                f"{privilege!r} is no privilege: write a dict of resource (e.g. db and collection)"
                " and actions (a list)"
            )
        resource = tuple(sorted(privilege["resource"].items()))
        actions.setdefault(resource, set()).update(privilege["actions"])
    return [
        {"resource": dict(resource), "actions": sorted(names)}
        for resource, names in sorted(actions.items(), key=lambda each: repr(each[0]))
    ]


def role_names(roles: Iterable[str | dict[str, str]], database: str) -> list[str]:
    """Return ``role@db`` for each of ``roles``, sorted; a bare name is one of ``database``."""
    named = (
        (role, database) if isinstance(role, str) else (role["role"], role["db"]) for role in roles
    )
    return sorted({f"{name}@{db}" for name, db in named})


def code_of(error: Exception) -> int | None:
    """Return the server's code of a PyMongo error, or None where there is none."""
    return getattr(error, "code", None) or (getattr(error, "details", None) or {}).get("code")


def explain(error: Exception) -> str:
    """Return one line of a PyMongo error: the server's own words, code and its name."""
    if isinstance(error, (OperationFailure, NotPrimaryError)):
        details = error.details if isinstance(error.details, dict) else {}
        words = str(details.get("errmsg") or error).split(", full error:")[0]
        words = words if len(words) <= 300 else words[:300] + "…"
        name = details.get("codeName")
        code = code_of(error)
        return words if code is None else f"{words} ({f'{name}, ' if name else ''}code {code})"
    # The driver appends its settings and view of the topology, which helps nobody in a job's log.
    return str(error).split(" (configured timeouts:")[0].split(", Timeout:")[0]


def turns(timeout: float, interval: float = 0.2) -> Iterator[None]:
    """Yield until ``timeout`` seconds are over, ``interval`` apart, and at least once.

    Whoever loops over it does in its own context what it waits for: what is called from a loader's
    function sees the dunders of that loader.
    """
    deadline = time.monotonic() + timeout
    while True:
        yield
        left = deadline - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(interval, left))


def awaited(probe: Callable[[], tuple[bool, Any]], timeout: float, what: str) -> Any:
    """Call ``probe`` until it returns ``(True, seen)``, and return what was seen.

    A server that goes away while it is asked is waited for like one that was never there.

    :param what: what is waited for, as a sentence.
    :raises CommandExecutionError: ``timeout`` seconds are over; it says what was last seen.
    """
    for _ in turns(timeout):
        try:
            done, seen = probe()
        except CommandExecutionError as err:
            if not isinstance(err.__cause__, ConnectionFailure):
                raise
            done, seen = False, str(err)
        if done:
            return seen
    raise CommandExecutionError(f"not within {timeout:g} s: {what}; last seen: {seen}")


# Connections


def _options(
    timeout: float,
    patience: float | None,
    login: Mapping[str, str] | None,
    tls: Mapping[str, Any] | None,
) -> dict[str, Any]:
    options: dict[str, Any] = {
        "serverSelectionTimeoutMS": int(timeout * 1000),
        "connectTimeoutMS": int(timeout * 1000),
        "socketTimeoutMS": int((patience or timeout) * 1000),
        "appname": "salt",
        # A streaming monitor outlives its closed client by up to ten seconds.
        "serverMonitoringMode": "poll",
        **(tls or {}),
    }
    if login:
        options.update(
            username=login["user"],
            password=login["password"],
            authSource=login["database"],
            authMechanism=login["mechanism"],
        )
    return options


@contextlib.contextmanager
def client(
    address: str,
    timeout: float,
    patience: float | None = None,
    login: Mapping[str, str] | None = None,
    tls: Mapping[str, Any] | None = None,
) -> Iterator[pymongo.MongoClient[dict[str, Any]]]:
    """Yield a client of the one server at ``address``, whatever its state, and close it.

    :param address: ``host:port``, or the whole path of a Unix domain socket that ends with
        ``.sock``; on that there is no TLS.
    :param timeout: seconds to find and reach it.
    :param patience: seconds that one command may take; ``timeout`` unless given.
    """
    local = address.startswith("/")
    host, port = (address, None) if local else split_address(address)
    try:
        # The driver tries a refused port again and again until its timeout: ask the port first.
        _knock(host, port, timeout)
    except OSError as err:
        raise ConnectionFailure(f"{address} does not answer: {err.strerror or err}") from err
    options = _options(timeout, patience, login, None if local else tls)
    where = f"mongodb://{urllib.parse.quote_plus(host)}" if local else host
    with pymongo.MongoClient(where, port, directConnection=True, **options) as opened:
        yield opened


def _knock(host: str, port: int | None, timeout: float) -> None:
    """Raise ``OSError`` when nobody listens; without a port ``host`` is a socket's path."""
    if port is not None:
        socket.create_connection((host, port), timeout).close()
        return
    with socket.socket(socket.AF_UNIX) as knocking:
        knocking.settimeout(timeout)
        knocking.connect(host)


def accepts_login(opened: pymongo.MongoClient[dict[str, Any]]) -> bool:
    """Return whether the server takes the login that the client was opened with."""
    try:
        opened.admin.command("ping")
    except OperationFailure as err:
        if err.code in LOGIN_REFUSED:
            return False
        raise
    return True


@contextlib.contextmanager
def _session(
    open_with: Callable[
        [Mapping[str, str] | None],
        contextlib.AbstractContextManager[pymongo.MongoClient[dict[str, Any]]],
    ],
    logins: Iterable[Mapping[str, str]],
) -> Iterator[tuple[pymongo.MongoClient[dict[str, Any]], bool]]:
    refused = False
    for login in logins:
        with open_with(login) as opened:
            if accepts_login(opened):
                yield opened, True
                return
        refused = True
    with open_with(None) as opened:
        yield opened, not refused


@contextlib.contextmanager
def connect(
    address: str,
    timeout: float,
    patience: float | None = None,
    logins: Iterable[Mapping[str, str]] = (),
    tls: Mapping[str, Any] | None = None,
) -> Iterator[tuple[pymongo.MongoClient[dict[str, Any]], bool]]:
    """Yield ``(client, accepted)`` of the server at ``address``, logged in if it lets us.

    The first of the logins that the server takes is used; the next is not even looked up then.
    A server without users refuses every login, but lets in who comes from its own machine
    without one, to initiate the set and to create the first user (the localhost exception).
    So refused logins (``accepted`` False) are followed by an anonymous connection, on which
    the server allows no more than that.
    """

    def open_with(
        credentials: Mapping[str, str] | None,
    ) -> contextlib.AbstractContextManager[pymongo.MongoClient[dict[str, Any]]]:
        return client(address, timeout, patience, credentials, tls)

    with _session(open_with, logins) as session:
        yield session


@contextlib.contextmanager
def connect_primary(
    address: str,
    timeout: float,
    patience: float | None = None,
    logins: Iterable[Mapping[str, str]] = (),
    tls: Mapping[str, Any] | None = None,
) -> Iterator[tuple[pymongo.MongoClient[dict[str, Any]], bool]]:
    """Yield ``(client, accepted)`` of the primary of the set that ``address`` belongs to.

    When ``address`` is the primary (or no member of any set) it is a connection straight to
    it, where the localhost exception may hold; else one through the set.
    """
    here = hello(address, timeout, tls)
    if here["writable"]:
        with connect(address, timeout, patience, logins, tls) as session:
            yield session
        return
    if not here["set"]:
        raise InvalidOperation(f"{address} belongs to no initiated replica set")

    def open_with(
        credentials: Mapping[str, str] | None,
    ) -> pymongo.MongoClient[dict[str, Any]]:
        options = _options(timeout, patience, credentials, tls)
        options["serverSelectionTimeoutMS"] = int((patience or timeout) * 1000)
        return pymongo.MongoClient(here["hosts"], replicaSet=here["set"], **options)

    with _session(open_with, logins) as session:
        yield session


# Looking


def hello(address: str, timeout: float, tls: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what the server at ``address`` tells anybody about itself.

    Keys: ``address``; ``replication`` (started as a member of some set); ``initialized``;
    ``set``, ``me``, ``primary`` (names or None); ``hosts`` (all members it shows);
    ``version`` of the configuration; ``state`` (``PRIMARY``, ``SECONDARY``, ``ARBITER``,
    ``OTHER`` or None); ``writable``; ``unfinished`` (it is the initiator of a set whose
    initiation has not ended); ``process`` (differs for each run of each server); ``optime``
    (of its last write, or None); ``now`` (its clock).
    """
    with client(address, timeout, tls=tls) as opened:
        return describe(address, opened.admin.command("hello"))


def describe(address: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts listed at :func:`hello` from a server's answer to it."""
    name = answer.get("setName")
    if not name:
        state = None
    elif answer.get("isWritablePrimary"):
        state = "PRIMARY"
    elif answer.get("secondary"):
        state = "SECONDARY"
    else:
        state = "ARBITER" if answer.get("arbiterOnly") else "OTHER"
    hosts = [host for kind in ("hosts", "passives", "arbiters") for host in answer.get(kind) or []]
    process = (answer.get("topologyVersion") or {}).get("processId")
    return {
        "address": address,
        "replication": bool(name or answer.get("isreplicaset")),
        "initialized": bool(name),
        "set": name,
        "me": answer.get("me"),
        "primary": answer.get("primary"),
        "hosts": hosts,
        "version": answer.get("setVersion"),
        "state": state,
        "writable": bool(answer.get("isWritablePrimary")),
        "unfinished": (answer.get("tags") or {}) == UNFINISHED,
        "process": str(process) if process else None,
        "optime": ((answer.get("lastWrite") or {}).get("opTime") or {}).get("ts"),
        "now": answer.get("localTime"),
    }


def members_of(opened: pymongo.MongoClient[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """Return the members as the connected one sees them, or None when it may not tell us.

    Each is a dict of ``id``, ``name``, ``state``, ``health`` (1 up, 0 down), ``message`` (what its
    last heartbeat came to), ``self``, ``stale`` (it says of itself that it cannot catch up), and
    ``votes``, ``priority``, ``hidden``, ``delay_s`` (None where the configuration may not be read).

    :raises PyMongoError: any answer but a refusal, e.g. NotYetInitialized.
    """
    try:
        status = opened.admin.command("replSetGetStatus")
    except OperationFailure as err:
        if err.code == UNAUTHORIZED:
            return None
        raise
    config = read_config(opened) or {"members": []}
    declared = {member["_id"]: member for member in config["members"]}
    found = []
    for member in status["members"]:
        entry = declared.get(member["_id"], {})
        found.append(
            {
                "id": member["_id"],
                "name": member["name"],
                "state": member["stateStr"],
                "health": int(member["health"]),
                "votes": entry.get("votes"),
                "priority": entry.get("priority"),
                "hidden": entry.get("hidden"),
                "delay_s": entry.get("secondaryDelaySecs", entry.get("slaveDelay")),
                "message": member.get("lastHeartbeatMessage") or None,
                "self": bool(member.get("self")),
                "stale": bool(member.get("self") and status.get("tooStale")),
            }
        )
    return found


def initial_sync(opened: pymongo.MongoClient[dict[str, Any]]) -> dict[str, Any] | None:
    """Return how far the connected member is with copying all data, None where it does not tell.

    That is a dict of ``source`` (``host:port``), ``copied`` and ``total`` (bytes), ``left_s``
    (seconds, by the server's own estimate) and ``failures`` (attempts); each may be None.
    """
    try:
        status = opened.admin.command("replSetGetStatus")
    except OperationFailure as err:
        if err.code in (UNAUTHORIZED, *LOGIN_REFUSED):
            return None
        raise
    told = status.get("initialSyncStatus")
    if not told:
        return None
    left = told.get("remainingInitialSyncEstimatedMillis")
    return {
        "source": status.get("syncSourceHost") or None,
        "copied": told.get("approxTotalBytesCopied"),
        "total": told.get("approxTotalDataSize"),
        "left_s": None if left is None else left / 1000,
        "failures": told.get("failedInitialSyncAttempts"),
    }


def oldest(opened: pymongo.MongoClient[dict[str, Any]]) -> Timestamp | None:
    """Return the time of the oldest entry in the connected member's oplog, None for no entry."""
    entry = opened.local["oplog.rs"].find_one({}, {"ts": 1}, sort=[("$natural", 1)])
    return entry["ts"] if entry else None


def server_info(opened: pymongo.MongoClient[dict[str, Any]]) -> dict[str, Any]:
    """Return the ``version`` of the server, the ``compressors`` that it agrees to with anybody, and
    its feature ``compatibility`` (None where who is logged in may not know it).

    :raises PyMongoError: any answer but these; MongoDB 8.1 and newer want a login for the version.
    """
    offer = opened.admin.command("hello", compression=["snappy", "zstd", "zlib"])
    name = "featureCompatibilityVersion"
    try:
        compatibility = opened.admin.command({"getParameter": 1, name: True})[name]["version"]
    except OperationFailure as err:
        if err.code != UNAUTHORIZED:
            raise
        compatibility = None
    return {
        "version": opened.admin.command("buildInfo")["version"],
        "compressors": list(offer.get("compression") or []),
        "compatibility": compatibility,
    }


def lets_strangers_in(opened: pymongo.MongoClient[dict[str, Any]]) -> bool:
    """Return whether the localhost exception holds on an anonymous connection."""
    try:
        opened.admin.command("replSetGetStatus")
    except OperationFailure as err:
        return err.code != UNAUTHORIZED
    return True


def read_config(opened: pymongo.MongoClient[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the set's configuration document, or None when it may not be read."""
    try:
        config: dict[str, Any] = opened.admin.command("replSetGetConfig")["config"]
    except OperationFailure as err:
        if err.code == UNAUTHORIZED:
            return None
        raise
    return config


def lag(
    primary: pymongo.MongoClient[dict[str, Any]],
    newest: Timestamp,
    applied: Timestamp,
    now: datetime.datetime,
) -> float:
    """Return for how many seconds the oldest write that a member lacks has been waiting.

    That is the truth also on an idle set, where comparing the times of the last writes
    reports the pause between two of them.

    :param primary: client of the primary, logged in (it reads ``local.oplog.rs``).
    :param newest: the primary's last write, a BSON timestamp; ``applied``: the member's.
    :param now: the primary's clock.
    """
    if applied >= newest:
        return 0.0
    oldest = primary.local["oplog.rs"].find_one(
        {"ts": {"$gt": applied}}, {"wall": 1}, sort=[("$natural", 1)]
    )
    return max(0.0, round((now - oldest["wall"]).total_seconds(), 3)) if oldest else 0.0


def oplog_reach(opened: pymongo.MongoClient[dict[str, Any]]) -> dict[str, Any]:
    """Return the connected member's oplog in numbers: see ``mongodb.oplog`` of the module."""
    stats = opened.local.command("collStats", "oplog.rs")
    entries = opened.local["oplog.rs"]
    ends = [
        entries.find_one({}, {"ts": 1}, sort=[("$natural", direction)]) for direction in (1, -1)
    ]
    times = [end["ts"].as_datetime() for end in ends if end]
    return {
        "max_mib": round(stats["maxSize"] / 2**20),
        "used_mib": round(stats["size"] / 2**20, 1),
        "oldest": times[0].isoformat() if times else None,
        "newest": times[-1].isoformat() if times else None,
        "hours": round((times[-1] - times[0]).total_seconds() / 3600, 2) if times else None,
    }


def users(
    opened: pymongo.MongoClient[dict[str, Any]],
    database: str | None = None,
    name: str | None = None,
) -> list[dict[str, Any]]:
    """Return all users, those of one database, or the one.

    Each is a dict of ``name``, ``database``, ``roles`` and ``mechanisms``.
    """
    wanted: dict[str, Any] | int
    if name is not None:
        wanted = {"user": name, "db": database}
    else:
        wanted = {"forAllDBs": True} if database is None else 1
    found = opened[database or "admin"].command("usersInfo", wanted)["users"]
    return sorted(
        (
            {
                "name": user["user"],
                "database": user["db"],
                "roles": role_names(user["roles"], user["db"]),
                "mechanisms": sorted(user.get("mechanisms") or []),
            }
            for user in found
        ),
        key=lambda user: (user["database"], user["name"]),
    )


def role(
    opened: pymongo.MongoClient[dict[str, Any]], database: str, name: str
) -> dict[str, Any] | None:
    """Return a role of ours as ``{name, database, privileges, roles}``, or None."""
    wanted = {"role": name, "db": database}
    found = opened[database].command("rolesInfo", wanted, showPrivileges=True)["roles"]
    if not found or found[0]["isBuiltin"]:
        return None
    return {
        "name": name,
        "database": database,
        "privileges": normal_privileges(found[0]["privileges"]),
        "roles": role_names(found[0]["roles"], database),
    }


# Changing


def acknowledged(answer: Mapping[str, Any]) -> None:
    """Raise ``OperationFailure`` for what was done and not acknowledged as was asked for.

    The driver does that for writes to collections, and not for commands.
    """
    if refusal := answer.get("writeConcernError"):
        raise OperationFailure(refusal["errmsg"], refusal.get("code"), refusal)


def reconfigure(
    opened: pymongo.MongoClient[dict[str, Any]],
    change: Callable[[dict[str, Any]], dict[str, Any] | None],
    timeout: float,
) -> bool:
    """Put ``change(configuration)`` in force, again while the set has not settled yet.

    It is in force when a majority of the voters has it.

    :param change: gets the configuration document in force, with the next version in it, and
        returns the new one, or None when nothing is left to do.
    :param timeout: seconds after which the server's refusal is raised.
    :return: whether there was something to do.
    """
    deadline = time.monotonic() + timeout
    changed = False

    def attempt() -> None:
        nonlocal changed
        config = opened.admin.command("replSetGetConfig")["config"]
        wanted = change({**config, "version": config["version"] + 1})
        if wanted is not None:
            opened.admin.command("replSetReconfig", wanted)
            changed = True

    _until_settled(attempt, timeout)
    if not changed:
        return False
    for _ in turns(max(0.0, deadline - time.monotonic())):
        answer = opened.admin.command("replSetGetConfig", commitmentStatus=True)
        if answer.get("commitmentStatus", True):
            return True
    raise OperationFailure("no majority of the voting members has got the new configuration yet")


def finish_initiation(
    opened: pymongo.MongoClient[dict[str, Any]],
    final: Callable[[str, int, list[dict[str, Any]]], dict[str, Any]],
    timeout: float,
) -> None:
    """Make the members of a set what they are declared as, where its initiation has not ended.

    The localhost exception allows neither to log in nor to read the configuration yet, so it
    is made from what the connected primary tells about its members.

    :param final: makes the configuration of the set's name, a version, and the members as
        :func:`members_of` has them.
    """

    def attempt() -> None:
        seen = describe("", opened.admin.command("hello"))
        if seen["unfinished"]:
            members = members_of(opened)
            if members is None:
                raise OperationFailure("the server does not tell its members", UNAUTHORIZED)
            wanted = final(seen["set"], seen["version"] + 1, members)
            opened.admin.command("replSetReconfig", wanted)

    _until_settled(attempt, timeout)


def _until_settled(attempt: Callable[[], None], timeout: float) -> None:
    refusal: Exception
    for _ in turns(timeout):
        try:
            attempt()
        except (OperationFailure, NotPrimaryError) as err:
            if code_of(err) not in UNSETTLED or "default write concern" in str(err):
                raise
            refusal = err
        else:
            return
    raise refusal
