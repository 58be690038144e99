"""A data folder is emptied, and what was in it set aside, also when that is interrupted."""

import os
import pathlib
from unittest.mock import patch

import pytest
from salt.exceptions import CommandExecutionError

from tests.support.loading import load

data = load("_utils/mongodb_data.py")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "var" / "mongodb"
    (made / "journal").mkdir(parents=True)
    (made / "lost+found").mkdir()
    (made / "WiredTiger").write_text("of old")
    (made / "journal" / "log").write_bytes(b"x" * 100_000)
    return made


def names(path):
    return sorted(each.name for each in path.iterdir())


def test_contents_are_set_aside_in_the_folder_itself(folder):
    assert data.check(str(folder), running=False) == folder
    assert 100_000 <= data.size(folder) < 200_000
    data.empty(folder, keep=True)
    assert names(folder) == [data.ASIDE, "lost+found"]
    assert names(folder / data.ASIDE) == ["WiredTiger", "journal"]
    assert (folder / data.ASIDE).stat().st_mode & 0o777 == 0o700
    assert data.size(folder) == 0
    # What a mongod has begun since is worth nothing, what was there first is kept.
    (folder / "WiredTiger").write_text("of new")
    data.empty(folder, keep=True)
    assert (folder / data.ASIDE / "WiredTiger").read_text() == "of old"
    assert names(folder) == [data.ASIDE, "lost+found"]
    data.forget(folder)
    assert names(folder) == ["lost+found"]
    data.forget(folder)


def test_without_room_nothing_is_kept(folder):
    data.empty(folder, keep=True)
    (folder / "WiredTiger").write_text("of new")
    data.empty(folder, keep=False)
    assert names(folder) == ["lost+found"]


def test_one_that_died_half_way_goes_on(folder):
    moved = []
    rename = pathlib.Path.rename

    def dies(path, target):
        if moved:
            raise KeyboardInterrupt
        moved.append(path.name)
        return rename(path, target)

    with patch.object(pathlib.Path, "rename", dies), pytest.raises(KeyboardInterrupt):
        data.empty(folder, keep=True)
    assert data.check(str(folder), running=False) == folder
    data.empty(folder, keep=True)
    assert names(folder / data.ASIDE) == ["WiredTiger", "journal"]


def test_the_room_that_there_is_decides(folder):
    assert data.room(folder, 2**20) is True
    with patch.object(data.shutil, "disk_usage") as usage:
        usage.return_value.free = 50_000
        # In the place of what is there it fits.
        assert data.room(folder, 100_000) is False
        with pytest.raises(
            CommandExecutionError, match="is too small: the set's data take 1100 MiB"
        ):
            data.room(folder, 1000 * 2**20)


def test_what_is_no_data_folder_is_refused(folder, tmp_path):
    other = tmp_path / "var" / "home"
    other.mkdir()
    (other / "letter").write_text("")
    for wrong in ("mongodb", "/", "/var", f"{folder}/../home", other, tmp_path / "none"):
        with pytest.raises(CommandExecutionError, match="set mongodb:dbpath"):
            data.check(str(wrong), running=False)
    empty = tmp_path / "var" / "empty"
    empty.mkdir()
    assert data.check(str(empty), running=False) == empty


def test_a_mongod_that_runs_has_its_lock_there(folder):
    def refused():
        with pytest.raises(CommandExecutionError, match="no running mongod has its data in"):
            data.check(str(folder), running=True)

    refused()
    lock = folder / "mongod.lock"
    for text in ("", "nonsense", "99999999\n"):
        lock.write_text(text)
        refused()
    lock.write_text(f"{os.getpid()}\n")
    assert data.check(str(folder), running=True) == folder
