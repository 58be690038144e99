"""Lost disks and lost nodes: what the node's own functions bring back, and what they refuse."""

import pytest

from lab import engine
from tests.functional.gluster.nodes import NAMES, CallError
from tests.support.waiting import until

pytestmark = pytest.mark.every_glusterfs


@pytest.fixture
def files(pool, volume):
    """What lies on the volume: a text for each path."""
    first = pool[0]
    texts = {f"folder/file-{number}": f"{number}" * 1000 * number for number in range(1, 6)}
    first.sh(f"mkdir -p /mnt/{volume} && mount -t glusterfs localhost:/{volume} /mnt/{volume}")
    first.sh(f"mkdir /mnt/{volume}/folder")
    for path, text in texts.items():
        first.sh(f"printf %s '{text}' > /mnt/{volume}/{path}")
    first.sh(f"umount /mnt/{volume}")
    return texts


def on_brick(node, volume):
    """Return the files on a node's brick, gluster's own left out."""
    root = f"/srv/gluster/{volume}/brick"
    found = node.sh(f"cd {root} && find . -name .glusterfs -prune -o -type f -print").split()
    return {path.removeprefix("./"): node.sh(f"cat {root}/{path}") for path in found}


def brick(node, volume):
    return f"{node.name}:/srv/gluster/{volume}/brick"


def lost(node, volume):
    return [(item["name"], item["reason"]) for item in node.call("gluster.lost_bricks", volume)]


def test_a_lost_disk_is_told_and_its_brick_made_anew(pool, volume, files):
    first, _, third = pool
    name, path = brick(third, volume), f"/srv/gluster/{volume}/brick"
    assert lost(third, volume) == []

    def refusal(node=third, name=name, **keywords):
        with pytest.raises(CallError) as raised:
            node.call("gluster.reset_brick", volume, name, confirm=volume, **keywords)
        return str(raised.value)

    assert f"brick {name} of volume {volume} was left as it is, its data is there" in refusal()
    assert f"{name} is no brick of volume {volume} on this node" in refusal(first)

    # The process of the brick runs on, on a directory that is gone.
    third.sh(f"rm -rf {path}")
    assert lost(third, volume) == [(name, "its directory is missing")]
    third.sh(f"mkdir {path} && touch {path}/foreign")
    assert f"brick {name} was left as it is: its directory is no brick but holds fo" in refusal()
    third.sh(f"rm -rf /srv/gluster/{volume}")
    assert f"/srv/gluster/{volume} is missing on this node: mount the brick's disk" in refusal()
    third.sh(f"mkdir -p /srv/gluster/{volume}")
    with pytest.raises(CallError, match=f"was not reset: say confirm={volume}"):
        third.call("gluster.reset_brick", volume, name)
    first.sh(f"kill -9 $(cat /run/gluster/vols/{volume}/*.pid)")
    until(lambda: first.call("gluster.healthy", volume)["reasons"], 15, "the loss is noticed")
    assert f"its copies {brick(first, volume)} are offline" in refusal()
    first.call("gluster.start", volume, force=True)
    first.call("gluster.wait_online", volume, timeout=30, bricks=[brick(first, volume)])
    assert lost(third, volume) == [(name, "its directory is missing")]
    third.sh(f"mkdir -p {path}")
    assert lost(third, volume) == [(name, "its directory is empty")]
    with pytest.raises(CallError, match=f"was not started with force: brick {name} lost its data"):
        third.call("gluster.start", volume, force=True)

    done = third.call("gluster.reset_brick", volume, name, confirm=volume)
    assert done == {"brick": name, "reason": "its directory is empty"}
    third.call("gluster.wait_healed", volume, timeout=60, launch=True)
    assert on_brick(third, volume) == files
    assert lost(third, volume) == []
    assert first.call("gluster.healthy", volume) == {"healthy": True, "reasons": []}


def test_a_disk_lost_while_the_node_was_down_fails_the_highstate_with_the_remedy(
    pool, declared, volume, files
):
    third = pool[2]
    name = brick(third, volume)
    third.glusterd("stop")
    third.sh(f"rm -rf /srv/gluster/{volume}/brick")
    third.glusterd("start")
    third.call("gluster.wait_peers", NAMES, timeout=30)
    ret = third.state("gluster.volume_present", volume, timeout=3, **declared[1])
    assert ret["result"] is False
    assert f"gluster.reset_brick {volume} {name} confirm={volume}" in ret["comment"]

    third.call("gluster.reset_brick", volume, name, confirm=volume)
    third.call("gluster.wait_healed", volume, timeout=60, launch=True)
    assert on_brick(third, volume) == files
    again = third.state("gluster.volume_present", volume, **declared[1])
    assert (again["result"], again["changes"]) == (True, {})


def test_a_new_machine_under_the_name_of_a_lost_one_takes_its_place(pool, volume, files):
    first, _, third = pool
    (former,) = [peer for peer in first.call("gluster.peers") if peer["hostname"] == "db-3"]
    with pytest.raises(CallError, match="was not made db-3 .* of the pool of db-1: say confirm"):
        third.call("gluster.rejoin", "db-1")
    third.salt.communicate()
    third.salt = None
    engine.podman("rm", "--force", "--time=0", "--volumes", third.container)
    third.start()

    for test in (True, False):
        ret = third.state("gluster.peered", "pool", peers=NAMES, test=test)
        assert (ret["result"], ret["changes"]) == (False, {})
        assert "this node is a new machine: " in ret["comment"]
        assert "run gluster.rejoin db-1 confirm=db-3 on it" in ret["comment"]
    told = first.state("gluster.peered", "pool", peers=NAMES, timeout=1)
    assert told["result"] is False
    assert f"db-3 is a new machine: it has the UUID {uuid(third)}" in told["comment"]

    def refusal(**keywords):
        with pytest.raises(CallError) as raised:
            third.call("gluster.rejoin", "db-1", **keywords)
        return str(raised.value)

    assert f"not made db-3 ({former['uuid']}) of the pool of db-1: say confirm=db-3" in refusal()
    assert f"/srv/gluster/{volume} is missing" in refusal(confirm="db-3")
    with pytest.raises(CallError, match="the pool of db-3 does not know this node"):
        third.call("gluster.rejoin", "db-3", confirm="db-3")
    assert uuid(third) != former["uuid"]

    third.sh(f"mkdir -p /srv/gluster/{volume}")
    done = third.call("gluster.rejoin", "db-1", confirm="db-3")
    assert done == {
        "uuid": former["uuid"],
        "identity": True,
        "volumes": [volume],
        "bricks": {brick(third, volume): "its directory is empty"},
    }
    assert uuid(third) == former["uuid"]
    third.call("gluster.wait_healed", volume, timeout=60, launch=True)
    assert on_brick(third, volume) == files
    for node in (first, third):
        ret = node.state("gluster.peered", "pool", peers=NAMES)
        assert (ret["result"], ret["changes"]) == (True, {})
        until(
            lambda node=node: node.call("gluster.healthy", volume)["reasons"],
            20,
            f"{node.name} finds the volume healthy",
            wanted=[],
        )
    again = third.call("gluster.rejoin", "db-1", confirm="db-3")
    assert (again["identity"], again["bricks"]) == (False, {})


def test_a_machine_that_is_in_use_takes_no_other_ones_place(apart):
    first, second, third = apart
    first.call("gluster.gather", NAMES[:2])
    with pytest.raises(CallError, match="does not know this node, but db-2: have it probed"):
        third.call("gluster.rejoin", "db-1", confirm="db-3")
    with pytest.raises(CallError, match="Connection failed"):
        third.call("gluster.rejoin", str(first.lab.network[99]), confirm="db-3")


def uuid(node):
    return node.sh("gluster system:: uuid get").split()[-1]
