"""What the store holds at most, what it refuses, and that a refusal costs the others nothing."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta

import pymongo.monitoring
import pytest
from counterapp import counters, updates
from counterapp.counters import LARGEST, Counted, Key, Plan, Record, Refusal

from tests.support.stores import open_store, outcome

FULL = Key("default", "full")
DAY_MS = 24 * 3600 * 1000


class Commands(pymongo.monitoring.CommandListener):
    """The names of all commands that were sent, but for what keeps connections going."""

    def __init__(self):
        self.names = []

    def started(self, event):
        if event.command_name in ("update", "findAndModify", "find", "commitTransaction"):
            self.names.append(event.command_name)

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass


@pytest.fixture
def commands():
    listener = Commands()
    pymongo.monitoring.register(listener)
    yield listener
    # There is no way to unregister one; clients take those that are there when they are made.
    pymongo.monitoring._LISTENERS.command_listeners.remove(listener)


@pytest.fixture
def opened(single, database, commands):
    """Return a function that opens a store with more options."""
    made = []

    def make(**options):
        made.append(open_store(single, database, "web-1", **options))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(opened):
    return opened()


def together(calls):
    """Make calls at once; return what each came to."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(outcome, calls))


@pytest.mark.parametrize("keyed", [False, True])
def test_hits_on_a_full_counter_cost_no_more_commands_than_others(store, commands, keyed):
    store.create(FULL, Plan(value=LARGEST - 3), None)
    keys = [FULL if number % 2 else Key("default", "other") for number in range(200)]
    before = len(commands.names)
    answers = together(
        [
            lambda key=key, number=number: store.hit(key, f"key-{number}" if keyed else None)
            for number, key in enumerate(keys)
        ]
    )
    sent = len(commands.names) - before
    full = [answer for answer, key in zip(answers, keys, strict=True) if key == FULL]
    counted = [answer.value for answer in full if isinstance(answer, Counted)]
    assert sorted(counted) == [LARGEST - 2, LARGEST - 1, LARGEST]
    assert full.count(counters.OutOfBounds) == 97
    others = [answer.value for answer, key in zip(answers, keys, strict=True) if key != FULL]
    assert sorted(others) == list(range(1, 101))
    # Once each, the refused ones would be a hundred.
    assert sent < 60, commands.names[before:]


@pytest.mark.parametrize(
    ("step", "start", "fit"),
    [
        (1, LARGEST, 0),
        (1, LARGEST - 2, 2),
        (3, LARGEST - 8, 2),
        (-1, -LARGEST + 1, 1),
        (-7, -LARGEST + 20, 2),
        (LARGEST, 0, 1),
        (-LARGEST, 0, 1),
        (2**52, -(2**52), 1),
        (2**52 - 1, -1, 2),
    ],
)
def test_as_many_hits_count_as_fit(store, single, database, step, start, fit):
    store.create(FULL, Plan(value=start, step=step), None)
    answers = together([lambda: store.hit(FULL)] * 5)
    values = sorted(
        (answer.value for answer in answers if isinstance(answer, Counted)), reverse=step < 0
    )
    assert values == [start + step * number for number in range(1, fit + 1)]
    assert answers.count(counters.OutOfBounds) == 5 - fit
    counter = store.read(FULL)
    assert counter.value == start + step * fit
    assert sum(counter.days.values()) == sum(counter.nodes.values()) == step * fit


def test_no_number_of_a_counter_leaves_what_json_keeps_exactly(store):
    key = Key("default", "swings")
    store.create(key, Plan(step=2**52), "owner")
    assert store.add(key, LARGEST, "owner") == Counted(LARGEST)
    store.set(key, -LARGEST, "owner")
    # The value would have room, what was added today has none.
    for call in (
        lambda: store.add(key, 1, "owner"),
        lambda: store.add(key, 1, "owner", "once"),
        lambda: store.hit(key),
        lambda: store.hit(key, "again"),
    ):
        with pytest.raises(counters.OutOfBounds, match="change in a day"):
            call()
    store.set(key, 0, "owner")
    # The key of a change that was refused is not used.
    assert store.add(key, -1, "owner", "once") == Counted(-1)


def test_sets_and_imports_are_in_the_history_as_what_they_are(store):
    key = Key("default", "moved")
    store.create(key, Plan(value=5), "owner")
    store.hit(key)
    store.set(key, 2_000_000, "owner")
    store.operator_set(key, 1_999_999)
    store.hit(key)
    assert store.take([Record(key, 7)], True, "owner") == [None]
    store.add(key, 3, "owner")
    counter = store.read(key)
    assert (counter.value, counter.base) == (10, 5)
    for added in (counter.minutes, counter.hours, counter.days):
        assert sum(added.values()) == 5
    for moved in (counter.set_minutes, counter.set_hours, counter.set_days):
        assert sum(moved.values()) == 0
    store.set(key, 0, "owner")
    assert sum(store.read(key).set_days.values()) == -10


def test_an_import_obeys_what_a_counter_allows(store):
    fixed, narrow = Key("ns1", "fixed"), Key("ns1", "narrow")
    store.create(fixed, Plan(value=1, resettable=False), "owner")
    store.create(narrow, Plan(value=1, lower=-2, upper=3), "owner")
    before = [store.read(key) for key in (fixed, narrow)]
    for value, reason in ((5, Refusal.BOUNDS), (-2, Refusal.BOUNDS)):
        records = [Record(fixed, 2), Record(narrow, value)]
        assert store.take(records, True, "owner") == [Refusal.FIXED, reason]
    after = [store.read(key) for key in (fixed, narrow)]
    assert [dataclasses.replace(each, seen=None) for each in before] == [
        dataclasses.replace(each, seen=None) for each in after
    ]
    assert store.take([Record(narrow, 4)], True, "owner") == [None]
    assert store.take([Record(narrow, 2)], True, "owner") == [None]
    assert store.read(narrow).value == 2


@pytest.mark.parametrize("replace", [False, True])
def test_a_thousand_records_are_three_commands(store, commands, replace):
    records = [Record(Key("many", f"key-{number}"), number) for number in range(1000)]
    for _ in range(2):
        before = len(commands.names)
        answers = store.take(records, replace, "owner")
        assert len(commands.names) - before <= 3
    assert answers == [None if replace else Refusal.THERE] * 1000


def test_what_is_not_to_be_made_is_not_made_and_what_is_there_goes_on(store):
    there, none = Key("ns1", "there"), Key("ns1", "none")
    assert store.hit(there) == Counted(1, made=True)
    assert store.hit(there, make=False) == Counted(2)
    assert store.hit(there, "key", make=False) == Counted(3)
    for name in (None, "key"):
        with pytest.raises(counters.NotMade, match="There is no counter ns1/none"):
            store.hit(none, name, make=False)
    assert store.read(none) is None
    # A key that was refused is not used.
    assert store.hit(none, "key") == Counted(1, made=True)


@pytest.mark.parametrize("keyed", [False, True])
def test_of_hits_at_once_one_that_may_has_made_the_counter(store, keyed):
    key = Key("ns1", "raced")
    answers = together(
        [
            lambda make=make, number=number: (
                make,
                store.hit(key, f"key-{number}" if keyed else None, make=make),
            )
            for number, make in enumerate([False, True] * 20)
        ]
    )
    made = [make for make, counted in (a for a in answers if isinstance(a, tuple)) if counted.made]
    assert made == [True]
    assert store.read(key).value == sum(isinstance(answer, tuple) for answer in answers) >= 20


def test_counters_have_a_limit_which_those_that_are_there_do_not_feel(opened):
    store = opened(most_counters=3)
    keys = [Key("ns1", f"key-{number}") for number in range(3)]
    for key in keys:
        assert store.hit(key).made
    other = Key("ns1", "other")
    for call in (
        lambda: store.hit(other),
        lambda: store.hit(other, "key"),
        lambda: store.create(other, Plan(), "owner"),
    ):
        with pytest.raises(counters.Full, match="3"):
            call()
    with pytest.raises(counters.AlreadyThere):
        store.create(keys[0], Plan(), "owner")
    assert store.take([Record(other, 5), Record(keys[0], 5)], True, "owner") == [
        Refusal.FULL,
        Refusal.OTHERS,
    ]
    assert [store.hit(key).value for key in keys] == [2, 2, 2]
    assert store.read(other) is None


def test_idempotency_keys_have_a_limit_which_those_that_are_there_do_not_feel(opened):
    store, key = opened(most_keys=2), Key("ns1", "one")
    assert [store.hit(key, name).value for name in ("a", "b")] == [1, 2]
    with pytest.raises(counters.Full, match="2 idempotency keys"):
        store.hit(key, "c")
    assert store.hit(key, "a") == Counted(1, replayed=True)
    assert store.hit(key) == Counted(3)


def test_a_counter_that_nobody_owns_ends_when_nothing_changes_it(opened, single, database):
    store = opened(unowned_lifetime=2)
    owned, free, kept = (Key("ns1", name) for name in ("owned", "free", "kept"))
    store.create(owned, Plan(), "owner")
    for key in (owned, free, kept):
        store.hit(key)
    with single.client() as client:
        found = client[database].counters
        ends = {each["_id"]: each.get("idle") for each in found.find()}
        created = found.find_one({"_id": str(free)})["created"]
        assert ends[str(owned)] is None
        assert (ends[str(free)] - created).total_seconds() == 3 * 24 * 3600
        indexes = found.index_information().values()
        assert [
            {name: index.get(name) for name in ("expireAfterSeconds", "sparse")}
            for index in indexes
            if index["key"] == [("idle", 1)]
        ] == [{"expireAfterSeconds": 0, "sparse": True}]
        # Nearly over: each change by a process that has not seen it in this hour puts it off.
        put_back = [{"$set": {"idle": {"$add": ["$$NOW", 1000 * 3600]}}}]
        for change in (
            lambda store: store.hit(kept),
            lambda store: store.add(kept, 1, None),
            lambda store: store.add(kept, 1, None, "once"),
            lambda store: store.operator_set(kept, 9),
        ):
            found.update_one({"_id": str(kept)}, put_back)
            change(opened(unowned_lifetime=2))
            assert found.find_one({"_id": str(kept)})["idle"] >= ends[str(kept)]
        over = [{"$set": {"idle": {"$subtract": ["$$NOW", 1]}}}]
        found.update_one({"_id": str(free)}, over)
    assert store.read(free) is None
    with pytest.raises(counters.NotFound):
        store.add(free, 1, None)
    assert opened().hit(free) == Counted(1, made=True)


def test_an_operator_deletes_what_begins_alike_and_no_more(store):
    spam = [Key("spam", f"key-{number}") for number in range(5)]
    for key in (*spam, Key("spam2", "key"), Key("default", "shared"), Key("default", "share")):
        store.hit(key, "once")
    store.create(Key("spam", "owned"), Plan(), "owner")
    assert store.operator_count("spam/") == 6
    assert store.operator_count("default/sha") == 1
    assert store.operator_delete_all("spam/", 4) == 4
    assert store.operator_delete_all("spam/", 4) == 2
    assert store.operator_delete_all("spam/", 4) == 0
    assert store.operator_delete_all("default/", 4) == 1
    assert [str(counter.key) for counter in store.all(None)] == ["default/shared", "spam2/key"]
    assert store.hit(Key("spam2", "key"), "once").replayed
    assert store.hit(spam[0], "once") == Counted(1, made=True)


def test_the_cheap_update_is_for_the_minute_of_the_database_only(store, single, database):
    store.hit(FULL)
    batch = updates.Batch(7, "slot", "web-1", DAY_MS)
    with single.client() as client:
        found = client[database].counters
        found.update_one({"_id": str(FULL)}, updates.hits(1, batch))
        (now,) = (each["now"] for each in found.find({}, {"now": "$$NOW"}))
        matched = []
        for minutes in (-60, -1, 0, 1, 24 * 60):
            moment = now.replace(tzinfo=UTC) + timedelta(minutes=minutes)
            later = batch._replace(number=100 + minutes)
            usual, update = updates.more_hits(1, later, 1, moment)
            result = found.update_one({"_id": str(FULL), **usual}, update)
            matched.append(result.matched_count)
    assert matched == [0, 0, 1, 0, 0]
