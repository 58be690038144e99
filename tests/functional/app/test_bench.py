"""The benchmarks run and count exactly. How fast anything is, is not for tests to say."""

import json
import os
import subprocess

import pytest

from tests.support.loading import ROOT
from tests.support.waiting import PATIENCE


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a benchmark, which has to say what it found right."""

    def short(name, words, right):
        numbers = tmp_path / "numbers.json"
        ran = subprocess.run(
            [ROOT / "bench" / name, *words, "--json", numbers],
            # Its nodes take it from here.
            env=os.environ
            | {
                "COUNTERAPP_DATABASE_TIMEOUT": str(5 * PATIENCE),
                "COUNTERAPP_HIT_DEADLINE": str(min(8 * PATIENCE, 25)),
            },
            capture_output=True,
            text=True,
            timeout=300 * PATIENCE,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert right in ran.stdout
        found = json.loads(numbers.read_text())
        assert found["wrong"] == []
        (kinds,) = (found[word] for word in ("outcomes", "runs") if word in found)
        assert all(each["acknowledged"] > 0 for them in kinds.values() for each in them)
        return found

    return short


def test_a_short_run_on_loopback_counts_exactly(run):
    # Long enough for an answer to each connection, beside other lanes as well.
    seconds = f"{PATIENCE:.0f}"
    words = ["--local", "--seconds", seconds, "--connections", "32", "--counters", "500"]
    words += ["--soak", "1"]
    found = run("hits", words, "Every counter is what was acknowledged.")
    assert found["ratios"].keys() >= {"combined : once per request", "combined : no database"}
    assert found["memory"].keys() == {"web-1", "web-2"}


def test_a_short_run_of_backups_counts_and_restores_all(run):
    words = ["--counters", "2000", "--rate", "50", "--seconds", "1", "--rounds", "1"]
    found = run("backup", words, "Every hit is counted, and restored.")
    assert {"nothing else", "our backup"} <= found["outcomes"].keys()
    assert found["dumps meanwhile"]["our backup"]
    assert found["dumps"].keys() == found["restores"].keys() >= {"our backup, encrypted"}
    assert found["ratios"].keys() >= {
        "p99 of hits with our backup : without",
        "counters a second, restored",
    }


def test_a_short_run_of_failovers_counts_exactly(run):
    words = ["--local", "--runs", "1", "--clients", "4"]
    found = run("failover", words, "Every acknowledged hit is counted once.")
    assert found["runs"].keys() == {"primary killed", "primary steps down", "web server killed"}


def test_without_its_lab_it_sends_nothing_and_says_why(tmp_path):
    ran = subprocess.run(
        [ROOT / "bench" / "hits"],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LAB": "not-there", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60 * PATIENCE,
        check=False,
    )
    assert ran.returncode == 2
    assert "make up" in ran.stderr
    assert "Traceback" not in ran.stderr
