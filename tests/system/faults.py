"""What goes wrong with the nodes of the replica set: each fault is done to a cluster, and undone.

A fault is a function of the cluster and of its clients (:class:`Clients`). It harms, looks at what
the clients get meanwhile, and takes the harm's cause away; that all is well again, the test awaits.
"""

import json
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from lab import engine, machines
from tests.support.hits import Traffic
from tests.support.waiting import until
from tests.system.test_failures import primary

ARCHIVE, BACKUPS, VOLUME = "/srv/shared/oplog", "/srv/shared/backups", "/srv/shared"
DATA, IMAGE = "/var/lib/mongodb", "/var/tmp/small-disk"
#: Bytes of the small disk above what the data takes.
ROOM = 400 << 20
FILLER = f"{DATA}/filler"
SERVICE = "/run/systemd/system/mongod.service.d"
CLOCK = "/var/lib/mongodb-clock"
LIBRARY = "libfaketime.so.1"
#: On the machine that has the clock, as in tests/functional/app/test_clocks.py.
FAKE = {
    "LD_PRELOAD": f"{CLOCK}/{LIBRARY}",
    "FAKETIME_TIMESTAMP_FILE": f"{CLOCK}/offset",
    "FAKETIME_NO_CACHE": "1",
    "FAKETIME_DISABLE_SHM": "1",
    "DONT_FAKE_MONOTONIC": "1",
    "FAKETIME_FORCE_MONOTONIC_FIX": "0",
    "NO_FAKE_STAT": "1",
}
# Runs on a node: does something to it as soon as a backup is half-way there.
AT_HALF = """
import pathlib, subprocess, sys, time
folder, ends = pathlib.Path(sys.argv[1]), time.monotonic() + 60
while time.monotonic() < ends:
    # It has documents of a counter, and no manifest yet.
    for partial in folder.glob(".*.partial"):
        if any(partial.glob("counterapp/*.bson*")):
            subprocess.run(sys.argv[2:], check=True)
            print(partial.name)
            sys.exit()
    time.sleep(0.002)
sys.exit("no backup was begun")
"""


@dataclass
class Clients:
    """Those who hit two counters meanwhile, one of them without keys and one with."""

    plain: Traffic
    keyed: Traffic

    def served(self, hits: int = 40) -> None:
        """Wait until so many more hits of either kind are acknowledged."""
        wanted = [len(each.values) + hits for each in (self.plain, self.keyed)]
        until(
            lambda: [len(each.values) for each in (self.plain, self.keyed)],
            120,
            f"{wanted} hits are acknowledged",
            wanted=lambda seen: all(a >= b for a, b in zip(seen, wanted, strict=True)),
        )

    def unserved(self) -> None:
        """Wait until a hit fails."""
        before = len(self.plain.failures)
        until(
            lambda: len(self.plain.failures),
            60,
            f"more than {before} hits fail",
            wanted=lambda failures: failures > before,
        )


Prepare = Callable[..., AbstractContextManager[object]]


@dataclass(frozen=True)
class Fault:
    """One kind of fault, and how often it is tried."""

    harm: Callable[..., None]
    #: Around all its runs: what the harm needs.
    prepare: Prepare = field(default=lambda _cluster: nullcontext())
    #: In a drill.
    runs: int = 5
    #: Whether the lanes try it, once.
    short: bool = False


# Members that die


def secondaries(cluster) -> list[str]:
    """Return the members that follow, in order."""
    return sorted({*cluster.with_role("db")} - {primary(cluster)})


def kill(cluster, node: str, unit: str) -> None:
    """Kill every process of a unit at once, which says goodbye to nobody."""
    cluster.on(node, "systemctl", "kill", "--signal=KILL", unit)


def primary_killed(cluster, clients: Clients) -> None:
    kill(cluster, primary(cluster), "mongod")
    clients.served()


def secondary_killed(cluster, clients: Clients) -> None:
    kill(cluster, secondaries(cluster)[0], "mongod")
    clients.served()


def power_cut(cluster, nodes: list[str], clients: Clients) -> None:
    """Take the power from nodes, all in one moment, and give it back once clients have seen it."""
    names = [f"{cluster.lab.name}-{node}" for node in nodes]
    engine.podman("kill", "--signal", "KILL", *names)
    try:
        clients.unserved()
    finally:
        engine.podman("start", *names)
    clients.served()


def two_killed(cluster, clients: Clients) -> None:
    power_cut(cluster, [primary(cluster), secondaries(cluster)[0]], clients)


def all_killed(cluster, clients: Clients) -> None:
    power_cut(cluster, cluster.with_role("db"), clients)


# The archive, and backups


def archive(cluster) -> dict:
    """Return what the archive of the oplog says of itself, as a node sees it that answers."""
    found = cluster.salt("db-*", "mongodb_archive.status", ARCHIVE)
    return next(iter(found.values()))


def until_archived(cluster, since: str | None, moved_from: str | None = None) -> dict:
    """Wait until the oplog is kept, without a gap: all since the same time can be restored.

    :param moved_from: what was recoverable before; more has to be.
    """

    def well(seen):
        assert isinstance(seen, dict), seen
        reached = seen["recoverable_until"] and seen["recoverable_until"]["time"]
        return seen["problem"] is None and seen["holder"] and reached and reached != moved_from

    seen = until(
        lambda: archive(cluster),
        120,
        "the oplog is kept",
        wanted=well,
        ignoring=(*cluster.AWAY, AssertionError, StopIteration),
    )
    assert since is None or seen["since"]["time"] == since, f"there is a gap: {seen}"
    return seen


def archiver_taken_over(cluster, meanwhile: Callable[[], None]) -> None:
    """Kill who keeps the oplog, and wait until another node does, from where the dead one was."""
    before = archive(cluster)
    holder, reached = before["holder"], before["recoverable_until"]["time"]
    kill(cluster, holder, "mongodb-archive")
    # It would be back by itself and might take its own place.
    cluster.on(holder, "systemctl", "stop", "mongodb-archive")
    try:
        meanwhile()
        after = until_archived(cluster, before["since"]["time"], moved_from=reached)
        assert after["holder"] != holder
    finally:
        cluster.on(holder, "systemctl", "start", "mongodb-archive")


def archiver_killed(cluster, clients: Clients) -> None:
    archiver_taken_over(cluster, clients.served)


def archiver_and_primary_killed(cluster, clients: Clients) -> None:
    archiver_taken_over(cluster, lambda: primary_killed(cluster, clients))


def at_half_of_a_backup(cluster, clients: Clients, *command: str) -> None:
    """Have a node do something to itself while it makes a backup, which then is none.

    The next one has to be made.
    """
    node = secondaries(cluster)[-1]
    before = names(cluster)
    watcher = machines.popen_on_node(
        cluster.lab, node, ["/opt/salt/bin/python", "-c", AT_HALF, BACKUPS, *command]
    )
    run = machines.popen_on_node(
        cluster.lab, cluster.lab.master.id, ["salt-run", "backup.run", "--out=json"]
    )
    partial, _ = watcher.communicate()
    assert watcher.returncode == 0, f"{node} made no backup: {run.communicate()[0]}"
    output, _ = run.communicate()
    assert run.returncode != 0, f"{partial} was taken for whole: {output}"
    print(f"{partial.strip()}: {'; '.join(json.loads(output).get('failed') or [output])}")
    assert names(cluster) == before
    clients.served()
    cluster.until_whole()
    made = cluster.runner("backup.run")
    assert made.get("problems") == [], made
    assert names(cluster) == [*before, made["name"]]
    assert cluster.runner("backup.verify", made["name"]).get("failed") is None
    left = cluster.on(node, "find", BACKUPS, "-mindepth", "1", "-name", ".*.partial")
    assert left == ""


def names(cluster) -> list[str]:
    """Return the backups that the master lists, each of which is there and whole by its word."""
    there = cluster.runner("backup.list")
    assert (there["missing"], there["unknown"], there["problem"]) == ([], [], None), there
    return [each["name"] for each in there["backups"]]


def backup_killed(cluster, clients: Clients) -> None:
    at_half_of_a_backup(cluster, clients, "systemctl", "kill", "--signal=KILL", "salt-minion")


def volume_gone(cluster, clients: Clients) -> None:
    client = f"^/usr/sbin/glusterfs .*{VOLUME}$"
    at_half_of_a_backup(cluster, clients, "pkill", "-KILL", "-f", client)


# The network


@contextmanager
def partitioned(cluster, node: str):
    """Have packets between a member and the other ones get lost; everybody else reaches it."""
    name = f"{cluster.lab.name}-{node}"
    pid = engine.podman("inspect", "--format", "{{.State.Pid}}", name).strip()
    others = ", ".join(
        cluster.lab.node(each).address for each in cluster.with_role("db") if each != node
    )
    rules = (
        "table inet chaos {"
        f" chain in {{ type filter hook input priority 0; ip saddr {{ {others} }} drop; }};"
        f" chain out {{ type filter hook output priority 0; ip daddr {{ {others} }} drop; }};"
        "}"
    )

    def nft(*words: str) -> None:
        subprocess.run(["nsenter", "--target", pid, "--net", "nft", *words], check=True)

    nft(rules)
    try:
        yield
    finally:
        nft("delete", "table", "inet", "chaos")


def another_primary(cluster, old: str) -> None:
    """Wait until another member takes writes, and the old primary none."""
    until(
        lambda: cluster.salt("db-*", "mongodb.is_primary"),
        120,
        f"another one than {old} is primary",
        wanted=lambda seen: seen.get(old) is not True and True in seen.values(),
        ignoring=cluster.AWAY,
    )


def primary_partitioned(cluster, clients: Clients) -> None:
    old = primary(cluster)
    with partitioned(cluster, old):
        another_primary(cluster, old)
        clients.served()
    clients.served()


# The disk


@contextmanager
def small_disks(cluster):
    """Give each member in turn a disk of its own that has hardly more room than it needs."""
    nodes = cluster.with_role("db")
    for node in nodes:
        size = int(cluster.on(node, "du", "--summarize", "--block-size=1", DATA).split()[0]) + ROOM
        moved(
            cluster,
            node,
            f"truncate --size={size} {IMAGE}; mkfs.ext4 -q {IMAGE}",
            f"mount -o loop {IMAGE} /mnt; rmdir /mnt/lost+found; cp -a {DATA}/. /mnt/; umount /mnt",
            f"mount -o loop {IMAGE} {DATA}",
        )
    try:
        yield
    finally:
        for node in nodes:
            moved(
                cluster,
                node,
                f"umount {DATA}; rm -rf {DATA}/*",
                f"mount -o loop {IMAGE} /mnt; cp -a /mnt/. {DATA}/; umount /mnt; rm {IMAGE}",
            )


def moved(cluster, node: str, *lines: str) -> None:
    """Do something to a member's data while its server is down, and wait until it has caught up."""
    script = "\n".join(["systemctl stop mongod", *lines, "systemctl start mongod"])
    cluster.on(node, "sh", "-ec", script)
    cluster.until_whole()


def disk_full(cluster, clients: Clients) -> None:
    node = primary(cluster)
    # Ends when nothing more fits: root may use what others are kept from.
    cluster.on(node, "dd", "if=/dev/zero", f"of={FILLER}", "bs=1M", "conv=fsync", check=False)
    try:
        # It ends itself when it cannot write, and cannot start; or goes on with what room it has.
        another_primary(cluster, node)
        clients.served()
    finally:
        cluster.on(node, "rm", FILLER)
    clients.served()


# The clock


@contextmanager
def clocks(cluster):
    """Give each member's server a clock of its own, that can be put wrong."""
    found = sorted(Path("/usr/lib").glob(f"*/faketime/{LIBRARY}"))
    assert found, f"{LIBRARY} is missing: run 'make host', which installs libfaketime"
    nodes = cluster.with_role("db")
    settings = "".join(f"Environment={name}={value}\n" for name, value in FAKE.items())
    for node in nodes:
        cluster.on(node, "mkdir", "-p", CLOCK, SERVICE)
        engine.podman("cp", str(found[0]), f"{cluster.lab.name}-{node}:{CLOCK}/{LIBRARY}")
        put(cluster, node, 0)
        cluster.on(node, "tee", f"{SERVICE}/clock.conf", stdin=f"[Service]\n{settings}")
        restarted(cluster, node)
    try:
        yield
    finally:
        for node in nodes:
            cluster.on(node, "rm", "-r", SERVICE, CLOCK)
            restarted(cluster, node)


def restarted(cluster, node: str) -> None:
    """Restart a member's server with what its unit is now, and wait until all is well."""
    cluster.on(node, "systemctl", "daemon-reload")
    cluster.on(node, "systemctl", "restart", "mongod")
    cluster.until_whole()


def put(cluster, node: str, offset: int) -> None:
    """Put a member's clock off by so many seconds."""
    cluster.on(node, "tee", f"{CLOCK}/new", stdin=f"{offset:+d}\n")
    cluster.on(node, "mv", f"{CLOCK}/new", f"{CLOCK}/offset")


def clock_wrong(cluster, clients: Clients) -> None:
    node = primary(cluster)
    for offset in (300, -300, 0):
        put(cluster, node, offset)
        clients.served()


#: In the order in which they are tried: what a wrong clock leaves in the oplog stays for minutes.
FAULTS = {
    "archiver-and-primary-killed": Fault(archiver_and_primary_killed, short=True),
    "primary-killed": Fault(primary_killed, runs=20),
    "secondary-killed": Fault(secondary_killed),
    "archiver-killed": Fault(archiver_killed),
    "primary-partitioned": Fault(primary_partitioned),
    "two-killed": Fault(two_killed),
    "all-killed": Fault(all_killed),
    "backup-killed": Fault(backup_killed),
    "volume-gone": Fault(volume_gone),
    "disk-full": Fault(disk_full, small_disks),
    "clock-wrong": Fault(clock_wrong, clocks),
}
