"""
An archive of a replica set's oplog as files: segments that follow each other, a folder a timeline.

A segment is a gzip file of BSON, as ``mongodb_backup.restore`` takes it. Its name has the operation
times of its first and its last entry, so that names sort and chain: the first entry of a segment is
the last of the one before. While it is written it is named *open*, with a token of its writer in
place of the end. It consists of gzip members, each with its checksum: whoever finds it cut off,
because its writer died or still writes, reads the members that are whole and passes over the rest.

With a key in ``keys``, which is a ``mongodb_crypt.Keyring``, a segment is encrypted. Each member is
chunks of its own then. What a segment is encrypted as is its timeline and first entry, which stay
the same when it is sealed.

Two that write at once have a file each, of the same entries: overlaps do no harm. A gap shows in
the names. Notes (JSON) beside the segments say when and why one came about, or what else makes a
new backup desirable.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

from salt.exceptions import CommandExecutionError

try:
    from bson import Timestamp
    from bson.codec_options import CodecOptions
    from bson.raw_bson import RawBSONDocument

    HAS_PYMONGO = True
except ImportError:
    HAS_PYMONGO = False

SUFFIX = ".bson.gz"
NOTE = ".json"
HALF_DONE = ".half-done"
CHUNK = 1 << 20
# What a member has at most, before it is compressed: so much is in memory at once, and one entry.
MEMBER = 4 << 20
# As fast as it gets, and small enough.
LEVEL = 3
GZIP = 16 + zlib.MAX_WBITS
_TIME = r"(\d{10})\.(\d{10})"
_NAME = re.compile(rf"{_TIME}-(?:{_TIME}|open-([0-9a-f]+)){re.escape(SUFFIX)}")
_LENGTH = struct.Struct("<i")
SyncFolder = Callable[[pathlib.Path], None]


def __virtual__() -> bool | tuple[bool, str]:
    if not HAS_PYMONGO:
        return False, "PyMongo is missing in Salt's Python: salt-pip install pymongo"
    return True


# Names


class Segment(NamedTuple):
    """A file of an archive: its first entry's time, and its last one's unless it is open."""

    path: pathlib.Path
    first: Timestamp
    last: Timestamp | None
    #: Of who writes it, while it is open.
    token: str | None = None

    @property
    def end(self) -> Timestamp:
        """The last entry's time as far as it is known."""
        return self.first if self.last is None else self.last


def _stem(moment: Timestamp) -> str:
    return f"{moment.time:010d}.{moment.inc:010d}"


def segment(path: pathlib.Path) -> Segment | None:
    """Return the segment of a path, by its name alone; None where it is no name of one."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    seconds, ordinal, last_seconds, last_ordinal, token = match.groups()
    try:
        first = Timestamp(int(seconds), int(ordinal))
        last = None if token else Timestamp(int(last_seconds), int(last_ordinal))
    except ValueError:
        # Ten digits can be more than a time holds; no archive has made that.
        return None
    return Segment(path, first, last, token)


def is_segment(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is that of a segment."""
    return segment(pathlib.Path(path)) is not None


def _sealed_as(folder: pathlib.Path, first: Timestamp) -> str:
    """Return what an encrypted segment is encrypted as."""
    return f"{folder.name}/{_stem(first)}"


def timelines(folder: pathlib.Path) -> list[str]:
    """Return the timelines that a folder has segments of, in the order of their newest ones."""
    newest = {}
    for child in folder.iterdir():
        if child.is_dir() and not child.name.startswith("."):
            found = segments(child)
            if found:
                newest[child.name] = max(each.end for each in found)
    return sorted(newest, key=lambda name: newest[name])


def segments(folder: pathlib.Path) -> list[Segment]:
    """Return the segments of a timeline's folder, in their order; none if there is no folder."""
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    found = map(segment, paths)
    return [each for each in found if each is not None]


# Writing


class Writer:
    """An open segment."""

    def __init__(
        self,
        folder: pathlib.Path,
        first: Timestamp,
        token: str,
        sync_folder: SyncFolder,
        keys: Any = None,
    ) -> None:
        self.path = folder / f"{_stem(first)}-open-{token}{SUFFIX}"
        self.first = first
        #: The last entry that was written.
        self.last: Timestamp | None = None
        self._size = 0
        self._sync_folder = sync_folder
        folder.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        # Unbuffered: what cannot be written is heard of at once, and never tried again in silence.
        self._file: BinaryIO = os.fdopen(handle, "wb", buffering=0)
        self._member = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
        self._pending = bytearray()
        self._raw = 0
        self._sealer = keys.sealer(_sealed_as(folder, first)) if keys else None
        if self._sealer:
            self._put(self._sealer.head)
        sync_folder(folder)
        sync_folder(folder.parent)

    @property
    def size(self) -> int:
        """Bytes in the file, and those that will be in it."""
        return self._size + len(self._pending)

    def write(self, entry: bytes, at: Timestamp) -> None:
        """Add an entry. It is safe with the next :meth:`sync`."""
        self._pending += self._member.compress(entry)
        self._raw += len(entry)
        self.last = at
        if self._raw >= MEMBER:
            self._end_member()

    def sync(self) -> None:
        """Have all on the disk, in members that are whole."""
        self._end_member()
        os.fsync(self._file.fileno())

    def seal(self) -> pathlib.Path:
        """Have all on the disk, and the file its last name; return that."""
        self.sync()
        assert self.last is not None
        path = _sealed(self.path.parent, self.first, self.last)
        self.path.rename(path)
        self._file.close()
        self._sync_folder(path.parent)
        return path

    def leave(self) -> None:
        """Write no more, and leave the file as it is."""
        self._file.close()

    def _end_member(self) -> None:
        if not self._raw:
            return
        data = bytes(self._pending + self._member.flush())
        self._put(self._sealer.update(data) + self._sealer.flush() if self._sealer else data)
        self._member = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
        self._pending.clear()
        self._raw = 0

    def _put(self, data: bytes) -> None:
        left = memoryview(data)
        self._size += len(left)
        while left:
            left = left[self._file.write(left) :]


def writer(
    folder: pathlib.Path,
    first: Timestamp,
    token: str,
    sync_folder: SyncFolder,
    keys: Any = None,
) -> Writer:
    """Return what writes a new segment into a timeline's folder.

    :param token: the writer's own, of hexadecimal digits.
    :param sync_folder: ``mongodb_files.sync_folder``.
    """
    return Writer(folder, first, token, sync_folder, keys)


def salvage(folder: pathlib.Path, sync_folder: SyncFolder, keys: Any = None) -> list[pathlib.Path]:
    """Seal what others left open in a timeline's folder, as far as it is whole; return the files.

    It is copied: should its writer live on after all, it writes into what nobody reads.
    """
    sealed = []
    for dead in folder.glob(f".*{HALF_DONE}"):
        dead.unlink(missing_ok=True)
    for each in segments(folder):
        if each.token is None:
            continue
        end, last = 0, None
        for chunk, position in _members(each.path, keys):
            end, last = position, _last_of(chunk)
        if last is not None:
            path = _sealed(folder, each.first, _entry(last)["ts"])
            copy = folder / f".{path.name}{HALF_DONE}"
            with each.path.open("rb") as source, copy.open("xb") as target:
                os.fchmod(target.fileno(), 0o600)
                while end:
                    data = source.read(min(CHUNK, end))
                    target.write(data)
                    end -= len(data)
                target.flush()
                os.fsync(target.fileno())
            copy.rename(path)
            sealed.append(path)
        sync_folder(folder)
        each.path.unlink(missing_ok=True)
    return sealed


def _sealed(folder: pathlib.Path, first: Timestamp, last: Timestamp) -> pathlib.Path:
    return folder / f"{_stem(first)}-{_stem(last)}{SUFFIX}"


# Reading


def chunks(path: pathlib.Path, keys: Any = None) -> Iterator[bytes]:
    """Yield the entries of a segment, several at a time; of an open one as far as it is whole.

    One that was open when it was named, and is gone, is read under the name that it got.

    :raises CommandExecutionError: it is not there, cannot be read, does not end as its name says,
        or its key is not there.
    """
    found, last = segment(path), b""
    try:
        for chunk, _ in _members(path, keys):
            last = chunk
            yield chunk
    except FileNotFoundError as err:
        first = getattr(found, "first", None)
        heirs = [each for each in segments(path.parent) if each.first == first and each.last]
        if not heirs:
            raise CommandExecutionError(f"{path} cannot be read: {err.strerror}") from err
        yield from chunks(max(heirs, key=lambda each: each.end).path, keys)
        return
    except OSError as err:
        raise CommandExecutionError(f"{path} cannot be read: {err.strerror or err}") from err
    if found and found.last and (not last or _entry(_last_of(last))["ts"] != found.last):
        raise CommandExecutionError(f"{path} is damaged: it does not end as its name says")


def _members(path: pathlib.Path, keys: Any = None) -> Iterator[tuple[bytes, int]]:
    """Yield the contents of each member that is whole, and where it ends in the file."""
    with path.open("rb") as raw:
        source: Any = raw
        if keys and keys.is_encrypted(raw):
            found = segment(path)
            name = _sealed_as(path.parent, found.first) if found else path.name
            source = keys.open(raw, str(path), name, torn=True)
        member, parts = zlib.decompressobj(GZIP), []
        # No more than one chunk of an encrypted segment, so that it is known where that ends.
        while data := source.read1(CHUNK):
            position = raw.tell()
            while data:
                try:
                    parts.append(member.decompress(data))
                except zlib.error:
                    return
                if not member.eof:
                    break
                data = member.unused_data
                if content := b"".join(parts):
                    yield content, position - len(data)
                member, parts = zlib.decompressobj(GZIP), []


def last_entry(path: pathlib.Path, keys: Any = None) -> RawBSONDocument | None:
    """Return the last entry of a segment as far as it is whole, or None if it has none."""
    last = b""
    for chunk in chunks(path, keys):
        last = chunk
    return _entry(_last_of(last)) if last else None


def _last_of(chunk: bytes) -> bytes:
    position = 0
    while True:
        length = _LENGTH.unpack_from(chunk, position)[0]
        if length < 5 or position + length >= len(chunk):
            return chunk[position:]
        position += length


def _entry(data: bytes) -> RawBSONDocument:
    return RawBSONDocument(data, CodecOptions(document_class=RawBSONDocument, tz_aware=True))


# Chains: segments whose ``last`` is known


def ended(found: Iterable[Segment], keys: Any = None) -> list[Segment]:
    """Return segments with the end of each, also of open ones; those without a whole entry are
    left out."""
    known = []
    for each in found:
        if each.last is None:
            last = last_entry(each.path, keys)
            if last is None:
                continue
            each = each._replace(last=last["ts"])
        known.append(each)
    return sorted(known, key=lambda each: (each.first, each.end))


def breaks(found: Iterable[Segment]) -> list[tuple[Timestamp, Timestamp]]:
    """Return the gaps between segments: where the oplog ends, and where it begins again."""
    gaps, reach = [], None
    for each in found:
        if reach is not None and each.first > reach:
            gaps.append((reach, each.first))
        reach = each.end if reach is None else max(reach, each.end)
    return gaps


def covering(found: Iterable[Segment], after: Timestamp) -> Iterator[Segment]:
    """Yield the segments that continue what ends at ``after``, as few as will do, in order."""
    left, reach = list(found), after
    while True:
        following = [each for each in left if each.first <= reach < each.end]
        if not following:
            return
        best = max(following, key=lambda each: each.end)
        yield best
        reach = best.end
        left = [each for each in left if each.end > reach]


# Notes


def note(
    folder: pathlib.Path, kind: str, at: Timestamp, facts: Mapping[str, Any], sync: SyncFolder
) -> None:
    """Write down what happened to a timeline's oplog at an operation time; once is enough."""
    path = folder / f"{_stem(at)}-{kind}{NOTE}"
    if path.exists():
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    new = folder / f".{path.name}{HALF_DONE}"
    with new.open("w") as target:
        os.fchmod(target.fileno(), 0o600)
        json.dump({"kind": kind, **facts}, target)
        target.flush()
        os.fsync(target.fileno())
    new.rename(path)
    sync(folder)


def notes(folder: pathlib.Path) -> list[tuple[Timestamp, dict[str, Any]]]:
    """Return the notes of a timeline, in the order of their operation times.

    :raises CommandExecutionError: one cannot be read.
    """
    found = []
    for path in sorted(folder.glob(f"[0-9]*{NOTE}")):
        seconds, _, ordinal = path.name.partition("-")[0].partition(".")
        try:
            found.append((Timestamp(int(seconds), int(ordinal)), json.loads(path.read_bytes())))
        except (OSError, ValueError) as err:
            raise CommandExecutionError(f"{path} cannot be read: {err}") from err
    return found


def prune(folder: pathlib.Path, before: Timestamp) -> list[int]:
    """Remove the sealed segments and the notes of a timeline that end before an operation time.

    :return: the bytes of each segment that was removed.
    """
    removed = []
    for each in segments(folder):
        if each.last is not None and each.last < before:
            with contextlib.suppress(FileNotFoundError):
                size = each.path.stat().st_size
                each.path.unlink()
                removed.append(size)
    for at, told in notes(folder):
        if at < before:
            (folder / f"{_stem(at)}-{told['kind']}{NOTE}").unlink(missing_ok=True)
    return removed
