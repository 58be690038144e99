"""
Look after a MongoDB replica set: its members, its primary, its roles and users.

Each function talks to the mongod of the node it runs on, and through it to the rest of the
set. Where to find that mongod, and who logs in, is said in the minion's configuration or
pillar (the configuration wins, key by key):

.. code-block:: yaml

    mongodb:
      host: 127.0.0.1        # loopback, or the first user cannot be created from here
      port: 27017
      timeout: 3             # seconds to reach a server
      user: admin            # without it: the pillar value at user_pillar; without that: no login
      user_pillar: mongodb:admin_user
      password_pillar: secrets:mongodb_admin
      auth_database: admin
      mechanism: SCRAM-SHA-256    # or SCRAM-SHA-1, for users from before MongoDB 4.0
      health_user: health    # who only looks; else the pillar value at health_user_pillar
      health_user_pillar: mongodb:health_user
      health_password_pillar: secrets:mongodb_health
      tls: {tls: true, tlsCAFile: /etc/ssl/ca.pem}    # PyMongo's options of these names
      dbpath: /var/lib/mongodb    # where it has its data, for mongodb.resync; and its service:
      service: mongod

``mongodb.host: …`` on one line works as well.

What only looks at the set logs in as ``health_user``, of ``admin``, which needs the role
``clusterMonitor`` and ``find`` on ``local.oplog.rs`` and no more. Without such a user or its
password, and until the server knows it, it logs in as ``user``, like what changes something.

Passwords come from the pillar only, by their path: none is ever an argument, and none is in a
return, a log or an error.

:depends: PyMongo 4 in Salt's Python (``salt-pip install pymongo``); MongoDB 4.4 or newer.
"""

import contextlib

from salt.exceptions import CommandExecutionError, SaltInvocationError

try:
    from pymongo.errors import ConnectionFailure, OperationFailure

    HAS_PYMONGO = True
except ImportError:
    HAS_PYMONGO = False

__virtualname__ = "mongodb"

UNAUTHORIZED = 13
NO_REPLICATION = 76
NOT_YET_INITIALIZED = 94
NOT_IN_CONFIG = 93
NOT_SECONDARY = 95
REMOVED = (
    "this node's mongod is no member of its set: it was taken out, or the set knows it by another"
    " address"
)


def __virtual__():
    if not HAS_PYMONGO:
        return False, "PyMongo is missing in Salt's Python: salt-pip install pymongo"
    return __virtualname__


# Settings and connections


def _settings():
    return __utils__["mongodb_login.settings"](dict(__opts__), dict(__pillar__))


def _errors(doing):
    """Return a context that turns what PyMongo and our own checks raise into Salt's words."""
    return __utils__["mongodb_login.errors"](doing, __utils__["mongodb.explain"])


def _session(doing, connect, **options):
    return __utils__["mongodb_login.session"](
        doing,
        dict(__opts__),
        dict(__pillar__),
        __utils__[f"mongodb.{connect}"],
        __utils__["mongodb.explain"],
        **options,
    )


def _member(doing, address=None, patience=None):
    """Yield a client of this node's mongod (or the one at ``address``)."""
    return _session(doing, "connect", address=address, patience=patience)


def _look(doing, address=None):
    """Yield a client like :func:`_member`'s, for what changes nothing."""
    return _session(doing, "connect", address=address, looking=True)


def _hello(address=None):
    settings = _settings()
    return __utils__["mongodb.hello"](
        address or settings["address"], settings["timeout"], settings["tls"]
    )


def _view(address):
    """Return ``hello`` of ``address``, or None when nobody answers there."""
    try:
        return _hello(address)
    except ConnectionFailure:
        return None


def _await(probe, timeout, what):
    """Call ``probe`` until it returns ``(True, …)``; see ``mongodb.awaited`` of the utils."""
    loaded = __utils__["mongodb.awaited"]
    # Past the loader's wrapper, within which the probe would see the dunders of another loader.
    return getattr(loaded, "func", loaded)(probe, timeout, what)


# Looking at the set


def ping():
    """
    Return whether this node's mongod answers.

    CLI Example:

    .. code-block:: bash

        salt 'db-*' mongodb.ping
    """
    with _errors("ping"):
        return _view(_settings()["address"]) is not None


def hello(address=None):
    """
    Return what a mongod tells anybody, without a login, about itself and its set.

    address
        ``host:port`` of the server; this node's own unless given.

    Returns a dict of ``address``, ``replication`` (started as a member of a set),
    ``initialized``, ``set``, ``me``, ``primary``, ``hosts``, ``version``, ``state``
    (``PRIMARY``, ``SECONDARY``, ``ARBITER``, ``OTHER`` or None), ``writable``, ``unfinished``
    (its initiation was interrupted) and ``process``. Raises ``CommandExecutionError`` when
    nobody answers.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.hello
        salt db-1 mongodb.hello 192.168.33.15:27017
    """
    with _errors("hello"):
        seen = _hello(address)
    return {key: value for key, value in seen.items() if key not in ("optime", "now")}


def status(address=None):
    """
    Return the state of the replica set as one member sees it, at any time of its life.

    address
        ``host:port`` of the member to ask; this node's own unless given.

    Returns a dict of ``address``; ``reachable``; ``initialized``; ``authorized`` (whether the
    server let us look at the members); ``set``; ``me``; ``state`` of the one asked;
    ``primary`` (``host:port`` or None); ``members``, each with ``name``, ``state``, ``health``
    (1 up, 0 down), ``lag_s``, ``votes``, ``priority``, ``hidden``, ``delay_s`` (seconds that it is
    late on purpose), ``self`` and ``trouble``; and ``reason``, a sentence when something keeps the
    answer from being whole, else None.

    ``lag_s`` is as in ``mongodb.member_lag``. ``trouble`` is a sentence on a member that does not
    do its part: that it cannot catch up, as its last write is older than all oplogs; how far it is
    with copying all data, where it tells; or what the last question to it came to. ``state`` of
    the one asked is ``REMOVED`` where it has been in a set that does not know it any more, under
    this address at least.

    Without authorization the members are those that the server shows to anybody, their state is
    what they say themselves, and all of a configuration is None.

    CLI Example:

    .. code-block:: bash

        salt 'db-*' mongodb.status
    """
    settings = _settings()
    address = address or settings["address"]
    result = {
        "address": address,
        "reachable": False,
        "initialized": False,
        "authorized": False,
        "set": None,
        "me": None,
        "state": None,
        "primary": None,
        "members": [],
        "reason": None,
    }
    try:
        here = _hello(address)
    except ConnectionFailure as err:
        return {**result, "reason": __utils__["mongodb.explain"](err)}
    except ValueError as err:
        raise SaltInvocationError(str(err)) from err
    result.update(reachable=True, **{k: here[k] for k in ("initialized", "set", "me", "state")})
    with _look("status", address) as client:
        try:
            members = __utils__["mongodb.members_of"](client)
        except OperationFailure as err:
            if err.code not in (NO_REPLICATION, NOT_IN_CONFIG, NOT_YET_INITIALIZED):
                raise
            # A member that was removed has its old configuration, yet tells anybody it has none.
            removed = err.code == NOT_IN_CONFIG
            reason = __utils__["mongodb.explain"](err)
            return {
                **result,
                "initialized": removed,
                "authorized": True,
                "state": "REMOVED" if removed else None,
                "reason": f"{REMOVED}: {reason}" if removed else reason,
            }
    if not here["initialized"]:
        return {**result, "reason": "no replica set is initiated here"}
    views = _views(here, members)
    if members is None:
        result["reason"] = "the server does not let us look at the members (login refused)"
        members = [_seen_member(name, view, here) for name, view in views.items()]
    else:
        result["authorized"] = True
        result["state"] = next((m["state"] for m in members if m["self"]), here["state"])
    lags = _lags(here, views)
    result["primary"] = here["primary"]
    for member in members:
        member["lag_s"] = lags.get(member["name"])
        member["trouble"] = _trouble(member, members, views)
    inner = ("id", "message", "stale")
    result["members"] = [{k: v for k, v in m.items() if k not in inner} for m in members]
    return result


def _trouble(member, members, views):
    """Return what is wrong with a member, as a sentence, or None."""
    name, state = member["name"], member["state"]
    view, oldest, sync = views.get(name), [], None
    if member["health"] == 1 and state == "STARTUP2":
        # It has no users before it has copied them, and lets in only who comes from its own node.
        at = None if member["self"] else name
        with contextlib.suppress(CommandExecutionError), _look("initial sync", at) as client:
            sync = __utils__["mongodb.initial_sync"](client)
    elif member["health"] == 1 and state == "RECOVERING":
        oldest = _oldest(__utils__["mongodb_health.sources"](members, name))
    last = view["optime"] if view else None
    return __utils__["mongodb_health.trouble"](member, last, oldest, sync)


def _oldest(names):
    """Return the times of the oldest entries in these members' oplogs; none unless all tell."""
    found = []
    for name in names:
        try:
            with _look("oldest entry", name) as client:
                found.append(__utils__["mongodb.oldest"](client))
        except CommandExecutionError:
            # From one that cannot be asked a member may be able to catch up.
            return []
    return [] if None in found else found


def _views(here, members):
    """Return ``hello`` of each member by name; the ones known to be down are not asked."""
    if members is None:
        return {name: _view(name) for name in here["hosts"]}
    return {m["name"]: _view(m["name"]) if m["health"] else None for m in members}


def _seen_member(name, view, here):
    return {
        "name": name,
        "state": view["state"] or "OTHER" if view else "DOWN",
        "health": 1 if view else 0,
        "votes": None,
        "priority": None,
        "hidden": None,
        "delay_s": None,
        "self": name == here["me"],
    }


def _lags(here, views):
    """Return seconds behind the primary by name, None where it cannot be known."""
    primary = here["primary"]
    newest = views.get(primary) if primary else None
    if not newest or not newest["writable"]:
        return {}
    lags = {primary: 0.0}
    behind = {}
    for name, view in views.items():
        if name == primary or not view or not view["optime"]:
            continue
        if view["optime"] >= newest["optime"]:
            lags[name] = 0.0
        else:
            behind[name] = view["optime"]
    if behind:
        with _look("lag", primary) as client:
            for name, optime in behind.items():
                try:
                    lags[name] = __utils__["mongodb.lag"](
                        client, newest["optime"], optime, newest["now"]
                    )
                except OperationFailure as err:
                    if err.code != UNAUTHORIZED:
                        raise
    return lags


def member_lag():
    """
    Return how far each member is behind: a dict of ``host:port`` to seconds.

    The lag is the age of the oldest write in the primary's oplog that the member has not
    applied: 0.0 for one that has them all, however long ago the last write was. It is None for
    a member that is down, for all while there is no primary, and for those behind when the
    login may not read the oplog (role ``clusterMonitor`` and ``find`` on ``local.oplog.rs``, or
    ``root``).

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.member_lag
    """
    seen = status()
    if not seen["initialized"]:
        raise CommandExecutionError(f"member_lag: {seen['reason']}")
    return {member["name"]: member["lag_s"] for member in seen["members"]}


def healthy(members=None, require="majority"):
    """
    Return whether the set does its work: a dict of ``healthy``, ``reasons`` and ``notes``.

    members
        List of ``host:port`` that must be members and up. None: see ``require``.

    require
        ``majority`` (a primary and more than half of the voting members up) or ``all`` (every
        member up as well).

    ``reasons`` holds a sentence for each thing that keeps it from that, ``notes`` one for each
    other member that does not do its part, such as one that cannot catch up any more. A server
    that does not answer or has no set is a reason, not an error.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.healthy
        salt db-1 mongodb.healthy require=all
        salt db-1 mongodb.healthy members='["db-1:27017", "db-2:27017", "db-3:27017"]'
    """
    if require not in ("majority", "all"):
        raise SaltInvocationError(f"require must be 'majority' or 'all', not {require!r}")
    with _errors("healthy"):
        expected = __utils__["mongodb.check_members"](members) if members else None
    seen = status()
    if not seen["initialized"] or not seen["members"]:
        return {"healthy": False, "reasons": [seen["reason"]], "notes": []}
    reasons = __utils__["mongodb_health.unhealthy"](
        seen["members"], seen["primary"], expected, require == "all"
    )
    notes = __utils__["mongodb_health.notes"](seen["members"], reasons)
    return {"healthy": not reasons, "reasons": reasons, "notes": notes}


def wait_healthy(members=None, require="majority", timeout=120):
    """
    Wait until the set does its work; return True.

    members, require
        As for ``mongodb.healthy``.

    timeout
        Seconds. ``CommandExecutionError`` gives the reasons when they are over.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.wait_healthy require=all
    """

    def probe():
        found = healthy(members, require)
        return found["healthy"], "; ".join(found["reasons"])

    _await(probe, timeout, "the replica set is healthy")
    return True


def primary():
    """
    Return ``host:port`` of the primary that this node's mongod follows, or None.

    Raises ``CommandExecutionError`` when this node's mongod does not answer.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.primary
    """
    return hello()["primary"]


def is_primary():
    """
    Return whether this node is the primary. A mongod that does not answer is not.

    CLI Example:

    .. code-block:: bash

        salt 'db-*' mongodb.is_primary
    """
    with _errors("is_primary"):
        seen = _view(_settings()["address"])
    return bool(seen and seen["initialized"] and seen["writable"])


def is_open():
    """
    Return whether this node is the primary of a set that has no user yet, so that it lets anybody
    in who comes from here (the localhost exception). Asked without a login.

    CLI Example:

    .. code-block:: bash

        salt 'db-*' mongodb.is_open
    """
    if not is_primary():
        return False
    settings = _settings()
    with (
        _errors("is_open"),
        __utils__["mongodb.client"](
            settings["address"], settings["timeout"], tls=settings["tls"]
        ) as client,
    ):
        return __utils__["mongodb.lets_strangers_in"](client)


def server_info():
    """
    Return the ``version`` of this node's mongod, the ``compressors`` (a list of ``snappy``,
    ``zstd`` and ``zlib``) that it agrees to with anybody who asks, and the feature
    ``compatibility`` of its set (as ``6.0``; None where the login may not know it).

    CLI Example:

    .. code-block:: bash

        salt 'db-*' mongodb.server_info
    """
    with _look("server_info") as client:
        return __utils__["mongodb.server_info"](client)


def wait_reachable(timeout=30):
    """
    Wait until this node's mongod answers; return True.

    timeout
        Seconds. ``CommandExecutionError`` when they are over.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.wait_reachable
    """

    def probe():
        with _errors("wait_reachable"):
            _hello()
        return True, True

    return _await(probe, timeout, "this node's mongod answers")


def wait_primary(timeout=60):
    """
    Wait until the set has a primary that takes writes; return its ``host:port``.

    timeout
        Seconds. ``CommandExecutionError`` when they are over.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.wait_primary
    """

    def probe():
        here = _view(_settings()["address"])
        if not here or not here["primary"]:
            return False, "no primary" if here else "no answer from this node's mongod"
        seen = _view(here["primary"])
        if not seen or not seen["writable"]:
            return False, f"{here['primary']} does not take writes"
        return True, here["primary"]

    with _errors("wait_primary"):
        return _await(probe, timeout, "the set has a primary")


def wait_member(state="SECONDARY", max_lag=2, timeout=120):
    """
    Wait until this node does its part in the set; return its entry of ``mongodb.status``.

    state
        State to reach. ``SECONDARY`` is met by a ``PRIMARY`` too, as an election may have come
        between, and by an ``ARBITER``, which gets no further.

    max_lag
        Seconds that it may be behind the primary (see ``mongodb.member_lag``), besides those that
        it is delayed by. None: any, and no primary and no login are needed.

    timeout
        Seconds. ``CommandExecutionError`` says what was last seen when they are over, and at once
        that it cannot catch up.

    CLI Example:

    .. code-block:: bash

        salt db-2 mongodb.wait_member
        salt db-2 mongodb.wait_member max_lag=0.5 timeout=300
    """
    enough = {state, "PRIMARY", "ARBITER"} if state == "SECONDARY" else {state}

    def probe():
        with _errors("wait_member"):
            here = _view(_settings()["address"])
        if not here:
            return False, "no answer from this node's mongod"
        # What needs no login comes first: a member that still copies its data has no users.
        if here["state"] not in enough and here["state"] != "OTHER":
            return False, f"state {here['state']}"
        seen = status()
        own = next((member for member in seen["members"] if member["self"]), None)
        if own is None:
            return False, f"state {seen['state']}"
        if __utils__["mongodb_health.cannot_catch_up"](own):
            # No time is long enough for it.
            raise CommandExecutionError(__utils__["mongodb_health.told"](own))
        if own["state"] not in enough:
            return False, __utils__["mongodb_health.told"](own)
        late = __utils__["mongodb_health.behind"](own)
        has_lag = max_lag is not None and own["state"] != "ARBITER"
        if has_lag and (late is None or late > max_lag):
            return False, f"{own['state']}, lag {own['lag_s']} s"
        return True, own

    return _await(probe, timeout, f"this node is {state}")


def step_down(timeout=60, max_lag=2):
    """
    Hand the role of primary to another member; return the new primary's ``host:port``.

    timeout
        Seconds for the new primary to be there. Where this node has a higher priority than that,
        for as long it will not be elected again.

    max_lag
        Seconds that the successor may be behind (see ``mongodb.member_lag``).

    Refuses when this node is not the primary, or no electable secondary has caught up.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.step_down
    """
    if timeout < 2:
        raise SaltInvocationError(f"timeout must be at least 2 seconds, not {timeout}")
    seen = status()
    if seen["state"] != "PRIMARY":
        raise CommandExecutionError(
            f"step down: this node is not the primary, but {seen['state'] or seen['reason']};"
            f" the primary is {seen['primary']}"
        )
    refusal = __utils__["mongodb_health.no_successor"](seen["members"], max_lag)
    if refusal:
        raise CommandExecutionError(f"step down: {refusal}")
    with _member("step down", patience=timeout) as client:
        client.admin.command(
            "replSetStepDown", int(timeout), secondaryCatchUpPeriodSecs=min(10, int(timeout) - 1)
        )

    def probe():
        here = _view(_settings()["address"])
        successor = here["primary"] if here else None
        if not successor or successor == seen["me"]:
            return False, f"primary {successor}"
        taken = _view(successor)
        return bool(taken and taken["writable"]), successor

    successor = None
    try:
        successor = _await(probe, timeout, "another member is primary")
    finally:
        priority = {each["name"]: each["priority"] for each in seen["members"]}
        if successor is None or priority[seen["me"]] <= priority.get(successor, 0):
            _let_be_elected()
    return successor


def _let_be_elected():
    """
    Have this node be elected again where it is needed.

    One that has stepped down, and may not be, is missing when the next one steps down or dies.
    """
    with _member("step down") as client:
        try:
            client.admin.command("replSetFreeze", 0)
        except OperationFailure as error:
            if error.code != NOT_SECONDARY:
                raise
