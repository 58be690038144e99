"""`make ssh`: a shell to be typed at, or one that does what is piped into it and ends."""

import os
import pty
import subprocess
import sys

import pytest

from tests.support.loading import ROOT

#: Runs `make ssh` with a program in podman's place, which tells its options and is the shell.
DRIVER = """
import pathlib, sys
from lab import __main__, engine, machines
machines.ROOT = pathlib.Path(sys.argv[1])
machines.require_running = lambda _lab, _node: None
engine.write_container_config = lambda: None
sys.exit(__main__.main(["ssh", "web-1"]))
"""
PODMAN = """#!/bin/sh
echo "options: $*"
while [ "$1" != bash ]; do shift; done
exec "$@"
"""


@pytest.fixture
def ssh(tmp_path):
    """Runs the command with this standard input, and returns exit code and output."""
    program = tmp_path / "lab/bin/docker"
    program.parent.mkdir(parents=True)
    program.write_text(PODMAN)
    program.chmod(0o755)

    own = {"LAB": "", "TOPOLOGY": "", "LAB_NETWORK": "", "HOME": str(tmp_path)}

    def run(**streams):
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, str(tmp_path)],
            cwd=ROOT,
            env={**os.environ, **own},
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
            **streams,
        )
        return done.returncode, done.stdout.splitlines()

    return run


def test_what_is_piped_in_is_done_and_the_shell_ends_with_it(ssh):
    code, (options, *said) = ssh(input="echo $((6 * 7))\nexit 3\n")
    assert (code, said) == (3, ["42"])
    assert options == "options: exec --interactive counterapp-web-1 bash -l"


def test_without_anything_it_ends_at_once(ssh):
    code, lines = ssh(stdin=subprocess.DEVNULL)
    assert (code, len(lines)) == (0, 1)


def test_at_a_terminal_it_gets_one(ssh):
    ours, theirs = pty.openpty()
    try:
        os.write(ours, b"exit 5\n")
        code, (options, *_) = ssh(stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    assert code == 5
    assert options == "options: exec --interactive --tty counterapp-web-1 bash -l"
