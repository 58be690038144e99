"""
The master's key store: only a key that is expected ever gets into it.

It stands in the place of Salt's own store of this name and keeps the keys where that one does.
Salt keeps whatever is offered, under whatever name, until somebody looks at it. Here nothing waits:
when a minion knocks, its key is judged there and then (``fleet/enroll.py``).

- An ID that no node has is refused before anything is kept or started; those of the checkout's
  topology count, and those of the revision that the fleet is on.
- The expected key of a node is accepted at once.
- Any other key of a node is refused. It takes nobody's place: the node's own key is accepted
  whenever it comes.

No other way leads past this: ``salt-key -a`` and ``auto_accept`` store keys here, too. What was
accepted stays accepted until it is deleted, also when the topology cannot be read.
"""

import logging
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import salt.cache.localfs_key as stock
from salt.exceptions import SaltCacheError

from fleet.master import Master

__opts__: dict[str, Any]
__func_alias__ = {"list_": "list"}

log = logging.getLogger(__name__)

#: Lines a minute that are logged about strangers together, and about each node's ID.
MOST_LINES = 10
_MINUTE = 60
#: What Salt takes for a key that was rejected: it answers no, and stores nothing.
_REFUSED = {"state": "rejected", "pub": ""}

# When the present minute began, how many lines it had, how many were left out; by ID, or "".
_lines: dict[str, tuple[float, int, int]] = {}


def init_kwargs(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return where the keys lie and whose they are."""
    return _stock("init_kwargs")(kwargs)  # type: ignore[no-any-return]


def fetch(bank: str, key: str, cachedir: str, **kwargs: Any) -> Any:
    """Return what is stored; for an ID that may not have a key, a rejection."""
    if bank == "master_keys":
        return _stock("fetch")(bank, key, cachedir, **kwargs)
    # Salt's own store would stumble over a name that no file can have.
    found = _stock("fetch")(bank, key, cachedir, **kwargs) if _plausible(key) else None
    if found or bank != "keys" or key in _nodes():
        return found
    # Cut, since a name can have a million characters.
    _say("", "A stranger was refused: the topology has no node %.80r", key)
    return dict(_REFUSED)


def store(bank: str, key: str, data: Any, cachedir: str, user: str, **kwargs: Any) -> None:
    """Store a key that is expected; refuse any other."""
    if bank == "master_keys":
        _stock("store")(bank, key, data, cachedir, user, **kwargs)
        return
    if bank == "denied_keys":
        # Another key is accepted for this ID. Denied ones of all who ask would fill the store, and
        # whoever deletes one by its name deletes the accepted one along.
        _enroll().refuse(Master(__opts__), key, data[-1])
        _say(key, "A key of %r was refused: another one is accepted for it", key)
        return
    if data["state"] in ("pending", "accepted"):
        master = Master(__opts__)
        reason = _enroll().reason_against(master, key, data["pub"], _nodes())
        if reason and data["state"] == "accepted":
            raise SaltCacheError(reason)
        if reason:
            _enroll().refuse(master, key, data["pub"])
            _say(key, "%s", reason)
            return
        data = {"state": "accepted", "pub": _enroll().canonical(data["pub"])}
    _stock("store")(bank, key, data, cachedir, user, **kwargs)
    if data["state"] == "accepted":
        _enroll().settle(Master(__opts__), key)
        log.info("The key of %s was accepted: it has the expected fingerprint", key)


def flush(bank: str, key: str | None = None, cachedir: str | None = None, **kwargs: Any) -> bool:
    """Remove a key."""
    return _stock("flush")(bank, key, cachedir, **kwargs)  # type: ignore[no-any-return]


def updated(bank: str, key: str, cachedir: str, **kwargs: Any) -> int | None:
    """Return when a key was stored, in seconds since 1970."""
    return _stock("updated")(bank, key, cachedir, **kwargs)  # type: ignore[no-any-return]


def list_(bank: str, cachedir: str, **kwargs: Any) -> list[str]:
    """Return the names of the keys."""
    return _stock("list_")(bank, cachedir, **kwargs)  # type: ignore[no-any-return]


def list_all(
    bank: str, cachedir: str, include_data: bool = False, **kwargs: Any
) -> dict[str, dict[str, str]]:
    """Return the keys' states by name, with ``include_data`` the keys as well."""
    return _stock("list_all")(bank, cachedir, include_data, **kwargs)  # type: ignore[no-any-return]


def contains(bank: str, key: str, cachedir: str, **kwargs: Any) -> bool:
    """Return whether a key is stored."""
    return _stock("contains")(bank, key, cachedir, **kwargs)  # type: ignore[no-any-return]


def _stock(function: str) -> Callable[..., Any]:
    # Only Salt's loader would give it these.
    stock.__opts__ = __opts__
    found: Callable[..., Any] = getattr(stock, function)
    return found


def _enroll() -> ModuleType:
    # Every `salt` loads this store, and few of them judge a key.
    from fleet import enroll

    return enroll


def _plausible(id_: Any) -> bool:
    return bool(_enroll().plausible(id_))


def _nodes() -> frozenset[str]:
    """Return the IDs that may have a key."""
    nodes, problem = _enroll().known(Master(__opts__))
    if problem:
        _say("topology", "No key of a new node is accepted: %s", problem)
    return frozenset(nodes)


def _say(about: str, message: str, *args: Any) -> None:
    """Log a warning, but no more than MOST_LINES a minute about the same."""
    began, logged, left_out = _lines.get(about, (0.0, 0, 0))
    now = time.monotonic()
    if not began or now - began >= _MINUTE:
        if left_out:
            log.warning("%d more lines like the next one were left out", left_out)
        began, logged, left_out = now, 0, 0
    if logged < MOST_LINES:
        log.warning(message, *args)
        logged += 1
    else:
        left_out += 1
    _lines[about] = (began, logged, left_out)
