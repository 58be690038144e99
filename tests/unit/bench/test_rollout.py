"""What ``bench/rollout`` makes of a journal, and of settings that it changes for a moment."""

import re
import subprocess
import types

import pytest
import yaml

from bench import rollout
from bench.rollout import Bench, Share, Step
from fleet.change import Change
from fleet.master import Master
from lab.config import LabError
from tests.support.loading import ROOT


def line(at, event, stage="web", node="web-1", step="s"):
    return {"at": at, "event": event, "stage": stage, "node": node, "step": step}


JOURNAL = [
    {"at": 0.0, "event": "begun"},
    line(1.0, "begins", "preflight", None),
    line(2.0, "done", "preflight", None),
    line(10.0, "begins"),
    line(11.5, "done"),
    {"at": 12.0, "event": "note"},
    line(12.0, "begins"),
    line(15.0, "done"),
    line(15.0, "begins"),
    line(16.0, "begins", step="within it"),
    line(17.0, "done", step="within it"),
    line(18.25, "done"),
    line(20.0, "begins", "db", "db-1"),
    line(21.0, "done", "db", "db-1"),
    {"at": 22.0, "event": "ended"},
]


def test_steps_are_timed_also_within_each_other():
    found = rollout.steps(JOURNAL)
    assert found[0] == Step("preflight", None, 1.0, 2.0)
    assert [(step.began, step.ended) for step in found[1:5]] == [
        (10.0, 11.5),
        (12.0, 15.0),
        (16.0, 17.0),
        (15.0, 18.25),
    ]


def test_a_node_takes_from_its_first_step_to_its_last():
    done = rollout.steps(JOURNAL)
    assert rollout.taken(done, "web") == {"web-1": 8.25}
    # Of this one it was only asked whether it is healthy.
    assert rollout.taken(done, "db") == {}


def test_a_real_journal_has_these_times(tmp_path):
    with Change(Master({"counterapp_state": str(tmp_path)}), "rollout") as change:
        for step in ("draining it", "applying web", "putting it back"):
            with change.step("web", step, node="web-1"):
                pass
    done = rollout.steps(change.journal.lines())
    assert 0 <= rollout.taken(done, "web")["web-1"] < 60


@pytest.mark.parametrize(("part", "key"), rollout.SETTINGS.items())
def test_the_settings_that_are_changed_are_there_and_only_they_change(part, key):
    text = (ROOT / f"pillar/{part}.sls").read_text()
    before, after = (yaml.safe_load(each)[part] for each in (text, rollout.changed(text, key)))
    assert {name for name in before if before[name] != after[name]} == {key}
    assert before[key] < after[key] < before[key] + 2


def test_a_setting_that_is_not_there_is_named():
    with pytest.raises(LabError, match="no number waiting"):
        rollout.changed("web:\n  workers: 1\n", "waiting")


@pytest.mark.parametrize("own", [None, "mongodb:\n  cache_gb: 0.5\n"])
def test_the_labs_own_settings_are_as_they_were_whatever_fails(tmp_path, own):
    bench = Bench.__new__(Bench)
    bench._lab = types.SimpleNamespace(directory=tmp_path)
    folder = tmp_path / "pillar"
    folder.mkdir()
    path = folder / "mongodb.sls"
    if own:
        path.write_text(own)
    seen = []

    def fails():
        with bench._settings():
            seen.append(yaml.safe_load(path.read_text())["mongodb"]["cache_gb"])
            raise LabError("a rollout fails")

    with pytest.raises(LabError, match="a rollout fails"):
        fails()
    assert seen == [0.51 if own else 0.26]
    assert (path.read_text() if path.exists() else None) == own
    assert not (folder / "web.sls").exists()


def test_what_takes_too_long_is_told_beside_what_is_wanted(capsys):
    shares = [
        Share("a web server", "web-1", 9.0, 6.0),
        Share("a web server", "web-2", 9.5, 6.0),
        Share("a database member", "db-1", 30.0, 5.0),
        Share("nothing to do", "the fleet", 20.0, 10.0),
    ]
    late = rollout.report(shares)
    assert late == ["a database member: 25.0 s, and 10 s are wanted"]
    shown = capsys.readouterr().out
    assert re.search(r"a web server +9.2 s, by hand +6.0 s, ratio +1.54; beyond +3.2 s", shown)
    assert re.search(r"nothing to do +20.0 s, by hand +10.0 s, ratio +2.00; in all +20.0 s", shown)


def test_without_its_lab_it_changes_nothing_and_says_why(tmp_path):
    ran = subprocess.run(
        [ROOT / "bench" / "rollout"],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LAB": "not-there", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 2
    assert "make up" in ran.stderr
    assert "Traceback" not in ran.stderr
