"""What ``bench/growth`` makes of fleets of several sizes, and what it counts of processes."""

import re
import subprocess
import sys
import types

import pytest

from bench import growth, light, place
from bench.growth import APPLY, PING, STATUS, Taken
from bench.light import Ran
from fleet import topology
from lab.config import LabError
from tests.support import light_fleet
from tests.support.loading import ROOT


@pytest.mark.parametrize("number", [light.LEAST, 5, 7, 8, 64, light.MOST])
def test_a_fleet_of_any_size_is_one_that_a_topology_allows(number):
    named = light.roles(number)
    assert len(named) == number
    nodes = {
        name: light_fleet.node(light.address(at), roles)
        for at, (name, roles) in enumerate(named.items())
    }
    chosen = {"network": light.NETWORK, "vip": "127.77.0.200", "nodes": nodes}
    document = {"platforms": light_fleet.PLATFORMS, "topologies": {"some": chosen}}
    assert topology.problems(document, "some") == []


def test_what_grows_beyond_the_eighth_are_web_servers():
    eight, more = light.roles(8), light.roles(12)
    assert eight.items() <= more.items()
    assert [more[name] for name in more.keys() - eight.keys()] == [["web"]] * 4


def test_medians_are_of_each_name_and_size():
    taken = [
        Taken(PING, 8, 1.0, 2.0, 0.5, 70.0),
        Taken(PING, 8, 3.0, 4.0, 0.7, 71.0),
        Taken(PING, 8, 1.5, 9.0, 0.6, 99.0),
        Taken(PING, 16, 2.0, 8.0, 1.0, 80.0),
        Taken(APPLY, 8, 7.0, 7.0, 7.0, 7.0),
    ]
    assert growth.medians(taken) == {
        PING: {8: Taken(PING, 8, 1.5, 4.0, 0.6, 71.0), 16: taken[3]},
        APPLY: {8: taken[4]},
    }


def test_a_part_is_that_of_a_minion():
    eight, more = Taken(PING, 8, 1.0, 2.0, 0.5, 70.0), Taken(PING, 32, 4.0, 16.0, 1.0, 70.0)
    found = [growth.part(more, eight, what) for what in ("seconds", "processor", "masters")]
    assert found == [1.0, 2.0, 0.5]


def test_memory_is_held_against_the_fewest_minions():
    assert growth.each_more({8: 300.0, 16: 340.0, 64: 356.0}) == {16: 5.0, 64: 1.0}
    assert growth.each_more({8: 300.0}) == {}


def test_what_is_more_than_wanted_is_told(capsys):
    taken = [
        Taken(PING, 8, 1.0, 2.0, 0.8, 70.0),
        Taken(PING, 16, 2.0, 4.0, 1.6, 72.0),
        Taken(APPLY, 8, 4.0, 8.0, 2.0, 70.0),
        Taken(APPLY, 16, 9.0, 24.0, 3.0, 70.0),
    ]
    assert growth.report(taken[:2], {8: 300.0, 16: 460.0}) == []
    much = growth.report(taken, {8: 300.0, 16: 461.0})
    assert much == [
        "state.apply with 16 minions: a minion's part of processor seconds is 1.50 times that with "
        "8, and 1.25 are wanted",
        "memory with 16 minions: 20.1 MiB for each, and 20 MiB are wanted",
    ]
    shown = capsys.readouterr().out
    assert re.search(
        r"test.ping,  16 minions +2.00 \(1.00\) +4.00 \(1.00\) +1.60 \(1.00\) +72", shown
    )
    assert "16 minions: 461 MiB, 20.12 MiB for each more" in shown


def ran(code, said):
    return Ran("salt-run something", code, said, "a warning", 3.0, 2.0, 1.0, 70.0)


@pytest.fixture
def fleet():
    """A fleet whose commands answer what a test says."""
    made = types.SimpleNamespace(number=4, asked=[], answers={})

    def run(*command):
        made.asked.append(command)
        return made.answers[next(word for word in command if word in made.answers)]

    made.run = run
    nodes = '{"nodes": {"web-1": {"up": true}, "db-1": {"up": true}}}'
    states = '{"web-1": {"a": {"__id__": "a", "changes": {}}}}'
    made.answers = {
        "test.ping": ran(0, "{}"),
        "state.apply": ran(0, states),
        "rollout.plan": ran(0, "{}"),
        "fleet.status": ran(1, nodes),
    }
    return made


def test_each_question_is_asked_once_and_a_wait_for_the_vip_is_left_out(fleet):
    taken = growth.ask(fleet)
    assert [each.name for each in taken] == [PING, APPLY, growth.PLAN, STATUS]
    assert [each.seconds for each in taken] == [3.0, 3.0, 3.0, 3.0 - growth.parts.VIP_MOVES]
    assert {(each.minions, each.processor, each.masters, each.peak) for each in taken} == {
        (4, 2.0, 1.0, 70.0)
    }


BUSY = '{"a": {"s": {"__id__": "s", "changes": {"x": 1}}}}'


@pytest.mark.parametrize(
    ("asked", "answer", "words"),
    [
        (
            "test.ping",
            ran(1, "web-2: silent"),
            r"something` ended with 1: web-2: silent\na warning",
        ),
        ("state.apply", ran(0, BUSY), "to do on light minions: a: s"),
        ("rollout.plan", ran(2, "{}"), "ended with 2"),
        ("fleet.status", ran(1, '{"nodes": {"db-1": {"up": false}}}'), "did not hear db-1"),
        ("fleet.status", ran(1, '{"failed": ["no topology"]}'), "not tell of nodes.*no topology"),
    ],
)
def test_an_answer_that_measures_nothing_is_none(fleet, asked, answer, words):
    fleet.answers[asked] = answer
    with pytest.raises(LabError, match=words):
        growth.ask(fleet)


CHILD = """
import subprocess, sys
code = "x = b'1' * (64 << 20)\\nfor _ in range(3000000): pass\\n"
subprocess.run([sys.executable, "-c", code], check=True)
kept = subprocess.Popen([sys.executable, "-c", code + "print(flush=True)\\ninput()"],
                        stdin=subprocess.PIPE)
sys.stdin.read()
kept.communicate(b"\\n")
"""


def test_a_tree_is_counted_with_those_that_ended_and_each_page_once():
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        # The second child has what it asked for.
        process.stdout.readline()
        whole = place.tree_processor_time(process.pid)
        own = [place.processor_time(pid) for pid in place.tree(process.pid)]
        assert len(own) == 2
        # The first child is nowhere among those that run, and took as long as the second.
        assert whole > sum(own)
        assert 64 < place.tree_own_memory(process.pid) < place.tree_memory(process.pid)
        process.stdin.close()


@pytest.mark.parametrize("words", [["--minions", "3"], ["--minions", "181"], ["--rounds", "0"]])
def test_a_size_that_cannot_be_measured_is_refused(words):
    done = subprocess.run(
        [ROOT / "bench/growth", *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert f"{words[0]} must be" in done.stderr
    assert "Traceback" not in done.stderr
