"""
Who logs in to MongoDB from a minion, and where: what every module for MongoDB reads of the minion's
configuration and pillar. The keys are described in the execution module ``mongodb``.

``opts`` and ``pillar`` are plain mappings: a loader's own are seen by its own modules only.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from salt.exceptions import CommandExecutionError, SaltInvocationError
from salt.utils.data import traverse_dict_and_list

try:
    from pymongo.errors import PyMongoError

    HAS_PYMONGO = True
except ImportError:
    HAS_PYMONGO = False

DEFAULTS = {
    "host": "127.0.0.1",
    "port": 27017,
    "timeout": 3,
    "user": None,
    "user_pillar": "mongodb:admin_user",
    "password_pillar": "secrets:mongodb_admin",
    "auth_database": "admin",
    "mechanism": "SCRAM-SHA-256",
    "health_user": None,
    "health_user_pillar": "mongodb:health_user",
    "health_password_pillar": "secrets:mongodb_health",
    "tls": {},
    "backup_key_pillar": None,
    "backup_old_keys_pillar": None,
    "mongod": None,
    "dbpath": "/var/lib/mongodb",
    "service": "mongod",
}
UNAUTHORIZED = 13


def __virtual__() -> bool | tuple[bool, str]:
    if not HAS_PYMONGO:
        return False, "PyMongo is missing in Salt's Python: salt-pip install pymongo"
    return True


def settings(opts: Mapping[str, Any], pillar: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings below ``mongodb``, with ``address``: the configuration wins, key by key.

    :raises CommandExecutionError: one has a value that cannot be meant.
    """
    declared = pillar.get("mongodb") or {}
    config = opts.get("mongodb") or {}
    for name, value in (("pillar", declared), ("minion configuration", config)):
        if not isinstance(value, dict):
            raise CommandExecutionError(f"mongodb in the {name} must be a mapping of settings")
    found: dict[str, Any] = {
        key: opts.get(f"mongodb.{key}", config.get(key, declared.get(key, default)))
        for key, default in DEFAULTS.items()
    }
    port, tls = found["port"], found["tls"] or {}
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
        raise CommandExecutionError(f"mongodb:port must be a number from 1 to 65535, not {port!r}")
    timeout = found["timeout"]
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or timeout <= 0:
        raise CommandExecutionError(
            f"mongodb:timeout must be a number of seconds above 0, not {timeout!r}"
        )
    if not isinstance(tls, dict) or not all(key.startswith("tls") for key in tls):
        raise CommandExecutionError("mongodb:tls must map PyMongo's options, e.g. tlsCAFile")
    if found["mechanism"] not in ("SCRAM-SHA-256", "SCRAM-SHA-1"):
        raise CommandExecutionError(
            f"mongodb:mechanism must be SCRAM-SHA-256 or SCRAM-SHA-1, not {found['mechanism']!r}"
        )
    if "tlsCertificateKeyFilePassword" in tls:
        raise CommandExecutionError(
            "mongodb:tls must hold no password: use a key file that root alone can read"
        )
    host = found["host"]
    return {
        **found,
        "tls": tls,
        "address": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        "user": found["user"] or _look_up(pillar, found["user_pillar"]),
        "health_user": found["health_user"] or _look_up(pillar, found["health_user_pillar"]),
    }


def secret(pillar: Mapping[str, Any], path: str) -> str:
    """Return the password at a path in the pillar.

    :raises CommandExecutionError: there is no text; the path is named and nothing of the value.
    """
    value = _look_up(pillar, path)
    if not isinstance(value, str) or not value:
        raise CommandExecutionError(
            f"pillar has no text at {path}: put the password there, in quotes, for this minion"
            " (then: salt '<id>' saltutil.refresh_pillar)"
        )
    return value


def login(
    found: Mapping[str, Any], pillar: Mapping[str, Any], user: str, path: str, database: str
) -> dict[str, str]:
    """Return the login of ``user`` of ``database``, with the password at ``path`` of the pillar."""
    return {
        "user": user,
        "password": secret(pillar, path),
        "database": database,
        "mechanism": found["mechanism"],
    }


def logins(
    found: Mapping[str, Any], pillar: Mapping[str, Any], looking: bool = False
) -> Iterator[dict[str, str]]:
    """Yield the logins to try. The second is looked up only if the server refuses the first."""
    health, path = found["health_user"], found["health_password_pillar"]
    if looking and health and _look_up(pillar, path):
        yield login(found, pillar, health, path, "admin")
    if found["user"]:
        path, database = found["password_pillar"], found["auth_database"]
        yield login(found, pillar, found["user"], path, database)


@contextlib.contextmanager
def errors(doing: str, explain: Callable[[Exception], str]) -> Iterator[None]:
    """Turn what PyMongo and our own checks raise into Salt's words for it.

    :param explain: ``mongodb.explain``.
    """
    try:
        yield
    except PyMongoError as err:
        raise CommandExecutionError(f"{doing}: {explain(err)}") from err
    except ValueError as err:
        raise SaltInvocationError(f"{doing}: {err}") from err


@contextlib.contextmanager
def session(
    doing: str,
    opts: Mapping[str, Any],
    pillar: Mapping[str, Any],
    connect: Callable[..., contextlib.AbstractContextManager[tuple[Any, bool]]],
    explain: Callable[[Exception], str],
    *,
    address: str | None = None,
    patience: float | None = None,
    looking: bool = False,
) -> Iterator[Any]:
    """Yield a client that is logged in as the settings say.

    :param doing: what is done with it, for errors.
    :param connect: ``mongodb.connect`` or ``mongodb.connect_primary``.
    :param explain: ``mongodb.explain``.
    :param address: another server's ``host:port`` than this node's own.
    :param patience: seconds that one command may take.
    :param looking: nothing is changed: whoever only looks logs in.
    :raises CommandExecutionError: what PyMongo raises, here or in the caller's block.
    """
    found = settings(opts, pillar)
    accepted = True
    try:
        with (
            errors(doing, explain),
            connect(
                address or found["address"],
                found["timeout"],
                patience,
                logins(found, pillar, looking),
                found["tls"],
            ) as (client, accepted),
        ):
            yield client
    except CommandExecutionError as err:
        if accepted or getattr(err.__cause__, "code", None) != UNAUTHORIZED:
            raise
        raise CommandExecutionError(
            f"{err}; the server refuses the login of {found['user']} with the password at"
            f" pillar {found['password_pillar']}"
        ) from err


def _look_up(pillar: Mapping[str, Any], path: str) -> Any:
    return traverse_dict_and_list(pillar, path, None)
