"""Releases, with real archives in real folders."""

import os
import pathlib
import stat

import pytest

from fleet import releases, revision
from fleet.errors import FleetError
from tests.support import release_archive
from tests.support.checkout import Checkout


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


@pytest.fixture
def master(checkout):
    return checkout.master


def failure(function, *args, **kwargs):
    """Return the only sentence that a call fails with."""
    with pytest.raises(FleetError) as error:
        function(*args, **kwargs)
    (reason,) = error.value.problems
    return reason


def versions(master):
    return [each["version"] for each in releases.listed(master)]


class TestFind:
    def test_there_is_none(self, master):
        assert releases.listed(master) == []
        assert "build one with `make dist`" in failure(releases.find, master, None)

    def test_the_newest_build_is_the_default(self, checkout, master):
        for age, version in enumerate(("0.9.0", "0.10.0")):
            path = release_archive.archive(checkout.dist, version)
            os.utime(path, (1_000_000 + age, 1_000_000 + age))
        assert versions(master) == ["0.9.0", "0.10.0"]
        assert releases.find(master, None) == "0.10.0"
        assert releases.find(master, "0.9.0") == "0.9.0"

    def test_one_that_came_as_a_number_is_not_guessed_at(self, master):
        assert "came as the number 1.1" in failure(releases.find, master, 1.1)

    def test_a_whole_number_is_text(self, checkout, master):
        release_archive.archive(checkout.dist, "2")
        assert releases.find(master, 2) == "2"

    def test_one_that_is_not_there_names_those_that_are(self, checkout, master):
        release_archive.archive(checkout.dist, "0.9.0")
        reason = failure(releases.find, master, "0.10.0")
        assert reason.startswith(f"release 0.10.0 is not in {checkout.dist}, and was not published")
        assert "(there are: 0.9.0)" in reason
        assert "`make dist VERSION=0.10.0`" in reason
        assert "salt-run release.publish 0.10.0 source=ARCHIVE" in reason


class TestCurrent:
    def test_there_is_none_before_the_first_rollout(self, master):
        assert releases.current(master) is None

    def test_it_is_that_of_the_revision_that_the_fleet_is_on(self, checkout, master):
        for version in ("0.9.0", "0.10.0"):
            release_archive.archive(checkout.dist, version)
        (checkout.notes / "release.sls").write_text('release: "0.10.0"\n')
        revision.settle(revision.capture(master, "0.9.0"))
        assert releases.current(master) == "0.9.0"
        assert releases.find(master, None) == "0.9.0"

    def test_without_revisions_it_is_what_an_older_master_has_noted(self, checkout, master):
        for version in ("0.9.0", "0.10.0"):
            release_archive.archive(checkout.dist, version)
        (checkout.notes / "release.sls").write_text('release: "0.9.0"\n')
        assert releases.current(master) == "0.9.0"
        assert releases.find(master, None) == "0.9.0"

    @pytest.mark.parametrize("text", ["", "release", "other: 1", "release: ["])
    def test_a_damaged_note_is_told(self, checkout, master, text):
        (checkout.notes / "release.sls").write_text(text)
        reason = failure(releases.current, master)
        assert f"{checkout.notes / 'release.sls'} does not tell the release" in reason


class TestPublish:
    @pytest.fixture(autouse=True)
    def _mounted(self, checkout, monkeypatch):
        is_mount = pathlib.Path.is_mount
        monkeypatch.setattr(
            pathlib.Path, "is_mount", lambda path: path == checkout.mount or is_mount(path)
        )

    @pytest.fixture
    def target(self, checkout, master):
        """Where release 1.0 lies on the volume, once it is published as it was built."""
        release_archive.archive(checkout.dist, "1.0")
        releases.publish(master, "1.0")
        return checkout.mount / "releases/counterapp-1.0.tar.gz"

    def test_it_arrives_whole_and_every_node_is_told_what_it_is(self, checkout, master):
        archive = release_archive.archive(checkout.dist, "1.0")
        note = release_archive.note(archive)
        done = releases.publish(master, "1.0")
        target = checkout.mount / "releases/counterapp-1.0.tar.gz"
        assert done == {"version": "1.0", "path": str(target), "changed": True, **note}
        assert target.read_bytes() == archive.read_bytes()
        assert stat.S_IMODE(target.stat().st_mode) == 0o644
        assert list(target.parent.iterdir()) == [target]
        made = revision.capture(master, "1.0")
        (told,) = made.settings["releases"].items()
        assert told == ("1.0", {**note, "published": told[1]["published"]})
        (listed,) = releases.listed(master)
        assert listed == {"version": "1.0", "path": str(archive), **told[1]}

    def test_what_only_lies_on_the_volume_is_no_release(self, checkout, master, target):
        (checkout.notes / "releases.sls").unlink()
        (checkout.dist / target.name).unlink()
        assert releases.listed(master) == []
        for call in (releases.find, releases.publish):
            reason = failure(call, master, "1.0")
            assert "release 1.0 is not in" in reason
            assert "was not published" in reason
        reason = failure(releases.publish, master, "1.0", source=str(target))
        assert "lies on the volume, where root of any node can write" in reason

    def test_a_new_master_knows_what_the_old_one_has_published(self, checkout, master, target):
        (checkout.dist / target.name).unlink()
        (listed,) = releases.listed(master)
        assert listed["path"] == str(target)
        assert releases.publish(master, "1.0")["changed"] is False
        target.unlink()
        assert releases.listed(master) == []
        assert f"is gone from {target.parent}" in failure(releases.find, master, "1.0")

    def test_what_was_changed_on_the_volume_is_told_and_put_back(self, checkout, master, target):
        releases.require_whole(master, "1.0")
        good = (checkout.dist / target.name).read_bytes()
        target.write_bytes(good[::-1])
        reason = failure(releases.require_whole, master, "1.0")
        assert f"{target} is not what was published, somebody has changed it" in reason
        assert "put it back with `salt-run release.publish 1.0`" in reason
        assert releases.publish(master, "1.0")["changed"] is True
        assert target.read_bytes() == good
        releases.require_whole(master, "1.0")

    def test_nothing_on_the_volume_leads_the_master_elsewhere(self, checkout, master, target):
        folder, elsewhere = target.parent, checkout.folder / "elsewhere"
        elsewhere.write_bytes(b"root's own")
        good = target.read_bytes()
        target.unlink()
        target.symlink_to(elsewhere)
        assert releases.publish(master, "1.0")["changed"] is True
        assert target.is_symlink() is False
        assert target.read_bytes() == good
        assert elsewhere.read_bytes() == b"root's own"

        target.unlink()
        folder.rmdir()
        (checkout.folder / "etc").mkdir()
        folder.symlink_to(checkout.folder / "etc")
        assert f"{folder} is a link or a file" in failure(releases.publish, master, "1.0")
        assert list((checkout.folder / "etc").iterdir()) == []

    def test_a_build_that_differs_from_what_was_published_is_refused(
        self, checkout, master, target
    ):
        release_archive.archive(checkout.dist, "1.0", {"static/index.html": b"new"})
        for call in (releases.require_whole, releases.publish):
            assert "give the new build a version of its own" in failure(call, master, "1.0")

    def test_again_it_changes_nothing(self, master, target):
        assert releases.publish(master, "1.0")["changed"] is False

    def test_a_release_never_changes(self, checkout, master, target):
        other = checkout.folder / "other"
        other.mkdir()
        again = release_archive.archive(other, "1.0", {"static/index.html": b"new"})
        reason = failure(releases.publish, master, "1.0", source=str(again))
        assert "give the new build a version of its own" in reason

    def test_a_damaged_archive_is_refused(self, checkout, master):
        archive = release_archive.archive(checkout.dist, "1.0")
        archive.write_bytes(archive.read_bytes()[:-20])
        for call in (releases.require_whole, releases.publish):
            failure(call, master, "1.0")
        assert not (checkout.mount / "releases").exists()

    def test_another_version_inside_is_refused(self, checkout, master):
        archive = release_archive.archive(checkout.dist, "1.0")
        reason = failure(releases.publish, master, "2.0", source=str(archive))
        assert reason == f"release 2.0 cannot be published: {archive} holds release 1.0, not 2.0"

    def test_what_is_no_version_is_refused(self, master):
        assert "is no release version" in failure(releases.publish, master, "../1.0")

    def test_a_volume_that_is_elsewhere_in_the_revision_is_named_by_the_caller(
        self, checkout, master, monkeypatch
    ):
        other = checkout.folder / "other"
        other.mkdir()
        monkeypatch.setattr(pathlib.Path, "is_mount", lambda path: path == other)
        release_archive.archive(checkout.dist, "1.0")
        done = releases.publish(master, "1.0", mount=other)
        assert done["path"] == str(other / "releases/counterapp-1.0.tar.gz")


def test_without_the_volume_nothing_is_published(checkout, master):
    release_archive.archive(checkout.dist, "1.0")
    assert "is not mounted" in failure(releases.publish, master, "1.0")
    assert not list(checkout.mount.iterdir())
