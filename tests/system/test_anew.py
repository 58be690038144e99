"""Nodes that are gone for good and made anew under their names, as docs/operating.md says it."""

from tests.support import guide
from tests.system.test_failures import holder

GUIDE = "docs/operating.md"
KEEPER = "db-3"


def follow(cluster, *lines):
    """Type lines, each of which must succeed."""
    for line in lines:
        done = cluster.typed(line)
        assert done.code == 0, f"{line}\n{done.text}"


def peers(cluster):
    """Return the UUIDs that the pool knows its members by."""
    return sorted(peer["uuid"] for peer in cluster.salt("db-1", "gluster.peers")["db-1"])


def test_nodes_and_the_master_are_made_anew_while_the_others_serve(cluster, tmp_path):
    destroy, make, replace = guide.section(GUIDE, "A lost node")[:3]
    lines = guide.section(GUIDE, "A master that is a new machine")
    lines = [line.replace("/root/", f"{tmp_path}/") for line in lines]
    before, known = cluster.runner("rollout.history", "limit=1"), peers(cluster)
    lost = [holder(cluster), KEEPER]
    with cluster.traffic("made-anew") as traffic:
        for node in lost:
            follow(cluster, destroy.replace("web-1", node))
        # At once, which takes less time than one after the other.
        follow(cluster, make.replace("web-1", " ".join(lost)))
        for node in lost:
            follow(cluster, replace.replace("web-1", node))
        follow(cluster, *lines)
    # Each hit that was acknowledged is in the count, once.
    assert len(set(traffic.values)) == len(traffic.values) > 1000
    count = cluster.count("made-anew")
    assert len(traffic.values) <= count <= len(traffic.values) + len(traffic.failures)
    assert max(traffic.values) <= count

    cluster.until_whole()
    # To the pool the storage node is who it was, and the new master knows what the old one did.
    assert peers(cluster) == known
    assert before[0] in cluster.runner("rollout.history")
    assert set(cluster.salt("*", "test.ping")) == {node.id for node in cluster.lab.nodes}
    after = cluster.send("made-anew-after", 40)
    assert after.failures == []
    assert set(after.nodes) == set(cluster.with_role("web"))
