"""The order in which a rollout touches nodes, and how it ends."""

import os

import pytest
from salt.exceptions import CommandExecutionError

from tests.support.loading import load

ledger = load("_utils/ledger.py")


THREE_KEEPERS = {
    "boss": ("127.0.0.10", ["master", "lb"]),
    "one": ("127.0.0.11", ["web"]),
    "data-a": ("127.0.0.13", ["db", "storage"]),
    "data-b": ("127.0.0.14", ["storage"]),
    "data-c": ("127.0.0.15", ["storage"]),
}


@pytest.fixture
def running(runners):
    """A rollout that has its lock and plan, and answers of minions to go by."""
    runners.write_topology(
        {
            "boss": ("127.0.0.10", ["master"]),
            "one": ("127.0.0.11", ["web"]),
            "two": ("127.0.0.12", ["web"]),
            "db-a": ("127.0.0.13", ["db", "storage"]),
            "db-b": ("127.0.0.14", ["db"]),
            "db-c": ("127.0.0.15", ["db"]),
            "lb-a": ("127.0.0.16", ["lb"]),
            "lb-b": ("127.0.0.17", ["lb"]),
        }
    )
    state = runners.opts["counterapp_state"]
    assert runners["counterapp.lock"]()["taken_from"] is None

    def plan(pending):
        nodes = runners["counterapp.topology"]()["nodes"]
        made = {
            node: {
                "roles": entry["roles"],
                "pending": {sls: ["x"] for sls in pending.get(node, [])},
                "fresh": False,
            }
            for node, entry in nodes.items()
        }
        ledger.note(state, release="2.0", previous="1.0", plan={"release": "2.0", "nodes": made})

    answers = {}
    asked = []

    def everyone(targets, function, arg=(), kwarg=None, *_args, **_kwargs):
        asked.append((function, list(targets), list(arg)))
        found = {"answers": {}, "failed": {}}
        for node in targets:
            value = answers.get(function, {}).get(node)
            if isinstance(value, Exception) or value is None:
                found["failed"][node] = str(value or "the minion does not answer")
            else:
                found["answers"][node] = value
        return found

    def ask(targets, function, *args, **kwargs):
        found = everyone(targets, function, *args, **kwargs)
        if found["failed"]:
            raise CommandExecutionError(f"{function} failed on {found['failed']}")
        return found["answers"]

    def replica_set(members):
        states = ask(members, "mongodb.status")
        begun = any(state["initialized"] for state in states.values())
        return {"states": states, "begun": begun}

    runners.utils.update(
        {"fleet.everyone": everyone, "fleet.ask": ask, "fleet.replica_set": replica_set}
    )
    runners.plan, runners.answers, runners.asked = plan, answers, asked
    return runners


def member(state, initialized=True):
    return {"state": state, "initialized": initialized, "members": []}


class TestStorage:
    @pytest.fixture(autouse=True)
    def _three_keepers(self, running):
        nodes = dict(THREE_KEEPERS)
        running.write_topology(nodes)
        running.plan({name: ["gluster.mount"] for name in nodes})

    def test_the_first_makes_the_volume_and_all_others_follow(self, running):
        running.answers["gluster.volumes"] = {"data-a": [], "data-b": []}
        planned = running["rollout.planned"]("storage")
        assert planned["todo"] == ["data-a"]
        assert planned["clients"] == ["boss", "one", "data-b", "data-c"]

    def test_where_there_is_one_its_nodes_take_turns(self, running):
        running.answers["gluster.volumes"] = {"data-b": ["shared"]}
        planned = running["rollout.planned"]("storage")
        assert planned["todo"] == ["data-a", "data-b", "data-c"]
        assert planned["clients"] == ["boss", "one"]


class TestDatabase:
    def test_secondaries_first_and_the_primary_last(self, running):
        running.plan({node: ["mongodb.config"] for node in ("db-a", "db-b", "db-c")})
        running.answers["mongodb.status"] = {
            "db-a": member("PRIMARY"),
            "db-b": member("SECONDARY"),
            "db-c": member("SECONDARY"),
        }
        planned = running["rollout.planned"]("db")
        assert planned["todo"] == ["db-b", "db-c", "db-a"]
        assert planned["initialized"]

    def test_a_member_that_is_down_comes_before_those_that_serve(self, running):
        running.plan({node: ["mongodb.config"] for node in ("db-a", "db-b", "db-c")})
        running.answers["mongodb.status"] = {
            "db-a": member("SECONDARY"),
            "db-b": member("PRIMARY"),
            "db-c": member(None, initialized=False),
        }
        assert running["rollout.planned"]("db")["todo"] == ["db-c", "db-a", "db-b"]

    def test_nothing_pending_is_nothing_to_touch(self, running):
        running.plan({"db-a": ["base.hosts"]})
        running.answers["mongodb.status"] = dict.fromkeys(
            ("db-a", "db-b", "db-c"), member("SECONDARY")
        )
        assert running["rollout.planned"]("db")["todo"] == []

    def view(self, *states):
        names = [f"127.0.0.{number}:27017" for number in (13, 14, 15)]
        return {
            "members": [
                {"name": name, "state": state, "health": int(state != "DOWN")}
                for name, state in zip(names, states, strict=True)
            ]
        }

    def test_the_primary_steps_down_before_it_is_touched(self, running):
        seen = self.view("PRIMARY", "SECONDARY", "SECONDARY")
        running.answers["mongodb.status"] = {"db-b": seen, "db-c": seen}
        running.answers["mongodb.is_primary"] = {"db-a": True}
        running.answers["mongodb.step_down"] = {"db-a": "127.0.0.14:27017"}
        done = running["rollout.step_aside"]("db-a")
        assert done["did"] == "handed over to 127.0.0.14:27017"

    def test_a_secondary_stays_what_it_is(self, running):
        seen = self.view("PRIMARY", "SECONDARY", "SECONDARY")
        running.answers["mongodb.status"] = {"db-a": seen}
        running.answers["mongodb.is_primary"] = {"db-b": False}
        assert running["rollout.step_aside"]("db-b")["did"] == "is not the primary"
        assert "mongodb.step_down" not in [function for function, *_ in running.asked]

    def test_the_only_member_is_touched_as_it_is(self, runners):
        # The topology of these tests has one db node.
        assert "the only member" in runners["rollout.step_aside"]("data")["did"]


class TestWeb:
    def servers(self, admin="ready", **up):
        return [{"name": name, "in_service": value, "admin": admin} for name, value in up.items()]

    def test_balancers_that_do_not_run_do_not_count(self, running):
        running.plan({"one": ["web.release"], "two": ["web"]})
        running.answers["haproxy.servers"] = {"lb-a": self.servers(one=True, two=True)}
        planned = running["rollout.planned"]("web")
        assert planned["todo"] == ["one", "two"]
        assert planned["serving"] == ["lb-a"]
        assert planned["previous"] == "1.0"

    def test_a_drain_that_fails_in_one_balancer_is_taken_back_in_the_others(self, running):
        servers = self.servers(one=True, two=True)
        running.answers["haproxy.servers"] = {"lb-a": servers, "lb-b": servers}
        running.answers["haproxy.drain"] = {"lb-a": {"sessions": 0}, "lb-b": ValueError("too few")}
        done = running["rollout.drain"]("one")
        assert done["retcode"] == 1
        assert done["failed"] == ["lb-b: too few"]
        assert ("haproxy.ready", ["lb-a"], ["web", "one"]) in running.asked
        failed = ledger.journal(running.opts["counterapp_state"])["failed"]
        assert (failed["stage"], failed["node"]) == ("web", "one")

    def test_what_serves_nobody_comes_first(self, running):
        running.plan({"one": ["web.release"], "two": ["web.release"]})
        running.answers["haproxy.servers"] = {"lb-a": self.servers(one=True, two=False)}
        assert running["rollout.planned"]("web")["todo"] == ["two", "one"]

    def test_what_a_dead_rollout_left_drained_comes_back(self, running):
        running.plan({"one": ["web.release"]})
        running.answers["haproxy.servers"] = {
            "lb-a": self.servers("drain", one=False, two=False),
            "lb-b": self.servers(one=True, two=True),
        }
        # The first one is on its way anyway.
        assert running["rollout.planned"]("web")["strayed"] == ["two"]
        running.answers["haproxy.servers"] = {"lb-a": self.servers("maint", two=False)}
        assert running["rollout.planned"]("web")["strayed"] == []

    @pytest.fixture
    def half_done(self, running):
        """The first node is done, the second one failed after it was drained."""
        running.plan({})
        servers = self.servers(one=True, two=True)
        running.answers.update(
            {
                "haproxy.servers": {"lb-a": servers},
                "haproxy.drain": {"lb-a": {}},
                "haproxy.ready": {"lb-a": {}},
                "haproxy.wait_up": {"lb-a": {}},
                "counterapp.wait_ready": dict.fromkeys(
                    ("one", "two"), {"release": "1.0", "waited": 1}
                ),
            }
        )
        applied = []

        def apply(nodes, sls=None, pillar=None, **_kwargs):
            applied.append((nodes, sls, pillar))
            good = {"result": True, "error": None, "changed": [], "failed": [], "states": 1}
            return dict.fromkeys(nodes, good)

        running.utils["fleet.apply"] = apply
        for node in ("one", "two"):
            running["rollout.drain"](node)
        running.asked.clear()
        return running, applied

    def test_undoing_begins_with_the_node_that_failed(self, half_done):
        running, applied = half_done
        done = running["rollout.undo_web"]()
        assert done["did"] == {"release": "1.0", "nodes": ["two", "one"]}
        assert applied == [
            (["two"], ["web"], {"release": "1.0"}),
            (["one"], ["web"], {"release": "1.0"}),
        ]

    def test_a_node_that_cannot_be_put_back_holds_up_no_other(self, half_done):
        running, applied = half_done
        del running.answers["counterapp.wait_ready"]["two"]
        done = running["rollout.undo_web"]()
        assert done["retcode"] == 1
        assert "two: waiting until ready with release 1.0" in done["failed"][0]
        assert [nodes for nodes, *_ in applied] == [["two"], ["one"]]
        # Its place is kept for it; the balancers' checks say when it may serve.
        assert ("haproxy.ready", ["lb-a"], ["web", "two"]) in running.asked

    def test_without_another_release_nodes_only_come_back(self, half_done):
        running, applied = half_done
        ledger.note(running.opts["counterapp_state"], previous="2.0")
        assert running["rollout.undo_web"]()["did"]["nodes"] == []
        assert applied == []
        ready = [arg for function, _, arg in running.asked if function == "haproxy.ready"]
        assert ready == [["web", "two"], ["web", "one"]]


class TestBalancers:
    def test_who_holds_the_vip_is_last(self, running):
        running.plan({"lb-a": ["lb.haproxy"], "lb-b": ["lb.haproxy"]})
        running.answers["network.ip_addrs"] = {
            "lb-a": ["127.0.0.16", "127.0.0.2"],
            "lb-b": ["127.0.0.17"],
        }
        assert running["rollout.planned"]("lb")["todo"] == ["lb-b", "lb-a"]

    def test_nothing_is_handed_over_by_who_has_nothing(self, running):
        running.answers["network.ip_addrs"] = {
            "lb-a": ["127.0.0.16", "127.0.0.2"],
            "lb-b": ["127.0.0.17"],
        }
        assert running["rollout.hand_over_vip"]("lb-b")["did"] == "does not hold the VIP"
        assert "service.stop" not in [function for function, *_ in running.asked]


class TestEnd:
    def test_success_is_noted_and_unlocked(self, running):
        running.plan({})
        summary = running["rollout.finish"]()
        assert (summary["outcome"], summary["release"]) == ("succeeded", "2.0")
        assert running["counterapp.current_release"]() == "2.0"
        assert running["counterapp.history"]()[0]["outcome"] == "succeeded"
        assert ledger.holder(running.opts["counterapp_state"]) is None
        path = running.folder / "config/pillar/release.sls"
        assert path.stat().st_mode & 0o777 == 0o600

    def test_the_note_of_the_release_is_left_alone_when_it_is_right(self, running):
        running.plan({})
        running["rollout.finish"]()
        path = running.folder / "config/pillar/release.sls"
        os.utime(path, (1, 1))
        running["counterapp.lock"]()
        running.plan({})
        running["rollout.finish"]()
        assert path.stat().st_mtime == 1

    def test_failure_names_node_step_and_reason(self, running):
        running.plan({})
        state = running.opts["counterapp_state"]
        failed = {"stage": "web", "node": "one", "step": "draining it", "reason": ["too few"]}
        ledger.note(state, failed=failed)
        done = running["rollout.abandon"]()
        assert done["retcode"] == 1
        assert running.context["retcode"] == 1
        assert done["failed"] == ["rollout failed: web one draining it: too few"]
        assert running["counterapp.history"]()[0]["failed"] == failed
        assert running["counterapp.current_release"]() is None
        assert ledger.holder(state) is None

    def test_the_first_failure_is_the_reason(self, running):
        running.plan({})
        running.answers["haproxy.servers"] = {"lb-a": []}
        for node in ("one", "two"):
            running.answers["haproxy.drain"] = {"lb-a": ValueError(f"{node} is busy")}
            assert running["rollout.drain"](node)["retcode"] == 1
        failed = ledger.journal(running.opts["counterapp_state"])["failed"]
        assert (failed["node"], failed["reason"]) == ("one", ["lb-a: one is busy"])

    def test_somebody_elses_lock_stays(self, runners):
        state = runners.folder / "state"
        state.mkdir()
        lock = {**ledger.take(state), "pid": 1, "started": ledger.started(1), "owner": "else@where"}
        (state / ledger.LOCK).unlink()
        ledger._write(state / ledger.LOCK, lock)
        done = runners["rollout.abandon"]()
        assert done["retcode"] == 1
        assert ledger.holder(state)["owner"] == "else@where"
        assert not runners["counterapp.history"]()


def test_no_plan_without_a_rollout(runners):
    with pytest.raises(CommandExecutionError, match="no rollout has passed its preflight"):
        runners["rollout.planned"]("web")
