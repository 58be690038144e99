"""What the nodes of a failed test know of it: saved in a folder, and its errors printed.

A plugin of pytest. Who brings up a lab calls :func:`watch` before, so that a start that fails is
told too, and :func:`forget` before the nodes go. When a test then fails, the logs of all nodes
since it began are in ``build/test-logs/<test>``, and a section of its report says where and shows
the last lines of level error.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from lab import engine
from lab.config import BUILD, ROOT, Lab, LabError

T = TypeVar("T")
TITLE = "nodes of the failed test"
TIMEOUT = 15.0
# Each is a podman, which computes more than it waits; more at once would only time out.
AT_ONCE = 6
SHOWN_LINES = 15
SHOWN_ALTOGETHER = 120
SHOWN_WIDTH = 300
READER = Path(__file__).with_name("node_logs.py")
# What changes of the fleet write down, on the master alone.
LEDGER = ("/var/lib/counterapp/changes", "/var/lib/counterapp/history.jsonl")

# Of the journal's lines those that are errors whatever the priority they were printed with: of
# Salt, of the app, of mongod.
_ERROR = re.compile(
    r"\[(ERROR|CRITICAL) *\]"
    r'|"level": ?"(error|critical)"'
    r'|"s": ?"[EF]"'
)
# Salt 3008.3 says this whenever a client leaves an event bus, and means nothing by it.
_NOISE = "Task was destroyed but it is pending!"
_GLUSTER_ERROR = re.compile(r"\[(?P<time>[\d-]+ [\d:]+)[^]]*\] [ECAM] ")
# A line of what Salt prints of a state.
_STATE = re.compile(
    r"\s*(?P<key>ID|Function|Name|Result|Comment|Started|Duration|Changes):\s*(?P<value>.*)"
)


def folder_name(test: str) -> str:
    """Return the name of a test's folder, made from its node ID; no two tests have the same."""
    plain = test.removeprefix("tests/").replace(".py::", "::").replace("::", ".").replace("/", ".")
    plain = re.sub(r"\[([^][]*)\]$", r"-\1", plain)
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", plain)[:150].lstrip(".")
    if safe == plain:
        return safe
    return f"{safe}-{hashlib.sha256(test.encode()).hexdigest()[:8]}"


def is_error(line: str) -> bool:
    """Tell whether a line of a journal is an error by what it says of itself."""
    return bool(_ERROR.search(line)) and _NOISE not in line


def gluster_errors(text: str, began: float) -> list[str]:
    """Return the lines of a log of gluster that are errors and came since ``began``."""
    since = datetime.fromtimestamp(began, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return [
        line
        for line in text.splitlines()
        if (match := _GLUSTER_ERROR.match(line)) and match["time"] >= since
    ]


def rollout_errors(text: str) -> list[str]:
    """Return from what a rollout printed its errors, and its failed states with their comments."""
    found: list[str] = []
    name, failed, in_comment = "", False, False
    for line in text.splitlines():
        if part := _STATE.match(line):
            if part["key"] == "ID":
                name, failed = line.strip(), False
            elif part["key"] == "Result" and part["value"] == "False":
                failed = True
                found.append(name)
            in_comment = failed and part["key"] == "Comment"
            if in_comment:
                found.append(line.strip())
        elif line.startswith("-----"):
            failed = in_comment = False
        elif in_comment or is_error(line) or line.startswith(("ERROR:", "Error:")):
            found += [line.strip()] if line.strip() else []
    return found


@dataclass
class _Group:
    """Lines of one origin."""

    title: str
    lines: list[str]


def section(introduction: list[str], groups: list[_Group]) -> list[str]:
    """Return the lines to print: of each group the last ones, all in all not too many."""
    shown = SHOWN_LINES
    while shown > 3 and sum(min(len(g.lines), shown) for g in groups) > SHOWN_ALTOGETHER:
        shown -= 1
    told = list(introduction)
    for group in groups:
        if group.lines:
            of = f" (the last {shown} of {len(group.lines)})" if len(group.lines) > shown else ""
            told.append(f"{group.title}{of}:")
            told += [f"  {_short(line)}" for line in group.lines[-shown:]]
    return told


def _short(line: str) -> str:
    line = " ".join(line.splitlines())
    return line if len(line) <= SHOWN_WIDTH else f"{line[:SHOWN_WIDTH]} …"


@dataclass
class _Node:
    """A container of a lab, and what was got from it."""

    container: str
    name: str
    folder: Path
    began: float
    journal: list[str] = field(default_factory=list)
    grave: list[str] = field(default_factory=list)
    there: bool = True
    # Why nothing can be run on it, when it does not run.
    down: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def steps(self) -> list[Callable[[], None]]:
        """Return what is to be done, in any order; each step may fail by itself."""
        if not self.there:
            return []
        if self.down:
            return [self.save_printed, self.copy_disk]
        return [self.save_journal, self.ask_grave, self.save_logs]

    def save_journal(self) -> None:
        text = self._journal()
        _write(self.folder / "journal.log", text)
        self.journal = text.splitlines()

    def ask_grave(self) -> None:
        self.grave = self._journal("--priority=err").splitlines()

    def _journal(self, *options: str) -> str:
        return engine.podman(
            *("exec", self.container, "journalctl", f"--since=@{int(self.began)}"),
            *("--no-pager", "--quiet", "--output=short-precise", *options),
            timeout=TIMEOUT,
        )

    def save_logs(self) -> None:
        text = engine.podman(
            *("exec", "--interactive", self.container),
            *("python3", "-", str(int(self.began)), "/var/log", *LEDGER),
            input_path=READER,
            timeout=TIMEOUT,
        )
        answer = json.loads(text)
        for path, lines in answer["logs"].items():
            _write(self.folder / path.removeprefix("/var/log/").lstrip("/"), lines)
        self.problems += answer["problems"]

    def save_printed(self) -> None:
        # What systemd says before it gives up comes on standard error.
        done = subprocess.run(
            ["podman", "logs", self.container],
            env={**os.environ, "CONTAINERS_CONF": str(engine.write_container_config())},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT,
        )
        text = done.stdout.decode(errors="replace")
        if done.returncode != 0:
            raise LabError(f"'podman logs {self.container}' failed: {text.strip()}")
        _write(self.folder / "podman.log", text)

    def copy_disk(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        engine.podman("cp", f"{self.container}:/var/log/.", str(self.folder), timeout=TIMEOUT)

    def groups(self) -> list[_Group]:
        grave = set(self.grave)
        errors = [line for line in self.journal if line in grave or is_error(line)]
        gluster = []
        for path in sorted((self.folder / "glusterfs").rglob("*.log")):
            text = path.read_text(errors="replace")
            gluster += [f"{line}  ({path.name})" for line in gluster_errors(text, self.began)]
        return [
            _Group(f"{self.name}, errors in the journal", errors or self.grave),
            _Group(f"{self.name}, errors in gluster's logs", sorted(gluster)),
        ]


def save(labs: list[Lab], began: float, folder: Path) -> list[str]:
    """Save what the labs' nodes know since ``began`` in ``folder``; returns the lines to print.

    What one node does not give away is told, and keeps nobody from asking the others.
    """
    problems: list[str] = []
    nodes: list[_Node] = []
    for lab in labs:
        # Nodes of two labs have the same names.
        place = folder if len(labs) == 1 else folder / lab.name
        _attempt(problems, _save_host, lab, place)
        nodes += _attempt(problems, _nodes, lab, began, folder, place) or []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        pool.submit(_attempt, problems, _save_processes, folder)
        for node in nodes:
            for step in node.steps():
                pool.submit(_attempt, node.problems, step)

    groups = [_Group("Nodes that do not run", [line for node in nodes for line in node.down])]
    for node in nodes:
        groups += _attempt(node.problems, node.groups) or []
    for lab in labs:
        log = lab.directory / "rollout.log"
        groups += _attempt(problems, _rollout_groups, log, began) or []
    missing = problems + [f"{node.name}: {text}" for node in nodes for text in node.problems]
    silent = [
        node.name
        for node in nodes
        if not any(group.lines for group in groups if group.title.startswith(f"{node.name},"))
        and not (node.down or node.problems)
    ]
    if silent:
        groups.append(_Group("Nodes without an error", [", ".join(silent)]))
    groups.append(_Group("What could not be had", missing))
    since = datetime.fromtimestamp(began).strftime("%H:%M:%S")
    where = folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
    return section([f"All that they logged since {since} is in {where}."], groups)


def _attempt(problems: list[str], work: Callable[..., T], *arguments: Any) -> T | None:
    """Return what ``work`` does; when it fails, note that as a problem and return None."""
    try:
        return work(*arguments)
    except Exception as error:
        problems.append(f"{type(error).__name__}: {error}")
        return None


def _nodes(lab: Lab, began: float, folder: Path, place: Path) -> list[_Node]:
    """Return every node that the lab has or should have."""
    containers = {c["Names"][0]: c for c in engine.containers(lab, timeout=TIMEOUT)}
    expected = [f"{lab.name}-{node.id}" for node in lab.nodes]
    nodes = []
    for container in [*expected, *sorted(set(containers) - set(expected))]:
        own = place / container.removeprefix(f"{lab.name}-")
        node = _Node(container, str(own.relative_to(folder)), own, began)
        state = containers.get(container)
        if state is None:
            node.there = False
            node.down = [f"{node.name}: there is no container {container}."]
        elif state["State"] != "running":
            # Podman has the journal of a node with systemd in memory.
            node.down = [
                f"{node.name}: {state.get('Status') or state['State']}. What it printed and its "
                f"/var/log are in {node.name}/; its journal went with it."
            ]
        nodes.append(node)
    return nodes


def _save_processes(folder: Path) -> None:
    _write(folder / "podman-ps.txt", engine.podman("ps", "--all", timeout=TIMEOUT))


def _save_host(lab: Lab, place: Path) -> None:
    for log in sorted(lab.directory.glob("*.log")):
        _write(place / "host" / log.name, log.read_text(errors="replace"))


def _rollout_groups(log: Path, began: float) -> list[_Group]:
    new = log.exists() and log.stat().st_mtime >= began
    errors = rollout_errors(log.read_text(errors="replace")) if new else []
    return [_Group("Errors of the rollout", errors)]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class _Recorder:
    """Which labs are up, which test runs since when, and what was saved for it."""

    def __init__(self) -> None:
        self.root = BUILD / "test-logs"
        self.labs: dict[str, Lab] = {}
        self.begin("")
        # Every set-up that failed with nodes around, and how many had when one last did well.
        self._failed: list[tuple[BaseException, str]] = []
        self._before_good = 0

    def begin(self, test: str) -> None:
        self.test = test
        self.began = time.time()
        self.phase = "setup"
        self.early: list[str] = []
        self._saved = 0

    def save(self, labs: Iterable[Lab], error: BaseException | None) -> list[str]:
        """Save what the nodes of ``labs`` have and return the lines to print. It never raises."""
        if self.phase == "setup" and error is not None:
            self._failed.append((error, self.test))
        folder = self.root / folder_name(self.test)
        try:
            if not self._saved and folder.exists():
                shutil.rmtree(folder)
            self._saved += 1
            if self._saved > 1:
                folder = folder / f"{self.phase}-{self._saved}"
            return save(list(labs), self.began, folder)
        except Exception:
            # Whatever it is, the test's own failure is worth more than this one.
            return ["Collecting what the nodes know failed:", traceback.format_exc()]

    def first_with(self, error: BaseException | None) -> str | None:
        """Return the earlier test whose set-up failed in the same way.

        Pytest raises the exception of a fixture again for each test that wants it. Another one
        with the same words is the same failure as long as no set-up in between did well.
        """
        if self.phase != "setup" or error is None:
            return None
        words = (type(error), str(error))
        for number, (other, test) in enumerate(self._failed):
            in_a_row = number >= self._before_good
            same = other is error or (in_a_row and (type(other), str(other)) == words)
            if same and test != self.test:
                return test
        return None

    def tell(self, error: BaseException | None) -> list[str]:
        """Return the lines to print for the running test, which failed."""
        told, self.early = self.early, []
        if first := self.first_with(error):
            where = self.root / folder_name(first)
            where = where.relative_to(ROOT) if where.is_relative_to(ROOT) else where
            return [f"The set-up failed as that of {first} did: see there, and {where}."]
        if self.labs:
            told = told + self.save(self.labs.values(), error)
        return told

    def good_setup(self) -> None:
        self._before_good = len(self._failed)


_recorder = _Recorder()


def watch(lab: Lab) -> None:
    """Have the lab's nodes asked when a test fails; called before they are started."""
    _recorder.labs[lab.name] = lab


def forget(lab: Lab) -> None:
    """Do not ask the lab's nodes any more; called before they are removed.

    A fixture that fails removes its nodes on its way out, before pytest reports the failure. An
    exception that is on its way is why the nodes are asked now.
    """
    if _recorder.labs.pop(lab.name, None) is None:
        return
    error = sys.exc_info()[1]
    if isinstance(error, (Exception, pytest.fail.Exception)) and not _recorder.first_with(error):
        _recorder.early += _recorder.save([lab], error)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--test-logs",
        type=Path,
        default=BUILD / "test-logs",
        metavar="DIR",
        help="Where the logs of a failed test's nodes are saved, in a folder per test.",
    )


def pytest_configure(config: pytest.Config) -> None:
    _recorder.root = config.getoption("--test-logs").absolute()


def pytest_runtest_logstart(nodeid: str) -> None:
    _recorder.begin(nodeid)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        told = _recorder.tell(call.excinfo.value if call.excinfo else None)
        if told:
            report.sections.append((TITLE, "\n".join(told)))
    elif report.when == "setup" and report.passed:
        _recorder.good_setup()
    _recorder.phase = "call" if report.when == "setup" and report.passed else "teardown"
    return report
