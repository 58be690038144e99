"""
Read a release archive of counterapp, trusting nothing in it.

An archive ``counterapp-<version>.tar.gz`` has one top folder ``counterapp-<version>/`` with
``manifest.json``, ``requirements.txt``, ``wheels/`` and ``static/``. The manifest names every
other file with its SHA-256, so an archive is whole when its files are exactly those and hash to
exactly that.

Whole is not genuine: whoever can change an archive can change its manifest. Archives lie on a
volume that root of any node can write to, so size and SHA-256 of each are noted when it is
published, in a pillar file that root of the master alone can write (:py:func:`note`,
:py:func:`noted`). A node copies an archive to its own disk, holds the copy against the note and
reads nothing but the copy (:py:func:`fetch`).

The web nodes install with this and the master publishes with it: what one refuses the other does
too. Salt's loader hands out functions only, so errors are Python's own: ``ValueError`` for an
archive that is not acceptable, ``OSError`` for one that cannot be read or unpacked.
"""

import contextlib
import datetime
import errno
import fcntl
import hashlib
import json
import os
import pathlib
import re
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

import yaml

__virtualname__ = "release"

#: Also a folder name and part of a URL, hence no slash, no leading dot or dash.
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,63}\Z")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}\Z")
_PYTHON = re.compile(r"3\.[0-9]{1,2}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_MANIFEST = "manifest.json"
_MANIFEST_LIMIT = 4 * 1024 * 1024
_BLOCK = 1024 * 1024
#: The SLS of the notes, in the master's own pillar root.
_NOTES = "releases.sls"
_NOTES_HEAD = (
    "# Written when a release is published: what an archive must be for a node to install it.\n"
)


def __virtual__() -> str:
    return __virtualname__


def check_version(version: Any) -> str:
    """
    Return a version that is safe to use as a folder's name.

    Raises ``ValueError`` for anything else: a path, a space, a leading dot.
    """
    if not isinstance(version, str) or not _VERSION.match(version) or ".." in version:
        raise ValueError(
            f"{version!r} is no release version: letters, digits and '._+-' only, 64 at most,"
            " in quotes where YAML would read a number"
        )
    return version


def noted(folder: str | pathlib.Path) -> dict[str, dict[str, Any]]:
    """
    Return what was noted of each published release: ``sha256``, ``size``, ``published`` (when).

    folder
        The pillar root of the master's own (``/etc/salt/counterapp/pillar``).

    Raises ``ValueError`` naming the file when it holds anything else, ``OSError`` when it cannot
    be read.
    """
    path = pathlib.Path(folder) / _NOTES
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}): put its copy back") from error
    try:
        return {
            check_version(version): {
                **check_note(each.get("sha256"), each.get("size")),
                "published": str(each.get("published")),
            }
            for version, each in document["releases"].items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error!r}): put its copy back") from error


def note(folder: str | pathlib.Path, version: str, sha256: str, size: int) -> bool:
    """
    Note what a release's archive is, for all time.

    folder
        As for :py:func:`noted`.
    version, sha256, size
        The release, and the hash and the bytes of its archive.

    Returns whether it was new.

    Raises ``ValueError`` when the release was noted with another hash, ``OSError`` when the note
    cannot be written.
    """
    folder = pathlib.Path(folder)
    version, fresh = check_version(version), check_note(sha256, size)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(folder):
        notes = noted(folder)
        if version in notes:
            if notes[version]["sha256"] != sha256:
                raise ValueError(
                    f"release {version} was published with the SHA-256"
                    f" {notes[version]['sha256']}, and a release never changes; this archive has"
                    f" {sha256}: give the new build a version of its own"
                )
            return False
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        notes[version] = {**fresh, "published": now}
        lines = [f"  {json.dumps(each)}: {json.dumps(notes[each])}\n" for each in notes]
        _write_whole(folder / _NOTES, _NOTES_HEAD + "releases:\n" + "".join(lines))
    return True


@contextlib.contextmanager
def _alone(folder: pathlib.Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write_whole(path: pathlib.Path, text: str) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        pathlib.Path(name).replace(path)
    except OSError:
        pathlib.Path(name).unlink(missing_ok=True)
        raise


def check_note(sha256: Any, size: Any) -> dict[str, Any]:
    """
    Return hash and size of an archive as a note has them.

    Raises ``ValueError`` when they are no SHA-256 in lower case and no number of bytes.
    """
    if not isinstance(sha256, str) or not _SHA256.match(sha256):
        raise ValueError(f"{sha256!r} is no SHA-256: 64 digits of 0-9 and a-f")
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(f"{size!r} is no size of an archive: a whole number of bytes")
    return {"sha256": sha256, "size": size}


def digest(archive: str | pathlib.Path) -> dict[str, Any]:
    """
    Return ``sha256`` and ``size`` of an archive.

    Raises ``ValueError`` when it is a link or no regular file, ``OSError`` when it cannot be read.
    """
    with _open(pathlib.Path(archive)) as stream:
        size = os.fstat(stream.fileno()).st_size
        return {"sha256": _feed(stream, size, lambda _block: None), "size": size}


def check(archive: str | pathlib.Path, sha256: str, size: int) -> None:
    """
    Raise ``ValueError`` unless an archive is what was noted of it; nothing in it is looked at.

    No more than the noted size is read, and ``OSError`` is raised when it cannot be.
    """
    with _open(pathlib.Path(archive)) as stream:
        _check(pathlib.Path(archive), stream, sha256, size, lambda _block: None)


def fetch(
    archive: str | pathlib.Path, sha256: str, size: int, folder: str | pathlib.Path
) -> IO[bytes]:
    """
    Copy an archive to this machine's disk and return the open copy, if it is what was noted of it.

    The copy has no name: nobody can exchange it, and it is gone when it is closed.

    archive
        Path of the ``.tar.gz``.
    sha256, size
        What was noted of it.
    folder
        Where there is room for the copy.

    Raises ``ValueError`` when it is something else, ``OSError`` when it cannot be read or copied.
    """
    archive = pathlib.Path(archive)
    check_note(sha256, size)
    with _open(archive) as stream, contextlib.ExitStack() as undo:
        require_space(folder, size)
        copy = undo.enter_context(tempfile.TemporaryFile(dir=folder))
        _check(archive, stream, sha256, size, copy.write)
        undo.pop_all()
    return copy


def _open(archive: pathlib.Path) -> IO[bytes]:
    # Without O_NONBLOCK a FIFO of that name would be waited for, for ever.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(archive, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError(f"{archive} is a link: a release is a file") from error
        raise OSError(
            error.errno, f"the release archive cannot be read: {error.strerror}", str(archive)
        ) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ValueError(f"{archive} is no regular file, so it is no release")
    return os.fdopen(handle, "rb")


def _feed(stream: IO[bytes], size: int, use: Callable[[bytes], Any]) -> str:
    """Hand so many bytes of a stream on, and return their SHA-256."""
    hashed = hashlib.sha256()
    while size and (block := stream.read(min(size, _BLOCK))):
        hashed.update(block)
        use(block)
        size -= len(block)
    return hashed.hexdigest()


def _check(
    archive: pathlib.Path, stream: IO[bytes], sha256: str, size: int, use: Callable[[bytes], Any]
) -> None:
    wanted = f"published were {size} bytes with the SHA-256 {sha256}"
    changed = f"{archive} is not what was published, somebody has changed it"
    there = os.fstat(stream.fileno()).st_size
    if there != size:
        raise ValueError(f"{changed}: it has {there} bytes, {wanted}")
    found = _feed(stream, size, use)
    if found != sha256:
        raise ValueError(f"{changed}: it has the SHA-256 {found}, {wanted}")


def inspect(archive: str | pathlib.Path, content: IO[bytes] | None = None) -> dict[str, Any]:
    """
    Verify that an archive is whole, without unpacking it.

    archive
        Path of the ``.tar.gz``.
    content
        What :py:func:`fetch` returned for it, to be read in its place.

    Returns ``{"manifest": <dict>, "size": <bytes when unpacked>}``.

    Raises ``ValueError`` naming what is wrong with it, ``OSError`` when it cannot be read.
    """
    return _walk(pathlib.Path(archive), content, None)


def unpack(
    archive: str | pathlib.Path, content: IO[bytes], target: str | pathlib.Path
) -> dict[str, Any]:
    """
    Verify an archive while unpacking its top folder's content into an existing empty folder.

    Files get mode 0644 and folders 0755 whatever the archive says. On an error the folder holds
    an unspecified part of the files.

    archive
        Its path, for what is said of it.
    content
        What :py:func:`fetch` returned for it: nothing else is unpacked.
    target
        The folder.

    Returns what :py:func:`inspect` returns.

    Raises ``ValueError`` naming what is wrong with it, ``OSError`` when it cannot be read or
    written.
    """
    return _walk(pathlib.Path(archive), content, pathlib.Path(target))


def wheel_fits(filename: str, python: str) -> bool:
    """
    Say whether a wheel is meant for a Python (``"3.11"``), going by the tags in its file name.
    """
    tags = filename.removesuffix(".whl").split("-")
    if len(tags) < 5:
        return False
    wanted = "cp" + python.replace(".", "")
    if "abi3" in tags[-2].split("."):
        return True
    return any(tag in ("py3", wanted) or tag == f"py{wanted[2:]}" for tag in tags[-3].split("."))


def installed_size(wheels: str | pathlib.Path, python: str) -> int:
    """
    Return how many bytes the wheels in a folder that fit a Python (``"3.11"``) unpack to.

    Raises ``ValueError`` when one of them is no wheel, ``OSError`` when one cannot be read.
    """
    total = 0
    for path in pathlib.Path(wheels).glob("*.whl"):
        if not wheel_fits(path.name, python):
            continue
        try:
            with zipfile.ZipFile(path) as wheel:
                total += sum(entry.file_size for entry in wheel.infolist())
        except zipfile.BadZipFile as error:
            raise ValueError(f"{path.name} is no wheel: {error}") from error
    return total


def _walk(
    archive: pathlib.Path, content: IO[bytes] | None, target: pathlib.Path | None
) -> dict[str, Any]:
    if content is None:
        with _open(archive) as opened:
            return _walk(archive, opened, target)
    content.seek(0)
    files, manifest, top, size = {}, None, None, 0
    try:
        with tarfile.open(fileobj=content, mode="r:gz") as tar:
            for member in tar:
                parts = _safe_parts(archive, member)
                if top is None:
                    top = parts[0]
                elif parts[0] != top:
                    raise ValueError(
                        f"{archive}: more than one top folder ('{top}' and '{parts[0]}')"
                    )
                relative = "/".join(parts[1:])
                if member.isdir():
                    if target is not None and relative:
                        _make_folder(target, parts[1:])
                    continue
                if not relative:
                    raise ValueError(f"{archive}: '{member.name}' lies outside a top folder")
                if relative in files:
                    raise ValueError(f"{archive}: '{relative}' is in it twice")
                size += member.size
                source = tar.extractfile(member)
                assert source, "what is neither a file nor a folder was refused above"
                if relative == _MANIFEST:
                    if member.size > _MANIFEST_LIMIT:
                        raise ValueError(f"{archive}: its manifest is unreasonably large")
                    manifest = source.read()
                    files[relative] = hashlib.sha256(manifest).hexdigest()
                    if target is not None:
                        _write(target, parts[1:], [manifest])
                    continue
                files[relative] = _copy(source, target, parts[1:])
            # The sum of the whole stream stands at its end, behind where the tar's members stop.
            while tar.fileobj.read(1 << 20):
                pass
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise ValueError(f"{archive}: damaged, or no .tar.gz archive at all ({error})") from error
    except OSError as error:
        # gzip reports its own damage as an OSError without an errno.
        if error.errno is None:
            raise ValueError(f"{archive}: damaged archive ({error})") from error
        raise
    if manifest is None:
        raise ValueError(f"{archive}: there is no {_MANIFEST} in it, so it is no release")
    checked = _check_manifest(archive, manifest)
    if top != f"{checked['name']}-{checked['version']}":
        raise ValueError(
            f"{archive}: its manifest says {checked['name']} {checked['version']},"
            f" its folder is '{top}'"
        )
    _compare(archive, checked["files"], files)
    return {"manifest": checked, "size": size}


def _safe_parts(archive: pathlib.Path, member: tarfile.TarInfo) -> list[str]:
    name = member.name
    parts = name.split("/")
    if member.isdir() and parts[-1] == "":
        parts.pop()
    if (
        not parts
        or any(part in ("", ".", "..") for part in parts)
        or "\\" in name
        or not name.isprintable()
    ):
        raise ValueError(f"{archive}: refusing the path {name!r} in it")
    if not (member.isreg() or member.isdir()):
        raise ValueError(
            f"{archive}: '{name}' is a link or a device; a release has files and folders only"
        )
    return parts


def _make_folder(target: pathlib.Path, parts: list[str]) -> None:
    folder = target
    for part in parts:
        folder = folder / part
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)


def _write(target: pathlib.Path, parts: list[str], blocks: Iterable[bytes]) -> None:
    _make_folder(target, parts[:-1])
    path = target.joinpath(*parts)
    with path.open("xb") as stream:
        os.fchmod(stream.fileno(), 0o644)
        for block in blocks:
            stream.write(block)


def _copy(source: IO[bytes], target: pathlib.Path | None, parts: list[str]) -> str:
    hashed = hashlib.sha256()

    def blocks() -> Iterator[bytes]:
        while block := source.read(_BLOCK):
            hashed.update(block)
            yield block

    if target is None:
        for _ in blocks():
            pass
    else:
        _write(target, parts, blocks())
    return hashed.hexdigest()


def _check_manifest(archive: pathlib.Path, raw: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(raw)
    except ValueError as error:
        raise ValueError(f"{archive}: {_MANIFEST} is no JSON: {error}") from error

    def wrong(what: str) -> ValueError:
        return ValueError(f"{archive}: {_MANIFEST} {what}")

    if not isinstance(manifest, dict):
        raise wrong("is no object")
    if not isinstance(manifest.get("name"), str) or not _NAME.match(manifest["name"]):
        raise wrong("has no usable 'name'")
    try:
        check_version(manifest.get("version"))
    except ValueError as error:
        raise wrong(f"has no usable 'version': {error}") from error
    if not isinstance(manifest.get("commit"), str):
        raise wrong("has no 'commit'")
    pythons = manifest.get("pythons")
    if (
        not isinstance(pythons, list)
        or not pythons
        or not all(isinstance(python, str) and _PYTHON.match(python) for python in pythons)
    ):
        raise wrong("names no Pythons ('pythons': [\"3.11\", …])")
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(
        isinstance(digest, str) and _SHA256.match(digest) for digest in files.values()
    ):
        raise wrong("has no 'files' with a SHA-256 each")
    if "requirements.txt" not in files:
        raise wrong("lists no requirements.txt")
    return manifest


def _compare(archive: pathlib.Path, wanted: dict[str, str], found: dict[str, str]) -> None:
    present = {path: digest for path, digest in found.items() if path != _MANIFEST}
    for problem, paths in (
        ("lacks files that its manifest lists", wanted.keys() - present.keys()),
        ("has files that its manifest does not list", present.keys() - wanted.keys()),
        (
            "has files that are not what its manifest says",
            {path for path in wanted.keys() & present.keys() if wanted[path] != present[path]},
        ),
    ):
        if paths:
            shown = ", ".join(sorted(paths)[:3])
            more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
            raise ValueError(f"{archive} {problem}: {shown}{more}")


def require_space(path: str | pathlib.Path, needed: int) -> None:
    """
    Raise ``OSError`` (ENOSPC) unless so many bytes are free where a path lies.

    path
        An existing file or folder.
    needed
        Bytes.
    """
    status = os.statvfs(path)
    free = status.f_bavail * status.f_frsize
    if free < needed:
        raise OSError(
            errno.ENOSPC,
            f"not enough disk space: {needed // 2**20 + 1} MiB needed,"
            f" {free // 2**20} MiB free; remove old releases",
            str(path),
        )
