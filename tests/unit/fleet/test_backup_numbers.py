"""What the web servers are told of backups, for their metrics."""

from datetime import UTC, datetime, timedelta

import pytest

from fleet import backup_numbers, backups
from fleet.change import Change
from tests.support import backup_site
from tests.support.backup_site import DAY, Fleet, info

UNTIL = datetime(2026, 11, 20, 0, 7, tzinfo=UTC)
DRILLED = datetime(2026, 11, 20, 0, 3, tzinfo=UTC)


@pytest.fixture
def site(tmp_path, monkeypatch):
    return backup_site.site(tmp_path, monkeypatch)


@pytest.fixture
def fleet(site):
    return Fleet(site.mount)


def told(fleet):
    """What each web server was told, without when."""
    ((_, nodes, (numbers,), _),) = [
        each for each in fleet.asked if each[0] == "counterapp.tell_backups"
    ]
    assert nodes == ["one"]
    when = numbers.pop("told_timestamp_seconds")
    assert abs(when - datetime.now(UTC).timestamp()) < 60
    return numbers


def test_nobody_is_told_before_the_first_rollout(site, fleet):
    (site.master.state / "base").unlink()
    assert backup_numbers.tell(site.master, fleet).answers == {}
    assert fleet.asked == []


def test_of_what_is_not_known_there_is_no_number(site, fleet):
    backup_numbers.tell(site.master, fleet)
    assert told(fleet) == {}


def test_all_that_is_known_is_told_also_while_a_change_runs(site, fleet):
    site.settle(archive={"enabled": True, "folder": "/a"})
    fleet.archive = {
        "recoverable_until": {"time": "9:9", "wall": UNTIL.isoformat()},
        "problem": None,
    }
    for name, when in (("old", DAY - timedelta(hours=1)), ("new", DAY)):
        backups.add(site.master, backups.SCHEDULED, name, info(when))
    backups.update(site.master, "old", second=DAY.isoformat())
    backups.update(site.master, "old", drill={"ended": DRILLED.isoformat(), "problem": None})
    with Change(site.master, "rollout"):
        assert list(backup_numbers.tell(site.master, fleet).answers) == ["one"]
    assert told(fleet) == {
        "newest_timestamp_seconds": DAY.timestamp(),
        "recoverable_until_timestamp_seconds": UNTIL.timestamp(),
        "second_place_timestamp_seconds": DAY.timestamp() - 3600,
        "drill_timestamp_seconds": DRILLED.timestamp(),
        "drill_success": 1,
    }


def test_without_an_archive_it_is_the_newest_backup_that_can_be_reached(site, fleet):
    backups.add(site.master, backups.SCHEDULED, "mine", info(DAY))
    backups.update(site.master, "mine", drill={"ended": DAY.isoformat(), "problem": "gone"})
    backup_numbers.tell(site.master, fleet)
    found = told(fleet)
    assert found["recoverable_until_timestamp_seconds"] == DAY.timestamp()
    assert found["drill_success"] == 0


def test_who_was_not_told_is_named(site, fleet):
    fleet.fails = {"counterapp.tell_backups": {"one": "the minion does not answer"}}
    assert backup_numbers.tell(site.master, fleet).problems() == ["one: the minion does not answer"]
