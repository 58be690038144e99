"""The lock, the journal and the history, against real processes."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.loading import ROOT, load

ledger = load("_utils/ledger.py")

HOLD = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("ledger", sys.argv[1])
ledger = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ledger)
ledger.take(sys.argv[2], jid="1")
print("taken", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has the lock, until it is ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(ROOT / "_utils/ledger.py"), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "taken\n"
    yield process
    process.kill()
    process.wait()


def test_a_free_lock_is_taken_and_given_back(tmp_path):
    assert ledger.holder(tmp_path) is None
    taken = ledger.take(tmp_path, jid="7")
    assert (taken["pid"], taken["jid"], taken["taken_from"]) == (os.getpid(), "7", None)
    assert ledger.holder(tmp_path)["mine"]
    assert ledger.release(tmp_path)
    assert ledger.holder(tmp_path) is None
    assert not ledger.release(tmp_path)


def test_it_can_be_taken_again_by_who_has_it(tmp_path):
    first = ledger.take(tmp_path)
    assert ledger.take(tmp_path)["since"] == first["since"]


def test_a_living_owner_is_named(tmp_path, holder):
    with pytest.raises(ledger.LedgerError) as refused:
        ledger.take(tmp_path)
    words = str(refused.value)
    present = ledger.holder(tmp_path)
    assert present["alive"]
    assert not present["mine"]
    for part in (present["owner"], present["since"], str(holder.pid), "counterapp.unlock"):
        assert part in words
    # Who does not have it cannot give it back.
    assert not ledger.release(tmp_path)
    assert ledger.holder(tmp_path)


def test_a_killed_owner_is_followed(tmp_path, holder):
    holder.kill()
    holder.wait()
    taken = ledger.take(tmp_path)
    assert taken["taken_from"]["pid"] == holder.pid
    assert ledger.holder(tmp_path)["mine"]


def test_a_pid_that_came_back_is_not_the_owner(tmp_path):
    ledger.take(tmp_path)
    path = tmp_path / ledger.LOCK
    lock = json.loads(path.read_text())
    path.write_text(json.dumps({**lock, "started": lock["started"] - 1}))
    assert not ledger.holder(tmp_path)["alive"]


def test_an_owner_from_before_a_reboot_is_dead(tmp_path):
    ledger.take(tmp_path)
    path = tmp_path / ledger.LOCK
    path.write_text(json.dumps({**json.loads(path.read_text()), "boot": "another"}))
    assert not ledger.holder(tmp_path)["alive"]


def test_breaking_wants_the_owners_name(tmp_path, holder):
    owner = ledger.holder(tmp_path)["owner"]
    for confirm in (None, "", "yes", owner + "x"):
        with pytest.raises(ledger.LedgerError, match=f"confirm={owner}"):
            ledger.break_lock(tmp_path, confirm)
    assert ledger.break_lock(tmp_path, owner)["pid"] == holder.pid
    assert ledger.holder(tmp_path) is None


def test_there_may_be_nothing_to_break(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ledger.LedgerError, match="no rollout lock"):
            ledger.break_lock(folder, "me")


def test_only_one_of_many_gets_it(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD, str(ROOT / "_utils/ledger.py"), str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        assert sorted(process.stdout.readline() for process in processes) == [
            "",
            "",
            "",
            "taken\n",
        ]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_a_damaged_lock_is_named(tmp_path):
    (tmp_path / ledger.LOCK).write_text("{")
    with pytest.raises(ledger.LedgerError, match=r"rollout\.lock is damaged .* remove it"):
        ledger.take(tmp_path)


def test_the_journal_gathers_facts(tmp_path):
    assert ledger.journal(tmp_path) is None
    ledger.open_journal(tmp_path, owner="me")
    assert ledger.note(tmp_path, release="1.0") == {"owner": "me", "release": "1.0"}
    assert ledger.journal(tmp_path) == {"owner": "me", "release": "1.0"}
    ledger.open_journal(tmp_path, owner="you")
    assert ledger.journal(tmp_path) == {"owner": "you"}


def test_the_history_is_newest_first_and_outlives_a_cut_line(tmp_path):
    assert ledger.history(tmp_path) == []
    for number in range(3):
        ledger.record(tmp_path, {"number": number})
    with (tmp_path / ledger.HISTORY).open("a") as stream:
        stream.write('{"number": 3')
    assert [entry["number"] for entry in ledger.history(tmp_path)] == [2, 1, 0]
    assert [entry["number"] for entry in ledger.history(tmp_path, limit=1)] == [2]


def test_what_is_written_is_for_its_owner_alone(tmp_path):
    folder = tmp_path / "state"
    ledger.take(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / ledger.LOCK).stat().st_mode & 0o777 == 0o600


def test_behind_sudo_the_caller_is_the_owner(monkeypatch):
    monkeypatch.setenv("SUDO_USER", "ada")
    assert ledger.owner().startswith("ada@")
