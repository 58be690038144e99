"""A rollout that cannot go on stops, exits with an error, and names node, step and reason."""

import json
import os
import subprocess

import pytest

from tests.support.loading import load

ledger = load("_utils/ledger.py")


@pytest.fixture(autouse=True)
def _clean(clean):
    return clean


def rollout(salt_run, **pillar):
    args = [f"pillar={json.dumps(pillar)}"] if pillar else []
    return salt_run("state.orchestrate", "orch.rollout", *args)


def lock_of(pid):
    return {
        "owner": "somebody@else",
        "pid": pid,
        "started": ledger.started(pid) or 1,
        "boot": ledger.boot(),
        "since": "2026-01-01T00:00:00+00:00",
        "jid": "20260101000000000000",
    }


def hold_lock(fleet, pid):
    fleet.state.mkdir(exist_ok=True)
    (fleet.state / "rollout.lock").write_text(json.dumps(lock_of(pid)))


def dead_pid():
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_dead_minion_stops_it_by_name(salt_run, fleet):
    silent = dict(fleet.nodes["alpha"], address="192.168.77.13", roles=["web"])
    fleet.write_topology({**fleet.nodes, "gamma": silent})
    fleet.switch("change", "base.hosts", "beta")
    done = rollout(salt_run)
    assert done.returncode != 0
    assert "gamma: the minion does not answer" in done.stdout
    assert "rollout failed: preflight" in done.stdout
    [entry] = fleet.history()
    assert entry["outcome"] == "failed"
    assert "gamma" in entry["failed"]["reason"][0]
    assert not entry["changes"]
    assert not (fleet.state / "rollout.lock").exists()


def test_a_failing_state_ends_it_with_node_step_and_reason(salt_run, fleet):
    fleet.switch("change", "base.hosts", "beta")
    fleet.switch("fail", "gluster.install", "beta")
    done = rollout(salt_run)
    assert done.returncode != 0
    [entry] = fleet.history()
    assert entry["failed"]["stage"] == "prepare", entry["failed"]
    assert "beta" in entry["failed"]["node"]
    assert entry["failed"]["step"] == "applying prepare"
    assert entry["failed"]["reason"] == ["beta: gluster.install on beta: as the test says"]
    # The stage is an orchestration of its own: what fails in it must fail the whole.
    assert "gluster.install on beta: as the test says" in done.stdout
    assert "rollout failed: prepare beta applying prepare" in done.stdout
    assert not (fleet.state / "rollout.lock").exists()
    assert not (fleet.config / "pillar/release.sls").exists()


def test_a_stage_that_does_not_render_ends_it(salt_run, fleet):
    broken = fleet.tree / "orch/prepare.sls"
    whole = broken.read_text()
    try:
        broken.write_text("{{ raise('a broken stage') }}")
        done = rollout(salt_run)
    finally:
        broken.write_text(whole)
    assert done.returncode != 0
    assert "a broken stage" in done.stdout
    assert fleet.history()[0]["outcome"] == "failed"


def test_a_release_that_is_not_there_is_refused(salt_run, fleet):
    done = rollout(salt_run, release="9.9.9")
    assert done.returncode != 0
    assert "release 9.9.9 is not in" in done.stdout
    assert "make dist VERSION=9.9.9" in done.stdout


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
    assert json.loads((fleet.state / "rollout.lock").read_text())["owner"] == "somebody@else"
    assert not fleet.history()


def test_the_lock_of_a_dead_process_is_taken_over(salt_run, fleet):
    hold_lock(fleet, dead_pid())
    fleet.switch("change", "base.hosts", "beta")
    fleet.switch("fail", "base.hosts", "beta")
    done = rollout(salt_run)
    assert done.returncode != 0
    # It came as far as the stages, so the lock was no hindrance.
    failed = fleet.history()[0]["failed"]
    assert failed["stage"] == "prepare", failed


def test_breaking_the_lock_wants_its_owner(salt_run, fleet):
    hold_lock(fleet, os.getpid())
    refused = salt_run("counterapp.unlock")
    assert refused.returncode != 0
    assert "confirm=somebody@else" in refused.stdout
    assert (fleet.state / "rollout.lock").exists()
    assert salt_run("counterapp.unlock", "confirm=somebody@else").returncode == 0
    assert not (fleet.state / "rollout.lock").exists()


def test_a_step_without_a_rollout_is_refused(salt_run):
    done = salt_run("state.orchestrate", "orch.web")
    assert done.returncode != 0
    assert "no rollout has passed its preflight" in done.stdout


def test_the_plan_names_what_would_change(salt_run, fleet):
    fleet.switch("change", "base.hosts", "beta")
    done = salt_run("counterapp.plan")
    assert done.returncode == 0, done
    nodes = done.data["nodes"]
    assert nodes["beta"]["pending"] == {"base.hosts": ["base.hosts on beta"]}
    assert nodes["alpha"]["pending"] == {}
