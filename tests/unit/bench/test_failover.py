"""What ``bench/failover`` makes of what its clients saw."""

import argparse
import json
import threading

import pytest
import requests

from bench import failover, gaps
from bench.gaps import Case, Run
from lab.config import LabError
from tests.support.hits import Traffic


def run(gap=1.0, **changes):
    found = {
        **{"case": "primary killed", "what": "db-1", "gap": gap, "wait": gap, "acknowledged": 100},
        **{"refused": 0, "unsure": 0, "lost": 0, "doubled": 0, "problems": []},
    }
    return Run(**{**found, **changes})


class Counters:
    """The counters of a service, by name."""

    def __init__(self):
        self.there = {}

    def make(self, names):
        self.there.update(dict.fromkeys(names, 0))

    def values(self):
        return dict(self.there)

    def remove(self):
        self.there.clear()


class Service:
    """Counts hits, and refuses or forgets them while it is harmed."""

    name = "a service"

    def __init__(self, wrong=None):
        self.counters = Counters()
        self.wrong = wrong
        self.harmed = threading.Event()
        self.undone = 0
        self._lock = threading.Lock()

    def send(self, counter, key):
        answer = requests.Response()
        with self._lock:
            if self.harmed.is_set() and self.wrong == "refuses":
                self.harmed.clear()
                answer.status_code = 503
                answer._content = json.dumps({"detail": "It was not counted."}).encode()
                return answer
            if self.harmed.is_set() and self.wrong == "knows not" and key is None:
                self.harmed.clear()
                answer.status_code = 502
                return answer
            counts = self.counters.there
            value = counts[counter] = counts[counter] + 1
            if self.harmed.is_set() and self.wrong == "doubles":
                self.harmed.clear()
                counts[counter] += 1
            if self.harmed.is_set() and self.wrong == "loses":
                self.harmed.clear()
                counts[counter] -= 1
        answer.status_code = 200
        answer._content = json.dumps({"value": value, "node": "web-1"}).encode()
        return answer

    def cases(self):
        def harm():
            self.harmed.set()
            return "web-1"

        def recover():
            self.undone += 1

        return [Case("primary killed", harm, recover), Case("web server killed", harm, recover)]


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(gaps, "ENOUGH", 3)


def options(**changes):
    return argparse.Namespace(**{"runs": 2, "case": None, "clients": 4, "json": None, **changes})


@pytest.mark.parametrize(("share", "value"), [(0.5, 10), (0.95, 19), (1, 20)])
def test_a_percentile_is_a_value_that_was_measured(share, value):
    assert gaps.percentile([float(n) for n in range(20, 0, -1)], share) == value


@pytest.mark.parametrize(
    ("good", "runs", "share"),
    # The second by the tables of Clopper and Pearson.
    [(20, 20, 0.05 ** (1 / 20)), (19, 20, 0.7839), (5, 5, 0.05 ** (1 / 5)), (0, 5, 0.0)],
)
def test_so_many_good_runs_tell_so_much(good, runs, share):
    assert gaps.surely(good, runs) == pytest.approx(share, abs=0.0001)


def test_only_what_ended_after_the_harm_is_a_gap_of_it():
    traffic = Traffic()
    for at in (0.0, 5.0, 5.1, 7.0, 7.5):
        traffic.acknowledged({"value": 1, "node": "a"}, at)
    assert gaps.gap(traffic, 5.05, 9.0) == pytest.approx(1.9)
    assert gaps.gap(traffic, 7.0, 9.0) == 0.5
    assert gaps.gap(Traffic(), 0, 9.0) == 0.0


def test_a_hit_that_is_sent_again_after_the_others_have_ended_ends_no_gap():
    traffic = Traffic()
    for at in (0.0, 1.0, 1.1, 10.0):
        traffic.acknowledged({"value": 1, "node": "a"}, at)
    assert gaps.gap(traffic, 0.5, 1.2) == 1.0


def test_a_service_that_keeps_its_word(capsys, tmp_path):
    service, numbers = Service(), tmp_path / "numbers.json"
    assert failover.measure(service, options(json=numbers)) == 0
    said = capsys.readouterr().out
    assert "Every acknowledged hit is counted once." in said
    assert "2 of 2 good: at least 22% of all are (95 %)" in said
    assert service.undone == 4
    assert service.counters.there == {}
    found = json.loads(numbers.read_text())
    assert found["wrong"] == []
    assert [len(runs) for runs in found["runs"].values()] == [2, 2]


def test_who_is_refused_is_told_and_nothing_wrong(capsys):
    assert failover.measure(Service("refuses"), options(runs=1)) == 0
    said = capsys.readouterr().out
    assert "0 of 1 good" in said
    assert "MISSED: web-1: 1 hits were refused" in said


def test_a_hit_without_a_key_of_which_nobody_knows_is_unsure_and_not_refused(capsys):
    assert failover.measure(Service("knows not"), options(runs=1)) == 0
    said = capsys.readouterr().out
    assert "0 refused, 1 unsure" in said
    assert "MISSED" not in said


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("doubles", "1 hits are counted that nobody made"),
        ("loses", "acknowledged hits are lost"),
    ],
)
def test_one_that_does_not_is_told_of(capsys, wrong, words):
    assert failover.measure(Service(wrong), options(runs=1, case=["primary killed"])) == 1
    said = capsys.readouterr().out
    assert "0 of 1 good" in said
    assert "web server killed" not in said
    assert words in said.partition("WRONG:")[2]


def test_gaps_that_are_too_long_are_told_of():
    runs = [run(1.0)] * 10 + [run(5.0)] * 9 + [run(9.0)]
    assert failover.missed(runs) == []
    assert failover.missed([run(5.0), *runs]) == ["p50 is 5.00 s, over 4 s"]
    assert failover.missed([run(1.0), *runs, run(9.0)]) == ["p95 is 9.00 s, over 6 s"]
    assert "19 of 20 good" in failover.summary("primary killed", runs)


def test_a_service_that_serves_nobody_ends_it(monkeypatch):
    class Away(Service):
        def send(self, counter, key):
            raise requests.ConnectionError("refused")

    monkeypatch.setattr(gaps, "PATIENCE", 0.2)
    monkeypatch.setattr("tests.support.hits.GOODWILL", 0.1)
    with pytest.raises(LabError, match="Hits are not acknowledged any more .* refused"):
        gaps.run(Away(), Service().cases()[0], 2)


def test_what_cannot_fail_there_is_named():
    with pytest.raises(LabError, match="Of VIP's holder killed there is nothing"):
        failover.measure(Service(), options(case=["VIP's holder killed"]))
