"""Waiting in tests: what it returns, how often it looks, and what it says when it was in vain."""

from types import SimpleNamespace

import pytest

from tests.support import waiting
from tests.support.waiting import until


class Looks:
    """Gives one result after the other and then the last one for ever; raises exceptions."""

    def __init__(self, *results):
        self.results = list(results)
        self.number = 0

    def __call__(self):
        result = self.results[min(self.number, len(self.results) - 1)]
        self.number += 1
        if isinstance(result, Exception):
            raise result
        return result


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A clock that only sleep moves on; returns how long each sleep was."""
    slept = []
    # The whole machine's clock goes on for threads that other tests left behind.
    clock = SimpleNamespace(monotonic=lambda: sum(slept), sleep=slept.append)
    monkeypatch.setattr(waiting, "time", clock)
    monkeypatch.setattr(waiting, "PATIENCE", 1.0)
    return slept


def test_beside_other_lanes_everything_may_take_longer(clock, monkeypatch):
    monkeypatch.setattr(waiting, "PATIENCE", 4.0)
    with pytest.raises(AssertionError, match="not within 12 s: it is gone"):
        until(Looks("here"), 3, "it is gone", wanted="gone", interval=1)
    assert sum(clock) == 12


def test_the_first_true_result_is_returned(clock):
    assert until(Looks(None, [], "here", "later"), 5, "it is here", interval=2) == "here"
    assert clock == [2, 2]


def test_what_is_there_at_once_is_not_waited_for(clock):
    assert until(Looks("here"), 5, "it is here") == "here"
    assert clock == []


def test_a_result_can_be_wanted_even_a_false_one():
    assert until(Looks("up", "down", "up"), 5, "it is down", wanted="down") == "down"
    assert until(Looks(["sick"], []), 5, "nobody is sick", wanted=[]) == []


def test_a_function_can_tell_whether_a_result_is_wanted():
    assert until(Looks(1, 2, 3, 4), 5, "it is above 2", wanted=lambda number: number > 2) == 3


def test_what_was_waited_for_and_what_was_seen_last_are_told():
    with pytest.raises(AssertionError) as told:
        until(Looks("connected", "befriended"), 3, "it is gone", wanted="gone", interval=1)
    assert str(told.value) == "not within 3 s: it is gone; last seen: 'befriended'"


def test_without_time_there_is_one_look(clock):
    assert until(Looks("here"), 0, "it is here") == "here"
    look = Looks("")
    with pytest.raises(AssertionError, match="^not within 0 s: it is here; last seen: ''$"):
        until(look, 0, "it is here")
    assert (look.number, clock) == (1, [])


def test_a_look_that_took_all_the_time_is_followed_by_another(clock):
    def slow():
        clock.append(60)
        return len(clock) > 2

    assert until(slow, 30, "it is here") is True


def test_ignored_exceptions_are_a_no_and_the_last_one_is_told():
    ignoring = (ConnectionError, KeyError)
    look = Looks(ConnectionRefusedError("nobody"), KeyError("data"), "here")
    assert until(look, 5, "it is here", ignoring=ignoring) == "here"
    words = r"not within 2 s: it is here; last seen: KeyError\('data'\)$"
    with pytest.raises(AssertionError, match=words):
        until(Looks("", KeyError("data")), 2, "it is here", ignoring=ignoring)


def test_an_exception_that_a_later_look_did_not_have_is_not_told():
    with pytest.raises(AssertionError, match="last seen: ''$"):
        until(Looks(KeyError("data"), ""), 2, "it is here", ignoring=(KeyError,))


def test_an_exception_in_judging_is_ignored_like_one_in_looking():
    answers = Looks({}, {"healthy": True})
    seen = until(answers, 5, "it is well", wanted=lambda a: a["healthy"], ignoring=(KeyError,))
    assert seen == {"healthy": True}


def test_other_exceptions_come_through_at_once(clock):
    with pytest.raises(ZeroDivisionError):
        until(Looks(ZeroDivisionError()), 5, "it is here", ignoring=(KeyError,))
    assert clock == []


def test_what_is_long_is_shown_by_its_begin_and_its_end():
    with pytest.raises(AssertionError) as told:
        until(Looks("a" * 9000 + "z" * 9000), 0, "it is short", wanted="short")
    text = str(told.value)
    assert "'aaa" in text
    assert text.endswith("zzz'")
    assert len(text) < waiting.SHOWN + 100
