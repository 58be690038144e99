"""
What the members of a MongoDB replica set are at, in sentences: whether the set does its work, who
could take over, and what is wrong with a member. No connections here.
"""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

COPYING = "STARTUP2"
CATCHING_UP = "RECOVERING"
#: How what cannot catch up is brought back, at the end of a sentence that says so.
RESYNC = "mongodb.resync on its node"
# States of a member that others can copy from.
SOURCES = ("PRIMARY", "SECONDARY")


def is_up(member: dict[str, Any]) -> bool:
    """Return whether a member (see :func:`members_of`) is up and does its part."""
    return bool(member["health"] == 1) and member["state"] in ("PRIMARY", "SECONDARY", "ARBITER")


def has_vote(member: dict[str, Any]) -> bool:
    """Return whether a member votes; one whose configuration is not known is taken to."""
    return bool(member["votes"] != 0)


def unhealthy(
    members: list[dict[str, Any]],
    primary: str | None,
    expected: list[str] | None = None,
    need_all: bool = False,
) -> list[str]:
    """Return why a set is not healthy: a list of sentences, empty when it is.

    :param members: as :func:`members_of` has them.
    :param primary: name of the primary, or None.
    :param expected: names that must be members and up, whatever else is.
    :param need_all: every member must be up; otherwise a majority of the voting ones.
    """
    reasons = [] if primary else ["the set has no primary"]
    names = [member["name"] for member in members]
    down = {m["name"]: told(m) for m in members if not is_up(m)}
    voting = [member for member in members if has_vote(member)]
    up = [member for member in voting if is_up(member)]
    if len(up) * 2 <= len(voting):
        reasons.append(f"only {len(up)} of {len(voting)} voting members are up")
    wanted = names if need_all and expected is None else expected or []
    reasons += [f"{name} is not a member" for name in wanted if name not in names]
    reasons += [down[name] for name in wanted if name in down]
    return reasons


def told(member: dict[str, Any]) -> str:
    """Return what is to be told of a member that does not do its part: its state, and why."""
    trouble = member.get("trouble")
    return f"{member['name']} is {member['state']}" + (f": {trouble}" if trouble else "")


def notes(members: list[dict[str, Any]], reasons: list[str]) -> list[str]:
    """Return a sentence for each member that does not do its part and is not in ``reasons``."""
    return [told(m) for m in members if not is_up(m) and told(m) not in reasons]


def behind(member: dict[str, Any]) -> float | None:
    """Return by how many seconds a member is later than it may: one that is delayed has to be."""
    lag = member["lag_s"]
    return None if lag is None else max(0.0, lag - (member.get("delay_s") or 0))


def no_successor(members: list[dict[str, Any]], max_lag: float) -> str | None:
    """Return why the primary must not step down, or None when a successor stands ready.

    :param members: with ``lag_s``, the primary among them.
    :param max_lag: seconds that the successor may be behind.
    """
    others = [member for member in members if member["state"] != "PRIMARY"]
    if not others:
        return "the set has no other member"
    ready = [
        member
        for member in others
        if is_up(member)
        and member["state"] == "SECONDARY"
        and member["priority"] != 0
        and (late := behind(member)) is not None
        and late <= max_lag
    ]
    if not ready:
        seen = ", ".join(
            f"{m['name']} is {m['state']}"
            + (f", {m['lag_s']} s behind" if m["lag_s"] else "")
            + (", priority 0" if m["priority"] == 0 else "")
            for m in others
        )
        return f"no electable secondary has caught up: {seen}"
    voting = [member for member in members if has_vote(member)]
    up = [member for member in voting if is_up(member)]
    if len(up) * 2 <= len(voting):
        return f"only {len(up)} of {len(voting)} voting members are up: nobody could be elected"
    return None


# What is wrong with a member


def sources(members: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    """Return the names of those that a member can catch up from."""
    return [
        member["name"]
        for member in members
        if member["name"] != name and member["health"] == 1 and member["state"] in SOURCES
    ]


def trouble(
    member: Mapping[str, Any],
    last: Any = None,
    oldest: Sequence[Any] = (),
    sync: Mapping[str, Any] | None = None,
) -> str | None:
    """Return what is wrong with a member and what comes of it, or None for one that does its part.

    :param last: BSON timestamp of its last write, or None where it is not known.
    :param oldest: of the oldest entry in the oplog of each member that it can catch up from.
    :param sync: how far it is with copying all data, as ``mongodb.initial_sync`` has it.
    """
    state, message = member["state"], member.get("message")
    if member["health"] != 1:
        return message.rsplit(" :: caused by :: ", 1)[-1] if message else None
    if state == COPYING:
        return _copying(sync)
    if state == "ROLLBACK":
        return "it takes back what no majority has acknowledged, and catches up by itself then"
    if state != CATCHING_UP:
        return None
    reach = min(oldest, default=None)
    if last is not None and reach is not None and last < reach:
        return (
            f"it cannot catch up: its last write is of {moment(last)}, and the oldest entry in the"
            f" others' oplogs is of {moment(reach)}; it has to copy all data anew: {RESYNC}"
        )
    if member.get("stale"):
        return (
            "it cannot catch up, as it says itself: the others' oplogs do not reach back to its"
            f" last write; it has to copy all data anew: {RESYNC}"
        )
    if last is None or reach is None:
        return "it is catching up; whether it can is not known, for the others' oplogs are not told"
    return f"it catches up by itself: the others' oplogs reach back to {moment(reach)}"


def cannot_catch_up(member: Mapping[str, Any]) -> bool:
    """Return whether ``trouble`` of a member says that it never catches up by itself."""
    return "cannot catch up" in (member.get("trouble") or "")


def _copying(sync: Mapping[str, Any] | None) -> str:
    words = ["it copies all data"]
    if sync and sync["source"]:
        words[0] += f" from {sync['source']}"
    if sync and sync["total"]:
        part = 100 * (sync["copied"] or 0) / sync["total"]
        words.append(f"{part:.0f} % of {sync['total'] / 2**20:.0f} MiB are there")
    if sync and sync["left_s"]:
        words.append(f"some {sync['left_s']:.0f} s are left")
    if sync and sync["failures"]:
        words.append(f"{sync['failures']} attempts have failed, its log says why")
    return ", ".join([*words, "it serves by itself then"])


def moment(timestamp: Any) -> str:
    """Return a BSON timestamp as a time that people read, in UTC."""
    when = datetime.datetime.fromtimestamp(timestamp.time, datetime.UTC)
    return when.strftime("%Y-%m-%d %H:%M:%S UTC")


def keeps_majority(members: Sequence[Mapping[str, Any]], name: str) -> str | None:
    """Return why a member must not lose its data now, or None when it may.

    The others with data and a vote that are up have to be a majority without it: an arbiter has
    nothing that a lost write could be had from.
    """
    own = next((member for member in members if member["name"] == name), None)
    if own is None:
        names = ", ".join(member["name"] for member in members)
        return f"{name} is no member; members are {names}"
    if own["state"] == "PRIMARY":
        return f"{name} is the primary: let it step down first (mongodb.step_down)"
    if not any(member["state"] == "PRIMARY" for member in members):
        return "the set has no primary, so nobody could say what was acknowledged"
    voting = [member for member in members if member["votes"] != 0]
    holding = [
        member
        for member in voting
        if member["name"] != name and member["health"] == 1 and member["state"] in SOURCES
    ]
    if len(holding) * 2 <= len(voting):
        seen = ", ".join(
            f"{member['name']} is {member['state']}" for member in members if member is not own
        )
        return (
            f"without it only {len(holding)} of {len(voting)} votes are of members that have the"
            f" data and are up: {seen}"
        )
    return None
