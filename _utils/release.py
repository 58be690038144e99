"""
Read a release archive of counterapp, trusting nothing in it.

An archive ``counterapp-<version>.tar.gz`` has one top folder ``counterapp-<version>/`` with
``manifest.json``, ``requirements.txt``, ``wheels/`` and ``static/``. The manifest names every
other file with its SHA-256, so an archive is good when its files are exactly those and hash to
exactly that. A file ``<archive>.sha256`` beside it, when there is one, must hold the archive's
own hash.

The web nodes install with this and the master publishes with it: what one refuses the other does
too. Salt's loader hands out functions only, so errors are Python's own: ``ValueError`` for an
archive that is not acceptable, ``OSError`` for one that cannot be read or unpacked.
"""

import errno
import hashlib
import json
import os
import pathlib
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any

__virtualname__ = "release"

#: Also a folder name and part of a URL, hence no slash, no leading dot or dash.
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,63}\Z")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}\Z")
_PYTHON = re.compile(r"3\.[0-9]{1,2}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_MANIFEST = "manifest.json"
_MANIFEST_LIMIT = 4 * 1024 * 1024
_BLOCK = 1024 * 1024


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


def inspect(archive: str | pathlib.Path) -> dict[str, Any]:
    """
    Verify an archive without unpacking it.

    archive
        Path of the ``.tar.gz``.

    Returns ``{"manifest": <dict>, "sha256": <of the archive>, "size": <bytes when unpacked>}``.

    Raises ``ValueError`` naming what is wrong with it, ``OSError`` when it cannot be read.
    """
    return _walk(pathlib.Path(archive), None)


def unpack(archive: str | pathlib.Path, target: str | pathlib.Path) -> dict[str, Any]:
    """
    Verify an archive while unpacking its top folder's content into an existing empty folder.

    Files get mode 0644 and folders 0755 whatever the archive says. On an error the folder holds
    an unspecified part of the files.

    archive
        Path of the ``.tar.gz``.
    target
        The folder.

    Returns what :py:func:`inspect` returns.

    Raises ``ValueError`` naming what is wrong with it, ``OSError`` when it cannot be read or
    written.
    """
    return _walk(pathlib.Path(archive), pathlib.Path(target))


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


def _walk(archive: pathlib.Path, target: pathlib.Path | None) -> dict[str, Any]:
    digest = _check_sidecar(archive)
    files, manifest, top, size = {}, None, None, 0
    try:
        with tarfile.open(archive, "r:gz") as tar:
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
                content = tar.extractfile(member)
                assert content, "what is neither a file nor a folder was refused above"
                if relative == _MANIFEST:
                    if member.size > _MANIFEST_LIMIT:
                        raise ValueError(f"{archive}: its manifest is unreasonably large")
                    manifest = content.read()
                    files[relative] = hashlib.sha256(manifest).hexdigest()
                    if target is not None:
                        _write(target, parts[1:], [manifest])
                    continue
                files[relative] = _copy(content, target, parts[1:])
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
    return {"manifest": checked, "sha256": digest, "size": size}


def _check_sidecar(archive: pathlib.Path) -> str:
    try:
        with archive.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise OSError(
            error.errno, f"the release archive cannot be read: {error.strerror}", str(archive)
        ) from error
    sidecar = archive.with_name(archive.name + ".sha256")
    try:
        words = sidecar.read_text(encoding="utf-8", errors="replace").split()
    except FileNotFoundError:
        return digest
    if not words or not _SHA256.match(words[0].lower()):
        raise ValueError(f"{sidecar} holds no SHA-256: publish the release again")
    if words[0].lower() != digest:
        raise ValueError(
            f"{archive} is not what {sidecar.name} says: expected {words[0].lower()},"
            f" it is {digest}; copy or publish the release again"
        )
    return digest


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
    digest = hashlib.sha256()

    def blocks() -> Iterator[bytes]:
        while block := source.read(_BLOCK):
            digest.update(block)
            yield block

    if target is None:
        for _ in blocks():
            pass
    else:
        _write(target, parts, blocks())
    return digest.hexdigest()


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
