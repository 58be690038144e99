"""Bricks added, removed and replaced, and files spread over them, on real nodes."""

import pytest

from tests.functional.gluster.contents import contents, frozen, put_on, volume_of
from tests.functional.gluster.nodes import CallError
from tests.support.waiting import until


@pytest.fixture
def bricks(declared):
    """Where the bricks of the declared volume are, one on each node."""
    return declared[1]["bricks"]


@pytest.fixture
def spread(pool, declared, bricks):
    """A started volume of two sets of one brick each, on the first two nodes."""
    return volume_of(pool, declared[0], bricks[:2])


def _times_asked(node, volume):
    """Return how often a node has asked the processes that move a volume's data for their state."""
    asking = f"volume (rebalance|remove-brick) {volume} .*status :"
    return int(node.sh(f"grep -cE '{asking}' /var/log/glusterfs/cmd_history.log || true"))


def test_a_brick_is_replaced_once(pool, declared, bricks, volume):
    first, second, third = pool
    new = f"{bricks[2]}2"
    arguments = {"volume": volume, "old": bricks[2], "new": new}
    change = {"brick": {"old": bricks[2], "new": new}}
    with contents(first, volume) as files:
        planned = first.state("gluster.brick_replaced", "disk", test=True, **arguments)
        assert (planned["result"], planned["changes"]) == (None, change)
        assert first.call("gluster.info", volume)["bricks"][2]["name"] == bricks[2]
        done = first.state("gluster.brick_replaced", "disk", **arguments)
        assert (done["result"], done["changes"]) == (True, change), done
        assert files.are_intact()
        assert files.are_on(third, new)
        for node, test in ((second, False), (first, True)):
            again = node.state("gluster.brick_replaced", "disk", test=test, **arguments)
            assert (again["result"], again["changes"]) == (True, {}), again

        for wrong, words in (
            ({"old": "db-1:/other", "new": "db-1:/another"}, "db-1:/other cannot be replaced"),
            ({"old": new, "new": bricks[0]}, "cannot be replaced"),
            ({"old": new, "new": "db-3"}, "not written as host:/absolute/path"),
            ({"volume": "none"}, "Volume does not exist"),
        ):
            for test in (True, False):
                ret = first.state(
                    "gluster.brick_replaced", "disk", test=test, **{**arguments, **wrong}
                )
                assert (ret["result"], ret["changes"]) == (False, {})
                assert words in ret["comment"]

        second.sh(f"kill -9 $(cat /run/gluster/vols/{volume}/*.pid)")
        until(
            lambda: first.call("gluster.status", volume)["bricks"][1],
            15,
            f"{bricks[1]} is offline",
            wanted=lambda brick: not brick["online"],
        )
        back = {"volume": volume, "old": new, "new": f"{bricks[2]}3"}
        for test in (True, False):
            ret = first.state("gluster.brick_replaced", "disk", test=test, **back)
            assert (ret["result"], ret["changes"]) == (False, {})
            assert f"left as it is: brick {bricks[1]} is offline" in ret["comment"]


def test_bricks_are_added_and_copies_removed_by_hand(pool, declared, bricks, volume):
    first = pool[0]
    more = [f"{brick}2" for brick in bricks]
    for wrong, words in (
        ({"bricks": more[:2]}, "2 bricks were given .* a whole set .* would take 3"),
        ({"bricks": more, "replica": 4}, "4 copies would take 1"),
        ({"bricks": []}, "must be a list of host:/path"),
        ({"bricks": [bricks[0], *more[1:]]}, "not available"),
    ):
        with pytest.raises(CallError, match=words):
            first.call("gluster.add_bricks", volume, **wrong)
    assert first.call("gluster.add_bricks", volume, more)["distribute"] == 2

    taken = [bricks[2], more[2]]
    for wrong, words in (
        ({"confirm": None}, f"{bricks[2]}, {more[2]} not taken out .* say confirm={volume}"),
        ({"bricks": taken[:1], "confirm": volume}, "2 copies would take 2"),
        ({"bricks": ["db-1:/x", "db-2:/x"], "confirm": volume}, "has no brick db-1:/x, db-2:/x"),
    ):
        with pytest.raises(CallError, match=words):
            first.call("gluster.remove_bricks", volume, **{"bricks": taken, "replica": 2, **wrong})
    made_of = first.call("gluster.remove_bricks", volume, taken, replica=2, confirm=volume)
    assert (made_of["replica"], made_of["distribute"]) == (2, 2)
    made_of = first.call("gluster.add_bricks", volume, taken, replica=3, arbiter=1, force=True)
    assert [brick["arbiter"] for brick in made_of["bricks"]] == [False, False, True] * 2


def test_data_is_moved_off_bricks_and_back(pool, declared, bricks, spread):
    first, second, third = pool
    gone = [bricks[1]]
    with contents(first, spread) as files:
        path = bricks[1].partition(":")[2]
        there = second.sh(f"cd {path} && find dir* -type f -size +0 | sort").split()
        assert there
        seen = third.call("gluster.files_on", spread, gone, most=99)
        assert {brick: sorted(names) for brick, names in seen.items()} == {
            bricks[1]: [f"/{name}" for name in there]
        }
        assert len(third.call("gluster.files_on", spread, bricks[:2], most=1)[bricks[1]]) == 1
        with pytest.raises(CallError, match=f"{spread} has no brick db-1:/none"):
            first.call("gluster.files_on", spread, ["db-1:/none"])
        idle = first.call("gluster.remove_status", spread, gone)
        assert (idle["status"], idle["task"], idle["nodes"]) == ("not started", None, [])
        with pytest.raises(CallError, match=f"not moved off {bricks[1]}: not started"):
            first.call("gluster.remove_commit", spread, gone, confirm=spread)
        with pytest.raises(CallError, match="not started"):
            first.call("gluster.wait_emptied", spread, gone, timeout=5)
        with pytest.raises(CallError, match=r"not started .*\(30800\)"):
            first.call("gluster.remove_stop", spread, gone)

        with frozen(second, spread):
            assert first.call("gluster.remove_bricks", spread, gone)["distribute"] == 2
            asked = _times_asked(first, spread)
            with pytest.raises(CallError, match="in progress"):
                first.call("gluster.wait_emptied", spread, gone, timeout=2)
            # A process that is asked as it ends may pass for one that never does.
            assert _times_asked(first, spread) == asked + 1
            with pytest.raises(CallError, match="in progress"):
                first.call("gluster.remove_commit", spread, gone, confirm=spread)
            # Its process waits for the brick, and would begin in spite of a stop.
            with pytest.raises(CallError, match="on db-2 has not begun .* then stop again"):
                first.call("gluster.remove_stop", spread, gone, timeout=0)
        stopped = first.call("gluster.remove_stop", spread, gone)
        assert stopped["status"] in ("stopped", "completed")
        assert first.call("gluster.remove_status", spread, gone)["status"] == "not started"
        assert files.are_intact()

        # Whoever stops and begins again does not meet the process that was stopped, nor one that
        # has completed. How much it had in hand, and moved to its end, is luck.
        first.call("gluster.rebalance", spread, fix_layout=True)
        first.call("gluster.wait_rebalanced", spread, timeout=60)
        put_on(third, spread, bricks[1], "dir1/again")
        sizes = second.sh(f"cd {path} && find dir* -type f -size +0 -printf '%s\\n'").split()
        first.call("gluster.remove_bricks", spread, gone)
        found = second.call("gluster.wait_emptied", spread, gone, timeout=60)
        (node,) = found["nodes"]
        assert (found["status"], node["host"], node["status"]) == ("completed", "db-2", "completed")
        assert (found["failures"], found["skipped"]) == (0, 0)
        assert (found["files"], found["bytes"]) == (len(sizes), sum(map(int, sizes)))
        first.sh(f"rm {files.folder}/dir1/again")
        with pytest.raises(CallError, match=f"{bricks[1]} not taken out .* say confirm={spread}"):
            first.call("gluster.remove_commit", spread, gone)
        # glusterd goes on saying "completed", and would take the brick out with what is on it.
        put_on(third, spread, bricks[1], "dir1/late")
        for function, more in (("wait_emptied", {}), ("remove_commit", {"confirm": spread})):
            with pytest.raises(CallError, match=f"completed.*; still on {bricks[1]}: /dir1/late"):
                first.call(f"gluster.{function}", spread, gone, **more)
        second.sh(f"rm {path}/dir1/late")
        assert third.call("gluster.files_on", spread, gone) == {}
        assert first.call("gluster.remove_commit", spread, gone, confirm=spread)["distribute"] == 1
        assert files.are_intact()
        assert files.are_on(first, bricks[0])


def test_a_volume_is_rebalanced_once_for_each_new_set(pool, declared, bricks, spread):
    first, second, third = pool
    first.call("gluster.add_bricks", spread, [bricks[2]])
    change = {"rebalance": {"old": None, "new": "completed"}}
    with contents(first, spread) as files:
        idle = first.call("gluster.rebalance_status", spread)
        assert (idle["status"], idle["task"]) == ("not started", None)
        with pytest.raises(CallError, match="not completed: not started"):
            first.call("gluster.wait_rebalanced", spread)
        planned = first.state("gluster.rebalanced", spread, test=True)
        assert (planned["result"], planned["changes"]) == (None, change)
        assert first.call("gluster.rebalance_status", spread) == idle
        with frozen(third, spread):
            late = first.state("gluster.rebalanced", spread, timeout=0)
        assert late["result"] is False
        assert late["changes"] == {"rebalance": {"old": None, "new": "in progress"}}
        assert "not completed: in progress" in late["comment"]

        done = second.state("gluster.rebalanced", spread)
        assert (done["result"], done["changes"]) == (True, change), done
        for node, test in ((third, False), (first, True)):
            again = node.state("gluster.rebalanced", spread, test=test)
            assert (again["result"], again["changes"]) == (True, {}), again
        found = first.call("gluster.wait_rebalanced", spread, timeout=0)
        assert [node["status"] for node in found["nodes"]] == ["completed"] * 3
        assert (found["layout_only"], found["failures"]) == (False, 0)
        assert files.are_intact()

        # Of a set that is added now, glusterd's "completed" says nothing.
        first.call("gluster.add_bricks", spread, [f"{bricks[0]}2"])
        assert first.call("gluster.rebalance_status", spread)["status"] == "completed"
        assert first.state("gluster.rebalanced", spread, test=True)["changes"] == change
        with frozen(third, spread):
            first.call("gluster.rebalance", spread, fix_layout=True)
            with pytest.raises(CallError, match="already started"):
                first.call("gluster.rebalance", spread)
        found = first.call("gluster.wait_rebalanced", spread, timeout=60)
        assert (found["status"], found["layout_only"], found["files"]) == ("completed", True, 0)
        assert first.state("gluster.rebalanced", spread, test=True)["changes"] == change
        task = first.call("gluster.rebalance", spread, force=True)
        stopped = first.call("gluster.rebalance_stop", spread)
        assert stopped["status"] in ("stopped", "completed")
        assert stopped["task"] == task
        assert first.call("gluster.rebalance_status", spread)["status"] == "not started"
        assert files.are_intact()
    with pytest.raises(CallError, match="Rebalance not started"):
        first.call("gluster.rebalance_stop", spread)
    with pytest.raises(CallError, match="exclude each other"):
        first.call("gluster.rebalance", spread, fix_layout=True, force=True)


def test_a_volume_that_cannot_be_rebalanced_is_told(pool, declared, volume):
    first = pool[0]
    ret = first.state("gluster.rebalanced", volume)
    assert (ret["result"], ret["changes"]) == (True, {})
    assert "one set of bricks: nothing to spread" in ret["comment"]
    with pytest.raises(CallError, match="contains only 1 brick"):
        first.call("gluster.rebalance", volume)
    first.call("gluster.stop", volume)
    for name, words in ((volume, "is Stopped, not Started"), ("none", "Volume does not exist")):
        for test in (True, False):
            ret = first.state("gluster.rebalanced", name, test=test)
            assert (ret["result"], ret["changes"]) == (False, {})
            assert words in ret["comment"]
