"""A canary behind a real HAProxy, judged by what that has counted."""

import contextlib
import http.client
import threading

import pytest

from fleet import canary, minions, revision, work
from fleet.change import Change, StepFailed
from fleet.master import Master

NODES = {
    "web-1": {"roles": ["web"], "address": "web-1"},
    "web-2": {"roles": ["web"], "address": "web-2"},
    "lb-1": {"roles": ["lb"], "address": "lb-1"},
}


class Target(revision.Revision):
    """A revision that nobody has to have on a disk."""

    topology = {"nodes": NODES}
    settings = {"lb": {"backend": "web"}, "web": {"port": 8000}}


class Minions:
    """The balancer's minion, and web servers that know each path."""

    def __init__(self, balancer):
        self.balancer = balancer

    def everyone(self, nodes, function, arg=(), kwarg=None, timeout=15, patience=10):
        found = minions.Answers()
        for node in nodes:
            if node == "lb-1":
                name = function.removeprefix("haproxy.")
                found.answers[node] = self.balancer.call(name, *arg, **(kwarg or {}))
            else:
                found.answers[node] = {"process": "1", "routes": {}, "not_found": 0}
        return found


@pytest.fixture
def judge(balancer, tmp_path, monkeypatch):
    """Judge web-1 as a canary that was drained before, while clients ask all the time."""
    # What the master hits is always well: only what clients ask leaks.
    monkeypatch.setattr(canary, "hit", lambda _address, _port: True)
    master = Master({"id": "boss", "counterapp_state": str(tmp_path / "state")})

    def run(path="/", **settings):
        with Change(master, "rollout") as change:
            target = Target(master, "0" * 12, master.state)
            limits = {"canary": {"time": 4, "hold": 20, **settings}}
            ours = work.Work(change, Minions(balancer), target, "candidate", None, limits)
            assert canary.wanted(ours, ["web-1", "web-2"])
            balancer.call("drain", "web", "web-1")
            with _clients(balancer, path):
                canary.judge(ours, "web-1")
            return ours

    return run


@contextlib.contextmanager
def _clients(balancer, path):
    stop = threading.Event()

    def ask():
        while not stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", balancer.port, timeout=10)
            connection.request("GET", path)
            connection.getresponse().read()
            connection.close()

    clients = [threading.Thread(target=ask) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        yield
    finally:
        stop.set()
        for client in clients:
            client.join()


def test_one_that_is_well_passes_at_a_small_weight_and_gets_its_whole_one(balancer, judge):
    ours = judge()
    assert ours.change.facts["canary"]["verdict"] == "pass"
    assert balancer.call("server_state", "web", "web-1")["weight"] == 10
    canary.restore(ours, "web-1")
    assert balancer.call("server_state", "web", "web-1")["weight"] == 100


def test_a_leak_of_five_percent_is_found_though_the_masters_hits_are_well(balancer, judge):
    balancer.servers["web-1"].leak = 0.05
    with pytest.raises(StepFailed, match="the canary is worse than the others: of clients"):
        judge(time=60)


def test_what_another_server_had_to_answer_counts_against_it(balancer, judge):
    with pytest.raises(StepFailed, match="the canary is worse than the others: of clients"):
        judge(path="/missing")
