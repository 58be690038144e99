"""Readiness asks the store seldom, one at a time, and never gives an old answer."""

import threading

import pytest
from counterapp.counters import StoreUnavailable
from counterapp.readiness import MAX_AGE, Readiness


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def readiness(store, clock):
    return Readiness(store, "web-1", clock)


def test_an_answer_holds_for_a_second(readiness, store, clock):
    assert readiness.reason_against() is None
    clock.now += MAX_AGE - 0.01
    store.broken = "gone"
    assert readiness.reason_against() is None
    clock.now += 0.01
    assert readiness.reason_against() == "gone"
    assert store.probes == 2


def test_bad_news_is_not_asked_for_more_often_and_passes(readiness, store, clock):
    store.broken = "gone"
    assert readiness.reason_against() == "gone"
    store.broken = None
    assert readiness.reason_against() == "gone"
    clock.now += MAX_AGE
    assert readiness.reason_against() is None


def test_each_change_is_one_warning_with_its_cause(readiness, store, clock, caplog):
    caplog.set_level("WARNING")

    def ask(broken, times=3):
        store.broken = broken
        for _ in range(times):
            clock.now += MAX_AGE
            readiness.reason_against()
        said = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return said

    assert ask(None) == []
    assert ask("gone") == ["not ready: gone"]
    assert caplog.records == []
    assert ask(None) == ["ready again; it was not: gone"]
    assert ask("lost") == ["not ready: lost"]


def test_many_askers_cost_one_probe():
    class SlowStore:
        def __init__(self):
            self.probes = 0
            self.entered = threading.Event()
            self.release = threading.Event()

        def probe(self, node):
            self.probes += 1
            self.entered.set()
            assert self.release.wait(10)
            raise StoreUnavailable("slow and gone")

    store = SlowStore()
    readiness = Readiness(store, "web-1")
    answers = []
    askers = [
        threading.Thread(target=lambda: answers.append(readiness.reason_against()))
        for _ in range(8)
    ]
    for asker in askers:
        asker.start()
    assert store.entered.wait(10)
    store.release.set()
    for asker in askers:
        asker.join(10)
    assert answers == ["slow and gone"] * 8
    assert store.probes == 1
