"""Putting files on the volume, where root of any node may have made anything."""

import os
import stat

import pytest

from fleet import volume
from fleet.errors import FleetError


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.write_text("good")
    return path


def check(path):
    if path.is_symlink() or not path.is_file() or path.read_text() != "good":
        raise ValueError(f"{path} is not good")


def test_a_file_is_put_once(mount, source):
    assert volume.put(mount, "releases", "a", source, check)
    assert (mount / "releases/a").read_text() == "good"
    assert stat.S_IMODE((mount / "releases/a").stat().st_mode) == 0o644
    before = (mount / "releases/a").stat().st_ino
    assert not volume.put(mount, "releases", "a", source, check)
    assert (mount / "releases/a").stat().st_ino == before
    assert volume.names(mount, "releases") == ["a"]


def test_what_lies_in_its_place_is_replaced_and_told(mount, source, caplog):
    (mount / "releases").mkdir()
    (mount / "releases/a").write_text("bad")
    assert volume.put(mount, "releases", "a", source, check, mode=0o600)
    assert (mount / "releases/a").read_text() == "good"
    assert stat.S_IMODE((mount / "releases/a").stat().st_mode) == 0o600
    assert "is not good; it is replaced" in caplog.text


def test_a_link_in_its_place_is_replaced_and_not_followed(mount, source, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (mount / "releases").mkdir()
    (mount / "releases/a").symlink_to(victim)
    assert volume.put(mount, "releases", "a", source, check)
    assert victim.read_text() == "mine"
    assert not (mount / "releases/a").is_symlink()


@pytest.mark.parametrize("what", ["link", "file"])
def test_what_is_in_the_folders_place_is_named(mount, source, tmp_path, what):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if what == "link":
        (mount / "releases").symlink_to(elsewhere)
    else:
        (mount / "releases").write_text("")
    for call in (
        lambda: volume.put(mount, "releases", "a", source, check),
        lambda: volume.names(mount, "releases"),
        lambda: volume.remove(mount, "releases", "a"),
    ):
        with pytest.raises(FleetError, match="no folder; somebody has made it: remove it"):
            call()
    assert list(elsewhere.iterdir()) == []


def test_what_is_not_good_even_then_is_refused(mount, source):
    source.write_text("bad")
    with pytest.raises(ValueError, match="is not good"):
        volume.put(mount, "releases", "a", source, check)


def test_a_copy_that_breaks_off_leaves_nothing(mount, source, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fleet.volume.shutil.copyfileobj", full)
    with pytest.raises(OSError, match="No space"):
        volume.put(mount, "releases", "a", source, check)
    assert volume.names(mount, "releases") == []


def test_a_file_or_link_is_removed_and_a_folder_is_named(mount, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (mount / "releases/made").mkdir(parents=True)
    (mount / "releases/a").symlink_to(victim)
    volume.remove(mount, "releases", "a")
    volume.remove(mount, "releases", "a")
    assert victim.exists()
    with pytest.raises(FleetError, match="made is a folder; somebody has made it"):
        volume.remove(mount, "releases", "made")


def test_a_folder_that_is_not_there_has_nothing(mount):
    assert volume.names(mount, "releases") == []


def test_a_volume_that_is_not_mounted_is_named(mount):
    assert not os.path.ismount(mount)
    with pytest.raises(FleetError, match=r"is not mounted on .*shared"):
        volume.require(mount)
