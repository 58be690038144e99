"""The lines about the fleet as a whole."""

from fleet import overview
from tests.support.fleet_state import STATE

LOCK = {
    "change": "20261127-110000-abcd",
    "kind": "rollout",
    "owner": "ana@boss",
    "since": "2026-11-27T11:00:00+00:00",
    "alive": True,
}


def test_a_fleet_that_is_well_is_told_in_a_few_lines():
    assert overview.lines(STATE) == [
        "revision     aaaaaaaaaaaa, release 1.4.0, made 2026-11-27T10:00:00+00:00",
        "checkout     as it was rolled out",
        "VIP          192.168.33.200, on lb-1",
        "volume       shared, healthy",
        "replication  behind the primary: db-2 1.5 s",
        "certificates the first ends on 2027-04-01",
    ]


def test_what_is_not_rolled_out_yet_is_named():
    drift = {"differs": True, "changed": ["salt/a", "salt/b"], "added": ["pillar/c"], "gone": ["d"]}
    lines = overview.lines({"drift": drift})
    assert lines == ["checkout     4 files not rolled out yet: salt/a, salt/b, pillar/c, ..."]


def test_a_change_that_runs_and_the_last_one():
    last = {
        "id": "20261127-090000-abcd",
        "kind": "rollout",
        "owner": "ana@boss",
        "outcome": "undone",
        "ended": "2026-11-27T09:10:00+00:00",
    }
    running, before = overview.lines({"lock": LOCK, "last": last})
    assert running == (
        "lock         rollout 20261127-110000-abcd of ana@boss runs, "
        "since 2026-11-27T11:00:00+00:00"
    )
    assert before == (
        "last change  rollout 20261127-090000-abcd of ana@boss undone, 2026-11-27T09:10:00+00:00"
    )
    [died] = overview.lines({"lock": {**LOCK, "alive": False}})
    assert "died" in died


def test_before_the_first_rollout_it_says_so():
    assert overview.lines({"note": "nothing was rolled out yet", "revision": None}) == [
        "note         nothing was rolled out yet"
    ]


def test_what_is_wrong_comes_last():
    broken = {
        "vip": {"address": "192.168.33.200", "holders": []},
        "volume": {"name": "shared", "healthy": False, "reasons": ["no quorum"]},
        "failed": ["no balancer holds the VIP"],
    }
    assert overview.lines(broken) == [
        "VIP          192.168.33.200, on no balancer",
        "volume       shared, not healthy",
        "WRONG        no balancer holds the VIP",
    ]
