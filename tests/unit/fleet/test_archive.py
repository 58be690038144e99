"""Revisions on the volume: kept for a new master, and believed only when they were noted."""

import dataclasses
import io
import json
import os
import shutil
import stat
import tarfile

import pytest

from fleet import archive, revision, volume
from fleet.errors import FleetError
from fleet.master import Master


@pytest.fixture(autouse=True)
def _mounted(monkeypatch):
    monkeypatch.setattr(volume, "require", lambda _mount: None)


@pytest.fixture
def master(tmp_path):
    tree = tmp_path / "tree"
    for name in ("salt/top.sls", "_modules/a.py", "_states/a.py", "_utils/a.py", "pillar/top.sls"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    (tree / "_modules/a.py").chmod(0o755)
    (tree / "salt/_modules").symlink_to("../_modules")
    return Master(
        {
            "id": "master",
            "counterapp_tree": str(tree),
            "counterapp_pillar": [],
            "counterapp_state": str(tmp_path / "state"),
            "counterapp_config": str(tmp_path / "config"),
        }
    )


@pytest.fixture
def anew(master, tmp_path):
    """The master on a new machine, with a copy of its configuration alone."""
    return dataclasses.replace(
        master, opts={**master.opts, "counterapp_state": str(tmp_path / "new")}
    )


def rolled_out(master, release, mount, number=5):
    made = revision.capture(master, release)
    revision.settle(made)
    archive.keep(made, str(mount), number)
    return made


def names(mount):
    return sorted(path.name for path in (mount / "revisions").iterdir())


def noted(master):
    return json.loads((master.config / "revisions.json").read_text())


def test_a_revision_is_kept_and_noted(master, mount):
    made = rolled_out(master, "1.0", mount)
    assert names(mount) == [f"{made.id}.tar.gz"]
    path = mount / "revisions" / f"{made.id}.tar.gz"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    notes = noted(master)
    assert notes["base"] == made.id
    [entry] = notes["revisions"]
    assert {key: entry[key] for key in made.note} == made.note
    assert entry["size"] == path.stat().st_size
    assert stat.S_IMODE((master.config / "revisions.json").stat().st_mode) == 0o600


def test_it_is_put_there_once(master, mount):
    made = rolled_out(master, "1.0", mount)
    before = (mount / "revisions" / f"{made.id}.tar.gz").stat().st_ino
    assert not archive.keep(made, mount, 5)
    assert (mount / "revisions" / f"{made.id}.tar.gz").stat().st_ino == before


@pytest.mark.parametrize("how", ["gone", "altered", "a link"])
def test_what_was_done_to_it_is_mended(master, mount, tmp_path, how):
    made = rolled_out(master, "1.0", mount)
    path = mount / "revisions" / f"{made.id}.tar.gz"
    good = path.read_bytes()
    path.unlink()
    victim = tmp_path / "victim"
    victim.write_bytes(good)
    if how == "altered":
        path.write_bytes(good[:-1] + b"?")
    elif how == "a link":
        path.symlink_to(victim)
    assert archive.keep(made, mount, 5)
    assert not path.is_symlink()
    assert path.read_bytes() == good


def test_an_archive_follows_from_the_revision(master, tmp_path):
    made = revision.capture(master, "1.0")
    archive.pack(made, tmp_path / "one")
    for path in made.folder.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (5, 5))
    archive.pack(made, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with tarfile.open(tmp_path / "one") as tar:
        assert {(each.uid, each.gid, each.uname, each.mtime) for each in tar} == {(0, 0, "", 0)}
        assert "revision.json" not in tar.getnames()


def test_only_the_last_ones_used_are_kept(master, mount):
    made = [rolled_out(master, str(number), mount, 2) for number in range(4)]
    wanted = [made[2].id, made[3].id]
    assert [each["id"] for each in noted(master)["revisions"]] == wanted
    assert names(mount) == sorted(f"{id_}.tar.gz" for id_ in wanted)


def test_going_back_makes_one_the_last_used(master, mount):
    made = [rolled_out(master, str(number), mount, 2) for number in range(2)]
    revision.settle(made[0])
    archive.keep(made[0], mount, 2)
    third = rolled_out(master, "3", mount, 2)
    assert [each["id"] for each in noted(master)["revisions"]] == [made[0].id, third.id]


def test_what_others_have_made_there_stays(master, mount):
    (mount / "revisions").mkdir()
    (mount / "revisions/README").write_text("")
    (mount / "revisions/r0123456789ab.tar.gz").write_text("one that nobody noted")
    (mount / "revisions/.r0123456789ab.tar.gz.0123456789abcdef").write_text("of a dead master")
    made = rolled_out(master, "1.0", mount)
    assert names(mount) == sorted(["README", f"{made.id}.tar.gz"])


def test_a_link_in_the_folders_place_is_named(master, mount, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (mount / "revisions").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FleetError, match="no folder; somebody has made it"):
        rolled_out(master, "1.0", mount)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_link_out_of_the_revision_is_named(master, mount):
    (master.tree / "salt/out").symlink_to("/etc/passwd")
    with pytest.raises(FleetError, match=r"salt/out of revision .* is a link to /etc/passwd"):
        rolled_out(master, "1.0", mount)


def test_an_altered_revision_is_not_kept(master, mount):
    made = revision.capture(master, "1.0")
    (made.folder / "salt/top.sls").chmod(0o644)
    (made.folder / "salt/top.sls").write_text("altered")
    with pytest.raises(FleetError, match="was altered"):
        archive.keep(made, mount, 5)


def test_a_change_that_has_succeeded_does_so_without_a_volume(master, mount, monkeypatch):
    made = revision.capture(master, "1.0")
    told = []
    archive.keep_or_tell(made, mount, 5, told.append)
    assert told == []
    monkeypatch.undo()
    archive.keep_or_tell(made, mount, 5, told.append)
    assert len(told) == 1
    assert told[0].startswith(f"revision {made.id} is not on the volume, and only on this master: ")
    assert "is not mounted" in told[0]


# On a new master


def test_a_master_without_the_volume_can_go_on_without_them(master, anew, mount, monkeypatch):
    made = rolled_out(master, "1", mount)
    monkeypatch.undo()
    done = archive.recover(anew, mount)
    assert (done.revisions, done.base) == ([], None)
    assert f"revision {made.id} (release 1) is not brought back" in done.problems[0]


def test_a_new_master_gets_them_back(master, anew, mount):
    made = [rolled_out(master, str(number), mount) for number in range(3)]
    done = archive.recover(anew, mount)
    assert [each.id for each in done.revisions] == [each.id for each in made]
    assert (done.problems, done.base.id) == ([], made[2].id)
    assert revision.base(anew).id == made[2].id
    for old, new in zip(made, revision.kept(anew), strict=True):
        new.check()
        assert new.note == revision.find(master, old.id).note
        assert {
            path.relative_to(old.folder): (path.stat().st_mtime_ns, path.stat().st_mode)
            for path in old.folder.rglob("*")
            if path.is_file() and path.name != revision.NOTE
        } == {
            path.relative_to(new.folder): (path.stat().st_mtime_ns, path.stat().st_mode)
            for path in new.folder.rglob("*")
            if path.is_file() and path.name != revision.NOTE
        }
    assert (revision.base(anew).folder / "salt/_modules").is_symlink()


def test_the_base_is_the_noted_one_and_not_the_last(master, anew, mount):
    first, _second = rolled_out(master, "1", mount), rolled_out(master, "2", mount)
    revision.settle(first)
    archive.keep(first, mount, 5)
    assert archive.recover(anew, mount).base.id == first.id
    assert [each.release for each in revision.kept(anew)] == ["2", "1"]


def test_a_master_that_has_them_needs_no_volume(master, mount, monkeypatch):
    made = rolled_out(master, "1", mount)
    shutil.rmtree(mount)

    def require(_mount):
        raise AssertionError("the volume was wanted")

    monkeypatch.setattr(volume, "require", require)
    done = archive.recover(master, mount)
    assert (done.revisions, done.problems, done.base.id) == ([], [], made.id)


def test_a_base_that_a_master_has_stays(master, mount):
    first = rolled_out(master, "1", mount)
    second = revision.capture(master, "2")
    revision.settle(second)
    assert archive.recover(master, mount).base.id == second.id
    assert noted(master)["base"] == first.id


def test_without_notes_nothing_is_believed(master, anew, mount):
    rolled_out(master, "1", mount)
    (master.config / "revisions.json").unlink()
    done = archive.recover(anew, mount)
    assert (done.revisions, done.base, done.problems) == ([], None, [])


def repacked(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for member, content in members:
            tar.addfile(member, io.BytesIO(content))


def vouch(master, path):
    """Note an archive as somebody could who has the master; then the digest is what is left."""
    notes = noted(master)
    notes["revisions"][-1].update(
        archive_sha256=archive.release.digest(path)["sha256"], size=path.stat().st_size
    )
    (master.config / "revisions.json").write_text(json.dumps(notes))


def regular(name, content=b"x"):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member, content


def special(name, kind, target=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([regular("../escaped")], "leads out of the revision"),
        ([regular("/tmp/escaped")], "leads out of the revision"),
        ([special("salt", tarfile.SYMTYPE, "/tmp")], "a link to /tmp, outside of it"),
        ([special("salt", tarfile.SYMTYPE, "../../..")], "a link to ../../.., outside of it"),
        ([special("null", tarfile.CHRTYPE)], "neither a file, nor a folder"),
        ([special("a", tarfile.LNKTYPE, "/etc/passwd")], "neither a file, nor a folder"),
        ([special("salt", tarfile.SYMTYPE, "pillar"), regular("salt/top.sls")], "File exists"),
        ([regular("twice"), regular("twice")], "File exists"),
        ([regular("salt/top.sls")], "holds another revision"),
    ],
    ids=[
        "path",
        "absolute path",
        "absolute link",
        "link",
        "device",
        "hard link",
        "through a link",
        "twice",
        "other content",
    ],
)
def test_nothing_else_is_unpacked_even_if_it_was_noted(master, anew, mount, members, why):
    made = rolled_out(master, "1", mount)
    path = mount / "revisions" / f"{made.id}.tar.gz"
    repacked(path, members)
    vouch(master, path)
    done = archive.recover(anew, mount)
    assert (done.revisions, done.base) == ([], None)
    assert len(done.problems) == 1
    assert why in done.problems[0]
    # Nothing of it is left, beside it neither.
    assert [path.name for path in anew.state.rglob("*")] == ["revisions"]


@pytest.mark.parametrize("how", ["altered", "longer", "gone", "a link", "a pipe"])
def test_what_is_not_what_was_noted_is_not_opened(master, anew, mount, tmp_path, how):
    old, made = rolled_out(master, "1", mount), rolled_out(master, "2", mount)
    path = mount / "revisions" / f"{made.id}.tar.gz"
    good = path.read_bytes()
    path.unlink()
    if how == "altered":
        path.write_bytes(good[:-1] + b"?")
    elif how == "longer":
        path.write_bytes(good + b"?")
    elif how == "a link":
        (tmp_path / "copy").write_bytes(good)
        path.symlink_to(tmp_path / "copy")
    elif how == "a pipe":
        os.mkfifo(path)
    done = archive.recover(anew, mount)
    assert [each.id for each in done.revisions] == [old.id]
    assert done.base is None
    assert len(done.problems) == 1
    assert f"revision {made.id} (release 2) is not brought back" in done.problems[0]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"base": null}',
        '{"base": null, "revisions": [{"id": "../../../etc"}]}',
        '{"base": null, "revisions": [{"id": "0123456789ab", "sha256": "ff"}]}',
    ],
)
def test_damaged_notes_are_named(master, mount, text):
    master.config.mkdir(exist_ok=True)
    (master.config / "revisions.json").write_text(text)
    with pytest.raises(FleetError, match=r"revisions\.json is damaged .*put its copy back"):
        archive.recover(master, mount)
