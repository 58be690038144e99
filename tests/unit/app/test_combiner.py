"""Items that come while a write is on its way share the next one."""

import contextvars
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from counterapp import presence
from counterapp.combiner import CROWD, LONGEST_REST, Combiner
from counterapp.counters import Overloaded, StoreUnavailable
from counterapp.gate import hits

from tests.support.waiting import until


class Database:
    """Commits batches when it is let, and keeps what it was given."""

    def __init__(self):
        self.batches = []
        self.begun = threading.Semaphore(0)
        self.open = threading.Event()
        self.open.set()

    def __call__(self, items, deadline):
        assert deadline > time.monotonic() - 1
        self.begun.release()
        assert self.open.wait(20)
        self.batches.append(list(items))
        return [KeyError(item) if item == "bad" else f"<{item}>" for item in items]


@pytest.fixture
def database():
    return Database()


@pytest.fixture
def make(database):
    made = []

    def combiner(**changes):
        gate = hits(changes.pop("waiting", 100))
        options = {"gate": gate, "batch": 50, "timeout": 10, "name": "test"}
        made.append(Combiner(database, **{**options, **changes}))
        return made[-1]

    yield combiner
    database.open.set()
    for one in made:
        one.close()


def all_wait(combiner, number):
    until(lambda: combiner._gate.inside, 10, f"{number} items wait", wanted=number, interval=0.005)


def test_one_item_does_not_wait_for_others(make, database):
    assert make().submit("a") == "<a>"
    assert database.batches == [["a"]]


def test_what_comes_during_a_write_shares_the_next_in_order(make, database):
    combiner = make(batch=3)
    database.open.clear()
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(combiner.submit, "first")]
        assert database.begun.acquire(timeout=10)
        for place in range(5):
            answers.append(pool.submit(combiner.submit, str(place)))
            all_wait(combiner, place + 2)
        database.open.set()
        assert [answer.result(10) for answer in answers] == ["<first>"] + [
            f"<{place}>" for place in range(5)
        ]
    assert database.batches == [["first"], ["0", "1", "2"], ["3", "4"]]
    assert combiner._gate.inside == 0


def test_few_items_follow_each_other_at_once(make, database):
    combiner = make(pace=60)
    assert [combiner.submit(item) for item in "abc"] == ["<a>", "<b>", "<c>"]


def test_under_load_the_next_write_waits_for_more_items(make, database):
    combiner = make(pace=60)
    database.open.clear()
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(combiner.submit, "first")]
        assert database.begun.acquire(timeout=10)
        answers += [pool.submit(combiner.submit, str(place)) for place in range(CROWD)]
        all_wait(combiner, 1 + CROWD)
        database.open.set()
        for answer in answers:
            answer.result(10)
        assert database.begun.acquire(timeout=10)
        late = [pool.submit(combiner.submit, item) for item in ("late", "later")]
        all_wait(combiner, 2)
        assert not database.begun.acquire(timeout=0.2)
        # Nobody waits for company when the server stops.
        combiner.close()
        assert {answer.result(10) for answer in late} == {"<late>", "<later>"}
    assert set(database.batches[-1]) == {"late", "later"}


@pytest.mark.parametrize(("takes", "rest"), [(0.05, 0.05), (1.2, LONGEST_REST)])
def test_a_slow_write_is_followed_by_a_rest_as_long_but_not_forever(takes, rest):
    moments = []

    def commit(items, deadline):
        begun = time.monotonic()
        moments.append(begun)
        while time.monotonic() < begun + takes:
            time.sleep(0.001)
        moments.append(time.monotonic())
        return list(items)

    combiner = Combiner(commit, gate=hits(99), batch=CROWD, timeout=30, name="test")
    with ThreadPoolExecutor(2 * CROWD + 1) as pool:
        list(pool.map(combiner.submit, range(2 * CROWD + 1)))
    combiner.close()
    # The first may have gone alone; of the others, one was full when another waited.
    rests = [begun - ended for ended, begun in zip(moments[1::2], moments[2::2], strict=False)]
    assert rest <= max(rests) < rest + 1


def test_each_caller_gets_its_own_answer_or_error(make, database):
    combiner = make()
    database.open.clear()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(combiner.submit, "first")
        assert database.begun.acquire(timeout=10)
        good, bad = pool.submit(combiner.submit, "good"), pool.submit(combiner.submit, "bad")
        all_wait(combiner, 3)
        database.open.set()
        assert first.result(10) == "<first>"
        assert good.result(10) == "<good>"
        with pytest.raises(KeyError):
            bad.result(10)


def test_what_a_write_raises_everyone_in_it_gets_and_the_next_goes_on():
    failures = [ZeroDivisionError("first")]

    def commit(items, deadline):
        if failures:
            raise failures.pop()
        return list(items)

    combiner = Combiner(commit, gate=hits(9), batch=9, timeout=5, name="test")
    with pytest.raises(ZeroDivisionError):
        combiner.submit("a")
    assert combiner.submit("b") == "b"
    combiner.close()


def test_more_than_may_wait_are_refused_at_once(make, database):
    combiner = make(waiting=2)
    database.open.clear()
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(combiner.submit, item) for item in "ab"]
        all_wait(combiner, 2)
        with pytest.raises(Overloaded, match="Too many hits .* was not counted"):
            combiner.submit("c")
        database.open.set()
        assert {answer.result(10) for answer in answers} == {"<a>", "<b>"}
    assert combiner.submit("d") == "<d>"


def test_who_waits_too_long_is_told_whether_it_was_begun(make, database):
    combiner = make(timeout=0.2)
    database.open.clear()
    with ThreadPoolExecutor(2) as pool:
        begun = pool.submit(combiner.submit, "begun")
        assert database.begun.acquire(timeout=10)
        queued = pool.submit(combiner.submit, "queued")
        with pytest.raises(StoreUnavailable, match="did not answer in time"):
            begun.result(10)
        with pytest.raises(StoreUnavailable, match="was not counted"):
            queued.result(10)
    database.open.set()
    assert combiner.submit("next") == "<next>"
    assert database.batches == [["begun"], ["next"]]


def test_lines_that_share_a_gate_let_so_many_wait_together(make, database):
    gate = hits(2)
    lines = [make(gate=gate), make(gate=gate)]
    database.open.clear()
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(line.submit, "a") for line in lines]
        all_wait(lines[0], 2)
        for line in lines:
            with pytest.raises(Overloaded):
                line.submit("b")
        database.open.set()
        assert [answer.result(10) for answer in answers] == ["<a>", "<a>"]
    assert gate.inside == 0


class Client:
    """Calls from a context of its own, in which it can hang up."""

    def __init__(self):
        self.gone = threading.Event()

    def submit(self, combiner, item):
        presence.gone.set(self.gone.is_set)
        return combiner.submit(item)

    def call(self, pool, combiner, item):
        return pool.submit(contextvars.Context().run, self.submit, combiner, item)


def test_who_hangs_up_frees_its_place_and_is_not_counted_unless_it_was_begun(make, database):
    combiner = make(waiting=3)
    first, second, third = Client(), Client(), Client()
    database.open.clear()
    with ThreadPoolExecutor(4) as pool:
        begun = first.call(pool, combiner, "begun")
        assert database.begun.acquire(timeout=10)
        queued = second.call(pool, combiner, "queued")
        stays = third.call(pool, combiner, "stays")
        all_wait(combiner, 3)
        first.gone.set()
        with pytest.raises(StoreUnavailable, match="has hung up$"):
            begun.result(10)
        second.gone.set()
        with pytest.raises(StoreUnavailable, match="has hung up, the hit was not counted"):
            queued.result(10)
        all_wait(combiner, 1)
        late = pool.submit(combiner.submit, "late")
        all_wait(combiner, 2)
        database.open.set()
        assert [stays.result(10), late.result(10)] == ["<stays>", "<late>"]
    assert database.batches == [["begun"], ["stays", "late"]]


def test_who_is_answered_soon_is_not_looked_at(make):
    def call():
        presence.gone.set(lambda: pytest.fail("looked at"))
        return make().submit("a")

    assert contextvars.Context().run(call) == "<a>"


def test_a_caller_who_is_ended_from_outside_leaves_nothing_behind(make, database):
    class Ended(BaseException):
        pass

    def end(*_):
        raise Ended

    combiner = make()
    database.open.clear()
    with ThreadPoolExecutor(1) as pool:
        begun = pool.submit(combiner.submit, "begun")
        assert database.begun.acquire(timeout=10)
        before = signal.signal(signal.SIGALRM, end)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(Ended):
                combiner.submit("ended")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert combiner._gate.inside == 1
        database.open.set()
        assert begun.result(10) == "<begun>"
    assert database.batches == [["begun"]]


def test_a_closed_one_finishes_what_waits_and_takes_nothing_more(make, database):
    combiner = make()
    database.open.clear()
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(combiner.submit, "a")]
        assert database.begun.acquire(timeout=10)
        answers.append(pool.submit(combiner.submit, "b"))
        all_wait(combiner, 2)
        closing = pool.submit(combiner.close)
        assert combiner._closing.wait(10)
        with pytest.raises(StoreUnavailable, match="is stopping"):
            combiner.submit("c")
        database.open.set()
        closing.result(10)
        assert [answer.result(10) for answer in answers] == ["<a>", "<b>"]
