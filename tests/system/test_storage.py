"""The shared volume: on every node, the same everywhere, and not the minion's business to keep."""

import uuid


def test_the_volume_is_mounted_on_every_node(cluster):
    for node in cluster.lab.nodes:
        fields = cluster.on(node.id, "findmnt", "-no", "FSTYPE,SOURCE", "/srv/shared").split()
        assert fields[0] == "fuse.glusterfs"
        assert fields[1].endswith(":/shared")


def test_what_one_node_writes_every_node_reads(cluster):
    text, path = uuid.uuid4().hex, "/srv/shared/written-by-a-test"
    cluster.on("db-3", "python3", "-c", f"open('{path}', 'w').write('{text}')")
    try:
        for node in cluster.lab.nodes:
            assert cluster.on(node.id, "cat", path) == text
    finally:
        cluster.on("db-3", "rm", path)


def test_the_volume_has_as_many_replicas_as_storage_nodes_up_to_three(cluster):
    keepers = cluster.with_role("storage")
    info = cluster.salt(keepers[0], "gluster.info", "shared")[keepers[0]]
    assert info["replica"] == min(3, len(keepers))
    addresses = {cluster.lab.node(keeper).address for keeper in keepers}
    assert {brick["host"] for brick in info["bricks"]} == addresses


def test_a_restart_of_the_minion_leaves_the_mount_alone(cluster):
    mounts = "/proc/self/mountinfo"
    before = [m for m in cluster.on("lb-1", "cat", mounts).splitlines() if "/srv/shared" in m]
    cluster.on("lb-1", "systemctl", "restart", "salt-minion")
    cluster.until_answers("lb-1")
    after = [m for m in cluster.on("lb-1", "cat", mounts).splitlines() if "/srv/shared" in m]
    assert before == after != []


def test_web_nodes_serve_with_the_volume_gone(cluster):
    for node in cluster.with_role("web"):
        cluster.on(node, "systemctl", "stop", "srv-shared.mount")
    try:
        for node in cluster.with_role("web"):
            cluster.on(node, "systemctl", "restart", "counterapp")
            assert cluster.salt(node, "counterapp.wait_ready")[node]["ready"]
        assert cluster.hit("no-volume").ok
    finally:
        for node in cluster.with_role("web"):
            cluster.on(node, "systemctl", "start", "srv-shared.mount")
    cluster.until_whole()
