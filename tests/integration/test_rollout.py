"""A rollout that cannot go on stops, puts back what it touched, and names node, step and reason."""

import json
import os
import subprocess

import pytest

from fleet import lock
from fleet import revision as revisions
from fleet.journal import Journal


@pytest.fixture(autouse=True)
def _clean(clean):
    return clean


def rollout(salt_run, **pillar):
    args = [f"pillar={json.dumps(pillar)}"] if pillar else []
    return salt_run("state.orchestrate", "orch.rollout", *args)


def hold_lock(fleet, pid):
    fleet.state.mkdir(exist_ok=True)
    held = {
        "owner": "somebody@else",
        "host": "elsewhere",
        "pid": pid,
        "started": lock.started(pid) or 1,
        "boot": lock.boot(),
        "since": "2026-01-01T00:00:00+00:00",
        "change": "20260101-000000-0000",
        "kind": "rollout",
    }
    (fleet.state / lock.NAME).write_text(json.dumps(held))
    Journal(fleet.state, held["change"]).write("begun", kind="rollout", owner=held["owner"])


def dead_pid():
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_all_that_is_in_the_way_is_told_at_once_and_by_name(salt_run, fleet):
    silent = dict(fleet.nodes["alpha"], address="192.168.77.13", roles=["web"])
    fleet.write_topology({**fleet.nodes, "gamma": silent})
    (fleet.tree / "base/hosts.sls").write_text("{{ raise('a broken state') }}")
    before = revisions.base(fleet.master)
    done = rollout(salt_run, batch=0)
    assert done.returncode != 0
    assert "gamma: the minion does not answer" in done.stdout
    [entry] = fleet.history()
    assert entry["outcome"] == "failed"
    assert entry["failed"]["stage"] == "preflight"
    reasons = " ".join(entry["failed"]["reason"])
    for words in ("gamma: the minion does not answer", "a broken state", "batch must be a number"):
        assert words in reasons
    assert not entry.get("changes")
    assert lock.holder(fleet.state) is None
    assert revisions.base(fleet.master) == before
    assert revisions.candidate(fleet.master) is None


def test_a_failing_state_ends_it_with_node_step_and_reason_and_is_put_back(salt_run, fleet):
    # In the candidate alone: what it goes back to succeeds.
    (fleet.tree / "gluster/install.sls").write_text(
        "gluster.install on {{ grains.id }}:\n  test.fail_with_changes\n"
    )
    before = revisions.base(fleet.master)
    done = rollout(salt_run)
    assert done.returncode != 0
    [entry] = fleet.history()
    assert entry["failed"]["stage"] == "prepare", entry["failed"]
    assert "beta" in entry["failed"]["node"]
    assert entry["failed"]["step"] == "applying prepare"
    assert "gluster.install on beta" in entry["failed"]["reason"][-1]
    assert entry["outcome"] == "undone", entry
    assert "the rollout failed: prepare" in done.stdout
    assert f"every node is back on revision {before.id}" in done.stdout
    assert lock.holder(fleet.state) is None
    assert revisions.base(fleet.master) == before
    assert revisions.moving(fleet.master) == {}


def test_nothing_to_go_back_to_is_said_on_a_first_rollout(salt_run, fleet):
    fleet.bare()
    fleet.switch("change", "gluster.install", "beta")
    fleet.switch("fail", "gluster.install", "beta")
    done = rollout(salt_run)
    assert done.returncode != 0
    assert "there is no revision before this one to go back to" in done.stdout
    assert fleet.history()[0]["outcome"] == "failed"
    assert revisions.base(fleet.master) is None


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"relase": "1.4.0"}, "has no 'relase': is release meant?"),
        ({"release": "9.9.9"}, "make dist VERSION=9.9.9"),
        ({"release": 1.1}, "write it as text"),
        ({"revision": "r123456789ab"}, "there is no revision 'r123456789ab'"),
        ({"revision": "../base"}, "there is no revision"),
        ({"wait": "long"}, "wait must be a number of seconds"),
    ],
)
def test_a_mistake_in_what_is_said_is_refused(salt_run, fleet, said, words):
    done = rollout(salt_run, **said)
    assert done.returncode != 0
    assert words in done.stdout
    assert lock.holder(fleet.state) is None
    assert revisions.candidate(fleet.master) is None


def test_a_damaged_release_is_refused(salt_run, fleet):
    archive = fleet.dist / "counterapp-0.2.0.tar.gz"
    archive.write_bytes(b"not an archive")
    try:
        done = rollout(salt_run, release="0.2.0")
    finally:
        archive.unlink()
    assert done.returncode != 0
    assert "counterapp-0.2.0.tar.gz" in done.stdout


def test_only_one_at_a_time(salt_run, fleet):
    hold_lock(fleet, os.getpid())
    done = rollout(salt_run)
    assert done.returncode != 0
    assert "somebody@else" in done.stdout
    assert "2026-01-01T00:00:00" in done.stdout
    # The lock is still theirs, and their history is not written for them.
    assert lock.holder(fleet.state)["owner"] == "somebody@else"
    assert not fleet.history()


def test_the_lock_of_a_dead_process_is_taken_over_and_its_end_written_down(salt_run, fleet):
    hold_lock(fleet, dead_pid())
    fleet.switch("fail", "base.hosts", "beta")
    fleet.switch("change", "base.hosts", "beta")
    done = rollout(salt_run)
    assert done.returncode != 0
    dead, entry = fleet.history()
    assert (dead["id"], dead["outcome"]) == ("20260101-000000-0000", "failed")
    assert "died" in dead["failed"]["reason"][0]
    # It came as far as the stages, so the lock was no hindrance.
    assert entry["failed"]["stage"] == "prepare", entry


def test_breaking_the_lock_wants_its_owner(salt_run, fleet):
    hold_lock(fleet, os.getpid())
    refused = salt_run("rollout.unlock")
    assert refused.returncode != 0
    assert "confirm=somebody@else" in refused.stdout
    assert lock.holder(fleet.state)
    assert salt_run("rollout.unlock", "confirm=somebody@else").returncode == 0
    assert lock.holder(fleet.state) is None


def test_a_step_without_a_rollout_is_refused(salt_run):
    done = salt_run("rollout.stage", "web")
    assert done.returncode != 0
    assert "a step is called by its orchestration" in done.stdout


def test_the_plan_names_what_would_change_and_touches_nothing(salt_run, fleet):
    fleet.switch("change", "base.hosts", "beta")
    done = salt_run("rollout.plan")
    assert done.returncode == 2, done
    assert "base.hosts on beta" in done.stdout
    assert not fleet.history()
    assert revisions.candidate(fleet.master) is None


def test_where_nothing_was_before_there_is_nothing_to_go_back_to(salt_run):
    done = salt_run("rollout.rollback")
    assert done.returncode != 0
    assert "there is nothing to go back to" in done.stdout
