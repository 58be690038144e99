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
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

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
#: mongodump's; with ``--gzip`` it is compressed and has this name all the same.
OPLOG = "oplog.bson"
DATA = ".bson.gz"
METADATA = ".metadata.json.gz"
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


# Names and metadata


def stem(namespace: str) -> str:
    """Return the path of a collection's files in a dump, without their endings."""
    database, _, collection = namespace.partition(".")
    name = urllib.parse.quote_plus(collection)
    if len(name) > LONGEST:
        digest = hashlib.sha1(collection.encode(), usedforsecurity=False).digest()
        name = f"{name[:CUT]}%24{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
    return f"{database}/{name}"


def metadata(
    collection: str, kind: str, options: Mapping[str, Any], indexes: list[Any], uuid: str = ""
) -> bytes:
    """Return what mongodump writes of a collection or view beside its data, as JSON."""
    found = {"options": options, "indexes": indexes}
    if uuid:
        found["uuid"] = uuid
    found.update(collectionName=collection, type=kind)
    return json_util.dumps(found, json_options=json_util.CANONICAL_JSON_OPTIONS).encode()


def read_metadata(path: pathlib.Path) -> dict[str, Any]:
    """Return what :func:`metadata` wrote, or mongodump."""
    options = json_util.JSONOptions(document_class=dict)
    found: dict[str, Any] = json_util.loads(gzip.decompress(path.read_bytes()), options)
    return found


# Writing


class Writer:
    """A gzip file that knows its own hash. Use it as a context: it is on the disk at its end."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self._hash = hashlib.sha256()
        self._bytes = 0

    def __enter__(self) -> Writer:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._raw: BinaryIO = self.path.open("xb", buffering=0)
        # No name and no time within: the same documents make the same file.
        self._gzip = zlib.compressobj(LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        return self

    def write(self, data: bytes) -> None:
        """Add to the contents."""
        self._out(self._gzip.compress(data))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._raw:
            if kind is None:
                self._out(self._gzip.flush())
                os.fsync(self._raw.fileno())

    def _out(self, data: bytes) -> None:
        self._hash.update(data)
        self._bytes += len(data)
        left = memoryview(data)
        while left:
            left = left[self._raw.write(left) :]

    @property
    def facts(self) -> dict[str, Any]:
        """``bytes`` and ``sha256`` of the file."""
        return {"bytes": self._bytes, "sha256": self._hash.hexdigest()}


def writer(path: pathlib.Path) -> Writer:
    """Return what writes a new gzip file."""
    return Writer(path)


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


def entries(path: pathlib.Path) -> Iterator[RawBSONDocument]:
    """Yield the oplog entries of a gzip file.

    :raises CommandExecutionError: it is cut off, or is not what it should be.
    """
    options: CodecOptions[Any] = CodecOptions(document_class=RawBSONDocument, tz_aware=True)
    for chunk in chunks(path):
        position = 0
        while position < len(chunk):
            length = _LENGTH.unpack_from(chunk, position)[0]
            yield RawBSONDocument(chunk[position : position + length], options)
            position += length


def file_facts(path: pathlib.Path) -> dict[str, Any]:
    """Return ``bytes`` and ``sha256`` of a file."""
    with path.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


# The manifest


MANIFEST = "manifest.json"
FORMAT = 1


def manifest_text(found: Mapping[str, Any]) -> bytes:
    """Return a manifest as JSON, with a checksum of its own."""
    body = {"format": FORMAT, **found}
    return json.dumps({**body, "checksum": _checksum(body)}, indent=1, sort_keys=True).encode()


def read_manifest(folder: pathlib.Path) -> dict[str, Any]:
    """Return the manifest of a backup.

    :raises CommandExecutionError: there is none, or it is not as it was written.
    """
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError as err:
        raise CommandExecutionError(
            f"{folder} is no backup: {MANIFEST} is missing, which is written last"
        ) from err
    except (OSError, ValueError) as err:
        raise CommandExecutionError(f"{path} cannot be read: {err}") from err
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise CommandExecutionError(f"{path} is of no format that is known here (that is {FORMAT})")
    if found.pop("checksum", None) != _checksum(found):
        raise CommandExecutionError(f"{path} is damaged: its checksum is wrong")
    return found


def _checksum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def problems(folder: pathlib.Path, manifest: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each file of a backup that is missing, damaged or no part of it."""
    found = []
    for name, facts in sorted(manifest["files"].items()):
        path = folder / name
        try:
            size = path.stat().st_size
            if size != facts["bytes"]:
                found.append(f"{name} has {size} bytes, and was written with {facts['bytes']}")
            elif file_facts(path) != facts:
                found.append(f"{name} is damaged: its SHA-256 is not that of the manifest")
        except FileNotFoundError:
            found.append(f"{name} is missing")
        except OSError as err:
            found.append(f"{name} cannot be read: {err.strerror}")
    known = {*manifest["files"], MANIFEST}
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return [*found, *(f"{name} is no part of the backup" for name in sorted(there - known))]
