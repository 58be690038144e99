"""What is told of the fleet as a whole, in lines."""

from collections.abc import Mapping
from typing import Any

from fleet.words import count, duration


def lines(state: Mapping[str, Any]) -> list[str]:
    """
    Return a line for each thing that is to be told of the fleet as a whole, problems last.

    state
        What :func:`fleet.status.status` has returned.
    """
    told = []
    revision, drift = state.get("revision"), state.get("drift")
    if revision:
        line = f"revision     {revision['id']}, release {revision['release']}, made "
        told.append(line + revision["created"])
    if drift:
        differing = [name for kind in ("changed", "added", "gone") for name in drift[kind]]
        some = ", ".join(differing[:3]) + (", ..." if len(differing) > 3 else "")
        differs = f"{count(len(differing), 'file')} not rolled out yet: {some}"
        told.append(f"checkout     {differs if differing else 'as it was rolled out'}")
    if lock := state.get("lock"):
        alive = "runs" if lock["alive"] else "died"
        told.append(
            f"lock         {lock['kind']} {lock['change']} of {lock['owner']} {alive}, "
            f"since {lock['since']}"
        )
    if last := state.get("last"):
        # Older versions only had rollouts, and named them by their job.
        name = f"{last.get('kind', 'rollout')} {last.get('id') or last.get('jid')}"
        told.append(
            f"last change  {name} of {last.get('owner')} {last['outcome']}, {last['ended']}"
        )
    if vip := state.get("vip"):
        told.append(
            f"VIP          {vip['address']}, on {', '.join(vip['holders']) or 'no balancer'}"
        )
    if volume := state.get("volume"):
        told.append(f"volume       {volume['name']}, {'' if volume['healthy'] else 'not '}healthy")
    lags = [
        f"{member['node'] or member['name']} {member['lag_s']:g} s"
        for member in (state.get("replica_set") or {}).get("members", [])
        if member["lag_s"] is not None and member["state"] != "PRIMARY"
    ]
    if lags:
        told.append(f"replication  behind the primary: {', '.join(lags)}")
    if backup := state.get("backup"):
        told.append(f"backups      {_backup(backup)}")
    if ends := _first_end(state):
        told.append(f"certificates the first ends on {ends[:10]}")
    if note := state.get("note"):
        told.append(f"note         {note}")
    return [*told, *(f"WRONG        {problem}" for problem in state.get("failed") or [])]


def _backup(state: Mapping[str, Any]) -> str:
    newest = state["newest"]
    if not newest:
        return "none yet"
    words = f"{state['number']}, the newest {newest['name']}, {duration(newest['age_s'])} old"
    if state["archive"] and state["recoverable_until"]:
        words += f"; every second until {state['recoverable_until'][:19]} can be restored"
    return words


def _first_end(state: Mapping[str, Any]) -> str | None:
    ends = [node.get("certificate") for node in (state.get("nodes") or {}).values()]
    return min((end for end in ends if end), default=None)
