"""The tests by which a canary is judged: how often they err, and what they make of each case."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet import judging
from fleet.judging import Count, Errors, Histogram, Verdict, chance, latency

BOUNDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, math.inf)


def _watched(rng, rate, looks, size, others=0.0, others_size=0):
    """Return the verdict of a canary of which so many requests were seen at each look."""
    errors = Errors()
    for _ in range(looks):
        errors.others.add(others_size, sum(rng.random() < others for _ in range(others_size)))
        errors.add(size, sum(rng.random() < rate for _ in range(size)))
        if errors.verdict is Verdict.FAIL:
            return Verdict.FAIL
    return errors.verdict


def _times(runs, *args, seed=1, **kwargs):
    rng = random.Random(seed)
    found = [_watched(rng, *args, **kwargs) for _ in range(runs)]
    return {verdict: found.count(verdict) / runs for verdict in Verdict}


class TestErrors:
    @pytest.mark.parametrize(("size", "runs"), [(1, 2_000), (20, 10_000)])
    def test_a_healthy_canary_is_called_bad_once_in_a_thousand_times(self, size, runs):
        assert _times(runs, 0.001, 300 // size, size)[Verdict.FAIL] < 0.001

    @pytest.mark.parametrize("size", [1, 20])
    def test_a_broken_canary_is_called_good_once_in_a_hundred_times(self, size):
        found = _times(2_000, 0.05, 300 // size, size)
        assert found[Verdict.PASS] < 0.01
        assert found[Verdict.FAIL] > 0.98

    def test_beside_others_that_are_healthy_a_broken_one_is_found_as_well(self):
        found = _times(1_000, 0.05, 20, 20, others=0.001, others_size=20)
        assert found[Verdict.PASS] < 0.01
        assert found[Verdict.FAIL] > 0.95

    def test_what_all_have_in_common_is_not_the_canarys(self):
        found = _times(1_000, 0.05, 15, 20, others=0.05, others_size=20)
        assert found[Verdict.FAIL] < 0.05
        assert found[Verdict.PASS] < 0.01

    def test_a_healthy_one_passes_after_some_92_good_requests(self):
        errors = Errors()
        errors.add(91, 0)
        assert errors.verdict is Verdict.INCONCLUSIVE
        errors.add(1, 0)
        assert errors.verdict is Verdict.PASS

    def test_one_that_always_fails_is_bad_at_once(self):
        errors = Errors()
        errors.add(1, 1)
        assert errors.verdict is Verdict.INCONCLUSIVE
        errors.add(1, 1)
        assert errors.verdict is Verdict.FAIL

    def test_nothing_is_no_verdict(self):
        assert Errors().verdict is Verdict.INCONCLUSIVE
        assert not Errors().doubtful

    def test_long_good_is_no_credit_for_a_leak(self):
        rng = random.Random(3)
        errors = Errors()
        errors.add(1_000_000, 0)
        for _ in range(15):
            errors.add(20, sum(rng.random() < 0.05 for _ in range(20)))
        assert errors.verdict is Verdict.FAIL

    def test_an_election_is_forgotten_by_and_by(self):
        errors = Errors()
        errors.others.add(20, 10)
        errors.add(20, 10)
        assert errors.verdict is Verdict.INCONCLUSIVE
        assert errors.doubtful
        errors.others.add(1000, 0)
        errors.add(1000, 0)
        assert errors.verdict is Verdict.PASS

    @given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=20))
    def test_evidence_stays_in_its_bounds_and_counts_are_kept(self, looks):
        errors = Errors()
        for good, bad in looks:
            before = errors.evidence
            errors.add(good + bad, bad)
            assert errors.evidence >= judging.LOWER
            if bad == 0:
                assert errors.evidence <= before
        assert errors.canary.requests == sum(good + bad for good, bad in looks)
        assert errors.canary.failed == sum(bad for _, bad in looks)

    @pytest.mark.parametrize(("requests", "failed"), [(1, 2), (-1, 0), (3, -1)])
    def test_counts_that_cannot_be_are_refused(self, requests, failed):
        with pytest.raises(ValueError, match="cannot have failed"):
            Count().add(requests, failed)


class TestChance:
    @pytest.mark.parametrize(
        ("canary", "others", "expected"),
        [
            # By hand, and the tea taster's of Fisher's own.
            (Count(1, 1), Count(1, 0), 1 / 2),
            (Count(4, 3), Count(4, 1), 17 / 70),
            (Count(4, 4), Count(4, 0), 1 / 70),
            (Count(10, 0), Count(10, 5), 1.0),
            (Count(10, 0), Count(0, 0), 1.0),
        ],
    )
    def test_it_is_fishers(self, canary, others, expected):
        assert chance(canary, others) == pytest.approx(expected)

    @given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 3000), st.integers(0, 3000))
    def test_it_is_a_probability_that_more_failures_make_less(self, bad, good, bad_too, good_too):
        others = Count(bad_too + good_too, bad_too)
        found = chance(Count(bad + good, bad), others)
        assert 0 <= found <= 1
        assert chance(Count(bad + good + 1, bad + 1), others) <= found + 1e-6


def _histogram(rng, count, mean, sigma=0.5):
    values = [rng.lognormvariate(math.log(mean), sigma) for _ in range(count)]
    counts = dict.fromkeys(BOUNDS, 0)
    for value in values:
        counts[next(bound for bound in BOUNDS if value <= bound)] += 1
    return Histogram(counts, sum(values))


class TestLatency:
    def _slower(self, factor, runs, count=200, mean=0.05):
        rng = random.Random(5)
        found = [
            latency(
                {"/hit": _histogram(rng, count, mean * factor)},
                {"/hit": _histogram(rng, count, mean)},
            ).slower(0.25, 0.02)
            for _ in range(runs)
        ]
        return found.count(True) / runs

    def test_the_same_is_not_slower(self):
        assert self._slower(1.0, 300) == 0

    def test_twice_as_long_is(self):
        assert self._slower(2.0, 100) > 0.98

    def test_what_nobody_notices_is_not(self):
        assert self._slower(2.0, 100, mean=0.005) == 0

    def test_ranks_of_equal_servers_are_normal(self):
        rng = random.Random(6)
        found = [
            latency({"/": _histogram(rng, 100, 0.03)}, {"/": _histogram(rng, 300, 0.03)}).z
            for _ in range(1000)
        ]
        assert abs(sum(found) / 1000) < 0.1
        assert 0.9 < math.sqrt(sum(z**2 for z in found) / 1000) < 1.1
        assert sum(z > 2.054 for z in found) / 1000 < 0.035

    def test_a_single_request_that_hung_is_not_slower(self):
        many = dict.fromkeys(BOUNDS, 0) | {0.01: 100}
        seen = latency({"/": Histogram(many | {math.inf: 1}, 61.0)}, {"/": Histogram(many, 0.8)})
        assert seen.canary > seen.others + 0.5
        assert not seen.slower(0.25, 0.02)

    def test_another_mix_of_routes_is_not_slower(self):
        rng = random.Random(7)
        slow, fast = (lambda n: _histogram(rng, n, 0.5)), (lambda n: _histogram(rng, n, 0.004))
        seen = latency({"/a": slow(200), "/b": fast(50)}, {"/a": slow(50), "/b": fast(900)})
        assert not seen.slower(0.25, 0.02)

    def test_too_few_requests_are_not_compared(self):
        rng = random.Random(8)
        seen = latency({"/": _histogram(rng, 49, 1)}, {"/": _histogram(rng, 900, 0.01)})
        assert not seen.enough
        assert not seen.slower(0.25, 0.02)
        assert str(seen) == "too few requests to compare latency"

    def test_what_only_one_was_asked_for_is_left_out(self):
        rng = random.Random(9)
        assert latency({"/a": _histogram(rng, 99, 1)}, {"/b": _histogram(rng, 99, 1)}).z == 0
        assert latency({}, {}).enough is False
        empty = Histogram(dict.fromkeys(BOUNDS, 0), 0.0)
        assert latency({"/": empty}, {"/": empty}).enough is False

    def test_histograms_of_several_servers_are_one(self):
        both = Histogram({0.1: 1, 0.2: 2}, 0.3).plus(Histogram({0.2: 1, 0.5: 1}, 0.7))
        assert both == Histogram({0.1: 1, 0.2: 3, 0.5: 1}, 1.0)
        assert both.requests == 5
