"""
Bringing the oplog's archive back from the second place (:mod:`fleet.second_archive`) to the volume.
"""

import contextlib
import os
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fleet import backups, second, segments, volume
from fleet.errors import FleetError, refuse
from fleet.master import Master
from fleet.second_archive import Copies
from fleet.utils import release


def fetch(master: Master, chosen: Mapping[str, Any], name: str | None = None) -> dict[str, Any]:
    """
    Bring what of the archive follows a backup from the second place back to the volume.

    name
        Of a backup that is noted; the newest unless given.

    What is there already and the same stays; what is another file is replaced. All of it is noted.

    Returns how many files were ``brought`` and how many were ``there``, and ``until``: ``time`` (an
    operation time) and ``wall`` (ISO 8601) that the backup reaches with them, or None.

    Raises FleetError when the backup is not noted, since what no noted backup needs is removed, and
    when the second place does not have what it lists, or another file than the one noted here.
    """
    if not segments.on_volume(chosen):
        raise FleetError(
            f"the archive is not kept, or its folder {chosen['archive'].get('folder')} is not on "
            "the volume: see backup:archive in pillar/backup.sls"
        )
    entry = backups.find(master, name)
    timeline, after = str(entry["timeline"]), segments.moment(entry["to"]["time"])
    copies = Copies(second.Place(master, chosen["second"]))
    wanted = {
        each: facts
        for each, facts in sorted(copies.of(timeline).items())
        if segments.last(each) > after
    }
    mount = Path(chosen["mount"])
    folder = Path(chosen["archive"]["folder"]).relative_to(mount)
    volume.require(mount)
    with segments.edited(master) as (notes, save):
        mine = notes.setdefault(timeline, {})
        refuse(
            f"{timeline}/{each} at the second place is another file than the one noted in "
            f"{master.config / segments.NOTES}: find out who has changed it"
            for each, facts in wanted.items()
            if each in mine and mine[each]["sha256"] != facts["sha256"]
        )
        missing = {
            each: facts["bytes"]
            for each, facts in wanted.items()
            if not _is(mount / folder / timeline / each, facts)
        }
        if missing:
            with (
                volume.opened(mount, str(folder)) as handle,
                contextlib.suppress(FileExistsError),
            ):
                os.mkdir(timeline, 0o700, dir_fd=handle)
        for batch in segments.batches(missing):
            with tempfile.TemporaryDirectory(prefix=segments.OWN, dir=master.state) as own:
                here = Path(own) / "files"
                copies.bring(timeline, batch, here)
                for each in batch:
                    _put(mount, str(folder / timeline), here / each, wanted[each])
        mine.update({each: {**facts, "second": True} for each, facts in wanted.items()})
        save()
    until = segments.reach(wanted, after)
    return {
        "brought": len(missing),
        "there": len(wanted) - len(missing),
        "until": until
        and {
            "time": f"{until[0]}:{until[1]}",
            "wall": datetime.fromtimestamp(until[0], UTC).isoformat(),
        },
    }


def _is(path: Path, facts: Mapping[str, Any]) -> bool:
    """Return whether a file is the one that is noted."""
    try:
        release.check(path, facts["sha256"], facts["bytes"])
    except (OSError, ValueError):
        # Then it is brought, and if it cannot be put there that is said.
        return False
    return True


def _put(mount: Path, folder: str, source: Path, facts: Mapping[str, Any]) -> None:
    """Put a file of the second place into a folder of the volume, if it is the one listed."""

    def check(path: Path) -> None:
        release.check(path, facts["sha256"], facts["bytes"])

    try:
        check(source)
    except (OSError, ValueError) as error:
        raise FleetError(
            f"{Path(folder).name}/{source.name} at the second place is not what was copied there: "
            f"{error}"
        ) from error
    volume.put(mount, folder, source.name, source, check, mode=0o600)
