"""The volume after someone has been at it by hand: one run of the states, asked for through the
master, mends it, and a second one finds nothing left to do. Each kind of harm by itself is
tests/functional/gluster's."""

import pytest

from tests.support.waiting import until

KEEPER, OTHER = "db-1", "db-2"
STRAY = "performance.cache-size"


def apply(cluster, node):
    """Apply the storage states on a node; return the changes by the state's ID."""
    report = cluster.salt(node, "state.apply", "storage")[node]
    assert isinstance(report, dict), report
    bad = [each["comment"] for each in report.values() if each["result"] is not True]
    assert not bad
    return {each["__id__"]: each["changes"] for each in report.values() if each["changes"]}


def asked(cluster, function):
    return cluster.salt(KEEPER, f"gluster.{function}", "shared")[KEEPER]


@pytest.fixture
def alone(cluster):
    """Leave the brick to the states: the watch over daemons would have it back within seconds."""
    cluster.on(OTHER, "systemctl", "stop", "counterapp-watch")
    yield
    cluster.on(OTHER, "systemctl", "start", "counterapp-watch")


def test_what_was_changed_by_hand_is_mended_from_any_node_of_the_pool(cluster, alone):
    before = asked(cluster, "info")["options"]
    assert before["network.ping-timeout"] == "10"
    bricks = asked(cluster, "status")["bricks"]
    victim = next(b for b in bricks if b["host"] == cluster.lab.node(OTHER).address)
    for words in (f"network.ping-timeout 42\n{STRAY} 64MB").splitlines():
        cluster.on(OTHER, "gluster", "--mode=script", "volume", "set", "shared", *words.split())
    cluster.on(OTHER, "kill", "-KILL", str(victim["pid"]))
    until(
        lambda: [b for b in asked(cluster, "status")["bricks"] if b["name"] == victim["name"]],
        60,
        "the brick is known to be gone",
        wanted=lambda now: not now[0]["online"],
        interval=1,
    )

    changes = apply(cluster, KEEPER)["The shared volume exists"]
    assert changes["options"] == {"network.ping-timeout": {"old": "42", "new": "10"}}
    assert list(changes["strays"]) == [STRAY]
    assert set(changes["bricks"]) == {victim["name"]}
    assert apply(cluster, KEEPER) == {}
    assert asked(cluster, "info")["options"] == before
    until(
        lambda: asked(cluster, "healthy")["reasons"],
        60,
        "the volume is healthy",
        wanted=[],
        interval=1,
    )
    # The mounts, which were left alone, have their bricks again.
    for node in cluster.lab.nodes:
        assert "releases" in cluster.on(node.id, "ls", "/srv/shared")
