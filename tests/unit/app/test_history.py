"""Charts and rates, from the buckets of a counter."""

from datetime import UTC, datetime, timedelta

from counterapp import history
from counterapp.counters import Counter, Key, Plan
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 11, 22, 12, 30, 45, tzinfo=UTC)


def counter(value=0, created=NOW, **buckets):
    return Counter(
        key=Key("default", "abc"),
        value=value,
        plan=Plan(),
        owned=False,
        created=created,
        updated=created,
        expires=None,
        **buckets,
    )


def minute(ago=0):
    return history.bucket(NOW, "minute") - ago


def test_a_new_counter_has_one_point_and_no_rate():
    for resolution in ("minute", "hour", "day"):
        (point,) = history.points(counter(7), resolution, NOW)
        assert (point.value, point.change) == (7, 0)
    assert history.rates(counter(7), NOW) == {"minute": 0, "hour": 0, "day": 0}


def test_gaps_are_filled_and_each_value_follows_from_the_one_before():
    made = counter(110, NOW - timedelta(minutes=4), minutes={minute(3): 4, minute(0): 6})
    points = history.points(made, "minute", NOW)
    assert [point.change for point in points] == [0, 4, 0, 0, 6]
    assert [point.value for point in points] == [100, 104, 104, 104, 110]
    assert points[-1].time == datetime(2026, 11, 22, 12, 30, tzinfo=UTC)


def test_the_bucket_that_has_partly_left_the_span_counts_in_proportion():
    # 45 s of this minute are over, so 15 s of the one before are still within the last 60 s.
    made = counter(18, minutes={minute(1): 8, minute(0): 10})
    assert history.rates(made, NOW)["minute"] == 12


def test_what_a_clock_that_is_ahead_has_counted_is_of_now():
    made = counter(5, minutes={minute(-1): 5})
    assert history.rates(made, NOW)["minute"] == 5
    assert history.points(made, "minute", NOW)[-1].value == 5


@given(
    st.dictionaries(st.integers(0, 200), st.integers(-1000, 1000), max_size=50),
    st.integers(-1000, 1000),
    st.integers(0, 300),
)
def test_a_chart_never_disagrees_with_the_count(ago, base, age):
    buckets = {minute(number): amount for number, amount in ago.items()}
    value = base + sum(buckets.values())
    made = counter(value, NOW - timedelta(minutes=age), minutes=buckets)
    points = history.points(made, "minute", NOW)
    assert 1 <= len(points) <= history.SHOWN["minute"]
    assert points[-1].value == value
    for before, after in zip(points, points[1:], strict=False):
        assert after.value == before.value + after.change
        assert after.time - before.time == timedelta(minutes=1)
