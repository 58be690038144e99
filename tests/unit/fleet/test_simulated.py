"""
Rollouts on a simulated fleet: what goes wrong at each step, and that nothing of it breaks a rule.

The simulation checks the safety rules at every moment (``Fleet.broken``), and
``Simulation.problems`` how a fleet has to be whenever no change runs.
"""

import contextlib
import functools
import json
import logging
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fleet.lock
import fleet.revision
from fleet import handover
from fleet.errors import FleetError
from fleet.stages import db, web
from tests.support.examples import examples
from tests.support.simulated import Died, Fault
from tests.support.simulated_master import Simulation

#: What a rollout of everything changes.
EVERYWHERE = (
    "base.hosts",
    "gluster.mount",
    "storage.volume",
    "db.config",
    "web.config",
    "lb.haproxy",
)
#: A revision that only has another release, and ones that alter one role.
CHANGES = (EVERYWHERE, (), ("db.config",), ("lb.haproxy",), ("db.install", "lb.keepalived"))


@pytest.fixture(autouse=True)
def _quiet():
    """Keep nothing of what Salt logs for debugging: that would take most of the time."""
    logging.disable(logging.INFO)
    yield
    logging.disable(logging.NOTSET)


#: Revisions that are bad, by the stage that finds it.
BAD = {
    "prepare": ("base.hosts", "its state fails"),
    "storage": ("storage.volume", "its state fails"),
    "db": ("db.config", "mongod does not start"),
    "web": ("web.config", "the app is never ready"),
    "lb": ("lb.haproxy", "it sees nobody"),
}


@contextlib.contextmanager
def simulated(seed=0, edits=EVERYWHERE, canary=False, topology="default", bad=None):
    """Yield a fleet on release 1.0, with a checkout in which these parts were edited."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        simulation = Simulation(Path(folder), seed, topology)
        if canary:
            simulation.settings["rollout"]["canary"] = {
                "enabled": True,
                "time": 2,
                "hits": 5,
                "inconclusive": "pass",
            }
        for part in edits:
            simulation.edit(part, "second")
        if bad:
            simulation.edit(*BAD[bad])
        yield simulation


def heal(simulation, pause=5.0):
    """Have time pass, and every minion be there again."""
    simulation.fleet.fault = None
    simulation.clock.advance(pause)
    for node in simulation.fleet.nodes.values():
        node.answers = True


def arrives(simulation):
    """Run the same command again: it succeeds, and once more it touches nothing."""
    assert simulation.rollout(release="2.0"), simulation.last
    assert simulation.problems() == []
    assert simulation.base() != simulation.first
    touched = [*simulation.fleet.touched]
    assert simulation.rollout(release="2.0"), simulation.last
    assert simulation.fleet.touched == touched
    assert simulation.problems() == []


def ended(simulation):
    """Return how the last change ended."""
    return simulation.history()[0]["outcome"]


# Without a fault


@pytest.mark.parametrize("topology", ["default", "classic"])
def test_a_rollout_arrives_in_order_and_a_second_one_touches_nothing(topology):
    with simulated(topology=topology) as simulation:
        last = simulation.fleet.holder
        primary = simulation.fleet.primary().id
        arrives(simulation)
        nodes = {
            role: [node.id for node in simulation.fleet.with_role(role)]
            for role in ("db", "web", "lb")
        }
        entry = simulation.history()[1]
        assert entry["outcome"] == "succeeded"
        assert set(entry["touched"]) == {"prepare", "storage", "db", "web", "lb"}
        for role, there in nodes.items():
            assert sorted(entry["touched"][role]) == there
        assert entry["touched"]["db"][-1] == primary
        assert entry["touched"]["lb"][-1] == last


def test_nothing_to_do_asks_and_touches_nothing():
    with simulated(edits=()) as simulation:
        assert simulation.rollout(), simulation.last
        assert simulation.fleet.touched == []
        assert simulation.problems() == []


def test_a_canary_takes_part():
    with simulated(edits=(), canary=True) as simulation:
        arrives(simulation)
        assert simulation.history()[1]["canary"]["verdict"] in ("pass", "inconclusive")


def test_going_back_is_a_rollout_too():
    with simulated() as simulation:
        arrives(simulation)
        assert simulation.rollback()
        assert simulation.problems() == []
        assert simulation.base() == simulation.first
        kinds = [entry["kind"] for entry in simulation.history()]
        assert kinds == ["rollback", "rollout", "rollout"]


def test_modules_go_with_their_revision_there_and_back():
    with simulated(edits=()) as simulation:
        simulation.edit_module("second")
        arrives(simulation)
        asked = [names for names, _nodes in simulation.fleet.asked]
        # By the first of the two, once; the second found them there.
        assert asked.count("saltutil.sync_all") == 1
        assert simulation.rollback()
        assert simulation.problems() == []


@pytest.mark.parametrize("bad", BAD)
def test_who_is_put_back_has_the_modules_of_before(bad):
    with simulated(bad=bad) as simulation:
        simulation.edit_module("second")
        assert not simulation.rollout(release="2.0")
        assert simulation.problems() == []


def test_somebody_elses_lock_stays_and_nothing_is_begun():
    with simulated() as simulation:
        state = simulation.master.state
        with simulation.patched():
            taken = fleet.lock.take(state, "20260101-000000-0000", "rollout")
            path = state / fleet.lock.NAME
            held = {**json.loads(path.read_text()), "pid": 1, "started": fleet.lock.started(1)}
            path.write_text(json.dumps(held))
        assert not simulation.rollout(release="2.0")
        # The step that failed first says who has it, and no other has anything to add.
        assert simulation.answers[0]["failed"][0].startswith("the change 20260101-000000-0000")
        assert simulation.last["failed"] == ["nothing was begun: see the first step"]
        assert fleet.lock.holder(state)["since"] == taken["since"]
        assert simulation.history() == []
        assert simulation.fleet.asked == []
        assert not (state / "candidate").is_symlink()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"relase": "2.0"}, "is release meant"),
        ({"wait": "long"}, "wait must be a number of seconds"),
        ({"release": "2.0", "revision": "0" * 12}, "say a release or a revision"),
        ({"revision": "0" * 12}, "there is no revision '000000000000'"),
        ({"batch": 0}, "batch must be a number from 1 on"),
        ({"min_in_service": 2}, "none can be replaced"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_touched(given, words):
    with simulated() as simulation:
        assert not simulation.rollout(**given)
        told = [words for answer in simulation.answers for words in answer.get("failed", [])]
        assert any(words in sentence for sentence in told), told
        assert simulation.fleet.touched == []
        assert simulation.problems() == []


def nothing(*_args):
    """Stand in for a step that a careless change of the code has lost."""


@pytest.mark.parametrize(
    ("module", "step", "rule"),
    [
        (db, "step_aside", "the primary db-. is restarted"),
        (db, "member_back", "of the replica set are away at once"),
        (web, "drain", "is restarted while lb-. sends it requests"),
        (handover, "hand_over", "is altered while it holds the VIP"),
        (fleet.revision, "move", "is not moved"),
    ],
)
def test_a_rule_that_is_broken_is_noticed(monkeypatch, module, step, rule):
    monkeypatch.setattr(module, step, nothing)
    if step == "member_back":
        # It waits for the others before the next one is touched.
        monkeypatch.setattr(module, "step_aside", nothing)
    with simulated() as simulation:
        simulation.rollout(release="2.0")
        assert re.search(rule, "\n".join(simulation.fleet.broken))


# A revision that is bad


@pytest.mark.parametrize(
    ("stage", "step"),
    [
        ("prepare", "applying prepare"),
        ("storage", "applying storage, gluster"),
        ("db", "applying db"),
        ("web", "waiting until ready"),
        ("lb", "waiting until it sees the web servers"),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_a_bad_revision_touches_one_node_and_is_undone(stage, step, seed):
    with simulated(seed, edits=(), bad=stage) as simulation:
        assert not simulation.rollout()
        assert simulation.problems() == []
        assert simulation.base() == simulation.first
        entry = simulation.history()[0]
        assert entry["outcome"] == "undone"
        assert entry["failed"]["stage"] == stage
        assert entry["failed"]["step"].startswith(step)
        if stage != "prepare":
            assert len(entry["touched"][stage]) == 1
        # The sentence of the command names the node and tells that all are back.
        assert entry["failed"]["node"] in simulation.last["failed"][0]
        assert "every node is back on revision" in simulation.last["failed"][1]


# The table: each step, and what goes wrong there

STEPS = (
    "preflight: checking what a rollout needs",
    "prepare: applying prepare",
    "storage: applying storage, gluster",
    "storage: waiting for the volume",
    "storage: applying gluster",
    "storage: publishing release",
    "db: making sure that it can be touched",
    "db: applying db",
    "db: waiting until it serves",
    "db: waiting for the replica set",
    "web: draining it",
    "web: applying web",
    "web: waiting until ready",
    "web: putting it into rotation at a weight",
    "web: watching the canary",
    "web: putting it back into rotation",
    "lb: handing over the VIP",
    "lb: applying lb",
    "lb: waiting until it sees",
    "lb: waiting for the VIP",
    "verify: counting hits",
)
#: Where a failed question is no reason to stop: what is asked there is asked of several, or again.
TOLERANT = (
    "db: making sure that it can be touched",
    "web: putting it into rotation at a weight",
    "web: watching the canary",
)


@functools.cache
def course():
    """Return the step of each question that is asked when nothing goes wrong."""
    with simulated(canary=True) as rehearsal:
        assert rehearsal.rollout(release="2.0")
        return rehearsal.fleet.steps


def first_question(step):
    """Return the number of the first question that is asked in a step."""
    return next(at for at, text in enumerate(course()) if text.startswith(step))


def test_the_table_has_every_step():
    assert [text for text in course() if text and not text.startswith(STEPS)] == []


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_fails_is_undone(step):
    with simulated(canary=True) as simulation:
        simulation.fleet.fault = Fault("fails", first_question(step))
        arrived = simulation.rollout(release="2.0")
        assert simulation.problems() == []
        if step.startswith(TOLERANT):
            assert arrived or ended(simulation) == "undone"
        else:
            assert not arrived
            nothing = step.startswith("preflight")
            assert ended(simulation) == ("failed" if nothing else "undone")
            assert simulation.history()[0]["failed"]["step"].startswith(step.split(": ")[1])
            assert simulation.base() == simulation.first
        heal(simulation)
        arrives(simulation)


@pytest.mark.parametrize("step", STEPS)
def test_a_minion_that_dies_is_told_of_and_the_same_command_finishes(step):
    with simulated(canary=True) as simulation:
        simulation.fleet.fault = Fault("silent", first_question(step))
        arrived = simulation.rollout(release="2.0")
        assert simulation.fleet.broken == []
        assert simulation.crashes == []
        silent = [node.id for node in simulation.fleet.nodes.values() if not node.answers]
        if silent:
            assert not arrived
            assert ended(simulation) in ("failed", "undone")
            assert any(silent[0] in sentence for sentence in simulation.last["failed"])
        heal(simulation)
        arrives(simulation)


@pytest.mark.parametrize("when", ["before", "during", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_master_that_is_killed_is_told_of_and_the_same_command_finishes(step, when):
    with simulated(canary=True) as simulation:
        simulation.fleet.fault = Fault("dies", first_question(step), when)
        with pytest.raises(Died):
            simulation.rollout(release="2.0")
        assert simulation.history() == []
        heal(simulation)
        arrives(simulation)
        dead = simulation.history()[-1]
        assert dead["outcome"] == "failed"
        assert "died" in dead["failed"]["reason"][0]
        assert dead["failed"]["step"].startswith(step.split(": ")[1])


@pytest.mark.parametrize("step", STEPS)
def test_a_master_that_is_killed_can_be_rolled_back(step):
    with simulated(canary=True) as simulation:
        simulation.fleet.fault = Fault("dies", first_question(step), "during")
        with pytest.raises(Died):
            simulation.rollout(release="2.0")
        heal(simulation, 0)
        assert simulation.rollback(), simulation.last
        assert simulation.problems() == []
        assert simulation.base() == simulation.first


@pytest.mark.parametrize("kind", ["fails", "dies"])
@pytest.mark.parametrize("again", [False, True])
def test_a_rollout_whose_end_went_wrong_has_arrived_and_can_be_rolled_back(kind, again):
    with simulated() as rehearsal:
        assert rehearsal.rollout(release="2.0")
        arrival = max(at for at, what in enumerate(rehearsal.written) if what == "point base")
    with simulated() as simulation:
        simulation.fleet.fault = Fault(kind, None, "before", write=arrival + 1)
        with contextlib.suppress(Died):
            assert not simulation.rollout(release="2.0")
            assert "is on revision" in simulation.last["failed"][1]
            assert simulation.problems() == []
        assert simulation.base() != simulation.first
        heal(simulation)
        if again:
            arrives(simulation)
        assert simulation.rollback(), simulation.last
        assert simulation.problems() == []
        assert simulation.base() == simulation.first


@pytest.mark.parametrize("back", [False, True])
def test_a_bad_balancer_of_a_rollout_that_died_never_gets_the_vip_and_can_be_put_back(back):
    with simulated(edits=(), bad="lb") as simulation:
        applied = simulated_step("lb", "lb: waiting until it sees")
        simulation.fleet.fault = Fault("dies", applied)
        with pytest.raises(Died):
            simulation.rollout(release="2.0")
        heal(simulation, 0)
        # Whether back or once more: it is mended, though it disagrees with the other one.
        assert simulation.rollback() if back else not simulation.rollout(release="2.0")
        assert simulation.problems() == []
        assert simulation.base() == simulation.first


def simulated_step(bad, step):
    """Return the number of the first question of a step in a rollout of a bad revision."""
    with simulated(edits=(), bad=bad) as rehearsal:
        assert not rehearsal.rollout(release="2.0")
        return next(at for at, text in enumerate(rehearsal.fleet.steps) if text.startswith(step))


# Anything, at any moment, on any fleet


@st.composite
def faults(draw):
    """Return a fault at a question, by its place in the rollout, or at a write to the disk."""
    place = draw(st.floats(0, 1, exclude_max=True))
    if draw(st.integers(0, 3)) == 0:
        kind, when = draw(
            st.sampled_from([("fails", "before"), ("dies", "before"), ("dies", "after")])
        )
        return "write", place, Fault(kind, None, when)
    kind = draw(st.sampled_from(["fails", "silent", "dies", "dies"]))
    when = draw(st.sampled_from(["before", "after", *(["during"] if kind == "dies" else [])]))
    return "call", place, Fault(kind, None, when, pick=draw(st.integers(0, 7)))


@functools.cache
def length(edits, canary, bad=None):
    """Return how many writes come before a rollout, and how many questions and writes are in it."""
    with simulated(0, edits, canary, bad=bad) as rehearsal:
        before = len(rehearsal.written)
        assert rehearsal.rollout(release="2.0") == (bad is None)
        return before, len(rehearsal.fleet.asked), len(rehearsal.written)


def strike(simulation, edits, canary, struck, bad=None):
    """Have the fault be at its place in the course that a rollout takes without it."""
    where, place, fault = struck
    before, calls, writes = length(edits, canary, bad)
    if where == "call":
        fault.call = int(place * calls)
        simulation.fleet.fault = fault
        return
    # When its end cannot be written down, it is in no history either.
    last = writes - before - (5 if fault.kind == "fails" else 0)
    fault.write = before + int(place * last)
    simulation.fleet.fault = fault


@given(
    seed=st.integers(0, 10**6),
    edits=st.sampled_from(CHANGES),
    canary=st.booleans(),
    fault=faults(),
    pause=st.sampled_from([0.0, 5.0, 400.0]),
    back=st.booleans(),
)
@examples(100)
def test_whatever_happens_the_rules_hold_and_the_fleet_comes_to_an_end(
    seed, edits, canary, fault, pause, back
):
    with simulated(seed, edits, canary) as simulation:
        strike(simulation, edits, canary, fault)
        try:
            simulation.rollout(release="2.0")
        except Died:
            pass
        else:
            # A minion that is silent may keep its node where it is.
            whole = all(node.answers for node in simulation.fleet.nodes.values())
            if whole and not (fault[0] == "write" and fault[2].kind == "fails"):
                assert simulation.problems() == []
        assert simulation.fleet.broken == []
        assert simulation.crashes == []
        heal(simulation, pause)
        if not back:
            arrives(simulation)
            return
        finished = simulation.history()[:1] and ended(simulation) == "succeeded"
        left = fleet.lock.holder(simulation.master.state)
        refused = None
        try:
            assert simulation.rollback(), simulation.last
        except FleetError as error:
            refused = error
        # Where all was undone, or not even the lock was taken, there is nothing to undo.
        assert refused is None or not left and "nothing to go back to" in str(refused)
        assert simulation.problems() == []
        assert simulation.base() == simulation.first or finished


@given(
    seed=st.integers(0, 10**6),
    bad=st.sampled_from(sorted(BAD)),
    fault=faults(),
    pause=st.sampled_from([0.0, 5.0, 400.0]),
    back=st.booleans(),
)
@examples(50)
def test_a_bad_revision_is_off_the_fleet_in_the_end_whatever_else_happens(
    seed, bad, fault, pause, back
):
    with simulated(seed, (), bad=bad) as simulation:
        strike(simulation, (), False, fault, bad)
        with contextlib.suppress(Died):
            assert not simulation.rollout(release="2.0")
        assert simulation.fleet.broken == []
        assert simulation.crashes == []
        heal(simulation, pause)
        if back:
            with contextlib.suppress(FleetError):
                assert simulation.rollback(), simulation.last
        if simulation.problems():
            assert not simulation.rollout(release="2.0")
        assert simulation.problems() == []
        assert simulation.base() == simulation.first
