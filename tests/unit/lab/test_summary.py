"""The table of nodes that an operator of the lab sees."""

import datetime

from lab import summary
from lab.config import load

NOW = datetime.datetime(2026, 11, 27, 12, tzinfo=datetime.UTC)
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
