"""Under load nobody is cut off by an address that is handed over, a reload, or a drain.

DRILL_TIMES says how often each is done, other than a few times.
"""

import json
import os
import subprocess
import sys

import pytest

from tests.support.loading import ROOT
from tests.support.waiting import PATIENCE

TIMES = {"handed over": 3, "reloaded": 5, "drained": 4}


def moving(way):
    """Do something under load, in namespaces; return what clients saw."""
    times = int(os.environ.get("DRILL_TIMES", TIMES.get(way, 3)))
    ran = subprocess.run(
        [
            # Whatever fails, nothing of it is left.
            *("unshare", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child"),
            *(sys.executable, "-m", "tests.functional.haproxy.moving", way, str(times)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=(240 + 20 * times) * PATIENCE,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.parametrize("way", TIMES)
def test_no_request_fails(way):
    found = moving(way)
    assert found["failed"] == []
    # A client that comes when the address moves waits for its kernel to send again.
    assert found["longest"] < 15 * PATIENCE


@pytest.mark.parametrize("way", ["moved", "restarted", "cut off"])
def test_what_cuts_off_clients_would_be_seen_here(way):
    assert moving(way)["failed"]
