"""What is made of the answers of minions."""

import math
import types

import pytest
from salt.exceptions import CommandExecutionError

from tests.support.loading import load

fleet = load("_utils/fleet.py")


def state(result, changes=None, comment="", number=0, **more):
    return {
        "result": result,
        "changes": changes or {},
        "comment": comment,
        "__id__": more.get("id", "a state"),
        "__sls__": more.get("sls", "web.config"),
        "__run_num__": number,
    }


def test_a_good_run():
    report = fleet._digest({"a": state(True), "b": state(True, {"new": 1}, id="changed")})
    assert report["result"] is True
    assert report["states"] == 2
    assert [each["id"] for each in report["changed"]] == ["changed"]


def test_what_a_dry_run_would_change():
    report = fleet._digest({"a": state(None, comment="would be set", id="pending")})
    assert report["result"] is True
    assert report["changed"] == [
        {"id": "pending", "sls": "web.config", "comment": "would be set"},
    ]


def test_the_cause_is_told_and_not_its_consequences():
    consequence = state(False, comment="One or more requisite failed: web.config.x", id="later")
    report = fleet._digest(
        {
            "b": {**consequence, "__run_num__": 1},
            "a": state(False, comment="no\n  such   file", id="cause"),
        }
    )
    assert report["result"] is False
    assert fleet.why(report) == "cause: no such file"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (["Rendering SLS 'base:web' failed:\n  boom"], "Rendering SLS 'base:web' failed: boom"),
        ("The function is running as PID 7", "The function is running as PID 7"),
        ({}, "no state was run"),
    ],
)
def test_what_could_not_be_run(answer, words):
    report = fleet._digest(answer)
    assert report["result"] is False
    assert fleet.why(report) == words


def test_last_words_of_a_traceback():
    text = "Traceback (most recent call last):\n  File x\nsalt.exceptions.SaltException: no\n"
    assert fleet.last_words(text) == "SaltException: no"
    assert fleet.last_words("") == "no reason was given"


def test_a_module_that_is_not_loaded_yet_is_told_apart():
    late = {"ret": "'mongodb.status' is not available.", "retcode": 254}
    assert fleet._not_loaded(late, "mongodb.status")
    assert not fleet._not_loaded(late, "gluster.info")
    assert not fleet._not_loaded({"ret": {"state": "PRIMARY"}}, "mongodb.status")
    assert not fleet._not_loaded(None, "mongodb.status")


@pytest.mark.parametrize(
    ("initialized", "is_open", "begun"),
    [
        ([False, False], [False, False], False),
        ([True, True], [False, False], True),
        # A member that is down leaves the set what it is.
        ([True, False], [False, False], True),
        # Initiated, and nobody has made the administrator yet.
        ([True, True], [True, False], False),
    ],
)
def test_how_far_the_replica_set_is(monkeypatch, initialized, is_open, begun):
    answers = {
        "mongodb.status": [{"initialized": each} for each in initialized],
        "mongodb.is_open": is_open,
    }
    monkeypatch.setattr(
        fleet,
        "ask",
        lambda nodes, function: dict(zip(nodes, answers[function], strict=True)),
    )
    assert fleet.replica_set(["db-1", "db-2"])["begun"] is begun


def test_a_silent_member_is_no_missing_set(monkeypatch):
    silent = {"answers": {}, "failed": {"db-1": "the minion does not answer"}}
    monkeypatch.setattr(fleet, "everyone", lambda *_args: silent)
    with pytest.raises(CommandExecutionError, match="db-1: the minion does not answer"):
        fleet.replica_set(["db-1"])


class TestClocks:
    @pytest.fixture
    def clocks(self, monkeypatch):
        """Hold clocks that are so far off against a master's whose questions take their time.

        Each question takes one of ``trips``, in seconds, and a node reads its clock when ``share``
        of that has passed.
        """
        now = [1_800_000_000.0]
        asked = []
        monkeypatch.setattr(fleet, "time", types.SimpleNamespace(time=lambda: now[0]))

        def holding(off, trips=(0.5, 0.5, 0.5), share=0.5):
            shares = share if isinstance(share, list) else [share] * len(trips)
            left = list(zip(trips, shares, strict=True))

            def everyone(nodes, function):
                assert function == "counterapp.clock"
                asked.append(sorted(nodes))
                if not nodes:
                    return {"answers": {}, "failed": {}}
                trip, part = left.pop(0)
                read = now[0] + part * trip
                now[0] += trip
                known = {n: off[n] for n in nodes if isinstance(off[n], int | float)}
                return {
                    "answers": {node: read + seconds for node, seconds in known.items()},
                    "failed": {node: off[node] for node in nodes if node not in known},
                }

            monkeypatch.setattr(fleet, "everyone", everyone)
            return fleet.clocks(off, 2)

        holding.asked = asked
        return holding

    @pytest.mark.parametrize("share", [0, 0.5, 1])
    def test_clocks_that_are_off_are_told_by_how_much(self, clocks, share):
        off = {"a": 0, "b": 3660, "c": -86_400, "d": 2.6, "e": -1.4}
        found = clocks(off, share=share)
        assert found["failed"] == {}
        assert found["wrong"] == {
            node: pytest.approx(off[node], abs=0.26) for node in ("b", "c", "d")
        }
        assert clocks.asked[0] == list(off)

    @pytest.mark.parametrize("share", [0, 0.5, 1])
    @pytest.mark.parametrize("off", [-2, 0, 2])
    def test_a_slow_answer_makes_no_clock_wrong(self, clocks, off, share):
        assert clocks({"a": off}, trips=(30, 9, 4), share=share)["wrong"] == {}
        assert clocks.asked == [["a"]] * 3

    def test_who_is_in_doubt_is_asked_again_alone(self, clocks):
        found = clocks({"a": 0, "b": -5, "c": 60}, trips=(8, 1))
        assert list(found["wrong"]) == ["b", "c"]
        assert clocks.asked == [["a", "b", "c"], ["a", "b"], []]

    def test_answers_are_put_together(self, clocks):
        # Read at the end of one trip and at the beginning of the other: both leave 3 s open.
        assert clocks({"a": 1.5}, trips=(3, 3), share=[1, 0])["wrong"] == {}
        assert clocks.asked == [["a"], ["a"], []]

    def test_who_tells_no_time_is_named(self, clocks):
        found = clocks({"a": math.nan, "b": "the minion does not answer", "c": 0})
        assert found["wrong"] == {}
        assert found["failed"] == {"a": "nan is no time", "b": "the minion does not answer"}
