"""Work that leaves the processors to others: its thread alone, and for its time alone."""

import os
import threading

import pytest

from tests.support.loading import load

gentle = load("_utils/mongodb_gentle.py")


def nice():
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.fixture
def before(monkeypatch):
    """The priority of this thread, from which the module has some way to go."""
    found = nice()
    monkeypatch.setattr(gentle, "NICE", found + 3)
    return found


def test_only_the_thread_of_the_block_is_lowered_and_only_meanwhile(before):
    seen, begun, done = [], threading.Event(), threading.Event()

    def other():
        begun.wait()
        seen.append(nice())
        done.set()

    # Where the test fails it waits for ever, and must not keep its process.
    thread = threading.Thread(target=other, daemon=True)
    thread.start()
    with gentle.work():
        assert nice() == before + 3
        begun.set()
        done.wait()
    thread.join()
    assert nice() == before
    assert seen == [before]


class Clock:
    """What the thread has computed so far, in seconds, and each rest, which takes no time."""

    def __init__(self):
        self.computed = 7.0
        self.rests = []

    def thread_time(self):
        return self.computed

    def sleep(self, seconds):
        self.rests.append(round(seconds, 6))


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(gentle, "time", made)
    return made


def test_it_rests_by_what_it_has_computed_since(clock):
    with gentle.work() as rest:
        for seconds in (0.03, 0.01, 0.5):
            clock.computed += seconds
            rest()
        rest()
    assert clock.rests == [gentle.RESTS * each for each in (0.03, 0.01, 0.5)]


def test_a_moment_is_no_reason_to_rest_but_they_add_up(clock):
    with gentle.work() as rest:
        clock.computed += gentle.LEAST / 2
        rest()
        assert clock.rests == []
        clock.computed += gentle.LEAST / 2 + 0.001
        rest()
    assert clock.rests == [pytest.approx(gentle.RESTS * (gentle.LEAST + 0.001))]


def test_who_is_lower_already_stays_there(before, monkeypatch):
    monkeypatch.setattr(gentle, "NICE", before - 1)
    with gentle.work():
        assert nice() == before


def test_who_may_not_go_back_goes_on(before, monkeypatch):
    real = os.setpriority

    def refuse(which, who, priority):
        if priority == before:
            raise PermissionError
        real(which, who, priority)

    with monkeypatch.context() as patched:
        patched.setattr(os, "setpriority", refuse)
        with gentle.work():
            pass
        assert nice() == before + 3
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), before)
