"""Charts and rates, from the buckets of a counter."""

from datetime import UTC, datetime, timedelta

import pytest
from counterapp import history
from counterapp.counters import LARGEST, Counter, Key, Plan
from hypothesis import given
from hypothesis import strategies as st

from tests.support.memory_store import MemoryStore

NOW = datetime(2026, 11, 22, 12, 30, 45, tzinfo=UTC)
KEY = Key("default", "abc")
OWNER = "0" * 64


def counter(value=0, created=NOW, **buckets):
    return Counter(
        key=KEY,
        value=value,
        plan=Plan(),
        owned=False,
        created=created,
        updated=created,
        expires=None,
        seen=NOW,
        **buckets,
    )


def minute(ago=0):
    return history.bucket(NOW, "minute") - ago


def test_a_new_counter_has_one_point_and_no_rate():
    for resolution in ("minute", "hour", "day"):
        (point,) = history.points(counter(7), resolution)
        assert (point.value, point.change) == (7, 0)
    assert history.rates(counter(7)) == {"minute": 0, "hour": 0, "day": 0}


def test_gaps_are_filled_and_each_value_follows_from_the_one_before():
    made = counter(110, NOW - timedelta(minutes=4), minutes={minute(3): 4, minute(0): 6})
    points = history.points(made, "minute")
    assert [point.change for point in points] == [0, 4, 0, 0, 6]
    assert [point.value for point in points] == [100, 104, 104, 104, 110]
    assert points[-1].time == datetime(2026, 11, 22, 12, 30, tzinfo=UTC)


def test_the_bucket_that_has_partly_left_the_span_counts_in_proportion():
    # 45 s of this minute are over, so 15 s of the one before are still within the last 60 s.
    made = counter(18, minutes={minute(1): 8, minute(0): 10})
    assert history.rates(made)["minute"] == 12


@pytest.mark.parametrize(
    "buckets",
    [
        {"minutes": {minute(1): 3, minute(-1): 5}},
        {"minutes": {minute(1): 3}, "set_minutes": {minute(-1): 5}},
    ],
)
def test_a_change_of_the_bucket_that_begins_as_the_store_looks_is_in_the_chart(buckets):
    made = counter(8, NOW - timedelta(minutes=1), **buckets)
    points = history.points(made, "minute")
    assert points[-1].time == datetime(2026, 11, 22, 12, 31, tzinfo=UTC)
    assert points[-1].value == 8
    assert points[-2].value == 3


def test_what_was_set_or_imported_is_in_no_rate_and_no_change_but_in_the_values():
    store = MemoryStore()
    store.now = NOW
    store.create(KEY, Plan(), OWNER)
    store.hit(KEY)
    store.now += timedelta(minutes=1)
    store.set(KEY, 2_000_000, OWNER)
    store.hit(KEY)
    store.now += timedelta(minutes=1)
    found = store.read(KEY)
    assert history.rates(found)["hour"] == history.rates(found)["day"] == 2
    points = history.points(found, "minute")
    assert [(point.value, point.change) for point in points] == [
        *((1, 1), (2_000_001, 1), (2_000_001, 0))
    ]


@given(
    st.lists(
        st.tuples(
            st.timedeltas(timedelta(0), timedelta(minutes=3)),
            st.sampled_from(["add", "set"]),
            st.integers(-1000, 1000),
        ),
        max_size=40,
    ),
    st.integers(-1000, 1000),
)
@pytest.mark.parametrize("resolution", history.SECONDS)
def test_every_value_of_a_chart_is_the_one_that_the_counter_had_then(resolution, steps, start):
    store = MemoryStore()
    store.now = NOW
    store.create(KEY, Plan(value=start), OWNER)
    ends, sets = {history.bucket(NOW, resolution): start}, {}
    for passed, kind, amount in steps:
        store.now += passed
        here = history.bucket(store.now, resolution)
        if kind == "add":
            store.add(KEY, amount, OWNER)
        else:
            before, after = store.set(KEY, amount, OWNER)
            sets[here] = sets.get(here, 0) + after - before
        ends[here] = store.read(KEY).value
    points = history.points(store.read(KEY), resolution)
    assert 1 <= len(points) <= history.SHOWN[resolution]
    assert points[-1].value == store.read(KEY).value
    length = timedelta(seconds=history.SECONDS[resolution])
    for point in points:
        here = history.bucket(point.time, resolution)
        assert point.value == ends[max(number for number in ends if number <= here)]
    for before, after in zip(points, points[1:], strict=False):
        here = history.bucket(after.time, resolution)
        assert before.value == after.value - after.change - sets.get(here, 0)
        assert after.time - before.time == length


def test_a_rate_says_no_number_that_a_reader_of_json_would_round():
    made = counter(0, minutes={minute(ago): LARGEST for ago in range(60)})
    assert history.rates(made)["hour"] == LARGEST
    made = counter(0, minutes={minute(ago): -LARGEST for ago in range(60)})
    assert history.rates(made)["hour"] == -LARGEST
    assert history.rates(counter(0, minutes={minute(0): LARGEST}))["minute"] == LARGEST


def test_rates_are_the_same_for_the_whole_second_in_which_the_store_looked():
    store = MemoryStore()
    store.now = NOW - timedelta(seconds=50)
    store.hit(KEY)
    said = []
    for passed in (0.0, 0.4, 0.999, 1.0):
        store.now = NOW + timedelta(seconds=passed)
        said.append(history.rates(store.read(KEY))["minute"])
    assert said[0] == said[1] == said[2] > said[3]
