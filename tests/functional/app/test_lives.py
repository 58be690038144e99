"""Counters come, go and come again: what was meant for one life of a counter stays in it."""

import contextlib
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from counterapp import counters
from counterapp.counters import Counted, Key, Plan, Record

from tests.support.stores import commands, open_store
from tests.support.waiting import until

COUNTER = Key("lives", "one")
BATCH = 1000


@pytest.fixture
def stores(single, database):
    made = [open_store(single, database, node) for node in ("web-1", "web-2")]
    yield made
    for store in made:
        store.close()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(16) as made:
        yield made


def test_hits_with_a_key_around_a_delete_are_counted_or_gone_with_all_that_was(stores, pool):
    for round_ in range(24):
        stores[0].hit(COUNTER)
        names = [[f"key-{round_}-{thread}-{turn}" for turn in range(5)] for thread in range(3)]
        first = {}

        def hit(some, first=first):
            for name in some:
                first[name] = stores[1].hit(COUNTER, name)

        hits = [pool.submit(hit, some) for some in names]
        at = round_ % 12
        until(lambda first=first, at=at: len(first) >= at, 20, f"{at} hits are acknowledged")
        stores[0].operator_delete(COUNTER)
        for each in hits:
            each.result()
        left = stores[0].read(COUNTER)
        value = left.value if left else 0
        # What is there now was made after the delete, by hits whose keys are still known.
        again = {name: stores[0].hit(COUNTER, name) for name in first}
        replayed = [name for name in first if again[name].replayed]
        assert len(replayed) == value
        assert all(again[name].value == first[name].value for name in replayed)
        assert stores[1].read(COUNTER).value == len(first)
        stores[0].operator_delete(COUNTER)


def test_a_key_ends_with_its_counters_lifetime(stores):
    stores[0].create(COUNTER, Plan(value=50, lifetime=1), "owner")
    assert stores[0].hit(COUNTER, "once").value == 51
    until(lambda: stores[1].read(COUNTER), 20, "the counter has expired", wanted=None)
    assert stores[1].hit(COUNTER, "once") == Counted(1, made=True)
    assert stores[0].hit(COUNTER, "once") == Counted(1, replayed=True)


@pytest.mark.parametrize("end", ["delete", "lifetime"])
def test_a_key_takes_nothing_from_the_next_counter_of_its_name(stores, end):
    stores[0].create(COUNTER, Plan(lifetime=1 if end == "lifetime" else None), "anna")
    assert stores[0].hit(COUNTER, "hit") == Counted(1)
    with contextlib.suppress(counters.NotFound):
        stores[0].add(COUNTER, 5, "anna", "update")
    if end == "delete":
        stores[1].delete(COUNTER, "anna")
    until(lambda: stores[1].read(COUNTER), 20, "the counter has ended", wanted=None)
    stores[1].create(COUNTER, Plan(value=10), "berta")
    assert stores[0].hit(COUNTER, "hit") == Counted(11)
    assert stores[0].add(COUNTER, 5, "berta", "update") == Counted(16)
    assert stores[1].hit(COUNTER, "hit") == Counted(11, replayed=True)


ROUTES = {
    "update": lambda store, number: store.add(COUNTER, 5, "anna"),
    "update with a key": lambda store, number: store.add(COUNTER, 5, "anna", f"key-{number}"),
    "set": lambda store, number: store.set(COUNTER, 7, "anna"),
    "delete": lambda store, number: store.delete(COUNTER, "anna"),
}


@pytest.mark.parametrize("route", ROUTES)
def test_what_an_owner_does_never_lands_on_the_next_owners_counter(stores, pool, route):
    ended = threading.Event()

    def others():
        # So that a change waits for its turn, as it does on a busy node.
        for number in itertools.count():
            if ended.is_set():
                return
            stores[0].hit(Key("lives", "busy"), f"{threading.get_ident()}-{number}")

    busy = [pool.submit(others) for _ in range(8)]
    try:
        for number in range(15):
            stores[0].create(COUNTER, Plan(), "anna")
            begin = threading.Barrier(2)

            def act(number=number, begin=begin):
                begin.wait()
                ROUTES[route](stores[0], number)

            acting = pool.submit(act)
            begin.wait()
            with contextlib.suppress(counters.NotFound):
                stores[1].delete(COUNTER, "anna")
            made = stores[1].create(COUNTER, Plan(value=100, lower=0, upper=0), "berta")
            # Too late for the counter that was meant, if it was not in time.
            with contextlib.suppress(counters.NotFound, counters.Forbidden):
                acting.result()
            found = stores[1].read(COUNTER)
            assert (found.value, found.created) == (100, made.created)
            stores[1].delete(COUNTER, "berta")
    finally:
        ended.set()
    for each in busy:
        each.result()


def test_of_requests_at_once_with_one_key_one_alone_was_the_first(stores, pool):
    for round_ in range(10):
        answers = list(
            pool.map(lambda n, name=f"key-{round_}": stores[n % 2].hit(COUNTER, name), range(8))
        )
        assert {answer.value for answer in answers} == {round_ + 1}
        assert [answer.replayed for answer in answers].count(False) == 1


def test_an_import_takes_few_commands_for_a_batch(single, stores):
    records = [Record(Key("import", f"key-{number}"), number) for number in range(BATCH)]
    for replace in (False, True):
        before = commands(single)
        taken = stores[0].take(records, replace, "owner")
        # Two questions, each with a second half of its answer, and a write.
        assert commands(single) - before <= 5
        assert list(taken) == [None] * BATCH
        records = [Record(record.key, record.value + 1) for record in records]
