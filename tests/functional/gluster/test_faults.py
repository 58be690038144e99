"""Faults while a client writes: a brick host that dies, and with it the server of the mount.

GLUSTER_DRILL_SECONDS makes the phases of writing longer.
"""

import hashlib
import os
import time
from pathlib import Path

import pytest

from lab import engine
from lab.config import ROOT
from tests.functional.gluster import writer
from tests.support.waiting import until

WRITER = Path(writer.__file__).relative_to(ROOT)
STATUS = "systemctl status writer.service || true"
POINT = "/srv/shared"
PING_TIMEOUT = 10
# For what is done on the other bricks then, on a machine that may be busy.
STALL_TOLERANCE = 3
HEAL_SECONDS = 60
DRILL_SECONDS = float(os.environ.get("GLUSTER_DRILL_SECONDS", "3"))
SERVERS = ["db-3", "db-2", "db-1"]


class Writer:
    """A process on a node that writes to a mount and logs each write that was acknowledged."""

    def __init__(self, node, folder):
        self.node, self.folder = node, folder
        node.sh(
            f"rm -f /root/writer.log /run/writer.stop; mkdir -p {folder}\n"
            "systemd-run --quiet --collect --unit=writer.service /opt/salt/bin/python"
            f" /srv/counterapp/{WRITER} {folder} /root/writer.log /run/writer.stop"
        )

    def log(self):
        """Return what was acknowledged: number, time and seconds of each."""
        lines = self.node.sh("cat /root/writer.log 2>/dev/null || true").splitlines()
        return [
            (int(number), float(moment), float(seconds))
            for number, moment, seconds in (line.split() for line in lines if line != "end")
        ]

    def goes_on(self, seconds):
        """Wait until it has written for so long from now on, at least a record."""
        end = time.time() + seconds
        until(
            lambda: {"last": self.log()[-1:], "unit": self.node.sh(STATUS)},
            seconds + 60,
            f"the writer has written for {seconds} s",
            wanted=lambda seen: any(moment > end for _, moment, _ in seen["last"]),
        )

    def stop(self):
        self.node.sh("touch /run/writer.stop")
        until(
            lambda: self.node.sh(f"tail -n 1 /root/writer.log; {STATUS}"),
            60,
            "the writer ends",
            wanted=lambda seen: seen.startswith("end\n"),
        )
        return self.log()


@pytest.fixture
def mounts(pool):
    """Nodes on which the mount point is free, before and after."""
    yield pool[:2]
    for node in pool[:2]:
        node.sh("touch /run/writer.stop; systemctl stop writer.service 2>/dev/null || true")
        node.state("gluster.unmounted", POINT)


def mounted(node, volume):
    ret = node.state("gluster.mounted", POINT, volume=volume, servers=SERVERS)
    assert ret["result"] is True, ret
    return ret


def client(node):
    """The process ID that serves the mount."""
    return node.sh(f"pgrep -f 'glusterfs .*{POINT}$'").strip()


def lose(node):
    """Take a node away as a power cut does: nothing on it says goodbye."""
    if node.salt:
        node.salt.communicate()
        node.salt = None
    node.sh("ip link set eth0 down")
    engine.podman("kill", node.container)


def checksums(node, folder):
    lines = node.sh(f"cd {folder} && sha256sum *").splitlines()
    return {line.split()[1]: line.split()[0] for line in lines}


def expected(log):
    """Return the checksum of each file that the acknowledged records make."""
    journal, sums = hashlib.sha256(), {}
    for number, _, _ in log:
        journal.update(writer.record(number))
        sums[f"record-{number:08d}"] = hashlib.sha256(writer.record(number)).hexdigest()
    return {"journal": journal.hexdigest(), **sums}


def test_writes_go_on_when_the_host_of_a_brick_and_of_the_mount_dies(pool, volume, mounts):
    first, _, third = pool
    # A ping may have been answered just before the loss: the next one is sent PING_TIMEOUT later,
    # and waited for as long again. The kernel tells sooner, of what it has sent in vain.
    option = {"client.tcp-user-timeout": PING_TIMEOUT}
    first.call("gluster.set_options", volume, option)
    mounted(first, volume)
    pid = client(first)
    writing = Writer(first, f"{POINT}/records")
    writing.goes_on(1)

    lose(third)
    lost_at = time.time()
    writing.goes_on(DRILL_SECONDS)
    third.boot()
    back_at = time.monotonic()
    until(
        lambda: first.call("gluster.heal_info", volume, entries=True),
        HEAL_SECONDS,
        "all is healed but what is being written",
        wanted=whole,
    )
    print(f"healed {time.monotonic() - back_at:.1f} s after the boot")
    writing.goes_on(DRILL_SECONDS)
    log = writing.stop()

    stall = max(seconds for _, _, seconds in log)
    print(f"{len(log)} records, longest stall {stall:.1f} s")
    assert [number for number, _, _ in log] == list(range(1, len(log) + 1))
    assert stall <= PING_TIMEOUT + STALL_TOLERANCE
    assert sum(moment > lost_at for _, moment, _ in log) > 10
    first.call("gluster.wait_healed", volume, timeout=HEAL_SECONDS)
    assert checksums(first, f"{POINT}/records") == expected(log)
    for node in pool:
        assert checksums(node, f"/srv/gluster/{volume}/brick/records") == expected(log), node.name

    assert mounted(first, volume)["changes"] == {}
    assert client(first) == pid


def whole(info):
    """Tell whether all bricks are there with nothing to heal but what is being written."""
    return all(item["connected"] for item in info["bricks"]) and info["pending"] == 0


def test_a_mount_is_made_and_goes_on_without_its_first_server(pool, volume, mounts):
    first, _, third = pool
    mounted(first, volume)
    pid = client(first)
    third.glusterd("stop")
    try:
        first.sh(f"echo meanwhile > {POINT}/file")
        assert client(first) == pid
        first.call("gluster.unmount", POINT)
        ret = mounted(first, volume)
        assert ret["changes"] == {"mounted": {"old": None, "new": f"db-3:/{volume}"}}
        assert first.sh(f"cat {POINT}/file") == "meanwhile\n"
        assert mounted(first, volume)["changes"] == {}
    finally:
        third.glusterd("start")
    first.call("gluster.wait_healed", volume, timeout=HEAL_SECONDS, launch=True)
    assert third.sh(f"cat /srv/gluster/{volume}/brick/file") == "meanwhile\n"
