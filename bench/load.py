"""Load: wrk, told by ``load.lua`` to leave no request unanswered."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.place import Endpoint
from lab.config import LabError

SCRIPT = Path(__file__).with_name("load.lua")
THREADS = 2

DRAIN = 2
"""Seconds in which what was sent last is answered; beyond them it counts as unanswered."""


@dataclass(frozen=True)
class Load:
    """What to send."""

    endpoints: tuple[Endpoint, ...]
    """Each server; connections are shared out evenly."""
    method: str
    path: str
    """May hold one ``%d``, for the number of a counter."""
    seconds: float
    connections: int
    counters: int = 0
    """How many counters take turns."""
    rate: float = 0
    """Requests a second; 0 for as many as are answered."""


@dataclass(frozen=True)
class Outcome:
    """What came of a load."""

    sent: int
    acknowledged: int
    """Answers of 2xx or 3xx."""
    refused: int
    """Answers of 4xx or 5xx."""
    unanswered: int
    """Requests whose connection broke, or whose answer was not there in time."""
    rate: float
    """Acknowledged requests a second."""
    p50: float
    """Median of the time from request to answer, in milliseconds; below the 99th percentile."""
    p99: float
    longest: float


def run(load: Load) -> Outcome:
    """Make a load and return what came of it.

    :raises LabError: wrk is not there, or failed.
    """
    program = shutil.which("wrk")
    if program is None:
        raise LabError("The program wrk is not installed: run 'make host'.")
    connections = max(load.connections, THREADS)
    done = subprocess.run(
        [
            *(program, "--script", str(SCRIPT), "--threads", str(THREADS)),
            *("--connections", str(connections), "--timeout", "60s"),
            *("--duration", f"{math.ceil(load.seconds) + DRAIN}s"),
            load.endpoints[0].url,
        ],
        env=os.environ
        | {
            "LOAD_ADDRESSES": " ".join(endpoint.address for endpoint in load.endpoints),
            "LOAD_METHOD": load.method,
            "LOAD_PATH": load.path,
            "LOAD_COUNTERS": str(load.counters),
            "LOAD_RATE": str(load.rate),
            "LOAD_SECONDS": str(load.seconds),
            "LOAD_THREADS": str(THREADS),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    reports = [line for line in done.stdout.splitlines() if line.startswith("LOAD ")]
    if done.returncode != 0 or len(reports) != 1:
        raise LabError(f"wrk failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    return _outcome(json.loads(reports[0].removeprefix("LOAD ")), load.seconds)


def _outcome(report: dict[str, int], seconds: float) -> Outcome:
    acknowledged = report["answered"] - report["refused"]
    return Outcome(
        sent=report["sent"],
        acknowledged=acknowledged,
        refused=report["refused"],
        unanswered=report["sent"] - report["answered"],
        # The last ones are answered after the time for sending is over.
        rate=acknowledged / (seconds + report["mean_us"] / 1e6),
        p50=report["p50_us"] / 1000,
        p99=report["p99_us"] / 1000,
        longest=report["longest_us"] / 1000,
    )
