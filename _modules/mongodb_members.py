"""
Look after the members of a MongoDB replica set: who they are, and what each one is for.

A member is written as ``host:port``, or as a mapping of ``host`` and of settings in MongoDB's own
names. With a mapping these settings hold, and MongoDB's default for each that is not in it; with a
mere ``host:port`` they are left as they are.

.. code-block:: yaml

    - db-1:27017
    - {host: "db-2:27017", priority: 2}                             # be it primary, if it can
    - {host: "db-3:27017", priority: 0, hidden: true}               # no client reads from it
    - {host: "db-4:27017", priority: 0, hidden: true, secondaryDelaySecs: 3600}
    - {host: "db-5:27017", votes: 0, priority: 0, tags: {use: reports}}
    - {host: "db-6:27017", arbiterOnly: true}                       # has a vote and no data

One vote changes at a time, and the next thing is done when a majority has the configuration. A new
member has no vote until it has all data.

Where the server is and who logs in is set as for the rest of the module.

:depends: PyMongo 4 in Salt's Python (``salt-pip install pymongo``); MongoDB 4.4 or newer.
"""

import time

from salt.exceptions import CommandExecutionError

try:
    from pymongo.errors import ConnectionFailure

    HAS_PYMONGO = True
except ImportError:
    HAS_PYMONGO = False

__virtualname__ = "mongodb"

# Seconds for one command that the whole set takes part in (initiation, configuration).
PATIENCE = 30
# Seconds that a new member may be behind when it gets its vote.
CAUGHT_UP = 2


def __virtual__():
    if not HAS_PYMONGO:
        return False, "PyMongo is missing in Salt's Python: salt-pip install pymongo"
    return __virtualname__


def _errors(doing):
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


def _member(doing):
    """Yield a client of this node's mongod."""
    return _session(doing, "connect", patience=PATIENCE)


def _look(doing, address=None):
    """Yield a client of this node's mongod or another one, for what changes nothing."""
    return _session(doing, "connect", address=address, looking=True)


def _primary(doing, address=None):
    """Yield a client of the primary of this node's set (or the one that ``address`` is in)."""
    return _session(doing, "connect_primary", address=address, patience=PATIENCE)


def _hello(address=None):
    settings = __utils__["mongodb_login.settings"](dict(__opts__), dict(__pillar__))
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


def _forms(members):
    """Return the forms of these members; ``ValueError`` names the one that is wrong."""
    found = __utils__["mongodb_members.forms"](members)
    __utils__["mongodb.check_members"]([each["host"] for each in found])
    return found


def _set_members(doing, address=None):
    """Return the members as the primary sees them."""
    with _primary(doing, address) as client:
        members = __utils__["mongodb.members_of"](client)
    if members is None:
        raise CommandExecutionError(f"{doing}: the server does not let us look at the members")
    return members


def members(address=None):
    """
    Return the members of the set as its configuration has them.

    address
        ``host:port`` of any member; this node's own unless given.

    Returns a list of dicts of ``host``, ``votes``, ``priority``, ``hidden``,
    ``secondaryDelaySecs``, ``arbiterOnly`` and ``tags``: what ``mongodb.configure_members`` takes.
    What they are at is told by ``mongodb.status``.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.members
    """
    with _look("members", address) as client:
        config = __utils__["mongodb.read_config"](client)
    if config is None:
        raise CommandExecutionError("members: the server does not let us look at the configuration")
    return [
        {"host": entry["host"], **__utils__["mongodb_members.settings_of"](entry)}
        for entry in config["members"]
    ]


def survey(name, members):
    """
    Compare a declared replica set with what its members say exists.

    name
        Name of the declared set.

    members
        List of its members, each ``host:port`` or a mapping of ``host`` and settings.

    Returns a dict of ``conflicts`` (sentences: why nothing may be done), ``exists``,
    ``members`` (of the existing set), ``missing`` (also those that wait for their vote),
    ``surplus``, ``silent`` (declared, but nobody answers there), ``own`` (this node's name among
    the declared, or None), ``state`` (of this node), ``unfinished`` (the initiation was
    interrupted), ``contact`` (a member of the existing set), ``differing`` (by member its settings
    that are not as declared, each as ``old`` and ``new``; empty where they may not be seen),
    ``blocked`` (why these cannot be changed, or None) and ``first`` (what has to be done before,
    as the primary cannot be made one that could not be elected, or None). Raises
    ``CommandExecutionError`` when this node's mongod does not answer.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.survey rs0 '["db-1:27017", "db-2:27017", "db-3:27017"]'
    """
    with _errors("survey"):
        declared = _forms(members)
        hosts = [each["host"] for each in declared]
        here = _hello()
        views = {host: _view(host) for host in hosts}
    found = __utils__["mongodb_survey.survey"](name, hosts, here, views)
    found.update(differing={}, blocked=None, first=None)
    if found["contact"] and not found["conflicts"]:
        with _look("survey", found["contact"]) as client:
            known = __utils__["mongodb.members_of"](client)
            config = __utils__["mongodb.read_config"](client) if known is not None else None
        if known is not None:
            names = [member["name"] for member in known]
            found.update(__utils__["mongodb_survey.survey"](name, hosts, here, views, names))
        if config is not None:
            found["missing"] += [
                entry["host"]
                for entry in config["members"]
                if entry["host"] in hosts and __utils__["mongodb_members.is_joining"](entry)
            ]
            found["differing"] = __utils__["mongodb_members.differing"](config, declared)
            blocked = __utils__["mongodb_members.blocked"]
            found["blocked"] = blocked(config, declared, None)
            if not found["blocked"]:
                found["first"] = blocked(config, declared, here["primary"])
    return found


def initiate(name, members, timeout=60):
    """
    Make a replica set of servers that belong to none yet; this node becomes its primary.

    name
        Name of the set: what the servers have as ``replication.replSetName``.

    members
        List of the members, each ``host:port`` or a mapping of ``host`` and settings; this node's
        mongod is one of them, and can be elected.

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

    with _errors(f"initiate {name}"):
        declared = _forms(members)
    for _ in __utils__["mongodb.turns"](timeout):
        found = survey(name, members)
        if not found["silent"] or found["conflicts"]:
            break
    refusal = found["conflicts"]
    if found["exists"] and not found["unfinished"]:
        refusal = refusal or [f"{name} exists already, with {', '.join(found['members'])}"]
    if not found["exists"] and found["silent"]:
        # Any of them may hold a set with data in it.
        refusal = refusal or [f"no answer from {', '.join(found['silent'])}"]
    if refusal:
        raise CommandExecutionError(f"will not initiate {name}: {'; '.join(refusal)}")
    with _member(f"initiate {name}") as client:
        if not found["exists"]:
            config = __utils__["mongodb_members.boot_config"](name, declared, found["own"])
            client.admin.command("replSetInitiate", config)
    __salt__["mongodb.wait_primary"](timeout)
    final_config = __utils__["mongodb_members.final_config"]

    def final(name, version, present):
        return final_config(name, version, present, declared)

    with _member(f"initiate {name}") as client:
        __utils__["mongodb.finish_initiation"](client, final, timeout)
    return {
        "set": name,
        "members": [each["host"] for each in declared],
        "primary": __salt__["mongodb.primary"](),
    }


def add_member(member, address=None, timeout=120, data_timeout=None):
    """
    Add a server to the set that this node belongs to, wait until it has all data and its vote.

    member
        The new member, as the other members reach it: ``host:port``, or a mapping of ``host`` and
        settings.

    address
        ``host:port`` of any member of the set; this node's own unless given.

    timeout
        Seconds for the whole of it.

    data_timeout
        Seconds for copying all data, which then do not count for ``timeout``.

    The new server must answer in that time and belong to no set: MongoDB drops what data it
    has. It has no vote and cannot be elected until it has caught up, so that no majority counts on
    it before. Returns the new member's entry of ``mongodb.status``; for one that is a member
    already, nothing is done but the waiting. An addition that was interrupted is gone on with.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.add_member db-4:27017
        salt db-1 mongodb.add_member '{host: "db-4:27017", priority: 0, hidden: true}'
    """
    deadline = time.monotonic() + timeout
    with _errors("add a member"):
        [wanted] = _forms_of_one(member)
    host = wanted["host"]
    doing = f"add {host}"

    def answers():
        with _errors(doing):
            return True, _hello(host)

    fresh = _await(answers, timeout, f"{host} answers")
    adding, admitting = (__utils__[f"mongodb_members.{way}"] for way in ("adding", "admitting"))
    with _primary(doing, address) as client:
        _refuse_stranger(doing, client, host, fresh)
        left = max(1, deadline - time.monotonic())
        __utils__["mongodb.reconfigure"](client, lambda config: adding(config, wanted), left)

    def caught_up():
        present = __salt__["mongodb.status"](address)["members"]
        entry = next((each for each in present if each["name"] == host), None)
        if entry is None:
            return False, "the set does not know it yet"
        if entry["state"] in ("PRIMARY", "ARBITER"):
            return True, entry
        late = __utils__["mongodb_health.behind"](entry)
        done = entry["state"] == "SECONDARY" and late is not None and late <= CAUGHT_UP
        return done, f"{__utils__['mongodb_health.told'](entry)}, lag {entry['lag_s']} s"

    left = max(0, deadline - time.monotonic()) if data_timeout is None else data_timeout
    _await(caught_up, left, f"{host} has all data")
    with _primary(doing, address) as client:
        __utils__["mongodb.reconfigure"](client, lambda config: admitting(config, wanted), PATIENCE)
    return next(
        each for each in __salt__["mongodb.status"](address)["members"] if each["name"] == host
    )


def _forms_of_one(member):
    """Return the form of one member, in a list; alone it needs not be one that can be elected."""
    found = __utils__["mongodb_members.form"](member)
    __utils__["mongodb.check_members"]([found["host"]])
    return [found]


def _refuse_stranger(doing, client, host, fresh):
    """Refuse a server that has a set of its own, or was started for none."""
    ours = client.admin.command("hello")
    if fresh["initialized"] and fresh["set"] != ours["setName"] or _is_elsewhere(fresh, ours):
        raise CommandExecutionError(
            f"{doing}: it already belongs to a replica set {fresh['set']} of its own, with"
            f" {', '.join(fresh['hosts'])}"
        )
    if not fresh["replication"]:
        raise CommandExecutionError(
            f"{doing}: it runs without replication: set replication.replSetName"
            f" to {ours['setName']}"
        )


def _is_elsewhere(fresh, ours):
    """Return whether a server belongs to a set of which this one's primary knows nothing."""
    known = set(__utils__["mongodb.describe"]("", ours)["hosts"])
    return fresh["initialized"] and not known & set(fresh["hosts"])


def configure_members(members, address=None, timeout=30):
    """
    Bring the settings of members in force, one member and so at most one vote at a time.

    members
        List of mappings of ``host`` and settings, of some or of all members. Others, and those
        that are given as mere ``host:port``, stay as they are.

    address
        ``host:port`` of any member of the set; this node's own unless given.

    timeout
        Seconds for each configuration to be that of a majority.

    Returns a dict of what was changed: by member its settings, each with ``old`` and ``new``.
    Nothing is changed where the whole cannot be: a set without a member that could be elected,
    more than seven votes, a primary that could not be elected (``mongodb.step_down`` first), an
    arbiter that shall have data. Nobody is added or removed.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.configure_members '[{host: "db-3:27017", priority: 0, hidden: true}]'
    """
    doing = "configure members"
    with _errors(doing):
        wanted = [__utils__["mongodb_members.form"](member) for member in _listed(members)]
        __utils__["mongodb.check_members"]([each["host"] for each in wanted])
    changed = {}
    step = __utils__["mongodb_members.step"]
    with _primary(doing, address) as client:
        config = __utils__["mongodb.read_config"](client)
        if config is None:
            raise CommandExecutionError(f"{doing}: the server does not show its configuration")
        primary = client.admin.command("hello")["primary"]
        _refuse_impossible(doing, config, wanted, primary)
        while left := __utils__["mongodb_members.differing"](config, wanted):
            __utils__["mongodb.reconfigure"](
                client, lambda config: step(config, wanted, primary), timeout
            )
            config = __utils__["mongodb.read_config"](client)
            after = __utils__["mongodb_members.differing"](config, wanted)
            changed.update({host: left[host] for host in left if host not in after})
    return changed


def _listed(members):
    if isinstance(members, (list, tuple)) and members:
        return members
    raise ValueError(f"members must be a list of mappings with a host, not {members!r}")


def _refuse_impossible(doing, config, wanted, primary):
    present = [entry["host"] for entry in config["members"]]
    strangers = [each["host"] for each in wanted if each["host"] not in present]
    if strangers:
        raise CommandExecutionError(
            f"{doing}: {', '.join(strangers)} is no member; members are {', '.join(present)}"
        )
    blocked = __utils__["mongodb_members.blocked"]
    # For the first of these a primary that steps down is no help.
    refusal = blocked(config, wanted, None) or blocked(config, wanted, primary)
    if refusal:
        raise CommandExecutionError(f"{doing}: {refusal}")


def move_member(member, to, timeout=120):
    """
    Tell the set that a member has another address now. It keeps its data and its settings.

    member
        ``host:port`` that the set knows it by, where nobody answers any more.

    to
        ``host:port`` that it has now, as the other members reach it.

    timeout
        Seconds for it to be a member again, which it is with the data that it has, if the others'
        oplogs reach back to its last write.

    Refuses while the old address serves, and a new one that belongs to another set. Returns the
    member's entry of ``mongodb.status``.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.move_member 192.168.33.15:27018 192.168.33.15:27017
    """
    doing = f"move {member}"
    with _errors(doing):
        __utils__["mongodb.check_members"]([member, to])
        fresh = _view(to)
    if fresh is None:
        raise CommandExecutionError(f"{doing}: {to} does not answer")
    present = _set_members(doing)
    by_name = {each["name"]: each for each in present}
    if to not in by_name and member not in by_name:
        raise CommandExecutionError(f"{doing}: not a member; members are {', '.join(by_name)}")
    if to not in by_name:
        if by_name[member]["health"] == 1:
            raise CommandExecutionError(
                f"{doing}: a member answers there ({by_name[member]['state']}): stop it first, or"
                f" add the other one beside it (mongodb.add_member {to})"
            )

        def change(config):
            entries = [
                {**entry, "host": to} if entry["host"] == member else entry
                for entry in config["members"]
            ]
            return {**config, "members": entries}

        with _primary(doing) as client:
            _refuse_stranger(doing, client, to, fresh)
            __utils__["mongodb.reconfigure"](client, change, PATIENCE)

    def probe():
        entries = __salt__["mongodb.status"]()["members"]
        entry = next((each for each in entries if each["name"] == to), None)
        if entry is None:
            return False, "the set does not know it yet"
        if __utils__["mongodb_health.is_up"](entry):
            return True, entry
        return False, __utils__["mongodb_health.told"](entry)

    return _await(probe, timeout, f"{to} is a member again")


def remove_member(member, confirm=None):
    """
    Take a member out of the set. It keeps its data, but gets no more.

    member
        ``host:port`` of the member; not the primary (``mongodb.step_down`` first).

    confirm
        The same ``host:port`` once more: nothing happens without it.

    Refuses when the rest would be no healthy majority, or nobody of it could be elected. Returns
    the names of the members left.

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
    reasons = __utils__["mongodb_health.unhealthy"](
        rest, next((m["name"] for m in rest if m["state"] == "PRIMARY"), None)
    )
    if reasons:
        raise CommandExecutionError(f"{doing}: the rest would not work: {'; '.join(reasons)}")

    removing = __utils__["mongodb_members.removing"]

    def change(config):
        return removing(config, member)

    with _primary(doing) as client:
        __utils__["mongodb.reconfigure"](client, change, PATIENCE)
    return [m["name"] for m in _set_members(doing)]
