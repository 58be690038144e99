"""The lab's nodes as Vagrant runs them: start, destroy, and run commands on one."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lab import engine, wheels
from lab.config import BUILD, DEFAULT_NAME, ROOT, Lab, LabError
from lab.progress import Progress, stream

# What stands in Vagrant's log when it fails on a node for a reason that is gone at the next run: a
# killed run left the node without its network, or its network was not up yet; or two of Vagrant's
# own threads, or two Vagrants, looked at the same machine at the same moment (2.3.4).
_PASSING = ("EHOSTUNREACH", "Vagrant can't use the requested machine because it is locked!")
# A line of a Ruby backtrace, of which Vagrant prints dozens behind the one line that tells.
_BACKTRACE = re.compile(r"\.rb:\d+:in ")
SSH_KEY = BUILD / "ssh" / "id_ed25519"


def ensure_ssh_key() -> None:
    """Make the key pair with which Vagrant logs in to the lab's nodes, once a checkout."""
    if SSH_KEY.exists() and SSH_KEY.with_suffix(".pub").exists():
        return
    SSH_KEY.parent.mkdir(parents=True, exist_ok=True)
    SSH_KEY.unlink(missing_ok=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "counterapp-lab", "-f", str(SSH_KEY)],
        check=True,
    )


def environment(lab: Lab) -> dict[str, str]:
    """Return the environment in which Vagrant works on ``lab``."""
    return {
        **os.environ,
        "LAB": lab.name,
        "TOPOLOGY": lab.topology_name,
        "VAGRANT_DEFAULT_PROVIDER": "docker",
        "VAGRANT_CWD": str(ROOT),
        "VAGRANT_DOTFILE_PATH": str(vagrant_state(lab)),
        "VAGRANT_CHECKPOINT_DISABLE": "1",
        "COUNTERAPP_PREPARED": "1",
    }


def up(lab: Lab, progress: Progress) -> None:
    """Start and provision every node that is not running, through ``vagrant up``."""
    mend_broken(lab)

    telling = ("Creating the container", "Running trigger", "Running provisioner")

    def on_line(line: str) -> None:
        match = re.match(r"==> ([a-z0-9-]+): (.*)", line)
        if match and match[2].startswith(telling):
            progress.say(f"{match[1]}: {match[2].rstrip('.')}")

    log = lab.directory / "vagrant-up.log"
    for last in (False, True):
        try:
            stream(
                ["vagrant", "up", "--provision"],
                on_line,
                log,
                environment(lab),
                noise=_BACKTRACE,
            )
        except LabError:
            text = log.read_text()
            if last or not any(words in text for words in _PASSING):
                raise
            # What came up stays up; the next run brings up the rest.
            progress.say("a node could not be reached or looked at: going on where Vagrant stopped")
            mend_broken(lab)
        else:
            return


def settled(lab: Lab) -> bool:
    """Tell whether every node runs and was provisioned from what is in the tree now."""
    stamp = _stamp(lab)
    running = {c["Names"][0] for c in engine.containers(lab) if c["State"] == "running"}
    return (
        stamp.exists()
        and running == {f"{lab.name}-{node.id}" for node in lab.nodes}
        and stamp.read_text() == _provisioning(lab)
    )


def settle(lab: Lab) -> None:
    """Note that every node is provisioned and answers: see :func:`settled`."""
    _stamp(lab).write_text(_provisioning(lab))


def _stamp(lab: Lab) -> Path:
    return lab.directory / "provisioned"


def _provisioning(lab: Lab) -> str:
    """Return a digest of everything that ``vagrant up --provision`` works from and on.

    A node that was made anew by hand, and not provisioned, is another container.
    """
    made = sorted(container["Id"] for container in engine.containers(lab))
    digest = hashlib.sha256(repr((lab.topology_name, lab.network, lab.nodes, made)).encode())
    for path in [ROOT / "Vagrantfile", *sorted((ROOT / "bootstrap").rglob("*"))]:
        if path.is_file():
            digest.update(path.read_bytes())
    for version in wheels.pythons(lab):
        digest.update(wheels.digest(version).encode())
    return digest.hexdigest()


def sees_too_much(containers: Iterable[dict[str, Any]]) -> list[str]:
    """Return those of the containers that were made when nodes had the whole checkout in them.

    In it lies the key to all nodes, and a container's folders are chosen when it is made.

    :param containers: as :func:`lab.engine.containers` returns them.
    """
    return sorted(c["Names"][0] for c in containers if "/srv/counterapp" in (c["Mounts"] or ()))


def mend_broken(lab: Lab) -> None:
    """Undo what a `make up` left that was killed while podman made a container.

    One that was not started yet no longer starts: it is removed, and Vagrant makes it anew. One
    that runs without the network that it was about to get is restarted.
    """
    addresses = {f"{lab.name}-{node.id}": node.address for node in lab.nodes}
    for container in engine.containers(lab):
        if container["State"] in ("created", "configured", "initialized"):
            engine.podman("rm", "--force", "--ignore", "--volumes", "--time", "0", container["Id"])
        elif container["State"] == "running" and container["Names"][0] in addresses:
            address = addresses[container["Names"][0]]
            engine.check_route(lab, address)
            if _cut_off(address):
                engine.podman("restart", "--time", "10", container["Id"])


def _cut_off(address: str) -> bool:
    """Tell whether nobody at all is at an address; one that boots or refuses is there."""
    try:
        with socket.create_connection((address, 22), timeout=5):
            return False
    except OSError as error:
        return error.errno == errno.EHOSTUNREACH


def destroy(lab: Lab) -> None:
    """Remove every node, the network and what Vagrant knows of them.

    Containers are removed by their label as well: Vagrant may never have heard of one that was
    being made when its run was killed.
    """
    if vagrant_state(lab).exists() and engine.containers(lab):
        stream(
            ["vagrant", "destroy", "--force", "--parallel"],
            lambda _line: None,
            lab.directory / "vagrant-destroy.log",
            environment(lab),
        )
    engine.remove_containers(lab)
    engine.remove_network(lab)
    if vagrant_state(lab).exists():
        shutil.rmtree(vagrant_state(lab))


def vagrant_state(lab: Lab) -> Path:
    """Return where Vagrant keeps what it knows of the lab's machines.

    The operator's own lab is at Vagrant's usual place, so that a plain `vagrant ssh` knows it.
    """
    return ROOT / ".vagrant" if lab.name == DEFAULT_NAME else lab.directory / "vagrant"


def on_node(lab: Lab, node_id: str, command: list[str], check: bool = True, stdin: str = "") -> str:
    """Run a command as root on a node, hand it ``stdin``, and return what it printed.

    :raises LabError: when it exits other than 0, with its own words.
    """
    done = subprocess.run(
        _enter(lab, node_id, command), capture_output=True, text=True, input=stdin
    )
    if done.returncode != 0:
        require_running(lab, node_id)
    if check and done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip())[-3000:]
        raise LabError(f"'{shlex.join(command)}' failed on {node_id}: {words}")
    return done.stdout


def run_on_node(lab: Lab, node_id: str, command: list[str], terminal: bool = False) -> int:
    """Run a command as root on a node with this standard input; returns its exit code.

    :param terminal: whether the command gets a terminal, to be typed at.
    """
    require_running(lab, node_id)
    return subprocess.run(_enter(lab, node_id, command, terminal)).returncode


def shell(lab: Lab, node_id: str) -> int:
    """Open root's shell on a node; returns the exit code of its last command.

    Where no terminal is at the standard input, the shell does what comes there, and ends with it.
    """
    return run_on_node(lab, node_id, ["bash", "-l"], terminal=sys.stdin.isatty())


def require_running(lab: Lab, node_id: str) -> None:
    """Raise :class:`LabError` with the remedy unless the node runs."""
    name = f"{lab.name}-{lab.node(node_id).id}"
    if not any(name in c["Names"] and c["State"] == "running" for c in engine.containers(lab)):
        raise LabError(f"Node '{node_id}' of the lab '{lab.name}' is not running: run 'make up'.")


def stream_on_node(
    lab: Lab, node_id: str, command: list[str], on_line: Callable[[str], None], log_name: str
) -> None:
    """Run a command on a node, line by line; see :func:`lab.progress.stream`."""
    stream(_enter(lab, node_id, command), on_line, lab.directory / log_name)


def popen_on_node(
    lab: Lab, node_id: str, command: list[str], stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[str]:
    """Start a command on a node and return it running, its output in a pipe."""
    return subprocess.Popen(
        _enter(lab, node_id, command),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _enter(lab: Lab, node_id: str, command: list[str], terminal: bool = False) -> list[str]:
    node = lab.node(node_id)
    engine.write_container_config()
    program = str(ROOT / "lab" / "bin" / "docker")
    options = ["--interactive", "--tty"] if terminal else ["--interactive"]
    return [program, "exec", *options, f"{lab.name}-{node.id}", *command]
