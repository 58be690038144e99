"""Pools: peered and the functions under it, on real nodes."""

import pytest

from tests.functional.gluster.nodes import LAB, NAMES, CallError, everywhere, wait_for


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
    assert [ret["result"] for ret in results] == [True] * 3, results
    assert all(len(node.call("gluster.peers")) == 2 for node in apart)
    by_name = apart[2].state("gluster.peered", "pool", peers=NAMES)
    assert (by_name["result"], by_name["changes"]) == (True, {}), by_name


def test_a_host_that_cannot_join_is_named_with_glusterds_words(pool):
    stranger = str(LAB.network[1])
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
        wait_for(lambda: not first.call("gluster.peers")[1]["connected"], 10)
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
