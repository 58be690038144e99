"""What the web servers are told of backups, for their metrics."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from fleet import backup_health, backup_numbers, backups, revision, segments
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
        # The newest backup that is there, and no file of the archive.
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


def test_the_second_place_reaches_as_far_as_the_archive_was_copied(site, fleet):
    archive = site.mount / "oplog"
    site.settle(archive={"enabled": True, "folder": str(archive)}, second={"folder": "/x"})
    entry = backups.add(site.master, backups.SCHEDULED, "mine", info())

    def state():
        (site.master.config / segments.NOTES).write_text(json.dumps({"first": noted}))
        base = revision.base(site.master)
        found = backup_health.state(site.master, fleet, base.settings, [])
        return found["second_until"], " ".join(found["problems"])

    noted = {}
    assert state()[0] is None
    backups.update(site.master, "mine", second=entry["ended"])
    until, problems = state()
    assert datetime.fromisoformat(until) == backups.wall(entry)
    assert "second place" not in problems
    begin = int(entry["to"]["time"].partition(":")[0])
    # The second one is not copied, and so the third does not follow.
    for number, copied in enumerate((True, False, True)):
        first, last = begin + 100 * number, begin + 100 * (number + 1)
        name = f"{first:010d}.0000000001-{last:010d}.0000000001.bson.gz"
        noted[name] = {"sha256": "0" * 64, "bytes": 1, "second": copied}
    assert datetime.fromisoformat(state()[0]).timestamp() == begin + 100

    long_ago = datetime.now(UTC) - timedelta(hours=2)
    backups.forget(site.master, ["mine"])
    backups.add(site.master, backups.SCHEDULED, "old", info(long_ago))
    backups.update(site.master, "old", second=entry["ended"])
    noted.clear()
    assert "the second place has the oplog until 2 h 0 min ago and no further" in state()[1]


def test_who_was_not_told_is_named(site, fleet):
    fleet.fails = {"counterapp.tell_backups": {"one": "the minion does not answer"}}
    assert backup_numbers.tell(site.master, fleet).problems() == ["one: the minion does not answer"]
