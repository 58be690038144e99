"""The stages of a rollout: in which order they touch nodes, and when they refuse to."""

import types

import pytest

from fleet import canary, handover
from fleet.change import Change, StepFailed
from fleet.errors import FleetError
from fleet.master import Master
from fleet.minions import Answers
from fleet.plan import NodePlan, Plan
from fleet.stages import STAGES, db, lb, prepare, storage, turns, web
from fleet.work import Work

SILENT = FleetError("the minion does not answer")
NODES = {
    "boss": ("127.0.0.10", ["master"]),
    "one": ("127.0.0.11", ["web"]),
    "two": ("127.0.0.12", ["web"]),
    "db-a": ("127.0.0.13", ["db", "storage"]),
    "db-b": ("127.0.0.14", ["db", "storage"]),
    "db-c": ("127.0.0.15", ["db", "storage"]),
    "lb-a": ("127.0.0.16", ["lb"]),
    "lb-b": ("127.0.0.17", ["lb"]),
}
VIP = "127.0.0.2"
SETTINGS = {
    "web": {"drain_timeout": 30, "drain_lease": 300, "ready_timeout": 60},
    "lb": {"backend": "web", "frontend_port": 80},
    "gluster": {"volume": "shared", "mount": "/srv/shared"},
    "mongodb": {"port": 27017},
}
LIMITS = {"batch": 1, "min_in_service": 1, "min_healthy_time": 3, "deadline": 600}


class Fleet:
    """Minions that answer by function and node, and remember what they were asked."""

    def __init__(self):
        self.answers = {}
        self.asked = []

    def everyone(self, nodes, function, arg=(), kwarg=None, timeout=15, patience=10):
        self.asked.append((function, list(nodes), list(arg)))
        found = Answers()
        for node in nodes:
            value = self.answers.get(function, {}).get(node, True)
            if isinstance(value, Exception):
                found.failed[node] = str(value)
            else:
                found.answers[node] = value
        return found

    def nodes(self, function):
        """Return which nodes were asked for a function, question by question."""
        return [nodes for asked, nodes, _arg in self.asked if asked == function]


@pytest.fixture
def working(tmp_path, monkeypatch):
    """Return what makes the work of a rollout with a plan: pending SLS by node."""
    opts = {
        "id": "boss",
        "counterapp_state": str(tmp_path / "state"),
        "counterapp_config": str(tmp_path / "config"),
    }
    opened = []

    def make(pending=None, nodes=NODES, fresh=(), environment="candidate"):
        entries = {
            node: {"address": address, "roles": roles} for node, (address, roles) in nodes.items()
        }
        target = types.SimpleNamespace(
            topology={"vip": VIP, "nodes": entries, "leaving": {}},
            settings=SETTINGS,
            release="2.0",
            id="0" * 12,
            with_role=lambda role: [id_ for id_, each in entries.items() if role in each["roles"]],
        )
        plan = Plan(
            {
                node: NodePlan(
                    entry["roles"],
                    {sls: [{}] for sls in (pending or {}).get(node, [])},
                    node in fresh,
                )
                for node, entry in entries.items()
            }
        )
        change = Change(Master(opts), "rollout").open()
        opened.append(change)
        done = Work(change, Fleet(), target, environment, plan, dict(LIMITS))
        applied = []

        def apply(_stage, nodes, sls, pillar=None):
            applied.append((list(nodes), list(sls)))
            done.minions.asked.append(("apply", list(nodes), list(sls)))

        done.apply = apply
        done.applied = applied
        return done

    monkeypatch.setattr(canary, "wanted", lambda *_: False)
    monkeypatch.setattr(canary, "restore", lambda *_: None)
    yield make
    for change in opened:
        change.close()


def test_stages_come_in_their_order():
    names = [stage.name for stage in STAGES]
    assert names == ["prepare", "storage", "db", "web", "lb", "leaving"]


class TestTurns:
    def test_one_that_cannot_be_put_back_holds_up_no_other(self):
        done = []

        def replace(node):
            if node == "b":
                raise StepFailed({"stage": "web", "node": "b", "step": "x", "reason": ["no"]})
            done.append(node)

        assert turns.each(["a", "b", "c"], replace) == ["web b: x: no"]
        assert done == ["a", "c"]


class TestPrepare:
    def test_nothing_to_do_applies_nothing(self, working):
        work = working({"one": ["web.config"]})
        prepare.run(work)
        assert work.applied == []

    def test_all_at_once_in_the_order_of_the_topology(self, working):
        work = working({"two": ["base.hosts"], "db-a": ["storage.service"]}, fresh=["one"])
        prepare.run(work)
        assert work.applied == [(["one", "two", "db-a"], ["prepare"])]


class TestStorage:
    @pytest.fixture
    def mounting(self, working, monkeypatch):
        work = working({name: ["gluster.mount"] for name in NODES})
        work.minions.answers["gluster.healthy"] = {"db-a": {"healthy": True, "reasons": []}}
        monkeypatch.setattr(storage.releases, "publish", lambda *_: {})
        return work

    def test_the_first_makes_the_volume_and_all_others_follow(self, mounting):
        mounting.minions.answers["gluster.volumes"] = dict.fromkeys(("db-a", "db-b", "db-c"), [])
        storage.run(mounting)
        [first, others] = [nodes for nodes, _sls in mounting.applied]
        assert first == ["db-a"]
        assert others == ["boss", "one", "two", "db-b", "db-c", "lb-a", "lb-b"]

    def test_where_there_is_one_its_nodes_take_turns(self, mounting):
        mounting.minions.answers["gluster.volumes"] = {"db-b": ["shared"]}
        storage.run(mounting)
        turns_taken = [nodes for nodes, _sls in mounting.applied]
        assert turns_taken[:3] == [["db-a"], ["db-b"], ["db-c"]]
        assert turns_taken[3] == ["boss", "one", "two", "lb-a", "lb-b"]

    def test_back_goes_from_the_last_to_the_first(self, mounting):
        assert storage.back(mounting, ["db-a", "db-b", "one"]) == []
        assert mounting.applied == [
            (["db-b"], ["storage", "gluster"]),
            (["db-a"], ["storage", "gluster"]),
            (["one"], ["gluster"]),
        ]


def members(*states):
    """Return the members as one of them sees them."""
    return {
        "initialized": True,
        "members": [
            {"name": f"127.0.0.{number}:27017", "state": state, "health": int(state != "DOWN")}
            for number, state in zip((13, 14, 15), states, strict=True)
        ],
    }


class TestDatabase:
    def of(self, **states):
        return {node.replace("_", "-"): {"state": state} for node, state in states.items()}

    def test_secondaries_first_and_the_primary_last(self):
        states = self.of(db_a="PRIMARY", db_b="SECONDARY", db_c="SECONDARY")
        assert db.in_order(["db-a", "db-b", "db-c"], states) == ["db-b", "db-c", "db-a"]

    def test_a_member_that_is_down_comes_before_those_that_serve(self):
        states = self.of(db_a="SECONDARY", db_b="PRIMARY", db_c=None)
        assert db.in_order(["db-a", "db-b", "db-c"], states) == ["db-c", "db-a", "db-b"]

    @pytest.mark.parametrize(
        ("initialized", "is_open", "begun"),
        [
            ([False, False], [False, False], False),
            ([True, True], [False, False], True),
            # A member that is down leaves the set what it is.
            ([True, False], [False, False], True),
            # Initiated, and nobody has made the administrator yet.
            ([True, True], [True, False], False),
        ],
    )
    def test_how_far_the_replica_set_is(self, initialized, is_open, begun):
        fleet = Fleet()
        nodes = ["db-a", "db-b"]
        states = [{"initialized": each} for each in initialized]
        fleet.answers["mongodb.status"] = dict(zip(nodes, states, strict=True))
        fleet.answers["mongodb.is_open"] = dict(zip(nodes, is_open, strict=True))
        assert db.replica_set(fleet, nodes)["begun"] is begun

    def test_a_silent_member_is_no_missing_set(self):
        fleet = Fleet()
        fleet.answers["mongodb.status"] = {"db-a": SILENT}
        with pytest.raises(FleetError, match="db-a: the minion does not answer"):
            db.replica_set(fleet, ["db-a"])

    @pytest.fixture
    def set_of_three(self, working):
        work = working()
        seen = members("PRIMARY", "SECONDARY", "SECONDARY")
        work.minions.answers["mongodb.status"] = dict.fromkeys(("db-a", "db-b", "db-c"), seen)
        work.minions.answers["mongodb.is_primary"] = {"db-a": True, "db-b": False, "db-c": False}
        return work

    def test_a_set_that_is_made_leaves_no_member_without_anything(self, set_of_three):
        members = ["db-a", "db-b", "db-c"]
        db.begin(set_of_three, members)
        # The users are there, and the set is whole, before members have what logs in as one.
        assert set_of_three.applied == [
            (members, ["db.service"]),
            (["db-a"], ["db.replication"]),
            (members, ["db"]),
        ]
        functions = [function for function, *_ in set_of_three.minions.asked]
        assert "mongodb.wait_healthy" in functions

    def test_the_primary_steps_down_before_it_is_touched(self, set_of_three):
        db.step_aside(set_of_three, "db-a")
        assert set_of_three.minions.nodes("mongodb.step_down") == [["db-a"]]

    def test_a_secondary_stays_what_it_is(self, set_of_three):
        db.step_aside(set_of_three, "db-b")
        assert set_of_three.minions.nodes("mongodb.step_down") == []

    def test_one_that_does_not_tell_whether_it_is_the_primary_is_not_touched(self, set_of_three):
        set_of_three.minions.answers["mongodb.is_primary"]["db-a"] = FleetError("no login")
        with pytest.raises(StepFailed, match="db-a: no login"):
            db.replace(set_of_three, "db-a")
        assert set_of_three.applied == []
        set_of_three.change.failure = None

    def test_one_that_is_down_needs_not_tell(self, set_of_three):
        down = members("DOWN", "PRIMARY", "SECONDARY")
        set_of_three.minions.answers["mongodb.status"] = dict.fromkeys(("db-b", "db-c"), down)
        set_of_three.minions.answers["mongodb.is_primary"]["db-a"] = FleetError("no module")
        db.step_aside(set_of_three, "db-a")
        assert set_of_three.minions.nodes("mongodb.step_down") == []

    def test_no_member_is_touched_unless_the_others_are_a_majority(self, set_of_three, monkeypatch):
        monkeypatch.setattr(db, "_BACK", 0.0)
        set_of_three.minions.answers["mongodb.status"]["db-b"] = members(
            "SECONDARY", "SECONDARY", "DOWN"
        )
        set_of_three.minions.answers["mongodb.status"]["db-a"] = members(
            "SECONDARY", "SECONDARY", "DOWN"
        )
        with pytest.raises(StepFailed, match=r"1 of 2 other members serve|deadline is over"):
            db.replace(set_of_three, "db-a")
        assert set_of_three.applied == []
        set_of_three.change.failure = None

    def test_the_only_member_is_touched_as_it_is(self, working):
        work = working(nodes={"boss": ("127.0.0.10", ["master"]), "db": ("127.0.0.13", ["db"])})
        db.step_aside(work, "db")
        assert work.minions.asked == []


def server(name, in_service=True, admin="ready"):
    return {
        "name": name,
        "in_service": in_service,
        "admin": admin,
        "up": in_service,
        "weight": 100,
        "initial_weight": 100,
    }


class TestWeb:
    @pytest.fixture
    def serving(self, working):
        work = working({"one": ["web.release"], "two": ["web.release"]})
        views = [server("one"), server("two")]
        seen = {"release": "2.0", "waited": 1}
        work.minions.answers.update(
            {
                "haproxy.servers": {"lb-a": [*views], "lb-b": [*views]},
                "counterapp.wait_ready": {"one": seen, "two": seen},
            }
        )
        return work

    def turns(self, work):
        return [nodes for nodes, _sls in work.applied]

    def test_one_after_the_other_each_out_of_rotation(self, serving):
        web.run(serving)
        steps = [
            (function, arg[1] if function.startswith("haproxy") and len(arg) > 1 else nodes)
            for function, nodes, arg in serving.minions.asked
            if function in ("haproxy.drain", "apply", "counterapp.wait_ready", "haproxy.ready")
        ]
        assert steps == [
            ("haproxy.drain", "one"),
            ("apply", ["one"]),
            ("counterapp.wait_ready", ["one"]),
            ("haproxy.ready", "one"),
            ("haproxy.drain", "two"),
            ("apply", ["two"]),
            ("counterapp.wait_ready", ["two"]),
            ("haproxy.ready", "two"),
        ]

    def test_what_some_balancer_sends_nothing_comes_first(self, serving):
        serving.minions.answers["haproxy.servers"]["lb-b"] = [
            server("one"),
            server("two", in_service=False, admin="drain"),
        ]
        web.run(serving)
        assert self.turns(serving) == [["two"], ["one"]]

    def test_all_at_once_where_no_balancer_runs(self, serving):
        refused = FleetError("HAProxy cannot be asked at /run/haproxy/admin.sock")
        serving.minions.answers["haproxy.servers"] = {"lb-a": refused, "lb-b": refused}
        serving.minions.answers["service.status"] = {"lb-a": False, "lb-b": False}
        web.run(serving)
        assert self.turns(serving) == [["one", "two"]]

    def test_one_that_has_no_such_backend_yet_does_not_count(self, serving):
        answers = serving.minions.answers["haproxy.servers"]
        answers["lb-b"] = FleetError("HAProxy at x refused 'show …': Can't find backend.")
        assert list(web.balancers_views(serving)) == ["lb-a"]

    @pytest.mark.parametrize(
        ("answer", "runs", "words"),
        [
            (SILENT, SILENT, "lb-b: the minion does not answer"),
            (FleetError("cannot be asked"), True, "lb-b: its HAProxy runs, and does not tell"),
        ],
    )
    def test_nothing_is_touched_while_one_may_send_requests(self, serving, answer, runs, words):
        serving.minions.answers["haproxy.servers"]["lb-b"] = answer
        serving.minions.answers["service.status"] = {"lb-b": runs}
        with pytest.raises(FleetError, match=words):
            web.run(serving)
        assert serving.applied == []
        assert serving.minions.nodes("haproxy.drain") == []

    def test_a_drain_that_fails_in_one_balancer_is_taken_back_in_the_others(self, serving):
        serving.minions.answers["haproxy.drain"] = {"lb-b": FleetError("too few")}
        with pytest.raises(StepFailed) as caught:
            web.replace(serving, ["one"])
        assert caught.value.failure["node"] == "one"
        assert caught.value.failure["reason"] == ["lb-b: too few"]
        assert ("haproxy.ready", ["lb-a"], ["web", "one"]) in serving.minions.asked
        # It was noted before it was so.
        assert serving.change.facts["touched"] == {"web": ["one"]}
        assert serving.applied == []
        serving.change.failure = None

    def test_what_a_dead_rollout_left_drained_comes_back(self, serving):
        serving.plan.nodes["one"].pending.clear()
        serving.plan.nodes["two"].pending.clear()
        serving.minions.answers["haproxy.servers"]["lb-a"] = [
            server("one", False, "drain"),
            # In maint is what an operator took out on purpose.
            server("two", False, "maint"),
        ]
        web.run(serving)
        ready = [arg for function, _, arg in serving.minions.asked if function == "haproxy.ready"]
        assert ready == [["web", "one"]]
        assert serving.applied == []

    def test_undoing_begins_with_the_node_that_failed(self, serving):
        assert web.back(serving, ["one", "two"]) == []
        assert self.turns(serving) == [["two"], ["one"]]

    def test_a_node_that_cannot_be_put_back_holds_up_no_other(self, serving):
        serving.minions.answers["counterapp.wait_ready"]["two"] = SILENT
        [problem] = web.back(serving, ["one", "two"])
        assert "two: waiting until ready with release 2.0" in problem
        assert self.turns(serving) == [["two"], ["one"]]
        # Its place is kept for it; the balancers' checks say when it may serve.
        assert ("haproxy.ready", ["lb-a", "lb-b"], ["web", "two"]) in serving.minions.asked
        serving.change.failure = None

    @pytest.mark.parametrize(
        ("wanted", "least", "servers", "size"),
        [
            (1, 1, 4, 1),
            (3, 1, 4, 3),
            # Never so many that too few are left.
            (9, 1, 4, 3),
            ("50%", 1, 4, 2),
            ("25%", 1, 2, 1),
            ("100%", 2, 4, 2),
            # The only one is replaced as it is.
            (1, 1, 1, 1),
        ],
    )
    def test_how_many_are_replaced_at_once(self, wanted, least, servers, size):
        assert web.batch({"batch": wanted, "min_in_service": least}, servers) == size

    @pytest.mark.parametrize(
        ("wanted", "least", "words"),
        [
            (0, 1, "batch must be a number from 1 on"),
            ("0%", 1, "batch must be a number from 1 on"),
            ("many", 1, "batch must be a number from 1 on"),
            (True, 1, "batch must be a number from 1 on"),
            (1, -1, "min_in_service must be a whole number"),
            (1, "1", "min_in_service must be a whole number"),
            (1, 2, "none can be replaced"),
        ],
    )
    def test_limits_that_cannot_be(self, wanted, least, words):
        with pytest.raises(FleetError, match=words):
            web.batch({"batch": wanted, "min_in_service": least}, 2)


class TestBalancers:
    @pytest.fixture
    def held_by_a(self, working, monkeypatch):
        work = working({"lb-a": ["lb.haproxy"], "lb-b": ["lb.haproxy"]})
        work.minions.answers["network.ip_addrs"] = {
            "lb-a": ["127.0.0.16", VIP],
            "lb-b": ["127.0.0.17"],
        }
        views = dict.fromkeys(("lb-a", "lb-b"), [server("one"), server("two")])
        work.minions.answers["haproxy.servers"] = views
        monkeypatch.setattr(handover, "hand_over", lambda _work, node, _step: f"{node} lets go")
        return work

    def test_who_holds_the_vip_is_last(self, held_by_a):
        lb.run(held_by_a)
        assert [nodes for nodes, _sls in held_by_a.applied] == [["lb-b"], ["lb-a"]]

    def test_each_is_asked_for_the_checks_themselves_and_for_what_it_makes_of_them(self, held_by_a):
        lb.run(held_by_a)
        asked = [
            (nodes, *arg)
            for function, nodes, arg in held_by_a.minions.asked
            if function == "haproxy.wait_up"
        ]
        webs = held_by_a.with_role("web")
        assert asked == [
            ([node], backend, web)
            for node in ("lb-b", "lb-a")
            for backend in ("web-ready", "web")
            for web in webs
        ]

    def test_one_of_a_revision_before_has_no_checks_of_their_own(self, held_by_a):
        held_by_a.minions.answers["haproxy.servers"] = {
            "lb-a": FleetError("No such backend: web-ready")
        }
        lb.ready(held_by_a, "lb-a")
        assert {
            arg[0] for name, _nodes, arg in held_by_a.minions.asked if name == "haproxy.wait_up"
        } == {"web"}

    def test_all_at_once_where_none_sends_anything(self, held_by_a):
        refused = FleetError("HAProxy cannot be asked")
        held_by_a.minions.answers["haproxy.servers"] = {"lb-a": refused, "lb-b": refused}
        held_by_a.minions.answers["service.status"] = {"lb-a": False, "lb-b": False}
        lb.run(held_by_a)
        assert [nodes for nodes, _sls in held_by_a.applied] == [["lb-b", "lb-a"]]

    def test_one_that_does_not_see_the_web_servers_ends_the_stage(self, held_by_a):
        held_by_a.minions.answers["haproxy.wait_up"] = {"lb-b": FleetError("web-1 is DOWN")}
        with pytest.raises(StepFailed, match="lb lb-b: waiting until it sees the web servers"):
            lb.run(held_by_a)
        assert [nodes for nodes, _sls in held_by_a.applied] == [["lb-b"]]
        held_by_a.change.failure = None
