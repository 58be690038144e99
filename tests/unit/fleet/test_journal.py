"""What a change writes down, and the history of those that have ended."""

import os
import re

import pytest

from fleet import files, journal
from fleet.errors import FleetError
from fleet.journal import Journal

IDS = ["20261127-210000-0000", "20261127-220000-0000", "20261127-220000-0001"]


def test_an_id_tells_when_it_began():
    made = journal.make_id()
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{4}", made)
    assert journal.make_id() != made


def test_a_journal_keeps_its_lines_in_order(tmp_path):
    one = Journal(tmp_path, IDS[0])
    assert one.lines() == []
    one.write("begun", kind="rollout")
    one.write("ended", outcome="succeeded")
    assert [line["event"] for line in one.lines()] == ["begun", "ended"]
    assert all(line["time"] for line in one.lines())
    assert one.path.parent.stat().st_mode & 0o077 == 0


def test_the_last_word_on_each_thing_counts(tmp_path):
    one = Journal(tmp_path, IDS[0])
    one.write("begun", kind="rollout", to="1")
    one.write("note", touched={"web": ["web-1"]})
    one.write("begins", stage="web", node="web-1", step="draining it")
    one.write("note", touched={"web": ["web-1", "web-2"]}, to="2")
    assert one.facts() == {
        "kind": "rollout",
        "to": "2",
        "touched": {"web": ["web-1", "web-2"]},
    }


def test_it_says_what_a_change_was_at(tmp_path):
    one = Journal(tmp_path, IDS[0])
    assert one.at() is None

    def begins(step):
        one.write("begins", stage="web", node="web-1", step=step)

    def ends(event, step):
        one.write(event, stage="web", node="web-1", step=step)

    begins("replacing it")
    begins("draining it")
    assert one.at()["step"] == "draining it"
    ends("done", "draining it")
    assert one.at()["step"] == "replacing it"
    begins("applying web")
    ends("fails", "applying web")
    ends("fails", "replacing it")
    assert one.at() is None


def test_a_line_that_a_crash_has_cut_takes_no_other_with_it(tmp_path):
    one = Journal(tmp_path, IDS[0])
    one.write("begun", kind="rollout")
    with one.path.open("a") as stream:
        stream.write('{"event": "no')
    assert [line["event"] for line in one.lines()] == ["begun"]
    one.write("ended")
    assert [line["event"] for line in one.lines()] == ["begun", "ended"]


def test_a_journal_is_found_by_its_id_or_as_the_last(tmp_path):
    with pytest.raises(FleetError, match="there was no change yet"):
        journal.find(tmp_path, None)
    for id_ in IDS:
        Journal(tmp_path, id_).write("begun")
    assert journal.journals(tmp_path) == IDS
    assert journal.find(tmp_path, None).id == IDS[2]
    assert journal.find(tmp_path, IDS[0]).id == IDS[0]


@pytest.mark.parametrize("wrong", ["20261127-230000-0000", "../../etc/passwd", "x", ""])
def test_an_unknown_journal_is_named(tmp_path, wrong):
    Journal(tmp_path, IDS[0]).write("begun")
    if not wrong:
        assert journal.find(tmp_path, wrong).id == IDS[0]
        return
    with pytest.raises(FleetError, match=f"{IDS[0]}.*rollout.history"):
        journal.find(tmp_path, wrong)


def test_the_oldest_journals_are_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "KEPT", 2)
    for id_ in IDS:
        Journal(tmp_path, id_).write("begun")
    journal.prune(tmp_path)
    assert journal.journals(tmp_path) == IDS[1:]
    journal.prune(tmp_path)
    assert journal.journals(tmp_path) == IDS[1:]


def test_the_history_is_newest_first_and_outlives_a_cut_line(tmp_path):
    assert journal.history(tmp_path) == []
    for number in range(3):
        journal.record(tmp_path, {"number": number})
    with (tmp_path / "history.jsonl").open("a") as stream:
        stream.write('{"number": 3')
    assert [entry["number"] for entry in journal.history(tmp_path)] == [2, 1, 0]
    assert [entry["number"] for entry in journal.history(tmp_path, limit=1)] == [2]
    journal.record(tmp_path, {"number": 4})
    assert [entry["number"] for entry in journal.history(tmp_path)] == [4, 2, 1, 0]


# The files beneath


def test_a_file_is_replaced_in_one_step(tmp_path, monkeypatch):
    path = tmp_path / "folder/file"
    files.write(path, "old")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("old", 0o600)

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fleet.files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write(path, "new")
    assert path.read_text() == "old"
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_a_link_is_pointed_in_one_step(tmp_path):
    link = tmp_path / "folder/base"
    files.point(link, "one")
    before = link.lstat().st_ino
    files.point(link, "one")
    assert link.lstat().st_ino == before
    # Of an earlier process with the same PID.
    link.with_name(f".base.{os.getpid()}").symlink_to("dead")
    files.point(link, "two")
    assert str(link.readlink()) == "two"
    assert [each.name for each in link.parent.iterdir()] == ["base"]
