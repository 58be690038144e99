"""The lanes' runner, with lanes of its own."""

import re
import sys

import pytest

from tests import lanes
from tests.lanes import Lane
from tests.support.loading import ROOT

GREEN = "def test_good(): pass\n"


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Where nothing of a run that is under way is touched."""
    monkeypatch.setattr(lanes, "ROOT", tmp_path)
    monkeypatch.setattr(lanes, "LOGS", tmp_path / "logs")
    monkeypatch.setattr(lanes, "TIMES", tmp_path / "times")
    # Salt's plugins take seconds to load.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return tmp_path


@pytest.fixture
def lane(folders):
    """Return a function that makes a lane out of a shell script, or of a pytest file."""

    def make(name, script, **more):
        path = folders / f"{name}.sh"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return Lane(name, "", (path.name,), **more)

    return make


def pytest_lane(folders, name, source):
    path = folders / f"test_{name}.py"
    path.write_text(source)
    # Without the project's own configuration, and not as a part of this run.
    options = ("-c", "/dev/null", f"--rootdir={folders}")
    return Lane(name, "", ("pytest", *options, str(path)))


def test_each_lane_has_a_row_and_one_that_failed_makes_the_exit_code(folders, capsys):
    source = "def test_good(): pass\ndef test_bad(): assert False, 'why'\n"
    code = lanes.run(
        [
            pytest_lane(folders, "red", source),
            pytest_lane(folders, "green", source.splitlines()[0] + "\n"),
        ]
    )
    printed = capsys.readouterr().out
    assert code == 1
    below, _, reasons = printed.rpartition("LANE")[2].partition("\n\n")
    rows = {line.split()[0]: line.split() for line in below.splitlines()[1:]}
    assert rows["red"][1:3] == ["2", "1"]
    assert "FAILED" in rows["red"]
    assert rows["green"][1:3] == ["1", "0"]
    assert rows["all"][1:3] == ["3", "1"]
    # What a lane printed is there whole.
    assert "AssertionError: why" in printed
    assert "1 failed, 1 passed" in printed
    assert reasons == "red: test_red::test_bad: AssertionError: why assert False\n"


def test_each_failure_is_told_with_its_reason_below_the_table(folders, lane, capsys):
    source = """
import pytest

@pytest.fixture
def left():
    yield
    raise OSError("left behind")

@pytest.mark.parametrize("word", ["a", "b"])
def test_bad(word):
    assert word * 1000 == "c", "what\\nwas seen " + "word " * 500 + "the end"

def test_untidy(left): pass
"""
    lanes.run([pytest_lane(folders, "red", source), lane("dumb", "echo it broke; exit 2")])
    printed = capsys.readouterr().out.rpartition("\n\n")[2].splitlines()
    assert len(printed) == 4
    for line, word in zip(printed[:2], "ab", strict=True):
        assert line.startswith(
            f"red: test_red::test_bad[{word}]: AssertionError: what was seen word"
        )
        assert len(line) < 350
    assert printed[2].startswith("red: test_red::test_untidy: ")
    assert "OSError: left behind" in printed[2]
    assert printed[3] == "dumb: no test is known to have failed: it broke"


SHAKY = """
import pathlib
import pytest

@pytest.mark.parametrize("number", range({many}))
def test_shaky(number):
    seen = pathlib.Path({folder!r}, str(number))
    first = not seen.exists()
    seen.touch()
    assert not first, "too busy"

def test_good():
    with pathlib.Path({folder!r}, "good").open("a") as file:
        file.write("x")

def test_bad():
    assert {good}, "wrong"
"""


@pytest.mark.parametrize(
    ("many", "good", "code"),
    [(1, True, 0), (lanes.UNSTEADY_AT_MOST, True, 0), (1, False, 1), (4, True, 1), (0, False, 1)],
)
def test_a_few_that_fail_beside_others_run_again_alone(folders, capsys, many, good, code):
    source = SHAKY.format(many=many, folder=str(folders), good=good)
    shaky, steady = pytest_lane(folders, "shaky", source), pytest_lane(folders, "green", GREEN)
    assert lanes.run([shaky, steady], again=True) == code
    printed = capsys.readouterr().out
    below, _, reasons = printed.rpartition("LANE")[2].partition("\n\n")
    rows = {line.split()[0]: line for line in below.splitlines()[1:]}
    assert ("shaky-again" in rows) is (many <= lanes.UNSTEADY_AT_MOST)
    assert ("UNSTEADY" in rows["shaky"]) is (code == 0)
    # Why they failed is told in any case, and which ones.
    assert reasons.count("AssertionError: too busy") == many
    assert reasons.count("shaky, unsteady: ") == (many if code == 0 else 0)
    # What passed does not run again.
    assert (folders / "good").read_text() == "x"


def test_what_fails_is_not_tried_again_when_that_was_not_asked_for(folders, capsys):
    source = SHAKY.format(many=1, folder=str(folders), good=True)
    assert lanes.run([pytest_lane(folders, "shaky", source)]) == 1
    assert "again" not in capsys.readouterr().out


def test_a_lane_that_died_is_not_unsteady(folders, lane, capsys):
    dies = "import os\ndef test_dies(): os._exit(7)\n"
    shaky = SHAKY.format(many=1, folder=str(folders), good=True)
    chosen = [pytest_lane(folders, "dies", dies), pytest_lane(folders, "shaky", shaky)]
    assert lanes.run(chosen, again=True) == 1
    assert "again" not in capsys.readouterr().out


def test_where_nothing_failed_the_table_is_the_end(lane, capsys):
    assert lanes.run([lane("good", "true")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("all ")


def test_the_slowest_tests_are_kept(folders):
    source = "import time\ndef test_slow(): time.sleep(0.2)\n"
    assert lanes.run([pytest_lane(folders, "slow", source)]) == 0
    assert "test_slow" in (folders / "times/slow.txt").read_text()


def test_what_comes_after_a_lane_waits_for_its_end_however_it_ends(lane, folders):
    first = lane("first", "sleep 0.3; touch done; exit 3")
    second = lane("second", "test -e done && touch seen", after="first")
    assert lanes.run([second, first]) == 1
    assert (folders / "seen").exists()


def test_a_lane_whose_forerunner_was_not_asked_for_begins_at_once(lane, folders):
    assert lanes.run([lane("second", "touch seen", after="first")]) == 0
    assert (folders / "seen").exists()


def test_a_lane_that_hangs_is_ended_and_fails(lane, monkeypatch, capsys):
    monkeypatch.setattr(lanes, "LIMIT_SECONDS", 0.2)
    assert lanes.run([lane("stuck", "sleep 60"), lane("good", "true")]) == 1
    printed = capsys.readouterr().out
    assert "stuck: not done in 0:00, killed" in printed
    (row,) = (line.split() for line in printed.splitlines() if line.startswith("stuck "))
    assert row[1:3] == ["-", "-"]
    assert "FAILED" in row


def test_while_lanes_run_it_tells_how_far_they_are_and_what_the_processors_do(
    lane, monkeypatch, capsys
):
    monkeypatch.setattr(lanes, "HEARTBEAT_SECONDS", 0.5)
    slow = lane("slow", "echo 'tests/test_it.py ..   [ 40%]'; sleep 2.5")
    assert lanes.run([slow, lane("quick", "true")]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^0:0\d  processors \d+%, running: slow 40%$", printed, re.MULTILINE)


def test_a_lane_that_computes_stands_back_where_the_machine_can_have_it_so(
    lane, folders, monkeypatch
):
    (folders / "v1").mkdir()
    controllers = {folders / "v2": {"cpu.weight": "50"}, folders / "v1": {"cpu.shares": "512"}}
    monkeypatch.setattr(lanes, "CONTROLLERS", controllers)
    assert lanes.run([lane("still", "echo $$ > pid")]) == 0
    group = folders / "v1" / lanes.GROUP
    assert not group.exists()
    assert lanes.run([lane("busy", "echo $$ > pid", computes=True)]) == 0
    assert (group / "cpu.shares").read_text() == "512"
    assert (group / "cgroup.procs").read_text() == (folders / "pid").read_text().strip()

    monkeypatch.setattr(lanes, "CONTROLLERS", {folders / "none": {}})
    assert lanes.run([lane("alone", "true", computes=True)]) == 0


def test_the_lanes_hold_every_test_of_the_tree():
    """No folder of tests is in no lane, and a lane's forerunner exists and comes first."""
    words = [word for each in lanes.LANES for word in each.command]
    folders = {path.name for path in (ROOT / "tests").iterdir() if any(path.rglob("test_*.py"))}
    assert {f"tests/{name}" for name in folders} <= set(words)
    names = [each.name for each in lanes.LANES]
    for each in lanes.LANES:
        assert each.after is None or names.index(each.after) < names.index(each.name)


def test_an_unknown_lane_is_refused_with_those_that_there_are(capsys):
    with pytest.raises(SystemExit) as raised:
        lanes.main(["systme"])
    assert raised.value.code == 2
    assert "there is no lane 'systme': use some of lint, unit" in capsys.readouterr().err


def test_options_are_for_one_lane(capsys):
    with pytest.raises(SystemExit):
        lanes.main(["unit", "system", "--", "-k", "x"])
    assert "name just one" in capsys.readouterr().err
    assert lanes.LANES[1].words(["-k", "x"])[0] == sys.executable
    assert lanes.LANES[1].words(["-k", "x"])[-2:] == ["-k", "x"]
