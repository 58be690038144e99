"""
A dump of MongoDB as files: names and contents as mongodump makes them with ``--gzip``, and how a
folder of them comes into being in one step.

Each file is written once, hashed while it is, and on the disk before it counts. A folder is made
under another name, ``.NAME.partial``, and gets its own at the end; whoever makes one holds a lock
in the folder above, so that what is partial and not locked is known to be dead.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import gzip
import hashlib
import json
import os
import pathlib
import shutil
import struct
import urllib.parse
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from salt.exceptions import CommandExecutionError

try:
    from bson import json_util
    from bson.codec_options import CodecOptions
    from bson.raw_bson import RawBSONDocument

    HAS_PYMONGO = True
except ImportError:
    HAS_PYMONGO = False

LOCK = ".mongodb_backup.lock"
PARTIAL = ".partial"
PARTIAL_OPLOG = ".partial-oplog"
#: mongodump's; with ``--gzip`` it is compressed and has this name all the same.
OPLOG = "oplog.bson"
DATA = ".bson.gz"
METADATA = ".metadata.json.gz"
PRELUDE = "prelude.json.gz"
MANIFEST = "manifest.json"
FORMAT = 1
# Most that a name can have before its ending, and where mongodump cuts a longer one.
LONGEST, CUT = 238, 208
# Fast, and on counters as small as the next levels to a tenth.
LEVEL = 3
CHUNK = 1 << 20
_LENGTH = struct.Struct("<i")


def __virtual__() -> bool | tuple[bool, str]:
    if not HAS_PYMONGO:
        return False, "PyMongo is missing in Salt's Python: salt-pip install pymongo"
    return True


# Names


def stem(namespace: str) -> str:
    """Return the path of a collection's files in a dump, without their endings."""
    database, _, collection = namespace.partition(".")
    name = urllib.parse.quote_plus(collection)
    if len(name) > LONGEST:
        digest = hashlib.sha1(collection.encode(), usedforsecurity=False).digest()
        name = f"{name[:CUT]}%24{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
    return f"{database}/{name}"


# Writing


class Writer:
    """A gzip file. Use it as a context: it is on the disk at its end.

    :param done: gets ``bytes`` and ``sha256`` of the file then, unless the block raises.
    """

    def __init__(self, path: pathlib.Path, done: Callable[[dict[str, Any]], None]) -> None:
        self._path = path
        self._done = done
        self._hash = hashlib.sha256()
        self._bytes = 0
        self._finished = False

    def __enter__(self) -> Writer:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._raw = self._path.open("xb")
        # No name and no time within: the same documents make the same file.
        self._gzip = zlib.compressobj(LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        return self

    def write(self, data: bytes) -> None:
        """Add to the contents."""
        self._out(self._gzip.compress(data))

    def lock(self) -> None:
        """Have others see that somebody writes here."""
        fcntl.flock(self._raw, fcntl.LOCK_EX)

    def finish(self) -> None:
        """Have all on the disk; nothing can be added any more."""
        self._out(self._gzip.flush())
        self._raw.flush()
        os.fsync(self._raw.fileno())
        self._finished = True
        self._done({"bytes": self._bytes, "sha256": self._hash.hexdigest()})

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._raw:
            if kind is None and not self._finished:
                self.finish()

    def _out(self, data: bytes) -> None:
        self._hash.update(data)
        self._bytes += len(data)
        self._raw.write(data)


def write_plain(path: pathlib.Path, data: bytes) -> None:
    """Write a new file as it is; it is on the disk afterwards."""
    with path.open("xb") as target:
        target.write(data)
        target.flush()
        os.fsync(target.fileno())


def sync_folder(path: pathlib.Path) -> None:
    """Have the names in a folder on the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(parent: pathlib.Path) -> Iterator[None]:
    """Be the only one who makes backups in a folder.

    :raises CommandExecutionError: somebody else is, or the folder cannot be written.
    """
    try:
        handle = (parent / LOCK).open("w")
    except OSError as err:
        raise CommandExecutionError(
            f"{parent} cannot be written: {err.strerror}; make the folder, or mount it"
        ) from err
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise CommandExecutionError(
                f"another backup is being written into {parent}: wait until it has ended"
            ) from err
        yield


@contextlib.contextmanager
def published(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield a folder to write into; it gets the name ``folder`` when the block has ended well.

    What others left half-done beside it is removed, and so is this one when the block raises.

    :raises CommandExecutionError: ``folder`` is there already, or somebody makes another one.
    """
    parent = folder.parent
    with locked(parent):
        if folder.exists():
            raise CommandExecutionError(f"{folder} is there already: choose another name")
        for dead in parent.glob(f".*{PARTIAL}"):
            shutil.rmtree(dead)
        partial = parent / f".{folder.name}{PARTIAL}"
        partial.mkdir(mode=0o700)
        try:
            yield partial
            for inner in [*(path for path in partial.iterdir() if path.is_dir()), partial]:
                sync_folder(inner)
            partial.rename(folder)
            sync_folder(parent)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


@contextlib.contextmanager
def published_oplog(path: pathlib.Path) -> Iterator[tuple[Writer, dict[str, Any]]]:
    """Yield what writes oplog entries into a new file, and a dict that gets the file's facts.

    The file gets its name when the block has ended well. What others left half-done beside it is
    removed.

    :raises CommandExecutionError: it is there already, or cannot be written.
    """
    if path.exists():
        raise CommandExecutionError(f"{path} is there already: choose another name")
    for dead in path.parent.glob(f".*{PARTIAL_OPLOG}"):
        with dead.open("rb") as handle, contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            dead.unlink()
    partial = path.parent / f".{path.name}{PARTIAL_OPLOG}"
    facts: dict[str, Any] = {}
    try:
        with Writer(partial, facts.update) as target:
            target.lock()
            yield target, facts
            # Within the block, so that nobody takes a whole file for a dead one.
            target.finish()
            partial.rename(path)
        sync_folder(path.parent)
    except OSError as err:
        raise CommandExecutionError(f"{path} cannot be written: {err.strerror}") from err
    finally:
        partial.unlink(missing_ok=True)


# Reading


def chunks(path: pathlib.Path) -> Iterator[bytes]:
    """Yield the BSON documents of a gzip file, several whole ones at a time.

    :raises CommandExecutionError: it is cut off, or is not what it should be.
    """
    rest = b""
    try:
        with gzip.open(path) as source:
            while data := source.read(CHUNK):
                rest += data
                end = _whole(rest)
                if end:
                    yield rest[:end]
                    rest = rest[end:]
    except (OSError, EOFError, zlib.error) as err:
        raise CommandExecutionError(f"{path} cannot be read: {err}") from err
    if rest:
        raise CommandExecutionError(f"{path} ends within a document")


def _whole(data: bytes) -> int:
    """Return how many bytes of ``data`` are whole documents."""
    position = 0
    while len(data) - position >= 4:
        length = _LENGTH.unpack_from(data, position)[0]
        if length < 5:
            raise OSError("there is no BSON document where one should begin")
        if position + length > len(data):
            break
        position += length
    return position


def entries(
    path: pathlib.Path, read: Callable[[pathlib.Path], Iterator[bytes]] = chunks
) -> Iterator[RawBSONDocument]:
    """Yield the oplog entries of a gzip file.

    :param read: what yields the documents of the file, several whole ones at a time.
    :raises CommandExecutionError: it is cut off, or is not what it should be.
    """
    options: CodecOptions[Any] = CodecOptions(document_class=RawBSONDocument, tz_aware=True)
    for chunk in read(path):
        position = 0
        while position < len(chunk):
            length = _LENGTH.unpack_from(chunk, position)[0]
            yield RawBSONDocument(chunk[position : position + length], options)
            position += length


# A dump that is written, and one that is read


class Dump:
    """The files of a dump that is being written into a folder."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        #: Of each file, by its path within the folder, ``bytes`` and ``sha256``.
        self.files: dict[str, dict[str, Any]] = {}

    def documents(self, namespace: str) -> Writer:
        """Return what writes the documents of a collection."""
        return self._writer(f"{stem(namespace)}{DATA}")

    def written(self, namespace: str) -> Iterator[bytes]:
        """Yield the documents of a collection that were written, several whole ones at a time."""
        return chunks(self.folder / f"{stem(namespace)}{DATA}")

    def oplog(self) -> Writer:
        """Return what writes the entries of the oplog."""
        return self._writer(OPLOG)

    def metadata(self, found: Mapping[str, Any]) -> None:
        """Write what a collection or view (as ``mongodb_scan.collections`` has it) is."""
        kept = {"options": found["options"], "indexes": found["indexes"], "uuid": found["uuid"]}
        if not kept["uuid"]:
            del kept["uuid"]
        kept.update(collectionName=found["name"], type=found["type"])
        text = json_util.dumps(kept, json_options=json_util.CANONICAL_JSON_OPTIONS)
        with self._writer(f"{stem(found['namespace'])}{METADATA}") as target:
            target.write(text.encode())

    def seal(self, manifest: Mapping[str, Any]) -> None:
        """Write what mongorestore reads of the server, and then the manifest, the last of all."""
        version = {"ServerVersion": manifest["version"], "ToolVersion": "salt mongodb_backup"}
        with self._writer(PRELUDE) as target:
            target.write(json.dumps(version).encode())
        body = {"format": FORMAT, **manifest, "files": self.files}
        text = json.dumps({**body, "checksum": _checksum(body)}, indent=1, sort_keys=True)
        write_plain(self.folder / MANIFEST, text.encode())

    def _writer(self, name: str) -> Writer:
        return Writer(self.folder / name, lambda facts: self.files.update({name: facts}))


class Backup:
    """A whole backup in a folder.

    :raises CommandExecutionError: there is none, or its manifest is not as it was written.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        path = folder / MANIFEST
        try:
            content = path.read_bytes()
            found = json.loads(content)
        except (FileNotFoundError, NotADirectoryError) as err:
            raise CommandExecutionError(
                f"{folder} is no backup: {MANIFEST} is missing, which is written last"
            ) from err
        except (OSError, ValueError) as err:
            raise CommandExecutionError(f"{path} cannot be read: {err}") from err
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise CommandExecutionError(f"{path} is of no format that is known here ({FORMAT})")
        if found.pop("checksum", None) != _checksum(found):
            raise CommandExecutionError(f"{path} is damaged: its checksum is wrong")
        self.manifest: dict[str, Any] = found
        #: SHA-256 of the manifest, which has that of each file.
        self.sha256 = hashlib.sha256(content).hexdigest()

    def require(self, sha256: str | None) -> None:
        """See that it is the backup that somebody has noted.

        :raises CommandExecutionError: its manifest has another SHA-256.
        """
        if sha256 not in (None, self.sha256):
            raise CommandExecutionError(
                f"{self.folder} is another backup than the one noted: the SHA-256 of its"
                f" {MANIFEST} is {self.sha256}, and not {sha256}"
            )

    def problems(self) -> list[str]:
        """Return a sentence for each file that is missing, damaged or no part of the backup."""
        found = []
        for name, facts in sorted(self.manifest["files"].items()):
            path = self.folder / name
            try:
                size = path.stat().st_size
                if size != facts["bytes"]:
                    found.append(f"{name} has {size} bytes, and had {facts['bytes']}")
                elif _hash(path) != facts["sha256"]:
                    found.append(f"{name} is damaged: its SHA-256 is another one")
            except FileNotFoundError:
                found.append(f"{name} is missing")
            except OSError as err:
                found.append(f"{name} cannot be read: {err.strerror}")
        known = {*self.manifest["files"], MANIFEST}
        there = {str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if p.is_file()}
        return [*found, *(f"{name} is no part of it" for name in sorted(there - known))]

    def documents(self, namespace: str) -> Iterator[bytes]:
        """Yield the documents of a collection, several whole ones at a time."""
        return chunks(self.folder / f"{stem(namespace)}{DATA}")

    def metadata(self, namespace: str) -> dict[str, Any]:
        """Return what a collection or view is."""
        path = self.folder / f"{stem(namespace)}{METADATA}"
        options = json_util.JSONOptions(document_class=dict)
        found: dict[str, Any] = json_util.loads(
            gzip.decompress(path.read_bytes()), json_options=options
        )
        return found

    def entries(self) -> Iterator[RawBSONDocument]:
        """Yield the entries of the oplog."""
        return entries(self.folder / OPLOG)


def dump(folder: pathlib.Path) -> Dump:
    """Return a dump into an empty folder."""
    return Dump(folder)


def is_backup(folder: pathlib.Path) -> bool:
    """Tell whether a folder has a manifest."""
    return (folder / MANIFEST).exists()


def backup(folder: pathlib.Path) -> Backup:
    """Return the backup in a folder; see :class:`Backup`."""
    return Backup(folder)


def _hash(path: pathlib.Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _checksum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
