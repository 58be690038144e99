"""The linters know what Salt's loader puts into our modules, and so see a misspelt name in them."""

import pathlib
import subprocess
import sys

import pytest

from tests.support.loading import ROOT

RUFF = pathlib.Path(sys.executable).with_name("ruff")


@pytest.mark.parametrize("folder", ["_cache", "_modules", "_states", "_utils", "_runners"])
def test_a_misspelt_name_of_the_loader_is_reported_and_no_other(folder):
    source = '__salt__["test.ping"]()\n__slat__["test.ping"]()\n'
    done = subprocess.run(
        [RUFF, "check", "--output-format=concise", f"--stdin-filename={folder}/some.py", "-"],
        input=source,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.stdout.splitlines()[:-1] == [
        f"{folder}/some.py:2:1: F821 Undefined name `__slat__`"
    ], done.stderr
