"""``bench/growth`` asks real minions, and leaves nothing. How fast they are no test says."""

import pathlib
import re
import subprocess

from bench import growth, place
from bench.light import LEAST, light
from tests.support.loading import ROOT
from tests.support.waiting import until


def test_a_small_fleet_answers_all_that_is_measured():
    with light(LEAST) as fleet:
        taken = growth.ask(fleet)
        memory = fleet.memory()
    assert [each.name for each in taken] == [
        growth.PING,
        growth.APPLY,
        growth.PLAN,
        growth.STATUS,
    ]
    for each in taken:
        assert 0 < each.masters < each.processor
        assert each.seconds > 0
        assert each.peak > 10
    assert memory > 50


def test_whoever_ends_it_finds_nothing_left():
    with subprocess.Popen(
        [ROOT / "bench/growth", "--minions", str(LEAST)], stdout=subprocess.PIPE
    ) as bench:
        # The master's own are some twelve, at all depths.
        began = until(
            lambda: list(place.tree(bench.pid)),
            60,
            "master and minions run",
            wanted=lambda found: len(found) > 12 + LEAST,
        )
        words = [pathlib.Path(f"/proc/{pid}/cmdline") for pid in began]
        text = " ".join(path.read_text() for path in words if path.exists())
        [folder] = set(re.findall(r"/tmp/ca-\w+", text))
        bench.terminate()
        assert bench.wait(60) == 130
    assert not pathlib.Path(folder).exists()
    # Killed; their new parent still has to be told.
    until(
        lambda: [pid for pid in began if pathlib.Path(f"/proc/{pid}").exists()],
        10,
        "all processes are gone",
        wanted=[],
    )
