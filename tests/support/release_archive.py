"""Make release archives, good and bad ones, without a network or a build."""

import base64
import hashlib
import importlib.metadata
import io
import json
import pathlib
import tarfile
import zipfile
from collections.abc import Mapping
from typing import Any


def sha256(content: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _wheel_bytes(files: Mapping[str, bytes], record: str) -> bytes:
    rows = []
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, content in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            rows.append(f"{path},sha256={digest.decode()},{len(content)}")
            entry = zipfile.ZipInfo(path)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if ".data/scripts/" in path else 0o100644) << 16
            wheel.writestr(entry, content)
        rows.append(f"{record},,")
        wheel.writestr(record, "\n".join(rows) + "\n")
    return buffer.getvalue()


def wheel(
    name: str, version: str, modules: Mapping[str, str], requires: tuple[str, ...] = ()
) -> tuple[str, bytes]:
    """Return file name and content of a pure Python wheel with these modules (path to source)."""
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    info = f"{name}-{version}.dist-info"
    files = {path: source.encode() for path, source in modules.items()}
    files[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}".encode()
    )
    files[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    return f"{name}-{version}-py3-none-any.whl", _wheel_bytes(files, f"{info}/RECORD")


def installed_wheel(name: str) -> tuple[str, bytes]:
    """Return a pure Python package of the running environment as the wheel that it came from."""
    distribution = importlib.metadata.distribution(name)
    files = {}
    for path in distribution.files or []:
        left_out = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
        # Scripts and bytecode are made at installation.
        if path.parts[0] == ".." or path.suffix == ".pyc" or path.name in left_out:
            continue
        files[str(path)] = pathlib.Path(str(path.locate())).read_bytes()
    info = next(path.split("/")[0] for path in files if ".dist-info/" in path)
    stem = info.removesuffix(".dist-info")
    return f"{stem}-py3-none-any.whl", _wheel_bytes(files, f"{info}/RECORD")


def pack(path: pathlib.Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> pathlib.Path:
    """Write a ``.tar.gz`` of exactly these members."""
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def regular(name: str, content: bytes = b"") -> tuple[tarfile.TarInfo, bytes]:
    """Return a regular member for :func:`pack`."""
    return tarfile.TarInfo(name), content


def archive(
    folder: pathlib.Path,
    version: str,
    files: Mapping[str, bytes] | None = None,
    *,
    pythons: tuple[str, ...] = ("3.11", "3.12", "3.13"),
    commit: str = "0" * 40,
    extra: list[tuple[tarfile.TarInfo, bytes]] | None = None,
    manifest: Mapping[str, object] | None = None,
) -> pathlib.Path:
    """Write ``counterapp-<version>.tar.gz`` into a folder; return its path.

    :param files: content of the archive beside the manifest, path to bytes.
    :param extra: members that the manifest does not list.
    :param manifest: keys of the manifest to set, to make it wrong on purpose.
    """
    files = {"requirements.txt": b"", **(files or {})}
    content: dict[str, object] = {
        "name": "counterapp",
        "version": version,
        "commit": commit,
        "pythons": list(pythons),
        "files": {path: sha256(data) for path, data in files.items()},
        **(manifest or {}),
    }
    top = f"counterapp-{version}"
    members = [regular(f"{top}/manifest.json", json.dumps(content).encode())]
    members += [regular(f"{top}/{path}", data) for path, data in files.items()]
    return pack(folder / f"{top}.tar.gz", members + (extra or []))


def note(path: pathlib.Path) -> dict[str, Any]:
    """Return what is noted of an archive when it is published."""
    content = path.read_bytes()
    return {"sha256": sha256(content), "size": len(content)}


def installable(
    folder: pathlib.Path,
    version: str,
    modules: Mapping[str, str],
    *,
    packages: tuple[str, ...] = (),
    wheel_version: str | None = None,
    requires: tuple[str, ...] = (),
    files: Mapping[str, bytes] | None = None,
    **options: Any,
) -> pathlib.Path:
    """Write an archive that really installs: a ``counterapp`` wheel and its dependencies.

    :param modules: the wheel's modules, path to source.
    :param packages: packages of the running environment to go with it.
    :param wheel_version: version of the wheel when it is not the release's.
    :param requires: what the wheel says that it needs.
    """
    own = ("counterapp", wheel_version or version)
    wheels = {own: wheel(*own, modules, requires)}
    for name in packages:
        wheels[name, importlib.metadata.version(name)] = installed_wheel(name)
    lines = [
        f"{name}=={number} --hash=sha256:{sha256(content)}"
        for (name, number), (_, content) in wheels.items()
    ]
    every = {
        "requirements.txt": ("\n".join(lines) + "\n").encode(),
        "static/index.html": b"<!doctype html><title>counterapp</title>\n",
        **{f"wheels/{name}": content for name, content in wheels.values()},
        **(files or {}),
    }
    return archive(folder, version, every, **options)
