"""The settings of a whole replica set, declared on each of its nodes and changed once."""

import pytest
from salt.exceptions import CommandExecutionError

DECLARED = {"electionTimeoutMillis": 3000, "catchUpTimeoutMillis": 60000}


def config(cluster):
    with cluster.rs.client() as client:
        return client.admin.command("replSetGetConfig")["config"]


@pytest.fixture
def before(cluster):
    """The configuration before, which is put back."""
    found = config(cluster)
    yield found
    known = cluster.primary.call("settings")
    old = {key: found["settings"].get(key, known[key]) for key in known}
    cluster.primary.call("configure", old)


def test_a_set_that_serves_gets_its_settings_once_from_whichever_node(cluster, before):
    secondary, other = cluster.secondaries
    old = secondary.call("settings")
    assert old["electionTimeoutMillis"] == before["settings"]["electionTimeoutMillis"]

    plan = secondary.state("replica_set_settings", "rs0", DECLARED, test=True)
    assert plan["result"] is None
    assert plan["changes"] == {
        key: {"old": old[key], "new": value} for key, value in DECLARED.items()
    }
    assert config(cluster)["version"] == before["version"]

    primary = cluster.rs.wait_primary()
    made = secondary.state("replica_set_settings", "rs0", DECLARED)
    assert (made["result"], made["changes"]) == (True, plan["changes"]), made
    after = config(cluster)
    assert after["version"] == before["version"] + 1
    assert after["members"] == before["members"]
    assert after["settings"] == {**before["settings"], **DECLARED}
    assert cluster.rs.wait_primary() is primary
    for node in (secondary, other, cluster.primary):
        for test in (True, False):
            again = node.state("replica_set_settings", "rs0", DECLARED, test=test)
            assert (again["result"], again["changes"]) == (True, {}), again
    assert config(cluster)["version"] == after["version"]


def test_what_cannot_be_a_setting_is_refused_by_name(cluster):
    before = config(cluster)
    for wrong, words in (
        ({"electionTimeout": 3}, "there is no setting electionTimeout"),
        ({"electionTimeoutMillis": 10}, "electionTimeoutMillis is 10: write a whole number"),
    ):
        ret = cluster.primary.state("replica_set_settings", "rs0", wrong)
        assert (ret["result"], ret["changes"]) == (False, {})
        assert words in ret["comment"]
        with pytest.raises(CommandExecutionError, match=words):
            cluster.primary.call("configure", wrong)
    assert config(cluster) == before


def test_without_a_primary_it_says_so(cluster):
    for node in cluster.secondaries:
        cluster.rs.members[cluster.nodes.index(node)].kill()
    cluster.rs.wait_no_primary()
    (left,) = [
        node
        for node, member in zip(cluster.nodes, cluster.rs.members, strict=True)
        if member.running
    ]
    ret = left.state("replica_set_settings", "rs0", DECLARED, timeout=1)
    assert (ret["result"], ret["changes"]) == (False, {}), ret
    assert "primary" in ret["comment"]
