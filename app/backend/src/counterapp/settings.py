"""What the environment of the process says, checked as a whole before anything starts."""

import importlib.metadata
import ipaddress
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pymongo import uri_parser

T = TypeVar("T")

_REQUIRED = object()

LONGEST_DEADLINE = 25
"""Seconds: less than the 30 that a balancer waits for an answer, and a stopping worker for its
last ones."""


class SettingsError(Exception):
    """The environment is not good enough to start with; the message names each variable."""


def installed_release() -> str:
    """Return the version of the installed package, which is the release's version.

    ``0+source`` where the package runs from a source tree without having been installed.
    """
    try:
        return importlib.metadata.version("counterapp")
    except importlib.metadata.PackageNotFoundError:
        return "0+source"


@dataclass(frozen=True)
class Settings:
    """Settings of one process. Times are in seconds."""

    mongodb_uri: str = field(repr=False)
    """Connection string of the replica set, with the application's user; secret."""
    node: str
    """Name of this node, as ``X-Served-By`` gives it."""
    static: Path
    """Folder of the built front end; has an ``index.html``."""
    database: str = "counterapp"
    """Name of the MongoDB database that holds the counters."""
    database_timeout: float = 5.0
    """How long an operation waits for a primary, and then for the majority's acknowledgement."""
    hit_deadline: float = 8.0
    """How long a hit waits at most, for as many tries as it takes: also while a primary is
    elected."""
    ready_timeout: float = 1.5
    """How long the write that ``/readyz`` makes may take altogether."""
    waiting: int = 1000
    """How many hits may wait for their write, of all kinds together; more are refused at once."""
    keep_keys: int = 86400
    """For how long an idempotency key is remembered."""
    combine: bool = True
    """Whether hits share writes. Off only to measure what that brings."""
    max_streams: int = 200
    """How many streams of events a process serves at a time; more are refused with 503."""
    client_streams: int = 20
    """How many of them one client may have; more are refused with 429."""
    client_places: int = 200
    """How many requests of one client a process serves at a time; more are refused with 429."""
    client_creations: int = 300
    """How many counters one client may make in an hour, by hits or on purpose."""
    client_imports: int = 100_000
    """How many records one client may import in an hour."""
    balancers: frozenset[str] = frozenset()
    """Addresses of the balancers, whose word on a client's address is taken; nobody else's is."""
    unowned_lifetime: int = 180
    """Days after its last change for which a counter that nobody owns is kept."""
    most_counters: int = 10_000_000
    """How many counters the database may hold; no more are made."""
    most_keys: int = 10_000_000
    """How many idempotency keys the database may hold; no more are taken."""
    operator_key: str | None = field(default=None, repr=False)
    """What operators' tokens are signed with; secret. Without it none is taken."""
    operator_key_also: str | None = field(default=None, repr=False)
    """What they may be signed with as well, while the key is rotated; secret."""
    backups: Path | None = None
    """Where the master writes how far the counters can be restored. Without it nobody is told."""
    log_level: str = "INFO"
    release: str = field(default_factory=installed_release)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the ``COUNTERAPP_*`` variables.

        :raises SettingsError: one or more are missing or not valid; all of them are named.
        """
        reader = Reader(environ)
        values = {
            "mongodb_uri": reader.read("COUNTERAPP_MONGODB_URI", _mongodb_uri),
            "node": reader.read("COUNTERAPP_NODE", _node),
            "static": reader.read("COUNTERAPP_STATIC", _static),
            "database": reader.read("COUNTERAPP_DATABASE", _database, "counterapp"),
            "database_timeout": reader.read("COUNTERAPP_DATABASE_TIMEOUT", _seconds, 5.0),
            "hit_deadline": reader.read("COUNTERAPP_HIT_DEADLINE", _deadline, 8.0),
            "ready_timeout": reader.read("COUNTERAPP_READY_TIMEOUT", _seconds, 1.5),
            "waiting": reader.read("COUNTERAPP_WAITING", _many, 1000),
            "keep_keys": reader.read("COUNTERAPP_KEEP_KEYS", _many, 86400),
            "combine": reader.read("COUNTERAPP_COMBINE", _yes_or_no, True),
            "max_streams": reader.read("COUNTERAPP_MAX_STREAMS", whole_number, 200),
            "client_streams": reader.read("COUNTERAPP_CLIENT_STREAMS", whole_number, 20),
            "client_places": reader.read("COUNTERAPP_CLIENT_PLACES", _many, 200),
            "client_creations": reader.read("COUNTERAPP_CLIENT_CREATIONS", _many, 300),
            "client_imports": reader.read("COUNTERAPP_CLIENT_IMPORTS", _many, 100_000),
            "balancers": reader.read("COUNTERAPP_BALANCERS", _addresses, frozenset()),
            "unowned_lifetime": reader.read("COUNTERAPP_UNOWNED_LIFETIME", _days, 180),
            "most_counters": reader.read("COUNTERAPP_MOST_COUNTERS", _most, 10_000_000),
            "most_keys": reader.read("COUNTERAPP_MOST_KEYS", _most, 10_000_000),
            "operator_key": reader.read("COUNTERAPP_OPERATOR_KEY", _operator_key, None),
            "operator_key_also": reader.read("COUNTERAPP_OPERATOR_KEY_ALSO", _operator_key, None),
            "backups": reader.read("COUNTERAPP_BACKUPS", _whole_path, None),
            "log_level": reader.read("COUNTERAPP_LOG_LEVEL", _log_level, "INFO"),
        }
        reader.raise_problems()
        return cls(**values)  # type: ignore[arg-type]  # no None is left without a problem


class Reader:
    """Reads variables one after the other and keeps what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._problems: list[str] = []

    def read(
        self, variable: str, parse: Callable[[str], T], default: T | object = _REQUIRED
    ) -> T | object | None:
        """Return the parsed variable, or ``default`` where it is unset or empty.

        ``parse`` raises ``ValueError`` with what the variable must be. A problem is kept for
        :meth:`raise_problems`, and None returned.
        """
        text = self._environ.get(variable, "")
        if not text:
            if default is _REQUIRED:
                self._problems.append(f"{variable} is not set")
                return None
            return default
        try:
            return parse(text)
        except ValueError as error:
            self._problems.append(f"{variable} {error}")
            return None

    def raise_problems(self) -> None:
        """Raise ``SettingsError`` naming every variable that was missing or not valid."""
        if self._problems:
            raise SettingsError(
                "counterapp cannot start: " + "; ".join(self._problems) + ". On a web node these"
                " variables come from /etc/counterapp/counterapp.env."
            )


def whole_number(text: str, least: int = 1, most: int = 1024) -> int:
    """Parse a decimal number between ``least`` and ``most``; ``ValueError`` otherwise."""
    if not re.fullmatch("[0-9]{1,9}", text) or not least <= int(text) <= most:
        raise ValueError(f"must be a whole number from {least} to {most}, not {text!r}")
    return int(text)


def _mongodb_uri(text: str) -> str:
    # PyMongo's own messages can quote parts of the string, and it holds a password.
    complaint = "must be a connection string like mongodb://user:password@host:port/?replicaSet=rs0"
    if not text.startswith("mongodb://"):
        raise ValueError(complaint)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            uri_parser.parse_uri(text)
    except Exception as error:
        raise ValueError(f"{complaint} ({type(error).__name__})") from None
    return text


def _node(text: str) -> str:
    if not re.fullmatch("[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", text):
        raise ValueError(f"must be a node name of letters, digits, '_', '.' and '-', not {text!r}")
    return text


def _static(text: str) -> Path:
    if not Path(text, "index.html").is_file():
        raise ValueError(f"must be the folder of the built front end: no index.html in {text!r}")
    # `current` is a symlink that moves to the next release while this process still serves.
    return Path(text).resolve()


def _whole_path(text: str) -> Path:
    if not text.startswith("/"):
        raise ValueError(f"must be a whole path, not {text!r}")
    return Path(text)


def _database(text: str) -> str:
    if not re.fullmatch("[A-Za-z0-9_-]{1,38}", text):
        raise ValueError(f"must be a database name of letters, digits, '_' and '-', not {text!r}")
    return text


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?", text) or float(text) <= 0:
        raise ValueError(f"must be a number of seconds above 0, such as 5 or 1.5, not {text!r}")
    return float(text)


def _deadline(text: str) -> float:
    # A balancer answers itself after 30 s, and then nobody is told whether the hit was counted.
    seconds = _seconds(text)
    if seconds > LONGEST_DEADLINE:
        raise ValueError(f"must be at most {LONGEST_DEADLINE} seconds, not {text!r}")
    return seconds


def _many(text: str) -> int:
    return whole_number(text, most=99_999_999)


def _most(text: str) -> int:
    return whole_number(text, most=999_999_999)


def _days(text: str) -> int:
    return whole_number(text, most=36_600)


def _addresses(text: str) -> frozenset[str]:
    try:
        return frozenset(str(ipaddress.ip_address(word)) for word in text.split(","))
    except ValueError:
        raise ValueError(
            f"must be addresses with commas between them, such as 192.168.33.21,192.168.33.22,"
            f" not {text!r}"
        ) from None


def _yes_or_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError(f"must be yes or no, not {text!r}")
    return text == "yes"


def _operator_key(text: str) -> str:
    # As many bits as the signature has (RFC 7518, 3.2).
    if len(text.encode()) < 32:
        raise ValueError("must have at least 32 bytes")
    return text


def _log_level(text: str) -> str:
    levels = ("DEBUG", "INFO", "WARNING", "ERROR")
    if text not in levels:
        raise ValueError(f"must be one of {', '.join(levels)}, not {text!r}")
    return text
