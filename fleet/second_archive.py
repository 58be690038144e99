"""
The oplog's archive at the second place: ``_oplog``, which no backup can be called.

In it are a folder a timeline, with the files that the archive has closed, and ``segments.json``,
which is written last: what is noted (:mod:`fleet.segments`) of each file that is whole there. What
another master has put there stays, and stays listed.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fleet import files, second, segments
from fleet.errors import FleetError

FOLDER = "_oplog"
# By no time or size: a file that is sent is to be there as it is here.
_SHAPE = ("--recursive", "--ignore-times", "--chmod=D0700,F0600")


class Copies:
    """
    The files of the archive at the second place.

    Raises FleetError when the place cannot be used, or what it lists is damaged.
    """

    def __init__(self, place: second.Place) -> None:
        self._place = place
        self._whole: segments.Notes = {}
        with tempfile.TemporaryDirectory(prefix="counterapp-backup-") as folder:
            chosen = [f"--include=/{FOLDER}/", f"--include=/{FOLDER}/{segments.NOTES}"]
            place.rsync(["--recursive", *chosen, "--exclude=*", place.at(""), f"{folder}/"])
            path = Path(folder) / FOLDER / segments.NOTES
            try:
                self._whole = segments.checked(path.read_bytes()) if path.exists() else {}
            except ValueError as error:
                raise FleetError(
                    f"{place.at(FOLDER)}{segments.NOTES} is damaged ({error}): remove it, and what "
                    "is still on the volume is copied again"
                ) from error

    def of(self, timeline: str) -> Mapping[str, Mapping[str, Any]]:
        """Return what is noted of each file of a timeline that is whole there, by its name."""
        return self._whole.get(timeline, {})

    def add(self, folder: Path, timeline: str, facts: Mapping[str, Mapping[str, Any]]) -> None:
        """Copy what a folder has, which are these files in one of their timeline's name."""
        self._place.rsync([*_SHAPE, f"{folder}/"], FOLDER)
        there = self._whole.setdefault(timeline, {})
        there.update({name: {**each, "second": True} for name, each in facts.items()})
        self._list()

    def bring(self, timeline: str, names: Sequence[str], folder: Path) -> None:
        """Copy files of a timeline into a folder, which is made."""
        with tempfile.NamedTemporaryFile("w", prefix="counterapp-backup-") as listed:
            listed.write("".join(f"{name}\n" for name in names))
            listed.flush()
            source = self._place.at(f"{FOLDER}/{timeline}")
            self._place.rsync([f"--files-from={listed.name}", source, f"{folder}/"])

    def remove(self, gone: Mapping[str, Sequence[str]]) -> None:
        """Have files, by timeline, not be there any more; they may be gone already."""
        if not gone:
            return
        for timeline, names in gone.items():
            for name in names:
                self._whole.get(timeline, {}).pop(name, None)
        self._list()
        with tempfile.TemporaryDirectory(prefix="counterapp-backup-") as folder:
            empty, chosen = Path(folder) / "empty", Path(folder) / "names"
            lines = []
            for timeline, names in gone.items():
                (empty / timeline).mkdir(parents=True)
                lines += [f"/{timeline}/", *(f"/{timeline}/{name}" for name in names)]
            chosen.write_text("\n".join(lines) + "\n")
            # Of what is there only these are looked at, and the example has none of them.
            shape = ["--recursive", "--delete", f"--include-from={chosen}", "--exclude=*"]
            self._place.rsync([*shape, f"{empty}/"], FOLDER)

    def _list(self) -> None:
        with tempfile.TemporaryDirectory(prefix="counterapp-backup-") as folder:
            files.write_json(Path(folder) / segments.NOTES, self._whole)
            self._place.rsync([*_SHAPE, f"{folder}/"], FOLDER)
