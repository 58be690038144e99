"""Clocks of nodes, held against a master's whose questions take their time."""

import math
import types

import pytest

from fleet import clocks as measuring
from fleet.clocks import Deviations, Readings
from fleet.minions import Answers

NODES = {
    "boss": {"roles": ["master", "lb"]},
    "one": {"roles": ["web"]},
    "two": {"roles": ["web"]},
    "data": {"roles": ["db", "storage"]},
}


@pytest.fixture
def clocks(monkeypatch):
    """Hold clocks that are so far off against a master's whose questions take their time.

    Each question takes one of ``trips``, in seconds, and a node reads its clock when ``share``
    of that has passed.
    """
    now = [1_800_000_000.0]
    asked = []
    monkeypatch.setattr(measuring, "time", types.SimpleNamespace(time=lambda: now[0]))

    class Minions:
        def __init__(self, off, trips, share):
            shares = share if isinstance(share, list) else [share] * len(trips)
            self.off = off
            self.left = list(zip(trips, shares, strict=True))

        def everyone(self, nodes, function):
            assert function == "counterapp.clock"
            asked.append(sorted(nodes))
            trip, part = self.left.pop(0)
            read = now[0] + part * trip
            now[0] += trip
            known = {n: self.off[n] for n in nodes if isinstance(self.off[n], int | float)}
            return Answers(
                {node: read + seconds for node, seconds in known.items()},
                {node: self.off[node] for node in nodes if node not in known},
            )

    def holding(off, trips=(0.5, 0.5, 0.5), share=0.5, first=False):
        minions = Minions(off, trips, share)
        readings = None
        if first:
            readings = Readings()
            begun = now[0]
            readings.add(begun, now[0], minions.everyone(off, "counterapp.clock"))
            readings.bounds = {n: (least - 9, most) for n, (least, most) in readings.bounds.items()}
        return measuring.clocks(minions, off, 2, readings)

    holding.asked = asked
    return holding


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_clocks_that_are_off_are_told_by_how_much(clocks, share):
    off = {"a": 0, "b": 3660, "c": -86_400, "d": 2.6, "e": -1.4}
    found = clocks(off, share=share)
    assert found.failed == {}
    assert found.wrong == {node: pytest.approx(off[node], abs=0.26) for node in ("b", "c", "d")}
    assert clocks.asked[0] == list(off)


@pytest.mark.parametrize("share", [0, 0.5, 1])
@pytest.mark.parametrize("off", [-2, 0, 2])
def test_a_slow_answer_makes_no_clock_wrong(clocks, off, share):
    assert clocks({"a": off}, trips=(30, 9, 4), share=share).wrong == {}
    assert clocks.asked == [["a"]] * 3


def test_who_is_in_doubt_is_asked_again_alone(clocks):
    found = clocks({"a": 0, "b": -5, "c": 60}, trips=(8, 1))
    assert list(found.wrong) == ["b", "c"]
    assert clocks.asked == [["a", "b", "c"], ["a", "b"]]


def test_answers_are_put_together(clocks):
    # Read at the end of one trip and at the beginning of the other: both leave 3 s open.
    assert clocks({"a": 1.5}, trips=(3, 3), share=[1, 0]).wrong == {}
    assert clocks.asked == [["a"], ["a"]]


def test_who_tells_no_time_is_named(clocks):
    found = clocks({"a": math.nan, "b": "the minion does not answer", "c": 0})
    assert found.wrong == {}
    assert found.failed == {"a": "nan is no time", "b": "the minion does not answer"}


def test_readings_that_settle_it_ask_nobody():
    readings = Readings()
    readings.add(100.0, 101.0, Answers({"a": 100.5, "b": 109.0}))
    found = measuring.clocks(None, ["a", "b"], 2, readings)
    assert list(found.wrong) == ["b"]


def test_readings_that_leave_it_open_are_completed(clocks):
    assert clocks({"a": 0.0}, trips=(1, 1, 1), first=True).wrong == {}
    assert clocks.asked == [["a"], ["a"]]


class TestProblems:
    @pytest.fixture
    def problems(self, monkeypatch):
        """Return the sentences about a fleet whose deviations were measured as given."""

        def problems(wrong, failed=(), asked=tuple(NODES)):
            def clocks(_minions, nodes, tolerance, _readings):
                assert tolerance == 2
                assert list(nodes) == list(asked)
                return Deviations(dict(wrong), dict(failed))

            monkeypatch.setattr(measuring, "clocks", clocks)
            return measuring.problems(None, NODES, asked)

        return problems

    def test_clocks_that_are_right_are_no_trouble(self, problems):
        assert problems({}) == ({}, [])

    def test_a_wrong_one_is_named_with_the_remedy(self, problems):
        _, (behind, ahead) = problems({"one": -3660.04, "data": 2.5})
        assert behind.startswith("one: its clock is 3660.0 s behind the master's, more than 2 s: ")
        assert ahead.startswith("data: its clock is 2.5 s ahead of the master's")
        assert "`salt one state.apply base`" in behind
        assert "`chronyc makestep`" in behind

    def test_where_all_others_agree_it_is_the_masters(self, problems):
        wrong, [reason] = problems({"one": 3600.2, "two": 3600.4, "data": 3600.9})
        assert reason.startswith("boss: its clock is 3600.4 s behind all others")
        assert wrong == {"boss": -3600.4}
        assert len(problems({"one": 3600.2, "two": 3600.4, "data": -5})[1]) == 3

    def test_a_silent_master_can_be_the_wrong_one(self, problems):
        wrong, _ = problems(dict.fromkeys(("one", "two", "data"), 60), asked=("one", "two", "data"))
        assert wrong == {"boss": -60}

    def test_who_does_not_tell_is_a_problem(self, problems):
        assert problems({}, {"two": "'counterapp.clock' is not available."})[1] == [
            "two: its clock is not known: 'counterapp.clock' is not available."
        ]
