"""
Bring a MongoDB replica set to another series of versions.

The members' programs are replaced one after the other first, which is not done here. What they may
do with the data goes by the set's feature compatibility, which stays as it was until it is changed
by itself: until then the programs can go back.

:depends: PyMongo 4 in Salt's Python (``salt-pip install pymongo``); MongoDB 4.4 or newer.
"""

from salt.exceptions import CommandExecutionError, SaltInvocationError

try:
    import pymongo  # noqa: F401 - what the utilities want

    HAS_PYMONGO = True
except ImportError:
    HAS_PYMONGO = False

__virtualname__ = "mongodb"

# Seconds for the command, which may rewrite what is in the catalog.
PATIENCE = 600
# From this series on the command wants to be confirmed.
CONFIRMED_SINCE = (7, 0)


def __virtual__():
    if not HAS_PYMONGO:
        return False, "PyMongo is missing in Salt's Python: salt-pip install pymongo"
    return __virtualname__


def _session(doing, connect, **options):
    return __utils__["mongodb_login.session"](
        doing,
        dict(__opts__),
        dict(__pillar__),
        __utils__[f"mongodb.{connect}"],
        __utils__["mongodb.explain"],
        **options,
    )


def feature_compatibility():
    """
    Return the feature compatibility that this node's mongod goes by.

    Returns a dict of ``version`` (``6.0``), ``target`` (the one that it is on its way to, or None)
    and ``runs`` (the program's version).

    CLI Example:

    .. code-block:: bash

        salt 'db-*' mongodb.feature_compatibility
    """
    with _session("look up the feature compatibility", "connect", looking=True) as client:
        return _read(client)


def _read(client):
    name = "featureCompatibilityVersion"
    found = client.admin.command("getParameter", 1, **{name: True})[name]
    return {
        "version": found["version"],
        "target": found.get("targetVersion"),
        "runs": client.admin.command("buildInfo")["version"],
    }


def set_feature_compatibility(version, confirm=None):
    """
    Have the set of this node use, or give up, what a series of MongoDB brings; return what
    ``mongodb.feature_compatibility`` does. One that was changed before stays unchanged.

    version
        The series: that of all members' programs, to end an upgrade; the one before, so that the
        programs may go back to it.

    confirm
        The same once more: what the new one brings cannot be read by older programs, and MongoDB
        cannot undo it from 7.0 on without its support.

    Raises ``CommandExecutionError`` when a member does not answer, or runs another series.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.set_feature_compatibility 7.0 confirm=7.0
    """
    version = str(version)
    doing = f"set the feature compatibility to {version}"
    try:
        wanted = __utils__["mongodb_version.series"](version)
    except ValueError as err:
        raise SaltInvocationError(f"{doing}: {err}") from err
    if version != "{}.{}".format(*wanted):
        raise SaltInvocationError(f"{doing}: say a series, as 7.0, and not {version}")
    members = {}
    status = __salt__["mongodb.status"]()
    for member in status["members"]:
        if member["state"] == "ARBITER":
            continue
        with _session(doing, "connect", address=member["name"], looking=True) as client:
            members[member["name"]] = _read(client)
    if not members:
        raise CommandExecutionError(f"{doing}: this node is in no replica set")
    allowed = {name: _allowed(found["runs"]) for name, found in members.items()}
    wrong = [
        f"{name} runs {members[name]['runs']}, which knows {' and '.join(sorted(known))}"
        for name, known in allowed.items()
        if version not in known
    ]
    if wrong:
        raise CommandExecutionError(
            f"{doing}: {'; '.join(wrong)}: bring every member to one series first"
        )
    if all(each["version"] == version and not each["target"] for each in members.values()):
        return next(iter(members.values()))
    if str(confirm) != version:
        raise CommandExecutionError(
            f"{doing}: programs of other series may not read the data then; to do it say"
            f" confirm={version}"
        )
    with _session(doing, "connect_primary", patience=PATIENCE) as client:
        runs = __utils__["mongodb_version.series"](client.admin.command("buildInfo")["version"])
        sure = {"confirm": True} if runs >= CONFIRMED_SINCE else {}
        client.admin.command(
            "setFeatureCompatibilityVersion", version, writeConcern={"wtimeout": 60_000}, **sure
        )
        return _read(client)


def _allowed(runs):
    """Return the series that a program can be told to go by: its own and the one before."""
    own = __utils__["mongodb_version.series"](runs)
    before = __utils__["mongodb_version.before"](own)
    return {"{}.{}".format(*each) for each in (own, before) if each}
