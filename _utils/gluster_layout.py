"""
What the bricks of a Gluster volume are to each other: sets of copies, their quorum, their health,
and the way from the layout that a volume has to the one that is declared.

A layout is a dict with ``bricks``, ``replica``, ``arbiter``, ``disperse`` and ``redundancy``.
"""

from collections.abc import Container
from typing import Any, NoReturn

from salt.exceptions import CommandExecutionError


def replica_sets(volume: dict[str, Any]) -> list[list[str]]:
    """Return a volume's brick names as a list of lists, one for each set of copies."""
    names = [item["name"] for item in volume["bricks"]]
    return _runs(names, volume["disperse"] or volume["replica"] or 1)


def quorum(volume: dict[str, Any], names: list[str]) -> int:
    """Return how many of a set's bricks ``names`` must be online for writes to be safe.

    More than half of the copies; for two copies without an arbiter one (glusterd then insists on
    the first); for an erasure-coded set all but its redundancy.
    """
    if volume["disperse"]:
        return len(names) - int(volume["redundancy"])
    if len(names) <= 2:
        return 1
    return len(names) // 2 + 1


def health(
    volume: dict[str, Any], state: dict[str, Any] | None, healing: list[dict[str, Any]]
) -> list[str]:
    """Return the reasons why a volume is not healthy, an empty list if it is.

    :param volume: as :func:`info` returns it.
    :param state: as :func:`status` returns it (with daemons), None if the volume is not started.
    :param healing: as :func:`heal` returns it for ``info summary``; an empty list for a volume
        without copies.
    """
    if state is None:
        return [f"volume {volume['name']} is {volume['status']}, not Started"]
    online = {item["name"] for item in state["bricks"] if item["online"]}
    reasons = [f"brick {item['name']} is offline" for item in state["bricks"] if not item["online"]]
    for names in replica_sets(volume):
        up, need = len(online.intersection(names)), quorum(volume, names)
        if up < need:
            reasons.append(f"{up} of {', '.join(names)} online, {need} needed: quorum lost")
    hosts = {item["uuid"]: item["host"] for item in volume["bricks"]}
    reasons += [
        f"{item['daemon']} on {hosts.get(item['uuid'], item['uuid'])} is not running"
        for item in state["daemons"]
        if not item["online"]
    ]
    for item in healing:
        # An offline brick was named above; this is about those that run.
        if item["connected"] or item["name"] in online:
            reasons += _unhealed(item)
    return reasons


def hindrances(
    volume: dict[str, Any],
    state: dict[str, Any] | None,
    healing: list[dict[str, Any]],
    dropped: Container[str] = (),
) -> list[str]:
    """Return the reasons why bricks cannot be taken out, or copies added, an empty list if none.

    All other bricks must run, and hold between them all that is to be kept. What waits to be healed
    does no harm only if the bricks to go are offline: it waits for them.

    :param volume: as :func:`info` returns it.
    :param state: as :func:`status` returns it, None if the volume is not started.
    :param healing: as :func:`heal` returns it for ``info summary``; an empty list for a volume
        without copies.
    :param dropped: names of the bricks to go, with copies of theirs left in their set; none for
        bricks to come and for whole sets whose data is to be moved off first.
    """
    if state is None:
        return [f"volume {volume['name']} is {volume['status']}, not Started"]
    online = {item["name"] for item in state["bricks"] if item["online"]}
    arbiters = {item["name"] for item in volume["bricks"] if item["arbiter"]}
    waiting = {item["name"]: item for item in healing}
    reasons = []
    for names in replica_sets(volume):
        gone = [name for name in names if name in dropped]
        kept = [name for name in names if name not in dropped]
        if gone and not set(kept) - arbiters:
            reasons.append(f"{', '.join(gone)} hold the only full copies of their set")
        reasons += [f"brick {name} is offline" for name in kept if name not in online]
        excused = gone and not online.intersection(gone)
        for name in kept:
            item = waiting.get(name)
            if item and name in online and (item["split_brain"] or not excused):
                reasons += _unhealed(item)
    return reasons


def steps(
    volume: dict[str, Any], declared: dict[str, Any], remove: bool = False
) -> list[dict[str, Any]]:
    """Return the steps that lead from a volume's layout to the declared one, an empty list if none.

    The order of the sets, and within a set (but for the arbiter, its last), makes no difference.
    Each step leaves a volume from which this function goes on with the steps behind it:

    - ``{"action": "raise", "bricks", "replica", "arbiter"}``: more copies, set by set.
    - ``{"action": "lower", "bricks", "replica"}``: fewer copies.
    - ``{"action": "replace", "old", "new"}``: one brick of a set for another.
    - ``{"action": "add", "bricks"}``: whole new sets.
    - ``{"action": "remove", "bricks"}``: whole sets, whose data has to be moved off first.

    :param volume: as :func:`info` returns it.
    :param declared: a layout, with bricks as ``gluster_declared.layout`` returns them.
    :param remove: also take out sets that are not declared.
    :raises CommandExecutionError: with the reason, if there is no way, none that is safe at every
        step, or if more is asked for than one kind of change.
    """
    for count in ("disperse", "redundancy"):
        if volume[count] != declared[count]:
            _refuse(
                volume, f"its {count} count is {volume[count]}, not {declared[count]}, for good"
            )
    wanted = _runs(declared["bricks"], declared["disperse"] or declared["replica"])
    pairs, added, surplus = _matched(volume, wanted)
    for have, want in pairs:
        _check_roles(volume, have, want, declared["arbiter"])
    inner = _inner_steps(volume, pairs, declared)
    outer = []
    if added:
        outer.append({"action": "add", "bricks": [name for names in added for name in names]})
    if surplus:
        names = [name for names in surplus for name in names]
        if not remove:
            _refuse(volume, f"it also has {', '.join(names)}: say remove_bricks: True to take out")
        outer.append({"action": "remove", "bricks": names})
    if inner and outer:
        _refuse(
            volume,
            "its sets differ within and in number: declare one of the changes, then the other",
        )
    return inner or outer


def rebalance_mark(volume: dict[str, Any], task: str) -> str:
    """Return the text which says that this rebalance was the one for the sets of now.

    :param volume: as :func:`info` returns it.
    :param task: the rebalance's ID. glusterd gives each run another and forgets it when bricks are
        taken out; but it keeps it, and goes on calling the run completed, when sets are added.
    """
    return f"{task} over {len(replica_sets(volume))} sets"


def words(step: dict[str, Any]) -> str:
    """Return a step of :func:`steps` as a sentence."""
    if step["action"] == "replace":
        return f"replace {step['old']} by {step['new']}"
    names = ", ".join(step["bricks"])
    if step["action"] in ("raise", "lower"):
        verb = "with" if step["action"] == "raise" else "without"
        return f"{step['action']} the replica count to {step['replica']}, {verb} {names}"
    return f"{step['action']} {names}"


def _matched(
    volume: dict[str, Any], wanted: list[list[str]]
) -> tuple[list[tuple[list[str], list[str]]], list[list[str]], list[list[str]]]:
    """Return pairs of a set that is and is to be, the sets to add, and the sets to remove."""
    actual = replica_sets(volume)
    pairs: list[tuple[list[str], list[str]]] = []
    added: list[list[str]] = []
    for want in wanted:
        related = [have for have in actual if set(have) & set(want)]
        if len(related) > 1 or any(related[0] is have for have, _ in pairs if related):
            _refuse(
                volume,
                "its bricks are put into sets in another way: "
                + "; ".join(", ".join(names) for names in actual),
            )
        if related:
            pairs.append((related[0], want))
        else:
            added.append(want)
    matched = [have for have, _ in pairs]
    # glusterd hands new copies out to the sets in the order that they have.
    pairs.sort(key=lambda pair: actual.index(pair[0]))
    return pairs, added, [have for have in actual if have not in matched]


def _check_roles(volume: dict[str, Any], have: list[str], want: list[str], arbiter: int) -> None:
    arbiters = {item["name"] for item in volume["bricks"] if item["arbiter"]}
    wanted = set(want[len(want) - arbiter :])
    for name in set(have) & set(want):
        if name in arbiters and name not in wanted:
            _refuse(volume, f"{name} is an arbiter, which cannot become a full copy")
        if name in wanted and name not in arbiters:
            _refuse(volume, f"{name} is a full copy, which cannot become an arbiter")


def _inner_steps(
    volume: dict[str, Any], pairs: list[tuple[list[str], list[str]]], declared: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return the steps that change sets without changing their number."""
    old, new = volume["replica"], declared["replica"]
    gone = [[name for name in have if name not in want] for have, want in pairs]
    come = [[name for name in want if name not in have] for have, want in pairs]
    counts = f"its replica count is {old}, not {new}"
    without_lowering = old >= new if declared["arbiter"] else old <= new
    if volume["arbiter"] != declared["arbiter"] and without_lowering:
        _refuse(
            volume,
            f"its arbiter count is {volume['arbiter']}, not {declared['arbiter']}: "
            "lower the replica count to 2 first, then raise it",
        )
    if old == new:
        if any(len(names) > 1 for names in gone):
            _refuse(volume, "more than one brick of a set differs: replace one, then the next")
        return [
            {"action": "replace", "old": before[0], "new": after[0]}
            for before, after in zip(gone, come, strict=True)
            if before
        ]
    if not pairs or any(gone if new > old else come):
        _refuse(volume, f"{counts}, and its bricks differ too: change the count alone first")
    if new > old:
        names = [name for names in come for name in names]
        return [
            {"action": "raise", "bricks": names, "replica": new, "arbiter": declared["arbiter"]}
        ]
    return [
        {"action": "lower", "bricks": [name for names in gone for name in names], "replica": new}
    ]


def _refuse(volume: dict[str, Any], why: str) -> NoReturn:
    raise CommandExecutionError(f"volume {volume['name']} is left as it is: {why}")


def _unhealed(item: dict[str, Any]) -> list[str]:
    """Return why what ``heal info`` tells of a brick is not good, an empty list if it is."""
    if not item["connected"]:
        return [f"heal state of {item['name']} is unknown: {item['reason']}"]
    reasons = []
    if item["split_brain"]:
        reasons.append(f"{item['split_brain']} entries in split-brain on {item['name']}")
    waiting = (item["total"] or 0) - (item["split_brain"] or 0)
    if waiting > 0:
        reasons.append(f"{waiting} entries wait to be healed on {item['name']}")
    return reasons


def _runs(names: list[str], size: int) -> list[list[str]]:
    return [names[start : start + size] for start in range(0, len(names), size)]
