"""The key of a set's members: who has it, and having another one without losing the majority."""

import pymongo
import pytest
from salt.exceptions import CommandExecutionError

from tests.support.mongod import replica_set

from .conftest import Cluster

NEW = "a" * 44


@pytest.fixture
def nodes(tmp_path):
    """A set whose members read a keyfile that a test rewrites, and their minions."""
    with replica_set(3, auth=True) as rs:
        cluster = Cluster(rs, tmp_path)
        keys = {"old": rs.keyfile.read_text().strip(), "new": NEW, "other": "b" * 44}
        cluster.nodes = [
            cluster.node(member, f"key-{number}", keys=keys)
            for number, member in enumerate(rs.members)
        ]
        yield cluster


def taken(cluster):
    """Return which keys each member takes."""
    return [
        [name for name in ("old", "new", "other") if node.call("key_login", f"mongodb:keys:{name}")]
        for node in cluster.nodes
    ]


def test_a_member_takes_its_own_key_alone(nodes):
    assert taken(nodes) == [["old"]] * 3
    nodes.rs.members[0].stop()
    with pytest.raises(CommandExecutionError, match="does not answer"):
        nodes.nodes[0].call("key_login", "mongodb:keys:old")


def test_members_go_over_to_another_key_one_by_one(nodes):
    rs = nodes.rs
    old = rs.keyfile.read_text().strip()
    rs.keyfile.chmod(0o600)
    # As fleet/rotation/keyfile.py has it.
    for content, wanted in ((f'- "{old}"\n- "{NEW}"\n', ["old", "new"]), (NEW, ["new"])):
        rs.keyfile.write_text(content)
        for number, member in enumerate(rs.members):
            member.stop()
            member.start()
            rs.wait_primary()
            rs.wait_secondaries(2)
            with rs.client() as client:
                # All three are members of one set, whichever keys they have.
                sure = pymongo.WriteConcern(3, wtimeout=20000)
                client.counterapp.get_collection("hits", write_concern=sure).insert_one({})
            assert taken(nodes)[number] == wanted
    assert taken(nodes) == [["new"]] * 3
