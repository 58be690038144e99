"""The lock, against real processes."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from fleet import lock
from fleet.errors import FleetError
from tests.support.loading import ROOT
from tests.support.waiting import until

CHANGE = "20261127-220000-abcd"
HOLD = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
from fleet import lock
lock.take(pathlib.Path(sys.argv[2]), "20261127-210000-0000", "tls")
print("taken", flush=True)
sys.stdin.read()
lock.release(pathlib.Path(sys.argv[2]))
"""


def start(folder, **kwargs):
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(ROOT), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **kwargs,
    )


@pytest.fixture
def holder(tmp_path):
    """Another process that has the lock, until it is ended or its input is closed."""
    process = start(tmp_path)
    assert process.stdout.readline() == "taken\n"
    yield process
    process.kill()
    process.wait()


def rewrite(folder, **facts):
    path = folder / lock.NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


def test_a_free_lock_is_taken_and_given_back(tmp_path):
    assert lock.holder(tmp_path) is None
    taken = lock.take(tmp_path, CHANGE, "rollout")
    assert (taken["pid"], taken["change"], taken["kind"]) == (os.getpid(), CHANGE, "rollout")
    assert taken["taken_from"] is None
    present = lock.holder(tmp_path)
    assert present["mine"]
    assert {**present, "beat": 0.0, "taken_from": None} == taken
    assert lock.release(tmp_path)
    assert lock.holder(tmp_path) is None
    assert not lock.release(tmp_path)


def test_a_process_makes_one_change_at_a_time(tmp_path):
    lock.take(tmp_path, CHANGE, "rollout")
    with pytest.raises(FleetError, match=CHANGE):
        lock.take(tmp_path, "20261127-220001-ffff", "tls")
    assert lock.holder(tmp_path)["change"] == CHANGE


def test_a_living_owner_is_named(tmp_path, holder):
    with pytest.raises(FleetError) as refused:
        lock.take(tmp_path, CHANGE, "rollout")
    words = str(refused.value)
    present = lock.holder(tmp_path)
    assert present["alive"]
    assert not present["mine"]
    parts = (present["owner"], present["since"], str(holder.pid), present["change"], "(tls)")
    for part in (*parts, f"rollout.unlock confirm={present['owner']}", "wait="):
        assert part in words
    # Who does not have it cannot give it back.
    assert not lock.release(tmp_path)
    assert lock.holder(tmp_path)


def test_a_living_owner_is_waited_for(tmp_path, holder):
    told = []

    def tell(text):
        told.append(text)
        holder.stdin.close()

    taken = lock.take(tmp_path, CHANGE, "rollout", wait=60, tell=tell)
    assert taken["mine"]
    # It gave it back, and did not die with it.
    assert taken["taken_from"] is None
    assert len(told) == 1
    assert told[0].startswith("waiting: the change 20261127-210000-0000 (tls) of ")


def test_waiting_has_an_end(tmp_path, holder):
    begun = time.monotonic()
    told = []
    with pytest.raises(FleetError, match=str(holder.pid)):
        lock.take(tmp_path, CHANGE, "rollout", wait=0.6, tell=told.append)
    assert time.monotonic() - begun >= 0.6
    assert len(told) == 1


def test_who_dies_while_it_is_waited_for_is_followed(tmp_path, holder):
    taken = lock.take(tmp_path, CHANGE, "rollout", wait=60, tell=lambda _text: holder.kill())
    # Also as long as nobody has asked how it ended.
    assert taken["taken_from"]["pid"] == holder.pid


def test_a_killed_owner_is_followed(tmp_path, holder):
    holder.kill()
    holder.wait()
    taken = lock.take(tmp_path, CHANGE, "rollout")
    assert taken["taken_from"]["pid"] == holder.pid
    assert taken["taken_from"]["change"] == "20261127-210000-0000"
    assert lock.holder(tmp_path)["mine"]


def test_a_pid_that_came_back_is_not_the_owner(tmp_path):
    lock.take(tmp_path, CHANGE, "rollout")
    rewrite(tmp_path, started=lock.started(os.getpid()) - 1)
    assert not lock.holder(tmp_path)["alive"]
    assert not lock.holder(tmp_path)["mine"]


def test_an_owner_from_before_a_reboot_is_dead(tmp_path):
    lock.take(tmp_path, CHANGE, "rollout")
    rewrite(tmp_path, boot="another")
    assert not lock.holder(tmp_path)["alive"]


def test_breaking_wants_the_owners_name(tmp_path, holder):
    owner = lock.holder(tmp_path)["owner"]
    for confirm in (None, "", "yes", owner + "x"):
        with pytest.raises(FleetError, match=f"runs: to break it say confirm={owner}"):
            lock.break_(tmp_path, confirm)
    assert lock.break_(tmp_path, owner)["pid"] == holder.pid
    assert lock.holder(tmp_path) is None


def test_who_breaks_a_dead_ones_lock_is_told_that_it_is_dead(tmp_path, holder):
    holder.kill()
    holder.wait()
    with pytest.raises(FleetError, match=f"process {holder.pid} is dead"):
        lock.break_(tmp_path, None)


def test_there_may_be_nothing_to_break(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(FleetError, match="there is no lock"):
            lock.break_(folder, "me")


def test_who_lost_the_lock_does_not_give_back_anothers(tmp_path):
    lock.take(tmp_path, CHANGE, "rollout")
    lock.break_(tmp_path, lock.owner())
    other = start(tmp_path)
    try:
        assert other.stdout.readline() == "taken\n"
        assert not lock.release(tmp_path)
        assert lock.holder(tmp_path)["pid"] == other.pid
    finally:
        other.kill()
        other.wait()


def test_only_one_of_many_gets_it(tmp_path):
    processes = [start(tmp_path, stderr=subprocess.DEVNULL) for _ in range(4)]
    try:
        said = sorted(process.stdout.readline() for process in processes)
        assert said == ["", "", "", "taken\n"]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_a_damaged_lock_is_named(tmp_path):
    (tmp_path / lock.NAME).write_text("{")
    with pytest.raises(FleetError, match=r"change\.lock is damaged .* remove it"):
        lock.take(tmp_path, CHANGE, "rollout")


def test_the_owner_gives_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.02)
    lock.take(tmp_path, CHANGE, "rollout")
    os.utime(tmp_path / lock.NAME, (0, 0))
    assert lock.holder(tmp_path)["beat"] > 1e6
    with lock.beating(tmp_path):
        until(lambda: lock.holder(tmp_path)["beat"], 10, "it beats", wanted=lambda s: s < 10)
        (tmp_path / lock.NAME).unlink()
        # A lock that was broken is not made anew by it.
        time.sleep(0.1)
        assert lock.holder(tmp_path) is None
    assert "heartbeat of the lock" not in {each.name for each in threading.enumerate()}


def test_what_is_written_is_for_its_owner_alone(tmp_path):
    folder = tmp_path / "state"
    lock.take(folder, CHANGE, "rollout")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / lock.NAME).stat().st_mode & 0o777 == 0o600


def test_behind_sudo_the_caller_is_the_owner(monkeypatch):
    monkeypatch.setenv("SUDO_USER", "ada")
    assert lock.owner().startswith("ada@")


def test_a_process_is_told_by_when_it_began():
    assert lock.started(os.getpid()) == lock.started(os.getpid()) > 0
    gone = subprocess.Popen(["true"])
    until(lambda: lock.started(gone.pid) is None, 10, "it has ended, and is not waited for yet")
    gone.wait()
    assert lock.started(gone.pid) is None
