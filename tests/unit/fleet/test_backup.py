"""Backups from the master's side: noted, kept, proved and restored, over minions' answers."""

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest

from fleet import backup, backups, drill, restore, revision, tending, unfinished, volume
from fleet.change import Change, StepFailed
from fleet.errors import FleetError
from fleet.journal import history
from tests.support import backup_site
from tests.support.backup_site import DAY, NODES, Fleet, info


@pytest.fixture
def site(tmp_path, monkeypatch):
    return backup_site.site(tmp_path, monkeypatch)


@pytest.fixture
def fleet(site):
    return Fleet(site.mount)


class TestNotes:
    def test_a_backup_is_found_again_and_the_newest_without_a_name(self, site):
        for number in (2, 1):
            backups.add(site.master, backups.MANUAL, f"b{number}", info(DAY.replace(hour=number)))
        assert [each["name"] for each in backups.noted(site.master)] == ["b1", "b2"]
        assert backups.find(site.master)["name"] == "b2"
        assert backups.find(site.master, "b1")["documents"] == 3
        with pytest.raises(FleetError, match=r"no backup 'b3'; the last ones: b1, b2"):
            backups.find(site.master, "b3")

    def test_without_any_the_remedy_is_said(self, site):
        with pytest.raises(FleetError, match=r"there is no backup yet: `salt-run backup\.run`"):
            backups.find(site.master)

    @pytest.mark.parametrize("text", ["", "[]", '{"backups": [{"name": "../x"}]}', "\x00"])
    def test_notes_that_are_damaged_are_told(self, site, text):
        (site.master.config / backups.NOTES).write_text(text)
        with pytest.raises(FleetError, match=r"backups\.json is damaged .*backup\.adopt"):
            backups.noted(site.master)

    @pytest.mark.parametrize("name", ["", ".x", "a/b", "..", "a b", "x" * 65, "-x"])
    def test_a_name_leads_nowhere_else(self, name):
        with pytest.raises(FleetError, match="cannot be the name of a backup"):
            backups.check_name(name)

    @pytest.mark.parametrize(
        ("target", "expected"),
        [
            ("2026-11-20T00:00:00Z", True),
            ("2026-11-20T01:59:59+02:00", False),
            (f"{int(DAY.timestamp())}:1", True),
            (f"{int(DAY.timestamp())}:0", False),
            (f"{int(DAY.timestamp()) - 1}:99", False),
        ],
    )
    def test_a_target_is_reached_from_a_backup_before_it(self, target, expected):
        assert backups.is_before(info(DAY), target) is expected

    @pytest.mark.parametrize(
        ("target", "words"), [("soon", "is no time"), ("2026-11-20T00:00:00", "has no zone")]
    )
    def test_a_target_that_is_no_time_is_refused(self, target, words):
        with pytest.raises(FleetError, match=words):
            backups.is_before(info(DAY), target)


class TestKeeping:
    def made(self, hours, kind=backups.SCHEDULED):
        """One backup each of so many hours, the oldest first; named by the hour's number."""
        return [
            {"name": f"h{n}", "kind": kind, **info(DAY + timedelta(hours=n))} for n in range(hours)
        ]

    def kept(self, entries, **keep):
        gone = backups.expired(entries, {"hourly": 0, "daily": 0, "weekly": 0, **keep})
        return [each["name"] for each in entries if each["name"] not in gone]

    def test_the_newest_of_each_hour_day_and_week_is_kept(self):
        # From Friday 0:00 on; 100 hours end on Tuesday at 3:00.
        there = self.made(100)
        assert self.kept(there, hourly=3) == ["h97", "h98", "h99"]
        assert self.kept(there, daily=2) == ["h95", "h99"]
        assert self.kept(there, weekly=2) == ["h71", "h99"]
        assert self.kept(there, hourly=1, daily=2, weekly=5) == ["h71", "h95", "h99"]

    def test_the_newest_always_stays(self):
        assert self.kept(self.made(3)) == ["h2"]

    def test_hours_without_a_backup_do_not_count(self):
        there = [each for each in self.made(50) if each["name"] in ("h0", "h20", "h49")]
        assert self.kept(there, hourly=3) == ["h0", "h20", "h49"]

    def test_what_a_command_made_stays(self):
        there = self.made(3, backups.MANUAL)
        assert self.kept(there) == ["h0", "h1", "h2"]


class TestSettings:
    def test_what_an_older_revision_lacks_makes_no_backups_by_itself(self):
        found = backups.settings({"gluster": {"mount": "/srv/shared"}})
        assert (found["folder"], found["every"], found["drill_every"]) == (
            *("/srv/shared/backups", 0, 0),
        )
        assert found["archive"] == {"enabled": False}

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"every": "hourly"}, "backup:every .*whole number from 0, not 'hourly'"),
            ({"every": True}, "backup:every .*not True"),
            ({"keep": {"daily": -1}}, "backup:keep:daily .*not -1"),
            ({"keep": {"montly": 1}}, "backup:keep .*no 'montly': there are hourly, daily, weekly"),
            ({"folder": "/var/backups"}, "backup:folder .*below /srv/shared, not '/var/backups'"),
        ],
    )
    def test_what_cannot_be_meant_is_refused(self, given, words):
        with pytest.raises(FleetError, match=words):
            backups.settings({"gluster": {"mount": "/srv/shared"}, "backup": given})


class TestRun:
    def test_it_is_made_on_a_secondary_and_noted(self, site, fleet):
        made = backup.run(site.master, fleet, "mine")
        assert (made["name"], made["kind"], made["member"]) == ("mine", "manual", "db-3")
        assert (made["removed"], made["problems"]) == ([], [])
        (call,) = [each for each in fleet.asked if each[0] == "mongodb_backup.dump"]
        assert call[1:] == (["db-3"], [f"{site.lying}/mine"], {"primary": False})
        assert backups.find(site.master, "mine")["sha256"] == made["sha256"]

    def test_a_secondary_without_the_volume_is_passed_over(self, site, fleet):
        fleet.unmounted = {"db-3"}
        assert backup.run(site.master, fleet)["member"] == "db-2"

    def test_where_none_can_each_says_why(self, site, fleet):
        fleet.unmounted = {"db-3"}
        fleet.states["db-2"] = "RECOVERING"
        with pytest.raises(FleetError) as refused:
            backup.run(site.master, fleet)
        assert refused.value.problems == [
            "no node can be used: a secondary with the volume mounted is wanted",
            f"db-3: the volume is not mounted on {site.mount}",
            "db-2: its mongod is RECOVERING",
            "db-1: its mongod is PRIMARY",
        ]
        assert backups.noted(site.master) == []

    def test_a_set_of_one_is_dumped_from_its_primary(self, site, fleet):
        site.write_topology({name: NODES[name] for name in ("boss", "one", "db-1")})
        site.settle()
        assert backup.run(site.master, fleet, "mine")["member"] == "db-1"
        assert fleet.asked[-1][3] == {"primary": True}

    def test_one_that_fails_is_not_noted(self, site, fleet):
        fleet.fails = {"mongodb_backup.dump": {"db-3": "the oplog rolled over"}}
        with pytest.raises(FleetError, match="db-3: the oplog rolled over"):
            backup.run(site.master, fleet)
        assert backups.noted(site.master) == []

    def test_a_name_is_used_once(self, site, fleet):
        backup.run(site.master, fleet, "mine")
        with pytest.raises(FleetError, match="there is a backup 'mine' already"):
            backup.run(site.master, fleet, "mine")

    def test_what_is_not_kept_is_removed_also_where_somebody_has_done_it(self, site, fleet):
        site.settle(keep={"hourly": 1, "daily": 1, "weekly": 1})
        old = DAY.replace(year=2020)
        for number in range(3):
            name = f"old{number}"
            (site.lying / name).mkdir()
            when = old + timedelta(minutes=number)
            backups.add(site.master, backups.SCHEDULED, name, info(when))
        fleet.fails = {"mongodb_backup.remove": {}}
        made = backup.run(site.master, fleet, kind=backups.SCHEDULED)
        assert made["removed"] == ["old0", "old1", "old2"]
        assert [path.name for path in site.lying.iterdir()] == [made["name"]]
        assert [each["name"] for each in backups.noted(site.master)] == [made["name"]]

    def test_one_that_cannot_be_removed_is_told_and_stays_noted(self, site, fleet):
        site.settle(keep={"hourly": 1, "daily": 1, "weekly": 1})
        backups.add(site.master, backups.SCHEDULED, "old", info(DAY.replace(year=2020)))
        fleet.fails = {"mongodb_backup.remove": {"db-3": "Input/output error"}}
        made = backup.run(site.master, fleet, kind=backups.SCHEDULED)
        assert made["problems"] == ["db-3: Input/output error"]
        assert len(backups.noted(site.master)) == 2
        fleet.fails = {"mongodb_backup.remove": {"db-1": "/x/old is no backup"}}
        assert backup.remove(site.master, fleet, "old", "old") == {"removed": "old"}
        assert len(backups.noted(site.master)) == 1

    def test_removing_wants_the_name_twice(self, site, fleet):
        backups.add(site.master, backups.MANUAL, "mine", info(DAY))
        with pytest.raises(FleetError, match=r"removes the backup mine of 2026.*confirm=mine"):
            backup.remove(site.master, fleet, "mine", None)
        assert fleet.asked == []

    def test_what_is_missing_and_what_is_unknown_is_listed(self, site, fleet):
        backup.run(site.master, fleet, "mine")
        backups.add(site.master, backups.MANUAL, "gone", info(DAY))
        (site.lying / "theirs").mkdir()
        found = backup.listing(site.master, fleet)
        assert [each["name"] for each in found["backups"]] == ["gone", "mine"]
        assert (found["missing"], found["problem"]) == (["gone"], None)
        assert [each["name"] for each in found["unknown"]] == ["theirs"]
        fleet.unmounted = set(NODES)
        assert "on no node" in backup.listing(site.master, fleet)["problem"]

    def test_one_of_another_master_is_noted_when_it_is_whole(self, site, fleet):
        assert backup.adopt(site.master, fleet, "theirs")["kind"] == "adopted"
        with pytest.raises(FleetError, match="theirs is noted already"):
            backup.adopt(site.master, fleet, "theirs")
        fleet.fails = {"mongodb_backup.verify": {"db-1": "is not whole: oplog.bson is damaged"}}
        with pytest.raises(FleetError, match="oplog.bson is damaged"):
            backup.adopt(site.master, fleet, "other")


class TestDrill:
    def test_what_it_came_to_is_noted(self, site, fleet):
        site.settle(archive={"enabled": True, "folder": "/a"})
        backup.run(site.master, fleet, "mine")
        found = drill.run(site.master, fleet)
        (call,) = [each for each in fleet.asked if each[0] == "mongodb_drill.run"]
        sha256 = backups.find(site.master)["sha256"]
        assert call[3] == {
            **{"sha256": sha256, "oplog": ["/a/1", "/a/2"], "oplog_sha256": {}, "target": "9:9"}
        }
        noted = backups.find(site.master)["drill"]
        assert (noted["problem"], noted["documents"]) == (None, 3) == (None, found["documents"])

    def test_one_that_fails_is_noted_too(self, site, fleet):
        backup.run(site.master, fleet, "mine")
        fleet.fails = {"mongodb_drill.run": {"db-3": "app.counters came out other"}}
        with pytest.raises(FleetError, match="drill of the backup mine failed: .*came out other"):
            drill.run(site.master, fleet)
        assert "came out other" in backups.find(site.master)["drill"]["problem"]


class TestTending:
    def test_what_is_due_is_done_and_what_is_not_is_not(self, site, fleet):
        site.settle(drill_every=3600, archive={"enabled": True, "folder": "/a"})
        assert [each.split(":")[0] for each in tending.tend(site.master, fleet)["did"]] == [
            *("backup", "drill", "archive")
        ]
        assert tending.last(site.master)["problems"] == []
        assert [each.split(":")[0] for each in tending.tend(site.master, fleet)["did"]] == [
            "archive"
        ]
        (entry,) = backups.noted(site.master)
        long_ago = datetime.now(UTC) - timedelta(seconds=3601)
        backups.update(site.master, entry["name"], ended=long_ago.isoformat())
        assert tending.tend(site.master, fleet)["did"][0].startswith("backup: ")

    def test_one_that_fails_hinders_no_other(self, site, fleet):
        site.settle(drill_every=3600, archive={"enabled": True, "folder": "/a"})
        backups.add(site.master, backups.MANUAL, "old", info(DAY))
        fleet.fails = {"mongodb_backup.dump": {"db-3": "no room"}}
        found = tending.tend(site.master, fleet)
        assert found["retcode"] == 1
        assert found["problems"] == ["backup: mongodb_backup.dump failed on db-3: no room"]
        assert [each.split(":")[0] for each in found["did"]] == ["drill", "archive"]

    def test_what_the_archive_has_closed_is_noted_before_it_is_proved(
        self, site, fleet, monkeypatch
    ):
        monkeypatch.setattr(volume, "require", lambda mount: None)
        archive = site.mount / "oplog" / "first"
        archive.mkdir(parents=True)
        backups.add(site.master, backups.MANUAL, "mine", info(DAY))
        seconds = int(DAY.timestamp())
        name = f"{seconds:010d}.0000000001-{seconds + 9:010d}.0000000001.bson.gz"
        (archive / name).write_bytes(b"oplog")
        fleet.segments = [str(archive / name), str(archive / "open")]
        site.settle(
            every=0, drill_every=1, archive={"enabled": True, "folder": str(archive.parent)}
        )
        found = tending.tend(site.master, fleet)
        assert found["did"][0] == "files of the archive: noted 1, copied 0, removed 0"
        assert found["problems"] == []
        (chain,) = [each for each in fleet.asked if each[0] == "mongodb_archive.chain"]
        assert chain[3] == {"timeline": "first", "known": [name]}
        sha256 = hashlib.sha256(b"oplog").hexdigest()
        (proof,) = [each for each in fleet.asked if each[0] == "mongodb_drill.run"]
        assert proof[3]["oplog_sha256"] == {str(archive / name): sha256}
        target = "2026-11-20T00:00:05Z"
        restore.restore(site.master, fleet, "mine", target, confirm="rs0")
        (back,) = [each for each in fleet.asked if each[0] == "mongodb_backup.restore"]
        assert back[3]["oplog_sha256"] == {str(archive / name): sha256}

    def test_a_drill_that_failed_is_made_again_soon(self, site, fleet):
        site.settle(every=0, drill_every=86400)
        backups.add(site.master, backups.MANUAL, "mine", info(DAY))

        def drilled(problem, **since):
            ended = (datetime.now(UTC) - timedelta(**since)).isoformat()
            backups.update(site.master, "mine", drill={"ended": ended, "problem": problem})
            return len(tending.tend(site.master, fleet)["did"])

        assert drilled(None, hours=23) == 0
        assert drilled(None, hours=25) == 1
        assert drilled("no primary", minutes=10) == 0
        assert drilled("no primary", minutes=20) == 1

    def test_nothing_is_done_while_a_change_runs_or_a_restore_waits(self, site, fleet):
        with Change(site.master, "rollout"):
            assert tending.tend(site.master, fleet)["did"] == []
        unfinished.note(site.master, unfinished.RESTORE, backup="mine", since="now")
        assert tending.tend(site.master, fleet)["did"] == []
        assert fleet.asked == []

    def test_nothing_is_done_before_the_first_rollout(self, site, fleet):
        (site.master.state / "base").unlink()
        assert tending.tend(site.master, fleet) == {"did": [], "problems": []}


class TestRestore:
    @pytest.fixture(autouse=True)
    def mine(self, site):
        (site.lying / "mine").mkdir()
        backups.add(site.master, backups.MANUAL, "mine", info(DAY))

    def test_without_the_sets_name_it_says_what_would_be_gone(self, site, fleet):
        for confirm in (None, "rs1"):
            with pytest.raises(
                FleetError,
                match="removes from the replica set rs0: app with 1 collections and about 7 doc"
                r".*say confirm=rs0",
            ):
                restore.restore(site.master, fleet, confirm=confirm)
        assert history(site.master.state) == []
        assert "mongodb_backup.restore" not in fleet.functions()

    def test_a_test_says_the_steps(self, site, fleet):
        found = restore.restore(site.master, fleet, test=True)
        assert found["steps"] == list(restore.STEPS)
        assert history(site.master.state) == []

    def test_the_application_is_shut_out_what_is_there_is_kept_and_then_it_is_restored(
        self, site, fleet
    ):
        moving = {}
        fleet.watch = lambda function: moving.setdefault(function, revision.moving(site.master))
        done = restore.restore(site.master, fleet, confirm="rs0")
        assert fleet.functions() == [
            "mongodb_backup.verify",
            "mongodb.role_update",
            "mongodb_backup.dump",
            "mongodb_backup.restore",
            "state.sls",
            "service.start",
            "counterapp.wait_ready",
            "mongodb_backup.dump",
        ]
        # A highstate of theirs would have let the application in.
        assert set(moving["mongodb_backup.restore"]) == {"db-1", "db-2", "db-3"}
        assert revision.moving(site.master) == {}
        assert unfinished.problems(site.master) == []
        (call,) = [each for each in fleet.asked if each[0] == "mongodb_backup.restore"]
        sha256 = backups.find(site.master, "mine")["sha256"]
        assert call[3] == {"drop": True, "confirm": "rs0", "sha256": sha256}
        kinds = [each["kind"] for each in backups.noted(site.master)]
        assert kinds == ["manual", "before-restore", "scheduled"]
        assert done["kept"] == backups.noted(site.master)[1]["name"]
        assert history(site.master.state)[0]["outcome"] == "succeeded"

    def test_a_target_takes_the_newest_backup_before_it_and_the_archive(self, site, fleet):
        site.settle(archive={"enabled": True, "folder": "/a"})
        backups.add(site.master, backups.MANUAL, "later", info(DAY + timedelta(hours=5)))
        done = restore.restore(site.master, fleet, target="2026-11-20T03:00:00Z", confirm="rs0")
        assert done["backup"] == "mine"
        (call,) = [each for each in fleet.asked if each[0] == "mongodb_backup.restore"]
        assert call[3]["oplog"] == ["/a/1", "/a/2"]
        assert call[3]["target"] == "2026-11-20T03:00:00Z"
        with pytest.raises(FleetError, match="no backup from before 2026-11-19.*oldest is of 2026"):
            restore.restore(site.master, fleet, target="2026-11-19T03:00:00Z", confirm="rs0")

    def test_a_set_that_is_gone_is_made_anew_without_its_application(self, site, fleet):
        fleet.gone = True
        told = restore.restore(site.master, fleet, test=True)
        assert told["steps"] == [restore.ANEW, *restore.STEPS]
        assert told["gone"] == []
        done = restore.restore(site.master, fleet, confirm="rs0")
        assert done["kept"] is None
        stopped = fleet.functions().index("service.stop")
        assert fleet.functions()[stopped:] == [
            "service.stop",
            "state.sls",
            "state.sls",
            "mongodb.wait_healthy",
            "state.sls",
            "mongodb.role_update",
            "mongodb_backup.restore",
            "state.sls",
            "service.start",
            "counterapp.wait_ready",
            "mongodb_backup.dump",
        ]
        asked = [call for call in fleet.asked if str(call[0]).startswith("service.")]
        assert {(nodes[0], *arg) for _, nodes, arg, _ in asked} == {("one", "counterapp")}

    def test_a_set_of_which_a_member_does_not_run_is_not_gone(self, site, fleet):
        fleet.gone, fleet.stopped = True, {"db-2"}
        fleet.fails = {"mongodb_backup.state": {"db-1": "there is no primary"}}
        with pytest.raises(FleetError, match="there is no primary"):
            restore.restore(site.master, fleet, confirm="rs0")

    def test_the_latest_is_all_that_the_archive_has_since_a_backup(self, site, fleet):
        site.settle(archive={"enabled": True, "folder": "/a"})
        # Of the set that was begun anew after the loss.
        empty = info(DAY + timedelta(hours=5), timeline="second")
        backups.add(site.master, backups.SCHEDULED, "empty", empty)
        done = restore.restore(site.master, fleet, "mine", "latest", confirm="rs0")
        assert (done["backup"], done["target"]) == ("mine", "9:9")
        (asked,) = [each for each in fleet.asked if each[0] == "mongodb_archive.chain"]
        assert asked[3] == {"timeline": "first", "known": []}
        (call,) = [each for each in fleet.asked if each[0] == "mongodb_backup.restore"]
        assert (call[3]["oplog"], call[3]["target"]) == (["/a/1", "/a/2"], "9:9")

    def test_the_latest_is_the_backup_where_nothing_has_happened_since(self, site, fleet):
        site.settle(archive={"enabled": True, "folder": "/a"})
        fleet.segments = []
        with pytest.raises(FleetError, match=r"what it had at 2026-11-20T\S+ from the backup mine"):
            restore.restore(site.master, fleet, target="latest")
        done = restore.restore(site.master, fleet, target="latest", confirm="rs0")
        assert (done["backup"], done["target"]) == ("mine", None)
        (call,) = [each for each in fleet.asked if each[0] == "mongodb_backup.restore"]
        assert "oplog" not in call[3]

    def test_without_an_archive_only_the_time_of_a_backup_can_be_had(self, site, fleet):
        with pytest.raises(FleetError, match="backup:archive:enabled .* is false"):
            restore.restore(site.master, fleet, target="2026-11-20T03:00:00Z", confirm="rs0")

    def test_what_fails_before_anything_is_removed_is_undone(self, site, fleet):
        fleet.fails = {"mongodb_backup.dump": {"db-3": "no room"}}
        with pytest.raises(StepFailed, match="backing up what is in the set: .*no room"):
            restore.restore(site.master, fleet, confirm="rs0")
        assert fleet.functions()[-2:] == ["state.sls", "service.start"]
        assert unfinished.problems(site.master) == []
        assert revision.moving(site.master) == {}
        assert history(site.master.state)[0]["outcome"] == "undone"

    def test_one_that_fails_half_way_is_given_again(self, site, fleet):
        fleet.fails = {"mongodb_backup.restore": {"db-1": "the primary has gone"}}
        fleet.breaks = {"since": "now"}
        with pytest.raises(StepFailed, match="the primary has gone"):
            restore.restore(site.master, fleet, confirm="rs0")
        assert history(site.master.state)[0]["outcome"] == "failed"
        (told,) = unfinished.problems(site.master)
        assert "restore of the backup mine, begun at" in told
        assert "salt-run backup.restore" in told
        with pytest.raises(FleetError, match="has not come to its end"):
            backup.run(site.master, fleet)
        fleet.fails, fleet.asked = {}, []
        done = restore.restore(site.master, fleet, confirm="rs0")
        # What is half restored is worth no backup.
        assert fleet.functions().count("mongodb_backup.dump") == 1
        assert done["kept"] is None
        assert unfinished.problems(site.master) == []

    def test_one_that_is_refused_before_anything_is_removed_is_undone(self, site, fleet):
        fleet.fails = {"mongodb_backup.restore": {"db-1": "/a/2 is damaged"}}
        with pytest.raises(StepFailed, match="/a/2 is damaged"):
            restore.restore(site.master, fleet, confirm="rs0")
        assert unfinished.problems(site.master) == []
        assert history(site.master.state)[0]["outcome"] == "undone"

    def test_the_application_is_shut_out_by_its_role_whoever_its_user_is(self, site, fleet):
        site.pillar("mongodb", {"replica_set": "rs0", "app_user": "app-b", "app_database": "app"})
        site.settle()
        restore.restore(site.master, fleet, confirm="rs0")
        (call,) = [each for each in fleet.asked if each[0] == "mongodb.role_update"]
        assert call[2:] == (["app", []], {"database": "app"})

    def test_one_that_died_is_taken_up_again_and_others_wait_for_it(self, site, fleet):
        class Killed(BaseException):
            pass

        def kill(function):
            if function == "mongodb_backup.restore":
                raise Killed

        fleet.watch = kill
        with pytest.raises(Killed):
            restore.restore(site.master, fleet, confirm="rs0")
        assert unfinished.problems(site.master)
        assert set(revision.moving(site.master)) == {"db-1", "db-2", "db-3"}
        fleet.watch = lambda function: None
        restore.restore(site.master, fleet, confirm="rs0")
        assert revision.moving(site.master) == {}

    def test_it_does_not_go_on_over_what_another_change_has_left(self, site, fleet):
        revision.offer(revision.base(site.master))
        revision.move(site.master, ["one"], "20261128-000000-abcd")
        with pytest.raises(FleetError, match="two revisions since the change 20261128-0000"):
            restore.restore(site.master, fleet, confirm="rs0")
        assert "mongodb.role_update" not in fleet.functions()


def test_the_notes_are_private(site):
    backups.add(site.master, backups.MANUAL, "mine", info(DAY))
    path = site.master.config / backups.NOTES
    assert path.stat().st_mode & 0o077 == 0
    assert json.loads(path.read_text())["backups"][0]["name"] == "mine"
