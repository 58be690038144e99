"""The table of nodes that an operator of the lab sees."""

import datetime

from lab import summary
from lab.config import load
from tests.support.fleet_state import STATE

NOW = datetime.datetime(2026, 11, 27, 12, tzinfo=datetime.UTC)


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
