"""The commands behind the Makefile."""

from __future__ import annotations

import argparse
import os
import shlex
import sys

from fleet import topology
from lab import machines, summary, up, wheels
from lab.config import Lab, LabError, load, read_document
from lab.progress import Progress, fail


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    start = commands.add_parser("up", help="bring the whole cluster up, or converge it")
    start.add_argument("--nodes-only", action="store_true", help="stop before the rollout")
    ready = commands.add_parser("prepare", help="make what nodes are made from, for `vagrant up`")
    ready.add_argument("--virtual-machines", action="store_true", help="for those, not for a lab")
    for name, text in (
        ("dist", "build a release of the app: VERSION, or the version of its project file"),
        ("wheels", "make Salt's wheels for every platform, virtual machines too"),
        ("status", "show every node's state"),
        ("down", "remove the cluster"),
        ("clean", "remove the cluster, the images and everything built"),
        ("check", "check the topology"),
    ):
        commands.add_parser(name, help=text)
    for name, text in (("salt", "salt"), ("run", "salt-run"), ("key", "salt-key")):
        commands.add_parser(name, help=f"run {text} on the master, with the arguments in ARGS")
    shell = commands.add_parser("ssh", help="open a shell on a node, or have one do what comes in")
    shell.add_argument("node", nargs="?", default="")
    options = parser.parse_args(arguments)
    try:
        return run(options)
    except LabError as error:
        return fail(error)
    except KeyboardInterrupt:
        print("\nInterrupted. Run the same command again to finish.", file=sys.stderr)
        return 130


def run(options: argparse.Namespace) -> int:
    """Run the parsed command; raises :class:`LabError` when it cannot."""
    lab = load()
    version = os.environ.get("VERSION") or None
    match options.command:
        case "up":
            return up.up(lab, version, options.nodes_only)
        case "prepare" if options.virtual_machines:
            up.prepare_virtual_machines(lab, version, Progress(2))
        case "prepare":
            up.prepare(lab, version, Progress(up.PREPARE_STEPS))
        case "dist":
            up.build_release(version or up.default_release(), print)
        case "wheels":
            wheels.build(wheels.pythons(lab, everything=True), print)
        case "status":
            return summary.show(lab, up.status(lab))
        case "down":
            up.down(lab)
        case "clean":
            up.clean(lab)
        case "check":
            return check(lab)
        case "salt" | "run" | "key":
            program = {"salt": "salt", "run": "salt-run", "key": "salt-key"}[options.command]
            return machines.run_on_node(lab, lab.master.id, [program, *words()])
        case "ssh":
            return machines.shell(lab, options.node)
    return 0


def words() -> list[str]:
    """Return ``ARGS`` as a shell would split it; it comes through the environment untouched."""
    try:
        return shlex.split(os.environ.get("ARGS", ""))
    except ValueError as error:
        raise LabError(f"ARGS cannot be read ({error}): close every quote in it.") from error


def check(lab: Lab) -> int:
    """Say that the topology file is good; :func:`load` has raised otherwise."""
    document = read_document()
    for name in document["topologies"]:
        topology.select(document, name)
    print(f"{len(lab.nodes)} nodes in topology '{lab.topology_name}', nothing wrong.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
