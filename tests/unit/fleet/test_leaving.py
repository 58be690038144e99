"""Nodes that leave: when they may, in which order they go, and what is left of them."""

import pytest

from fleet import keys, work
from fleet import revision as revisions
from fleet.change import Change, StepFailed
from fleet.stages import leaving
from tests.support.leavers import Fleet, address, revision

ALL = ["boss", "web-1", "web-2", "db-1", "db-2", "db-3", "lb-1", "lb-2"]


@pytest.fixture
def accepted(monkeypatch):
    """The nodes whose keys are accepted; a test takes some out."""
    found = {*ALL, "web-3", "db-4", "db-5", "store-1"}
    monkeypatch.setattr(keys, "accepted", lambda _, node: "aa" if node in found else None)
    monkeypatch.setattr(keys, "delete", lambda _, node: found.discard(node))
    return found


@pytest.fixture
def up(monkeypatch):
    """The addresses at which a machine answers."""
    found = set()
    monkeypatch.setattr(keys, "machine_answers", lambda host: host in found)
    return found


@pytest.fixture(autouse=True)
def begin(master, monkeypatch, accepted, up):
    """Have the fleet be on a revision with these nodes."""

    def on(*nodes, **more):
        base = revision(master, *nodes, **more) if nodes else None
        monkeypatch.setattr(revisions, "base", lambda _: base)

    on(*ALL)
    return on


def without(*gone, also=()):
    return [node for node in [*ALL, *also] if node not in gone]


def said(master, *gone, named=None, also=()):
    target = revision(master, *without(*gone, also=also), leaving=gone)
    return leaving.problems(target, gone if named is None else named)


class TestMay:
    def test_who_is_named_in_both_places_may_leave(self, master):
        assert said(master, "web-2", "lb-2") == []

    def test_nobody_leaves_by_the_topology_alone(self, master):
        [problem] = said(master, "web-2", named=[])
        assert problem.startswith("web-2 is to leave by pillar/topology.sls")
        assert """pillar='{"leaving": ["web-2"]}'""" in problem

    def test_nobody_leaves_by_the_command_alone(self, master):
        [problem] = said(master, named=["web-2"])
        assert "web-2 was named as leaving, but topology 'default' does not list it" in problem

    @pytest.mark.parametrize("named", ["web-2", [2]])
    def test_what_is_no_list_of_nodes_is_refused(self, master, named):
        [problem] = said(master, "web-2", named=named)
        assert problem.startswith("leaving is a list of node IDs, as in")

    def test_nobody_vanishes(self, master):
        target = revision(master, *without("web-2"))
        [problem] = leaving.problems(target, [])
        assert problem.startswith("web-2 is part of the fleet and not in the topology")

    def test_who_has_left_is_not_named_again_and_may_be_struck_out(self, master, begin, accepted):
        begin(*without("web-2"), leaving=["web-2"])
        accepted.discard("web-2")
        assert said(master, "web-2", named=[]) == []
        assert leaving.problems(revision(master, *without("web-2")), []) == []

    def test_whose_key_is_there_yet_has_not_left(self, master, begin):
        begin(*without("web-2"), leaving=["web-2"])
        [problem] = said(master, "web-2", named=[])
        assert "web-2 is to leave" in problem
        [problem] = leaving.problems(revision(master, *without("web-2")), [])
        assert "web-2 is part of the fleet" in problem

    def test_before_the_first_rollout_nobody_can(self, master, begin):
        begin()
        [problem] = said(master, "web-2")
        assert "nothing has been rolled out yet" in problem

    def test_a_brick_goes_where_another_node_takes_its_place(self, master, begin):
        begin(*ALL, "store-1")
        assert said(master, "db-3", also=["store-1"]) == []

    def test_two_copies_of_one_set_do_not_go_at_once(self, master, begin):
        begin(*ALL, "store-1", "store-2")
        [problem] = said(master, "db-2", "db-3", also=["store-1", "store-2"])
        assert "db-2, db-3 cannot leave: volume shared is left as it is: more than one" in problem


def test_a_volume_is_excused_for_the_brick_of_who_leaves_and_for_no_other(master):
    target = revision(master, *without("db-2", "db-3"), leaving=["db-2", "db-3"])
    ours = work.Work(None, None, target, "candidate", None, {})
    gone, there = address("db-3"), address("db-1")
    waiting = f"3 entries wait to be healed on {there}:/srv/brick"
    other = f"brick {there}:/srv/brick is offline"
    assert leaving.excused(ours, [f"brick {gone}:/srv/brick is offline", waiting, other]) == [other]
    assert leaving.excused(ours, [waiting]) == [waiting]
    assert leaving.excused(ours, [f"brick {gone}1:/srv/brick is offline"]) != []


@pytest.fixture
def change(master):
    with Change(master, "rollout", listeners=()) as opened:
        yield opened


@pytest.fixture
def fleet():
    return Fleet(
        members={"db-1": "SECONDARY", "db-2": "PRIMARY", "db-3": "SECONDARY"},
        pool=["db-1", "db-2", "db-3"],
        bricks=["db-1"],
        servers={"lb-1": ["web-1", "web-2"], "lb-2": ["web-1", "web-2"]},
        vip="lb-1",
    )


@pytest.fixture
def going(change, fleet, master):
    """The way to a topology that these nodes leave."""

    def to(*gone, also=(), environment="candidate"):
        target = revision(master, *without(*gone, also=also), leaving=gone)
        limits = {"leaving": list(gone), "min_in_service": 1, "deadline": 600}
        return work.Work(change, fleet, target, environment, None, limits)

    return to


class TestPreflight:
    def test_nothing_is_asked_for_nobody(self, going, fleet):
        assert leaving.check(going()) == []
        assert fleet.asked == []

    def test_all_who_are_well_may_go(self, going):
        assert leaving.check(going("web-2", "lb-2", "db-2", "db-3")) == []

    def test_a_machine_that_is_up_without_its_minion_is_not_left_to_itself(self, going, fleet, up):
        fleet.silent.add("lb-2")
        assert leaving.check(going("lb-2")) == []
        up.add(address("lb-2"))
        [problem] = leaving.check(going("lb-2"))
        assert "its minion does not answer, but its machine does" in problem

    def test_the_last_balancer_that_serves_stays(self, going, fleet):
        fleet.servers = {}
        fleet.refuses["lb-1", "haproxy.servers"] = "No such backend"
        [problem] = leaving.check(going("lb-2"))
        assert problem.startswith("lb-2 cannot leave: no balancer that stays serves yet")

    def test_web_servers_that_stay_serve_before_others_go(self, going, fleet):
        [problem] = leaving.check(going("web-1", "web-2", also=["web-3"]))[:1]
        assert "web-1, web-2 cannot leave: of the web servers that stay, lb-1 has none" in problem


class TestWithdrawing:
    def test_the_vip_is_handed_over_and_keepalived_is_off(self, going, fleet, change):
        leaving.withdraw(going("lb-1"))
        assert fleet.vip == "lb-2"
        assert ("lb-1", "keepalived") in fleet.stopped
        assert change.facts["touched"] == {"lb": ["lb-1"]}
        assert revisions.moving(change.master) == {"lb-1": change.id}

    def test_who_does_not_have_the_vip_does_not_take_it_later(self, going, fleet):
        leaving.withdraw(going("lb-2"))
        assert fleet.vip == "lb-1"
        assert fleet.stopped == [("lb-2", "keepalived")]

    def test_a_web_server_is_drained_in_every_balancer(self, going, fleet, change):
        leaving.withdraw(going("web-2"))
        assert set(fleet.drained) == {"web-2"}
        [(nodes, _, kwarg)] = fleet.did("haproxy.drain")
        assert nodes == ["lb-1", "lb-2"]
        assert kwarg["min_in_service"] == 1
        assert change.facts["touched"] == {"web": ["web-2"]}

    def test_balancers_that_know_it_no_more_are_not_asked(self, going, fleet):
        fleet.servers["lb-1"] = ["web-1"]
        leaving.withdraw(going("web-2"))
        assert [nodes for nodes, *_ in fleet.did("haproxy.drain")] == [["lb-2"]]
        fleet.servers["lb-2"] = ["web-1"]
        fleet.asked.clear()
        leaving.withdraw(going("web-2"))
        assert fleet.did("haproxy.drain") == []

    def test_of_the_dead_nothing_is_asked(self, going, fleet, change):
        fleet.silent |= {"web-2", "lb-2"}
        leaving.withdraw(going("web-2", "lb-2"))
        assert fleet.stopped == []
        assert "touched" not in change.facts


class TestGoing:
    def test_a_web_server_and_a_balancer_stop_for_good(self, going, fleet, change):
        leaving.run(going("web-2", "lb-2"))
        assert fleet.stopped == [
            ("lb-2", "vip-guard"),
            ("lb-2", "keepalived"),
            ("lb-2", "haproxy"),
            ("web-2", "counterapp"),
            ("web-2", "counterapp-watch"),
            ("lb-2", "counterapp-watch"),
        ]
        assert [arg for _, arg, _ in fleet.did("service.disable")][:4] == [
            ["vip-guard"],
            ["keepalived"],
            ["haproxy"],
            ["counterapp"],
        ]
        assert [nodes for nodes, *_ in fleet.did("gluster.unmount")] == [["web-2"], ["lb-2"]]
        # A rollout that is undone puts all of it back.
        assert change.facts["touched"]["prepare"] == ["web-2", "lb-2"]

    def test_members_go_one_after_the_other_and_the_primary_steps_down(self, going, fleet):
        leaving.run(going("db-2", "db-3"))
        assert fleet.members == {"db-1": "PRIMARY"}
        removed = [arg[0] for _, arg, _ in fleet.did("mongodb.remove_member")]
        assert removed == [f"{address(node)}:27017" for node in ("db-2", "db-3")]
        names = fleet.functions()
        first = names.index("mongodb.remove_member")
        assert "mongodb.healthy" in names[first:][:2]
        assert ("db-2", "mongod") in fleet.stopped
        assert fleet.pool == ["db-1"]

    def test_the_dead_go_first_since_the_set_lives_on_the_others(self, going, fleet):
        fleet.silent.add("db-3")
        leaving.run(going("db-2", "db-3"))
        removed = [arg[0] for _, arg, _ in fleet.did("mongodb.remove_member")]
        assert removed == [f"{address(node)}:27017" for node in ("db-3", "db-2")]
        forced = {arg[0]: kwarg["force"] for _, arg, kwarg in fleet.did("gluster.detach")}
        assert forced == {address("db-2"): False, address("db-3"): True}
        assert all(node != "db-3" for node, _ in fleet.stopped)

    def test_no_member_goes_while_those_that_stay_are_no_majority(self, going, fleet, monkeypatch):
        monkeypatch.setattr(leaving, "_HEALTHY", 0.0)
        fleet.refuses["db-1", "mongodb.remove_member"] = "never asked"
        monkeypatch.setattr(
            fleet,
            "_mongodb_healthy",
            lambda *_, **__: {"healthy": False, "reasons": ["down"]},
            raising=False,
        )
        with pytest.raises(StepFailed, match="those that stay|members that stay"):
            leaving.run(going("db-2", "db-3"))
        assert fleet.did("mongodb.remove_member") == []

    def test_given_again_it_goes_on_where_it_was(self, going, fleet):
        ours = going("db-2", "db-3")
        fleet.refuses["db-3", "mongodb.is_primary"] = "it is busy"
        with pytest.raises(StepFailed, match="it is busy"):
            leaving.run(ours)
        assert "db-2" not in fleet.members
        fleet.refuses.clear()
        leaving.run(ours)
        assert fleet.members == {"db-1": "PRIMARY"}

    def test_a_node_with_a_brick_does_not_leave_the_pool(self, going, fleet):
        fleet.bricks.append("db-3")
        with pytest.raises(StepFailed, match="db-3 holds .*:/srv/brick of the volume shared yet"):
            leaving.run(going("db-2", "db-3"))
        assert "db-3" in fleet.pool

    def test_a_daemon_that_does_not_stop_is_told(self, going, fleet, monkeypatch):
        monkeypatch.setattr(fleet, "_service_disable", lambda *_: False, raising=False)
        with pytest.raises(StepFailed, match="web-2: service.disable counterapp did not succeed"):
            leaving.run(going("web-2"))


class TestTheEnd:
    def test_its_key_goes_and_its_minion_stops(self, going, fleet, accepted, master):
        note = master.config / "enrolled/web-2"
        note.parent.mkdir(parents=True)
        note.write_text("aa\n")
        assert leaving.finish(going("web-2")) == []
        assert "web-2" not in accepted
        assert not note.exists()
        assert fleet.stopped == [("web-2", "salt-minion")]

    def test_a_dead_one_is_forgotten_as_well(self, going, fleet, accepted):
        fleet.silent.add("web-2")
        assert leaving.finish(going("web-2")) == []
        assert "web-2" not in accepted
        assert fleet.stopped == []

    def test_done_again_it_does_nothing(self, going, fleet, accepted):
        accepted.discard("web-2")
        assert leaving.finish(going("web-2")) == []
        assert fleet.asked == []

    def test_one_that_fails_holds_up_no_other(self, going, fleet, accepted):
        fleet.refuses["web-2", "service.disable"] = "it is masked"
        [problem] = leaving.finish(going("web-2", "lb-2"))
        assert "it is masked" in problem
        assert "lb-2" not in accepted
        assert "web-2" in accepted


class TestUndone:
    def test_who_entered_by_an_undone_rollout_goes_again(self, going, fleet, change):
        fleet.members["db-4"] = "PRIMARY"
        fleet.members["db-2"] = "SECONDARY"
        back = going(environment="base")
        entered = revision(change.master, "web-3", "db-4").topology["nodes"]
        assert leaving.turn_away(back, entered) == []
        assert "db-4" not in fleet.members
        assert {("web-3", "counterapp"), ("db-4", "mongod")} <= set(fleet.stopped)
        # It is on its way nowhere.
        assert revisions.moving(change.master) == {}

    def test_it_is_drained_and_hands_over_before(self, going, fleet, change):
        fleet.servers = {**fleet.servers, "lb-1": ["web-1", "web-3"], "lb-3": ["web-1", "web-3"]}
        fleet.vip = "lb-3"
        entered = revision(change.master, "web-3", "lb-3").topology["nodes"]
        assert leaving.turn_away(going(environment="base"), entered) == []
        assert fleet.drained == ["web-3"]
        assert fleet.vip == "lb-1"
        assert set(fleet.stopped) == {
            ("lb-3", "vip-guard"),
            ("lb-3", "keepalived"),
            ("lb-3", "haproxy"),
            ("web-3", "counterapp"),
        }

    def test_what_could_not_be_done_is_told(self, going, fleet, change):
        fleet.bricks.append("store-1")
        fleet.refuses["web-3", "service.stop"] = "it hangs"
        entered = revision(change.master, "web-3", "store-1").topology["nodes"]
        hangs, holds = leaving.turn_away(going(environment="base"), entered)
        assert "it hangs" in hangs
        assert "store-1 holds" in holds
