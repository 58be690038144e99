"""The store that unit tests use does what the real one does: both are given the same to do."""

import uuid

import pytest
from counterapp.counters import LARGEST, Key, Plan, Record, StoreError
from counterapp.mongo import MongoStore
from hypothesis import example, given
from hypothesis import strategies as st

import tests.functional.app.conftest  # noqa: F401 (puts the app's source on the path)
from tests.support.examples import examples
from tests.support.memory_store import MemoryStore

ONE = Key("one", "abc")

keys = st.builds(Key, st.sampled_from(["one", "two"]), st.sampled_from(["abc", "a.b", "xyz"]))
admins = st.sampled_from([None, "a" * 64, "b" * 64])
once = st.sampled_from([None, None, "first", "second"])
amounts = st.integers(-3, 3) | st.sampled_from([LARGEST, -LARGEST])
values = st.integers(-10, 10) | st.sampled_from([LARGEST, -LARGEST, LARGEST - 1])
bounds = st.sampled_from([(None, None), (-1, 1), (0, 0), (-3, 100)])
plans = st.builds(
    lambda value, step, both, resettable: Plan(value, step, *both, resettable),
    values,
    st.integers(-3, 3).filter(bool),
    bounds,
    st.booleans(),
)
calls = st.one_of(
    st.tuples(st.just("hit"), keys, once),
    st.tuples(st.just("add"), keys, amounts, admins, once),
    st.tuples(st.just("set"), keys, values, admins),
    st.tuples(st.just("create"), keys, plans, admins),
    st.tuples(st.just("delete"), keys, admins),
    st.tuples(st.just("operator_set"), keys, values),
    st.tuples(st.just("operator_delete"), keys),
    st.tuples(st.just("read"), keys),
    st.tuples(st.just("page"), admins, st.none() | keys, st.integers(1, 4)),
    st.tuples(
        st.just("take"),
        st.lists(st.builds(Record, keys, values), unique_by=lambda record: record.key, max_size=3),
        st.booleans(),
        admins,
    ),
)


@pytest.fixture(scope="module")
def mongo(single):
    """Return a function that gives a store with nothing in it."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    store = MongoStore(single.uri, name, node="web-1", timeout=10, probe_timeout=10)
    store.probe("web-1")
    with single.client(w="majority") as client:

        def begin():
            for collection in ("counters", "idempotency"):
                client[name][collection].delete_many({})
            return store

        yield begin
        store.close()
        client.drop_database(name)


def outcome(store, name, *arguments):
    """What a call comes to, without what need not be the same: times and words."""
    try:
        result = getattr(store, name)(*arguments)
    except StoreError as error:
        return type(error).__name__
    if isinstance(result, list):
        return [shown(each) for each in result]
    return shown(result)


def shown(result):
    if not hasattr(result, "plan"):
        return result
    plan, history = result.plan, (result.minutes, result.hours, result.days)
    return (
        *(result.key, result.value, result.owned, result.nodes, result.base),
        *(plan.step, plan.lower, plan.upper, plan.resettable),
        *(sum(buckets.values()) for buckets in history),
    )


@examples(150)
@given(st.lists(calls, min_size=3, max_size=25))
@example([("take", [Record(ONE, value)], True, "a" * 64) for value in (-LARGEST, LARGEST)])
@example(
    [
        ("create", ONE, Plan(-LARGEST, 1, None, None, True), "a" * 64),
        ("add", ONE, 0, "a" * 64, None),
    ]
)
def test_both_stores_come_to_the_same(mongo, steps):
    memory, real = MemoryStore("web-1"), mongo()
    for step in [*steps, ("page", None, None, 100)]:
        assert outcome(memory, *step) == outcome(real, *step), step
