"""What Lighthouse says of the page, on a phone and on a desktop.

    bench/page                          # a web node and three mongods of its own, on loopback
    bench/page https://counts.example/  # a service that runs

Each score is the median of some runs, in Chromium as Lighthouse slows it down. One below ``WANTED``
ends with 1. Scores of performance say something only on a machine that has nothing else to do.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from bench.local import loopback
from lab.config import ROOT, LabError
from tests.support.loading import load

build_release = load("app/build_release.py")

TOOL = ROOT / "bench" / "lighthouse"
CHROMIUM = "/usr/bin/chromium"
BIN = Path(sys.executable).parent
"""Where Node.js is as well."""

FORMS = {"phone": [], "desktop": ["--preset=desktop"]}
WANTED = {"performance": 95, "accessibility": 95, "best-practices": 95}


def install() -> None:
    """Install Lighthouse from its lock, unless that was done."""
    lock = hashlib.sha256((TOOL / "package-lock.json").read_bytes()).hexdigest()
    done = TOOL / "node_modules" / ".counterapp-lock"
    if done.exists() and done.read_text() == lock:
        return
    print("installing Lighthouse", flush=True)
    run([str(BIN / "npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"])
    done.write_text(lock)


def run(command: list[str]) -> None:
    """Run a command in the tool's folder; raises :class:`LabError` with what it said."""
    environ = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "CHROME_PATH": CHROMIUM}
    done = subprocess.run(
        command, cwd=TOOL, env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = f"{done.stdout}{done.stderr}"
        raise LabError(f"{command[0]} failed with {done.returncode}:\n{said[-3000:]}")


def scores(url: str, form: str) -> dict[str, int]:
    """Return what one run says, from 0 to 100 a category."""
    with tempfile.TemporaryDirectory(prefix="counterapp-lighthouse-") as folder:
        report = Path(folder, "report.json")
        run(
            [
                str(TOOL / "node_modules" / ".bin" / "lighthouse"),
                url,
                *FORMS[form],
                f"--only-categories={','.join(WANTED)}",
                "--chrome-flags=--headless=new --no-sandbox --disable-gpu",
                "--no-enable-error-reporting",
                "--output=json",
                f"--output-path={report}",
                "--quiet",
            ]
        )
        told = json.loads(report.read_text())
    if error := told.get("runtimeError"):
        raise LabError(f"Lighthouse could not measure {url}: {error['message']}")
    for audit in told["audits"].values():
        if audit["score"] is not None and audit["score"] < 0.9:
            print(f"  {form}: {audit['title']} {audit.get('displayValue', '')}", flush=True)
    return {name: round(100 * told["categories"][name]["score"]) for name in WANTED}


@contextmanager
def served(url: str | None) -> Iterator[str]:
    """Give the address of the page: ``url``, or one of a service made for this."""
    if url is not None:
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="counterapp-page-") as folder:
        static = Path(folder, "static")
        with build_release.one_at_a_time():
            build_release.build_frontend(static)
        with loopback(nodes=1) as place:
            place.stop()
            place.start(COUNTERAPP_STATIC=str(static))
            yield f"{place.endpoints[0].url}/"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("url", nargs="?", help="of the page (default: a service of its own)")
    parser.add_argument("--runs", type=int, default=3, help="for each form (default: 3)")
    given = parser.parse_args()
    short = 0
    try:
        install()
        with served(given.url) as url:
            for form in FORMS:
                found = [scores(url, form) for _ in range(given.runs)]
                for name, wanted in WANTED.items():
                    score = median(each[name] for each in found)
                    short += score < wanted
                    print(f"{form:8} {name:15} {score:5g}   wanted: at least {wanted}", flush=True)
    except (LabError, build_release.ReleaseError) as error:
        print(f"bench/page: {error}", file=sys.stderr)
        return 1
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
