"""A running replica set: looking at it, losing members, handing over, growing, shrinking."""

import contextlib
import time

import pytest
from pymongo.errors import OperationFailure
from salt.exceptions import CommandExecutionError, SaltInvocationError

from tests.support.mongod import Member, mongod_binary
from tests.support.waiting import until


@contextlib.contextmanager
def locked(cluster, *nodes):
    """Keep the mongods of ``nodes`` from applying what the primary writes."""
    with contextlib.ExitStack() as stack:
        for node in nodes:
            member = cluster.rs.members[cluster.nodes.index(node)]
            client = stack.enter_context(
                member.client(username="admin", password=cluster.admin_password)
            )
            client.admin.command("fsync", lock=True)
            stack.callback(client.admin.command, "fsyncUnlock")
        yield


def write(cluster):
    """Write to the primary alone: a majority may not be there to take it."""
    with cluster.rs.client(w=1) as client:
        client.test.things.insert_one({})


def name_of(cluster, node):
    return cluster.names[cluster.nodes.index(node)]


def test_every_member_tells_the_same(cluster):
    primary = name_of(cluster, cluster.primary)
    assert len(cluster.secondaries) == 2
    for node in cluster.nodes:
        seen = node.call("status")
        assert seen["reason"] is None
        assert (seen["reachable"], seen["initialized"], seen["authorized"]) == (True, True, True)
        assert (seen["set"], seen["primary"]) == ("rs0", primary)
        assert seen["me"] == name_of(cluster, node)
        assert [member["name"] for member in seen["members"]] == cluster.names
        for member in seen["members"]:
            assert set(member) == {
                "name",
                "state",
                "health",
                "votes",
                "priority",
                "hidden",
                "delay_s",
                "self",
                "lag_s",
                "trouble",
            }
            assert member["self"] == (member["name"] == seen["me"])
            assert (member["health"], member["votes"], member["priority"]) == (1, 1, 1)
            assert (member["hidden"], member["delay_s"], member["trouble"]) == (False, 0, None)
        assert node.call("status", cluster.names[0])["me"] == cluster.names[0]
        assert node.call("is_primary") == (seen["me"] == primary)
        assert node.call("primary") == node.call("wait_primary") == primary
        found = node.call("healthy", require="all")
        assert found == {"healthy": True, "reasons": [], "notes": []}
        hello = node.call("hello")
        assert hello["hosts"] == cluster.names
        assert hello["set"] == "rs0"


def test_lag_is_the_age_of_what_a_member_lacks(cluster):
    late, other = cluster.secondaries
    with locked(cluster, late):
        # Nothing was written: however old the last write is, nobody is behind.
        assert cluster.primary.call("member_lag")[name_of(cluster, late)] < 0.5
        write(cluster)
        with pytest.raises(CommandExecutionError, match="not within 1 s.*SECONDARY, lag"):
            late.call("wait_member", max_lag=0, timeout=1)
        lags = other.call("member_lag")
        assert lags[name_of(cluster, late)] > 0.5
        assert lags[name_of(cluster, cluster.primary)] == 0.0
        assert other.call("wait_member", max_lag=0.5)["lag_s"] <= 0.5
        assert late.call("wait_member", max_lag=None, timeout=1)["state"] == "SECONDARY"
    assert late.call("wait_member", max_lag=0.5, timeout=30)["lag_s"] <= 0.5


def test_a_secondary_killed_and_back(cluster):
    watcher = cluster.primary
    lost = cluster.rs.secondaries()[0]
    node = cluster.of(lost)
    lost.kill()

    seen = node.call("status")
    assert (seen["reachable"], seen["state"]) == (False, None)
    assert "Connection refused" in seen["reason"]
    assert node.call("ping") is False
    assert node.call("is_primary") is False
    assert node.call("healthy")["healthy"] is False
    with pytest.raises(CommandExecutionError, match="no answer from this node's mongod"):
        node.call("wait_member", timeout=0.5)
    with pytest.raises(CommandExecutionError, match="Connection refused"):
        node.call("wait_reachable", timeout=0.5)

    # The others learn it from the next heartbeat.
    found = until(
        lambda: watcher.call("healthy", require="all")["reasons"], 15, "the loss is noticed"
    )
    assert len(found) == 1
    assert lost.address in found[0]
    with pytest.raises(CommandExecutionError, match=f"not within 0.5 s.*{lost.address}"):
        watcher.call("wait_healthy", require="all", timeout=0.5)
    # The set does its work, and says who does not.
    assert watcher.call("healthy") == {"healthy": True, "reasons": [], "notes": found}
    assert watcher.call("healthy", members=[lost.address])["reasons"] == found
    assert found[0].endswith(": Connection refused")
    assert watcher.call("member_lag")[lost.address] is None
    # The state of one node is not failed by another that is down.
    ret = watcher.state("replica_set_present", "rs0", cluster.names)
    assert (ret["result"], ret["changes"]) == (True, {})

    lost.start()
    assert node.call("wait_member", timeout=30)["state"] == "SECONDARY"
    assert watcher.call("wait_healthy", require="all", timeout=30) is True


def test_without_a_majority_nothing_is_healthy(cluster):
    node = cluster.secondaries[0]
    others = [m for m in cluster.rs.members if m.address != name_of(cluster, node)]
    for member in others:
        member.kill()
    cluster.rs.wait_no_primary()
    with pytest.raises(CommandExecutionError, match="the set has a primary"):
        node.call("wait_primary", timeout=0.5)
    found = node.call("healthy")
    assert found["healthy"] is False
    assert "the set has no primary" in found["reasons"]
    assert "only 1 of 3 voting members are up" in found["reasons"]
    assert set(node.call("member_lag").values()) == {None}
    assert node.call("access")["level"] == "unavailable"
    ret = node.state("user_present", "app", "secrets:mongodb_app", timeout=0.5)
    assert ret["result"] is False
    assert "no primary" in ret["comment"]


def test_the_primary_steps_down_for_another(cluster):
    old = cluster.primary
    new = old.call("step_down", timeout=20)
    assert new != name_of(cluster, old)
    assert new in cluster.names
    assert old.call("primary") == new
    assert old.call("wait_member", timeout=30)["state"] == "SECONDARY"
    with pytest.raises(CommandExecutionError, match=f"not the primary.*{new}"):
        old.call("step_down")


def test_the_role_goes_round_and_nobody_is_left_who_may_not_be_elected(cluster):
    # One that has stepped down would not be elected for the 60 seconds of the default. The third
    # would find nobody, and clients would wait for ten seconds in vain.
    for _ in range(2 * len(cluster.nodes)):
        old = cluster.primary
        assert old.call("step_down") != name_of(cluster, old)


@pytest.mark.parametrize(("priority", "stands"), [(1, True), (2, False)])
def test_one_that_is_preferred_does_not_take_the_role_back_at_once(cluster, priority, stands):
    old, name = cluster.primary, name_of(cluster, cluster.primary)
    settings = [
        {"host": each, "priority": priority if each == name else 1} for each in cluster.names
    ]
    old.call("configure_members", settings)
    old.call("step_down")
    try:
        member = cluster.rs.members[cluster.nodes.index(old)]
        refused = contextlib.nullcontext() if stands else pytest.raises(OperationFailure)
        with member.client(username="admin", password=cluster.admin_password) as client:
            with refused:
                client.admin.command("replSetStepUp")
            if not stands:
                # As the end of its time would.
                client.admin.command("replSetFreeze", 0)
    finally:
        cluster.primary.call("configure_members", [{"host": each} for each in cluster.names])


def test_no_step_down_without_a_successor(cluster):
    primary = cluster.primary
    with pytest.raises(SaltInvocationError, match="at least 2 seconds"):
        primary.call("step_down", timeout=1)
    with locked(cluster, *cluster.secondaries):
        write(cluster)
        with pytest.raises(CommandExecutionError, match="no electable secondary has caught up"):
            primary.call("step_down", max_lag=0)
    assert primary.call("is_primary") is True


def test_a_set_grows_and_shrinks(cluster, tmp_path):
    new = Member(
        mongod_binary(), tmp_path, ["--replSet", "rs0", "--keyFile", str(cluster.rs.keyfile)]
    )
    secondary = cluster.secondaries[0]
    try:
        new.start()
        node = cluster.node(new, "db-4")
        grown = [*cluster.names, new.address]

        for asked in (secondary, node):
            plan = asked.state("replica_set_present", "rs0", grown, "db-1", test=True)
            assert plan["result"] is None
            assert plan["changes"]["members"] == {"old": cluster.names, "new": grown}
            assert ("state" in plan["changes"]) == (asked is node)
        made = node.state("replica_set_present", "rs0", grown, "db-1", timeout=60)
        assert made["result"] is True, made
        assert made["changes"]["members"] == {"old": cluster.names, "new": grown}
        for asked in (*cluster.nodes, node):
            again = asked.state("replica_set_present", "rs0", grown, "db-1")
            assert (again["result"], again["changes"]) == (True, {})
        assert secondary.call("add_member", new.address)["state"] == "SECONDARY"

        for test in (True, False):
            ret = secondary.state("replica_set_present", "rs0", cluster.names, "db-1", test=test)
            assert (ret["result"], ret["changes"]) == (False, {})
            assert f"not declared: {new.address}" in ret["comment"]
            assert f"confirm={new.address}" in ret["comment"]
            # Nobody minds one that is about to be taken out.
            ret = secondary.state(
                "replica_set_present",
                "rs0",
                cluster.names,
                "db-1",
                leaving=[new.address],
                test=test,
            )
            assert (ret["result"], ret["changes"]) == (True, {})

        primary = secondary.call("primary")
        with pytest.raises(CommandExecutionError, match=f"say confirm={new.address}"):
            secondary.call("remove_member", new.address)
        with pytest.raises(CommandExecutionError, match="not a member; members are"):
            secondary.call("remove_member", "127.0.0.1:1", confirm="127.0.0.1:1")
        with pytest.raises(CommandExecutionError, match="step down first"):
            secondary.call("remove_member", primary, confirm=primary)
        left = secondary.call("remove_member", new.address, confirm=new.address)
        assert left == cluster.names
        with pytest.raises(CommandExecutionError, match="REMOVED"):
            node.call("wait_member", "REMOVED?", timeout=2)
        # A rollout that is undone takes it in again.
        back = secondary.state(
            "replica_set_present", "rs0", grown, "db-1", timeout=60, data_timeout=60
        )
        assert back["changes"]["members"] == {"old": cluster.names, "new": grown}
        secondary.call("remove_member", new.address, confirm=new.address)
    finally:
        new.kill()


def test_a_declared_member_that_nobody_starts_fails_by_name(cluster):
    grown = [*cluster.names, "127.0.0.1:1"]
    ret = cluster.nodes[0].state("replica_set_present", "rs0", grown, "db-1", timeout=1)
    assert ret["result"] is False
    assert ret["changes"] == {}
    assert "127.0.0.1:1 does not answer" in ret["comment"]
    assert cluster.nodes[0].call("hello")["hosts"] == cluster.names


def test_arguments_are_checked(cluster):
    node = cluster.nodes[0]
    with pytest.raises(SaltInvocationError, match="require must be"):
        node.call("healthy", require="some")
    with pytest.raises(SaltInvocationError, match="names no port"):
        node.call("status", "db-1")
    with pytest.raises(SaltInvocationError, match="listed twice"):
        node.call("healthy", members=["a:1", "a:1"])


def test_a_frozen_member_holds_nobody_up(cluster):
    watcher = cluster.primary
    frozen = cluster.rs.secondaries()[0]
    frozen.pause()
    started = time.monotonic()
    assert cluster.of(frozen).call("status")["reachable"] is False
    assert watcher.call("healthy")["healthy"] is True
    assert watcher.call("member_lag")[frozen.address] is None
    with pytest.raises(CommandExecutionError, match="no answer"):
        cluster.of(frozen).call("wait_member", timeout=1)
    assert time.monotonic() - started < 20
