"""Revisions: what is in them, that they never change, and which of them is what."""

import json
import os
import stat

import pytest

from fleet import revision
from fleet.errors import FleetError
from fleet.master import Master


@pytest.fixture
def master(tmp_path):
    tree = tmp_path / "tree"
    for name, text in {
        "salt/top.sls": "base: {}\n",
        "salt/orch/rollout.sls": "not of a minion\n",
        "salt/web/init.sls": "web\n",
        "_modules/counterapp.py": "pass\n",
        "_modules/__pycache__/counterapp.pyc": "made by Python\n",
        "_states/counterapp.py": "pass\n",
        "_utils/release.py": "pass\n",
        "_runners/rollout.py": "not of a minion\n",
        "pillar/topology.sls": "checkout\n",
        "pillar/web.sls": "checkout\n",
        "pillar/moving.yaml": "{}\n",
    }.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tree / "salt/_modules").symlink_to("../_modules")
    lab = tmp_path / "lab"
    lab.mkdir()
    (lab / "topology.sls").write_text("lab\n")
    secrets = tmp_path / "config/pillar/secrets"
    secrets.mkdir(parents=True)
    (secrets / "mongodb_app.sls").write_text("secrets: {mongodb_app: hush-hush}\n")
    return Master(
        {
            "id": "master",
            "counterapp_tree": str(tree),
            "counterapp_pillar": [str(lab)],
            "counterapp_state": str(tmp_path / "state"),
            "counterapp_config": str(tmp_path / "config"),
        }
    )


def contents(made):
    found = (path for path in made.folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(made.folder)): path.read_text() for path in found}


def edit(master, name, text):
    (master.tree / name).write_text(text)


def test_a_revision_has_what_nodes_go_by_and_nothing_else(master):
    made = revision.capture(master, "1.4.0")
    assert set(contents(made)) == {
        "revision.json",
        "salt/top.sls",
        "salt/web/init.sls",
        "_modules/counterapp.py",
        "_states/counterapp.py",
        "_utils/release.py",
        "pillar/topology.sls",
        "pillar/web.sls",
        "pillar/release.sls",
        "pillar/modules.sls",
    }
    assert f"modules_digest: {made.modules}\n" in contents(made)["pillar/modules.sls"]
    assert made.folder.parent == master.state / "revisions"
    assert made.folder.name == made.id == f"r{made.note['sha256'][:12]}"
    assert made.release == "1.4.0"
    assert (made.folder / "salt/_modules").readlink() == (master.tree / "salt/_modules").readlink()


def test_secrets_are_not_in_a_revision(master):
    made = revision.capture(master, "1.4.0")
    assert "hush-hush" not in "".join(contents(made).values())
    assert not any("secret" in name for name in contents(made))


def test_the_first_pillar_folder_that_has_a_file_wins(master):
    made = contents(revision.capture(master, "1.4.0"))
    assert made["pillar/topology.sls"] == "lab\n"
    assert made["pillar/web.sls"] == "checkout\n"


@pytest.mark.parametrize("release", ["1.10", "2.0-rc+1", "0123", "yes"])
def test_a_release_stays_text(master, release):
    made = contents(revision.capture(master, release))
    assert f"release: {json.dumps(release)}\n" in made["pillar/release.sls"]


def test_the_same_content_is_the_same_revision(master):
    first = revision.capture(master, "1.4.0")
    os.utime(master.tree / "salt/web/init.sls", (1, 1))
    assert revision.capture(master, "1.4.0").id == first.id
    assert len(list((master.state / "revisions").iterdir())) == 1


def test_whatever_nodes_go_by_makes_another_revision(master):
    found = {revision.capture(master, "1.4.0").id, revision.capture(master, "1.4.1").id}
    edit(master, "pillar/web.sls", "edited\n")
    found.add(revision.capture(master, "1.4.0").id)
    (master.tree / "salt/top.sls").chmod(0o755)
    found.add(revision.capture(master, "1.4.0").id)
    (master.tree / "salt/web/init.sls").rename(master.tree / "salt/web/other.sls")
    found.add(revision.capture(master, "1.4.0").id)
    (master.tree / "salt/_modules").unlink()
    (master.tree / "salt/_modules").symlink_to("../_states")
    found.add(revision.capture(master, "1.4.0").id)
    assert len(found) == 6


def test_what_only_the_master_does_makes_none(master):
    first = revision.capture(master, "1.4.0")
    edit(master, "salt/orch/rollout.sls", "edited\n")
    edit(master, "_runners/rollout.py", "edited\n")
    assert revision.capture(master, "1.4.0").id == first.id


def test_the_checkout_can_be_edited_after(master):
    made = revision.capture(master, "1.4.0")
    before = contents(made)
    edit(master, "salt/web/init.sls", "edited\n")
    assert contents(made) == before
    made.check()


def test_an_altered_revision_is_refused(master):
    made = revision.capture(master, "1.4.0")
    path = made.folder / "salt/web/init.sls"
    path.chmod(0o644)
    path.write_text("altered\n")
    with pytest.raises(FleetError, match=f"revision {made.id} was altered"):
        made.check()


@pytest.mark.parametrize("how", ["removed", "added", "made a program"])
def test_other_alterations_are_seen_as_well(master, how):
    made = revision.capture(master, "1.4.0")
    path = made.folder / "salt/web/init.sls"
    if how == "removed":
        path.unlink()
    elif how == "added":
        path.with_name("more.sls").write_text("")
    else:
        path.chmod(0o755)
    with pytest.raises(FleetError, match="was altered"):
        made.check()


def test_a_revision_that_was_altered_is_not_made_again(master):
    made = revision.capture(master, "1.4.0")
    path = made.folder / "salt/web/init.sls"
    path.chmod(0o644)
    path.write_text("altered\n")
    with pytest.raises(FleetError, match="was altered"):
        revision.capture(master, "1.4.0")
    assert [each.name for each in (master.state / "revisions").iterdir()] == [made.id]


def test_a_file_has_a_time_of_its_content(master):
    """Salt's file server goes by it to tell whether a file of an environment has changed."""
    first = revision.capture(master, "1.4.0")
    edit(master, "salt/web/init.sls", "other\n")
    second = revision.capture(master, "1.4.0")

    def at(made, name):
        return (made.folder / name).stat().st_mtime

    assert at(first, "salt/top.sls") == at(second, "salt/top.sls")
    assert at(first, "salt/web/init.sls") != at(second, "salt/web/init.sls")
    assert 978307200 <= at(first, "salt/top.sls") < 978307200 + 17 * 366 * 86400


def test_nobody_else_can_read_it_and_nobody_writes_to_it_by_mistake(master):
    made = revision.capture(master, "1.4.0")
    assert stat.S_IMODE(made.folder.stat().st_mode) == 0o700
    assert not (made.folder / "salt/top.sls").stat().st_mode & 0o222


def test_a_checkout_without_a_folder_is_named(master):
    (master.tree / "_utils/release.py").unlink()
    (master.tree / "_utils").rmdir()
    with pytest.raises(FleetError, match="_utils: no such folder"):
        revision.capture(master, "1.4.0")


def test_the_commit_is_noted(master):
    assert revision.capture(master, "1.4.0").note["commit"] is None
    (master.tree / ".git/refs/heads").mkdir(parents=True)
    (master.tree / ".git/HEAD").write_text("ref: refs/heads/main\n")
    (master.tree / ".git/refs/heads/main").write_text("0123abc\n")
    assert revision.capture(master, "1.4.1").note["commit"] == "0123abc"


# Which is what


def test_before_the_first_rollout_there_is_no_base(master):
    assert revision.base(master) is None
    assert revision.candidate(master) is None
    assert revision.kept(master) == []


def test_an_offered_revision_becomes_base_when_it_is_settled(master):
    first = revision.capture(master, "1.4.0")
    revision.offer(first)
    assert (revision.base(master), revision.candidate(master).id) == (None, first.id)
    revision.settle(first)
    assert (revision.base(master).id, revision.candidate(master)) == (first.id, None)
    second = revision.capture(master, "1.4.1")
    revision.offer(second)
    assert (revision.base(master).id, revision.candidate(master).id) == (first.id, second.id)
    revision.withdraw(master)
    assert (revision.base(master).id, revision.candidate(master)) == (first.id, None)


def test_a_candidate_that_nodes_are_on_their_way_to_is_not_withdrawn(master):
    made = revision.capture(master, "1.4.0")
    revision.offer(made)
    revision.move(master, ["web-1", "web-2"], "20261127-220000-abcd")
    revision.withdraw(master)
    assert revision.candidate(master).id == made.id
    revision.arrived(master, "web-1")
    revision.withdraw(master)
    assert revision.moving(master) == {"web-2": "20261127-220000-abcd"}
    assert revision.candidate(master).id == made.id
    revision.arrived(master, "web-2")
    revision.withdraw(master)
    assert revision.candidate(master) is None


def test_who_is_moved_stands_among_the_notes(master):
    """The top files read it, and a node that was never moved must find it as well."""
    path = master.notes / "moving.yaml"
    assert revision.moving(master) == {}
    revision.arrived(master, "web-1")
    assert json.loads(path.read_text()) == {}
    revision.move(master, ["web-1"], "one")
    revision.move(master, ["web-2"], "one")
    assert json.loads(path.read_text()) == {"web-1": "one", "web-2": "one"}


def test_when_a_revision_is_settled_all_nodes_have_arrived(master):
    made = revision.capture(master, "1.4.0")
    revision.offer(made)
    revision.move(master, ["web-1"], "one")
    revision.settle(made)
    assert revision.moving(master) == {}
    assert revision.candidate(master) is None


def used(master, *releases):
    """Revisions that the fleet was on, one after the other."""
    made = []
    for number, release in enumerate(releases):
        made.append(revision.capture(master, release))
        revision.settle(made[-1])
        os.utime(made[-1].folder / revision.NOTE, (number, number))
    return made


def test_the_last_ones_used_are_kept(master):
    made = used(master, "1", "2", "3", "4")
    assert [each.id for each in revision.kept(master)] == [each.id for each in made]
    assert revision.prune(master, 2) == [made[0].id, made[1].id]
    assert [each.id for each in revision.kept(master)] == [made[2].id, made[3].id]


def test_one_that_is_used_again_is_not_the_oldest(master):
    made = used(master, "1", "2", "3")
    revision.settle(made[0])
    assert revision.prune(master, 2) == [made[1].id]


def test_one_that_is_in_use_is_never_deleted(master):
    made = used(master, "1", "2", "3", "4")
    (master.state / "base").unlink()
    (master.state / "base").symlink_to(f"revisions/{made[0].id}")
    (master.state / "candidate").symlink_to(f"revisions/{made[1].id}")
    assert revision.prune(master, 1) == [made[2].id, made[3].id]


def test_one_that_the_fleet_never_came_to_goes_before_one_to_go_back_to(master):
    before, now = used(master, "1", "2")
    tried = []
    for number in ("3", "4", "5"):
        tried.append(revision.capture(master, number))
        revision.offer(tried[-1])
        revision.withdraw(master)
    assert revision.prune(master, 3) == [tried[0].id, tried[1].id]
    assert {each.id for each in revision.kept(master)} == {before.id, now.id, tried[2].id}


def test_one_that_the_fleet_was_on_before_that_was_noted_counts_when_it_is_left(master):
    (before,) = used(master, "1")
    note = {key: value for key, value in before.note.items() if key != "reached"}
    (before.folder / revision.NOTE).write_text(json.dumps(note))
    revision.settle(revision.capture(master, "2"))
    revision.capture(master, "3")
    tried = revision.capture(master, "4")
    assert tried.id in revision.prune(master, 2)
    assert revision.find(master, before.id).note["reached"]


@pytest.mark.parametrize("wrong", ["0123456789ab", "../..", "", None, "revisions"])
def test_an_unknown_id_is_answered_with_those_that_there_are(master, wrong):
    made = revision.capture(master, "1.4.0")
    with pytest.raises(FleetError, match=rf"there are: {made.id} \(1\.4\.0\)"):
        revision.find(master, wrong)
