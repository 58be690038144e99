"""The canary of a rollout, against balancers and applications that count what they are told."""

import collections
import http.server
import random
import threading

import pytest
import yaml

from fleet import canary, lock, minions, readings, revision, waiting, work
from fleet.change import Change, StepFailed
from fleet.errors import FleetError
from fleet.journal import Journal, history
from fleet.judging import Errors, Verdict
from tests.support.loading import ROOT

NODES = {
    "web-1": {"roles": ["web"], "address": "127.0.0.11"},
    "web-2": {"roles": ["web"], "address": "127.0.0.12"},
    "lb-1": {"roles": ["lb"], "address": "127.0.0.21"},
    "lb-2": {"roles": ["lb"], "address": "127.0.0.22"},
}
BOUNDS = ("0.005", "0.05", "0.5", "+Inf")


class Fleet:
    """Two balancers and two web servers; ``each_look`` is what happens between two looks."""

    def __init__(self):
        self.random = random.Random(1)
        self.weights = {balancer: dict.fromkeys(("web-1", "web-2"), 100) for balancer in ("lb-1",)}
        self.weights["lb-2"] = dict(self.weights["lb-1"])
        self.status = {"web-1": "UP", "web-2": "UP"}
        self.initial = 100
        self.counts = {}
        self.process = {"lb-1": 100, "lb-2": 200}
        self.web_process = {"web-1": "11", "web-2": "12"}
        self.routes = {}
        self.not_found = dict.fromkeys(("web-1", "web-2"), 0)
        self.silent = set()
        self.looks = 0
        self.asked = collections.Counter()
        self.each_look = lambda look: None
        #: Parts of the hits of the master that fail.
        self.hits_fail = {}
        self.hits = []
        for balancer in self.process:
            self.reload(balancer)

    def reload(self, balancer):
        self.process[balancer] += 1
        names = ("answers", *FAILURES)
        self.counts[balancer] = {web: dict.fromkeys(names, 0) for web in ("web-1", "web-2")}

    def ask(self, web, requests, balancer="lb-1", **failures):
        """Have clients ask a web server."""
        counts = self.counts[balancer][web]
        counts["answers"] += requests
        for name, number in failures.items():
            counts[name] += number

    def took(self, web, route, requests, seconds):
        """Have the application of a web server answer."""
        buckets, whole = self.routes.setdefault(web, {}).setdefault(route, ({}, [0.0]))
        for bound in BOUNDS:
            within = requests if seconds <= float(bound) else 0
            buckets[bound] = buckets.get(bound, 0) + within
        whole[0] += requests * seconds

    def hit(self, address, _port):
        web = next(name for name, node in NODES.items() if node["address"] == address)
        self.hits.append(web)
        return self.random.random() >= self.hits_fail.get(web, 0)

    def everyone(self, nodes, function, arg=(), kwarg=None, timeout=15, patience=10):
        found = minions.Answers()
        if function == "haproxy.counters":
            self.looks += 1
            self.each_look(self.looks)
        for node in nodes:
            self.asked[function, node] += 1
            if node in self.silent:
                found.failed[node] = "the minion does not answer"
                continue
            try:
                found.answers[node] = getattr(self, function.replace(".", "_"))(node, *arg)
            except LookupError as error:
                found.failed[node] = str(error)
        return found

    def haproxy_servers(self, node, _backend):
        return [
            {
                "name": web,
                "in_service": self.status[web].startswith("UP"),
                "weight": weight,
                "initial_weight": self.initial,
            }
            for web, weight in self.weights[node].items()
        ]

    def haproxy_set_weight(self, node, _backend, web, weight):
        if self.initial == 1:
            raise LookupError("10% of the weight is none")
        self.weights[node][web] = self.initial * int(weight[:-1]) // 100

    def haproxy_ready(self, *_):
        return True

    haproxy_wait_up = haproxy_ready

    def haproxy_counters(self, node, _backend):
        servers = {
            web: {**counts, "status": self.status[web]} for web, counts in self.counts[node].items()
        }
        return {"process": self.process[node], "servers": servers}

    def counterapp_latency(self, node):
        routes = {
            route: {"buckets": dict(buckets), "seconds": whole[0]}
            for route, (buckets, whole) in self.routes.get(node, {}).items()
        }
        who = {"process": self.web_process[node], "not_found": self.not_found[node]}
        return {**who, "routes": routes}


FAILURES = ("hrsp_5xx", "econ", "eresp", "wretr", "wredis")


class Target(revision.Revision):
    """A revision that nobody has to have on a disk."""

    topology = {"nodes": NODES}
    settings = {"lb": {"backend": "web"}, "web": {"port": 8000, "workers": 1}}


@pytest.fixture
def fleet(monkeypatch):
    fleet = Fleet()
    monkeypatch.setattr(canary, "hit", fleet.hit)
    monkeypatch.setattr(waiting, "PAUSE", 0.001)
    return fleet


@pytest.fixture
def going(change, fleet):
    def to(environment="candidate", given=None):
        target = Target(change.master, "0" * 12, change.master.state)
        settings = {"time": 0.02, "hold": 30, **(given or {})}
        return work.Work(change, fleet, target, environment, None, {"canary": settings})

    return to


def _judge(going, **given):
    ours = going(given=given)
    canary.judge(ours, "web-1")
    return ours.change.facts["canary"]


class TestSettings:
    def test_those_of_the_pillar_are_the_defaults(self):
        text = yaml.safe_load((ROOT / "pillar/rollout.sls").read_text(encoding="utf-8"))
        assert canary.settings(text["rollout"]) == canary.Settings()

    @pytest.mark.parametrize(("given", "enabled"), [({}, False), ({"canary": True}, True)])
    def test_it_may_be_switched(self, given, enabled):
        assert canary.settings(given).enabled is enabled

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"wieght": 10}, "rollout:canary has no 'wieght': is weight meant?"),
            ({"weight": 0}, "canary:weight must be a percentage from 1 to 100, not 0"),
            ({"weight": "10%"}, "canary:weight must be a percentage"),
            ({"hits": -1}, "canary:hits must be a whole number from 0 to 1000"),
            ({"inconclusive": "maybe"}, "must be hold, pass or fail, not 'maybe'"),
            ({"time": "soon"}, "canary:time must be a number from 0 on"),
            ({"hold": float("inf")}, "canary:hold must be a number"),
            ({"enabled": "yes"}, "canary:enabled must be true or false, not 'yes'"),
            ("please", "canary must be true, false or a mapping"),
        ],
    )
    def test_what_cannot_be_is_named(self, given, message):
        with pytest.raises(FleetError, match=message):
            canary.settings({"canary": given})

    def test_all_problems_are_named_at_once(self):
        with pytest.raises(FleetError) as caught:
            canary.settings({"canary": {"weight": 0, "time": -1}})
        assert len(caught.value.problems) == 2


class TestWanted:
    def test_with_another_that_serves(self, going):
        assert canary.wanted(going(), ["web-1", "web-2"])

    def test_not_for_the_last_one(self, going, fleet):
        fleet.status["web-2"] = "DOWN"
        assert not canary.wanted(going(), ["web-1"])

    def test_not_on_the_way_back_or_with_nothing_to_do(self, going):
        assert not canary.wanted(going("base"), ["web-1"])
        assert not canary.wanted(going(), [])
        assert not canary.wanted(going(given={"enabled": False}), ["web-1"])

    def test_not_without_balancers(self, going, fleet):
        fleet.silent = {"lb-1", "lb-2"}
        assert not canary.wanted(going(), ["web-1"])


class TestWeight:
    def test_it_is_small_while_it_is_watched_and_whole_again(self, going, fleet):
        seen = []
        fleet.each_look = lambda look: seen.append(fleet.weights["lb-2"]["web-1"])
        ours = going()
        canary.judge(ours, "web-1")
        assert set(seen) == {10}
        canary.restore(ours, "web-1")
        assert fleet.weights == {"lb-1": {"web-1": 100, "web-2": 100}} | {
            "lb-2": {"web-1": 100, "web-2": 100}
        }

    def test_one_whose_weight_cannot_be_divided_is_watched_all_the_same(self, going, fleet, told):
        fleet.initial = 1
        assert _judge(going)["verdict"] == "pass"
        done = [line["did"] for line in told if line["event"] == "done"]
        assert "at its whole weight in lb-1: 10% of the weight is none" in done[0]

    def test_whole_weights_are_left_alone(self, going, fleet):
        fleet.haproxy_set_weight = None
        canary.restore(going(), "web-1")

    @pytest.mark.parametrize(
        ("server", "less"),
        [
            ({"weight": 10, "initial_weight": 100}, True),
            ({"weight": 100, "initial_weight": 100}, False),
            ({"weight": 10}, False),
        ],
    )
    def test_reduced(self, server, less):
        assert canary.reduced(server) is less


class TestJudge:
    def test_a_quiet_fleet_passes_by_the_hits_of_the_master(self, going, fleet, master):
        found = _judge(going)
        assert (found["node"], found["verdict"]) == ("web-1", "pass")
        assert "of clients 0 of 0 failed" in found["seen"]
        assert fleet.hits.count("web-1") == fleet.hits.count("web-2") >= 92

    def test_figures_are_told_as_they_come(self, going, told):
        _judge(going)
        waits = [line for line in told if line["event"] == "waits"]
        assert waits[0]["step"] == "watching the canary"
        assert "of the master's hits 0 of 20 failed, 0 of 20 on the others" in waits[0]["seen"]
        assert waits[0]["left"] > 0

    def test_without_anything_to_judge_by_it_does_not_pass(self, going, fleet):
        with pytest.raises(StepFailed, match="web-1 can be judged, or is promoted"):
            _judge(going, hits=0, hold=0.1)
        assert fleet.looks > 1

    @pytest.mark.parametrize("failure", ["hrsp_5xx", "econ", "eresp", "wredis", "wretr"])
    def test_a_leak_in_what_clients_ask_is_not_hidden_by_good_hits(self, going, fleet, failure):
        def ask(_look):
            fleet.ask("web-2", 90)
            leak = 1 if fleet.random.random() < 0.5 else 0
            fleet.ask("web-1", 10 - (failure != "hrsp_5xx") * leak, "lb-2", **{failure: leak})

        fleet.each_look = ask
        with pytest.raises(StepFailed, match="the canary is worse than the others: of clients"):
            _judge(going, time=5)

    def test_the_hits_of_the_master_find_a_leak(self, going, fleet, change):
        fleet.hits_fail["web-1"] = 0.05
        with pytest.raises(StepFailed, match="worse than the others"):
            _judge(going, time=5)
        assert change.facts["canary"]["verdict"] == "fail"
        assert change.failure["step"] == "watching the canary"

    def test_what_fails_everywhere_is_held_and_not_blamed(self, going, fleet, change):
        fleet.hits_fail = {"web-1": 1, "web-2": 1}
        with pytest.raises(StepFailed, match="not within .* can be judged"):
            _judge(going, hold=0.1)
        assert change.facts["canary"]["verdict"] == "inconclusive"

    @pytest.mark.parametrize("inconclusive", ["pass", "fail"])
    def test_what_cannot_be_judged_goes_by_the_pillar(self, going, fleet, inconclusive):
        fleet.hits_fail = {"web-1": 1, "web-2": 1}
        if inconclusive == "pass":
            assert _judge(going, inconclusive="pass")["verdict"] == "inconclusive"
        else:
            with pytest.raises(StepFailed, match="the canary could not be judged"):
                _judge(going, inconclusive="fail")

    def test_an_error_of_a_client_makes_it_wait_for_more(self, going, fleet):
        fleet.each_look = lambda look: look == 2 and fleet.ask("web-1", 10, hrsp_5xx=1)
        with pytest.raises(StepFailed, match="of clients 1 of 10 failed"):
            _judge(going, hold=1)

    def test_what_was_before_it_was_watched_does_not_count(self, going, fleet):
        fleet.ask("web-1", 100, hrsp_5xx=100)
        fleet.took("web-1", "/hit", 100, 5)
        assert _judge(going)["verdict"] == "pass"

    def test_counters_that_start_anew_count_from_nothing(self, going, fleet):
        def ask(look):
            if look == 3:
                fleet.reload("lb-1")
            fleet.ask("web-1", 10)
            fleet.ask("web-2", 10)

        fleet.ask("web-1", 1000, hrsp_5xx=500)
        fleet.each_look = ask
        found = _judge(going)
        assert found["verdict"] == "pass"
        assert f"of clients 0 of {10 * (fleet.looks - 1)} failed" in found["seen"]

    def test_files_of_another_release_are_no_failures(self, going, fleet):
        def ask(_look):
            for web in NODES:
                if web.startswith("web"):
                    fleet.ask(web, 10, wredis=3)
                    fleet.not_found[web] += 4

        fleet.each_look = ask
        assert "of clients 0 of" in _judge(going)["seen"]

    def test_with_several_workers_moved_requests_are_left_out(self, going, fleet, monkeypatch):
        monkeypatch.setitem(Target.settings["web"], "workers", 2)
        fleet.each_look = lambda look: fleet.ask("web-1", 10, wredis=10)
        assert _judge(going)["verdict"] == "pass"

    def test_without_the_canarys_own_figures_moved_requests_are_left_out(self, going, fleet):
        fleet.silent = {"web-1"}
        fleet.each_look = lambda look: fleet.ask("web-1", 10, wredis=10)
        found = _judge(going)
        assert found["verdict"] == "pass"
        assert "too few requests to compare latency" in found["seen"]

    def test_one_that_tells_no_figures_is_asked_once(self, going, fleet):
        fleet.silent = {"web-2"}
        _judge(going)
        assert fleet.looks > 1
        assert fleet.asked["counterapp.latency", "web-2"] == 1
        assert fleet.asked["counterapp.latency", "web-1"] == fleet.looks

    def test_a_balancer_that_does_not_know_it_is_left_out(self, going, fleet):
        del fleet.weights["lb-2"]["web-1"]
        assert _judge(going)["verdict"] == "pass"
        assert fleet.asked["haproxy.counters", "lb-2"] == 0

    def test_a_canary_that_balancers_call_down_fails(self, going, fleet, monkeypatch):
        monkeypatch.setattr(canary, "_DOWN", 0.02)

        def ask(look):
            if look == 2:
                fleet.status["web-1"] = "DOWN 1/2"

        fleet.each_look = ask
        with pytest.raises(StepFailed, match="lb-1 calls it DOWN 1/2, and web-2 up"):
            _judge(going, time=5)

    def test_when_all_are_down_the_canary_is_not_blamed(self, going, fleet, monkeypatch):
        monkeypatch.setattr(canary, "_DOWN", 0.0)

        def ask(look):
            word = "DOWN" if 2 <= look < 5 else "UP"
            fleet.status.update({"web-1": word, "web-2": word})

        fleet.each_look = ask
        assert _judge(going)["verdict"] == "pass"

    def test_a_balancer_that_is_silent_makes_it_wait(self, going, fleet):
        fleet.each_look = lambda look: fleet.silent.update({"lb-2"} if look == 2 else ())
        with pytest.raises(StepFailed, match="lb-2: the minion does not answer"):
            _judge(going, hold=1)

    def test_a_slower_one_fails(self, going, fleet):
        def ask(_look):
            fleet.took("web-1", "/hit", 60, 0.3)
            fleet.took("web-2", "/hit", 60, 0.004)

        fleet.each_look = ask
        with pytest.raises(StepFailed, match="300 ms in the mean, the others 4 ms"):
            _judge(going)

    def test_one_that_is_asked_for_slower_things_passes(self, going, fleet):
        def ask(_look):
            fleet.took("web-1", "/import", 30, 0.3)
            fleet.took("web-1", "/hit", 30, 0.004)
            fleet.took("web-2", "/import", 3, 0.3)
            fleet.took("web-2", "/hit", 300, 0.004)

        fleet.each_look = ask
        assert _judge(going)["verdict"] == "pass"

    def test_an_application_that_is_new_counts_from_its_first_reading(self, going, fleet):
        def ask(look):
            fleet.took("web-1", "/hit", 100, 0.004)
            fleet.took("web-2", "/hit", 100, 0.004)
            if look == 3:
                fleet.web_process["web-1"] = "13"
                fleet.routes["web-1"] = {}
                fleet.not_found["web-1"] = 0

        fleet.each_look = ask
        assert _judge(going)["verdict"] == "pass"


class TestAnswers:
    def test_promoted(self, going, fleet, master):
        fleet.each_look = lambda look: look == 3 and canary.promote(master)
        found = _judge(going, hits=0)
        assert (found["verdict"], found["said"]["what"]) == ("inconclusive", "promote")
        assert found["said"]["by"] == lock.owner()
        assert fleet.looks == 3
        assert [path.suffix for path in (master.state / "changes").iterdir()] == [".jsonl"]

    def test_rejected(self, going, fleet, master, change):
        fleet.each_look = lambda look: look == 3 and canary.reject(master, change.id)
        with pytest.raises(StepFailed, match="the canary was rejected by"):
            _judge(going, hits=0)
        assert change.facts["canary"]["verdict"] == "fail"

    def test_the_history_says_so(self, master, fleet):
        with Change(master, "rollout") as change:
            fleet.each_look = lambda look: canary.promote(master)
            target = Target(master, "0" * 12, master.state)
            limits = {"canary": {"hits": 0, "hold": 30}}
            canary.judge(work.Work(change, fleet, target, "candidate", None, limits), "web-1")
        assert history(master.state)[0]["canary"]["said"]["what"] == "promote"

    def test_of_another_rollout(self, going, fleet, master):
        def say(_look):
            with pytest.raises(FleetError, match="web-1 is of the rollout .*, not of 'x'"):
                canary.promote(master, "x")
            canary.promote(master)

        fleet.each_look = say
        _judge(going, hits=0)

    def test_when_none_is_watched(self, master, going):
        with pytest.raises(FleetError, match="no canary is watched now, so there is none to promo"):
            canary.promote(master)
        _judge(going)
        with pytest.raises(FleetError, match="there is none to reject"):
            canary.reject(master)

    def test_an_answer_to_an_earlier_canary_is_not_heard(self, going, fleet, change):
        path = Journal(change.master.state, change.id).path.with_suffix(".promote")
        path.write_text("{}")
        with pytest.raises(StepFailed, match="can be judged"):
            _judge(going, hits=0, hold=0.1)


class TestDecide:
    def _errors(self, good=0, bad=0):
        errors = Errors()
        errors.add(good + bad, bad)
        return errors

    @pytest.mark.parametrize(
        ("traffic", "floor", "slower", "over", "complete", "expected"),
        [
            ((0, 0), (92, 0), False, True, True, Verdict.PASS),
            ((92, 0), (0, 0), False, True, True, Verdict.PASS),
            ((50, 0), (92, 0), False, True, True, Verdict.PASS),
            ((50, 0), (50, 0), False, True, True, Verdict.INCONCLUSIVE),
            ((92, 0), (92, 0), False, False, True, Verdict.INCONCLUSIVE),
            ((92, 0), (92, 0), False, True, False, Verdict.INCONCLUSIVE),
            ((10, 1), (92, 0), False, True, True, Verdict.INCONCLUSIVE),
            ((92, 0), (92, 0), True, False, True, Verdict.INCONCLUSIVE),
            ((92, 0), (92, 0), True, True, True, Verdict.FAIL),
            ((0, 2), (92, 0), False, False, False, Verdict.FAIL),
            ((92, 0), (0, 2), False, True, True, Verdict.FAIL),
            ((0, 0), (0, 0), False, True, True, Verdict.INCONCLUSIVE),
        ],
    )
    def test_verdicts(self, traffic, floor, slower, over, complete, expected):
        found = canary.decide(self._errors(*traffic), self._errors(*floor), slower, over, complete)
        assert found is expected


class TestHit:
    @pytest.fixture
    def server(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.server.paths.append(self.path)
                if self.server.status:
                    self.send_response(self.server.status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *args):
                """Keep a test's output readable."""

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
            running.paths, running.status = [], 200
            threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
            yield running
            running.shutdown()

    @pytest.mark.parametrize(
        ("status", "good"), [(200, True), (500, False), (404, False), (429, False), (None, False)]
    )
    def test_only_an_acknowledged_one_is_good(self, server, status, good):
        server.status = status
        assert readings.hit("127.0.0.1", server.server_address[1], timeout=2) is good
        assert server.paths == ["/api/v1/counters/default/rollout-canary/hits"]

    def test_nobody_there(self):
        assert readings.hit("127.0.0.1", 1, timeout=2) is False
