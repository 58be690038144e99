"""
What can be restored, as numbers on each web server, where the app's ``/metrics`` tells them on.

The master alone knows all of it, and it tells the servers: the app needs no volume, which may hang,
and believes nothing that another node can write.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fleet import backup_health, revision
from fleet.lock import now
from fleet.master import Master
from fleet.minions import Answers, Minions

_TELL = "counterapp.tell_backups"
#: Seconds until a silent node is asked whether it is at it, and for the reply.
_TIMEOUT, _PATIENCE = 5, 4


def tell(master: Master, minions: Minions) -> Answers:
    """
    Tell each web server what can be restored now.

    Returns who was told, and who was not and why; nobody before the first rollout.

    Raises FleetError when settings or notes cannot be read.
    """
    base = revision.base(master)
    if base is None:
        return Answers()
    ready = minions.everyone(base.with_role("db"), "test.ping", [], None, _TIMEOUT, _PATIENCE)
    state = backup_health.state(master, minions, base.settings, list(ready.answers))
    found = numbers(state, now())
    return minions.everyone(base.with_role("web"), _TELL, [found], None, _TIMEOUT, _PATIENCE)


def numbers(state: Mapping[str, Any], told: str) -> dict[str, float]:
    """
    Return what :func:`fleet.backup_health.state` says as numbers; none of what is not known.

    told
        When (ISO 8601) this is so.

    Times are seconds since 1970.
    """
    newest, drill = state["newest"], state["drill"]
    times = {
        "told": told,
        "newest": newest and newest["to"]["wall"],
        # Of the archive, or of the newest backup where there is none.
        "recoverable_until": state["recoverable_until"],
        "second_place": state["second_until"],
        "drill": drill and drill["ended"],
    }
    found = {
        f"{name}_timestamp_seconds": datetime.fromisoformat(when).timestamp()
        for name, when in times.items()
        if when
    }
    if drill:
        found["drill_success"] = float(drill["problem"] is None)
    return found
