"""The store on a real replica set: what it promises, against a model, from two nodes at once."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from counterapp import counters, history, updates
from counterapp.counters import LARGEST, Counted, Key, Plan, Record, Refusal

from tests.support.stores import open_store

SHARED = Key("default", "shared")
KINDS = ("known", "gone", "new")


@pytest.fixture
def stores(single, database):
    made = [open_store(single, database, node) for node in ("web-1", "web-2.example.org")]
    yield made
    for store in made:
        store.close()


def agrees(counter):
    """Tell whether a counter's value is what its history and its nodes add up to."""
    return counter.value == counter.base + sum((*counter.days.values(), *counter.set_days.values()))


def test_each_of_many_hits_at_once_gets_its_own_value(stores):
    with ThreadPoolExecutor(32) as pool:
        values = list(pool.map(lambda place: stores[place % 2].hit(SHARED).value, range(600)))
    assert sorted(values) == list(range(1, 601))
    counter = stores[0].read(SHARED)
    assert counter.value == 600
    assert counter.nodes == {"web-1": 300, "web-2.example.org": 300}
    assert agrees(counter)
    assert sum(counter.minutes.values()) == sum(counter.hours.values()) == 600
    assert history.rates(counter)["hour"] == 600
    assert stores[0].waiting() == 0


def test_hits_on_one_node_are_numbered_in_the_order_in_which_they_came(stores):
    values = [stores[0].hit(SHARED).value for _ in range(30)]
    assert values == sorted(values)


def test_many_counters_in_one_batch_are_told_apart(stores):
    keys = [Key("many", f"key-{number}") for number in range(40)]
    with ThreadPoolExecutor(40) as pool:
        for round_ in (1, 2, 3):
            values = list(pool.map(lambda key: stores[0].hit(key).value, keys))
            assert values == [round_] * len(keys)


def test_counters_in_one_batch_may_be_known_gone_or_new(stores):
    known, gone, new = ([Key(kind, f"key-{number}") for number in range(15)] for kind in KINDS)
    with ThreadPoolExecutor(45) as pool:
        list(pool.map(stores[0].hit, known + gone))
        for key in gone:
            stores[1].operator_delete(key)
        values = list(pool.map(lambda key: stores[0].hit(key).value, known + gone + new))
    assert values == [2] * 15 + [1] * 30
    assert all(agrees(stores[1].read(key)) for key in known + gone + new)


def test_hits_alone_count_the_same(single, database):
    store = open_store(single, database, "web-1", combine=False)
    with ThreadPoolExecutor(16) as pool:
        values = list(pool.map(lambda _: store.hit(SHARED).value, range(100)))
    assert sorted(values) == list(range(1, 101))
    store.close()


def test_an_idempotency_key_counts_once_on_whichever_node_and_however_often(stores):
    with ThreadPoolExecutor(32) as pool:
        answers = list(
            pool.map(lambda place: stores[place % 2].hit(SHARED, f"key-{place // 4}"), range(200))
        )
    assert stores[0].read(SHARED).value == 50
    for start in range(0, 200, 4):
        assert len({answer.value for answer in answers[start : start + 4]}) == 1
    assert {answer.value for answer in answers} == set(range(1, 51))
    again = stores[1].hit(SHARED, "key-7")
    assert again == Counted(answers[28].value, replayed=True)
    other = stores[0].hit(Key("default", "other"), "key-7")
    assert other == Counted(1, made=True)


def test_a_key_is_of_one_kind_of_change_and_of_one_counter_that_is_there(stores):
    store = stores[0]
    key = Key("default", "mine")
    store.create(key, Plan(), "owner")
    assert store.add(key, 5, "owner", "once") == Counted(5)
    assert stores[1].add(key, 5, "owner", "once") == Counted(5, replayed=True)
    with pytest.raises(counters.KeyReused):
        store.add(key, 6, "owner", "once")
    with pytest.raises(counters.KeyReused):
        store.hit(key, "once")
    assert store.read(key).value == 5
    store.delete(key, "owner")
    assert store.hit(key, "once") == Counted(1, made=True)


def test_an_amount_that_is_refused_leaves_its_key_unused(stores):
    store, key = stores[0], Key("default", "full")
    store.create(key, Plan(value=LARGEST - 1), "owner")
    with pytest.raises(counters.OutOfBounds, match="cannot go beyond"):
        store.add(key, 2, "owner", "once")
    assert store.add(key, 1, "owner", "once") == Counted(LARGEST)


def test_keys_are_forgotten_after_their_time(single, database):
    store = open_store(single, database, "web-1", keep_keys=60)
    store.hit(SHARED, "once")
    with single.client() as client:
        found = client[database].idempotency.find_one()
        indexes = client[database].idempotency.index_information()
    assert 50 < (found["expires"] - datetime.now(UTC).replace(tzinfo=None)).total_seconds() < 61
    assert any(index.get("expireAfterSeconds") == 0 for index in indexes.values())
    store.close()


def test_the_last_room_of_a_counter_is_given_out_and_no_more(stores):
    key = Key("default", "full")
    stores[0].create(key, Plan(value=LARGEST - 3), None)

    def hit(place):
        try:
            return stores[place % 2].hit(key).value
        except counters.OutOfBounds:
            return None

    with ThreadPoolExecutor(16) as pool:
        values = list(pool.map(hit, range(16)))
    given = sorted(value for value in values if value is not None)
    assert given == [LARGEST - 2, LARGEST - 1, LARGEST]
    assert stores[0].read(key).value == LARGEST


def test_steps_may_be_any_amount_and_go_down(stores):
    key = Key("default", "down")
    stores[0].create(key, Plan(value=10, step=-7), None)
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda _: stores[0].hit(key).value, range(8)))
    assert sorted(values, reverse=True) == [10 - 7 * hit for hit in range(1, 9)]
    assert stores[0].read(key).nodes == {"web-1": -56}


def test_who_may_change_what(stores):
    store = stores[0]
    mine, free, fixed = Key("ns1", "mine"), Key("ns1", "free"), Key("ns1", "fixed")
    common = Key("ns1", "common")
    made = store.create(mine, Plan(value=3, lower=-2, upper=4), "owner")
    assert made == dataclasses.replace(store.read(mine), seen=made.seen)
    assert (made.value, made.owned, made.plan.lower) == (3, True, -2)
    store.create(fixed, Plan(resettable=False), "owner")
    store.hit(free)
    store.create(common, Plan(value=2, lower=-1, upper=1), None)
    for call, error in (
        (lambda: store.create(mine, Plan(), "other"), counters.AlreadyThere),
        (lambda: store.create(free, Plan(), "owner"), counters.AlreadyThere),
        (lambda: store.add(mine, 1, "other"), counters.Forbidden),
        (lambda: store.add(mine, 1, None), counters.Forbidden),
        (lambda: store.add(mine, 5, "owner"), counters.OutOfBounds),
        (lambda: store.add(mine, -3, "owner"), counters.OutOfBounds),
        (lambda: store.add(free, 2, None), counters.OutOfBounds),
        (lambda: store.add(Key("ns1", "none"), 1, None), counters.NotFound),
        (lambda: store.set(mine, 1, "other"), counters.Forbidden),
        (lambda: store.set(free, 1, "owner"), counters.Forbidden),
        (lambda: store.set(fixed, 1, "owner"), counters.Forbidden),
        (lambda: store.set(Key("ns1", "none"), 1, "owner"), counters.NotFound),
        (lambda: store.delete(mine, None), counters.Forbidden),
        (lambda: store.delete(free, None), counters.Forbidden),
        (lambda: store.add(free, -1, None), counters.OutOfBounds),
        (lambda: store.delete(common, "anybody"), counters.Forbidden),
        (lambda: store.operator_delete(Key("ns1", "none")), counters.NotFound),
    ):
        with pytest.raises(error):
            call()
    assert store.add(mine, -2, "owner") == Counted(1)
    assert store.set(mine, 40, "owner") == (1, 40)
    assert store.set(common, 7, "anybody") == (2, 7)
    assert store.operator_set(fixed, 9) == (0, 9)
    assert agrees(store.read(mine))
    store.delete(mine, "owner")
    store.operator_delete(free)
    assert store.read(mine) is store.read(free) is None


def test_the_services_own_counter_is_nobodys(stores):
    with pytest.raises(counters.AlreadyThere, match="service's own"):
        stores[0].create(SHARED, Plan(), "owner")
    records = [Record(Key("new", "one"), 1), Record(SHARED, 5), Record(Key("new", "two"), 2)]
    assert stores[0].take(records, True, "owner") == [None, Refusal.RESERVED, None]
    assert stores[0].hit(SHARED) == Counted(1, made=True)


def test_an_expired_counter_is_gone_and_begins_anew(stores, single, database):
    key, other = Key("default", "brief"), Key("default", "brief2")
    for one in (key, other):
        stores[0].create(one, Plan(value=50, lifetime=3600), "owner")
    assert stores[0].hit(key).value == 51
    with single.client() as client:
        past = datetime.now(UTC) - timedelta(seconds=1)
        client[database].counters.update_many({}, {"$set": {"expires": past}})
    assert stores[1].read(key) is None
    assert stores[1].page(None, None, 10) == []
    with pytest.raises(counters.NotFound):
        stores[0].add(other, 1, "owner")
    # The server removes it within a minute; what comes before that finds no trace of it.
    assert stores[1].hit(key) == Counted(1, made=True)
    counter = stores[0].read(key)
    assert (counter.owned, counter.expires, counter.base) == (False, None, 0)
    assert stores[0].create(other, Plan(value=7), None).value == 7


def test_pages_and_exports_give_each_counter_once_in_order(stores):
    mine = [Key("zoo", f"animal-{number}") for number in range(7)]
    for key in mine:
        stores[0].create(key, Plan(value=1), "owner")
    stores[0].hit(Key("abc", "free"))
    seen, after = [], None
    while page := stores[1].page("owner", after, 3):
        seen += [counter.key for counter in page]
        after = seen[-1]
    assert seen == mine
    assert [counter.key for counter in stores[0].all(None)] == [Key("abc", "free"), *mine]
    totals = stores[0].totals()
    assert (totals.counters, totals.namespaces, totals.hits) == (8, 2, 1)


def test_an_import_takes_what_is_new_or_ones_own_and_leaves_the_rest(stores):
    store = stores[0]
    store.create(Key("old", "foreign"), Plan(value=1), "somebody")
    store.hit(Key("old", "free"))
    records = [
        Record(Key("new", "one"), 10),
        Record(Key("old", "foreign"), 20),
        Record(Key("old", "free"), 30),
        Record(Key("new", "two"), LARGEST),
    ]
    assert store.take(records, False, "me") == [None, Refusal.THERE, Refusal.THERE, None]
    again = [dataclasses.replace(records[0], value=11), records[1]]
    assert store.take(again, False, "me") == [Refusal.THERE, Refusal.THERE]
    assert store.take(again, True, "me") == [None, Refusal.OTHERS]
    assert {str(counter.key): counter.value for counter in store.all("me")} == {
        "new/one": 11,
        "new/two": LARGEST,
    }
    assert store.read(Key("old", "foreign")).value == 1
    assert all(agrees(counter) for counter in store.all(None))


def test_old_history_is_dropped_and_its_sum_kept(stores, single, database):
    store = stores[0]
    store.hit(SHARED)
    at = datetime.now(UTC)
    old = {
        "m": {str(history.bucket(at, "minute") - 121): 5, str(history.bucket(at, "minute") - 9): 1},
        "h": {str(history.bucket(at, "hour") - 73): 6},
        "d": {str(history.bucket(at, "day") - 401): 100, str(history.bucket(at, "day") - 9): 20},
        "w": {"gone": {"i": 1, "v": 1, "r": "go", "t": history.bucket(at, "minute") - 61}},
    }
    changed = {f"{name}.{key}": value for name in old for key, value in old[name].items()}
    with single.client() as client:
        client[database].counters.update_one(
            {"_id": str(SHARED)}, {"$set": changed, "$inc": {"value": 120}}
        )
        # Another process, which has not seen this counter in this hour.
        assert stores[1].hit(SHARED) == Counted(122)
        left = client[database].counters.find_one({"_id": str(SHARED)})
    counter = store.read(SHARED)
    assert counter.base == 100
    assert sum(counter.days.values()) == 22
    assert sum(counter.minutes.values()) == 3
    assert sum(counter.hours.values()) == 2
    assert "gone" not in left["w"]
    assert agrees(counter)


def test_a_batch_that_is_written_again_counts_once(stores, single, database):
    again = updates.hits, updates.first_hits
    with single.client() as client:
        for number, batch, value, made in (
            (3, 1, 3, updates.first_hits),
            *((3, 1, 3, update) for update in again),
            (2, 2, 5, updates.hits),
            *((2, 2, 5, update) for update in again),
            (3, 1, 5, updates.hits),
        ):
            client[database].counters.update_one(
                {"_id": str(SHARED)},
                made(number, updates.Batch(batch, "x", "web-1", updates.DAY)),
                upsert=made is updates.first_hits,
            )
            assert stores[0].read(SHARED).value == value


def test_while_nothing_changes_that_is_told(stores):
    assert next(stores[0].changes()) is None


def test_changes_are_told_as_they_are_made(stores):
    # None is told while there is nothing to tell.
    told = filter(None, stores[1].changes())
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(next, told)
        number = 0
        while not first.done():
            number += 1
            stores[0].hit(SHARED)
        change = first.result()
        assert change.key == SHARED
        assert 0 < change.value <= number
        assert change.node == "web-1"
        last = change
        while last.value < number:
            last = next(told)
        stores[0].create(Key("ns1", "made"), Plan(value=4), "owner")
        assert next(told) == counters.Change(Key("ns1", "made"), 4)
        stores[0].set(Key("ns1", "made"), 2, "owner")
        assert next(told) == counters.Change(Key("ns1", "made"), 2)
        stores[0].delete(Key("ns1", "made"), "owner")
        assert next(told) == counters.Change(Key("ns1", "made"), None)
