"""The exactness machine: two nodes' stores and a model do the same, and never disagree.

Counters are made, hit, changed, set, imported, deleted, and come to their end, with and without
idempotency keys, in whatever order. The model is a dictionary, and knows nothing of batches.
"""

import time
import uuid
from dataclasses import dataclass, field
from datetime import timedelta

from counterapp import counters, history
from counterapp.counters import LARGEST, Counted, Key, Plan, Record, Refusal
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.examples import examples
from tests.support.stores import open_store, outcome
from tests.support.waiting import until

NODES = ("web-1", "web-2.example.org")
MADE_BY_A_HIT = Plan(lower=0, upper=1, resettable=False)
SHARED = Key("default", "shared")


@dataclass
class Life:
    """One life of a counter: all of it goes when the counter does."""

    plan: Plan
    owner: str | None
    value: int
    added: int = 0
    """What hits and updates have added."""
    moved: int = 0
    """By how much sets and imports have moved the value."""
    nodes: dict[str, int] = field(default_factory=dict)
    answers: dict[str, tuple[int | None, int]] = field(default_factory=dict)
    """For each idempotency key the amount, None for a hit, and the value that was answered."""

    def shown(self):
        plan = self.plan
        return {
            "value": self.value,
            "owned": self.owner is not None,
            "plan": (plan.step, plan.lower, plan.upper, plan.resettable),
            "ends": plan.lifetime is not None,
            "nodes": {node: share for node, share in self.nodes.items() if share},
            "base": plan.value,
            "added": [self.added] * 3,
            "moved": [self.moved] * 3,
        }


def shown(counter):
    """Return what :meth:`Life.shown` does of what a store tells."""
    plan = counter.plan
    added = (counter.minutes, counter.hours, counter.days)
    moved = (counter.set_minutes, counter.set_hours, counter.set_days)
    whole = counter.base + sum(counter.days.values()) + sum(counter.set_days.values())
    assert counter.value == whole
    # All of it was done within the last minutes, by the only clock that counts.
    present = history.bucket(counter.seen, "minute")
    assert all(
        present - 30 <= minute <= present for minute in (*counter.minutes, *counter.set_minutes)
    )
    return {
        "value": counter.value,
        "owned": counter.owned,
        "plan": (plan.step, plan.lower, plan.upper, plan.resettable),
        "ends": counter.expires is not None,
        "nodes": {node: share for node, share in counter.nodes.items() if share},
        "base": counter.base,
        "added": [sum(buckets.values()) for buckets in added],
        "moved": [sum(buckets.values()) for buckets in moved],
    }


def within(plan, amount):
    low = plan.lower is None or amount >= plan.lower
    return low and (plan.upper is None or amount <= plan.upper)


class Model(RuleBasedStateMachine):
    """What is done to both, and what the model says to it."""

    stores = ()
    end = None
    """Lets a counter's time be over, as the database sees it."""

    keys = st.sampled_from([Key("ns1", "one"), Key("ns1", "two"), Key("ns2", "one")])
    values = st.integers(-5, 5) | st.integers(-LARGEST, LARGEST) | st.just(LARGEST)
    owners = st.sampled_from([None, "anna", "berta"])
    importers = st.sampled_from(["anna", "berta"])
    either = st.integers(0, 1)
    names = st.sampled_from([None, "k1", "k2"])
    bounds = st.sampled_from([(None, None), (None, 100), (-1, 1), (0, 0)])
    plans = st.builds(
        lambda value, step, both, resettable, lifetime: Plan(
            value, step, *both, resettable, lifetime
        ),
        values,
        st.sampled_from([1, -2, LARGEST]),
        bounds,
        st.booleans(),
        st.sampled_from([None, 3600]),
    )
    imports = st.lists(
        st.builds(Record, keys | st.just(SHARED), values),
        unique_by=lambda record: record.key,
        max_size=4,
    )

    @initialize()
    def begin(self):
        # No bucket is to begin within an example: how much room it leaves depends on that.
        until(lambda: time.time() % 60 < 59, 5, "a minute begins")
        # Those that have ended, too.
        self.stores[0].operator_delete_all("", 100)
        self.there = {}
        self.ended = set()

    def counted(self, key, name, amount, act):
        """Return what the model says to a hit (without an amount) or an update of what is there.

        :param act: makes the counter if need be, and returns it with what is to be added.
        """
        life = self.there.get(key)
        if life and name in life.answers:
            asked, value = life.answers[name]
            return Counted(value, replayed=True) if asked == amount else counters.KeyReused
        made = life is None
        life, change, node = act()
        sums = [life.value + change, life.added + change]
        if node:
            sums.append(life.nodes.get(node, 0) + change)
        if max(map(abs, sums)) > LARGEST:
            return counters.OutOfBounds
        life.value, life.added = sums[:2]
        if node:
            life.nodes[node] = sums[2]
        if name:
            life.answers[name] = (amount, life.value)
        self.there[key] = life
        return Counted(life.value, made=made)

    @rule(node=either, key=keys, name=names, make=st.booleans())
    def hit(self, node, key, name, make):
        def act():
            life = self.there.get(key) or Life(MADE_BY_A_HIT, None, 0)
            return life, life.plan.step, NODES[node]

        if key not in self.there and not make:
            expected = counters.NotMade
        else:
            expected = self.counted(key, name, None, act)
        assert outcome(lambda: self.stores[node].hit(key, name, make=make)) == expected

    @rule(node=either, key=keys, amount=values, owner=owners, name=names)
    def add(self, node, key, amount, owner, name):
        life = self.there.get(key)
        if life is None:
            expected = counters.NotFound
        elif life.owner not in (None, owner):
            expected = counters.Forbidden
        elif not within(life.plan, amount):
            expected = counters.OutOfBounds
        else:
            expected = self.counted(key, name, amount, lambda: (life, amount, None))
        assert outcome(lambda: self.stores[node].add(key, amount, owner, name)) == expected

    @rule(node=either, minutes=st.sampled_from([-1440, -61, -1, 1, 61, 1440]))
    def mistake_the_time(self, node, minutes):
        clock = self.stores[node].clock
        clock.note(clock.now() + timedelta(minutes=minutes))

    @rule(node=either, key=keys, plan=plans, owner=owners)
    def create(self, node, key, plan, owner):
        made = outcome(lambda: self.stores[node].create(key, plan, owner))
        if key in self.there:
            assert made is counters.AlreadyThere
        else:
            self.there[key] = Life(plan, owner, plan.value)
            assert shown(made) == self.there[key].shown()

    @rule(node=either, records=imports, replace=st.booleans(), owner=importers)
    def take(self, node, records, replace, owner):
        expected = [self.taken(record, replace, owner) for record in records]
        assert list(self.stores[node].take(records, replace, owner)) == expected

    def taken(self, record, replace, owner):
        """Import a count into the model; return why not."""
        if record.key.reserved:
            return Refusal.RESERVED
        life = self.there.get(record.key)
        if life is None:
            self.there[record.key] = Life(Plan(value=record.value), owner, record.value)
            return None
        if not replace:
            return Refusal.THERE
        if life.owner != owner:
            return Refusal.OTHERS
        if not life.plan.resettable:
            return Refusal.FIXED
        if not within(life.plan, record.value - life.value):
            return Refusal.BOUNDS
        self.put(record.key, record.value)
        return None

    def put(self, key, value):
        life = self.there[key]
        before = life.value
        life.value = value
        life.moved += value - before
        return before, value

    def refusal(self, key, owner, also=()):
        """Return why ``owner`` may not change a counter; None if that is allowed.

        :param also: who else may own it.
        """
        life = self.there.get(key)
        if life is None:
            return counters.NotFound
        if life.owner in also or (life.owner is not None and life.owner == owner):
            return None
        return counters.Forbidden

    @rule(node=either, key=keys, value=values, owner=owners)
    def set(self, node, key, value, owner):
        # What nobody owns anybody may set, if it was made to be set.
        expected = self.refusal(key, owner, also=(None,))
        if expected is None:
            resettable = self.there[key].plan.resettable
            expected = self.put(key, value) if resettable else counters.Forbidden
        assert outcome(lambda: self.stores[node].set(key, value, owner)) == expected

    @rule(node=either, key=keys, value=values)
    def operator_set(self, node, key, value):
        expected = self.put(key, value) if key in self.there else counters.NotFound
        assert outcome(lambda: self.stores[node].operator_set(key, value)) == expected

    @rule(node=either, key=keys, owner=owners)
    def delete(self, node, key, owner):
        expected = self.refusal(key, owner)
        if expected is None:
            del self.there[key]
        assert outcome(lambda: self.stores[node].delete(key, owner)) is expected

    @rule(node=either, key=keys)
    def operator_delete(self, node, key):
        expected = None if self.there.pop(key, None) else counters.NotFound
        assert outcome(lambda: self.stores[node].operator_delete(key)) is expected

    @rule(node=either, prefix=st.sampled_from(["ns1/", "ns1/t", "ns"]))
    def operator_delete_all(self, node, prefix):
        gone = {key for key in self.there if str(key).startswith(prefix)}
        # What has ended, and nobody has made anew, may still be there for an operator.
        most = len(gone | {key for key in self.ended if str(key).startswith(prefix)})
        assert len(gone) <= self.stores[node].operator_count(prefix) <= most
        assert len(gone) <= self.stores[node].operator_delete_all(prefix, 10) <= most
        for key in gone:
            del self.there[key]

    def mortal(self):
        return [key for key, life in self.there.items() if life.plan.lifetime is not None]

    @precondition(lambda self: self.mortal())
    @rule(data=st.data())
    def end_of_a_lifetime(self, data):
        key = data.draw(st.sampled_from(sorted(self.mortal())))
        self.end(key)
        del self.there[key]
        self.ended.add(key)

    @invariant()
    def both_nodes_tell_what_the_model_tells(self):
        expected = {key: life.shown() for key, life in self.there.items()}
        for store in self.stores:
            assert {each.key: shown(each) for each in store.all(None)} == expected


def test_the_store_does_what_a_model_does(single):
    name = f"test-{uuid.uuid4().hex[:12]}"
    stores = [open_store(single, name, node) for node in NODES]

    class Machine(Model):
        pass

    with single.client(w="majority") as client:

        def end(key):
            over = [{"$set": {"expires": {"$subtract": ["$$NOW", 1]}}}]
            client[name].counters.update_one({"_id": str(key)}, over)

        Machine.stores, Machine.end = stores, staticmethod(end)
        run_state_machine_as_test(
            Machine,
            settings=settings(
                examples(60), stateful_step_count=25, suppress_health_check=list(HealthCheck)
            ),
        )
    for store in stores:
        store.close()
