"""Runs the tests in lanes that go on at the same time, and tells in a table how each one ended.

    python -m tests.lanes                 # all lanes
    python -m tests.lanes unit system     # some
    python -m tests.lanes system -- -k undo

What a lane printed is shown when it has ended (at once, when it is the only one) and kept in
``build/test-logs/LANE.log``; its slowest tests are in ``build/test-times/LANE.txt``. Below the
table each failed test has a line with its reason.

When all lanes run and a few tests fail, they run once more, alone. Those that pass then are told as
unsteady, with the reason for which they failed beside the others, and do not fail the run: a fault
of theirs is still to be found.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / "build" / "test-logs"
TIMES = ROOT / "build" / "test-times"
# A lane that says nothing for so long would be taken for dead.
HEARTBEAT_SECONDS = 60.0
# Longer than any lane ever took; CI itself ends everything after 90 minutes.
LIMIT_SECONDS = 75 * 60.0
# By how much the others slow a test that waits, at the worst; see tests/support/waiting.py.
PATIENCE = "4"
# For the fixtures of a lane that was told to stop: they remove nodes.
GOODBYE_SECONDS = 60.0
SLOWEST = 40
# More of them are no accident.
UNSTEADY_AT_MOST = 3
AGAIN = "-again"
# Characters of a failure's reason below the table.
REASON_LENGTH = 300
# Where Linux has the processors' controller, of version 1 and 2: a quarter of the usual weight.
# Niceness would do nothing between lanes: each is a session, and Linux gives all sessions alike.
CONTROLLERS = {
    Path("/sys/fs/cgroup/cpu"): {"cpu.shares": "256"},
    Path("/sys/fs/cgroup"): {"cpu.weight": "25"},
}
GROUP = "counterapp-tests"


@dataclass(frozen=True)
class Lane:
    """Tests that run one after the other in a process of their own.

    :param proves: what a failure here means, for ``--list`` and docs/testing.md.
    :param after: the lane that has to end first, however it ends.
    :param computes: it stands back for what runs in nodes.
    """

    name: str
    proves: str
    command: tuple[str, ...]
    after: str | None = None
    computes: bool = False

    @property
    def report(self) -> Path:
        return TIMES / f"{self.name}.xml"

    @property
    def log(self) -> Path:
        return LOGS / f"{self.name}.log"

    def words(self, more: Sequence[str]) -> list[str]:
        """Return the command with its report; ``more`` goes to the test runner."""
        if self.command[0] == "pytest":
            options = [f"--durations={SLOWEST}", "--durations-min=0.1", f"--junitxml={self.report}"]
            # What failed is kept lane by lane.
            options += ["-o", f"cache_dir={TIMES / 'failed' / self.name.removesuffix(AGAIN)}"]
            return [sys.executable, "-m", *self.command, *options, *more]
        return [str(ROOT / self.command[0]), *self.command[1:], *more]

    def again(self) -> Lane:
        """Return the lane of what failed in this one."""
        once_more = ("--last-failed", "--last-failed-no-failures=none")
        return dataclasses.replace(
            self, name=self.name + AGAIN, command=(*self.command, *once_more), computes=False
        )


APP = "tests/functional/app"
GLUSTER = "tests/functional/gluster"
CLASSIC = "tests/system/test_classic.py"

# The system lane takes longest, so it and the gluster lanes, which wait more than they compute,
# begin at once. The others follow each other beside them, with a quarter of what the nodes have
# when both want the processors. There are four at a time, for more would be too slow for their
# tests, and three until the end, for one or two leave the processors idle.
LANES = (
    Lane("lint", "the code's form and types, every SLS and script", ("tests/lint",), computes=True),
    Lane(
        "unit",
        "each function by itself, each SLS rendered, each document: no daemon runs",
        ("pytest", "tests/unit"),
        after="lint",
        computes=True,
    ),
    Lane(
        "frontend",
        "the page's parts in jsdom",
        ("tests/frontend", "test"),
        after="unit",
        computes=True,
    ),
    Lane(
        "app",
        "the app and its page with real mongod, gunicorn and Chromium",
        ("pytest", APP),
        after="frontend",
        computes=True,
    ),
    Lane(
        "gluster-11",
        "the gluster modules and states on three nodes with glusterfs 11: all of them",
        ("pytest", GLUSTER, "-m", "debian13"),
    ),
    Lane(
        "gluster-10",
        "the same with glusterfs 10: what may differ between the two",
        ("pytest", GLUSTER, "-m", "debian12"),
    ),
    Lane(
        "system",
        "the whole cluster: rollout, loss, undo, day two",
        ("pytest", "tests/system", f"--ignore={CLASSIC}"),
    ),
    Lane(
        "integration",
        "runners, orchestration, pillar and keys with a real master and minions",
        ("pytest", "tests/integration"),
        after="gluster-11",
        computes=True,
    ),
    Lane(
        "classic",
        "the small topology: the same states on fewer nodes",
        ("pytest", CLASSIC),
        after="gluster-10",
    ),
    Lane(
        "functional",
        "modules, states and the lab with real mongod, HAProxy and gunicorn",
        ("pytest", "tests/functional", f"--ignore={APP}", f"--ignore={GLUSTER}"),
        after="classic",
        computes=True,
    ),
)


@dataclass
class Run:
    """A lane that runs or has ended."""

    lane: Lane
    process: subprocess.Popen[str] | None = None
    code: int | None = None
    begun: float = 0.0
    seconds: float = 0.0
    percent: str = ""
    unsteady: bool = False
    done: threading.Event = field(default_factory=threading.Event)

    def follow(self, more: Sequence[str], aloud: bool) -> None:
        """Run the lane to its end, and keep what it prints."""
        LOGS.mkdir(parents=True, exist_ok=True)
        TIMES.mkdir(parents=True, exist_ok=True)
        self.lane.report.unlink(missing_ok=True)
        self.begun = time.monotonic()
        environment = {**os.environ, "JUNIT_FILE": str(self.lane.report), "NO_COLOR": "1"}
        if not aloud:
            environment["TEST_PATIENCE"] = PATIENCE
        try:
            with (
                self.lane.log.open("w") as log,
                subprocess.Popen(
                    self.lane.words(more),
                    cwd=ROOT,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    start_new_session=True,
                ) as self.process,
            ):
                assert self.process.stdout is not None
                if self.lane.computes:
                    stand_back(self.process.pid)
                for line in self.process.stdout:
                    log.write(line)
                    log.flush()
                    if aloud:
                        print(line, end="", flush=True)
                    if found := re.search(r"\[ *(\d+%)\]$", line.rstrip()):
                        self.percent = found[1]
            self.code = self.process.returncode
        finally:
            self.seconds = time.monotonic() - self.begun
            self.done.set()

    def end(self, number: signal.Signals) -> None:
        """Send a signal to everything the lane runs on this machine."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def figures(self) -> tuple[str, str]:
        """Return how many tests ran and how many of them failed; dashes for what has no tests."""
        suites = self._suites()
        if not suites:
            return "-", "-"
        tests = sum(int(suite.get("tests", 0)) - int(suite.get("skipped", 0)) for suite in suites)
        failed = sum(
            int(suite.get("failures", 0)) + int(suite.get("errors", 0)) for suite in suites
        )
        return str(tests), str(failed)

    def failures(self) -> list[str]:
        """Return each failed test with its reason, a line each."""
        return [
            f"{case.get('classname')}::{case.get('name')}: {_in_a_line(reason)}"
            for suite in self._suites()
            for case in suite.iter("testcase")
            for reason in case
            if reason.tag in ("failure", "error")
        ]

    def _suites(self) -> list[ElementTree.Element]:
        try:
            return list(ElementTree.parse(self.lane.report).getroot().iter("testsuite"))
        except (OSError, ElementTree.ParseError):
            return []

    def write_times(self) -> None:
        """Keep the slowest tests of a lane that pytest ran, as pytest lists them."""
        text = self.lane.log.read_text()
        if found := re.search(r"=+ slowest \d+ durations =+\n.*?(?=\n=|\Z)", text, re.DOTALL):
            (TIMES / f"{self.lane.name}.txt").write_text(found[0] + "\n")


def stand_back(process: int) -> None:
    """Have a process, with all that it starts, leave more of the processors to the nodes.

    Where the machine has no such controller, or not for us, it competes as any other.
    """
    for root, weights in CONTROLLERS.items():
        folder = root / GROUP
        try:
            folder.mkdir(exist_ok=True)
            for name, weight in weights.items():
                (folder / name).write_text(weight)
            (folder / "cgroup.procs").write_text(str(process))
        except OSError:
            continue
        return


def minutes(seconds: float) -> str:
    """Return a duration as minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def table(runs: Sequence[Run], whole: float) -> str:
    """Return the lanes with their tests, failures and minutes, a row each."""
    rows = [("LANE", "TESTS", "FAILED", "MINUTES", "")]
    for run in runs:
        word = "passed" if run.code == 0 else f"FAILED ({run.code}), see {_shown(run.lane.log)}"
        if run.unsteady:
            word = f"UNSTEADY, what failed passed alone; see {_shown(run.lane.log)}"
        tests, failed = run.figures()
        rows.append((run.lane.name, tests, failed, minutes(run.seconds), word))
    counted = [run.figures() for run in runs if run.figures()[0] != "-"]
    tests, failed = (str(sum(int(each[column]) for each in counted)) for column in (0, 1))
    rows.append(("all", tests, failed, minutes(whole), ""))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join(
            (row[0].ljust(widths[0]), *(row[n].rjust(widths[n]) for n in (1, 2, 3)), row[4])
        ).rstrip()
        for row in rows
    )


def reasons(runs: Sequence[Run]) -> str:
    """Return each failed test with its lane and its reason, a line each; a lane without by itself.

    Whoever sees but the last lines of a run can tell from them what failed, and why.
    """
    lines = []
    for run in runs:
        if found := run.failures():
            name = f"{run.lane.name}, unsteady" if run.unsteady else run.lane.name
            lines += [f"{name}: {failure}" for failure in found]
        elif run.code != 0:
            last = run.lane.log.read_text().split()[-100:] if run.lane.log.exists() else []
            lines.append(
                f"{run.lane.name}: no test is known to have failed: {_cut(' '.join(last))}"
            )
    return "\n".join(lines)


def _in_a_line(reason: ElementTree.Element) -> str:
    """Return why a test failed: the last error of its report, of which the message is a part."""
    last = re.split(r"^(?:During handling of|The above exception)", reason.text or "", flags=re.M)[
        -1
    ]
    words = re.findall(r"^E +(.*)$", last, re.M) or [reason.get("message") or last or "no word"]
    return _cut(" ".join(" ".join(words).split()))


def _cut(text: str) -> str:
    """Return a text's beginning, and its end, where an error's own words are."""
    half = REASON_LENGTH // 2
    return text if len(text) <= REASON_LENGTH else f"{text[:half]} … {text[-half:]}"


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def run(lanes: Sequence[Lane], more: Sequence[str] = (), again: bool = False) -> int:
    """Run the lanes, each when the one that it comes after has ended; returns the exit code.

    :param again: whether a few tests that failed run once more, alone.
    """
    runs = {lane.name: Run(lane) for lane in lanes}
    alone = len(runs) == 1
    began = time.monotonic()
    printing = threading.Lock()

    def one(each: Run) -> None:
        # Of a part of the lanes, one may be missing that another comes after.
        if each.lane.after in runs:
            runs[each.lane.after].done.wait()
        each.follow(more, aloud=alone)
        each.write_times()
        if not alone:
            with printing:
                print(f"\n=== {each.lane.name}, {minutes(each.seconds)} ===", flush=True)
                print(each.lane.log.read_text(), flush=True)

    threads = [threading.Thread(target=one, args=(each,)) for each in runs.values()]
    for thread in threads:
        thread.start()
    try:
        _watch(threads, list(runs.values()), began, printing, silent=alone)
        if again:
            _try_again(runs)
    except KeyboardInterrupt:
        for each in runs.values():
            each.end(signal.SIGINT)
        _join(threads, GOODBYE_SECONDS)
    finally:
        for each in runs.values():
            each.end(signal.SIGKILL)
    _join(threads, GOODBYE_SECONDS)
    print(f"\n{table(list(runs.values()), time.monotonic() - began)}", flush=True)
    if why := reasons(list(runs.values())):
        print(f"\n{why}", flush=True)
    return 0 if all(each.code == 0 or each.unsteady for each in runs.values()) else 1


def _try_again(runs: dict[str, Run]) -> None:
    """Run once more, alone, the few tests that failed; a lane of theirs that passes is unsteady."""
    failed = [each for each in runs.values() if each.code != 0]
    known = [each.failures() for each in failed]
    if not all(known) or sum(map(len, known)) > UNSTEADY_AT_MOST:
        return
    for each in failed:
        once_more = runs[each.lane.name + AGAIN] = Run(each.lane.again())
        print(f"\n=== {once_more.lane.name} ===", flush=True)
        thread = threading.Thread(target=once_more.follow, args=((), True))
        thread.start()
        _join([thread], LIMIT_SECONDS)
        each.unsteady = once_more.code == 0


def _watch(
    threads: Sequence[threading.Thread],
    runs: Sequence[Run],
    began: float,
    printing: threading.Lock,
    silent: bool,
) -> None:
    """Wait for the lanes' ends and say meanwhile how far each is."""
    told, worked = began, _processors()
    while any(thread.is_alive() for thread in threads):
        _join(threads, 1.0)
        now = time.monotonic()
        for each in runs:
            if each.process and not each.done.is_set() and now - each.begun > LIMIT_SECONDS:
                print(f"{each.lane.name}: not done in {minutes(LIMIT_SECONDS)}, killed", flush=True)
                each.end(signal.SIGKILL)
        if not silent and now - told >= HEARTBEAT_SECONDS:
            told, before, worked = now, worked, _processors()
            busy, whole = (later - earlier for earlier, later in zip(before, worked, strict=True))
            running = [r for r in runs if r.process and not r.done.is_set()]
            told_of = ", ".join(f"{r.lane.name} {r.percent}".strip() for r in running)
            line = f"{minutes(now - began)}  processors {busy / whole:.0%}, running: {told_of}"
            with printing:
                print(line, flush=True)


def _processors() -> tuple[int, int]:
    """Return for how long the processors have worked since the boot, and for how long they could.

    Where they idle, more lanes may go on at once; where they do not, only less work helps.
    """
    first, _, _ = Path("/proc/stat").read_text().partition("\n")
    # Guests' time is in users' time already.
    ticks = [int(word) for word in first.split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def _join(threads: Sequence[threading.Thread], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def main(arguments: list[str] | None = None) -> int:
    """Run the lanes that are named, or all; returns the exit code."""
    names = [lane.name for lane in LANES]
    parser = argparse.ArgumentParser(prog="python -m tests.lanes", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "lane", nargs="*", help=f"one of {', '.join(names)}; all when none is named"
    )
    parser.add_argument("--list", action="store_true", help="say what the lanes prove")
    given = sys.argv[1:] if arguments is None else arguments
    own, more = given, []
    if "--" in given:
        own, more = given[: given.index("--")], given[given.index("--") + 1 :]
    options = parser.parse_args(own)
    if unknown := [name for name in options.lane if name not in names]:
        parser.error(f"there is no lane {unknown[0]!r}: use some of {', '.join(names)}")
    chosen = [lane for lane in LANES if lane.name in (options.lane or names)]
    if options.list:
        print("\n".join(f"{lane.name.ljust(12)} {lane.proves}" for lane in chosen))
        return 0
    if more and len(chosen) > 1:
        parser.error("options behind '--' are for one lane: name just one")
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    return run(chosen, more, again=not options.lane)


if __name__ == "__main__":
    sys.exit(main())
