#!/usr/bin/env python3
"""Build a release of the app: one archive that installs offline on every platform we know.

    python app/build_release.py --version 1.4.0 --out build/dist

makes ``counterapp-1.4.0.tar.gz``: all wheels for every Python of the topology, checked against the
hashes in ``app/backend/requirements.txt``, the built front end, and a manifest that has the SHA-256
of every other file. The same commit of ``app/`` gives the same bytes. Downloads are kept in
``build/cache/wheels``, so only the first build needs the network.
"""

import argparse
import contextlib
import fcntl
import gzip
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence

ROOT = pathlib.Path(__file__).resolve().parents[1]
BACKEND = ROOT / "app" / "backend"
FRONTEND = ROOT / "app" / "frontend"
TOPOLOGY = ROOT / "pillar" / "topology.sls"
CACHE = ROOT / "build" / "cache"

# What the nodes' C libraries can load: all our platforms have glibc 2.28 or later.
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
NODE_AT_LEAST = (20, 19)
HEARTBEAT = 10

# PEP 440 in its canonical spelling, without epoch. Any other spelling would be changed by pip, and
# the nodes would report another release than the archive is named after.
VERSION = re.compile(
    r"(0|[1-9]\d*)(\.(0|[1-9]\d*))*((a|b|rc)(0|[1-9]\d*))?"
    r"(\.post(0|[1-9]\d*))?(\.dev(0|[1-9]\d*))?(\+[a-z0-9]+(\.[a-z0-9]+)*)?",
    re.ASCII,
)


class ReleaseError(Exception):
    """The release cannot be built; the message says why and what to do."""


def say(line: str) -> None:
    print(line, flush=True)


def run(command: Sequence[str | pathlib.Path], **options: object) -> None:
    """Run a command, quiet but for a line every ``HEARTBEAT`` seconds.

    :raises ReleaseError: it cannot be started or fails; carries the end of what it printed.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        started = time.monotonic()
        try:
            process = subprocess.Popen(  # type: ignore[call-overload]
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Wheels record modes; they must not depend on who builds.
                umask=0o022,
                **options,
            )
        except OSError as error:
            raise ReleaseError(f"cannot run {command[0]}: {error.strerror}") from error
        while True:
            try:
                code = process.wait(HEARTBEAT)
                break
            except subprocess.TimeoutExpired:
                seconds = time.monotonic() - started
                say(f"      … {pathlib.Path(command[0]).name} is working ({seconds:.0f} s)")
            except BaseException:
                process.kill()
                process.wait()
                raise
        if code != 0:
            output.seek(0)
            shown = " ".join(str(part) for part in command)
            raise ReleaseError(f"{shown}\nfailed with {code}:\n{output.read()[-4000:].strip()}")


def pip(*arguments: str | pathlib.Path, **environ: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    run(command, env={**os.environ, **environ})


def git(*arguments: str) -> str:
    """Return what git prints, stripped; empty where this is no checkout or git is missing."""
    with contextlib.suppress(OSError):
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""
    return ""


def source_identity() -> tuple[str, int]:
    """Return the commit that last changed ``app/``, and its time in seconds since 1970.

    The commit ends in ``-dirty`` when ``app/`` has changes that are not committed. The variable
    ``SOURCE_DATE_EPOCH`` overrides the time.
    """
    commit, _, stamp = git("log", "-1", "--format=%H %ct", "--", "app").partition(" ")
    stamp = os.environ.get("SOURCE_DATE_EPOCH") or stamp
    if not re.fullmatch("[0-9]{1,11}", stamp):
        raise ReleaseError(
            "no commit to take the time of the release from: build from a git checkout,"
            " or set SOURCE_DATE_EPOCH to seconds since 1970"
        )
    if commit and git("status", "--porcelain", "--", "app"):
        commit += "-dirty"
    return commit or "unknown", int(stamp)


def topology_pythons(path: pathlib.Path = TOPOLOGY) -> list[str]:
    """Return the Python versions of all platforms in the topology.

    :raises ReleaseError: PyYAML or the file is missing, or a platform names no Python.
    """
    try:
        import yaml
    except ImportError as error:
        raise ReleaseError(
            "PyYAML is missing: run this with .venv/bin/python, or give --python"
        ) from error
    try:
        platforms = yaml.safe_load(path.read_text())["platforms"]
        return [str(platform["python"]) for platform in platforms.values()]
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ReleaseError(
            f"{path} does not say which Pythons to build for"
            f" (platforms: <name>: python: ...): {error!r}"
        ) from error


def checked_pythons(asked: Sequence[str]) -> list[str]:
    for python in asked:
        if not re.fullmatch(r"3\.[1-9]\d?", python):
            raise ReleaseError(f"--python {python}: give a version such as 3.11")
    return sorted(set(asked), key=lambda python: int(python.split(".")[1]))


def collect_wheels(requirements: pathlib.Path, pythons: Sequence[str], into: pathlib.Path) -> None:
    """Put the wheels of ``requirements`` for each Python into ``into``, from the cache if it can.

    :raises ReleaseError: a package has no wheel for one of them, or not the locked hash.
    """
    if re.search(r";.*python_(full_)?version", requirements.read_text()):
        # pip judges these markers by the Python that runs it, not by the one it downloads for.
        raise ReleaseError(f"{requirements} has requirements for some Pythons only: not supported")
    wheels = CACHE / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    for python in pythons:
        request = ["download", "--quiet", "--only-binary=:all:"]
        request += ["--python-version", python, "--implementation", "cp"]
        request += [part for platform in PLATFORMS for part in ("--platform", platform)]
        request += ["--require-hashes", "--requirement", str(requirements)]
        offline = [*request, "--no-index", "--find-links", str(wheels), "--dest", str(into)]
        try:
            pip(*offline)
            say(f"      Python {python}: from {wheels.relative_to(ROOT)}")
        except ReleaseError:
            say(f"      Python {python}: downloading")
            pip(*request, "--dest", str(wheels))
            pip(*offline)


def build_backend(version: str, stamp: int, into: pathlib.Path) -> pathlib.Path:
    """Build the back end's wheel with ``version`` into ``into`` and return its path."""
    with tempfile.TemporaryDirectory(prefix="counterapp-backend-") as folder:
        source = pathlib.Path(folder, "source")
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "*.pyc")
        shutil.copytree(BACKEND, source, ignore=ignored)
        # The modes of a clone depend on the umask, and end up in the wheel.
        for path in source.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        project = source / "pyproject.toml"
        text, changed = re.subn(
            r'(?m)^version = ".*"$', f'version = "{version}"', project.read_text()
        )
        if changed != 1:
            raise ReleaseError(f'{BACKEND / "pyproject.toml"} must have one line: version = "…"')
        project.write_text(text)
        tools = pathlib.Path(folder, "tools")
        running = f"{sys.version_info.major}.{sys.version_info.minor}"
        collect_wheels(BACKEND / "build-requirements.txt", [running], tools)
        command = ["wheel", "--quiet", "--no-deps", "--no-index", "--find-links", str(tools)]
        pip(*command, "--wheel-dir", into, source, SOURCE_DATE_EPOCH=str(stamp))
    [wheel] = into.glob("counterapp-*.whl")
    return wheel


def build_frontend(into: pathlib.Path, afresh: bool = False) -> None:
    """Build the front end into ``into``, with exactly the packages of its lock.

    What was built from the same files before is taken from ``build/cache/frontend``.

    :param afresh: do not take it from there.
    """
    npm = require_node()
    lock = hashlib.sha256((FRONTEND / "package-lock.json").read_bytes()).hexdigest()
    installed = FRONTEND / "node_modules" / ".counterapp-lock"
    if not installed.exists() or installed.read_text() != lock:
        say("      npm ci")
        run([npm, "ci", "--no-audit", "--no-fund"], cwd=FRONTEND)
        installed.write_text(lock)
    kept = CACHE / "frontend" / frontend_digest()
    if kept.is_dir() and not afresh:
        say(f"      from {kept.parent.relative_to(ROOT)}")
    else:
        shutil.rmtree(kept.parent, ignore_errors=True)
        partial = kept.with_name(".partial")
        run([npm, "run", "build", "--", "--outDir", partial, "--emptyOutDir"], cwd=FRONTEND)
        if not (partial / "index.html").is_file():
            raise ReleaseError("the front end's build made no index.html")
        partial.rename(kept)
    shutil.copytree(kept, into)


def frontend_digest() -> str:
    """Return a digest of everything that the front end is built from."""
    digest = hashlib.sha256()
    for top in sorted(FRONTEND.iterdir()):
        if top.name not in ("node_modules", "test"):
            for path in [top] if top.is_file() else sorted(top.rglob("*")):
                if path.is_file():
                    digest.update(f"{path.relative_to(FRONTEND)} {sha256(path)}\n".encode())
    return digest.hexdigest()


def require_node() -> str:
    """Return npm's path; ``ReleaseError`` when it or a new enough Node is missing."""
    wanted = ".".join(str(part) for part in NODE_AT_LEAST)
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise ReleaseError(f"the front end needs Node.js {wanted} or later with npm on PATH")
    shown = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.(\d+)", shown)
    if found is None or (int(found[1]), int(found[2])) < NODE_AT_LEAST:
        raise ReleaseError(
            f"the front end needs Node.js {wanted} or later; {node} is {shown.strip() or 'broken'}"
        )
    return npm


def sha256(path: pathlib.Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_requirements(wheel: pathlib.Path, version: str, into: pathlib.Path) -> None:
    """Write the locked requirements plus the back end's own wheel, pinned by its hash."""
    own = f"counterapp=={version} \\\n    --hash=sha256:{sha256(wheel)}\n"
    into.write_text((BACKEND / "requirements.txt").read_text() + own)


def write_manifest(stage: pathlib.Path, version: str, commit: str, pythons: list[str]) -> None:
    files = sorted(path for path in stage.rglob("*") if path.is_file())
    manifest = {
        "name": "counterapp",
        "version": version,
        "commit": commit,
        "pythons": pythons,
        "files": {path.relative_to(stage).as_posix(): sha256(path) for path in files},
    }
    (stage / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


def pack(stage: pathlib.Path, stamp: int, archive: pathlib.Path) -> None:
    """Pack folder ``stage`` so that the same files give the same bytes."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        entry.mtime = stamp
        entry.mode = 0o755 if entry.isdir() else 0o644
        return entry

    with (
        archive.open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for path in [stage, *sorted(stage.rglob("*"))]:
            name = path.relative_to(stage.parent).as_posix()
            tar.add(path, arcname=name, recursive=False, filter=plain)


def put_in_place(built: pathlib.Path, out: pathlib.Path) -> bool:
    """Move the archive ``built`` into ``out``; False if it was there already.

    :raises ReleaseError: ``out`` has other content under the same name; nothing is changed then.
    """
    target = out / built.name
    fresh = not target.exists()
    if not fresh and sha256(target) != sha256(built):
        raise ReleaseError(
            f"{target} exists with other content, and a release never changes:"
            " choose another version, or remove that file if it was never rolled out"
        )
    if fresh:
        partial = out / f".{built.name}.partial"
        shutil.move(built, partial)
        partial.rename(target)
    return fresh


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".release.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another build in this checkout to end")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def build(
    version: str, out: pathlib.Path, pythons: Sequence[str] = (), afresh: bool = False
) -> pathlib.Path:
    """Build release ``version`` into folder ``out`` and return the archive's path.

    :param pythons: such as ``["3.11", "3.13"]``; those of the topology when empty.
    :param afresh: build the front end also when one was built from the same files before.
    :raises ReleaseError: bad arguments, a step failed, or the release exists with other content.
        ``out`` is then as it was.
    """
    if not VERSION.fullmatch(version):
        raise ReleaseError(
            f"{version!r} is not a version in PEP 440's canonical form: write 1.4.0, or 1.4.0rc1"
        )
    for_pythons = checked_pythons(pythons or topology_pythons())
    commit, stamp = source_identity()
    name = f"counterapp-{version}"
    with one_at_a_time(), tempfile.TemporaryDirectory(prefix="counterapp-release-") as folder:
        stage = pathlib.Path(folder, name)
        wheels = stage / "wheels"
        wheels.mkdir(parents=True)
        say(f"[1/5] wheels for Python {', '.join(for_pythons)}")
        collect_wheels(BACKEND / "requirements.txt", for_pythons, wheels)
        say(f"[2/5] back end {version} of commit {commit[:12]}{commit[40:]}")
        wheel = build_backend(version, stamp, wheels)
        write_requirements(wheel, version, stage / "requirements.txt")
        say("[3/5] front end")
        build_frontend(stage / "static", afresh)
        say("[4/5] manifest and archive")
        write_manifest(stage, version, commit, for_pythons)
        built = pathlib.Path(folder, f"{name}.tar.gz")
        pack(stage, stamp, built)
        size = built.stat().st_size / 1e6
        out.mkdir(parents=True, exist_ok=True)
        fresh = put_in_place(built, out)
    archive = out / f"{name}.tar.gz"
    say(f"[5/5] {archive}: {size:.1f} MB, {'new' if fresh else 'was there with the same content'}")
    return archive


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Build a release archive of counterapp.")
    parser.add_argument("--version", required=True, help="PEP 440 version, e.g. 1.4.0")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / "dist")
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="X.Y",
        help="a Python to collect wheels for; repeatable (default: those of the topology)",
    )
    parser.add_argument(
        "--afresh",
        action="store_true",
        help="build the front end anew, though one was built from the same files before",
    )
    given = parser.parse_args(arguments)
    try:
        build(given.version, given.out, given.python, given.afresh)
    except ReleaseError as error:
        print(f"build_release: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"build_release: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
