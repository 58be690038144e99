"""The volume after someone has been at it by hand: one run of the states mends it, a second one
finds nothing left to do."""

import pytest

from tests.support.waiting import until

KEEPER = "db-1"
STRAY = "performance.cache-size"
# Seconds until a minion that has not answered yet is asked whether it is still at it.
PATIENCE = "--timeout=90"


def apply(cluster, node):
    """Apply the storage states on a node; return the changes by the state's ID."""
    report = cluster.salt(node, "state.apply", "storage", PATIENCE)[node]
    assert isinstance(report, dict), report
    bad = [each["comment"] for each in report.values() if each["result"] is not True]
    assert not bad
    return {each["__id__"]: each["changes"] for each in report.values() if each["changes"]}


def gluster(cluster, node, *words):
    return cluster.on(node, "gluster", "--mode=script", *words)


def info(cluster):
    return cluster.salt(KEEPER, "gluster.info", "shared")[KEEPER]


def complaints(cluster):
    return cluster.salt(KEEPER, "gluster.healthy", "shared")[KEEPER]["reasons"]


@pytest.fixture
def mended(cluster):
    """Apply once for what a test has done, then again; return what the first run changed."""

    def mend(node=KEEPER):
        changes = apply(cluster, node)
        assert apply(cluster, node) == {}
        until(
            lambda: complaints(cluster),
            60,
            "the volume is healthy",
            wanted=[],
            ignoring=cluster.AWAY,
        )
        return changes

    return mend


def test_options_set_by_hand(cluster, mended):
    before = info(cluster)["options"]
    assert before["network.ping-timeout"] == "10"
    gluster(cluster, "db-2", "volume", "set", "shared", "network.ping-timeout", "42")
    gluster(cluster, "db-2", "volume", "set", "shared", STRAY, "64MB")
    changes = mended()["The shared volume exists"]
    assert changes["options"] == {"network.ping-timeout": {"old": "42", "new": "10"}}
    assert list(changes["strays"]) == [STRAY]
    assert info(cluster)["options"] == before


def test_a_killed_brick_process(cluster, mended):
    bricks = cluster.salt(KEEPER, "gluster.status", "shared")[KEEPER]["bricks"]
    victim = next(b for b in bricks if b["host"] == cluster.lab.node("db-2").address)
    cluster.on("db-2", "kill", "-KILL", str(victim["pid"]))

    def brick():
        now = cluster.salt(KEEPER, "gluster.status", "shared")[KEEPER]["bricks"]
        return next(b for b in now if b["name"] == victim["name"])

    until(
        brick,
        60,
        "the brick is known to be gone",
        wanted=lambda now: not now["online"],
        ignoring=cluster.AWAY,
    )
    # From any node of the pool, not only from the one that it died on.
    assert set(mended()["The shared volume exists"]["bricks"]) == {victim["name"]}


def test_a_stopped_volume(cluster, mended):
    gluster(cluster, KEEPER, "volume", "stop", "shared")
    changes = mended()["The shared volume exists"]
    assert changes["status"] == {"old": "Stopped", "new": "Started"}
    # The mounts, which were left alone, find their bricks again.
    for node in cluster.lab.nodes:
        assert "releases" in cluster.on(node.id, "ls", "/srv/shared")


def test_a_node_that_forgot_its_peers_says_what_brings_it_back(cluster, mended):
    # glusterd detaches no peer that has bricks; what takes one out is the loss of its files.
    # With peers lost and volumes kept, it does not even start.
    cluster.on("db-2", "systemctl", "stop", "glusterd")
    home = "/var/lib/glusterd"
    cluster.on("db-2", "sh", "-c", f"rm -rf {home}/peers/* {home}/vols/*")
    cluster.on("db-2", "systemctl", "reset-failed", "glusterd")
    cluster.on("db-2", "systemctl", "start", "glusterd")
    assert cluster.salt("db-2", "gluster.peers")["db-2"] == []
    # Who its pool is, another node decides: one documented command.
    refused = cluster.salt("db-2", "state.apply", "storage", PATIENCE)["db-2"]
    keeper, own = (cluster.lab.node(node).address for node in (KEEPER, "db-2"))
    command = ("gluster.rejoin", keeper, f"confirm={own}")
    assert " ".join(command) in str(refused)
    assert isinstance(cluster.salt("db-2", *command, PATIENCE)["db-2"], dict)
    # Its brick kept its data and is there again.
    assert mended("db-2") == {}
    assert info(cluster)["started"]
