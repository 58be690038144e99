"""Storage nodes that die, lose their disk or come back as new machines, with the commands of
docs/operating.md."""

import time

import pytest

from lab import machines
from tests.support import guide
from tests.support.waiting import until

VICTIM, HELPER, BRICK = "db-3", "db-1", "/srv/gluster/shared/brick"
FOLDER = "/srv/shared/faults"
# In the lab the brick is on the root file system.
FORCE = "force=True"
# A client notices a dead brick after network.ping-timeout (10 s).
STALL = 10 + 5
WRITER = """
import os, sys, time
folder, stop = sys.argv[1:]
longest, number, last = 0, 0, time.monotonic()
while not os.path.exists(stop):
    with open(f"{folder}/{number}", "w") as file:
        file.write(f"{number} " * 500)
        file.flush()
        os.fsync(file.fileno())
    now = time.monotonic()
    longest, last, number = max(longest, now - last), now, number + 1
    time.sleep(0.05)
print(number, longest)
"""
SUMS = f"cd {BRICK}/faults && find . -type f | sort | xargs -r sha256sum | sha256sum"


def sums(cluster):
    """Return the checksum of all test files on each brick."""
    return {node: cluster.on(node, "sh", "-c", SUMS) for node in cluster.with_role("storage")}


def healed(cluster):
    """Wait until the volume is healthy."""
    until(
        lambda: cluster.salt(HELPER, "gluster.healthy", "shared")[HELPER]["reasons"],
        60,
        "the volume is healthy",
        wanted=[],
        ignoring=cluster.AWAY,
    )


@pytest.fixture(scope="module")
def files(cluster):
    cluster.on("web-1", "mkdir", "-p", FOLDER)
    yield
    cluster.on("web-1", "rm", "-rf", FOLDER)


def test_writes_go_on_while_a_storage_node_is_gone(cluster, files):
    stop = "/run/stop-the-writer"
    cluster.on("web-1", "rm", "-f", stop)
    words = ["python3", "-c", WRITER, FOLDER, stop]
    writer = machines.popen_on_node(cluster.lab, "web-1", words)

    def written():
        return len(cluster.on("web-1", "ls", FOLDER).split())

    try:
        until(written, 60, "the writer writes", wanted=lambda files: files > 10)
        cluster.stop(VICTIM)
        at_loss = written()
        until(
            written,
            STALL + 30,
            f"50 more files than {at_loss} are written",
            wanted=lambda files: files > at_loss + 50,
        )
        cluster.start(VICTIM)
        cluster.until_answers(VICTIM)
    finally:
        cluster.on("web-1", "touch", stop)
        output, _ = writer.communicate(timeout=60)
    assert writer.returncode == 0, output
    number, longest = output.split()[-2:]
    assert float(longest) <= STALL
    assert int(number) > 50
    began = time.monotonic()
    healed(cluster)
    print(f"stalled for {float(longest):.1f} s, healed {time.monotonic() - began:.1f} s after it")
    assert len(set(sums(cluster).values())) == 1
    cluster.until_whole()


def test_a_lost_disk(cluster, files):
    before = sums(cluster)
    cluster.on(VICTIM, "sh", "-c", f"pkill -KILL -x glusterfsd; rm -rf {BRICK}")
    look, reset, *rest = guide.section("docs/operating.md", "A storage node that lost its disk")
    assert f"{cluster.lab.node(VICTIM).address}:{BRICK}" in cluster.typed(look).text
    unsure = cluster.typed(reset.replace("confirm=shared", FORCE))
    assert unsure.code != 0
    assert "say confirm=shared" in unsure.text
    for line in (f"{reset} {FORCE}", *rest):
        done = cluster.typed(line)
        assert done.code == 0, done.text
    healed(cluster)
    assert sums(cluster) == before
