"""
How far a declared MongoDB replica set is from the one that its members tell of.

No connections here.
"""

from typing import Any


def survey(
    name: str,
    members: list[str],
    here: dict[str, Any],
    views: dict[str, dict[str, Any] | None],
    known: list[str] | None = None,
) -> dict[str, Any]:
    """Say how far the declared set ``name`` of ``members`` is from the one that exists.

    :param here: ``mongodb.hello`` of this node.
    :param views: the same of each declared member by its name, None for a silent one.
    :param known: names of the existing set's members, if one of them told us as admin: the
        list that anybody may see leaves out hidden members.
    :return: dict of ``conflicts`` (sentences: why nothing may be done), ``exists``, ``members``
        (of the existing set), ``missing``, ``surplus``, ``silent``, ``own`` (this node's name
        among the declared, or None), ``state`` (of this node), ``unfinished`` (the initiation
        by this node was interrupted), ``contact`` (address of a member of the existing set).
    """
    answers = [view for view in (here, *views.values()) if view]
    initialized = [view for view in answers if view["initialized"]]
    own = next((m for m, v in views.items() if v and v["process"] == here["process"]), None)
    silent = [member for member in members if views[member] is None]
    conflicts = [
        f"{view['address']} already belongs to the replica set {view['set']}, not {name}"
        for view in initialized
        if view["set"] != name
    ]
    conflicts += [
        f"{view['address']} runs without replication: set replication.replSetName to {name}"
        for view in answers
        if not view["replication"]
    ]
    if own is None and not silent and not conflicts:
        conflicts.append(f"this node's mongod ({here['address']}) is none of the declared members")
    ours = [view for view in initialized if view["set"] == name]
    groups = _groups(ours)
    if len(groups) > 1:
        described = " and ".join(", ".join(sorted(group)) for group in groups)
        conflicts.append(
            f"there are {len(groups)} separate sets named {name}: {described};"
            " decide which one's data is right before anything is joined"
        )
    contact = max(ours, key=lambda view: (view["version"] or 0, view["writable"]), default=None)
    current = known or (contact["hosts"] if contact else [])
    if not known:
        # One that is hidden tells of itself.
        hidden = [view["me"] for view in ours if view["me"] and view["me"] not in current]
        current = [*current, *dict.fromkeys(hidden)]
    return {
        "conflicts": conflicts,
        "exists": bool(ours),
        "members": current,
        "missing": [member for member in members if member not in current],
        "surplus": [member for member in current if member not in members],
        "silent": silent,
        "own": own,
        "state": here["state"],
        "unfinished": here["unfinished"],
        "contact": contact["address"] if contact else None,
    }


def _groups(views: list[dict[str, Any]]) -> list[set[str]]:
    """Return the sets of names that hang together: members of one set list each other."""
    groups: list[set[str]] = []
    for view in views:
        names = {*view["hosts"], view["me"] or view["address"]}
        for group in [group for group in groups if group & names]:
            groups.remove(group)
            names |= group
        groups.append(names)
    return groups
