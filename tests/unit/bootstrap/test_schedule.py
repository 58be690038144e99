"""What the master's node does by itself, at intervals."""

import ast

import pytest
import yaml

from tests.support.loading import ROOT

FILES = ROOT / "bootstrap/files"
SCHEDULE = yaml.safe_load((FILES / "schedule.conf").read_text())["schedule"]


@pytest.mark.parametrize("name", SCHEDULE)
def test_the_minion_calls_a_runner_that_there_is(name):
    assert SCHEDULE[name]["function"] == "saltutil.runner"
    (called,) = SCHEDULE[name]["args"]
    runner, _, function = called.partition(".")
    tree = ast.parse((ROOT / f"_runners/{runner}.py").read_text())
    assert function in [each.name for each in tree.body if isinstance(each, ast.FunctionDef)]


def test_a_turn_is_never_begun_beside_another():
    assert all(job["maxrunning"] == 1 for job in SCHEDULE.values())


def test_the_master_itself_does_nothing_by_a_schedule():
    # Its unit may write neither notes, nor what a turn did, nor to the second place.
    master = yaml.safe_load((FILES / "master.conf").read_text().replace("@TOPOLOGY@", "default"))
    assert "schedule" not in master
