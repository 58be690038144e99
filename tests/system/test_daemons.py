"""Each daemon is killed, stopped and frozen once, and all is as before soon, without a hand.

One round a signal, on chosen nodes of each role at once. Of a daemon that is stopped (SIGSTOP)
counterapp-watch knows after 10 s, and of what is gone without a unit after 4 s.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from tests.support.waiting import until
from tests.system.test_failures import holder, one, primary

BACK = 30
"""Seconds until each daemon is there again."""

WELL = 60
"""Seconds until all have found each other again, too: minions ask for their master every 10 s."""


class Daemon(NamedTuple):
    """A daemon of a node."""

    node: str
    name: str
    """Its unit, or, where it has none, what its command line matches."""

    @property
    def has_unit(self):
        return self.name.endswith(".service")


BRICK = "^/usr/sbin/glusterfsd .*--brick-name"
HEALER = "^/usr/sbin/glusterfs .*--process-name glustershd"
CLIENT = "^/usr/sbin/glusterfs .* /srv/shared$"


def chosen(cluster):
    """Return a daemon of each kind; of no two nodes whose loss together would be an outage."""
    first, second = cluster.with_role("storage")[1:3]
    (web, other), holding = cluster.with_role("web"), holder(cluster)
    (backup,) = set(cluster.with_role("lb")) - {holding}
    taking = primary(cluster)
    member = next(node for node in cluster.with_role("db")[1:] if node != taking)
    return [
        Daemon(member, "mongod.service"),
        Daemon(member, "mongodb-archive.service"),
        Daemon(first, "glusterd.service"),
        Daemon(second, BRICK),
        Daemon(second, HEALER),
        Daemon(web, CLIENT),
        Daemon(web, "counterapp.service"),
        Daemon(web, "salt-minion.service"),
        Daemon(backup, "haproxy.service"),
        Daemon(backup, "keepalived.service"),
        Daemon(holding, "keepalived.service"),
        Daemon(holding, "vip-guard.service"),
        Daemon(cluster.lab.master.id, "salt-master.service"),
        Daemon(other, "counterapp-watch.service"),
    ]


def processes(cluster, daemon):
    """Return the numbers of a daemon's processes; of a unit only the main one's, once active."""
    if not daemon.has_unit:
        return cluster.on(daemon.node, "pgrep", "-f", daemon.name, check=False).split()
    shown = cluster.on(
        *(daemon.node, "systemctl", "show", "--property=ActiveState,MainPID", daemon.name)
    )
    words = dict(line.split("=", 1) for line in shown.splitlines())
    return [words["MainPID"]] if words["ActiveState"] == "active" else []


def send(cluster, daemon, signal):
    if daemon.has_unit:
        # glusterd's bricks are in its cgroup, and are others'.
        frozen = signal == "STOP" and daemon.name != "glusterd.service"
        who = "all" if frozen else "main"
        command = ["systemctl", "kill", f"--kill-who={who}", f"--signal=SIG{signal}", daemon.name]
    else:
        command = ["kill", f"-{signal}", *processes(cluster, daemon)]
    cluster.on(daemon.node, *command)


def wrong(cluster):
    """Return what is not as it shall be, as sentences."""
    mounts = cluster.salt("*", "gluster.mount_status", "/srv/shared")
    return cluster.wrong() or [
        f"{node} has no volume"
        for node, status in mounts.items()
        if not (status["mounted"] and status["alive"])
    ]


@pytest.mark.parametrize("signal", ["KILL", "TERM", "STOP"])
def test_every_daemon_comes_back_by_itself(cluster, signal):
    daemons = chosen(cluster)
    with ThreadPoolExecutor(len(daemons)) as pool:

        def seen():
            return dict(
                zip(daemons, pool.map(lambda d: processes(cluster, d), daemons), strict=True)
            )

        before = seen()
        assert all(before.values()), before
        with cluster.traffic(f"daemons-{signal}", threads=2, keyed=True) as traffic:
            list(pool.map(lambda d: send(cluster, d, signal), daemons))
            until(
                lambda: {d: now for d, now in seen().items() if not now or now == before[d]},
                BACK,
                f"every daemon is there again after {signal}",
                wanted={},
            )
            until(
                lambda: wrong(cluster),
                WELL,
                "all is well",
                wanted=[],
                ignoring=cluster.AWAY,
                interval=1,
            )
    assert traffic.values
    # With its key each hit is sent until it is acknowledged, so all are counted, each once.
    assert sorted(traffic.values) == list(range(1, len(traffic.values) + 1))
    assert cluster.count(f"daemons-{signal}") == len(traffic.values)
    holder(cluster)


def test_what_an_operator_stops_stays_stopped(cluster):
    node = cluster.with_role("web")[0]
    mount = "srv-shared.mount"
    cluster.on(node, "systemctl", "stop", mount)
    try:
        # Longer than it takes for one that was lost to be back.
        watching = Daemon(node, "counterapp-watch.service")
        assert processes(cluster, watching)
        with pytest.raises(AssertionError, match="is back"):
            until(
                lambda: cluster.on(node, "systemctl", "is-active", mount, check=False).strip(),
                12,
                f"{mount} is back",
                wanted="active",
                interval=1,
            )
    finally:
        cluster.on(node, "systemctl", "start", mount)
    one(lambda: cluster.on(node, "pgrep", "-f", CLIENT, check=False).split(), "the volume is back")
