"""The first rollout of a master that is a new machine."""

import dataclasses
import shutil

import pytest

from fleet import archive, revision, rollout, volume
from fleet.master import Master
from tests.support import release_archive
from tests.support.checkout import Checkout


class Nobody:
    def everyone(self, *_args, **_kwargs):
        raise AssertionError("nobody is to be asked yet")


@pytest.fixture
def checkout(tmp_path):
    made = Checkout(tmp_path)
    release_archive.archive(made.dist, "1.0")
    release_archive.archive(made.dist, "1.1")
    return made


def begin(master: Master, told: list):
    begun = rollout.begin(master, {"release": "1.1"}, Nobody(), [told.append])
    rollout._running.remove(begun)
    begun.change.close()
    return begun


def test_it_begins_from_the_revision_that_the_fleet_is_on(checkout, monkeypatch):
    monkeypatch.setattr(volume, "require", lambda _mount: None)
    before = revision.capture(checkout.master, "1.0")
    revision.settle(before)
    archive.keep(before, checkout.mount, 5)
    shutil.rmtree(checkout.master.state)
    told: list = []
    begun = begin(dataclasses.replace(checkout.master), told)
    assert begun.before.id == before.id
    begun.before.check()
    assert begun.change.facts["from"] == before.id
    assert [each for each in told if each["event"] == "warns"] == []


def test_without_the_volume_it_begins_from_nothing_and_says_so(checkout, monkeypatch):
    monkeypatch.setattr(volume, "require", lambda _mount: None)
    before = revision.capture(checkout.master, "1.0")
    revision.settle(before)
    archive.keep(before, checkout.mount, 5)
    shutil.rmtree(checkout.master.state)
    monkeypatch.undo()
    told: list = []
    begun = begin(checkout.master, told)
    assert begun.before is None
    [warning] = [each for each in told if each["event"] == "warns"]
    assert f"revision {before.id} (release 1.0) is not brought back" in warning["text"]


def test_the_first_rollout_of_a_fleet_reads_no_volume(checkout, monkeypatch):
    monkeypatch.setattr(archive, "recover", lambda *_args: pytest.fail("nothing was noted"))
    assert begin(checkout.master, []).before is None
