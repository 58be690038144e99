"""A set goes from one series of MongoDB to the next, and back, with real programs of both."""

import pytest
from salt.exceptions import CommandExecutionError

from tests.functional.mongodb.backups import Writers, contents, differing, furnish
from tests.functional.mongodb.conftest import Cluster
from tests.support.loading import load
from tests.support.mongod import mongod_binary, replica_set
from tests.support.older_mongod import older_mongod
from tests.support.waiting import until

version = load("_utils/mongodb_version.py")

OLD, NEW = "5.0.4", "6.0.5"


@pytest.fixture
def cluster(tmp_path):
    """A set of three of the older series, whose minions know nothing of that."""
    with replica_set(3, auth=True, binary=older_mongod()) as rs:
        yield Cluster(rs, tmp_path)


def programs(cluster):
    """Return what each member runs and goes by, in their order."""
    found = [node.call("feature_compatibility") for node in cluster.nodes]
    assert {each["target"] for each in found} == {None}
    return [(each["runs"], each["version"]) for each in found]


def replace(cluster, member, binary):
    """Have a member run another program, as a rollout does it: it is no primary meanwhile."""
    node = cluster.of(member)
    if node.call("is_primary"):
        node.call("step_down")
    member.stop()
    member.binary = binary
    member.start()
    node.call("wait_member")
    node.call("wait_healthy", require="all")


def replace_all(cluster, binary):
    for member in [*cluster.rs.secondaries(), cluster.rs.wait_primary()]:
        replace(cluster, member, binary)


def has_all(cluster, writers):
    """See that what the writers had acknowledged is there, once, and no transaction in part."""
    with cluster.rs.client() as client:
        numbers = sorted(row["_id"] for row in client.shop.ledger.find())
        assert numbers == list(range(len(numbers)))
        assert len(writers.acknowledged) == len(numbers)
        assert sum(row["sum"] for row in client.shop.accounts.find()) == 5000


def test_a_set_goes_to_the_next_series_and_back_while_it_is_written_to(cluster):
    with cluster.rs.client() as client:
        furnish(client)
    assert programs(cluster) == [(OLD, "5.0")] * 3
    assert version.change_problem(OLD, NEW, "5.0") is None
    writers = Writers(cluster.rs)
    with writers.running():
        until(lambda: len(writers.acknowledged), 30, "they write", wanted=lambda count: count > 3)
        first = cluster.rs.secondaries()[0]
        replace(cluster, first, mongod_binary())
        with pytest.raises(CommandExecutionError, match=rf"runs {OLD}, which knows 4\.4 and 5\.0"):
            cluster.of(first).call("set_feature_compatibility", "6.0", confirm="6.0")
        # Until that is changed every member may go back.
        replace(cluster, first, older_mongod())
        replace_all(cluster, mongod_binary())
        assert programs(cluster) == [(NEW, "5.0")] * 3
        cluster.primary.call("set_feature_compatibility", "6.0", confirm="6.0")
        until(lambda: programs(cluster), 30, "all go by it", wanted=[(NEW, "6.0")] * 3)
        before = len(writers.acknowledged)
        until(lambda: len(writers.acknowledged), 30, "they write", wanted=lambda n: n > before)
    has_all(cluster, writers)
    # What the preflight refuses is what MongoDB refuses.
    assert "it must be 5.0" in version.change_problem(NEW, OLD, "6.0")
    member = cluster.rs.secondaries()[0]
    member.stop()
    member.binary = older_mongod()
    with pytest.raises(RuntimeError, match="mongod ended with 62"):
        member.start()
    member.binary = mongod_binary()
    member.start()
    cluster.of(member).call("wait_healthy", require="all")
    cluster.primary.call("set_feature_compatibility", "5.0", confirm="5.0")
    until(lambda: programs(cluster), 30, "all go by it", wanted=[(NEW, "5.0")] * 3)
    assert version.change_problem(NEW, OLD, "5.0") is None
    replace_all(cluster, older_mongod())
    assert programs(cluster) == [(OLD, "5.0")] * 3
    has_all(cluster, writers)


def test_a_backup_of_the_series_before_is_restored_into_ours(tmp_path, other):
    with replica_set(1, auth=True, name="older", binary=older_mongod()) as rs:
        older = Cluster(rs, tmp_path)
        with rs.client() as client, other.rs.client() as theirs:
            furnish(client)
            made = older.nodes[0].backup("dump", tmp_path / "one", primary=True)
            assert made["version"] == OLD
            back = other.nodes[0].backup("restore", tmp_path / "one")
            assert back["checked"] == sorted(made["collections"])
            assert differing(contents(client), contents(theirs)) == []
