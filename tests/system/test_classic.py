"""The small topology: the same states on fewer nodes."""

import pytest

from lab import up


@pytest.fixture(scope="module")
def classic(start_cluster):
    with start_cluster("counterapp-classic", "192.168.35.0/24", "classic") as cluster:
        run = cluster.tool("up", "--nodes-only")
        assert run.code == 0, run.text
        # By name: the tests of the other topology may be building releases meanwhile.
        code, output = cluster.rollout(up.default_release())
        assert code == 0, output
        yield cluster


def test_five_nodes_serve_and_count_exactly(classic):
    assert len(classic.lab.nodes) == 5
    traffic = classic.send("classic", 100)
    assert traffic.failures == []
    assert sorted(traffic.values) == list(range(1, 101))
    assert set(traffic.nodes) == set(classic.with_role("web"))


def test_the_one_member_is_a_primary_and_the_volume_has_three_bricks(classic):
    (db,) = classic.with_role("db")
    assert classic.salt(db, "mongodb.is_primary")[db] is True
    assert len(classic.salt(db, "gluster.info", "shared")[db]["bricks"]) == 3


def test_make_up_of_a_fleet_that_serves_changes_nothing(classic):
    run = classic.tool("up")
    assert run.code == 0, run.text
    (last,) = classic.runner("rollout.history", "limit=1")
    assert last["changes"] == {}


def test_down_leaves_no_trace(classic):
    assert classic.tool("down").code == 0
    assert up.traces(classic.lab) == []
