"""What the watch over daemons takes for stopped, missing or lost; it does so for real in
tests/functional/lab/test_masterless.py and tests/system/test_daemons.py."""

import os
import signal
import subprocess

import pytest

from tests.support.loading import load
from tests.support.waiting import until

watch = load("salt/base/files/watch.py")

LAB = "/libpod_parent/libpod-1"
UNITS = {"mongod.service": "", "salt-minion.service": "/salt-minion"}


def process(name, *words, state="S", unit="glusterd.service", pid=1):
    return watch.Process(pid, unit, name, words, state, 7)


def test_a_name_may_hold_anything():
    fields = " ".join(["1"] * 18)
    assert watch.parse_stat(f"12 (a) T (b) S {fields} 99 5") == ("a) T (b", "S", 99)


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/mongod.service", "mongod.service"),
        (f"4:memory:{LAB}\n1:name=systemd:{LAB}/system.slice/mongod.service", "mongod.service"),
        (f"0::{LAB}/system.slice/mongod.service/child", "mongod.service"),
        ("4:memory:/system.slice/mongod.service\n0::/init.scope", None),
        ("0::/system.slice/other-mongod.service", None),
    ],
)
def test_a_process_is_of_the_unit_that_systemd_put_it_in(cgroup, unit):
    assert watch.unit_of(cgroup, UNITS) == unit


def test_only_one_that_stays_stopped_is_overdue():
    stopped = watch.Stopped(10)
    still, traced = process("a", state="T"), process("b", state="t", pid=2)
    assert stopped.overdue([still, traced], 0) == []
    assert stopped.overdue([still, traced], 9) == []
    assert stopped.overdue([still, traced], 10) == [still]
    assert stopped.overdue([process("a")], 12) == []
    assert stopped.overdue([still], 14) == []
    # The number is another's now.
    assert stopped.overdue([still._replace(started=8)], 24) == []
    nobodys = process("c", state="T", unit=None, pid=3)
    assert [stopped.overdue([nobodys], now) for now in (30, 60)] == [[], []]


def test_attempts_become_rare_and_begin_anew_once_it_is_there():
    patience = watch.Patience()
    times = [now for now in range(0, 1000, 2) if patience.over(True, now)]
    assert times == [4, 12, 28, 60, 124, 252, 508, 808]
    assert not patience.over(False, 1000)
    assert [now for now in range(1002, 1010, 2) if patience.over(True, now)] == [1006]


@pytest.fixture
def volume(tmp_path):
    """A volume of two bricks as glusterd keeps it, and its brick."""
    brick = tmp_path / "brick"
    brick.mkdir()
    folder = tmp_path / "vols" / "shared"
    (folder / "bricks").mkdir(parents=True)
    (folder / "bricks" / f"192.0.2.1:{str(brick).replace('/', '-')}").touch()
    (folder / "info").write_text("type=2\nstatus=1\nreplica_count=2\n")
    return {"name": "shared", "home": str(tmp_path), "host": "192.0.2.1", "path": str(brick)}


def running(volume):
    return [
        process("glusterd"),
        process("glusterfsd", "glusterfsd", "--brick-name", volume["path"]),
        process("glusterfs", "glusterfs", "--process-name", "glustershd"),
    ]


def test_what_a_started_volume_has_here_is_missed_when_it_is_gone(volume):
    glusterd, brick, healer = running(volume)
    named = f"brick {volume['path']}"
    assert watch.missing_of_volume(volume, [glusterd, brick, healer]) == []
    assert watch.missing_of_volume(volume, [glusterd, healer]) == [named]
    assert watch.missing_of_volume(volume, [glusterd]) == [named, "self-heal daemon"]
    other = process("glusterfsd", "glusterfsd", "--brick-name", "/other")
    assert watch.missing_of_volume(volume, [glusterd, other, healer]) == [named]


@pytest.mark.parametrize(
    "why", ["stopped", "deleted", "no disk", "not of it", "no glusterd", "nothing to heal"]
)
def test_what_is_not_to_run_is_not_missed(volume, why):
    processes = [process("glusterd")]
    folder = watch.Path(volume["home"], "vols", "shared")
    if why == "stopped":
        (folder / "info").write_text("status=2\nreplica_count=2\n")
    elif why == "deleted":
        (folder / "info").unlink()
    elif why == "no disk":
        watch.Path(volume["path"]).rmdir()
    elif why == "not of it":
        volume["host"] = "192.0.2.2"
    elif why == "no glusterd":
        processes = []
    else:
        (folder / "info").write_text("status=1\nreplica_count=1\n")
        processes = running(volume)[:2]
    assert watch.missing_of_volume(volume, processes) == []


MOUNTED = (
    "20 1 0:9 / /srv/a\\040b rw - ext4 /dev/x rw\n30 1 0:7 / /srv/s rw - fuse.glusterfs db-1:/s rw"
)


@pytest.mark.parametrize(("path", "mounted"), [("/srv/s", True), ("/srv/a b", False), ("/", False)])
def test_a_mount_is_glusters(path, mounted):
    assert watch.is_mounted(path, MOUNTED) is mounted


def test_a_mount_has_its_own_client():
    healer = process("glusterfs", "glusterfs", "--process-name", "glustershd")
    client = process("glusterfs", "glusterfs", "--volfile-id=/s", "/srv/s", unit=None)
    assert not watch.has_client("/srv/s", [healer])
    assert watch.has_client("/srv/s", [healer, client])
    assert not watch.has_client("/srv/other", [healer, client])


@pytest.mark.parametrize(
    ("state", "left", "inactive", "lost"),
    [
        ("inactive", "70", "70", True),
        ("inactive", "70", "75", False),
        ("inactive", "0", "0", False),
        ("failed", "70", "70", False),
        ("activating", "70", "70", False),
    ],
)
def test_a_mount_that_was_stopped_on_purpose_is_not_lost(state, left, inactive, lost):
    shown = {
        "ActiveState": state,
        "ActiveExitTimestampMonotonic": left,
        "InactiveEnterTimestampMonotonic": inactive,
    }
    assert watch.was_lost(shown) is lost
    assert not watch.was_lost({})


@pytest.fixture
def daemon():
    with subprocess.Popen(["sleep", "60"]) as started:
        yield started
        started.kill()


def look_at(started, state):
    """Return a process once it is in a state, as a look finds those of this very unit."""
    read = watch.Path(f"/proc/{started.pid}/stat").read_text
    seen = until(
        lambda: watch.parse_stat(read()),
        10,
        f"state {state}",
        wanted=lambda now: now.state == state,
    )
    return watch.Process(started.pid, "mongod.service", seen.name, (), seen.state, seen.started)


def test_what_goes_on_is_not_killed_and_what_is_stopped_is(daemon):
    processes = watch.Processes(UNITS)
    os.kill(daemon.pid, signal.SIGSTOP)
    found = look_at(daemon, "T")
    assert not processes.kill(found._replace(started=found.started + 1))
    os.kill(daemon.pid, signal.SIGCONT)
    look_at(daemon, "S")
    assert not processes.kill(found)
    os.kill(daemon.pid, signal.SIGSTOP)
    look_at(daemon, "T")
    assert processes.kill(found)
    assert daemon.wait(10) == -signal.SIGKILL
    assert not processes.kill(found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read"),
        ("{", "cannot be read"),
        ("{}", "must have units, volume and mount"),
    ],
)
def test_without_a_configuration_it_says_what_writes_it(tmp_path, capsys, text, words):
    file = tmp_path / "watch.json"
    if text is not None:
        file.write_text(text)
    assert watch.main([str(file)]) == 78
    said = capsys.readouterr().err
    assert words in said
    assert "state.apply base.watch" in said
