"""The second place of backups: a folder, with rsync's real program."""

import hashlib
import os
import pathlib
import shutil

import pytest

from fleet import backups, second, volume
from fleet.errors import FleetError
from fleet.master import Master

NAME = "2026-11-28T031200Z"


@pytest.fixture
def master(tmp_path):
    return Master({"id": "boss", "counterapp_config": str(tmp_path / "config")})


@pytest.fixture
def chosen(tmp_path, monkeypatch):
    """The settings, with a volume and a second place on the tests' own filesystem."""
    place, mount = tmp_path / "second", tmp_path / "volume"
    place.mkdir()
    mount.mkdir()
    monkeypatch.setattr(volume, "require", lambda path: None)
    return {
        **{"mount": str(mount), "folder": str(mount / "backups")},
        "second": {"folder": str(place), "mounted": False},
    }


@pytest.fixture
def place(chosen):
    return pathlib.Path(chosen["second"]["folder"])


def made(master, chosen, name=NAME):
    """A backup on the volume, noted."""
    folder = pathlib.Path(chosen["folder"]) / name
    (folder / "shop").mkdir(parents=True)
    (folder / "oplog.bson").write_bytes(b"oplog")
    (folder / "shop/things.bson.gz").write_bytes(os.urandom(100_000))
    manifest = folder / second.MANIFEST
    manifest.write_text(f'{{"name": "{name}"}}')
    info = {
        **{"set": "rs0", "ended": "2026-11-28T03:12:05+00:00", "bytes": 1, "collections": {}},
        "sha256": hashlib.sha256(manifest.read_bytes()).hexdigest(),
        "to": {"time": "9:9", "wall": "2026-11-28T03:12:00+00:00"},
    }
    return folder, backups.add(master, backups.SCHEDULED, name, info)


def tree(folder):
    """The names and contents of all files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_copy_is_the_same_for_root_alone_and_noted(master, chosen, place):
    folder, entry = made(master, chosen)
    assert second.copy(master, chosen, entry) is True
    assert tree(place / NAME) == tree(folder)
    assert {path.stat().st_mode & 0o077 for path in (place / NAME).rglob("*")} == {0}
    assert second.names(master, chosen) == [NAME]
    noted = backups.find(master, NAME)
    assert noted["second"]
    assert second.copy(master, chosen, noted) is False


def test_one_that_is_partial_is_none_until_it_is_gone_on_with(master, chosen, place):
    folder, entry = made(master, chosen)
    (place / NAME / "shop").mkdir(parents=True)
    (place / NAME / "shop/things.bson.gz").write_bytes(b"the beginning")
    (place / NAME / "stranger").write_bytes(b"")
    assert second.names(master, chosen) == []
    second.copy(master, chosen, entry)
    assert tree(place / NAME) == tree(folder)


def test_another_backup_under_the_same_name_is_not_copied(master, chosen, place):
    folder, entry = made(master, chosen)
    (folder / second.MANIFEST).write_text("{}")
    with pytest.raises(FleetError, match="is another backup than the one noted"):
        second.copy(master, chosen, entry)
    assert list(place.iterdir()) == []


def test_no_link_of_a_node_leads_elsewhere(master, chosen, place, tmp_path):
    folder, entry = made(master, chosen)
    (tmp_path / "secret").write_text("of the master's")
    (folder / "link").symlink_to(tmp_path / "secret")
    second.copy(master, chosen, entry)
    assert "link" not in {path.name for path in (place / NAME).iterdir()}


def test_no_link_in_a_folders_place_leads_elsewhere(master, chosen, place, tmp_path):
    folder, entry = made(master, chosen)
    second.copy(master, chosen, entry)
    backups.update(master, NAME, second=None)
    elsewhere = tmp_path / "elsewhere"
    # Of the backup, and of all of them: what root of any node can make of the volume.
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    with pytest.raises(FleetError, match=f"{NAME} is a link or a file, and no folder"):
        second.copy(master, chosen, backups.find(master, NAME))
    folder.unlink()
    folder.with_name(f".{NAME}.fetched").symlink_to(elsewhere)
    with pytest.raises(FleetError, match=r"\.fetched is a link or a file, and no folder"):
        second.fetch(master, chosen, NAME)
    folder.with_name(f".{NAME}.fetched").unlink()
    folder.parent.rmdir()
    (tmp_path / "empty").mkdir()
    folder.parent.symlink_to(tmp_path / "empty")
    for action in (second.copy, second.fetch):
        what = backups.find(master, NAME) if action is second.copy else NAME
        with pytest.raises(FleetError, match="backups is a link or a file, and no folder"):
            action(master, chosen, what)
    assert list((tmp_path / "empty").iterdir()) == []


def test_without_the_volume_nothing_is_written_in_its_place(master, chosen, monkeypatch):
    _folder, entry = made(master, chosen)
    second.copy(master, chosen, entry)
    backups.update(master, NAME, second=None)
    monkeypatch.undo()
    for action in (
        lambda: second.copy(master, chosen, backups.find(master, NAME)),
        lambda: second.fetch(master, chosen, "other"),
    ):
        with pytest.raises(FleetError, match="the shared volume is not mounted on"):
            action()


def test_one_is_removed_and_others_stay(master, chosen, place):
    for name in (NAME, f"{NAME}-2", "other"):
        _folder, entry = made(master, chosen, name)
        second.copy(master, chosen, entry)
    second.remove(master, chosen, NAME)
    second.remove(master, chosen, "none")
    assert second.names(master, chosen) == [f"{NAME}-2", "other"]
    assert sorted(path.name for path in place.iterdir()) == [f"{NAME}-2", "other"]


def test_one_is_brought_back_to_the_volume(master, chosen):
    folder, entry = made(master, chosen)
    second.copy(master, chosen, entry)
    before = tree(folder)
    with pytest.raises(FleetError, match="is there already"):
        second.fetch(master, chosen, NAME)
    shutil.rmtree(folder)
    # Of a fetch that died.
    partial = folder.with_name(f".{NAME}.fetched")
    partial.mkdir()
    (partial / "stranger").touch()
    assert second.fetch(master, chosen, NAME) == folder
    assert tree(folder) == before
    assert not partial.exists()
    with pytest.raises(FleetError, match=rf"no backup 'none' at the second place.*: {NAME}"):
        second.fetch(master, chosen, "none")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "there is no second place of backups: say where in backup:second"),
        ("/mnt/backups", "must be a mapping of folder, mounted, host, port"),
        ({"folder": "/mnt", "hots": "a@b"}, "must be a mapping of folder, mounted, host, port"),
        ({"folder": "mnt"}, "second:folder .* must be a whole path of letters.*not 'mnt'"),
        ({"folder": "/mnt/a b"}, "second:folder .*not '/mnt/a b'"),
        ({"folder": "/mnt/nowhere"}, "/mnt/nowhere is no folder on the master"),
        ({"folder": "/var/tmp"}, "is on the master's own root filesystem: mount it"),
        ({"folder": "/b", "host": "-oProxyCommand=x@h"}, "second:host .* must be user@host"),
        ({"folder": "/b", "host": "vault"}, "second:host .* must be user@host, not 'vault'"),
        ({"folder": "/b", "host": "a@vault", "port": "22"}, "second:port .* 1 to 65535, not '22'"),
        ({"folder": "/b", "host": "a@vault"}, r"backup/key is no file on the master.*private key"),
    ],
)
def test_what_cannot_be_meant_is_refused(master, chosen, given, words):
    _folder, entry = made(master, chosen)
    with pytest.raises(FleetError, match=words):
        second.copy(master, {**chosen, "second": given}, entry)
    assert backups.find(master, NAME)["second"] is None


def test_a_place_that_cannot_be_written_is_told_in_rsyncs_words(master, chosen, place):
    _folder, entry = made(master, chosen)
    # A file in the folder's way, which stops root as well.
    (place / NAME).write_text("")
    with pytest.raises(FleetError, match=f"the second place {place}/ cannot be used: rsync"):
        second.copy(master, chosen, entry)
    assert backups.find(master, NAME)["second"] is None
