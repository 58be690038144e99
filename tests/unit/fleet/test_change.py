"""A change: from its lock to its line in the history, whatever happens in between."""

import subprocess
import sys

import pytest
from salt.exceptions import CommandExecutionError

from fleet import change as changes
from fleet import journal, lock
from fleet.change import Change, StepFailed
from fleet.errors import FleetError
from fleet.master import Master
from tests.support.loading import ROOT

DIE = """
import os, pathlib, sys
sys.path.insert(0, sys.argv[1])
from fleet.change import Change
from fleet.master import Master
change = Change(Master({"counterapp_state": sys.argv[2]}), "rollout", to="0123456789ab", _plan=1)
change.open()
change.note(touched={"web": ["web-1"]}, _secret="not for the history")
print(change.id, flush=True)
if sys.argv[3] == "in a step":
    with change.step("web", "replacing it", "web-1"), change.step("web", "draining it", "web-1"):
        os._exit(1)
elif sys.argv[3] == "at its end":
    change.journal.write("ended", outcome="succeeded", failed=None)
os._exit(1)
"""


@pytest.fixture
def master(tmp_path):
    return Master({"id": "master", "counterapp_state": str(tmp_path / "state")})


@pytest.fixture
def change(master, told):
    made = Change(master, "rollout", listeners=(told.append,), to="0123456789ab")
    yield made
    if lock.release(master.state):
        made.close()


def events(told):
    return [(each["event"], each.get("step")) for each in told]


def last(master):
    return journal.history(master.state)[0]


def test_a_change_has_the_lock_for_as_long_as_it_runs(master):
    with Change(master, "tls") as change:
        present = lock.holder(master.state)
        assert (present["mine"], present["change"], present["kind"]) == (True, change.id, "tls")
        with pytest.raises(FleetError, match=change.id), Change(master, "rollout"):
            pass
        assert lock.holder(master.state)["change"] == change.id
    assert lock.holder(master.state) is None
    assert len(journal.history(master.state)) == 1


def test_one_that_succeeds_is_in_the_history(master, change, told):
    with change:
        change.note(release="1.4.0")
        with change.step("web", "draining it", "web-1") as step:
            step.waits("2 sessions", 28)
            step.did = "drained"
    entry = last(master)
    assert entry["id"] == change.id
    assert entry["kind"] == "rollout"
    assert (entry["outcome"], entry["failed"]) == ("succeeded", None)
    assert (entry["to"], entry["release"]) == ("0123456789ab", "1.4.0")
    assert entry["owner"] == lock.owner()
    assert entry["started"] <= entry["ended"]
    assert entry["seconds"] >= 0
    assert events(told) == [
        ("begun", None),
        ("note", None),
        ("begins", "draining it"),
        ("waits", "draining it"),
        ("done", "draining it"),
        ("ended", None),
    ]
    assert {each["change"] for each in told} == {change.id}
    assert (told[3]["stage"], told[3]["node"]) == ("web", "web-1")
    assert (told[3]["seen"], told[3]["left"]) == ("2 sessions", 28)
    assert told[4]["did"] == "drained"
    lines = change.journal.lines()
    assert [line["event"] for line in lines] == ["begun", "note", "begins", "done", "ended"]
    assert lines[-1]["outcome"] == "succeeded"


def test_a_step_that_fails_is_what_the_change_failed_at(master, change, told):
    with pytest.raises(StepFailed) as failed, change, change.step("db", "waiting", "db-1"):
        raise FleetError("it is behind", "it is slow")
    assert str(failed.value) == "db db-1: waiting: it is behind; it is slow"
    entry = last(master)
    assert entry["outcome"] == "failed"
    assert entry["failed"] == {
        "stage": "db",
        "node": "db-1",
        "step": "waiting",
        "reason": ["it is behind", "it is slow"],
    }
    assert told[2]["event"] == "fails"
    assert told[2]["reason"] == ["it is behind", "it is slow"]
    assert change.journal.at() is None


def test_steps_nest_and_the_innermost_tells_why(master, change, told):
    with (
        pytest.raises(StepFailed) as failed,
        change,
        change.step("web", "replacing it", "web-1"),
        change.step("web", "draining it", "web-1"),
    ):
        raise CommandExecutionError("sessions do not end")
    assert failed.value.failure["step"] == "draining it"
    assert last(master)["failed"] == failed.value.failure
    # Once is enough for who listens; the journal ends every step that it began.
    assert [each["step"] for each in told if each["event"] == "fails"] == ["draining it"]
    lines = [line for line in change.journal.lines() if line["event"] == "fails"]
    assert [line["step"] for line in lines] == ["draining it", "replacing it"]
    assert {tuple(line["reason"]) for line in lines} == {("sessions do not end",)}
    assert change.journal.at() is None


def test_the_first_failure_is_the_changes(master, change):
    with change:
        with pytest.raises(StepFailed), change.step("web", "replacing it", "web-1"):
            raise FleetError("not ready")
        with pytest.raises(StepFailed), change.step("web", "putting it back", "web-1"):
            raise FleetError("not ready either")
    entry = last(master)
    assert entry["outcome"] == "failed"
    assert entry["failed"]["step"] == "replacing it"
    reasons = [line["reason"] for line in change.journal.lines() if line["event"] == "fails"]
    assert reasons == [["not ready"], ["not ready either"]]


def test_one_that_was_undone_says_so(master, change):
    with change:
        with pytest.raises(StepFailed), change.step("web", "replacing it", "web-1"):
            raise FleetError("not ready")
        change.undone = True
    assert (last(master)["outcome"], last(master)["failed"]["node"]) == ("undone", "web-1")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), FleetError("no")])
def test_expected_errors_of_a_step_fail_it(change, error):
    with change, pytest.raises(StepFailed) as failed, change.step("web", "writing"):
        raise error
    assert failed.value.failure["reason"] == [str(error)]
    assert failed.value.__cause__ is error


@pytest.mark.parametrize("error", [ValueError("a mistake of ours"), KeyboardInterrupt()])
def test_whatever_ends_a_change_is_in_the_history_and_the_lock_is_free(master, change, error):
    with pytest.raises(type(error)), change, change.step("web", "draining it", "web-1"):
        raise error
    assert last(master)["outcome"] == "failed"
    assert type(error).__name__ in last(master)["failed"]["reason"][0]
    assert lock.holder(master.state) is None


def test_a_lock_that_is_taken_leaves_no_trace(master):
    with Change(master, "tls"):
        with pytest.raises(FleetError):
            Change(master, "rollout").open()
        assert len(journal.journals(master.state)) == 1
    assert len(journal.history(master.state)) == 1


def test_a_change_that_cannot_begin_its_journal_gives_the_lock_back(master, change):
    master.state.mkdir()
    (master.state / "changes").write_text("in the way")
    with pytest.raises(OSError, match="changes"):
        change.open()
    assert lock.holder(master.state) is None
    with pytest.raises(FleetError, match="no change runs"):
        changes.current()


def test_the_steps_of_an_orchestration_find_their_change(master, change):
    with pytest.raises(FleetError, match="no change runs in this process: a step is called by"):
        changes.current()
    change.open()
    assert changes.current() is change
    change.close()
    with pytest.raises(FleetError, match="no change runs"):
        changes.current()


def test_hooks_are_called_at_the_end(master):
    called = []

    def hook(when, entry):
        called.append((when, entry["outcome"]))

    with Change(master, "rollout", hook=hook):
        pass
    with pytest.raises(StepFailed), Change(master, "rollout", hook=hook) as change:  # noqa: SIM117
        with change.step("web", "draining it"):
            raise FleetError("no")
    assert called == [("after", "succeeded"), ("failure", "failed")]


# Who died


def die(master, how):
    """A change of another process, which dies in the middle of it; returns its ID."""
    died = subprocess.run(
        [sys.executable, "-c", DIE, str(ROOT), str(master.state), how],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert died.returncode == 1
    return died.stdout.strip()


def test_who_takes_over_writes_the_dead_ones_line(master):
    dead = die(master, "in a step")
    present = lock.holder(master.state)
    assert not present["alive"]
    with Change(master, "tls") as change:
        failure = {
            "stage": "web",
            "node": "web-1",
            "step": "draining it",
            "reason": [f"its process {present['pid']} on {present['host']} died"],
        }
        assert change.facts["taken_from"] == {
            **failure,
            "change": dead,
            "owner": present["owner"],
        }
    mine, its = journal.history(master.state)
    assert (mine["id"], mine["outcome"]) == (change.id, "succeeded")
    assert mine["taken_from"]["change"] == dead
    assert (its["id"], its["kind"], its["outcome"]) == (dead, "rollout", "failed")
    assert its["failed"] == failure
    assert its["to"] == "0123456789ab"
    assert its["touched"] == {"web": ["web-1"]}
    assert its["started"] == present["since"]
    assert not any(key.startswith("_") for key in its)
    assert journal.find(master.state, dead).lines()[-1]["outcome"] == "failed"


def test_who_dies_between_two_steps_was_at_none(master):
    dead = die(master, "between steps")
    with Change(master, "rollout"):
        pass
    its = journal.history(master.state)[1]
    assert its["id"] == dead
    assert its["failed"]["step"] is None
    assert "died" in its["failed"]["reason"][0]


def test_who_died_with_all_done_is_not_called_failed(master):
    dead = die(master, "at its end")
    with Change(master, "rollout") as change:
        assert "taken_from" not in change.facts
    _mine, its = journal.history(master.state)
    assert (its["id"], its["outcome"], its["failed"]) == (dead, "succeeded", None)


@pytest.mark.parametrize("how", ["in a step", "at its end"])
def test_a_dead_ones_line_is_written_once(master, how):
    dead = die(master, how)
    for _ in range(2):
        with Change(master, "rollout"):
            pass
    assert [each["id"] for each in journal.history(master.state)].count(dead) == 1


def test_who_died_before_it_began_anything_has_no_line(master):
    dead = die(master, "in a step")
    journal.find(master.state, dead).path.unlink()
    with Change(master, "rollout") as change:
        assert "taken_from" not in change.facts
    assert [each["id"] for each in journal.history(master.state)] == [change.id]


def test_a_change_whose_end_cannot_be_written_keeps_its_lock_for_who_comes_next(
    master, monkeypatch
):
    def full(*_args):
        raise OSError("no space")

    change = Change(master, "rollout").open()
    monkeypatch.setattr(changes, "record", full)
    with pytest.raises(OSError, match="no space"):
        change.close()
    assert lock.holder(master.state)["change"] == change.id
    monkeypatch.undo()
    # As it is once that process has ended.
    monkeypatch.setattr(lock, "started", lambda _pid: None)
    with Change(master, "rollout") as after:
        pass
    entries = journal.history(master.state)
    assert [entry["id"] for entry in entries] == [after.id, change.id]
