"""What a stranger on the network, and root on one node, try: docs/security.md says what of it.

The stranger is a machine on the cluster's network that is in no topology, with an image of ours.
"""

import base64
import hashlib
import json
import shutil
from pathlib import Path

import pytest

from lab import engine, images, machines, up
from tests.support import release_archive
from tests.support.waiting import until
from tests.system.test_failures import holder

ATTACKS = Path(__file__).with_name("attacks")
PYTHON = "/opt/salt/bin/python"
STRANGER = "counterapp-test-stranger"
MINE, OTHER = "web-1", "web-2"


@pytest.fixture(scope="module")
def stranger(cluster):
    """A function that runs one of the stranger's attacks and returns what it printed."""
    engine.podman("rm", "--force", "--ignore", "--time", "0", STRANGER)
    engine.podman(
        *("run", "--detach", f"--name={STRANGER}", "--privileged", "--no-hosts"),
        *(f"--network={cluster.lab.name}", f"--ip={cluster.lab.network[77]}"),
        f"--volume={ATTACKS}:/attacks:ro",
        *(images.name("debian12"), "sleep", "infinity"),
    )

    def attack(*words):
        return json.loads(engine.podman("exec", STRANGER, PYTHON, "/attacks/stranger.py", *words))

    yield attack
    engine.podman("rm", "--force", "--time", "0", STRANGER)


def masters_log(cluster):
    """Return what the master has logged of late."""
    return cluster.master("journalctl", "--unit=salt-master", "--since=-2min", "--output=cat")


def test_no_mongod_agrees_to_the_compression_that_gives_its_memory_away(cluster, stranger):
    for member in cluster.with_role("db"):
        offered = stranger("zlib", f"{cluster.lab.node(member).address}:27017")
        assert offered == ["snappy", "zstd"], member


def test_keys_of_strangers_fill_nothing_and_lock_nobody_out(cluster, stranger):
    master = cluster.lab.master
    ids = ["*", "web-9", "web-1\nroot: all is well", *(f"stranger-{n}" for n in range(30)), MINE]
    stranger("keys", master.address, *ids)

    def known():
        return json.loads(cluster.master("salt-key", "--list=all", "--out=json"))

    nodes = sorted(node.id for node in cluster.lab.nodes)
    until(
        known,
        30,
        "only the nodes of the topology are known to the master",
        wanted=lambda seen: (
            sorted(seen["minions"]) == nodes
            and not set(ids[:-1]) & {*seen["minions_pre"], *seen["minions_rejected"]}
        ),
    )
    assert cluster.salt(MINE, "test.ping") == {MINE: True}
    assert "'web-9'" in masters_log(cluster)
    assert "\nroot: all is well" not in masters_log(cluster)


def test_what_is_for_operators_does_not_come_through_the_address_of_the_service(cluster):
    for path in ("/metrics", "//metrics", "/%6detrics", "/./metrics", "/metrics/"):
        assert cluster.get(path).status_code == 404, path


def test_a_stranger_does_not_take_the_address_of_the_service(cluster, stranger):
    before = holder(cluster)
    for balancer in cluster.with_role("lb"):
        stranger("vrrp", cluster.lab.node(balancer).address, cluster.lab.vip)
    assert holder(cluster) == before
    assert cluster.get("/readyz").status_code == 200


def test_a_node_sees_nothing_that_opens_another_one(cluster):
    for node in cluster.lab.nodes:
        seen = set(cluster.on(node.id, "ls", "/srv/counterapp").split())
        if node is cluster.lab.master:
            assert seen >= {"bootstrap", "salt", "pillar", "_modules"}
        else:
            assert seen == {"bootstrap"}
        assert not seen & {"build", ".git"}
        opens = machines.SSH_KEY.read_text().splitlines()[2]
        found = cluster.on(
            node.id,
            *("grep", "--recursive", "--files-with-matches", "--fixed-strings", "--devices=skip"),
            *(f"--regexp={opens}", "/srv", "/etc", "/root", "/home"),
            check=False,
        )
        assert found == "", node.id


# Tenths of what `systemd-analyze security` gives a unit that may do everything: about 9.8.
EXPOSED = {
    "master": {"salt-master": 27},
    "web": {"counterapp": 20},
    "db": {"mongod": 30},
    "storage": {"glusterd": 80},
    "lb": {"haproxy": 50, "keepalived": 70, "vip-guard": 40},
}


@pytest.mark.parametrize("role", EXPOSED)
def test_a_daemon_may_do_little_beside_its_work(cluster, role):
    node = cluster.with_role(role)[0]
    for unit, threshold in EXPOSED[role].items():
        # It fails where the unit may do more.
        cluster.on(node, "systemd-analyze", "security", f"--threshold={threshold}", unit)


def test_no_minion_has_the_master_publish_a_job(cluster):
    attack = (ATTACKS / "event_bus.py").read_text()
    victims = (OTHER, cluster.lab.master.id)
    for victim in victims:
        said = cluster.on(MINE, PYTHON, "-", victim, "/root/owned", stdin=attack)
        assert "sent tag" in said
    # What the master did with them it did before it answers this.
    assert set(cluster.salt("*", "test.ping")) == {node.id for node in cluster.lab.nodes}
    for victim in victims:
        assert cluster.on(victim, "find", "/root", "-name", "owned*") == ""
    assert f"'{MINE}'" in masters_log(cluster)


FORGED = "0.1.0.post3"
VOLUME = "/srv/shared/releases"


@pytest.fixture
def published(cluster, tmp_path):
    """A release that is published and rolled out nowhere, and its path on the volume."""
    modules = {"counterapp/__init__.py": ""}
    built = up.DIST / release_archive.installable(tmp_path, FORGED, modules).name
    shutil.copy(tmp_path / built.name, built)
    assert cluster.runner("release.publish", FORGED)["changed"]
    yield f"{VOLUME}/{built.name}"
    cluster.on(MINE, "rm", "--force", f"{VOLUME}/{built.name}")
    built.unlink()


def test_a_release_that_root_of_a_node_has_changed_runs_nowhere(cluster, published, tmp_path):
    evil = {"counterapp/__init__.py": "", "evil.pth": "import os; open('/root/owned', 'w')\n"}
    folder = tmp_path / "evil"
    folder.mkdir()
    forged = release_archive.installable(folder, FORGED, evil).read_bytes()
    encoded = base64.b64encode(forged).decode()
    cluster.on(MINE, "sh", "-c", f"base64 --decode >{published}", stdin=encoded)

    pillar = json.dumps({"release": FORGED})
    answer = cluster.salt(OTHER, "state.apply", "web", f"pillar={pillar}")[OTHER]
    [installed] = [r for r in answer.values() if r["__id__"] == "The release is installed"]
    assert not installed["result"]
    assert "is not what was published" in installed["comment"]
    assert cluster.on(OTHER, "find", "/root", "-name", "owned*") == ""
    assert FORGED not in cluster.salt(OTHER, "counterapp.releases")[OTHER]

    code, said = cluster.rollout(FORGED)
    assert code != 0
    assert "is not what was published" in said
    assert f"salt-run release.publish {FORGED}" in said

    # What opens for ever, and what leads elsewhere.
    cluster.on(MINE, "rm", published)
    cluster.on(MINE, "mkfifo", published)
    assert "is no regular file" in cluster.rollout(FORGED)[1]
    shadow = cluster.master("sha256sum", "/etc/shadow")
    cluster.on(MINE, "ln", "--symbolic", "--force", "--no-dereference", "/etc/shadow", published)
    assert cluster.runner("release.publish", FORGED)["changed"]
    assert cluster.master("sha256sum", "/etc/shadow") == shadow
    whole = hashlib.sha256((up.DIST / published.rpartition("/")[2]).read_bytes()).hexdigest()
    assert cluster.on(MINE, "sha256sum", published).split()[0] == whole


def test_no_release_is_known_because_it_lies_on_the_volume(cluster):
    stray = f"{VOLUME}/counterapp-6.6.6.tar.gz"
    cluster.on(MINE, "touch", stray)
    assert "6.6.6" not in json.dumps(cluster.runner("release.list"))
    code, said = cluster.rollout("6.6.6")
    cluster.on(MINE, "rm", stray)
    assert code != 0
    assert "release 6.6.6 is not in /srv/counterapp-dist" in said


def test_no_program_on_the_volume_makes_anybody_root(cluster):
    cluster.on(MINE, "install", "--mode=4755", "/usr/bin/id", "/srv/shared/id")
    paths = {OTHER: "/srv/shared/id"} | dict.fromkeys(
        cluster.with_role("storage"), "/srv/gluster/shared/brick/id"
    )
    for node, path in paths.items():
        said = cluster.on(node, "runuser", "-u", "nobody", "--", "sh", "-c", path, check=False)
        assert said == "", node
    cluster.on(MINE, "rm", "/srv/shared/id")
