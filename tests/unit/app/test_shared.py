"""One look serves all who ask meanwhile; a gate lets so many pass; a clock is never this node's."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from counterapp.clock import DatabaseClock
from counterapp.counters import Overloaded, StoreUnavailable
from counterapp.gate import Gate
from counterapp.shared import Shared

from tests.support.waiting import until


class Look:
    """Something slow that is looked up, and may fail."""

    def __init__(self):
        self.looks = 0
        self.go_on = threading.Event()
        self.error = None

    def __call__(self):
        self.looks += 1
        assert self.go_on.wait(10)
        if self.error:
            raise self.error
        return self.looks


@pytest.mark.parametrize("error", [None, StoreUnavailable("gone")])
def test_all_who_come_while_a_look_is_on_its_way_get_what_it_finds(error):
    look = Look()
    look.error = error
    shared = Shared(look, 60)

    def get():
        try:
            return shared.get()
        except StoreUnavailable as found:
            return found

    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(get) for _ in range(8)]
        until(lambda: look.looks, 10, "somebody looks")
        look.go_on.set()
        answers = [each.result(10) for each in waiting]
    assert look.looks == 1 or error
    assert set(answers) == {error or 1}


def test_an_answer_is_given_again_for_its_age_and_an_error_is_not():
    look = Look()
    look.go_on.set()
    shared = Shared(look, 60)
    look.error = StoreUnavailable("gone")
    with pytest.raises(StoreUnavailable):
        shared.get()
    look.error = None
    assert [shared.get(), shared.get()] == [2, 2]
    short = Shared(look, 0)
    assert [short.get(), short.get()] == [3, 4]


def test_a_gate_sends_away_who_is_too_much_and_lets_the_next_one_in():
    gate = Gate(2)
    with gate, gate, pytest.raises(Overloaded, match="Too many"), gate:
        raise AssertionError
    with pytest.raises(ZeroDivisionError), gate:
        _ = 1 / 0
    with gate, gate:
        pass


def test_the_database_s_clock_goes_on_from_what_it_last_told(monkeypatch):
    clock = DatabaseClock()
    assert clock.now().year == 1970
    moment = datetime(2031, 5, 6, tzinfo=UTC)
    clock.note(moment)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert moment <= clock.now() < moment + timedelta(seconds=10)
