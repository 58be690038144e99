"""The store while the network loses messages and primaries die: each hit counts once."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
from counterapp.counters import Key

from tests.support.proxy import LossyProxy
from tests.support.stores import open_store
from tests.support.waiting import until

SHARED = Key("default", "shared")
THREADS = 16


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("keyed", [False, True])
def test_hits_whose_answers_are_lost_on_the_way_count_once(single, database, keyed, seed):
    address = single.primary().address.split(":")
    with LossyProxy((address[0], int(address[1])), 0, seed) as proxy:
        uri = f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true"
        store = open_store(single, database, "web-1", uri, timeout=60)
        proxy.loss = 0.1
        with ThreadPoolExecutor(THREADS) as pool:
            answers = list(
                pool.map(lambda n: store.hit(SHARED, f"key-{n}" if keyed else None), range(200))
            )
        proxy.loss = 0
        assert proxy.cuts > 2
        assert sorted(answer.value for answer in answers) == list(range(1, 201))
        assert not any(answer.replayed for answer in answers)
        assert store.read(SHARED).value == 200
        store.close()


@pytest.mark.parametrize("keyed", [False, True])
def test_hits_go_on_through_failovers_without_one_failing_or_counting_twice(rs, database, keyed):
    stores = [open_store(rs, database, node, timeout=60) for node in ("web-1", "web-2")]
    numbers = itertools.count()
    stopping = []

    def hit(place):
        values = []
        while not stopping:
            key = f"key-{next(numbers)}" if keyed else None
            values.append(stores[place % 2].hit(SHARED, key).value)
        return values

    def wait_more(hits):
        target = stores[0].read(SHARED).value + hits
        until(
            lambda: stores[0].read(SHARED).value,
            90,
            f"{target} hits are counted",
            wanted=lambda value: value >= target,
        )

    with ThreadPoolExecutor(THREADS) as pool:
        workers = [pool.submit(hit, place) for place in range(THREADS)]
        try:
            stores[0].hit(SHARED)
            wait_more(100)
            with rs.wait_primary().client() as client:
                client.admin.command("replSetStepDown", 10)
            wait_more(100)
            rs.wait_primary().kill()
            wait_more(100)
        finally:
            stopping.append(True)
        values = [value for worker in workers for value in worker.result(90)]
    assert len(values) == len(set(values))
    assert stores[1].read(SHARED).value == len(values) + 1
    assert set(values) <= set(range(1, len(values) + 2))
    for store in stores:
        store.close()
