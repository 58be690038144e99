"""Nodes that leave, enter, and are made anew under their names, as docs/operating.md says it."""

import yaml

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


def test_a_web_server_leaves_and_another_enters_under_its_name_unnoticed(cluster):
    destroy = guide.section(GUIDE, "A lost node")[0].replace("web-1", "web-2")
    leave = guide.section(GUIDE, "Nodes that enter and leave")[-1]
    topology = cluster.lab.directory / "pillar" / "topology.sls"
    before = topology.read_text()
    leaving = yaml.safe_load(before)
    leaving["topologies"]["default"]["leaving"] = ["web-2"]
    with cluster.traffic("left") as traffic:
        topology.write_text(yaml.safe_dump(leaving))
        try:
            follow(cluster, leave)
        finally:
            topology.write_text(before)
        assert "web-2" not in cluster.salt("*", "test.ping")
        assert "web-2" not in cluster.master("salt-key", "--list=accepted").split()
        stopped = ["systemctl", "is-active", "counterapp", "salt-minion"]
        assert "active" not in cluster.on("web-2", *stopped, check=False).split()
        views = cluster.salt("lb-*", "haproxy.servers", "web").values()
        assert {server["name"] for view in views for server in view} == {"web-1"}
        follow(cluster, destroy, "make up")
    assert traffic.failures == []
    assert sorted(traffic.values) == list(range(1, len(traffic.values) + 1))
    assert cluster.count("left") == len(traffic.values) > 0
    cluster.until_whole()
    assert set(cluster.send("left-after", 40).nodes) == set(cluster.with_role("web"))


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
    assert len(traffic.values) > 1000
    assert traffic.problems(cluster.count("made-anew")) == []
    cluster.until_whole()
    # To the pool the storage node is who it was, and the new master knows what the old one did.
    assert peers(cluster) == known
    assert before[0] in cluster.runner("rollout.history")
    assert set(cluster.salt("*", "test.ping")) == {node.id for node in cluster.lab.nodes}
    after = cluster.send("made-anew-after", 40)
    assert after.failures == []
    assert set(after.nodes) == set(cluster.with_role("web"))
