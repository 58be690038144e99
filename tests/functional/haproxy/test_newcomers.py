"""New connections wait in their clients, in a network of the test's own; those there go on."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.support.loading import ROOT

SCRIPT = """
import json, socket, subprocess, sys, time
from salt.exceptions import CommandExecutionError
from tests.support.loading import load

newcomers = load("_modules/newcomers.py")

def run_all(command, stdin, **_kwargs):
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    return {"retcode": done.returncode, "stderr": done.stderr}

newcomers.__salt__ = {"cmd.run_all": run_all}
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
server = socket.create_server(("127.0.0.1", 8080))

def connected():
    began = time.monotonic()
    socket.create_connection(("127.0.0.1", 8080), timeout=30).close()
    server.accept()[0].close()
    return time.monotonic() - began

there = socket.create_connection(("127.0.0.1", 8080), timeout=5)
far, _ = server.accept()
told = newcomers.hold("127.0.0.1", 8080, seconds=60)
newcomers.hold("127.0.0.1", 8080, seconds=2)
there.sendall(b"x")
found = {"told": told, "goes on": far.recv(1).decode(), "by itself": connected()}
newcomers.hold("127.0.0.1", 8080, seconds=60)
newcomers.admit()
newcomers.admit()
found["admitted"] = connected()
newcomers.hold("127.0.0.1", 81, seconds=60)
found["another port"] = connected()
found["tables"] = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
refused = []
for arguments in ("::1", 80), ("nonsense", 80), ("127.0.0.1", 0), ("127.0.0.1", "80"), (
    "127.0.0.1", 80, 61), ("127.0.0.1; flush ruleset", 80):
    try:
        newcomers.hold(*arguments)
    except CommandExecutionError as error:
        refused.append(str(error))
print(json.dumps({**found, "refused": refused}))
"""


@pytest.fixture(scope="module")
def found():
    """What the script saw."""
    if not shutil.which("nft", path="/usr/sbin:/usr/bin"):
        pytest.fail("nft is not installed: apt-get install nftables")
    ran = subprocess.run(
        ["unshare", "--map-root-user", "--net", sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def test_a_new_connection_waits_until_it_is_over(found):
    assert found["told"] == {"address": "127.0.0.1", "port": 8080, "seconds": 60}
    # The kernel sends the first packet again after one second, and after three.
    assert 1 < found["by itself"] < 20


def test_a_connection_that_is_there_goes_on(found):
    assert found["goes on"] == "x"


def test_they_are_let_in_again_at_once(found):
    assert found["admitted"] < 1


def test_other_ports_are_left_alone(found):
    assert found["another port"] < 1


def test_bad_input_is_named(found):
    assert [words.split(" is no ")[0].split(",")[0] for words in found["refused"]] == [
        "'::1'",
        "'nonsense'",
        "port must be a whole number from 1 to 65535",
        "port must be a whole number from 1 to 65535",
        "seconds must be a whole number from 1 to 60",
        "'127.0.0.1; flush ruleset'",
    ]
