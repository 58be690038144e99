"""Volumes: volume_present and the functions under it, on real nodes."""

import pytest

from tests.functional.gluster.nodes import CallError, everywhere
from tests.support.waiting import until

pytestmark = pytest.mark.every_glusterfs


def applied(node, declared, **changed):
    name, arguments = declared
    return node.state("gluster.volume_present", name, **{**arguments, **changed})


def test_a_volume_is_created_once(pool, declared):
    first, second, _ = pool
    name, arguments = declared
    planned = applied(first, declared, test=True)
    assert planned["result"] is None
    assert planned["changes"]["options"] == {"network.ping-timeout": {"old": None, "new": "10"}}
    assert name not in first.call("gluster.volumes")

    done = applied(first, declared)
    assert done["result"] is True, done
    assert set(done["changes"]) == {"volume", "options", "status"}
    assert done["changes"]["volume"] == planned["changes"]["volume"]

    for node in (first, second):
        again = applied(node, declared)
        assert (again["result"], again["changes"]) == (True, {}), again
    assert applied(first, declared, test=True)["result"] is True

    made_of = first.call("gluster.info", name)
    assert made_of["started"] is True
    assert (made_of["type"], made_of["replica"], made_of["distribute"]) == ("Replicate", 3, 1)
    assert [brick["name"] for brick in made_of["bricks"]] == arguments["bricks"]
    assert made_of["options"]["network.ping-timeout"] == "10"

    state = first.call("gluster.status", name)
    assert all(brick["online"] and brick["size_free"] > 0 for brick in state["bricks"])
    assert {daemon["daemon"] for daemon in state["daemons"]} == {"Self-heal Daemon"}
    assert all(brick["online"] for brick in first.call("gluster.wait_online", name, timeout=1))
    assert first.call("gluster.healthy", name) == {"healthy": True, "reasons": []}
    heal = first.call("gluster.heal_info", name, entries=True)
    assert (heal["total"], heal["split_brain"], len(heal["bricks"])) == (0, 0, 3)


def test_a_volume_is_created_once_when_all_nodes_begin_at_once(pool, declared):
    results = everywhere(lambda node: applied(node, declared), pool)
    assert [ret["comment"] for ret in results if ret["result"] is not True] == []
    assert sum("volume" in ret["changes"] for ret in results) == 1
    again = applied(pool[1], declared)
    assert (again["result"], again["changes"]) == (True, {}), again


def test_what_cannot_be_created_is_refused_before_or_by_glusterd(pool, declared):
    first = pool[0]
    name, arguments = declared
    bricks = arguments["bricks"]
    for changed, words in (
        ({"bricks": bricks[:2]}, "2 bricks cannot be put into sets of replica 3"),
        ({"bricks": [*bricks[:2], "db-3/brick"]}, "is not written as host:/absolute/path"),
        ({"options": {"ping-timeout": 10}}, "write its full name"),
        ({"bricks": [brick.replace("srv", "nowhere") for brick in bricks]}, "No such file"),
        ({"bricks": [brick.replace("/srv/gluster", "/var") for brick in bricks]}, "root partition"),
        ({"bricks": [*bricks[:2], "db-9:/b"]}, "Host db-9 is not in 'Peer in Cluster' state"),
    ):
        if words == "root partition":
            everywhere(lambda node: node.sh(f"mkdir -p /var/{name}"), pool)
        ret = applied(first, declared, **changed)
        assert ret["result"] is False
        assert words in ret["comment"], ret
        assert ret["changes"] == {}
        assert name not in first.call("gluster.volumes")


def test_a_bad_option_is_found_before_anything_is_created(pool, declared):
    for test in (True, False):
        ret = applied(pool[0], declared, test=test, options={"network.ping-timeot": 10})
        assert (ret["result"], ret["changes"]) == (False, {})
        assert "network.ping-timeot" in ret["comment"]
        assert declared[0] not in pool[0].call("gluster.volumes")


def test_options_that_are_not_declared_are_reset_when_asked(pool, declared, volume):
    first = pool[0]
    first.sh(f"gluster --mode=script volume set {volume} cluster.quorum-type none")
    first.sh(f"gluster --mode=script volume set {volume} user.note kept")
    before = first.call("gluster.info", volume)["options"]
    assert applied(first, declared)["changes"] == {}
    drift = {"strays": {"cluster.quorum-type": {"old": "none", "new": None}}}
    planned = applied(first, declared, reset_strays=True, test=True)
    assert (planned["result"], planned["changes"]) == (None, drift)
    assert first.call("gluster.info", volume)["options"] == before
    mended = applied(first, declared, reset_strays=True)
    assert (mended["result"], mended["changes"]) == (True, drift), mended
    del before["cluster.quorum-type"]
    assert first.call("gluster.info", volume)["options"] == before
    assert applied(first, declared, reset_strays=True)["changes"] == {}
    bad = applied(first, declared, reset_strays=True, options={"network.ping-timeout": "banana"})
    assert (bad["result"], bad["changes"]) == (False, {})
    assert "banana" in bad["comment"]


def test_an_option_changed_by_hand_is_set_back(pool, declared, volume):
    pool[1].sh(f"gluster --mode=script volume set {volume} network.ping-timeout 42")
    drift = {"options": {"network.ping-timeout": {"old": "42", "new": "10"}}}
    planned = applied(pool[0], declared, test=True)
    assert (planned["result"], planned["changes"]) == (None, drift)
    assert pool[0].call("gluster.info", volume)["options"]["network.ping-timeout"] == "42"
    mended = applied(pool[0], declared)
    assert (mended["result"], mended["changes"]) == (True, drift)
    assert applied(pool[0], declared)["changes"] == {}

    assert pool[0].call("gluster.set_option", volume, "features.read-only", False) == "off"
    with pytest.raises(CallError, match=r"no.such does not exist.*\(30800\)"):
        pool[0].call("gluster.set_option", volume, "no.such", "1")


def test_a_volume_stopped_by_hand_is_started_and_one_declared_stopped_stays(pool, declared, volume):
    first = pool[0]
    assert first.call("gluster.stop", volume) is True
    assert first.call("gluster.healthy", volume) == {
        "healthy": False,
        "reasons": [f"volume {volume} is Stopped, not Started"],
    }
    with pytest.raises(CallError, match=f"Volume {volume} is not started"):
        first.call("gluster.status", volume)
    kept = applied(first, declared, started=False)
    assert (kept["result"], kept["changes"]) == (True, {})
    mended = applied(first, declared)
    assert (mended["result"], mended["changes"]) == (
        True,
        {"status": {"old": "Stopped", "new": "Started"}},
    )
    stopped = applied(first, declared, started=False)
    assert stopped["changes"] == {"status": {"old": "Started", "new": "Stopped"}}

    with pytest.raises(CallError, match=f"was not deleted: say confirm={volume}"):
        first.call("gluster.delete", volume)
    assert first.call("gluster.delete", volume, confirm=volume) is True
    with pytest.raises(CallError, match=r"Volume does not exist \(30806\)"):
        first.call("gluster.info", volume)
    assert first.call("gluster.healthy", volume)["healthy"] is False


def test_a_killed_brick_is_told_then_started_and_healed(pool, declared, volume):
    first, _, third = pool
    brick = f"db-3:/srv/gluster/{volume}/brick"
    third.sh(f"kill -9 $(cat /run/gluster/vols/{volume}/*.pid)")
    until(lambda: first.call("gluster.healthy", volume)["reasons"], 15, "the loss is noticed")
    first.sh(
        f"mkdir -p /mnt/{volume} && mount -t glusterfs localhost:/{volume} /mnt/{volume}\n"
        f"echo written-meanwhile > /mnt/{volume}/file"
    )
    try:
        sick = first.call("gluster.healthy", volume)
        assert sick["healthy"] is False
        assert f"brick {brick} is offline" in sick["reasons"]
        assert any("entries wait to be healed on db-1" in reason for reason in sick["reasons"])
        heal = first.call("gluster.heal_info", volume, entries=True)
        assert "/file" in {entry["path"] for entry in heal["bricks"][0]["entries"]}
        assert heal["bricks"][2]["connected"] is False
        with pytest.raises(CallError, match=f"still offline after 0 s: {brick}"):
            first.call("gluster.wait_online", volume, timeout=0)

        drift = {"bricks": {brick: {"old": "offline", "new": "online"}}}
        planned = applied(first, declared, test=True)
        assert (planned["result"], planned["changes"]) == (None, drift)
        mended = applied(first, declared)
        assert (mended["result"], mended["changes"]) == (True, drift), mended
        assert applied(first, declared)["changes"] == {}
        first.call("gluster.wait_healed", volume, timeout=60, launch=True)
        assert first.call("gluster.healthy", volume) == {"healthy": True, "reasons": []}
        assert third.sh(f"cat /srv/gluster/{volume}/brick/file") == "written-meanwhile\n"
    finally:
        first.sh(f"umount /mnt/{volume}")


def test_a_brick_on_a_node_that_is_down_fails_the_state(pool, declared, volume):
    first, _, third = pool
    third.glusterd("stop")
    try:
        ret = applied(first, declared, timeout=1)
        assert ret["result"] is False
        assert f"db-3:/srv/gluster/{volume}/brick (its host is disconnected)" in ret["comment"]
        reasons = first.call("gluster.healthy", volume)["reasons"]
        assert "peer db-3 is not ready: disconnected" in reasons
    finally:
        third.glusterd("start")
    assert applied(first, declared)["result"] is True


def test_a_volume_is_deleted_only_when_its_name_is_said_twice(pool, declared, volume):
    first, second, _ = pool
    name, arguments = declared
    for confirm in (None, "other"):
        for test in (True, False):
            kept = first.state("gluster.volume_absent", name, confirm=confirm, test=test)
            assert (kept["result"], kept["changes"]) == (False, {})
            assert f"with bricks {', '.join(arguments['bricks'])} was left" in kept["comment"]
            assert f"say confirm: {name}" in kept["comment"]
    planned = first.state("gluster.volume_absent", name, confirm=name, test=True)
    assert planned["result"] is None
    assert set(planned["changes"]) == {"status", "volume"}
    assert first.call("gluster.info", name)["started"] is True

    done = everywhere(lambda node: node.state("gluster.volume_absent", name, confirm=name), pool)
    assert [ret["result"] for ret in done] == [True] * 3, done
    changes = [step for ret in done for step in ret["changes"].items()]
    assert sorted(changes, key=lambda step: step[0]) == list(planned["changes"].items())
    assert name not in first.call("gluster.volumes")
    assert second.sh(f"test -d /srv/gluster/{name}/brick && echo there") == "there\n"
    for test in (True, False):
        again = first.state("gluster.volume_absent", name, confirm=name, test=test)
        assert (again["result"], again["changes"]) == (True, {})
    bad = first.state("gluster.volume_absent", "no/name", confirm="no/name")
    assert (bad["result"], bad["changes"]) == (False, {})
