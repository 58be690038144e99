"""What ``make up`` does, step by step, and ``make down`` undoes."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from lab import checks, edge, engine, events, images, machines, summary, wheels
from lab.config import BUILD, ROOT, Lab, LabError, write_own_topology
from lab.progress import Deadline, Progress, stream

DIST = BUILD / "dist"
STEPS = 7
# Those of :func:`prepare` alone.
PREPARE_STEPS = 3

# The first answer of a fresh fleet: minions offer their key every 2 s and the master then starts
# its workers' caches. Seen: 15 s for 8 nodes on 2 cores.
ANSWER_SECONDS = 120


def default_release() -> str:
    """Return the version that the back end's own project file says."""
    project = tomllib.loads((ROOT / "app" / "backend" / "pyproject.toml").read_text())
    return str(project["project"]["version"])


def up(lab: Lab, version: str | None, nodes_only: bool = False) -> int:
    """Bring the lab up to a serving cluster; returns the exit code.

    :param version: the release to build and roll out; None leaves a running fleet on its own.
    :param nodes_only: stop when the bare nodes answer, before the rollout.
    :raises LabError: naming what is wrong and what to do, when a step fails.
    """
    progress = Progress(STEPS)
    prepare(lab, version, progress)
    with progress.step(f"starting {len(lab.nodes)} nodes"):
        if machines.settled(lab):
            progress.say("all run, and as the tree has them")
        else:
            machines.up(lab, progress)
        if exposed := machines.sees_too_much(engine.containers(lab)):
            progress.say(
                f"{', '.join(exposed)}: each was made when nodes saw the whole checkout, with the "
                "key to all nodes; docs/operating.md, 'A lost node', makes it anew"
            )
    with progress.step("waiting for every minion to answer"):
        await_minions(lab, progress)
        machines.settle(lab)
        edge.fetch_authority(lab)
    if nodes_only:
        return 0
    with progress.step("rolling out"):
        rollout(lab, version, progress)
    with progress.step("asking the cluster for its state"):
        state = status(lab)
    summary.show(lab, state, progress.timings)
    return 0


def prepare(lab: Lab, version: str | None, progress: Progress) -> None:
    """Make what the nodes are made from: wheels, images, the release, the network, the login key.

    :raises LabError: before anything is made, when the lab cannot be made on this machine.
    """
    with progress.step("checking this machine"):
        checks.check_all(lab)
        lock = take_build_lock(progress.say)
    try:
        _prepare(lab, version, progress)
    finally:
        lock.close()


def take_build_lock(say: Callable[[str], None]) -> IO[str]:
    """Wait until no other run builds in this checkout; closing what it returns frees the lock."""
    BUILD.mkdir(parents=True, exist_ok=True)
    lock = (BUILD / ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("waiting for another run that builds in this checkout")
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _prepare(lab: Lab, version: str | None, progress: Progress) -> None:
    with progress.step("wheels for every Python of the topology"):
        wheels.build(wheels.pythons(lab), progress.say)
        wheels.fetch_mongod(progress.say)
    # The images wait for disk and network where the release wants the processor.
    with progress.step("node images and the release"), ThreadPoolExecutor() as pool:
        release = pool.submit(build_release, version, progress.say)
        for platform in images.missing(lab):
            images.build(lab, platform, progress.say)
        release.result()
        machines.ensure_ssh_key()
        write_own_topology(lab)
        engine.ensure_network(lab)


def prepare_virtual_machines(lab: Lab, version: str | None, progress: Progress) -> None:
    """Make what virtual machines are provisioned from: wheels for all platforms, the release."""
    with progress.step("wheels for every Python of the topology"):
        wheels.build(wheels.pythons(lab, everything=True), progress.say)
        wheels.fetch_mongod(progress.say)
    with progress.step("the release"):
        build_release(version, progress.say)
        write_own_topology(lab)


def build_release(version: str | None, say: Callable[[str], None]) -> None:
    """Build the release ``version``; with None, the project's own version unless it is there.

    :raises LabError: among others when there is a release of that version with other content.
    """
    wanted = version or default_release()
    DIST.mkdir(parents=True, exist_ok=True)
    if version is None and (DIST / f"counterapp-{wanted}.tar.gz").exists():
        return
    environment = {**os.environ, "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"}
    stream(
        [sys.executable, "app/build_release.py", "--version", wanted, "--out", str(DIST)],
        lambda line: say(f"release {wanted}: {line}"),
        BUILD / "dist.log",
        environment,
        ROOT,
    )


def await_minions(lab: Lab, progress: Progress) -> None:
    """Wait until every node of the topology answers the master, by name."""
    wanted = {node.id for node in lab.nodes}
    deadline = Deadline(ANSWER_SECONDS)
    missing: set[str] = set()
    while not deadline.passed():
        text = machines.on_node(
            lab,
            lab.master.id,
            ["salt", "-L", ",".join(sorted(wanted)), "test.ping", "--out=json", "--static", "-t5"],
            check=False,
        )
        answers = _json(text)
        silent = {node for node in wanted if answers.get(node) is not True}
        if not silent:
            return
        if silent == missing:
            continue
        missing = silent
        progress.say(f"no answer yet from {', '.join(sorted(missing))}")
    raise LabError(
        f"No answer from {', '.join(sorted(missing))} within {ANSWER_SECONDS} s: look at "
        f"'make key ARGS=-L' and, on the node, 'journalctl -u salt-minion'."
    )


def rollout(lab: Lab, release: str | None, progress: Progress) -> None:
    """Run ``orch.rollout`` on the master, telling what it does as it does it.

    :param release: None keeps a fleet on its own release; a bare one gets the newest built.
    """
    command = ["salt-run", "state.orchestrate", "orch.rollout"]
    if release:
        command.append(f"pillar={json.dumps({'release': release})}")
    with events.follow(lab, progress.say):
        machines.stream_on_node(lab, lab.master.id, command, lambda _line: None, "rollout.log")


def status(lab: Lab) -> dict[str, Any]:
    """Return what ``salt-run fleet.status`` knows of the cluster."""
    # What is wrong makes its exit code 1, and is in the answer all the same.
    command = ["salt-run", "fleet.status", "--out=json"]
    state = _json(machines.on_node(lab, lab.master.id, command, check=False))
    if "nodes" not in state:
        why = "; ".join(state.get("failed") or ["run 'make run ARGS=fleet.status' to see why."])
        raise LabError(f"The master does not tell the cluster's state: {why}")
    return state


def down(lab: Lab) -> None:
    """Remove every trace of the lab but the images and what was built."""
    machines.destroy(lab)
    if lab.directory.exists():
        shutil.rmtree(lab.directory)


def traces(lab: Lab) -> list[str]:
    """Return everything of the lab that is on this machine, apart from images and releases."""
    found = [f"container {name}" for c in engine.containers(lab) for name in c["Names"]]
    found += [f"network {n['name']}" for n in engine.networks() if n["name"] == lab.name]
    found += [str(p) for p in (lab.directory, machines.vagrant_state(lab)) if p.exists()]
    return found


def clean(lab: Lab) -> None:
    """Remove the lab, the images and everything that was built."""
    down(lab)
    images.remove()
    if BUILD.exists():
        shutil.rmtree(BUILD)


def _json(text: str) -> dict[str, Any]:
    # A warning on standard output may come before the document.
    start = text.find("{")
    try:
        parsed: dict[str, Any] = json.loads(text[start:]) if start >= 0 else {}
    except json.JSONDecodeError:
        return {}
    return parsed
