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

``mongodb.host: …`` on one line works as well.

What only looks at the set logs in as ``health_user``, of ``admin``, which needs the role
``clusterMonitor`` and ``find`` on ``local.oplog.rs`` and no more. Without such a user or its
password, and until the server knows it, it logs in as ``user``, like what changes something.

Passwords come from the pillar only, by their path: none is ever an argument, and none is in a
return, a log or an error.

:depends: PyMongo 4 in Salt's Python (``salt-pip install pymongo``); MongoDB 4.4 or newer.
"""

import time

from salt.exceptions import CommandExecutionError, SaltInvocationError

try:
    from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError

    HAS_PYMONGO = True
except ImportError:
    HAS_PYMONGO = False

__virtualname__ = "mongodb"

# Seconds for one command that the whole set takes part in (initiation, users, configuration).
PATIENCE = 30
UNAUTHORIZED = 13
POLL_INTERVAL = 0.2
NO_REPLICATION = 76
NOT_YET_INITIALIZED = 94
NOT_IN_CONFIG = 93
MAJORITY = {"w": "majority", "wtimeout": 20_000}


def __virtual__():
    if not HAS_PYMONGO:
        return False, "PyMongo is missing in Salt's Python: salt-pip install pymongo"
    return __virtualname__


# Settings and connections


def _settings():
    return __utils__["mongodb_login.settings"](dict(__opts__), dict(__pillar__))


def _secret(path):
    return __utils__["mongodb_login.secret"](dict(__pillar__), path)


def _logins(settings, looking=False):
    """Return the logins to try, one after the other."""
    return __utils__["mongodb_login.logins"](settings, dict(__pillar__), looking)


def _login(settings, user, password_pillar, database):
    return __utils__["mongodb_login.login"](
        settings, dict(__pillar__), user, password_pillar, database
    )


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


def _primary(doing, address=None):
    """Yield a client of the primary of this node's set (or the one that ``address`` is in)."""
    return _session(doing, "connect_primary", address=address, patience=PATIENCE)


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


def _poll(probe, timeout):
    """Call ``probe`` until it returns ``(True, …)`` or time is over; return its last answer.

    A server that goes away while it is asked is waited for like one that was never there.
    Not in ``_utils``: what is called from there sees the dunders of another loader.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            done, seen = probe()
        except CommandExecutionError as err:
            if not isinstance(err.__cause__, ConnectionFailure):
                raise
            done, seen = False, str(err)
        left = deadline - time.monotonic()
        if done or left <= 0:
            return done, seen
        time.sleep(min(POLL_INTERVAL, left))


def _await(probe, timeout, what):
    done, seen = _poll(probe, timeout)
    if not done:
        raise CommandExecutionError(f"not within {timeout:g} s: {what}; last seen: {seen}")
    return seen


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
    (1 up, 0 down), ``lag_s``, ``votes``, ``priority``, ``self``; and ``reason``, a sentence
    when something keeps the answer from being whole, else None. ``lag_s`` is as in
    ``mongodb.member_lag``. Without authorization the members are those that the server shows
    to anybody, their state is what they say themselves, votes and priority are None.

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
            return {
                **result,
                "initialized": removed,
                "authorized": True,
                "state": "REMOVED" if removed else None,
                "reason": __utils__["mongodb.explain"](err),
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
    result["members"] = [
        {**{k: v for k, v in member.items() if k != "id"}, "lag_s": lags.get(member["name"])}
        for member in members
    ]
    return result


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
    Return whether the set does its work: a dict of ``healthy`` and ``reasons``.

    members
        List of ``host:port`` that must be members and up. None: see ``require``.

    require
        ``majority`` (a primary and more than half of the voting members up) or ``all`` (every
        member up as well).

    ``reasons`` holds a sentence for each thing that is wrong. A server that does not answer or
    has no set is a reason, not an error.

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
        return {"healthy": False, "reasons": [seen["reason"]]}
    reasons = __utils__["mongodb.unhealthy"](
        seen["members"], seen["primary"], expected, require == "all"
    )
    return {"healthy": not reasons, "reasons": reasons}


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
    Return the ``version`` of this node's mongod, and the ``compressors`` (a list of ``snappy``,
    ``zstd`` and ``zlib``) that it agrees to with anybody who asks.

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
        State to reach. ``SECONDARY`` is met by a ``PRIMARY`` too: an election may have come
        between.

    max_lag
        Seconds that it may be behind the primary (see ``mongodb.member_lag``). None: any, and
        no primary and no login are needed.

    timeout
        Seconds. ``CommandExecutionError`` says what was last seen when they are over.

    CLI Example:

    .. code-block:: bash

        salt db-2 mongodb.wait_member
        salt db-2 mongodb.wait_member max_lag=0.5 timeout=300
    """
    enough = {state, "PRIMARY"} if state == "SECONDARY" else {state}

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
        if own is None or own["state"] not in enough:
            return False, f"state {own['state'] if own else seen['state']}"
        if max_lag is not None and (own["lag_s"] is None or own["lag_s"] > max_lag):
            return False, f"{own['state']}, lag {own['lag_s']} s"
        return True, own

    return _await(probe, timeout, f"this node is {state}")


# Changing the set


def survey(name, members):
    """
    Compare a declared replica set with what its members say exists.

    name
        Name of the declared set.

    members
        List of its members, ``host:port``.

    Returns a dict of ``conflicts`` (sentences: why nothing may be done), ``exists``,
    ``members`` (of the existing set), ``missing``, ``surplus``, ``silent`` (declared, but
    nobody answers there), ``own`` (this node's name among the declared, or None), ``state``
    (of this node), ``unfinished`` (the initiation was interrupted) and ``contact`` (a member
    of the existing set). Raises ``CommandExecutionError`` when this node's mongod does not
    answer.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.survey rs0 '["db-1:27017", "db-2:27017", "db-3:27017"]'
    """
    with _errors("survey"):
        members = __utils__["mongodb.check_members"](members)
        here = _hello()
        views = {member: _view(member) for member in members}
    found = __utils__["mongodb.survey"](name, members, here, views)
    if found["contact"] and not found["conflicts"]:
        with _look("survey", found["contact"]) as client:
            known = __utils__["mongodb.members_of"](client)
        if known is not None:
            names = [member["name"] for member in known]
            found = __utils__["mongodb.survey"](name, members, here, views, names)
    return found


def initiate(name, members, timeout=60):
    """
    Make a replica set of servers that belong to none yet; this node becomes its primary.

    name
        Name of the set: what the servers have as ``replication.replSetName``.

    members
        List of the members, ``host:port``; this node's mongod is one of them.

    timeout
        Seconds for all members to answer, and again for the primary to be there.

    Refuses unless every member answers and none belongs to a set already. An initiation that
    was interrupted is finished. Data that another member holds from a life outside of replica
    sets is dropped by MongoDB when that member joins: only this node's own data is kept.

    Returns a dict of ``set``, ``members`` and ``primary``.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.initiate rs0 '["db-1:27017", "db-2:27017", "db-3:27017"]'
    """

    def probe():
        found = survey(name, members)
        return not found["silent"] or bool(found["conflicts"]), found

    found = _poll(probe, timeout)[1]
    if isinstance(found, str):
        raise CommandExecutionError(found)
    refusal = found["conflicts"]
    if found["exists"] and not found["unfinished"]:
        refusal = refusal or [f"{name} exists already, with {', '.join(found['members'])}"]
    if not found["exists"] and found["silent"]:
        # Any of them may hold a set with data in it.
        refusal = refusal or [f"no answer from {', '.join(found['silent'])}"]
    if refusal:
        raise CommandExecutionError(f"will not initiate {name}: {'; '.join(refusal)}")
    with _member(f"initiate {name}", patience=PATIENCE) as client:
        if not found["exists"]:
            config = __utils__["mongodb.boot_config"](name, members, found["own"])
            client.admin.command("replSetInitiate", config)
    wait_primary(timeout)
    with _member(f"initiate {name}", patience=PATIENCE) as client:
        __utils__["mongodb.finish_initiation"](client, timeout)
    return {"set": name, "members": list(members), "primary": hello()["primary"]}


def add_member(member, address=None, timeout=120, data_timeout=None):
    """
    Add a server to the set that this node belongs to, wait until it has all data.

    member
        ``host:port`` of the new member, as the other members reach it.

    address
        ``host:port`` of any member of the set; this node's own unless given.

    timeout
        Seconds for the whole of it.

    data_timeout
        Seconds for copying all data, which then do not count for ``timeout``.

    The new server must answer in that time and belong to no set: MongoDB drops what data it
    has. Returns the new member's entry of ``mongodb.status``; for one that is a member already,
    nothing is done but the waiting.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.add_member db-4:27017
    """
    deadline = time.monotonic() + timeout
    doing = f"add {member}"

    def answers():
        with _errors(doing):
            return True, _hello(member)

    fresh = _await(answers, timeout, f"{member} answers")
    with _primary(doing, address) as client:
        ours = client.admin.command("hello")
        if fresh["initialized"] and member not in __utils__["mongodb.describe"]("", ours)["hosts"]:
            raise CommandExecutionError(
                f"{doing}: it already belongs to a replica set {fresh['set']} of its own, with"
                f" {', '.join(fresh['hosts'])}"
            )
        if not fresh["replication"]:
            raise CommandExecutionError(
                f"{doing}: it runs without replication: set replication.replSetName"
                f" to {ours['setName']}"
            )

        def change(config):
            present = config["members"]
            if any(entry["host"] == member for entry in present):
                return None
            number = max(entry["_id"] for entry in present) + 1
            return {**config, "members": [*present, {"_id": number, "host": member}]}

        left = max(1, deadline - time.monotonic())
        __utils__["mongodb.reconfigure"](client, change, left)

    def probe():
        present = _set_members(doing, address)
        entry = next((m for m in present if m["name"] == member), None)
        return bool(entry) and entry["state"] in ("PRIMARY", "SECONDARY"), entry

    left = max(0, deadline - time.monotonic()) if data_timeout is None else data_timeout
    return _await(probe, left, f"{member} has all data")


def _set_members(doing, address=None):
    """Return the members as the primary sees them."""
    with _primary(doing, address) as client:
        members = __utils__["mongodb.members_of"](client)
    if members is None:
        raise CommandExecutionError(f"{doing}: the server does not let us look at the members")
    return [{k: v for k, v in member.items() if k != "id"} for member in members]


def remove_member(member, confirm=None):
    """
    Take a member out of the set. It keeps its data, but gets no more.

    member
        ``host:port`` of the member; not the primary (``mongodb.step_down`` first).

    confirm
        The same ``host:port`` once more: nothing happens without it.

    Refuses when the rest would be no healthy majority. Returns the names of the members left.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.remove_member db-4:27017 confirm=db-4:27017
    """
    doing = f"remove {member}"
    present = _set_members(doing)
    entry = next((m for m in present if m["name"] == member), None)
    rest = [m for m in present if m["name"] != member]
    if entry is None:
        raise CommandExecutionError(
            f"{doing}: not a member; members are {', '.join(m['name'] for m in present)}"
        )
    if confirm != member:
        raise CommandExecutionError(
            f"{doing}: this takes {member} ({entry['state']}) out of the set and leaves"
            f" {', '.join(m['name'] for m in rest) or 'nobody'}; to do it say confirm={member}"
        )
    if entry["state"] == "PRIMARY":
        raise CommandExecutionError(f"{doing}: it is the primary: let it step down first")
    reasons = __utils__["mongodb.unhealthy"](
        rest, next((m["name"] for m in rest if m["state"] == "PRIMARY"), None)
    )
    if reasons:
        raise CommandExecutionError(f"{doing}: the rest would not work: {'; '.join(reasons)}")

    def change(config):
        kept = [m for m in config["members"] if m["host"] != member]
        return {**config, "members": kept} if len(kept) < len(config["members"]) else None

    with _primary(doing) as client:
        __utils__["mongodb.reconfigure"](client, change, PATIENCE)
    return [m["name"] for m in _set_members(doing)]


def step_down(timeout=60, max_lag=2):
    """
    Hand the role of primary to another member; return the new primary's ``host:port``.

    timeout
        Seconds for the new primary to be there. For as long this node will not be elected
        again.

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
    refusal = __utils__["mongodb.no_successor"](seen["members"], max_lag)
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

    return _await(probe, timeout, "another member is primary")


# Roles and users


def access():
    """
    Return what this module's login may do now.

    Returns a dict of ``level``, ``user`` (who logs in, or None), ``primary`` and ``reason``.

    ``level`` is ``granted`` (the primary takes the login, or asks for none), ``open`` (there
    is no user yet and this node, the primary, lets the first one be made from here: the
    localhost exception), ``refused`` (the primary does not take the login) or ``unavailable``
    (no server, no set or no primary; ``reason`` says which).

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.access
    """
    settings = _settings()
    result = {
        "level": "unavailable",
        "user": settings["user"],
        "primary": None,
        "reason": None,
    }
    logins = list(_logins(settings))
    try:
        here = _hello()
        result["primary"] = here["primary"]
        if not here["writable"] and not here["primary"]:
            what = "no primary" if here["initialized"] else "no replica set is initiated here"
            return {**result, "reason": what}
        with __utils__["mongodb.connect_primary"](
            settings["address"], settings["timeout"], PATIENCE, logins, settings["tls"]
        ) as (client, accepted):
            if accepted:
                return {**result, "level": "granted"}
            if here["writable"] and __utils__["mongodb.lets_strangers_in"](client):
                return {**result, "level": "open", "reason": "there is no user yet"}
    except PyMongoError as err:
        return {**result, "reason": __utils__["mongodb.explain"](err)}
    reason = (
        f"{here['primary']} refuses the login of {settings['user']} with the password at"
        f" pillar {settings['password_pillar']}"
    )
    return {**result, "level": "refused", "reason": reason}


def wait_access(timeout=60):
    """
    Wait until users can be looked at and changed; return ``mongodb.access``, whatever it is.

    timeout
        Seconds to wait for a primary and, on other nodes than the primary, for the first user.
        On the primary nothing is waited for that does not come by itself.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.wait_access
    """

    def probe():
        found = access()
        may_come = found["level"] == "unavailable" or (
            found["level"] == "refused" and not is_primary()
        )
        return not may_come, found

    return _poll(probe, timeout)[1]


def role_info(name, database="admin"):
    """
    Return a role that was made here, or None; those that MongoDB brings are not told.

    name
        Name of the role.

    database
        The database that the role belongs to.

    Returns a dict of ``name``, ``database``, ``privileges`` (see ``mongodb.role_create``) and
    ``roles`` (a list of ``role@db`` that it inherits from).

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.role_info counterapp counterapp
    """
    with _primary(f"look up role {name}") as client:
        return __utils__["mongodb.role"](client, database, name)


def role_create(name, privileges, database="admin", roles=()):
    """
    Create a role; return True.

    name
        Name of the role.

    privileges
        List of dicts of ``resource`` and ``actions``, as MongoDB has them: a resource is a dict
        of ``db`` and ``collection``, or ``{cluster: true}``; actions are names such as ``find``.

    database
        The database that the role will belong to. One of another than ``admin`` can name
        resources of its own database only.

    roles
        List of roles that it inherits from: names (of ``database``) or dicts of ``role`` and
        ``db``.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.role_create looker \
            '[{"resource": {"db": "local", "collection": "oplog.rs"}, "actions": ["find"]}]'
    """
    return _write_role("createRole", f"create role {name}", name, privileges, database, roles)


def role_update(name, privileges, database="admin", roles=()):
    """
    Give a role exactly these privileges and roles; return True. Who has it has them at once.

    name, privileges, database, roles
        As for ``mongodb.role_create``.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.role_update looker \
            '[{"resource": {"db": "local", "collection": "oplog.rs"}, "actions": ["find"]}]'
    """
    return _write_role("updateRole", f"change role {name}", name, privileges, database, roles)


def _write_role(command, doing, name, privileges, database, roles):
    with _primary(doing) as client:
        client[database].command(
            command,
            name,
            privileges=__utils__["mongodb.normal_privileges"](privileges),
            roles=__utils__["mongodb.normal_roles"](roles),
            writeConcern=MAJORITY,
        )
    return True


def role_remove(name, database="admin", confirm=None):
    """
    Remove a role, from all who have it as well; return True.

    name, database
        The role and the database it belongs to.

    confirm
        The role's name once more: nothing happens without it.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.role_remove looker confirm=looker
    """
    return _drop("dropRole", "role", name, database, confirm)


def _drop(command, kind, name, database, confirm):
    if confirm != name:
        raise CommandExecutionError(
            f"this removes {kind} {name} of {database}; to do it say confirm={name}"
        )
    with _primary(f"remove {kind} {name}") as client:
        client[database].command(command, name, writeConcern=MAJORITY)
    return True


def user_list(database=None):
    """
    Return the users, each as ``name``, ``database``, ``roles`` (a list of ``role@db``) and
    ``mechanisms`` (a list: how it can log in).

    database
        Only the users of this database; None for all.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.user_list
    """
    with _primary("list users") as client:
        return __utils__["mongodb.users"](client, database)


def user_info(name, database="admin"):
    """
    Return one user as ``mongodb.user_list`` has it, or None when there is none.

    name
        Name of the user.

    database
        The database that the user belongs to.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.user_info counterapp counterapp
    """
    with _primary(f"look up user {name}") as client:
        found = __utils__["mongodb.users"](client, database, name)
    return found[0] if found else None


def user_exists(name, database="admin"):
    """
    Return whether the user ``name`` of ``database`` exists.

    name, database
        The user, and the database that it is known in.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.user_exists counterapp counterapp
    """
    return user_info(name, database) is not None


def user_login(name, password_pillar, database="admin"):
    """
    Return whether the set takes the user's login.

    name
        Name of the user.

    password_pillar
        Path of the password in pillar, e.g. ``secrets:mongodb_app``.

    database
        The database that the user belongs to.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.user_login counterapp secrets:mongodb_app counterapp
    """
    settings = _settings()
    login = _login(settings, name, password_pillar, database)
    with (
        _errors(f"log in as {name}"),
        __utils__["mongodb.connect_primary"](
            settings["address"], settings["timeout"], PATIENCE, [login], settings["tls"]
        ) as (_, accepted),
    ):
        return accepted


def key_login(key_pillar):
    """
    Return whether this node's mongod takes the key of a replica set's keyfile for a member's.

    key_pillar
        Path of the key in pillar, e.g. ``secrets:mongodb_keyfile``.

    Members log in to each other as the user ``__system`` of ``local``, with the key as password.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.key_login secrets:mongodb_keyfile
    """
    settings = _settings()
    login = _login(settings, "__system", key_pillar, "local")
    with (
        _errors("log in as a member"),
        __utils__["mongodb.connect"](
            settings["address"], settings["timeout"], PATIENCE, [login], settings["tls"]
        ) as (_, accepted),
    ):
        return accepted


def user_create(name, password_pillar, database="admin", roles=(), mechanisms=None):
    """
    Create a user; return True.

    name
        Name of the user.

    password_pillar
        Path of the password in pillar, e.g. ``secrets:mongodb_app``.

    database
        The database that the user will belong to and log in at.

    roles
        List of role names (of ``database``) or dicts of ``role`` and ``db``.

    mechanisms
        List of the mechanisms that it can log in by, e.g. ``[SCRAM-SHA-256]``; the server's own
        unless given.

    The first user of a set can be made on the primary only, through the localhost exception:
    in ``admin``, with a role that may make further users, e.g. ``root``.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.user_create counterapp secrets:mongodb_app counterapp '[readWrite]'
    """
    password = _secret(password_pillar)
    with _primary(f"create user {name}") as client:
        client[database].command(
            "createUser",
            name,
            pwd=password,
            roles=__utils__["mongodb.normal_roles"](roles),
            writeConcern=MAJORITY,
            **({"mechanisms": mechanisms} if mechanisms else {}),
        )
    return True


def user_update_password(name, password_pillar, database="admin"):
    """
    Give a user the password that the pillar holds; return True.

    name, password_pillar, database
        As for ``mongodb.user_create``.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.user_update_password counterapp secrets:mongodb_app counterapp
    """
    password = _secret(password_pillar)
    with _primary(f"change the password of {name}") as client:
        client[database].command("updateUser", name, pwd=password, writeConcern=MAJORITY)
    return True


def user_update_roles(name, roles, database="admin"):
    """
    Give a user exactly these roles; return True.

    name, roles, database
        As for ``mongodb.user_create``.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.user_update_roles counterapp '[readWrite]' counterapp
    """
    with _primary(f"change the roles of {name}") as client:
        client[database].command(
            "updateUser",
            name,
            roles=__utils__["mongodb.normal_roles"](roles),
            writeConcern=MAJORITY,
        )
    return True


def user_update_mechanisms(name, mechanisms, database="admin", password_pillar=None):
    """
    Let a user log in by exactly these mechanisms; return True.

    name, mechanisms, database
        As for ``mongodb.user_create``.

    password_pillar
        As for ``mongodb.user_create``; needed where a mechanism is added, for the server keeps
        what it checks a password by for each of them.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.user_update_mechanisms counterapp '[SCRAM-SHA-256]' counterapp
    """
    password = {"pwd": _secret(password_pillar)} if password_pillar else {}
    with _primary(f"change how {name} logs in") as client:
        client[database].command(
            "updateUser", name, mechanisms=list(mechanisms), writeConcern=MAJORITY, **password
        )
    return True


def user_remove(name, database="admin", confirm=None):
    """
    Remove a user; return True.

    name, database
        The user and the database it belongs to.

    confirm
        The user's name once more: nothing happens without it.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.user_remove counterapp counterapp confirm=counterapp
    """
    return _drop("dropUser", "user", name, database, confirm)
