"""Pools: peered and the functions under it, on real nodes."""

import pytest

from tests.functional.gluster.nodes import NAMES, CallError, everywhere
from tests.support.waiting import until

pytestmark = pytest.mark.every_glusterfs


def seen_by(node, peer):
    """Return the state that a node sees a peer in; which of its names comes first is no matter."""
    return node.call("gluster.find_peers", [peer])[peer]["state"]


def test_a_pool_forms_from_new_nodes(apart):
    first, second, _ = apart
    planned = first.state("gluster.peered", "pool", peers=NAMES, test=True)
    assert planned["result"] is None
    assert planned["changes"] == {"probed": ["db-2", "db-3"]}
    assert first.call("gluster.peers") == []

    done = first.state("gluster.peered", "pool", peers=NAMES)
    assert done["result"] is True, done
    assert done["changes"] == planned["changes"]
    assert [(peer["hostname"], peer["ready"]) for peer in first.call("gluster.peers")] == [
        ("db-2", True),
        ("db-3", True),
    ]

    for node in (first, second):
        again = node.state("gluster.peered", "pool", peers=NAMES)
        assert (again["result"], again["changes"]) == (True, {}), again
    assert first.state("gluster.peered", "pool", peers=NAMES, test=True)["result"] is True
    assert first.call("gluster.probe", "db-2")["added"] is False
    assert first.call("gluster.probe", "db-1")["words"] == "Probe on localhost not needed"


def test_a_pool_forms_when_all_nodes_begin_at_once_and_by_address(apart):
    addresses = [node.address for node in apart]
    results = everywhere(lambda node: node.state("gluster.peered", "pool", peers=addresses), apart)
    # As text, which pytest does not shorten.
    told = "\n".join(ret["comment"] for ret in results)
    assert [ret["result"] for ret in results] == [True] * 3, told
    assert all(len(node.call("gluster.peers")) == 2 for node in apart)
    by_name = apart[2].state("gluster.peered", "pool", peers=NAMES)
    assert (by_name["result"], by_name["changes"]) == (True, {}), by_name


def test_peers_are_listed_when_a_probe_has_come_through(apart):
    first, second, _ = apart
    address = str(first.lab.network[99])
    # At first the packets to what is an address of db-2 go to nobody.
    second.sh(f"ip address add {address}/32 dev lo")
    first.sh(f"ip neighbour replace {address} lladdr 02:00:00:00:00:01 dev eth0")
    try:
        first.sh(f"systemd-run --quiet gluster --mode=script peer probe {address}")
        listed = "gluster --mode=script --xml peer status"
        until(
            lambda: first.sh(listed),
            10,
            "the list of peers is refused",
            wanted=lambda answer: "<opRet>-22</opRet>" in answer,
        )
        soon = "systemd-run --quiet --on-active=3 --timer-property=AccuracySec=100ms"
        first.sh(f"{soon} ip neighbour del {address} dev eth0")
        [peer] = first.call("gluster.peers")
        assert peer["names"] == [address]
    finally:
        first.sh(f"gluster --mode=script peer detach {address} force || true")
        second.sh(f"ip address del {address}/32 dev lo")


def test_a_host_that_cannot_join_is_named_with_glusterds_words(pool):
    stranger = str(pool[0].lab.network[1])
    ret = pool[0].state("gluster.peered", "pool", peers=[*NAMES, stranger], timeout=1)
    assert ret["result"] is False
    assert ret["changes"] == {}
    assert f"{stranger} (gluster peer probe {stranger}: " in ret["comment"]
    assert "Transport endpoint is not connected (107)" in ret["comment"]

    ret = pool[0].state("gluster.peered", "pool", peers=["db-1", "nowhere.invalid"])
    assert ret["result"] is False
    assert "nowhere.invalid does not resolve on this node" in ret["comment"]
    with pytest.raises(CallError, match="is no host name"):
        pool[0].call("gluster.probe", "--help")


def test_a_peer_that_is_down_fails_and_recovers(pool):
    first, _, third = pool
    third.glusterd("stop")
    try:
        until(lambda: seen_by(first, "db-3"), 10, "db-3 is disconnected", wanted="disconnected")
        for test in (True, False):
            ret = first.state("gluster.peered", "pool", peers=NAMES, timeout=1, test=test)
            assert ret["result"] is False
            assert "db-3 (disconnected)" in ret["comment"]
        with pytest.raises(CallError, match=r"db-3 \(disconnected\)"):
            first.call("gluster.wait_peers", NAMES, timeout=0)

        down = third.state("gluster.peered", "pool", peers=NAMES)
        assert down["result"] is False
        assert "Connection failed. Please check if gluster daemon is operational" in down["comment"]
        untold = third.state("gluster.peered", "pool", peers=NAMES, test=True)
        assert untold["result"] is None
        assert "Cannot be told before glusterd runs" in untold["comment"]
    finally:
        third.glusterd("start")
    assert all(peer["ready"] for peer in first.call("gluster.wait_peers", NAMES, timeout=30))


def test_a_host_is_detached_on_purpose_only_and_probed_again(pool):
    first = pool[0]
    for test in (True, False):
        ret = first.state("gluster.detached", "db-3", test=test)
        assert (ret["result"], ret["changes"]) == (False, {})
        assert "forget all volumes of it: say confirm=db-3" in ret["comment"]
    planned = first.state("gluster.detached", "db-3", confirm="db-3", test=True)
    assert (planned["result"], planned["changes"]) == (None, {"detached": "db-3"})
    assert first.call("gluster.is_member", "db-3") is True
    done = first.state("gluster.detached", "db-3", confirm="db-3")
    assert (done["result"], done["changes"]) == (True, {"detached": "db-3"}), done
    for name in ("db-3", "gone.invalid"):
        for test in (True, False):
            again = first.state("gluster.detached", name, test=test)
            assert (again["result"], again["changes"]) == (True, {}), again
    with pytest.raises(CallError, match=r"db-3 is not part of cluster \(2\)"):
        first.call("gluster.detach", "db-3", confirm="db-3")
    with pytest.raises(CallError, match="db-1 is localhost"):
        first.call("gluster.detach", "db-1", confirm="db-1")

    planned = first.state("gluster.peered", "pool", peers=NAMES, test=True)
    assert (planned["result"], planned["changes"]) == (None, {"probed": ["db-3"]})
    mended = first.state("gluster.peered", "pool", peers=NAMES)
    assert (mended["result"], mended["changes"]) == (True, {"probed": ["db-3"]})


def test_a_host_with_bricks_is_not_detached(pool, volume):
    ret = pool[0].state("gluster.detached", "db-3", confirm="db-3", force=True)
    assert (ret["result"], ret["changes"]) == (False, {})
    assert "Peer db-3 hosts one or more bricks" in ret["comment"]


def test_a_host_that_was_detached_while_it_was_down_is_taken_in_again(pool):
    first, _, third = pool
    third.glusterd("stop")
    try:
        until(lambda: seen_by(first, "db-3"), 10, "db-3 is disconnected", wanted="disconnected")
        assert first.call("gluster.detach", "db-3", confirm="db-3") is True
    finally:
        third.glusterd("start")
    mended = first.state("gluster.peered", "pool", peers=NAMES)
    assert (mended["result"], mended["changes"]) == (True, {"probed": ["db-3"]}), mended
    assert all(peer["ready"] for peer in third.call("gluster.wait_peers", NAMES))


def test_a_node_that_lost_its_list_of_peers_is_told_the_remedy_and_mended_by_it(pool):
    first, second, third = pool
    first.glusterd("stop")
    first.sh("rm /var/lib/glusterd/peers/*")
    first.glusterd("start")
    ret = first.state("gluster.peered", "pool", peers=NAMES)
    assert (ret["result"], ret["changes"]) == (False, {})
    assert "this node lost its list of peers: the pool of db-2 knows it as " in ret["comment"]
    until(
        lambda: [peer["state"] for peer in third.call("gluster.peers")],
        20,
        "db-3 sees a peer rejected",
        wanted=lambda states: "Peer Rejected" in states,
    )
    seen = third.state("gluster.peered", "pool", peers=NAMES, timeout=0)
    assert (seen["result"], seen["changes"]) == (False, {})
    assert "run gluster.rejoin db-3 confirm=db-1 on it" in seen["comment"]
    confirm = ret["comment"].partition("confirm=")[2].split()[0]
    first.call("gluster.rejoin", "db-2", confirm=confirm)
    for node in pool:
        mended = node.state("gluster.peered", "pool", peers=NAMES)
        assert (mended["result"], mended["changes"]) == (True, {}), mended


def test_a_rejected_peer_is_told_with_the_remedy_and_mended_by_it(pool, volume):
    first, second, third = pool
    third.glusterd("stop")
    third.sh(f"sed -i s/ping-timeout=10/ping-timeout=11/ /var/lib/glusterd/vols/{volume}/info")
    third.glusterd("start")

    def remedy(comment):
        # It is disconnected for moments, also after it was rejected.
        return "db-3 (Peer Rejected)" in comment and comment.partition("run on db-3: ")[2]

    for test in (True, False):

        def told(test=test):
            ret = first.state("gluster.peered", "pool", peers=NAMES, timeout=1, test=test)
            assert (ret["result"], ret["changes"]) == (False, {})
            return ret["comment"]

        comment = until(told, 30, "the remedy for db-3 is told", wanted=remedy)
    third.sh(f"systemctl reset-failed glusterd || true; {remedy(comment)}")
    for node in (first, second):
        mended = node.state("gluster.peered", "pool", peers=NAMES)
        assert (mended["result"], mended["changes"]) == (True, {}), mended
    assert third.call("gluster.option", volume, "network.ping-timeout")["value"] == "10"


def test_the_op_version_is_raised_and_never_lowered(pool):
    first, _, third = pool
    assert first.call("gluster.version").split(".")[0] in ("10", "11")
    highest = first.call("gluster.max_op_version")
    assert first.call("gluster.op_version") == highest
    with pytest.raises(CallError, match="should not be equal or lower than current"):
        first.call("gluster.set_op_version", highest)
    with pytest.raises(CallError, match="must be a whole number such as"):
        first.call("gluster.set_op_version", "max")
    for version, result in ((90000, True), ("max", True), (highest + 1, False), ("new", False)):
        for test in (True, False):
            ret = first.state("gluster.op_version", "pool", version=version, test=test)
            assert (ret["result"], ret["changes"]) == (result, {}), ret
    older = "/var/lib/glusterd/glusterd.info"
    everywhere(lambda node: node.glusterd("stop"), pool)
    try:
        everywhere(
            lambda node: node.sh(f"sed -i s/operating-version=.*/operating-version=90000/ {older}"),
            pool,
        )
    finally:
        everywhere(lambda node: node.glusterd("start"), pool)
    first.call("gluster.wait_peers", NAMES)
    change = {"op_version": {"old": 90000, "new": highest}}
    planned = first.state("gluster.op_version", "pool", test=True)
    assert (planned["result"], planned["changes"]) == (None, change)
    third.glusterd("stop")
    try:
        until(lambda: seen_by(first, "db-3"), 10, "db-3 is disconnected", wanted="disconnected")
        ret = first.state("gluster.op_version", "pool")
        assert (ret["result"], ret["changes"]) == (False, {})
        assert "db-3 cannot be asked whether it supports it" in ret["comment"]
    finally:
        third.glusterd("start")
    first.call("gluster.wait_peers", NAMES)
    done = first.state("gluster.op_version", "pool")
    assert (done["result"], done["changes"]) == (True, change), done
    assert third.call("gluster.op_version") == highest
    assert first.state("gluster.op_version", "pool")["changes"] == {}
