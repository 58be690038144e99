"""Nodes that are gone for good and made anew under their names, as docs/operating.md says it."""

import pytest

from tests.support import guide
from tests.system.test_failures import holder

GUIDE = "docs/operating.md"
# In the lab a brick is on the root file system.
FORCE = "force=True"
KEEPER = "db-3"


def follow(cluster, *lines):
    """Type lines, each of which must succeed."""
    for line in lines:
        done = cluster.typed(line)
        assert done.code == 0, f"{line}\n{done.text}"


def counted(cluster, counter, traffic):
    """Check that what was acknowledged is in the count, each hit once."""
    assert len(set(traffic.values)) == len(traffic.values) > 100
    count = cluster.count(counter)
    assert len(traffic.values) <= count <= len(traffic.values) + len(traffic.failures)
    assert max(traffic.values) <= count


@pytest.fixture(scope="module")
def identities(cluster):
    """What the others know the storage node by."""
    return sorted(peer["uuid"] for peer in cluster.salt("db-1", "gluster.peers")["db-1"])


def test_a_node_of_each_role_is_made_anew_while_the_others_serve(cluster, identities):
    destroy, forget, up = guide.section(GUIDE, "A lost node")[:3]
    lost = ["web-1", holder(cluster), KEEPER]
    with cluster.traffic("made-anew") as traffic:
        for node in lost:
            follow(cluster, destroy.replace("web-1", node), forget.replace("web-1", node))
        # What a volume's copy is, nobody guesses: the rollout stops and names the command.
        stopped = cluster.typed(up)
        assert stopped.code != 0
        service, rejoin, *rest = guide.section(GUIDE, "A storage node that is a new machine")
        follow(cluster, service, f"{rejoin} {FORCE}", *rest, up)
        made = len(traffic.values)
        assert made > 100
    counted(cluster, "made-anew", traffic)
    cluster.until_whole()
    assert "gluster.rejoin" in stopped.text
    after = sorted(peer["uuid"] for peer in cluster.salt("db-1", "gluster.peers")["db-1"])
    assert after == identities
    again = cluster.send("made-anew-after", 40)
    assert again.failures == []
    assert set(again.nodes) == set(cluster.with_role("web"))


def test_a_new_master_is_the_old_one(cluster, tmp_path):
    lines = guide.section(GUIDE, "A master that is a new machine")
    copy, *anew = (line.replace("/root/", f"{tmp_path}/") for line in lines)
    before = cluster.runner("counterapp.history", "limit=1")
    with cluster.traffic("new-master") as traffic:
        follow(cluster, copy, *anew)
    assert traffic.failures == []
    counted(cluster, "new-master", traffic)
    assert before[0] in cluster.runner("counterapp.history")
    assert set(cluster.salt("*", "test.ping")) == {node.id for node in cluster.lab.nodes}
