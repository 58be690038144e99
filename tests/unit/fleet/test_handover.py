"""The VIP is handed over when nobody is under way, and whatever stands in the way is told."""

import re
import types

import pytest

from fleet import handover, minions
from fleet.errors import FleetError

VIP = "10.0.0.9"


class Balancers:
    """Two balancers, of which ``holder`` has the VIP; stopping its keepalived moves it."""

    def __init__(self):
        self.holder, self.idle = "lb-a", [0]
        self.asked, self.failing, self.answers = [], {}, {}
        self.other_takes, self.multiplexed = True, 0
        self.target = types.SimpleNamespace(topology={"vip": VIP})
        self.settings = {"lb": {"frontend_port": 80}}
        self.nodes = ["lb-a", "lb-b"]

    def with_role(self, role):
        return self.nodes if role == "lb" else []

    def left(self, timeout):
        return timeout

    def everyone(self, nodes, function, *arg, timeout=15, **kwarg):
        found = minions.Answers()
        for node in nodes:
            if isinstance(function, str) and function in self.failing:
                found.failed[node] = self.failing[function]
            else:
                found.answers[node] = self.answer(node, function, arg)
        return found

    def ask(self, nodes, function, *arg, timeout=15, **kwarg):
        return self.everyone(nodes, function, *arg).answers

    def answer(self, node, function, arg):
        if function == "network.ip_addrs":
            return ["10.0.0.1", *([VIP] if node == self.holder else [])]
        self.asked.append((function if isinstance(function, str) else list(function), arg))
        if function == "haproxy.connections":
            idle = self.idle.pop(0) if len(self.idle) > 1 else self.idle[0]
            return {"idle": idle, "multiplexed": self.multiplexed}
        if isinstance(function, list):
            if self.answers.get("service.stop", True) is True:
                self.holder = "lb-b" if self.other_takes else None
            done = {name: True for name in function}
            return {**done, "newcomers.hold": {}, function[1]: {}, **self.answers}
        return True

    def until(self, look, timeout, what, step):
        done, seen = look()
        if not done:
            raise FleetError(f"{what}; last seen: {seen}")
        return seen

    def functions(self):
        return [function for function, _ in self.asked]


@pytest.fixture
def work(monkeypatch):
    monkeypatch.setattr(handover.time, "sleep", lambda _seconds: None)
    return Balancers()


@pytest.fixture
def step():
    waits = []
    return types.SimpleNamespace(waits=lambda seen, left=None: waits.append(seen), seen=waits)


def test_clients_leave_and_nobody_new_comes_before_the_vip_goes(work, step):
    work.idle = [5, 2, 0]
    assert handover.hand_over(work, "lb-a", step) == "handed the VIP over to lb-b"
    assert work.functions() == [
        "haproxy.closing",
        *["haproxy.connections"] * 3,
        ["newcomers.hold", "haproxy.wait_answered", "service.stop", "newcomers.admit"],
        "haproxy.closing",
    ]
    assert step.seen == ["5 kept connections left", "2 kept connections left"]
    # One list of arguments for each function of the one job.
    assert work.asked[4][1] == ([VIP, 80, 15], ["http", 5], ["keepalived"], [])
    assert work.asked[-1][1] == (0,)


def test_clients_of_http_2_leave_with_the_worker_that_they_have(work, step):
    work.settings["lb"]["https"] = {"enabled": True, "port": 443}
    work.multiplexed = 2
    assert handover.hand_over(work, "lb-a", step) == "handed the VIP over to lb-b"
    [(_, arguments)] = [
        each
        for each in work.asked
        if each[0] == ["newcomers.hold", "haproxy.retire", "service.stop", "newcomers.admit"]
    ]
    assert arguments == ([VIP, [80, 443], 15], ["http", 5], ["keepalived"], [])


@pytest.mark.parametrize("case", ["another holds it", "the only one"])
def test_where_there_is_nothing_to_hand_over_nothing_is_asked(work, step, case):
    if case == "the only one":
        work.nodes = ["lb-a"]
    else:
        work.holder = "lb-b"
    words = handover.hand_over(work, "lb-a", step)
    assert words in ("the only balancer: it keeps the VIP", "does not hold the VIP")
    assert work.asked == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"failing": {"haproxy.closing": "not configured"}}, "lb-a: not configured"),
        ({"failing": {"haproxy.connections": "does not answer"}}, "whether clients have left"),
        ({"answers": {"newcomers.hold": "Traceback\nError: no nft"}}, "Error: no nft"),
        (
            {"answers": {"newcomers.hold": "E: 'str' object is not callable"}},
            "no such function yet",
        ),
        ({"answers": {"haproxy.wait_answered": "Traceback\nE: 2 left"}}, "not all .*E: 2 left"),
        ({"idle": [3]}, "3 kept connections had not ended"),
    ],
)
def test_what_stands_in_the_way_is_told_and_the_vip_handed_over(
    work, step, monkeypatch, change, words
):
    monkeypatch.setattr(handover, "_KEPT", 0.0)
    for name, value in change.items():
        setattr(work, name, value)
    done = handover.hand_over(work, "lb-a", step)
    assert done.startswith("handed the VIP over to lb-b; ")
    assert re.search(words, done)


def test_when_nobody_takes_it_the_holder_has_it_back(work, step):
    work.other_takes = False
    with pytest.raises(FleetError, match="nobody has it"):
        handover.hand_over(work, "lb-a", step)
    assert work.functions()[-2:] == ["service.start", "haproxy.closing"]


def test_a_keepalived_that_does_not_stop_is_a_failure(work, step):
    work.answers = {"service.stop": False}
    with pytest.raises(FleetError, match="keepalived does not stop: False"):
        handover.hand_over(work, "lb-a", step)
    assert work.functions()[-1] == "haproxy.closing"
