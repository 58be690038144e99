"""
A dump of MongoDB as files: names and contents as mongodump makes them with ``--gzip``, and how a
folder of them comes into being in one step.

Each file is written once, hashed while it is, and on the disk before it counts. A folder is made
under another name, ``.NAME.partial``, and gets its own at the end; whoever makes one holds a lock
in the folder above, so that what is partial and not locked is known to be dead.

With a key in ``keys``, which is a ``mongodb_crypt.Keyring``, files are encrypted after they are
compressed, and so are the manifest's ``collections``, whose hashes would tell of documents. The
rest of the manifest can be read by anybody, and is authenticated together with these.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import gzip
import hashlib
import io
import json
import os
import pathlib
import secrets
import shutil
import struct
import urllib.parse
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from salt.exceptions import CommandExecutionError, SaltInvocationError

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
FORMAT, FORMAT_ENCRYPTED = 1, 2
#: What of a manifest is encrypted.
HIDDEN = "collections"
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


def path(written: object) -> pathlib.Path:
    """Return the path of a backup, or of a file of the oplog, that a user wrote.

    :raises SaltInvocationError: it is not whole, or has a name as half-done things have it.
    """
    found = pathlib.Path(str(written))
    if not found.is_absolute() or found.name.startswith(".") or ".." in found.parts:
        raise SaltInvocationError(
            f"{written!r} cannot be used: write the whole path, without '..' and with a name that"
            " does not begin with a dot"
        )
    return found


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

    :param done: gets ``bytes`` and ``sha256`` of the file then, and ``unpacked``, how many bytes
        it holds; unless the block raises.
    :param sealer: a ``mongodb_crypt.Sealer``, to encrypt it.
    """

    def __init__(
        self, path: pathlib.Path, done: Callable[[dict[str, Any]], None], sealer: Any = None
    ) -> None:
        self._path = path
        self._done = done
        self._sealer = sealer
        self._hash = hashlib.sha256()
        self._bytes = self._unpacked = 0
        self._finished = False

    def __enter__(self) -> Writer:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._raw = self._path.open("xb")
        # No name and no time within: the same documents make the same file.
        self._gzip = zlib.compressobj(LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        if self._sealer:
            self._put(self._sealer.head)
        return self

    def write(self, data: bytes) -> None:
        """Add to the contents."""
        self._unpacked += len(data)
        self._out(self._gzip.compress(data))

    def lock(self) -> None:
        """Have others see that somebody writes here."""
        fcntl.flock(self._raw, fcntl.LOCK_EX)

    def finish(self) -> None:
        """Have all on the disk; nothing can be added any more."""
        self._out(self._gzip.flush())
        if self._sealer:
            self._put(self._sealer.finish())
        self._raw.flush()
        os.fsync(self._raw.fileno())
        self._finished = True
        facts = {"bytes": self._bytes, "sha256": self._hash.hexdigest()}
        self._done({**facts, "unpacked": self._unpacked})

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._raw:
            if kind is None and not self._finished:
                self.finish()

    def _out(self, data: bytes) -> None:
        self._put(self._sealer.update(data) if self._sealer else data)

    def _put(self, data: bytes) -> None:
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
def locked(
    parent: pathlib.Path, name: str = LOCK, busy: str = "another backup is being written into"
) -> Iterator[None]:
    """Be the only one who makes backups in a folder, or does something else in it.

    :param name: of the lock's file, which is another one for something else.
    :param busy: what is done there when it is somebody else; for the error, before the folder.
    :raises CommandExecutionError: somebody else is, or the folder cannot be written.
    """
    try:
        handle = (parent / name).open("w")
    except OSError as err:
        raise CommandExecutionError(
            f"{parent} cannot be written: {err.strerror}; make the folder, or mount it"
        ) from err
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise CommandExecutionError(f"{busy} {parent}: wait until it has ended") from err
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


def remove(folder: pathlib.Path) -> None:
    """Remove a backup, which is half-done at once.

    :raises CommandExecutionError: somebody makes another one beside it.
    """
    with locked(folder.parent):
        gone = folder.parent / f".{folder.name}{PARTIAL}"
        folder.rename(gone)
        sync_folder(folder.parent)
        shutil.rmtree(gone)


@contextlib.contextmanager
def published_oplog(
    path: pathlib.Path, keys: Any = None
) -> Iterator[tuple[Writer, dict[str, Any]]]:
    """Yield what writes oplog entries into a new file, and a dict that gets the file's facts.

    The file gets its name when the block has ended well. What others left half-done beside it is
    removed.

    :param keys: a ``mongodb_crypt.Keyring``; with a key the file is encrypted, and can be read
        under this name only.
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
        sealer = keys.sealer(path.name) if keys else None
        with Writer(partial, facts.update, sealer) as target:
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


def contents(path: pathlib.Path, keys: Any = None, name: str | None = None) -> Iterator[bytes]:
    """Yield what a gzip file holds, a part at a time.

    :param keys: a ``mongodb_crypt.Keyring``; without it the file must not be encrypted.
    :param name: what the file was encrypted as. Without it that is the file's name, and it need not
        be encrypted.
    :raises CommandExecutionError: it is cut off, or is not what it should be.
    """
    try:
        with path.open("rb") as raw:
            source: BinaryIO = raw
            if keys and (name or keys.is_encrypted(raw)):
                source = keys.open(raw, str(path), name or path.name)
            with gzip.GzipFile(fileobj=source) as plain:
                while data := plain.read(CHUNK):
                    yield data
    except (OSError, EOFError, zlib.error) as err:
        raise CommandExecutionError(f"{path} cannot be read: {err}") from err


def chunks(path: pathlib.Path, keys: Any = None, name: str | None = None) -> Iterator[bytes]:
    """Yield the BSON documents of a gzip file, several whole ones at a time.

    The arguments are those of :func:`contents`.

    :raises CommandExecutionError: it is cut off, or is not what it should be.
    """
    rest = b""
    for data in contents(path, keys, name):
        rest += data
        try:
            end = _whole(rest)
        except OSError as err:
            raise CommandExecutionError(f"{path} cannot be read: {err}") from err
        if end:
            yield rest[:end]
            rest = rest[end:]
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
    """The files of a dump that is being written into a folder.

    :param keys: a ``mongodb_crypt.Keyring``; with a key the dump is encrypted.
    """

    def __init__(self, folder: pathlib.Path, keys: Any = None) -> None:
        self.folder = folder
        self._keys: Any = keys if keys and keys.id else None
        self._encrypted = {"key": keys.id, "backup": secrets.token_hex(16)} if self._keys else None
        #: Of each file, by its path within the folder, ``bytes`` and ``sha256``.
        self.files: dict[str, dict[str, Any]] = {}

    def documents(self, namespace: str) -> Writer:
        """Return what writes the documents of a collection."""
        return self.file(f"{stem(namespace)}{DATA}")

    def written(self, namespace: str) -> Iterator[bytes]:
        """Yield the documents of a collection that were written, several whole ones at a time."""
        name = f"{stem(namespace)}{DATA}"
        return chunks(self.folder / name, self._keys, _full(self._encrypted, name))

    def oplog(self) -> Writer:
        """Return what writes the entries of the oplog."""
        return self.file(OPLOG)

    def metadata(self, found: Mapping[str, Any]) -> None:
        """Write what a collection or view (as ``mongodb_scan.collections`` has it) is."""
        kept = {"options": found["options"], "indexes": found["indexes"], "uuid": found["uuid"]}
        if not kept["uuid"]:
            del kept["uuid"]
        kept.update(collectionName=found["name"], type=found["type"])
        text = json_util.dumps(kept, json_options=json_util.CANONICAL_JSON_OPTIONS)
        with self.file(f"{stem(found['namespace'])}{METADATA}") as target:
            target.write(text.encode())

    def seal(self, manifest: Mapping[str, Any]) -> None:
        """Write what mongorestore reads of the server, and then the manifest, the last of all."""
        version = {"ServerVersion": manifest["version"], "ToolVersion": "salt mongodb_backup"}
        with self.file(PRELUDE) as target:
            target.write(json.dumps(version).encode())
        body = {"format": FORMAT, **manifest, "files": self.files}
        if self._encrypted:
            hidden = json.dumps({HIDDEN: body.pop(HIDDEN)}).encode()
            body.update(format=FORMAT_ENCRYPTED, encrypted=self._encrypted)
            sealer = self._keys.sealer(_full(self._encrypted, MANIFEST, _checksum(body)))
            sealed = sealer.head + sealer.update(hidden) + sealer.finish()
            body["sealed"] = base64.b64encode(sealed).decode()
        text = json.dumps({**body, "checksum": _checksum(body)}, indent=1, sort_keys=True)
        write_plain(self.folder / MANIFEST, text.encode())

    def file(self, name: str) -> Writer:
        """Return what writes a file, by its path within the folder."""
        sealer = self._keys.sealer(_full(self._encrypted, name)) if self._keys else None
        return Writer(self.folder / name, lambda facts: self.files.update({name: facts}), sealer)


def manifest(folder: pathlib.Path) -> tuple[dict[str, Any], str]:
    """Return the manifest of the backup in a folder as it stands there, and its SHA-256.

    Of an encrypted one it is what can be read without the key, and it is not authenticated.

    :raises CommandExecutionError: there is none, or it is not as it was written.
    """
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
    known = (FORMAT, FORMAT_ENCRYPTED)
    if not isinstance(found, dict) or found.get("format") not in known:
        raise CommandExecutionError(f"{path} is of no format that is known here {known}")
    if found.pop("checksum", None) != _checksum(found):
        raise CommandExecutionError(f"{path} is damaged: its checksum is wrong")
    return found, hashlib.sha256(content).hexdigest()


class Backup:
    """A whole backup in a folder.

    :param keys: a ``mongodb_crypt.Keyring``, which an encrypted backup needs.
    :raises CommandExecutionError: there is none, its manifest is not as it was written, or its key
        is not there.
    """

    def __init__(self, folder: pathlib.Path, keys: Any = None) -> None:
        self.folder = folder
        #: ``sha256`` is that of the manifest, which has that of each file.
        self.manifest, self.sha256 = manifest(folder)
        self._encrypted = self.manifest.get("encrypted")
        self._keys: Any = keys if self._encrypted else None
        if self._encrypted:
            self._unhide()

    def _unhide(self) -> None:
        """Add what of the manifest is encrypted, and see that all of it is what was written."""
        sealed = io.BytesIO(base64.b64decode(self.manifest.pop("sealed")))
        name = _full(self._encrypted, MANIFEST, _checksum(self.manifest))
        try:
            with self._keys.open(sealed, str(self.folder), name) as source:
                self.manifest.update(json.loads(source.read()))
        except OSError as err:
            raise CommandExecutionError(
                f"{self.folder / MANIFEST} is not what was written with the key: {err}"
            ) from err

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
        name = f"{stem(namespace)}{DATA}"
        return chunks(self.folder / name, self._keys, _full(self._encrypted, name))

    def metadata(self, namespace: str) -> dict[str, Any]:
        """Return what a collection or view is."""
        text = b"".join(self.contents(f"{stem(namespace)}{METADATA}"))
        options = json_util.JSONOptions(document_class=dict)
        found: dict[str, Any] = json_util.loads(text, json_options=options)
        return found

    def entries(self) -> Iterator[RawBSONDocument]:
        """Yield the entries of the oplog."""
        name = _full(self._encrypted, OPLOG)
        return entries(self.folder / OPLOG, lambda path: chunks(path, self._keys, name))

    def contents(self, name: str) -> Iterator[bytes]:
        """Yield what a file holds (its path within the folder), decrypted and not compressed."""
        return contents(self.folder / name, self._keys, _full(self._encrypted, name))


def dump(folder: pathlib.Path, keys: Any = None) -> Dump:
    """Return a dump into an empty folder; see :class:`Dump`."""
    return Dump(folder, keys)


def is_backup(folder: pathlib.Path) -> bool:
    """Tell whether a folder has a manifest."""
    return (folder / MANIFEST).exists()


def backup(folder: pathlib.Path, keys: Any = None) -> Backup:
    """Return the backup in a folder; see :class:`Backup`."""
    return Backup(folder, keys)


def copy_plain(source: Backup, folder: pathlib.Path) -> None:
    """Write all of a backup into an empty folder as a dump that is not encrypted."""
    copy = Dump(folder)
    for name in source.manifest["files"]:
        # That one is written at the end.
        if name != PRELUDE:
            with copy.file(name) as target:
                for data in source.contents(name):
                    target.write(data)
    own = ("format", "encrypted", "files")
    copy.seal({key: value for key, value in source.manifest.items() if key not in own})


def _full(encrypted: Mapping[str, str] | None, name: str, *more: str) -> str | None:
    """Return what a file of an encrypted backup is encrypted as; None of one that is not.

    It names the backup by what it was given at random: its folder may be renamed and copied.
    """
    return "/".join((encrypted["backup"], name, *more)) if encrypted else None


def exchanged(noted: Mapping[str, str]) -> list[str]:
    """Return a sentence for each file that is not the one that was noted.

    :param noted: by path the SHA-256.
    """
    found = []
    for path, sha256 in noted.items():
        try:
            now = _hash(pathlib.Path(path))
        except OSError as err:
            found.append(f"{path} cannot be read: {err.strerror}")
            continue
        if now != sha256:
            found.append(
                f"{path} is another file than the one noted, with the SHA-256 {now}: put that one "
                "back from a copy, or restore to a time before it"
            )
    return found


def _hash(path: pathlib.Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _checksum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
