"""What every step goes by: asking, time, and applying states on the way there and back."""

import time

import pytest

from fleet import minions, revision, work
from fleet.change import StepFailed
from fleet.errors import FleetError

GOOD = {"file_|-x_|-x_|-managed": {"result": True, "changes": {"new": 1}, "__id__": "x"}}
SAME = {"file_|-x_|-x_|-managed": {"result": True, "changes": {}, "__id__": "x"}}
BAD = {"file_|-x_|-x_|-managed": {"result": False, "comment": "boom", "__id__": "x"}}


class Fleet:
    """Minions that apply states as they were told; all else is answered with True."""

    def __init__(self):
        self.states = {}
        self.silent = set()
        self.asked = []

    def everyone(self, nodes, function, arg=(), kwarg=None, timeout=15, patience=10):
        nodes = list(nodes)
        self.asked.append((function, nodes, list(arg), dict(kwarg or {})))
        found = minions.Answers()
        for node in nodes:
            if node in self.silent:
                found.failed[node] = "the minion does not answer"
            else:
                answer = self.states.get(node, GOOD) if function == "state.sls" else True
                found.answers[node] = answer
        return found

    def functions(self):
        return [function for function, *_ in self.asked]


@pytest.fixture
def going(change):
    def to(environment="candidate", **more):
        target = revision.Revision(change.master, "0" * 12, change.master.state)
        return work.Work(change, Fleet(), target, environment, None, {}, **more)

    return to


class TestTime:
    def test_without_a_deadline_the_timeout_is_all(self, going):
        assert going().left(30) == 30

    def test_the_nearest_deadline_counts(self, going):
        ours = going(end=time.monotonic() + 100)
        with ours.within(50):
            assert 49 < ours.left(1000) <= 50
            with ours.within(None):
                assert 49 < ours.left(1000) <= 50
            assert ours.left(10) == 10
        assert 99 < ours.left(1000) <= 100

    def test_a_deadline_that_is_over_ends_what_waits(self, going):
        ours = going(end=time.monotonic() - 1)
        with pytest.raises(FleetError, match="the deadline is over"):
            ours.left(30)
        with (
            pytest.raises(StepFailed, match="the deadline is over"),
            ours.step("web", "waiting", "web-1") as step,
        ):
            ours.until(lambda: (False, "not yet"), 30, "it is so", step)

    def test_a_deadline_ends_with_its_block_also_when_that_fails(self, going):
        ours = going()
        with pytest.raises(ValueError, match="no"), ours.within(5):
            raise ValueError("no")
        assert ours.left(30) == 30

    def test_what_is_waited_for_is_told_with_the_time_left(self, going, told):
        ours = going()
        looks = iter([(False, "2 left"), (True, "none left")])
        with ours.step("web", "draining it", "web-1") as step:
            assert ours.until(lambda: next(looks), 30, "it is empty", step) == "none left"
        [waits] = [each for each in told if each["event"] == "waits"]
        assert (waits["node"], waits["seen"]) == ("web-1", "2 left")
        assert 29 < waits["left"] <= 30


class TestApplying:
    def test_forward_nodes_are_noted_before_they_are_touched(self, going, change):
        ours = going()
        seen = []

        def everyone(nodes, function, *rest):
            noted = change.journal.facts().get("touched")
            seen.append((function, noted, revision.moving(change.master)))
            return Fleet.everyone(ours.minions, nodes, function, *rest)

        ours.minions.everyone = everyone
        ours.apply("web", ["web-1"], ["web"], {"fresh": []})
        assert seen[0] == ("state.sls", {"web": ["web-1"]}, {"web-1": change.id})
        [(_function, nodes, arg, kwarg), refreshed] = ours.minions.asked
        assert (nodes, arg) == (["web-1"], ["web"])
        assert kwarg["saltenv"] == kwarg["pillarenv"] == "candidate"
        assert kwarg["pillar"] == {"fresh": [], "fire_event": "progress"}
        assert refreshed[0] == "saltutil.refresh_pillar"

    def test_back_all_is_from_base(self, going, change):
        ours = going("base")
        ours.apply("web", ["web-1"], ["web"])
        assert ours.minions.functions() == ["state.sls", "saltutil.refresh_pillar"]
        given = ours.minions.asked[0][3]
        assert given["saltenv"] == given["pillarenv"] == "base"
        # What is put back was touched on the way there; nothing is added to it.
        assert "touched" not in change.facts
        assert revision.moving(change.master) == {}

    def test_a_state_that_fails_names_node_and_reason(self, going, change):
        ours = going()
        ours.minions.states["web-2"] = BAD
        with pytest.raises(StepFailed) as caught:
            ours.apply("web", ["web-1", "web-2"], ["web"])
        assert caught.value.failure == {
            "stage": "web",
            "node": "web-1, web-2",
            "step": "applying web",
            "reason": ["web-2: x: boom"],
        }
        # What had changed counts all the same.
        assert change.facts["changes"] == {"web-1": 1}
        change.failure = None

    def test_a_silent_minion_is_a_failure(self, going, change):
        ours = going()
        ours.minions.silent.add("web-1")
        with pytest.raises(StepFailed, match="web-1: the minion does not answer"):
            ours.apply("web", ["web-1"], ["web"])
        assert change.facts["touched"] == {"web": ["web-1"]}
        change.failure = None

    def test_nothing_is_touched_after_the_deadline(self, going, change):
        ours = going(end=time.monotonic() - 1)
        with pytest.raises(StepFailed, match="the deadline is over"):
            ours.apply("web", ["web-1"], ["web"])
        assert ours.minions.asked == []
        assert "touched" not in change.facts
        change.failure = None

    def test_touched_nodes_are_kept_by_stage_and_once(self, going, change):
        ours = going()
        for stage, nodes in (("db", ["db-1"]), ("web", ["web-1"]), ("web", ["web-1", "web-2"])):
            ours.touch(stage, nodes)
        assert change.facts["touched"] == {"db": ["db-1"], "web": ["web-1", "web-2"]}
        before = len(change.journal.lines())
        ours.touch("web", ["web-2"])
        assert len(change.journal.lines()) == before

    def test_changes_are_counted_by_node(self, going, change):
        ours = going()
        for _ in range(2):
            ours.apply("web", ["web-1"], ["web"])
        ours.minions.states["web-1"] = SAME
        ours.apply("web", ["web-1"], ["web"])
        assert change.facts["changes"] == {"web-1": 2}


class TestAsking:
    def test_ask_raises_and_everyone_tells(self, going):
        ours = going()
        ours.minions.silent.add("b")
        assert ours.everyone(["a", "b"], "test.ping").answers == {"a": True}
        with pytest.raises(FleetError, match="test.ping failed on b"):
            ours.ask(["a", "b"], "test.ping")
        assert ours.ask(["a"], "x.y", 1, z=2) == {"a": True}
        assert ours.minions.asked[-1] == ("x.y", ["a"], [1], {"z": 2})
