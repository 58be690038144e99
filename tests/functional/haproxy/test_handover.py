"""Under load, an address that is handed over cuts off nobody; one that just moves does."""

import json
import subprocess
import sys

import pytest

from tests.support.loading import ROOT
from tests.support.waiting import PATIENCE

MOVES = 3


def moving(way):
    """Move an address under load, in namespaces; return what clients saw."""
    ran = subprocess.run(
        [
            # Whatever fails, nothing of it is left.
            *("unshare", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child"),
            *(sys.executable, "-m", "tests.functional.haproxy.moving", way, str(MOVES)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300 * PATIENCE,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def test_no_request_fails_while_the_address_is_handed_over():
    found = moving("handed over")
    assert found["failed"] == []
    # A client that comes at that moment waits for its kernel to send again.
    assert found["longest"] < 15 * PATIENCE


@pytest.mark.parametrize("way", ["moved"])
def test_this_would_be_seen_here(way):
    assert moving(way)["failed"]
