"""What ``bench/converge`` makes of what nodes return, and of what the kernel counts of them."""

import json
import re
import subprocess
import types
from pathlib import Path

import pytest

from bench import converge, groups
from bench.converge import PING, Bench, Taken
from lab import machines
from lab.config import LabError
from tests.support.loading import ROOT


def returned(node, **states):
    return json.dumps(
        {node: {key: {"__id__": key, "changes": made} for key, made in states.items()}}, indent=4
    )


def test_what_changed_is_told_of_each_node():
    text = "\n".join([returned("web-1", one={}, two={"new": 1}), returned("db-1", three={"x": 2})])
    assert converge.changed(text) == ["web-1: two", "db-1: three"]
    assert converge.changed(returned("web-1", one={})) == []


def test_a_node_without_states_is_no_measurement():
    with pytest.raises(LabError, match="web-1 applied no states: .*'Rendering failed'"):
        converge.changed(json.dumps({"web-1": ["Rendering failed"]}))
    with pytest.raises(LabError, match="not answer in JSON: 'Minion did not return"):
        converge.changed("Minion did not return. [No response]")


def test_medians_are_of_each_name_in_the_order_of_measuring():
    taken = [
        Taken(PING, 1.0, 0.5),
        Taken("x", 5.0, 9.0),
        Taken(PING, 3.0, 0.7),
        Taken("x", 4.0, 7.0),
        Taken(PING, 1.5, 9.0),
        Taken("x", 40.0, 8.0),
    ]
    assert converge.medians(taken) == {PING: Taken(PING, 1.5, 0.7), "x": Taken("x", 5.0, 8.0)}
    assert [*converge.medians(taken)] == [PING, "x"]


def test_what_takes_too_long_is_told_beside_what_is_wanted(capsys):
    taken = [
        Taken(PING, 0.5, 1.0),
        Taken(converge.TRUE, 0.25, 0.1),
        Taken("converging all nodes", 4.0, 10.0),
        Taken("rollout.plan", 13.0, 20.0),
        Taken("fleet.status", 2.0, 99.0),
    ]
    late = converge.report(taken, {"web-1": 3000.0, "db-1": 1000.4})
    assert late == [
        "converging all nodes: 10.00 s of processors, and 9 s are wanted",
        "rollout.plan: 13.00 s, and 12 s are wanted",
        "memory: 4000 MiB, and 3584 MiB are wanted",
    ]
    shown = capsys.readouterr().out
    assert re.search(r"converging all nodes +4.00 s = +8.0; +10.00 s of processors; wanted", shown)
    assert "web-1 3000, db-1 1000" in shown
    assert converge.report(taken[:2], {"web-1": 1.0}) == []


@pytest.fixture
def bench(monkeypatch):
    """A benchmark over nodes that answer what a test says, and its commands."""
    made = Bench.__new__(Bench)
    nodes = [types.SimpleNamespace(id=id_, roles=roles) for id_, roles in NODES.items()]
    made._lab = types.SimpleNamespace(nodes=nodes, master=nodes[0])
    made._groups = {}
    made.asked, made.states = [], returned("web-1", one={})

    def on_node(_lab, node, command):
        made.asked.append((node, command))
        return made.states if "state.apply" in command else "{}"

    monkeypatch.setattr(machines, "on_node", on_node)
    return made


NODES = {"master": ["master"], "web-1": ["web"], "web-2": ["web"], "db-1": ["db"]}


def test_a_round_measures_all_that_something_is_wanted_of_beside_its_floor(bench):
    names = [each.name for each in bench.round()]
    assert names[:2] == [PING, converge.TRUE]
    assert set(names[2:]) == set(converge.WANTED)
    assert sorted(node for node, command in bench.asked if command == ["true"]) == sorted(NODES)
    applied = [command[1] for _, command in bench.asked if "state.apply" in command]
    assert applied == ["*", "web-1", "db-1"]
    assert {node for node, command in bench.asked if command != ["true"]} == {"master"}


def test_a_round_in_which_something_changes_is_none(bench):
    bench.states = returned("web-1", one={"new": 1})
    with pytest.raises(LabError, match=r"something to do \(web-1: one\)"):
        bench.round()


VERSION_1 = """\
9:name=systemd:/pod/libpod-1/init.scope
4:memory:/pod/libpod-1
2:cpu,cpuacct:/pod/libpod-1
0::/pod/libpod-1/init.scope
"""


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_node_is_counted_by_the_groups_of_version_1(tmp_path):
    there = groups.folders(VERSION_1, tmp_path)
    write(tmp_path / "cpu,cpuacct/pod/libpod-1/cpuacct.usage", "2500000000\n")
    memory = tmp_path / "memory/pod/libpod-1"
    write(memory / "memory.stat", "cache 1\ntotal_rss 2097152\ntotal_shmem 1048576\n")
    write(memory / "memory.kmem.usage_in_bytes", "524288\n")
    assert groups.processor_seconds(there) == 2.5
    assert groups.memory(there) == 3.5


def test_a_node_is_counted_by_the_groups_of_version_2(tmp_path):
    there = groups.folders("0::/pod/libpod-1/init.scope\n", tmp_path)
    write(tmp_path / "pod/libpod-1/cpu.stat", "usage_usec 2500000\nuser_usec 1\n")
    memory = "anon 2097152\nfile 9\nkernel 524288\nshmem 1048576\n"
    write(tmp_path / "pod/libpod-1/memory.stat", memory)
    assert groups.processor_seconds(there) == 2.5
    assert groups.memory(there) == 3.5


def test_a_machine_that_counts_nothing_is_named(tmp_path):
    there = groups.folders("0::/pod\n", tmp_path)
    for counted in (groups.processor_seconds, groups.memory):
        with pytest.raises(LabError, match="does not count what a container uses"):
            counted(there)


def test_this_machine_counts_what_runs_on_it():
    there = groups.folders(Path("/proc/self/cgroup").read_text())
    assert groups.processor_seconds(there) > 0
    assert groups.memory(there) > 1


def test_without_its_lab_it_asks_nobody_and_says_why(tmp_path):
    ran = subprocess.run(
        [ROOT / "bench" / "converge", "--rounds=1"],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LAB": "not-there", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 2
    assert "make up" in ran.stderr
    assert "Traceback" not in ran.stderr
