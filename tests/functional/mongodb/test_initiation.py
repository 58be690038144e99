"""From servers that know nothing of each other to a replica set with its users."""

import concurrent.futures

import pymongo
import pytest
from salt.exceptions import CommandExecutionError

from tests.support.loading import load
from tests.support.mongod import replica_set

ADMIN = {"password_pillar": "secrets:mongodb_admin", "roles": ["root"], "admin": True}
APP = {
    "password_pillar": "secrets:mongodb_app",
    "database": "counterapp",
    "roles": ["readWrite"],
}


@pytest.fixture
def bare3(bare_cluster):
    with bare_cluster(3) as cluster:
        yield cluster


def test_three_bare_servers_become_a_set_with_users(bare3):
    first, second, third = bare3.nodes
    names = bare3.names

    seen = first.call("status")
    assert (seen["reachable"], seen["initialized"], seen["members"]) == (True, False, [])
    assert "NotYetInitialized" in seen["reason"]
    assert first.call("healthy") == {"healthy": False, "reasons": [seen["reason"]], "notes": []}
    assert first.call("ping") is True
    assert first.call("is_primary") is False
    assert first.call("primary") is None
    assert first.call("access")["level"] == "unavailable"
    for function in ("member_lag", "step_down", "user_list"):
        with pytest.raises(CommandExecutionError):
            first.call(function)

    plan = first.state("replica_set_present", "rs0", names, "db-1", test=True)
    assert plan["result"] is None
    assert plan["changes"] == {
        "members": {"old": [], "new": names},
        "state": {"old": None, "new": "PRIMARY"},
    }
    assert "would be initiated here" in plan["comment"]
    plan = second.state("replica_set_present", "rs0", names, "db-1", test=True)
    assert plan["result"] is None
    assert "would wait for db-1" in plan["comment"]
    assert first.state("user_present", "admin", test=True, **ADMIN)["result"] is None
    assert first.call("status")["initialized"] is False

    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = [
            pool.submit(node.state, "replica_set_present", "rs0", names, "db-1", timeout=30)
            for node in (second, third)
        ]
        made = first.state("replica_set_present", "rs0", names, "db-1", timeout=30)
        joined = [future.result() for future in waiting]
    assert made["result"] is True, made
    assert made["changes"] == {
        "members": {"old": [], "new": names},
        "state": {"old": None, "new": "PRIMARY"},
    }
    for ret in joined:
        assert ret["result"] is True, ret
        assert ret["changes"]["state"] == {"old": None, "new": "SECONDARY"}
    for node in bare3.nodes:
        again = node.state("replica_set_present", "rs0", names, "db-1")
        assert (again["result"], again["changes"]) == (True, {})

    # No user yet: the server lets nobody but the primary's own machine look.
    assert first.call("access")["level"] == "open"
    assert second.call("access")["level"] == "refused"
    seen = first.call("status")
    assert (seen["state"], seen["authorized"]) == ("PRIMARY", True)
    assert [m["health"] for m in seen["members"]] == [1, 1, 1]
    assert first.call("healthy", members=names, require="all")["healthy"] is True
    assert second.call("wait_member")["state"] == "SECONDARY"
    assert second.call("wait_primary") == bare3.rs.members[0].address

    early = first.state("user_present", "counterapp", **APP)
    assert early["result"] is False
    assert "comes first" in early["comment"]

    plan = first.state("user_present", "admin", test=True, **ADMIN)
    assert (plan["result"], plan["changes"]["user"]["new"]) == (None, "admin")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(second.state, "user_present", "admin", **ADMIN)
        assert not waiting.done()
        made = first.state("user_present", "admin", **ADMIN)
        assert waiting.result()["result"] is True
    assert made["result"] is True, made
    assert made["changes"]["roles"] == {"old": [], "new": ["root@admin"]}
    for node in bare3.nodes:
        again = node.state("user_present", "admin", **ADMIN)
        assert (again["result"], again["changes"]) == (True, {})
        assert node.call("status")["authorized"] is True

    made = third.state("user_present", "counterapp", **APP)
    assert made["result"] is True, made

    # What the initiation needed for itself is gone.
    with bare3.rs.client() as client:
        config = client.admin.command("replSetGetConfig")["config"]
    assert [member["priority"] for member in config["members"]] == [1, 1, 1]
    assert [member["tags"] for member in config["members"]] == [{}, {}, {}]
    assert config["settings"]["electionTimeoutMillis"] == 10_000


def test_a_set_of_one(bare_cluster):
    with bare_cluster(1) as cluster:
        (node,) = cluster.nodes
        made = node.state("replica_set_present", "rs0", cluster.names, cluster.names[0])
        assert made["result"] is True, made
        assert node.state("user_present", "admin", **ADMIN)["result"] is True
        again = node.state("replica_set_present", "rs0", cluster.names, cluster.names[0])
        assert (again["result"], again["changes"]) == (True, {})
        assert node.call("wait_member")["state"] == "PRIMARY"
        with pytest.raises(CommandExecutionError, match="no other member"):
            node.call("step_down")


def test_an_interrupted_initiation_is_finished(bare_cluster):
    with bare_cluster(2) as cluster:
        first, second = cluster.nodes
        utils = load("_utils/mongodb_members.py")
        boot = utils.boot_config("rs0", utils.forms(cluster.names), cluster.names[0])
        with cluster.rs.members[0].client() as client:
            client.admin.command("replSetInitiate", boot)
        cluster.rs.wait_primary()

        assert first.call("survey", "rs0", cluster.names)["unfinished"] is True
        made = first.state("replica_set_present", "rs0", cluster.names, "db-1")
        assert made["result"] is True, made
        assert cluster.rs.members[0].hello().get("passives") is None
        for node in (first, second):
            again = node.state("replica_set_present", "rs0", cluster.names, "db-1")
            assert (again["result"], again["changes"]) == (True, {})


def test_a_re_imaged_initiator_is_taken_back_and_starts_no_second_set(cluster):
    lost = cluster.rs.wait_primary()
    with cluster.rs.client() as client:
        client.keep.things.with_options(write_concern=pymongo.WriteConcern("majority")).insert_one(
            {"precious": 1}
        )
    lost.kill()
    data = lost.folder / "data"
    for path in sorted(data.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    lost.start()

    node = cluster.of(lost)
    with pytest.raises(CommandExecutionError, match="exists already"):
        node.call("initiate", "rs0", cluster.names)
    made = node.state("replica_set_present", "rs0", cluster.names, lost.address, timeout=60)
    assert made["result"] is True, made
    # Nothing, where it had all data again before the state looked.
    assert set(made["changes"]) <= {"state"}
    assert made["changes"].get("state", {"new": "SECONDARY"})["new"] == "SECONDARY"
    assert node.call("wait_member", timeout=30)["lag_s"] <= 2
    with cluster.rs.client() as client:
        assert client.keep.things.count_documents({}) == 1
    with lost.client(username="admin", password=cluster.admin_password) as client:
        assert client.keep.things.count_documents({}) == 1


def test_members_with_a_set_of_their_own_are_never_taken(bare3):
    first, second, _ = bare3.nodes
    for node, name in ((first, bare3.names[:1]), (second, bare3.names[1:2])):
        node.call("initiate", "rs0", name)

    for test in (True, False):
        ret = first.state("replica_set_present", "rs0", bare3.names, "db-1", test=test)
        assert ret["result"] is False
        assert "2 separate sets named rs0" in ret["comment"]
        assert ret["changes"] == {}
    with pytest.raises(CommandExecutionError, match="a replica set rs0 of its own"):
        first.call("add_member", bare3.names[1])
    ret = first.state("replica_set_present", "other", bare3.names, "db-1")
    assert ret["result"] is False
    assert "already belongs to the replica set rs0, not other" in ret["comment"]


def test_no_initiation_while_a_member_is_silent(bare_cluster):
    with bare_cluster(2) as cluster:
        first, second = cluster.nodes
        cluster.rs.members[1].kill()
        plan = first.state("replica_set_present", "rs0", cluster.names, "db-1", test=True)
        assert plan["result"] is None
        assert f"once {cluster.names[1]} answers" in plan["comment"]
        ret = first.state("replica_set_present", "rs0", cluster.names, "db-1", timeout=1)
        assert ret["result"] is False
        assert f"no answer from {cluster.names[1]}" in ret["comment"]
        assert first.call("status")["initialized"] is False

        plan = second.state("replica_set_present", "rs0", cluster.names, "db-1", test=True)
        assert plan["result"] is None
        assert "does not answer yet" in plan["comment"]
        ret = second.state("replica_set_present", "rs0", cluster.names, "db-1", timeout=1)
        assert ret["result"] is False
        assert "Connection refused" in ret["comment"]


def test_one_who_may_not_initiate_waits_no_longer_than_told(bare_cluster):
    with bare_cluster(1) as cluster:
        ret = cluster.nodes[0].state("replica_set_present", "rs0", cluster.names, "db-9", timeout=1)
        assert ret["result"] is False
        assert "not within 1 s" in ret["comment"]


def test_a_stranger_to_the_declared_set_is_told_so(bare_cluster):
    with bare_cluster(2) as cluster, replica_set(1, auth=True, initiate=False) as other:
        stranger = cluster.node(other.members[0], "db-9")
        ret = stranger.state("replica_set_present", "rs0", cluster.names, "db-9", timeout=1)
        assert ret["result"] is False
        assert "none of the declared members" in ret["comment"]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([], "must be a list"),
        ("db-1:27017", "must be a list"),
        (["db-1"], "names no port"),
        (["db-1:27017", "db-1:27017"], "listed twice"),
    ],
)
def test_bad_members_are_named(bare_cluster, members, words):
    with bare_cluster(1) as cluster:
        ret = cluster.nodes[0].state("replica_set_present", "rs0", members, "db-1")
        assert ret["result"] is False
        assert words in ret["comment"]
