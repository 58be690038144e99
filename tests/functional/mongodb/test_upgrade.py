"""The feature compatibility of a real set: told, and changed on purpose only."""

import pytest
from salt.exceptions import CommandExecutionError, SaltInvocationError

from tests.support.mongod import replica_set

from .conftest import Cluster


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    with replica_set(3, auth=True) as rs:
        cluster = Cluster(rs, tmp_path_factory.mktemp("upgrade"))
        cluster.nodes = [
            cluster.node(member, f"upgrade-{number}") for number, member in enumerate(rs.members)
        ]
        yield cluster


def told(cluster):
    return [node.call("feature_compatibility")["version"] for node in cluster.nodes]


def test_it_goes_back_and_forth_by_one_series(nodes):
    node = nodes.nodes[0]
    assert told(nodes) == ["6.0"] * 3
    assert node.call("server_info")["compatibility"] == "6.0"
    for version in ("5.0", "6.0"):
        with pytest.raises(CommandExecutionError, match=rf"to do it say confirm={version}"):
            node.call("set_feature_compatibility", version)
        found = node.call("set_feature_compatibility", version, confirm=version)
        assert (found["version"], found["target"]) == (version, None)
        nodes.rs.wait_secondaries(2)
        # One that has it already wants nothing.
        assert node.call("set_feature_compatibility", version)["version"] == version
    # What YAML makes of it on a command line.
    assert node.call("set_feature_compatibility", 6.0)["version"] == "6.0"


@pytest.mark.parametrize("version", ["4.4", "7.0", "8.0"])
def test_what_a_members_program_does_not_know_is_refused(nodes, version):
    with pytest.raises(CommandExecutionError, match=r"runs 6\.0\.\d+, which knows 5\.0 and 6\.0"):
        nodes.nodes[0].call("set_feature_compatibility", version, confirm=version)
    assert told(nodes) == ["6.0"] * 3


@pytest.mark.parametrize("version", ["six", "6", "6.0.5", ""])
def test_what_is_no_series_is_refused(nodes, version):
    with pytest.raises(SaltInvocationError):
        nodes.nodes[0].call("set_feature_compatibility", version, confirm=version)


def test_a_member_that_is_not_seen_is_none_that_agrees(nodes):
    away = nodes.rs.members[2]
    away.stop()
    try:
        nodes.rs.wait_primary()
        with pytest.raises(CommandExecutionError, match=str(away.port)):
            nodes.nodes[0].call("set_feature_compatibility", "5.0", confirm="5.0")
        assert nodes.nodes[0].call("feature_compatibility")["version"] == "6.0"
    finally:
        away.start()
        nodes.rs.wait_secondaries(2)
