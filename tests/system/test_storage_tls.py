"""Gluster speaks TLS for real, to its own alone; and is switched as a whole or not at all."""

import pytest

from lab import machines
from lab.config import ROOT
from tests.support import guide
from tests.support.waiting import until

DRY, SWITCH = guide.section("docs/operating.md", "Switching it on or off")
COMMAND = SWITCH.split()
TLS = "openssl s_client -CAfile /etc/ssl/glusterfs.ca {own} -connect {address}:{port} </dev/null"
OWN = "-cert /etc/ssl/glusterfs.pem -key /etc/ssl/glusterfs.key"
# In a mount namespace of its own, so that the node itself is left as it is.
STRANGER = """
set -e
folder=$(mktemp -d)
cp /etc/ssl/glusterfs.ca "$folder"
mount -t tmpfs none /var/lib/glusterd
mount -t tmpfs none /usr/lib/ssl
mount --bind "$folder" /etc/ssl
if [ "$1" = tls ]; then
    touch /var/lib/glusterd/secure-access
    openssl req -config /dev/null -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -subj /CN=web-1 -days 2 2>/dev/null \
        -keyout /etc/ssl/glusterfs.key -out /etc/ssl/glusterfs.pem
    cp /etc/ssl/glusterfs.* /usr/lib/ssl
fi
mkdir "$folder/mnt"
if timeout 30 mount -t glusterfs "$2:/shared" "$folder/mnt"; then
    umount "$folder/mnt"
    echo mounted
fi
"""


@pytest.fixture(scope="module")
def ports(cluster):
    """Address and port of each thing that listens: every glusterd and every brick."""
    keeper = cluster.with_role("storage")[0]
    bricks = cluster.salt(keeper, "gluster.status", "shared")[keeper]["bricks"]
    found = [(brick["host"], brick["port"]) for brick in bricks]
    return [*found, *((host, 24007) for host, _port in found)]


def test_every_glusterd_and_brick_shows_the_fleets_certificate(cluster, ports):
    names = {node.address: node.id for node in cluster.lab.nodes}
    for address, port in ports:
        # From the newest system to the oldest one.
        shown = cluster.on("web-2", "sh", "-c", TLS.format(own=OWN, address=address, port=port))
        assert f"subject=CN={names[address]}" in shown.replace(" = ", "=")
        assert "Verify return code: 0 (ok)" in shown
        assert "TLSv1.3" in shown


@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_who_has_no_certificate_of_ours_cannot_mount(cluster, kind):
    address = cluster.lab.node("db-1").address
    words = ["unshare", "-m", "sh", "-c", STRANGER, "sh", kind, address]
    assert "mounted" not in cluster.on("lb-1", *words, check=False)
    # What was refused is the stranger: the node itself may.
    assert "releases" in cluster.on("lb-1", "ls", "/srv/shared")


def test_keys_are_roots_alone(cluster):
    for node in cluster.lab.nodes:
        modes = cluster.on(node.id, "stat", "-c", "%a %U", "/etc/ssl/glusterfs.key")
        assert modes.split() == ["600", "root"]


def options(cluster):
    info = cluster.salt("db-1", "gluster.info", "shared")["db-1"]
    return info["options"]["client.ssl"], info["options"]["server.ssl"]


def test_tls_is_switched_as_a_whole(cluster):
    own = cluster.lab.directory / "pillar/gluster.sls"
    text = (ROOT / "pillar/gluster.sls").read_text()
    with cluster.traffic("switching") as traffic:
        own.write_text(text.replace("  tls: true\n", "  tls: false\n"))
        try:
            # No node goes ahead: it converges to what was rolled out, and a rollout is refused.
            for node, sls in (("db-1", "storage"), ("web-1", "gluster")):
                states = cluster.salt(node, "state.apply", sls)[node].values()
                assert all(state["result"] and not state["changes"] for state in states)
            code, output = cluster.rollout()
            assert code != 0
            assert "salt-run storage.switch_tls" in output
            assert options(cluster) == ("on", "on")
            assert "stop glusterd on every storage node" in cluster.typed(DRY).text
            assert options(cluster) == ("on", "on")
            killed_half_way(cluster)
            assert "not come to its end" in cluster.typed(DRY).text
            code, output = cluster.rollout()
            assert code != 0
            assert "salt-run storage.switch_tls" in output
            cluster.master(*COMMAND)
            assert options(cluster) == ("off", "off")
            cluster.until_whole()
        finally:
            own.unlink()
        cluster.master(*COMMAND)
    assert options(cluster) == ("on", "on")
    cluster.until_whole()
    # Serving needs no volume.
    assert traffic.failures == []
    assert cluster.runner("storage.switch_tls", "test=True")["reasons"] == []
    assert "nothing: Gluster works with TLS" in cluster.master(*COMMAND)
    history = cluster.runner("rollout.history", "limit=10")
    assert [entry["outcome"] for entry in history if entry["kind"] == "tls"][:3] == [
        "succeeded",
        "succeeded",
        "failed",
    ]


def killed_half_way(cluster):
    """Run the command until no glusterd runs, and kill it with -9 then."""
    run = machines.popen_on_node(cluster.lab, cluster.lab.master.id, COMMAND)

    def glusterd():
        assert run.poll() is None, run.communicate()
        return cluster.on("db-2", "systemctl", "is-active", "glusterd", check=False)

    until(glusterd, 60, "glusterd is stopped", wanted=lambda state: "inactive" in state)
    cluster.master("pkill", "-KILL", "-f", "storage.switch_tls", check=False)
    run.communicate()
