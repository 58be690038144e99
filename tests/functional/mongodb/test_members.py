"""Members with settings: a set that begins with them, gets others, grows, shrinks and moves."""

import pytest
from salt.exceptions import CommandExecutionError, SaltInvocationError

from tests.support.mongod import AS_DECLARED, Member, free_port, mongod_binary
from tests.support.waiting import until

ADMIN = {"password_pillar": "secrets:mongodb_admin", "roles": ["root"], "admin": True}
HIDDEN = {"priority": 0, "hidden": True}


def config(cluster):
    with cluster.rs.client() as client:
        return client.admin.command("replSetGetConfig")["config"]


def settings(cluster, *keys):
    """Return these settings of each member, in the order of the configuration."""
    return [tuple(entry[key] for key in keys) for entry in config(cluster)["members"]]


def declared(cluster, **by_number):
    """Return all members as mappings, with these settings by ``m1`` and so on."""
    return [
        {"host": name, **by_number.get(f"m{number}", {})}
        for number, name in enumerate(cluster.names, 1)
    ]


@pytest.fixture
def set_of_three(bare_cluster):
    with bare_cluster(3) as cluster:
        yield cluster


def initiated(cluster, members):
    """Have the first node make the set and its administrator."""
    made = cluster.nodes[0].state("replica_set_present", "rs0", members, "db-1")
    assert made["result"] is True, made
    for node in cluster.nodes[1:]:
        # One that is hidden is found although nobody may log in yet.
        ret = node.state("replica_set_present", "rs0", members, "db-1", timeout=60)
        assert ret["result"] is True, ret
        assert set(ret["changes"]) <= {"state"}
    assert cluster.nodes[0].state("user_present", "admin", **ADMIN)["result"] is True
    for node in cluster.nodes:
        until(lambda node=node: node.call("access")["level"] == "granted", 30, "the admin is there")


def as_declared(cluster, members, **more):
    for node in cluster.nodes:
        for test in (True, False):
            ret = node.state("replica_set_present", "rs0", members, "db-1", test=test, **more)
            assert (ret["result"], ret["changes"]) == (True, {}), ret


def test_a_set_begins_with_its_settings_and_gets_others(set_of_three):
    cluster = set_of_three
    first, second, third = cluster.nodes
    tags = {"tags": {"rack": "a"}}
    begin = declared(cluster, m1=tags, m2={"votes": 0, "priority": 0}, m3=HIDDEN)
    initiated(cluster, begin)
    assert settings(cluster, "votes", "priority", "hidden", "tags") == [
        (1, 1, False, {"rack": "a"}),
        (0, 0, False, {}),
        (1, 0, True, {}),
    ]
    as_declared(cluster, begin)
    # Mere addresses leave them as they are.
    as_declared(cluster, cluster.names)
    assert second.call("members")[2] == {
        "host": cluster.names[2],
        **{"votes": 1, "secondaryDelaySecs": 0, "arbiterOnly": False, "tags": {}},
        **HIDDEN,
    }
    seen = {member["name"]: member for member in third.call("status")["members"]}
    assert seen[cluster.names[2]]["hidden"] is True

    # Each way and back, by a node that is neither the primary nor concerned.
    delayed = {**HIDDEN, "secondaryDelaySecs": 5}
    then = declared(cluster, m1={"priority": 2}, m2=delayed, m3={"tags": {"rack": "c"}})
    before = config(cluster)["version"]
    plan = third.state("replica_set_present", "rs0", then, "db-1", test=True)
    assert plan["result"] is None
    assert set(plan["changes"]) == {"settings"}
    assert plan["changes"]["settings"]["old"][cluster.names[1]] == {
        **{"votes": 0, "hidden": False, "secondaryDelaySecs": 0}
    }
    assert config(cluster)["version"] == before
    made = third.state("replica_set_present", "rs0", then, "db-1")
    assert made["result"] is True, made
    assert made["changes"] == plan["changes"]
    # One member at a time.
    assert config(cluster)["version"] == before + 3
    keys = ("votes", "priority", "hidden", "secondaryDelaySecs", "tags")
    assert settings(cluster, *keys) == [
        (1, 2, False, 0, {}),
        (1, 0, True, 5, {}),
        (1, 1, False, 0, {"rack": "c"}),
    ]
    as_declared(cluster, then)
    # It is late on purpose, which nobody has to wait for.
    assert second.call("wait_member", timeout=30)["delay_s"] == 5

    # Only its own, where each node looks after itself.
    plain = declared(cluster)
    for number, node in ((2, second), (3, third)):
        ret = node.state("replica_set_present", "rs0", plain, "db-1", own_settings=True)
        assert ret["result"] is True, ret
        assert list(ret["changes"]["settings"]["new"]) == [cluster.names[number - 1]]
    changed = third.call("configure_members", [plain[0]])
    assert changed == {cluster.names[0]: {"priority": {"old": 2, "new": 1}}}
    assert third.call("configure_members", plain) == {}
    assert settings(cluster, *keys) == [(1, 1, False, 0, {})] * 3


def test_the_primary_steps_down_before_it_cannot_be_elected(cluster):
    primary, name = cluster.primary, cluster.rs.wait_primary().address
    wanted = [{"host": each, **(HIDDEN if each == name else {})} for each in cluster.names]
    plan = primary.state("replica_set_present", "rs0", wanted, test=True)
    assert plan["result"] is None
    assert "refused now" in plan["comment"]
    ret = primary.state("replica_set_present", "rs0", wanted)
    assert (ret["result"], ret["changes"]) == (False, {})
    assert f"{name} is the primary" in ret["comment"]
    with pytest.raises(CommandExecutionError, match="let it step down first"):
        cluster.secondaries[0].call("configure_members", wanted)

    primary.call("step_down")
    made = primary.state("replica_set_present", "rs0", wanted)
    assert made["result"] is True, made
    back = primary.state("replica_set_present", "rs0", declared(cluster))
    assert back["changes"]["settings"]["new"] == {name: {"priority": 1, "hidden": False}}


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ({"votes": 0}, "votes: 0, priority: 0"),
        ({"hidden": True}, "hidden: true, priority: 0"),
        ({"secondaryDelaySecs": 60}, "secondaryDelaySecs: 60, priority: 0, hidden: true"),
        ({"delay": 60}, "write secondaryDelaySecs"),
        ({"priority": "high"}, "a number from 0 to 1000"),
        ({"arbiterOnly": True}, "remove_member .* empty its data folder, and add it again"),
    ],
)
def test_a_wrong_form_is_refused_and_nothing_is_touched(cluster, wrong, right):
    node, version = cluster.nodes[0], config(cluster)["version"]
    last = cluster.names[-1]
    members = [*cluster.names[:2], {"host": last, **wrong}]
    for test in (True, False):
        ret = node.state("replica_set_present", "rs0", members, test=test)
        assert (ret["result"], ret["changes"]) == (False, {})
    with pytest.raises((SaltInvocationError, CommandExecutionError), match=right):
        node.call("configure_members", members[2:])
    if "arbiterOnly" not in wrong:
        with pytest.raises(SaltInvocationError, match=right):
            node.call("add_member", {"host": "127.0.0.1:1", **wrong})
    assert config(cluster)["version"] == version


def test_a_set_that_could_not_be_is_refused(cluster):
    node, version = cluster.nodes[0], config(cluster)["version"]
    for call in ("configure_members", "initiate"):
        args = ["rs0"] if call == "initiate" else []
        members = [{"host": name, "priority": 0} for name in cluster.names]
        with pytest.raises((SaltInvocationError, CommandExecutionError), match="could be elected"):
            node.call(call, *args, members)
    with pytest.raises(CommandExecutionError, match="127.0.0.1:1 is no member; members are"):
        node.call("configure_members", [{"host": "127.0.0.1:1"}])
    with pytest.raises(SaltInvocationError, match="listed twice"):
        node.call("configure_members", [{"host": cluster.names[0]}] * 2)
    with pytest.raises(SaltInvocationError, match="must be a list"):
        node.call("configure_members", cluster.names[0])
    assert config(cluster)["version"] == version


@pytest.fixture
def new(cluster, tmp_path):
    """A server that belongs to no set yet."""
    keyfile = str(cluster.rs.keyfile)
    member = Member(mongod_binary(), tmp_path, ["--replSet", "rs0", "--keyFile", keyfile])
    try:
        yield member
    finally:
        member.kill()
        present = [entry["host"] for entry in config(cluster)["members"]]
        if member.address in present:
            cluster.nodes[0].call("remove_member", member.address, confirm=member.address)


def test_a_new_member_votes_when_it_has_all_data(cluster, new):
    node = cluster.secondaries[0]
    hang = "failpoint.initialSyncHangBeforeCopyingDatabases={'mode': 'alwaysOn'}"
    new.settings = (
        *AS_DECLARED,
        *("--setParameter", "enableTestCommands=1", "--setParameter", hang),
    )
    new.start()
    wanted = {"host": new.address, "priority": 0.5, "tags": {"rack": "d"}}
    with pytest.raises(CommandExecutionError, match="STARTUP2: it copies all data"):
        node.call("add_member", wanted, timeout=3)
    entry = config(cluster)["members"][-1]
    assert (entry["votes"], entry["priority"]) == (0, 0)
    found = node.call("healthy")
    assert (found["healthy"], len(found["notes"])) == (True, 1)
    # The member itself tells how far it is.
    own = cluster.node(new, "db-4")
    told = until(
        lambda: own.call("status")["members"][-1]["trouble"],
        30,
        "it tells from whom it copies",
        wanted=lambda words: words and "from 127.0.0.1:" in words,
    )
    assert told.startswith("it copies all data from ")

    # Whoever is asked next goes on with it.
    grown = [*cluster.names, wanted]
    plan = node.state("replica_set_present", "rs0", grown, test=True)
    assert plan["result"] is None
    assert f"{new.address} would be added" in plan["comment"]
    new.kill()
    new.settings = AS_DECLARED
    new.start()
    made = node.state("replica_set_present", "rs0", grown, timeout=90)
    assert made["result"] is True, made
    entry = config(cluster)["members"][-1]
    assert (entry["votes"], entry["priority"], entry["tags"]) == (1, 0.5, {"rack": "d"})
    again = own.state("replica_set_present", "rs0", grown)
    assert (again["result"], again["changes"]) == (True, {})


def test_an_arbiter_has_a_vote_and_no_data(bare_cluster):
    with bare_cluster(3) as cluster:
        first, second, third = cluster.nodes
        two = declared(cluster)[:2]
        made = first.state("replica_set_present", "rs0", two, "db-1")
        assert made["result"] is True, made
        assert first.state("user_present", "admin", **ADMIN)["result"] is True
        wanted = declared(cluster, m3={"arbiterOnly": True})
        # The server wants to be told which write concern is the default then.
        ret = second.state("replica_set_present", "rs0", wanted)
        assert (ret["result"], ret["changes"]) == (False, {})
        assert "setDefaultRWConcern" in ret["comment"]
        with cluster.rs.client() as client:
            client.admin.command("setDefaultRWConcern", defaultWriteConcern={"w": "majority"})
        made = third.state("replica_set_present", "rs0", wanted, timeout=60)
        assert made["result"] is True, made
        assert settings(cluster, "arbiterOnly", "votes", "priority")[2] == (True, 1, 0)
        assert third.call("wait_member")["state"] == "ARBITER"
        as_declared(cluster, wanted)
        assert first.call("healthy", require="all")["healthy"] is True
        with pytest.raises(SaltInvocationError, match="are arbiters: one is enough"):
            first.call("survey", "rs0", declared(cluster, m2={"arbiterOnly": True}, m3=wanted[2]))


def test_a_member_of_another_address_is_told_and_taken_back(cluster):
    watcher = cluster.primary
    moved = cluster.rs.secondaries()[0]
    old = moved.address
    moved.stop()
    port, moved.port = moved.port, free_port()
    moved.start()
    try:
        node = cluster.node(moved, "moved")
        seen = until(
            lambda: node.call("status"),
            30,
            "it finds itself in no configuration",
            wanted=lambda seen: seen["state"] == "REMOVED",
        )
        assert "the set knows it by another address" in seen["reason"]
        assert node.call("healthy")["reasons"] == [seen["reason"]]
        with pytest.raises(CommandExecutionError, match="does not answer"):
            watcher.call("move_member", old, "127.0.0.1:1")
        up = cluster.rs.primary().address
        with pytest.raises(CommandExecutionError, match="a member answers there"):
            watcher.call("move_member", up, moved.address)
        until(
            lambda: watcher.call("healthy", members=[old])["healthy"],
            30,
            "the old address is missed",
            wanted=False,
        )
        back = watcher.call("move_member", old, moved.address, timeout=60)
        assert (back["name"], back["state"]) == (moved.address, "SECONDARY")
        assert node.call("wait_member", timeout=30)["lag_s"] <= 2
        assert watcher.call("move_member", old, moved.address)["state"] == "SECONDARY"
    finally:
        moved.stop()
        here, moved.port = moved.address, port
        moved.start()
        watcher.call("move_member", here, old, timeout=60)
