"""
What glusterd tells of data on its way from brick to brick, as typed data.
"""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Container, Iterable
from typing import Any

import salt.exceptions

IN_PROGRESS, COMPLETED, FAILED, STOPPED = "in progress", "completed", "failed", "stopped"
NOT_STARTED = "not started"

# glusterd's own numbers, of which it has a second row for runs that only fix the layout.
_STATES = {0: NOT_STARTED, 1: IN_PROGRESS, 2: STOPPED, 3: COMPLETED, 4: FAILED}
_STATES.update({5: IN_PROGRESS, 6: STOPPED, 7: COMPLETED, 8: FAILED})
# One node's word outweighs that of others that stand behind it here.
_WEIGHTS = (IN_PROGRESS, FAILED, STOPPED, NOT_STARTED, COMPLETED)
_COUNTS = {
    "files": "files",
    "bytes": "size",
    "scanned": "lookups",
    "failures": "failures",
    "skipped": "skipped",
}


def migration(
    root: ElementTree.Element | None, volume: dict[str, Any], bricks: Container[str] | None = None
) -> dict[str, Any]:
    """Return how far a rebalance, or the emptying of bricks, has come.

    The whole is as far as its last node. A node that glusterd cannot reach is left out by it, and
    its aggregate speaks of the others only; here the node counts as "unknown".

    :param root: the answer to ``rebalance`` or ``remove-brick``, ``status`` or ``stop``; None if
        none was started.
    :param volume: the volume as :func:`info` returns it.
    :param bricks: names of the bricks whose nodes are at work; all of the volume without them.
    :returns: dict with ``status``, ``task`` (its ID), ``layout_only`` (bool), the sums
        ``files``, ``bytes`` (moved), ``scanned``, ``failures``, ``skipped``, the longest
        ``seconds``, and ``nodes``: a list of dicts with ``host``, ``uuid``, ``status`` and the same
        numbers.
    """
    if root is None:
        nothing = dict.fromkeys(_COUNTS, 0)
        unbegun = {"status": NOT_STARTED, "task": None, "layout_only": False}
        return {**unbegun, **nothing, "seconds": 0.0, "nodes": []}
    hosts = {
        item["uuid"]: item["host"]
        for item in volume["bricks"]
        if bricks is None or item["name"] in bricks
    }
    nodes = []
    for node in root.iterfind(".//node"):
        uuid = node.findtext("id")
        nodes.append(
            {
                "host": hosts.pop(uuid, node.findtext("nodeName")),
                "uuid": uuid,
                "status": _STATES.get(int(node.findtext("status", "")), node.findtext("statusStr")),
                **{key: int(node.findtext(tag) or 0) for key, tag in _COUNTS.items()},
                "seconds": float(node.findtext("runtime") or 0),
            }
        )
    nodes += [
        {"host": host, "uuid": uuid, "status": "unknown", **dict.fromkeys(_COUNTS), "seconds": None}
        for uuid, host in hosts.items()
    ]
    return {
        "status": _whole(nodes),
        "task": root.findtext(".//task-id"),
        "layout_only": any(int(text.text or "") > 4 for text in root.iterfind(".//node/status")),
        **{key: sum(node[key] or 0 for node in nodes) for key in _COUNTS},
        "seconds": max((node["seconds"] or 0.0 for node in nodes), default=0.0),
        "nodes": sorted(nodes, key=lambda node: node["host"]),
    }


def _whole(nodes: list[dict[str, Any]]) -> str:
    found = {node["status"] for node in nodes}
    doubtful = sorted(found.difference(_WEIGHTS))
    status = next((status for status in _WEIGHTS if status in found), NOT_STARTED)
    return doubtful[0] if doubtful and status != IN_PROGRESS else status


def begun(
    volume: str, look: Callable[[], dict[str, Any]], attempts: Iterable[bool]
) -> dict[str, Any]:
    """Return how far a migration has come, once it can be stopped.

    A process that has not begun to look at files, for a brick that has not answered it yet, does
    not hear a stop: glusterd would forget the task, and the process would begin nevertheless.

    :param volume: its name.
    :param look: returns what :func:`migration` does; a function of the loader's, which a utility
        module cannot reach by itself.
    :param attempts: when to look, an element for each time.
    :raises CommandExecutionError: if one has not begun after all attempts.
    """
    waiting: list[str] = []
    for _ in attempts:
        found = look()
        waiting = [
            node["host"]
            for node in found["nodes"]
            if node["status"] == IN_PROGRESS and not node["seconds"] and not node["scanned"]
        ]
        if not waiting:
            return found
    raise salt.exceptions.CommandExecutionError(
        f"volume {volume}: nothing stopped: the process on {', '.join(waiting)} has not begun to "
        "look at files and would not hear it: see that all bricks are online, then stop again"
    )


def stopped(before: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """Return how far what was stopped had come.

    All were at work and heard it. glusterd calls one failed that has ended by the stop already when
    it is asked, and may call one "in progress" that had just ended by itself.

    :param before: what :func:`begun` returned.
    :param answer: what :func:`migration` made of the answer to ``stop``.
    """
    at_work = {node["uuid"] for node in before["nodes"] if node["status"] == IN_PROGRESS}
    nodes = [
        {**node, "status": STOPPED}
        if node["uuid"] in at_work and node["status"] in (FAILED, IN_PROGRESS)
        else node
        for node in answer["nodes"]
    ]
    return {**answer, "status": _whole(nodes), "nodes": nodes}


def progress(found: dict[str, Any]) -> str:
    """Return in words what :func:`migration` found."""
    return (
        f"{found['status']}: {found['files']} files moved, {found['failures']} failures, "
        f"{found['skipped']} skipped"
    )


def client(volfile: str, host: str, path: str) -> str | None:
    """Return that part of a volume's client volfile which reaches one brick; None without one.

    It is a volfile by itself: mounted, it shows what this one brick holds.

    :param volfile: what ``system:: getspec`` printed for the volume.
    """
    for part in re.findall(r"^volume .*?^end-volume$", volfile, re.MULTILINE | re.DOTALL):
        lines = {line.strip() for line in part.splitlines()}
        if {
            "type protocol/client",
            f"option remote-host {host}",
            f"option remote-subvolume {path}",
        } <= lines:
            return f"{part}\n"
    return None
