"""Programs of npm for tests, fetched once for each state of their lock, which pins all by hash."""

import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

from tests.support.loading import ROOT

NODE = pathlib.Path(sys.executable).parent / "node"
NPM = NODE.with_name("npm")


def environ() -> dict[str, str]:
    """Return an environment in which npm's programs find Node.js."""
    return os.environ | {"PATH": f"{NODE.parent}:{os.environ['PATH']}"}


def modules(lock: pathlib.Path) -> pathlib.Path:
    """Return the folder ``node_modules`` of a ``package-lock.json``, kept in ``build/cache``.

    :raises RuntimeError: npm cannot fetch them.
    """
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    folder = ROOT / "build/cache" / f"{lock.parent.name}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(lock.parent, folder)
            # Nothing of what is fetched may run before its hash was compared, nor at all by itself.
            command = [NPM, "ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"]
            fetched = subprocess.run(
                command, cwd=folder, env=environ(), capture_output=True, text=True, timeout=300
            )
            if fetched.returncode:
                raise RuntimeError(f"npm ci in {folder}: {fetched.stdout}{fetched.stderr}")
            (folder / "complete").touch()
    return folder / "node_modules"
