"""How far data has come on its way between bricks, from answers of real daemons."""

import pytest
from salt.exceptions import CommandExecutionError

from tests.support.loading import load

utils = load("_utils/gluster.py")
brick = load("_utils/gluster_brick.py")
MOVED_OFF = ["db-3:/srv/gluster/a/r2", "db-2:/srv/gluster/a/r2"]


@pytest.fixture
def volume(parsed):
    """The volume of the answers: two sets of two copies on three nodes."""
    return utils.info(parsed("info_removing"))


@pytest.mark.parametrize(
    ("name", "status", "layout_only"),
    [
        ("rebalance_running", "in progress", False),
        ("rebalance_done", "completed", False),
        ("rebalance_stop", "stopped", False),
        ("rebalance_fix_running", "in progress", True),
        ("rebalance_fix_done", "completed", True),
    ],
)
def test_a_rebalance(parsed, volume, name, status, layout_only):
    found = brick.migration(parsed(name), volume)
    assert (found["status"], found["layout_only"]) == (status, layout_only)
    assert [node["host"] for node in found["nodes"]] == ["db-1", "db-2", "db-3"]
    assert {node["status"] for node in found["nodes"]} == {status}
    assert len(found["task"]) == 36
    assert found["files"] == sum(node["files"] for node in found["nodes"])
    assert found["seconds"] == max(node["seconds"] for node in found["nodes"])
    assert (found["failures"], found["skipped"]) == (0, 0)
    if name == "rebalance_done":
        assert found["files"] > 0
        assert found["bytes"] > 100000
        assert found["scanned"] > found["files"]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("remove_running", "in progress"),
        ("remove_done", "completed"),
        ("remove_stop", "stopped"),
    ],
)
def test_bricks_being_emptied(parsed, volume, name, status):
    found = brick.migration(parsed(name), volume, MOVED_OFF)
    assert found["status"] == status
    assert [node["host"] for node in found["nodes"]] == ["db-2", "db-3"]
    assert (found["files"] > 0) is (name == "remove_done")


def test_nothing_was_started(volume):
    found = brick.migration(None, volume)
    assert (found["status"], found["task"], found["nodes"]) == ("not started", None, [])
    assert set(found) == set(brick.migration(None, volume, MOVED_OFF))


def test_a_node_that_glusterd_leaves_out_is_unknown_and_so_is_the_whole(parsed, volume):
    root = parsed("remove_done")
    answer = root.find("volRemoveBrick")
    answer.remove(next(node for node in answer.iterfind("node")))
    found = brick.migration(root, volume, MOVED_OFF)
    assert sorted(node["status"] for node in found["nodes"]) == ["completed", "unknown"]
    assert found["status"] == "unknown"


@pytest.mark.parametrize(
    ("first", "second", "whole"),
    [
        (3, 3, "completed"),
        (3, 1, "in progress"),
        (4, 1, "in progress"),
        (4, 3, "failed"),
        (2, 3, "stopped"),
        (0, 3, "not started"),
        (8, 7, "failed"),
        (3, 9, "odd"),
        (1, 9, "in progress"),
    ],
)
def test_the_whole_is_as_far_as_its_last_node(parsed, volume, first, second, whole):
    root = parsed("remove_done")
    for node, number in zip(root.iterfind("volRemoveBrick/node"), (first, second), strict=True):
        node.find("status").text = str(number)
        node.find("statusStr").text = "odd"
    assert brick.migration(root, volume, MOVED_OFF)["status"] == whole


def test_a_migration_is_stopped_only_when_all_nodes_have_begun(parsed, volume):
    # As soon as `start` has returned: no second has passed, and no file been looked at.
    early = brick.migration(parsed("remove_running"), volume, MOVED_OFF)
    for node in early["nodes"]:
        node.update(seconds=0.0, scanned=0)
    at_work = brick.migration(parsed("remove_running"), volume, MOVED_OFF)
    for node, key in zip(at_work["nodes"], ("seconds", "scanned"), strict=True):
        node.update({"seconds": 0.0, "scanned": 0, key: 1})
    done = brick.migration(parsed("remove_done"), volume, MOVED_OFF)
    for begun in (at_work, done, brick.migration(None, volume, MOVED_OFF)):
        looks = iter([early, early, begun])
        assert brick.begun("a", lambda looks=looks: next(looks), [False, False, True]) is begun
    early["nodes"][1]["scanned"] = 1
    with pytest.raises(CommandExecutionError, match="a: nothing stopped: the process on db-2 has"):
        brick.begun("a", lambda: early, [False, True])


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ((1, 1), (2, 2), "stopped"),
        ((1, 1), (4, 2), "stopped"),
        ((1, 1), (1, 3), "stopped"),
        ((1, 3), (3, 3), "completed"),
        ((1, 4), (2, 4), "failed"),
    ],
)
def test_what_was_stopped_is_neither_failed_nor_at_work_for_that(
    answer, volume, before, after, told
):
    found = []
    for numbers in (before, after):
        root = utils.reply(["volume"], answer("remove_done"))
        for node, number in zip(root.iterfind("volRemoveBrick/node"), numbers, strict=True):
            node.find("status").text = str(number)
        found.append(brick.migration(root, volume, MOVED_OFF))
    assert brick.stopped(*found)["status"] == told


def test_progress_in_words(parsed, volume):
    words = brick.progress(brick.migration(parsed("remove_done"), volume, MOVED_OFF))
    assert words.startswith("completed: ")
    assert words.endswith(" files moved, 0 failures, 0 skipped")


def test_a_refusal_to_commit_early_is_in_glusterds_words(answer):
    with pytest.raises(utils.GlusterError, match="migration is in progress") as raised:
        utils.reply(["volume", "remove-brick"], answer("remove_commit_early"))
    assert raised.value.errno == 30800


VOLFILE = """\
volume a-client-0
    type protocol/client
    option remote-subvolume /srv/gluster/a/brick
    option remote-host db-1
end-volume

volume a-client-1
    type protocol/client
    option password secret
    option remote-subvolume /srv/gluster/a/brick2
    option remote-host db-1
end-volume

volume a-dht
    type cluster/distribute
    subvolumes a-client-0 a-client-1
end-volume
"""


def test_the_part_of_a_volfile_that_reaches_one_brick():
    assert brick.client(VOLFILE, "db-1", "/srv/gluster/a/brick2") == (
        "\n".join(VOLFILE.splitlines()[6:12]) + "\n"
    )
    assert "a-client-0" in brick.client(VOLFILE, "db-1", "/srv/gluster/a/brick")
    assert brick.client(VOLFILE, "db-2", "/srv/gluster/a/brick") is None
    assert brick.client(VOLFILE, "db-1", "/srv/gluster") is None
