"""
Look at the settings that a MongoDB replica set has as a whole, and change them: how soon it elects,
and from whom members copy.

They have MongoDB's own names: ``electionTimeoutMillis``, ``heartbeatTimeoutSecs``,
``chainingAllowed``, ``catchUpTimeoutMillis`` and ``catchUpTakeoverDelayMillis``.

Where the server is and who logs in is set as for the rest of the module.

:depends: PyMongo 4 in Salt's Python (``salt-pip install pymongo``); MongoDB 4.4 or newer.
"""

from salt.exceptions import CommandExecutionError

try:
    import pymongo  # noqa: F401

    HAS_PYMONGO = True
except ImportError:
    HAS_PYMONGO = False

__virtualname__ = "mongodb"

# Seconds for a command that the whole set takes part in.
PATIENCE = 30


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


def settings(address=None):
    """
    Return the settings of the set as its configuration has them.

    address
        ``host:port`` of any member; this node's own unless given.

    Returns a dict of ``chainingAllowed`` (whether a member copies from others than the primary),
    ``heartbeatTimeoutSecs``, ``electionTimeoutMillis`` (for how long the primary may be silent
    before another one is elected), ``catchUpTimeoutMillis`` (for how long a new primary waits for
    what others have and it lacks; -1: as long as it takes) and ``catchUpTakeoverDelayMillis``.
    Raises ``CommandExecutionError`` where the configuration may not be seen.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.settings
    """
    with _session("settings", "connect", address=address, looking=True) as client:
        config = __utils__["mongodb.read_config"](client)
    if config is None:
        raise CommandExecutionError(
            "settings: the server does not let us look at the configuration"
        )
    return __utils__["mongodb_settings.of"](config)


def configure(settings, address=None, timeout=30):
    """
    Bring settings of the set in force, in one configuration.

    settings
        Mapping of what ``mongodb.settings`` returns, or of some of it: others stay as they are.

    address
        ``host:port`` of any member of the set; this node's own unless given.

    timeout
        Seconds for the configuration to be that of a majority.

    Members, votes and the primary stay as they are. Returns a dict of what was changed, each with
    ``old`` and ``new``. Raises ``CommandExecutionError`` where there is no such setting, a value is
    none that it can have, or no majority has the configuration in time.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.configure '{electionTimeoutMillis: 3000}'
    """
    doing = "configure the set"
    try:
        wanted = __utils__["mongodb_settings.check"](settings)
    except ValueError as err:
        raise CommandExecutionError(f"{doing}: {err}") from err
    differing, changed = (__utils__[f"mongodb_settings.{way}"] for way in ("differing", "changed"))
    with _session(doing, "connect_primary", address=address, patience=PATIENCE) as client:
        config = __utils__["mongodb.read_config"](client)
        if config is None:
            raise CommandExecutionError(f"{doing}: the server does not show its configuration")
        left = differing(config, wanted)
        __utils__["mongodb.reconfigure"](client, lambda config: changed(config, wanted), timeout)
    return left
