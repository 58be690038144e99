"""The orchestration, compiled by Salt: it reads as the procedure, and whatever fails is told."""

import pytest

from fleet.stages import STAGES
from tests.support import tree as support


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return support.Tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture
def chunks(tree):
    grains = support.recorded_grains("debian12", "default", "master")
    with tree.compiler("master", grains, {"release": "1.10"}) as compiler:
        found, errors = compiler.chunks(["orch.rollout"])
        assert not errors, errors
        assert not compiler.problems(found)
    return found


def requires(chunk):
    return [next(iter(each.values())) for each in chunk.get("require", [])]


def test_the_rollout_reads_as_the_procedure(chunks):
    stages = [f"rollout.stage {stage.name}" for stage in STAGES]
    assert [" ".join(filter(None, (each["name"], each.get("stage")))) for each in chunks] == [
        "rollout.begin",
        "rollout.preflight",
        *stages,
        "rollout.verify",
        "rollout.finish",
        "rollout.undo",
    ]
    assert chunks[0]["pillar"] == {"release": "1.10"}


def test_each_step_waits_for_the_one_before_it(chunks):
    for before, after in zip(chunks[:-1], chunks[1:-1], strict=False):
        assert requires(after) == [before["__id__"]], after["__id__"]


def test_whatever_fails_once_it_has_begun_is_undone(chunks):
    watched = {next(iter(each.values())) for each in chunks[-1]["onfail"]}
    assert watched == {each["__id__"] for each in chunks[1:-1]}
