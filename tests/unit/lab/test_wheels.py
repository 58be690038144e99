"""The wheelhouse: what goes into it, and that one pin is the same everywhere."""

import re

import yaml

from lab import wheels
from lab.config import ROOT, load


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
