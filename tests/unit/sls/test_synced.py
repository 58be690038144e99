"""A run of states and its modules: they are those of the revision that the states are of."""

import pathlib
import shutil

import pytest
from salt.exceptions import CommandExecutionError

from fleet import minions
from fleet.minions import SYNCED
from tests.support import tree as support
from tests.support.loading import ROOT, load

synced = load("_utils/synced.py")

MODULE = """
def mark():
    return {mark!r}
"""
STATE = """
def present(name):
    marks = [{mark!r}, __salt__["marked.mark"](), __utils__["marked.mark"]()]
    return {{"name": name, "result": True, "changes": {{}}, "comment": " ".join(marks)}}
"""
SLS = """
{%- include 'lib/modules.jinja' -%}
{%- set seen = salt['marked.mark']() -%}
The mark is {{ seen }}:
  marked.present
"""


class Node:
    """A node, and a tree of states and modules that all have one mark."""

    def __init__(self, folder):
        self.tree = support.Tree(folder / "compiled")
        self.served = folder / "served"
        self.tree.environments = {"base": self.served}
        self.extmods = self.tree.folder / "extmods"
        (self.served / "salt/lib").mkdir(parents=True)
        shutil.copy(ROOT / "salt/lib/modules.jinja", self.served / "salt/lib")
        (self.served / "salt/top.sls").write_text("base: {'*': [marked]}\n")
        (self.served / "salt/marked.sls").write_text(SLS)
        for kind in ("_modules", "_states", "_utils"):
            (self.served / kind).mkdir()
            (self.served / "salt" / kind).symlink_to(f"../{kind}")
        for kind in ("_modules", "_utils"):
            shutil.copy(ROOT / kind / "synced.py", self.served / kind)

    def write(self, mark):
        for kind in ("_modules", "_utils"):
            (self.served / kind / "marked.py").write_text(MODULE.format(mark=mark))
        (self.served / "_states/marked.py").write_text(STATE.format(mark=mark))

    @property
    def digest(self):
        return synced.of_tree(self.served)

    def apply(self, digest=None):
        """Apply the highstate for real; returns IDs and comments of states, or the errors."""
        pillar = {"modules_digest": digest or self.digest}
        with self.tree.compiler("web-1", {"id": "web-1", "os": "Debian"}, pillar) as compiler:
            ran = compiler.highstate.call_highstate()
        if isinstance(ran, list):
            return ran
        return {state["__id__"]: state["comment"] for state in ran.values()}


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


def test_who_has_none_or_others_applies_nothing_and_has_them_the_next_time(node):
    node.write("first")
    refused = node.apply()
    assert "'web-1' lacked modules, and nothing was applied" in refused[0]
    assert SYNCED in minions.report(refused).error
    assert node.apply() == {"The mark is first": "first first first"}
    node.write("second")
    [refused] = node.apply()
    assert "the modules here were of another revision, and are synced now: run this" in refused
    # By this whoever changes the fleet knows that it is to be run again.
    assert SYNCED in minions.report([refused]).error
    assert synced.of_minion(node.extmods) == node.digest
    assert node.apply() == {"The mark is second": "second second second"}
    (node.extmods / "modules/left.py").write_text("")
    shutil.rmtree(node.extmods / "states")
    [refused] = node.apply()
    assert "run this again" in refused
    assert synced.of_minion(node.extmods) == node.digest


def test_states_of_one_revision_are_not_applied_with_the_pillar_of_another(node):
    node.write("first")
    node.apply()
    [refused] = node.apply(digest="0" * 64)
    assert "the modules of the environment base are not those that the pillar tells of" in refused
    assert "saltenv=base pillarenv=base" in refused
    assert SYNCED not in minions.report([refused]).error


def test_a_run_looks_once(monkeypatch):
    module = load("_modules/synced.py")
    asked = []
    monkeypatch.setattr(module, "__context__", {}, raising=False)
    monkeypatch.setattr(module, "__opts__", {"extension_modules": "/x"}, raising=False)
    utils = {"synced.of_minion": lambda folder: asked.append(str(folder)) or "d"}
    monkeypatch.setattr(module, "__utils__", utils, raising=False)
    salt = {"saltutil.sync_all": lambda saltenv: asked.append(saltenv)}
    monkeypatch.setattr(module, "__salt__", salt, raising=False)
    assert all(module.require("d", "base") for _ in range(3))
    assert asked == ["/x"]
    for _ in range(3):
        with pytest.raises(CommandExecutionError, match="saltenv=base pillarenv=base"):
            module.require("other", "base")
    assert asked == ["/x", "/x", "base", "/x"]


def test_who_is_told_of_no_digest_syncs_nothing(tmp_path):
    node = Node(tmp_path)
    node.write("first")
    with node.tree.compiler("web-1", {"id": "web-1"}, {}) as compiler:
        _chunks, errors = compiler.chunks(["marked"])
    assert "has no attribute 'marked.mark'" in "".join(errors)
    assert not (node.extmods / "modules").exists()


class TestDigest:
    @pytest.fixture
    def folder(self, tmp_path):
        for name in ("_modules/one.py", "_states/one.py", "_utils/deep/one.py"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(name)
        return tmp_path

    def test_a_tree_and_a_minion_have_the_same(self, folder, tmp_path_factory):
        minion = tmp_path_factory.mktemp("minion")
        for path in folder.glob("_*"):
            shutil.copytree(path, minion / path.name[1:])
        # As it is left by Salt: kinds of which the tree has nothing, and what Python compiled.
        (minion / "beacons").mkdir()
        (minion / "modules/__pycache__").mkdir()
        (minion / "modules/__pycache__/one.cpython-311.pyc").write_bytes(b"\\0")
        (minion / "modules/one.py").chmod(0o700)
        assert synced.of_minion(minion) == synced.of_tree(folder)

    @pytest.mark.parametrize(
        ("name", "text"),
        [("_modules/one.py", "other"), ("_modules/two.py", ""), ("_grains/one.py", "new")],
    )
    def test_what_a_minion_loads_makes_another(self, folder, name, text):
        before = synced.of_tree(folder)
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        assert synced.of_tree(folder) != before

    def test_a_file_that_moves_makes_another(self, folder):
        before = synced.of_tree(folder)
        (folder / "_modules/one.py").rename(folder / "_modules/two.py")
        assert synced.of_tree(folder) != before
        (folder / "_modules/two.py").rename(folder / "_modules/one.py")
        assert synced.of_tree(folder) == before

    def test_what_is_not_there_makes_no_difference(self):
        nowhere = {"modules": pathlib.Path("/nonexistent")}
        assert synced.digest(nowhere) == synced.digest({})
