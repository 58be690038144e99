"""volume_present brings a volume of another layout to the declared one, with its files intact."""

import pytest

from tests.functional.gluster.contents import contents, frozen, volume_of
from tests.functional.gluster.nodes import CallError, everywhere
from tests.support.waiting import until


@pytest.fixture
def bricks(declared):
    """Where the bricks of the declared volume are, one on each node."""
    return declared[1]["bricks"]


def changed_to(node, name, bricks, replica, steps, **more):
    """Apply another layout in a dry run, in earnest and once more, and check what each tells."""
    before = node.call("gluster.info", name)
    arguments = {"bricks": bricks, "replica": replica, **more}
    planned = node.state("gluster.volume_present", name, test=True, **arguments)
    assert planned["result"] is None, planned
    assert planned["changes"] == {"layout": steps}
    assert node.call("gluster.info", name) == before

    done = node.state("gluster.volume_present", name, **arguments)
    assert done["result"] is True, done
    assert done["changes"] == {"layout": steps}
    after = node.call("gluster.info", name)
    assert sorted(brick["name"] for brick in after["bricks"]) == sorted(bricks)
    assert (after["replica"], after["arbiter"]) == (replica, more.get("arbiter", 0))

    again = node.state("gluster.volume_present", name, **arguments)
    assert (again["result"], again["changes"]) == (True, {}), again
    return after


def test_the_number_of_copies_is_raised_and_lowered(pool, declared, bricks):
    first, second, third = pool
    name = volume_of(pool, declared[0], bricks[:1])
    with contents(first, name) as files:
        step = {"action": "raise", "bricks": [bricks[1]], "replica": 2, "arbiter": 0}
        changed_to(first, name, bricks[:2], 2, [step])
        assert files.are_intact()
        assert files.are_on(second, bricks[1])

        step = {"action": "raise", "bricks": [bricks[2]], "replica": 3, "arbiter": 1}
        after = changed_to(second, name, bricks, 3, [step], arbiter=1)
        assert [brick["arbiter"] for brick in after["bricks"]] == [False, False, True]
        assert files.are_intact()
        assert not files.are_on(third, bricks[2])
        path = bricks[2].partition(":")[2]
        assert third.sh(f"find {path}/dir* -type f | wc -l") == "12\n"

        step = {"action": "lower", "bricks": [bricks[2]], "replica": 2}
        changed_to(first, name, bricks[:2], 2, [step])
        assert files.are_intact()

        other = f"{bricks[2]}2"
        step = {"action": "raise", "bricks": [other], "replica": 3, "arbiter": 0}
        changed_to(first, name, [*bricks[:2], other], 3, [step])
        assert files.are_on(third, other)

        step = {"action": "lower", "bricks": bricks[:2], "replica": 1}
        changed_to(first, name, [other], 1, [step])
        assert files.are_intact()


def test_copies_are_added_once_when_all_nodes_begin_at_once(pool, declared, bricks):
    name = volume_of(pool, declared[0], bricks[:1])
    with contents(pool[0], name) as files:
        results = everywhere(
            lambda node: node.state("gluster.volume_present", name, bricks=bricks, replica=3), pool
        )
        assert [ret["result"] for ret in results] == [True] * 3, results
        assert sum("layout" in ret["changes"] for ret in results) == 1
        assert files.are_intact()
        assert all(files.are_on(*pair) for pair in zip(pool, bricks, strict=True))


def test_sets_are_added_and_taken_out_when_asked_after_their_files_have_moved(
    pool, declared, bricks
):
    first, _, third = pool
    name = volume_of(pool, declared[0], bricks[:1])
    with contents(first, name) as files:
        changed_to(first, name, bricks[:2], 1, [{"action": "add", "bricks": [bricks[1]]}])
        moved = [{"action": "add", "bricks": [bricks[2]]}]
        moved.append({"action": "remove", "bricks": [bricks[0]]})
        arguments = {"bricks": bricks[1:], "replica": 1}
        kept = first.state("gluster.volume_present", name, **arguments)
        assert (kept["result"], kept["changes"]) == (False, {})
        assert f"it also has {bricks[0]}: say remove_bricks: True" in kept["comment"]

        arguments["remove_bricks"] = True
        planned = first.state("gluster.volume_present", name, test=True, **arguments)
        assert (planned["result"], planned["changes"]) == (None, {"layout": moved})
        with frozen(first, name):
            begun = first.state("gluster.volume_present", name, data_timeout=0, **arguments)
        assert begun["result"] is False
        assert "in progress" in begun["comment"]
        assert begun["changes"] == {
            "layout": moved[:1],
            "migration": {"old": None, "new": "in progress"},
        }
        ended = third.state("gluster.volume_present", name, **arguments)
        assert ended["result"] is True, ended
        assert ended["changes"] == {"layout": moved[1:]}
        assert files.are_intact()
        made_of = third.call("gluster.info", name)
        assert [brick["name"] for brick in made_of["bricks"]] == bricks[1:]
        again = first.state("gluster.volume_present", name, **arguments)
        assert (again["result"], again["changes"]) == (True, {}), again


def test_one_brick_of_a_set_is_exchanged_also_when_it_is_lost(pool, declared, bricks, volume):
    first, _, third = pool
    with contents(first, volume) as files:
        # Gone for good: its process, and what it would take to start it again.
        third.sh(
            f"kill -9 $(cat /run/gluster/vols/{volume}/*.pid)\nrm -rf /srv/gluster/{volume}/brick"
        )
        until(
            lambda: first.call("gluster.status", volume)["bricks"][2],
            15,
            f"{bricks[2]} is offline",
            wanted=lambda brick: not brick["online"],
        )
        wanted = [*bricks[:2], f"{bricks[2]}2"]
        step = {"action": "replace", "old": bricks[2], "new": wanted[2]}
        changed_to(first, volume, wanted, 3, [step])
        assert files.are_intact()
        assert files.are_on(third, wanted[2])


def test_what_cannot_be_done_safely_is_refused_and_left_as_it_is(pool, declared, bricks, volume):
    first, second, third = pool
    before = first.call("gluster.info", volume)
    others = [f"{brick}2" for brick in bricks]
    for changed, words in (
        ({"arbiter": 1}, "is a full copy, which cannot become an arbiter"),
        ({"replica": 1, "disperse": 3, "redundancy": 1}, "its disperse count is 0, not 3"),
        ({"bricks": [bricks[0], *others[1:]]}, "replace one, then the next"),
        ({"bricks": [bricks[0], others[1]], "replica": 2}, "change the count alone first"),
        (
            {"bricks": [*bricks[:2], *others[:2]], "replica": 2},
            "one of the changes, then the other",
        ),
        ({"bricks": others}, "it also has"),
        ({"replica": 1}, "put into sets in another way"),
        ({"bricks": bricks[:2], "replica": 2, "started": False}, "only while it is started"),
        ({"replica": 2, "bricks": bricks[:2], "redundancy": 1}, "disperse must be"),
    ):
        for test in (True, False):
            ret = first.state(
                "gluster.volume_present", volume, test=test, **{**declared[1], **changed}
            )
            assert (ret["result"], ret["changes"]) == (False, {}), ret
            assert words in ret["comment"]

    for changed, words in (
        ({"bricks": [*bricks[:2], "db-9:/b"]}, "db-9 does not resolve on this node"),
        ({"bricks": [*bricks[:2], "db-1:/b"]}, f"db-1:/b would be on one host with {bricks[0]}"),
        ({"bricks": [*bricks[:2], "db-3:/nowhere/b"]}, "No such file or directory"),
    ):
        ret = first.state("gluster.volume_present", volume, **{**declared[1], **changed})
        assert (ret["result"], ret["changes"]) == (False, {}), ret
        assert words in ret["comment"]
    assert first.call("gluster.info", volume) == before


def test_no_copy_is_taken_out_while_another_one_is_missing(pool, declared, bricks, volume):
    first, second, _ = pool
    before = first.call("gluster.info", volume)
    with contents(first, volume) as files:
        second.sh(f"kill -9 $(cat /run/gluster/vols/{volume}/*.pid)")
        until(
            lambda: first.call("gluster.status", volume)["bricks"][1],
            15,
            f"{bricks[1]} is offline",
            wanted=lambda brick: not brick["online"],
        )
        files.node.sh(f"echo meanwhile > {files.folder}/dir1/meanwhile")
        found = first.call("gluster.hindrances", volume, [bricks[2]])
        assert f"brick {bricks[1]} is offline" in found
        assert any(f"entries wait to be healed on {bricks[0]}" in reason for reason in found)
        # What waits for a brick that goes anyway is not in the way.
        assert first.call("gluster.hindrances", volume, [bricks[1]]) == []
        for function, arguments in (
            ("remove_bricks", {"bricks": [bricks[2]], "replica": 2, "confirm": volume}),
            ("replace_brick", {"old": bricks[2], "new": f"{bricks[2]}2"}),
        ):
            with pytest.raises(CallError, match=f"brick {bricks[1]} is offline"):
                first.call(f"gluster.{function}", volume, **arguments)
        # Its directory is away, so that it cannot be started.
        second.sh(f"mv /srv/gluster/{volume}/brick /srv/gluster/{volume}/away")
        try:
            for wanted, replica in ((bricks[:2], 2), ([*bricks[:2], f"{bricks[2]}2"], 3)):
                ret = first.state(
                    "gluster.volume_present", volume, bricks=wanted, replica=replica, timeout=1
                )
                assert (ret["result"], ret["changes"]) == (False, {}), ret
                assert bricks[1] in ret["comment"]
        finally:
            second.sh(f"mv /srv/gluster/{volume}/away /srv/gluster/{volume}/brick")
        assert first.call("gluster.info", volume) == before


def test_an_erasure_coded_volume_is_created_and_kept(pool, declared, bricks):
    first = pool[0]
    name = declared[0]
    arguments = {"bricks": bricks, "disperse": 3, "redundancy": 1}
    planned = first.state("gluster.volume_present", name, test=True, **arguments)
    assert (planned["result"], set(planned["changes"])) == (None, {"volume", "status"})
    done = first.state("gluster.volume_present", name, **arguments)
    assert done["result"] is True, done
    made_of = first.call("gluster.info", name)
    assert (made_of["type"], made_of["disperse"], made_of["redundancy"]) == ("Disperse", 3, 1)
    again = first.state("gluster.volume_present", name, **arguments)
    assert (again["result"], again["changes"]) == (True, {}), again
    refused = first.state("gluster.volume_present", name, bricks=bricks, replica=3)
    assert (refused["result"], refused["changes"]) == (False, {})
    assert "its disperse count is 3, not 0, for good" in refused["comment"]
