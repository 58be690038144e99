"""Rollouts one after the other while clients hit: nothing is refused, lost or counted twice.

One of a balancer's setting, with which the VIP is handed over, is part of the tests; as a drill
(``make drill``) ten: of the balancers, the database and the release in turn.
"""

import os

from tests.system.test_failures import holder

ROLLOUTS = int(os.environ.get("DRILL_ROLLOUTS", "1"))


def turn(cluster, number, releases):
    """Change one thing, and return the release that is to be rolled out with it."""
    kind = number % 3
    if kind == 0:
        cluster.settings("lb", maxconn=3500 + number)
    elif kind == 1:
        cluster.settings("mongodb", cache_gb=0.26 + number / 100)
    else:
        releases.reverse()
    return releases[0]


def test_rollouts_refuse_lose_and_double_nothing(cluster, next_release):
    current = set(cluster.salt("roles:web", "counterapp.current", kind="grain").values())
    releases = sorted({*current, "0.1.0", next_release}, key=lambda each: each not in current)[:2]
    with (
        cluster.traffic("turns") as plain,
        cluster.traffic("turns-keyed", keyed=True) as keyed,
    ):
        for number in range(ROLLOUTS):
            before = holder(cluster)
            code, output = cluster.rollout(turn(cluster, number, releases))
            assert code == 0, output
            (last,) = cluster.runner("rollout.history", "limit=1")
            assert last["outcome"] == "succeeded", last
            assert last["changes"], last
            if number % 3 == 0:
                assert holder(cluster) != before
            print(f"rollout {number + 1}: {last['release']}, {len(plain.values)} hits so far")
    for counter, traffic in (("turns", plain), ("turns-keyed", keyed)):
        assert traffic.failures == []
        assert sorted(traffic.values) == list(range(1, len(traffic.values) + 1))
        assert cluster.count(counter) == len(traffic.values) > 0
