"""
Bring back a member of a MongoDB replica set that cannot catch up, or whose data are damaged, and
see for how long members may be away without that.

Where the server is and who logs in is set as for the rest of the module; ``mongodb:dbpath`` and
``mongodb:service`` say where its data are and what starts it.

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

PATIENCE = 30
MAJORITY = {"w": "majority", "wtimeout": 20_000}


def __virtual__():
    if not HAS_PYMONGO:
        return False, "PyMongo is missing in Salt's Python: salt-pip install pymongo"
    return __virtualname__


def _settings():
    return __utils__["mongodb_login.settings"](dict(__opts__), dict(__pillar__))


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


def _own_view():
    """Return ``mongodb.hello`` of this node's mongod, or None when it does not answer."""
    settings = _settings()
    try:
        return __utils__["mongodb.hello"](settings["address"], settings["timeout"], settings["tls"])
    except ConnectionFailure:
        return None


def resync(confirm=None, member=None, address=None, timeout=120, data_timeout=3600):
    """
    Have this node's member drop all its data and copy those of the set anew.

    confirm
        What will be gone, as the refusal without it names it: the member and its data folder, such
        as ``192.168.33.15:27017/var/lib/mongodb``. Nothing happens without it.

    member
        ``host:port`` that the set knows this node's member by. Needed only where its mongod does
        not run.

    address
        ``host:port`` of another member to ask. Needed only where this node's mongod does not run,
        or does not know the primary.

    timeout
        Seconds for the service to stop, and again to start.

    data_timeout
        Seconds for copying all data.

    Refuses, before anything is touched, for the primary; while the other members with data and a
    vote that are up are no majority without it; and where the data would not fit. When its mongod
    has stopped, the others have to show that they hold all that was ever acknowledged, or it is
    started again as it was. What was in the data folder is kept in it, below ``before-resync``,
    until the copy is whole, if both fit; else it is removed first. Given again after it was
    interrupted, it begins the copy anew.

    Returns a dict of ``member``, ``dbpath``, ``destroyed`` (bytes), ``kept`` (whether the old data
    were kept meanwhile), ``seconds`` and ``state``.

    CLI Example:

    .. code-block:: bash

        salt db-2 mongodb.resync confirm=192.168.33.15:27017/var/lib/mongodb
    """
    began = time.monotonic()
    settings = _settings()
    with _errors("resync"):
        view = _own_view()
    own, seen = _who(view, member, address)
    folder = __utils__["mongodb_data.check"](settings["dbpath"], running=view is not None)
    refusal = __utils__["mongodb_health.keeps_majority"](seen["members"], own)
    if refusal:
        raise CommandExecutionError(f"resync of {own} refused: {refusal}")
    destroyed = __utils__["mongodb_data.size"](folder)
    what = f"{own}{folder}"
    if confirm != what:
        raise CommandExecutionError(
            f"resync: this destroys the data of {own} in {folder} ({destroyed / 2**20:.0f} MiB) and"
            f" copies all from the others; to do it say confirm={what}"
        )
    source = seen["primary"]
    kept = __utils__["mongodb_data.room"](folder, _needed(source))

    _stop(settings["service"], timeout)
    try:
        _prove(own, source)
    except CommandExecutionError:
        _start(settings["service"], timeout)
        raise
    __utils__["mongodb_data.empty"](folder, kept)
    _start(settings["service"], timeout)
    try:
        after = __salt__["mongodb.wait_member"](timeout=data_timeout)
    except CommandExecutionError as err:
        where = f"; what it had is in {folder}/before-resync" if kept else ""
        raise CommandExecutionError(f"resync of {own}: {err}{where}") from err
    __utils__["mongodb_data.forget"](folder)
    return {
        "member": own,
        "dbpath": str(folder),
        "destroyed": destroyed,
        "kept": kept,
        "seconds": round(time.monotonic() - began, 1),
        "state": after["state"],
    }


def _who(view, member, address):
    """Return the name of this node's member, and the set as its primary sees it."""
    told = view["me"] if view and view["initialized"] else None
    own = told or member
    if member and told and member != told:
        raise CommandExecutionError(f"resync: this node's member is {told}, not {member}")
    contact = address or (view["primary"] if view else None)
    if not own or not contact:
        raise CommandExecutionError(
            "resync: this node's mongod does not tell which member it is, or who is the primary:"
            " say member=host:port of its own, and address=host:port of another member"
        )
    seen = __salt__["mongodb.status"](contact)
    if seen["primary"] and seen["state"] != "PRIMARY":
        seen = __salt__["mongodb.status"](seen["primary"])
    if not seen["authorized"] or seen["state"] != "PRIMARY":
        why = seen["reason"] or "the set has no primary"
        raise CommandExecutionError(f"resync of {own} refused: {contact} says: {why}")
    entry = next((each for each in seen["members"] if each["name"] == own), None)
    if told is None and entry and entry["health"] == 1 and entry["state"] != "STARTUP2":
        raise CommandExecutionError(
            f"resync of {own} refused: it is {entry['state']}, and this node's mongod is not"
        )
    return own, seen


def _needed(source):
    """Return how many bytes all data of the set take."""
    with _session("look how much there is to copy", "connect", address=source) as client:
        return int(client.admin.command("listDatabases", nameOnly=False)["totalSize"])


def _prove(own, source):
    """Have a majority without this member acknowledge a write, and with it all before it."""
    doing = f"resync of {own}: showing that the others hold all that was acknowledged"
    with _session(doing, "connect_primary", address=source, patience=PATIENCE) as client:
        answer = client.admin.command(
            "appendOplogNote", data={"msg": f"resync of {own}"}, writeConcern=MAJORITY
        )
        __utils__["mongodb.acknowledged"](answer)


def _stop(service, timeout):
    __salt__["service.stop"](service)
    for _ in __utils__["mongodb.turns"](timeout):
        if not __salt__["service.status"](service) and _own_view() is None:
            return
    raise CommandExecutionError(f"resync: the service {service} did not stop in {timeout} s")


def _start(service, timeout):
    if not __salt__["service.start"](service):
        raise CommandExecutionError(f"resync: the service {service} did not start: see its log")
    __salt__["mongodb.wait_reachable"](timeout)


# For how long a member may be away


def oplog(address=None):
    """
    Return how far back a member's oplog reaches: others that are away for longer cannot catch up.

    address
        ``host:port`` of the member; this node's own unless given.

    Returns a dict of ``max_mib`` (the size that it may have), ``used_mib``, ``oldest`` and
    ``newest`` (times of its entries, UTC) and ``hours`` (between the two).

    CLI Example:

    .. code-block:: bash

        salt 'db-*' mongodb.oplog
    """
    with _session("look at the oplog", "connect", address=address, looking=True) as client:
        return __utils__["mongodb.oplog_reach"](client)


def resize_oplog(mib, min_hours=None):
    """
    Give this node's member an oplog of another size; it holds at once.

    mib
        The size that it may have, in MiB: 990 at least.

    min_hours
        Hours for which entries are kept even if that takes more; 0 for none, and None leaves it.

    Each member has its own, and a member that copies all data anew begins with the size of its
    configuration file. Returns ``mongodb.oplog``.

    CLI Example:

    .. code-block:: bash

        salt 'db-*' mongodb.resize_oplog 4096
    """
    wanted = {"size": float(mib)}
    if min_hours is not None:
        wanted["minRetentionHours"] = float(min_hours)
    with _session("resize the oplog", "connect", patience=PATIENCE) as client:
        client.admin.command("replSetResizeOplog", 1, **wanted)
        return __utils__["mongodb.oplog_reach"](client)
