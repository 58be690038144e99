"""
Keep a replica set's oplog in an archive (``mongodb_segments``), entry by entry.

The oplog itself tells where a restore begins and ends (``mongodb_timeline``): the segments of a
timeline end with the last entry before a restore, and those of the next begin with the entry that
ended it, however late they are written. What a restore writes is kept by nobody.

Where the oplog has rolled over what follows the archive's last entry, the archive goes on with the
oldest that is left, and a note says so.
"""

from __future__ import annotations

import contextlib
import pathlib
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from salt.exceptions import CommandExecutionError

try:
    from bson import Timestamp

    HAS_PYMONGO = True
except ImportError:
    HAS_PYMONGO = False

Entry = Any
# Entries between two looks at the clock.
ENTRIES = 256
# What the server makes to rename it: $out, convertToCapped, a rename into another database.
TEMPORARY = re.compile(r"tmp\w{0,5}\.")
# A member that says nothing new for so many seconds is left for another: a primary writes an entry
# each ten, and a majority commits it.
STALLED = 60


def __virtual__() -> bool | tuple[bool, str]:
    if not HAS_PYMONGO:
        return False, "PyMongo is missing in Salt's Python: salt-pip install pymongo"
    return True


class Archiver:
    """Who writes an archive.

    :param folder: of the archive; those of its timelines are in it.
    :param token: of this writer, hexadecimal digits.
    :param limits: ``sync_seconds``, ``seal_seconds`` and ``seal_bytes``.
    :param parts: the utils ``oplog``, ``timeline``, ``segments`` and ``files``, and ``keys``, a
        ``mongodb_crypt.Keyring``.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        token: str,
        limits: Mapping[str, float],
        parts: Mapping[str, Any],
    ) -> None:
        self.folder = folder
        self.timeline: str | None = None
        #: ``time`` and ``wall`` of the last entry that is on the disk.
        self.durable: dict[str, str] | None = None
        #: Why nothing is kept at the moment, or None.
        self.waiting: str | None = None
        self.entries = 0
        self.sealed = 0
        self._token = token
        self._limits = limits
        self._oplog, self._timeline = parts["oplog"], parts["timeline"]
        self._segments, self._files = parts["segments"], parts["files"]
        self._keys = parts["keys"]
        self._segment: Any = None
        #: The last entry as it is kept, and its times.
        self._last: tuple[bytes, Timestamp, dict[str, str]] | None = None
        self._gap: dict[str, str] | None = None
        self._restoring = False
        self._opened = 0.0
        self._unsafe_since: float | None = None
        #: How much of an oplog to pass over, when its oldest entries go faster than they are read.
        self._skip = 0.0

    @property
    def segment(self) -> str | None:
        """Name of the open segment."""
        return self._segment.path.name if self._segment else None

    # Reading

    def run(
        self, client: Any, rebase: bool, pulse: Callable[[], bool], pause: Callable[[], None]
    ) -> None:
        """Keep what a member has, until ``pulse`` says that it is enough.

        :param rebase: leave a gap, where the member does not have what follows the last entry.
        :param pulse: called again and again; tells whether to go on.
        :param pause: waits until there may be something new.
        :raises RolledOver: there would be a gap.
        :raises CommandExecutionError: the member says nothing new, or the set is half restored.
        :raises OSError: the folder cannot be written.
        """
        reader = self._resume(client, rebase)
        heard = time.monotonic()
        try:
            while True:
                for number, entry in enumerate(reader.pull()):
                    self._take(client, entry)
                    heard = time.monotonic()
                    if number % ENTRIES == ENTRIES - 1:
                        self._tick()
                        if not pulse():
                            return
                self._skip = 0.0
                self._tick()
                if not pulse():
                    return
                if time.monotonic() - heard > STALLED:
                    raise CommandExecutionError(
                        f"no majority has committed anything for {STALLED} s, as this member knows:"
                        " look at salt '<id>' mongodb.status"
                    )
                pause()
        except LookupError:
            self._skip = min(1.0, 2 * self._skip + 0.1)
            raise

    def close(self) -> None:
        """Have all on the disk and sealed."""
        self._seal()

    def leave(self) -> None:
        """Leave all as it is on the disk; what is open is for the next one to salvage."""
        if self._segment:
            with contextlib.suppress(OSError):
                self._segment.leave()
        self._segment = self._last = self._unsafe_since = None

    def _resume(self, client: Any, rebase: bool) -> Any:
        self.leave()
        state = self._timeline.read(client)
        self._restoring, self._gap, self.waiting = False, None, None
        newest = None
        for name in reversed(self._salvaged()):
            last = self._newest(name)
            if last is None:
                continue
            newest = newest or last
            found = self._oplog.first_from(client, last["ts"])
            if found is None and name == state["timeline"]:
                raise CommandExecutionError(
                    f"this member has not got to {self._oplog.text(last['ts'])} yet, where the"
                    " archive ends"
                )
            if found is not None and _times(found) == _times(last):
                self.timeline = name
                self._last = (bytes(last.raw), last["ts"], self._moment(last))
                self.durable = self._last[2]
                return self._oplog.reader(client, last["ts"])
        if newest is not None and not rebase:
            raise self._oplog.rolled_over(newest["ts"])
        return self._oplog.reader(client, self._begin(client, state))

    def _salvaged(self) -> list[str]:
        """Return the timelines that there are, after what others left open was sealed."""
        known: list[str] = self._segments.timelines(self.folder)
        for name in known:
            self._segments.salvage(self.folder / name, self._files.sync_folder, self._keys)
        return known

    def _newest(self, timeline: str) -> Any:
        found = [each for each in self._segments.segments(self.folder / timeline) if each.last]
        newest = max(found, key=lambda each: each.last, default=None)
        return None if newest is None else self._segments.last_entry(newest.path, self._keys)

    def _begin(self, client: Any, state: Mapping[str, Any]) -> Timestamp:
        """Return from where on to keep the oplog without an entry to go on from."""
        refusal = self._timeline.refusal(state)
        if refusal:
            raise CommandExecutionError(refusal)
        self.timeline = str(state["timeline"])
        first_from = self._oplog.first_from
        start = None
        if state["after"]:
            wanted = {"ns": self._timeline.namespace(), "o.timeline": self.timeline}
            start = first_from(client, state["after"], **wanted, **{"o.restoring": None})
        if start is None:
            start = first_from(client, Timestamp(0, 0))
        if start is not None and self._skip:
            begin, end = start["ts"].time, self._oplog.position(client)["committed"].time
            passed = int(max(0, end - begin) * self._skip)
            start = first_from(client, Timestamp(begin + passed, 0))
        last = self._newest(self.timeline)
        if last is not None:
            self._gap = self._moment(last)
            if start is not None and start["ts"] <= last["ts"]:
                # Another history under the same name, which a forced configuration can make.
                start = first_from(client, Timestamp(last["ts"].time, last["ts"].inc + 1))
        if start is None:
            raise CommandExecutionError("this member has no oplog yet")
        begin_at: Timestamp = start["ts"]
        return begin_at

    # Writing

    def _take(self, client: Any, entry: Entry) -> None:
        mark = self._timeline.of_entry(entry, self._oplog.operations)
        if mark is not None:
            self._turn(client, mark or self._timeline.read(client))
        if not self._restoring:
            self._keep(entry)

    def _turn(self, client: Any, mark: Mapping[str, Any]) -> None:
        """Take into account what an entry says of the set's timeline."""
        self.waiting = self._timeline.refusal(mark)
        timeline = mark["timeline"] or self._timeline.read(client)["timeline"]
        if not self.waiting and not self._restoring and timeline == self.timeline:
            return
        self._seal()
        self._last = None
        self._restoring = bool(self.waiting)
        if not self._restoring:
            self.timeline = timeline

    def _keep(self, entry: Entry) -> None:
        at = entry["ts"]
        if self._last and at <= self._last[1]:
            return
        data, moment = self._oplog.without_secrets(entry), self._moment(entry)
        if self._gap:
            facts = {"after": self._gap, "from": moment}
            self._note("gap", at, facts)
            self._gap = None
        if self._segment is None:
            self._open(at)
        self._segment.write(data, at)
        self.entries += 1
        self._last = (data, at, moment)
        if self._unsafe_since is None:
            self._unsafe_since = time.monotonic()
        for renamed in self._renames(entry):
            self._note("rename", at, {**renamed, "at": moment})

    def _open(self, at: Timestamp) -> None:
        first = self._last[1] if self._last else at
        assert self.timeline is not None
        folder = self.folder / self.timeline
        self._segment = self._segments.writer(
            folder, first, self._token, self._files.sync_folder, self._keys
        )
        self._opened = time.monotonic()
        if self._last:
            self._segment.write(self._last[0], first)

    def _note(self, kind: str, at: Timestamp, facts: Mapping[str, Any]) -> None:
        assert self.timeline is not None
        folder = self.folder / self.timeline
        self._segments.note(folder, kind, at, facts, self._files.sync_folder)

    def _renames(self, entry: Entry) -> list[dict[str, str]]:
        """Return ``source`` and ``target`` of each rename of a user's collection in an entry."""
        renamed: list[dict[str, str]] = []
        if entry["op"] != "c":
            return renamed
        for operation in self._oplog.operations(entry):
            source = str(operation["o"].get("renameCollection", ""))
            if self._oplog.is_ours(source) and not TEMPORARY.match(source.partition(".")[2]):
                renamed.append({"source": source, "target": operation["o"]["to"]})
        return renamed

    def _tick(self) -> None:
        now = time.monotonic()
        if not self._segment:
            return
        since = self._unsafe_since
        if since is not None and now - since >= self._limits["sync_seconds"]:
            self._sync()
        if (
            now - self._opened >= self._limits["seal_seconds"]
            or self._segment.size >= self._limits["seal_bytes"]
        ):
            self._seal()

    def _sync(self) -> None:
        self._segment.sync()
        self._safe()

    def _safe(self) -> None:
        self._unsafe_since = None
        if self._last:
            self.durable = self._last[2]

    def _seal(self) -> None:
        if self._segment:
            self._segment.seal()
            self._segment = None
            self.sealed += 1
            self._safe()

    def _moment(self, entry: Entry) -> dict[str, str]:
        wall = self._oplog.wall(entry).isoformat(timespec="milliseconds")
        return {"time": self._oplog.text(entry["ts"]), "wall": wall}


def _times(entry: Entry) -> tuple[Any, ...]:
    """Return what two entries of one history have in common only if they are the same."""
    return tuple(entry.get(key) for key in ("ts", "t", "wall"))


def archiver(
    folder: pathlib.Path, token: str, limits: Mapping[str, float], parts: Mapping[str, Any]
) -> Archiver:
    """Return who writes an archive; see :class:`Archiver`."""
    return Archiver(folder, token, limits, parts)
