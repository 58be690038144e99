"""The archive's closed files: noted, at the second place, and brought back; with a real rsync."""

import hashlib
import json
import os
import pathlib
import shutil

import pytest

from fleet import backups, fetching, keeping, second, second_archive, segments, volume
from fleet.errors import FleetError
from fleet.master import Master

LINE = "first"
ALL = [(100, 110), (110, 120), (120, 130)]


def name(first, last):
    return f"{first:010d}.0000000001-{last:010d}.0000000001.bson.gz"


class Archive:
    """A volume with an archive, a second place, and a master with a backup of the time 105."""

    def __init__(self, folder):
        self.master = Master(
            {
                "id": "boss",
                "counterapp_config": str(folder / "config"),
                "counterapp_state": str(folder / "state"),
            }
        )
        self.master.state.mkdir()
        self.place, self.mount = folder / "second", folder / "volume"
        self.folder = self.mount / "oplog" / LINE
        self.there = self.place / second_archive.FOLDER / LINE
        for each in (self.place, self.folder, self.mount / "backups"):
            each.mkdir(parents=True)
        self.chosen = {
            **{"mount": str(self.mount), "folder": str(self.mount / "backups")},
            "second": {"folder": str(self.place), "mounted": False},
            "archive": {"enabled": True, "folder": str(self.mount / "oplog")},
        }
        self.back_up("mine", 105)

    def back_up(self, called, seconds):
        to = {"time": f"{seconds}:1", "wall": f"1970-01-01T00:{seconds // 60:02d}:00+00:00"}
        manifest = json.dumps({"timeline": LINE, "to": to}).encode()
        path = pathlib.Path(self.chosen["folder"]) / called / second.MANIFEST
        path.parent.mkdir()
        path.write_bytes(manifest)
        info = {
            **{"set": "rs0", "ended": to["wall"], "bytes": 1, "collections": {}},
            **{"sha256": hashlib.sha256(manifest).hexdigest(), "to": to, "timeline": LINE},
        }
        return backups.add(self.master, backups.SCHEDULED, called, info)

    def close(self, *ends):
        for first, last in ends:
            (self.folder / name(first, last)).write_bytes(os.urandom(1000))

    def keep(self, **chosen):
        return keeping.keep(self.master, {**self.chosen, **chosen})

    def fetch(self):
        return fetching.fetch(self.master, self.chosen, "mine")

    def index(self):
        text = (self.place / second_archive.FOLDER / segments.NOTES).read_text()
        return sorted(json.loads(text).get(LINE, {}))


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.setattr(volume, "require", lambda path: None)
    return Archive(tmp_path)


def tree(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_closed_is_noted_and_copied_once(archive):
    archive.close(*ALL[:2])
    (archive.folder / "0000000120.0000000001-open-abc.bson.gz").write_bytes(b"open")
    (archive.folder / "0000000110.0000000001-gap.json").write_text("{}")
    assert archive.keep() == {"noted": 2, "copied": 2, "removed": 0}
    assert archive.keep() == {"noted": 0, "copied": 0, "removed": 0}
    archive.close(ALL[2])
    assert archive.keep() == {"noted": 1, "copied": 1, "removed": 0}
    names = [name(*each) for each in ALL]
    assert archive.index() == names
    assert tree(archive.there) == {each: (archive.folder / each).read_bytes() for each in names}
    assert {path.stat().st_mode & 0o077 for path in archive.place.rglob("*")} == {0}
    assert second.names(archive.master, archive.chosen) == []
    assert list(archive.master.state.iterdir()) == []
    (entry,) = backups.noted(archive.master)
    assert segments.known(archive.master, entry) == {
        each: hashlib.sha256((archive.folder / each).read_bytes()).hexdigest() for each in names
    }


def test_without_a_second_place_it_is_noted_and_copied_when_there_is_one(archive):
    archive.close(*ALL)
    assert archive.keep(second=None) == {"noted": 3, "copied": 0, "removed": 0}
    assert archive.keep() == {"noted": 0, "copied": 3, "removed": 0}


def test_a_second_place_that_is_another_one_gets_all_again(archive):
    archive.close(*ALL)
    archive.keep()
    shutil.rmtree(archive.place)
    archive.place.mkdir()
    assert archive.keep() == {"noted": 0, "copied": 3, "removed": 0}
    assert len(archive.index()) == len(tree(archive.there)) == 3


def test_many_go_a_part_at_a_time_and_one_that_fails_goes_on(archive, monkeypatch):
    monkeypatch.setattr(segments, "_BATCH", 1500)
    archive.close(*ALL)
    real, calls = second.Place.rsync, []

    def fails(place, words, *more):
        calls.append(words)
        if len(calls) > 3:
            raise FleetError("the place is away")
        return real(place, words, *more)

    monkeypatch.setattr(second.Place, "rsync", fails)
    # The index is read, a batch and the index are written, and then the next batch fails.
    with pytest.raises(FleetError, match="the place is away"):
        archive.keep()
    assert archive.index() == [name(*ALL[0])]
    monkeypatch.setattr(second.Place, "rsync", real)
    assert archive.keep()["copied"] == 2
    assert len(archive.index()) == 3


def test_what_was_altered_since_it_was_noted_is_named_and_the_rest_is_copied(archive):
    archive.close(*ALL)
    archive.keep(second=None)
    (archive.folder / name(*ALL[1])).write_bytes(b"forged")
    with pytest.raises(FleetError, match=rf"{name(*ALL[1])} is another file than the one noted"):
        archive.keep()
    assert archive.index() == [name(*ALL[0]), name(*ALL[2])]
    assert sorted(tree(archive.there)) == archive.index()


def test_what_comes_late_or_from_the_future_is_neither_noted_nor_taken_for_known(archive):
    archive.close(*ALL)
    archive.keep()
    archive.close((105, 125), (130, 4294967295), (130, 9999999999))
    assert archive.keep() == {"noted": 0, "copied": 0, "removed": 0}
    archive.close((125, 140))
    assert archive.keep()["noted"] == 1


def test_no_link_and_nothing_else_than_a_file_is_read(archive, tmp_path):
    (tmp_path / "secret").write_text("of the master's")
    (archive.folder / name(*ALL[0])).symlink_to(tmp_path / "secret")
    os.mkfifo(archive.folder / name(*ALL[1]))
    archive.close(ALL[2])
    with pytest.raises(FleetError) as told:
        archive.keep()
    assert f"{name(*ALL[0])} cannot be read" in str(told.value)
    assert f"{name(*ALL[1])} cannot be read: it is no file" in str(told.value)
    assert archive.index() == [name(*ALL[2])]


def test_what_no_backup_needs_any_more_goes_from_both(archive):
    archive.close(*ALL)
    archive.keep()
    archive.back_up("new", 125)
    backups.forget(archive.master, ["mine"])
    assert archive.keep() == {"noted": 0, "copied": 0, "removed": 2}
    assert archive.index() == sorted(tree(archive.there)) == [name(*ALL[2])]
    # Of another master's, which this one knows nothing of.
    stranger = archive.place / second_archive.FOLDER / "other" / "stranger"
    stranger.parent.mkdir()
    stranger.touch()
    archive.back_up("newest", 300)
    backups.forget(archive.master, ["new"])
    assert archive.keep()["removed"] == 1
    assert tree(archive.there) == {}
    assert stranger.exists()
    assert segments.noted(archive.master) == {}


def test_a_new_master_takes_nothing_away_from_what_the_old_one_has_copied(archive, tmp_path):
    archive.close(*ALL)
    archive.keep()
    copied = archive.place / "mine"
    copied.mkdir()
    (copied / second.MANIFEST).touch()
    backups.forget(archive.master, ["mine"])
    (archive.master.config / segments.NOTES).unlink()
    before = archive.index()
    # Of the new set, which is empty, and on no volume that has the old one's archive.
    archive.back_up("new", 500)
    for path in archive.folder.iterdir():
        path.unlink()
    archive.close((490, 510))
    assert archive.keep() == {"noted": 1, "copied": 1, "removed": 0}
    assert archive.index() == [*before, name(490, 510)]
    # The old backup is noted again, and all that follows it is there.
    shutil.rmtree(pathlib.Path(archive.chosen["folder"]) / "mine")
    archive.back_up("mine", 105)
    assert archive.fetch()["brought"] == 3
    assert archive.keep() == {"noted": 0, "copied": 0, "removed": 0}
    # Until then nothing is removed, whatever the notes say.
    backups.forget(archive.master, ["mine"])
    assert archive.keep()["removed"] == 0
    shutil.rmtree(copied)
    assert archive.keep()["removed"] == 3


def test_all_is_brought_back_to_a_new_volume_by_a_new_master(archive):
    archive.close(*ALL)
    before = tree(archive.folder)
    archive.keep()
    shutil.rmtree(archive.folder)
    (archive.master.config / segments.NOTES).unlink()
    until = {"time": "130:1", "wall": "1970-01-01T00:02:10+00:00"}
    assert archive.fetch() == {"brought": 3, "there": 0, "until": until}
    assert tree(archive.folder) == before
    assert archive.folder.stat().st_mode & 0o777 == 0o700
    assert archive.fetch() == {"brought": 0, "there": 3, "until": until}
    assert archive.keep() == {"noted": 0, "copied": 0, "removed": 0}


def test_one_that_was_altered_is_put_right(archive):
    archive.close(*ALL)
    archive.keep()
    path = archive.folder / name(*ALL[1])
    before = path.read_bytes()
    path.write_bytes(b"forged")
    assert archive.fetch()["brought"] == 1
    assert path.read_bytes() == before


def test_a_gap_at_the_second_place_ends_what_can_be_reached(archive):
    archive.close(ALL[0], ALL[2])
    archive.keep()
    assert archive.fetch()["until"]["time"] == "110:1"
    archive.back_up("late", 200)
    assert fetching.fetch(archive.master, archive.chosen, "late")["until"] is None


def test_a_second_place_that_lies_is_not_believed(archive):
    archive.close(*ALL)
    archive.keep()
    shutil.rmtree(archive.folder)
    (archive.there / name(*ALL[1])).write_bytes(b"forged")
    with pytest.raises(FleetError, match=rf"{name(*ALL[1])} at the second place is not what"):
        archive.fetch()
    assert name(*ALL[1]) not in tree(archive.folder)
    index = archive.place / second_archive.FOLDER / segments.NOTES
    said = json.loads(index.read_text())
    said[LINE][name(*ALL[1])]["sha256"] = hashlib.sha256(b"forged").hexdigest()
    index.write_text(json.dumps(said))
    with pytest.raises(FleetError, match="another file than the one noted in"):
        archive.fetch()
    index.write_text("{")
    with pytest.raises(FleetError, match=rf"{segments.NOTES} is damaged"):
        archive.fetch()


def test_where_no_archive_was_copied_nothing_is_brought_back(archive):
    assert archive.fetch() == {"brought": 0, "there": 0, "until": None}
    with pytest.raises(FleetError, match="has noted no backup 'none'"):
        fetching.fetch(archive.master, archive.chosen, "none")
    archive.chosen["archive"]["folder"] = "/elsewhere"
    with pytest.raises(FleetError, match="its folder /elsewhere is not on the volume"):
        archive.fetch()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"first": {"x": {}}}',
        '{"../x": {"0000000100.0000000001-0000000110.0000000001.bson.gz": {}}}',
        '{"a": {"/x/0000000100.0000000001-0000000110.0000000001.bson.gz": {"sha256": "0"}}}',
        '{"a": {"0000000100.0000000001-0000000110.0000000001.bson.gz": {"sha256": "0"}}}',
    ],
)
def test_notes_that_are_damaged_are_told(archive, text):
    (archive.master.config / segments.NOTES).write_text(text)
    with pytest.raises(FleetError, match=rf"{segments.NOTES} is damaged"):
        archive.keep()
