"""The table of nodes, and the lines about the fleet as a whole."""

import datetime

from lab import summary
from lab.config import load

NOW = datetime.datetime(2026, 11, 27, 12, tzinfo=datetime.UTC)
LOCK = {
    "change": "20261127-110000-abcd",
    "kind": "rollout",
    "owner": "ana@boss",
    "since": "2026-11-27T11:00:00+00:00",
    "alive": True,
}
STATE = {
    "release": "1.4.0",
    "revision": {
        "id": "aaaaaaaaaaaa",
        "release": "1.4.0",
        "created": "2026-11-27T10:00:00+00:00",
        "commit": None,
    },
    "drift": {"differs": False, "changed": [], "added": [], "gone": []},
    "lock": None,
    "last": None,
    "replica_set": {
        "members": [
            {"node": "db-1", "name": "192.168.33.14:27017", "state": "PRIMARY", "lag_s": 0.0},
            {"node": "db-2", "name": "192.168.33.15:27017", "state": "SECONDARY", "lag_s": 1.5},
            {"node": "db-3", "name": "192.168.33.16:27017", "state": "DOWN", "lag_s": None},
        ]
    },
    "nodes": {
        "web-1": {
            "os": "Debian-12",
            "release": "1.4.0",
            "up": True,
            "state": "ready",
            "since": "2026-11-27T08:48:00+00:00",
            "certificate": "2027-05-01T00:00:00+00:00",
        },
        "web-2": {"up": True, "certificate": "2027-04-01T00:00:00+00:00"},
    },
}


def test_the_summary_names_every_node_even_a_silent_one():
    rows = summary.rows(load(name="counterapp"), STATE, NOW)
    assert rows[0] == ("NODE", "ROLES", "ADDRESS", "OS", "RELEASE", "FOR", "STATE")
    assert (
        "web-1",
        "web",
        "192.168.33.11",
        "Debian-12",
        "1.4.0",
        "3 h 12 min",
        "ready",
    ) in rows
    assert ("web-2", "web", "192.168.33.12", "-", "-", "-", "up") in rows
    assert ("db-1", "db,storage", "192.168.33.14", "-", "-", "-", "no answer") in rows


def test_a_fleet_that_is_well_is_told_in_a_few_lines():
    assert summary.facts(STATE) == [
        "revision     aaaaaaaaaaaa, release 1.4.0, made 2026-11-27T10:00:00+00:00",
        "checkout     as it was rolled out",
        "replication  behind the primary: db-2 1.5 s",
        "certificates the first ends on 2027-04-01",
    ]


def test_what_is_not_rolled_out_yet_is_named():
    drift = {"differs": True, "changed": ["salt/a", "salt/b"], "added": ["pillar/c"], "gone": ["d"]}
    lines = summary.facts({"drift": drift})
    assert lines == ["checkout     4 files not rolled out yet: salt/a, salt/b, pillar/c, ..."]


def test_a_change_that_runs_and_the_last_one():
    last = {
        "id": "20261127-090000-abcd",
        "kind": "rollout",
        "owner": "ana@boss",
        "outcome": "undone",
        "ended": "2026-11-27T09:10:00+00:00",
    }
    running, before = summary.facts({"lock": LOCK, "last": last})
    assert running == (
        "lock         rollout 20261127-110000-abcd of ana@boss runs, "
        "since 2026-11-27T11:00:00+00:00"
    )
    assert before == (
        "last change  rollout 20261127-090000-abcd of ana@boss undone, 2026-11-27T09:10:00+00:00"
    )
    [died] = summary.facts({"lock": {**LOCK, "alive": False}})
    assert "died" in died


def test_what_is_wrong_comes_last_and_makes_the_exit_code(capsys):
    lab = load(name="counterapp")
    assert summary.show(lab, STATE) == 0
    capsys.readouterr()
    state = {**STATE, "failed": ["web-2: its app is not ready: no database; look there"]}
    assert summary.show(lab, state) == 1
    assert (
        "WRONG        web-2: its app is not ready: no database; look there\n"
        in capsys.readouterr().out
    )


def test_before_the_first_rollout_it_says_so():
    assert summary.facts({"note": "nothing was rolled out yet", "revision": None}) == [
        "note         nothing was rolled out yet"
    ]
