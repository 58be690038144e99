"""
A drill proves a backup: a node restores it into a mongod of its own, beside the member, and on to
the last moment of the archive, compares it, and throws it away.
"""

from typing import Any

from salt.exceptions import SaltException

from fleet import backup, backups, segments
from fleet import revision as revisions
from fleet.errors import FleetError, sentences
from fleet.lock import now
from fleet.master import Master
from fleet.minions import Minions, ask

#: What is told of ``mongodb_drill.run``.
_TOLD = ("to", "compared_at", "documents", "checked", "unchecked", "seconds")


def run(master: Master, minions: Minions, name: str | None = None) -> dict[str, Any]:
    """
    Restore a backup into a scratch mongod and compare it; note what it came to.

    name
        Which; the newest unless given.

    Returns ``name``, ``node``, ``ended``, ``to`` (what was reached), ``compared_at`` (the backup's
    own time), ``documents``, ``checked`` and ``unchecked`` (collections), and ``seconds`` for each
    part.

    Raises FleetError when it fails, which is noted as well: ``fleet.status`` tells it.
    """
    entry = backups.find(master, name)
    base = revisions.require_base(master)
    chosen = backups.settings(base.settings)
    node, _alone = backup.member(minions, base)
    path = f"{chosen['folder']}/{entry['name']}"
    options: dict[str, Any] = {"sha256": entry["sha256"]}
    noted = segments.known(master, entry)
    try:
        if chosen["archive"]["enabled"]:
            reached = ask(
                minions,
                [node],
                "mongodb_archive.chain",
                [chosen["archive"]["folder"], entry["to"]["time"]],
                {"timeline": entry["timeline"], "known": list(noted)},
                backup.LONG,
            )[node]
            if reached["paths"]:
                options.update(oplog=reached["paths"], target=reached["recoverable_until"]["time"])
                options["oplog_sha256"] = segments.by_path(reached["paths"], noted)
        found = ask(minions, [node], "mongodb_drill.run", [path], options, backup.LONG)[node]
    except SaltException as error:
        outcome = {"ended": now(), "problem": "; ".join(sentences(error))}
        backups.update(master, entry["name"], drill=outcome)
        raise FleetError(f"the drill of the backup {entry['name']} failed: {error}") from error
    told = {"ended": now(), **{key: found[key] for key in _TOLD}}
    backups.update(master, entry["name"], drill={**told, "problem": None})
    return {"name": entry["name"], "node": node, **told}
