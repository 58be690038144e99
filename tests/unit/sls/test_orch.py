"""The orchestration, compiled by Salt for the situations that a stage can find."""

import json

import pytest

from tests.support import tree as support
from tests.support.loading import ROOT

STUB = '''
"""Stands in for the runners, which have tests of their own: gives the plan of a test."""
import json
import pathlib


def runner(name, arg=None, **kwargs):
    assert name in ("rollout.planned", "storage.plan_tls"), name
    plan = json.loads(pathlib.Path(__opts__["test_plan"]).read_text())
    return plan if isinstance(plan, str) else {"release": "1.10", "nodes": {}, **plan}
'''


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return support.Tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture
def steps(tree, tmp_path):
    """Return the steps of a stage as (ID, runner, arguments), in their order."""
    (tmp_path / "saltutil.py").write_text(STUB)
    plan_file = tmp_path / "plan.json"

    def compiling(stage, plan=None, pillar=None):
        plan_file.write_text(json.dumps(plan if plan is not None else {}))
        grains = support.recorded_grains("debian12", "default", "master")
        with tree.compiler("master", grains, pillar or {}, (str(tmp_path),)) as compiler:
            compiler.state.opts["test_plan"] = str(plan_file)
            chunks, errors = compiler.chunks([f"orch.{stage}"])
            assert not errors, errors
            assert not compiler.problems(chunks)
        return chunks

    return compiling


def runners(chunks):
    return [each["name"] for each in chunks if each["state"] == "salt"]


def requires(chunk):
    return [next(iter(each.values())) for each in chunk.get("require", [])]


def chained(chunks):
    """Each step but the first waits for the one before it."""
    for before, after in zip(chunks, chunks[1:], strict=False):
        if "onfail" not in after:
            assert requires(after) == [before["__id__"]], after["__id__"]
    return True


def test_the_rollout_reads_as_the_procedure(steps):
    chunks = steps("rollout", pillar={"release": "1.10"})
    assert runners(chunks) == [
        "counterapp.lock",
        "counterapp.preflight",
        *["state.orchestrate"] * 6,
        "rollout.finish",
        "rollout.abandon",
    ]
    stages = [each["mods"] for each in chunks if each["name"] == "state.orchestrate"]
    assert stages == [
        f"orch.{stage}" for stage in ("prepare", "storage", "db", "web", "lb", "verify")
    ]
    assert chained(chunks)
    assert chunks[1]["release"] == "1.10"
    # Whatever fails, the last word says so.
    watched = {next(iter(each.values())) for each in chunks[-1]["onfail"]}
    assert watched == {each["__id__"] for each in chunks[:-1]}


def test_each_stage_file_is_part_of_the_rollout():
    there = {path.stem for path in (ROOT / "salt/orch").glob("*.sls")}
    there -= {"rollout", "storage_tls"}
    assert there == {"prepare", "storage", "db", "web", "lb", "verify"}


@pytest.mark.parametrize(
    ("stage", "plan", "expected"),
    [
        ("prepare", {"todo": [], "fresh": []}, []),
        ("prepare", {"todo": ["web-1", "db-1"], "fresh": ["db-1"]}, ["rollout.apply"]),
        (
            "storage",
            {"todo": [], "clients": []},
            ["rollout.volume_healthy", "rollout.publish"],
        ),
        (
            "storage",
            {"todo": ["db-1", "db-2"], "clients": ["web-1"]},
            [
                "rollout.apply",
                "rollout.apply",
                "rollout.volume_healthy",
                "rollout.apply",
                "rollout.publish",
            ],
        ),
        (
            "db",
            {"todo": ["db-1"], "members": ["db-1", "db-2"], "initialized": False},
            ["rollout.apply", "rollout.apply", "rollout.replica_set_healthy"],
        ),
        (
            "db",
            {"todo": [], "members": ["db-1"], "initialized": True},
            ["rollout.replica_set_healthy"],
        ),
        (
            "db",
            {"todo": ["db-2", "db-1"], "members": ["db-1", "db-2"], "initialized": True},
            [
                *["rollout.step_aside", "rollout.apply", "rollout.member_back"] * 2,
                "rollout.replica_set_healthy",
            ],
        ),
        ("web", {"todo": [], "serving": ["lb-1"], "strayed": []}, []),
        ("web", {"todo": [], "serving": ["lb-1"], "strayed": ["web-2"]}, ["rollout.rejoin"]),
        (
            "web",
            {"todo": ["web-1", "web-2"], "serving": [], "strayed": []},
            ["rollout.apply", "rollout.web_ready"],
        ),
        (
            "web",
            {"todo": ["web-1", "web-2"], "serving": ["lb-1"], "strayed": []},
            [
                *["rollout.drain", "rollout.apply", "rollout.web_ready", "rollout.rejoin"] * 2,
                "rollout.undo_web",
            ],
        ),
        ("lb", {"todo": [], "serving": ["lb-1"]}, ["rollout.vip_held"]),
        ("lb", {"todo": ["lb-1", "lb-2"], "serving": []}, ["rollout.apply", "rollout.vip_held"]),
        (
            "lb",
            {"todo": ["lb-2", "lb-1"], "serving": ["lb-1", "lb-2"]},
            [
                *["rollout.hand_over_vip", "rollout.apply", "rollout.balancer_ready"] * 2,
                "rollout.vip_held",
            ],
        ),
        ("verify", {}, ["rollout.verify"]),
    ],
)
def test_a_stage_goes_by_its_plan(steps, stage, plan, expected):
    chunks = steps(stage, plan)
    assert chunks, "an orchestration without a step counts as failed"
    assert runners(chunks) == expected
    assert chained(chunks)


def test_nodes_are_touched_in_the_order_of_the_plan(steps):
    plan = {"todo": ["db-3", "db-1", "db-2"], "members": ["db-1"], "initialized": True}
    touched = [each["nodes"] for each in steps("db", plan) if each["name"] == "rollout.apply"]
    assert touched == ["db-3", "db-1", "db-2"]


@pytest.mark.parametrize(
    "stage", ["prepare", "storage", "storage_tls", "db", "web", "lb", "verify"]
)
@pytest.mark.parametrize("plan", ["Exception occurred in runner rollout.planned: …", {"failed": 1}])
def test_a_plan_that_cannot_be_had_is_no_empty_plan(tree, tmp_path, stage, plan):
    (tmp_path / "saltutil.py").write_text(STUB)
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    grains = support.recorded_grains("debian12", "default", "master")
    with tree.compiler("master", grains, {}, (str(tmp_path),)) as compiler:
        compiler.state.opts["test_plan"] = str(tmp_path / "plan.json")
        chunks, errors = compiler.chunks([f"orch.{stage}"])
    assert not chunks
    words = "What has to be done cannot be told" if stage == "storage_tls" else "The plan of"
    assert any(words in error for error in errors)


TLS_PLAN = {"reasons": ["db-1: …"], "keepers": ["db-1", "db-2"], "others": ["master", "web-1"]}


def test_the_switch_of_tls_stops_everything_before_it_starts_anything(steps):
    chunks = steps("storage_tls", TLS_PLAN)
    assert runners(chunks) == [
        "counterapp.lock",
        "storage.begin_tls",
        "storage.unmount",
        "storage.stop_daemons",
        "rollout.apply",
        "storage.start_daemons",
        "storage.stop_volume",
        "rollout.apply",
        "rollout.apply",
        "rollout.volume_healthy",
        "storage.finish_tls",
        "storage.abandon_tls",
    ]
    assert chained(chunks)
    everywhere = ["db-1", "db-2", "master", "web-1"]
    assert [each["nodes"] for each in chunks if "nodes" in each] == [
        everywhere,
        ["db-1", "db-2"],
        everywhere,
        ["db-1", "db-2"],
        "db-1",
        everywhere,
    ]
    # Only these states may change what a pool speaks.
    (allowed,) = [each for each in chunks if "pillar" in each]
    assert (allowed["sls"], allowed["pillar"]) == ("gluster.tls", {"gluster_tls_switch": True})
    watched = {next(iter(each.values())) for each in chunks[-1]["onfail"]}
    assert watched == {each["__id__"] for each in chunks[:-1]}


def test_where_all_do_as_the_pillar_says_nothing_stops(steps):
    assert runners(steps("storage_tls", {**TLS_PLAN, "reasons": []})) == []
