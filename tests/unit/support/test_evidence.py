"""What is picked from the logs of a failed test's nodes, and that collecting them never hurts."""

import ipaddress
import json
import os
import subprocess
import sys
import time

import pytest

from lab.config import ROOT, Lab, Node
from tests.support import evidence, node_logs

LAB = Lab(
    name="counterapp-test-stub",
    topology_name="stub",
    network=ipaddress.IPv4Network("192.0.2.0/24"),
    vip="192.0.2.200",
    nodes=tuple(Node(name, "192.0.2.11", ("web",), "debian12") for name in ("web-1", "web-2")),
    platforms={},
)
# The tests of the session below bring this lab up.
STUB_LAB = f"""
import ipaddress
import pytest
from lab.config import Lab, Node
from tests.support import evidence
LAB = Lab({LAB.name!r}, "stub", ipaddress.IPv4Network("192.0.2.0/24"), "192.0.2.200",
          (Node("web-1", "192.0.2.11", ("web",), "debian12"),), {{}})
"""
PODMAN = """\
#!{python} -IS
import json, sys, time
asked = " ".join(sys.argv[1:])
for words, answer in json.loads({answers!r}):
    if words in asked:
        if answer == "hang":
            time.sleep(60)
        if answer == "fail":
            sys.exit("podman does not like it")
        print(answer)
        break
"""


@pytest.fixture
def podman(tmp_path, monkeypatch):
    """A stub of podman: it answers the first entry whose words are in its command line."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def answering(*answers):
        program = folder / "podman"
        text = json.dumps([*answers, *ORDINARY])
        program.write_text(PODMAN.format(python=sys.executable, answers=text))
        program.chmod(0o755)

    answering()
    return answering


def listed(*states):
    return json.dumps(
        [
            {"Names": [f"{LAB.name}-web-{number}"], "State": state, "Status": f"it is {state}"}
            for number, state in enumerate(states, 1)
        ]
    )


ORDINARY = (
    ("--format json", listed("running", "running")),
    ("ps --all", "CONTAINER ID"),
    ("--priority=err", "12:00 web bang"),
    ("journalctl", '12:00 web bang\n12:01 web all is well\n12:02 web app: {"level": "error"}'),
    ("python3", json.dumps({"logs": {"/var/log/salt/minion": "a line\n"}, "problems": []})),
    ("logs", "it died"),
)


@pytest.mark.parametrize(
    ("test", "name"),
    [
        ("tests/system/test_x.py::test_y[z]", "system.test_x.test_y-z"),
        ("tests/system/test_x.py::Case::test_y", "system.test_x.Case.test_y"),
        ("test_x.py::test_y[a-b.1]", "test_x.test_y-a-b.1"),
    ],
)
def test_a_folder_has_the_name_of_its_test(test, name):
    assert evidence.folder_name(test) == name


def test_tests_with_the_same_safe_name_have_folders_of_their_own():
    tests = [f"tests/test_x.py::test_y[{p}]" for p in ("a/b", "a b", "a:b", "[a]", "/", "x" * 400)]
    tests += ["../test_x.py::test_y", "tests/test_x.py::test_y[" + "x" * 401 + "]"]
    names = [evidence.folder_name(test) for test in tests]
    assert len(set(names)) == len(names)
    for name in names:
        assert "/" not in name
        assert not name.startswith(".")
        assert len(name) < 200


@pytest.mark.parametrize(
    "line",
    [
        "12:00 db-1 salt-minion[9]: [ERROR   ] it went wrong",
        "12:00 db-1 salt-minion[9]: [CRITICAL] it went wrong",
        '12:00 web-1 gunicorn[9]: {"time": "…", "level": "error", "message": "no"}',
        '12:00 db-1 mongod.27017[9]: {"t":{},"s":"E",  "c":"REPL"}',
    ],
)
def test_an_error_is_known_by_what_it_says(line):
    assert evidence.is_error(line)


@pytest.mark.parametrize(
    "line",
    [
        "12:00 db-1 salt-minion[9]: [WARNING ] errors are rare",
        "12:00 db-1 salt-minion[9]: [ERROR   ] Task was destroyed but it is pending!",
        '12:00 web-1 gunicorn[9]: {"level": "info", "message": "an error is told"}',
        '12:00 db-1 mongod.27017[9]: {"t":{},"s":"I",  "c":"REPL"}',
    ],
)
def test_another_line_is_none(line):
    assert not evidence.is_error(line)


def test_of_glusters_log_the_errors_since_the_test_began_are_picked():
    began = 1700000000  # 22:13:20 UTC
    text = (
        "[2023-11-14 22:13:19.000000 +0000] E [MSGID: 1] before\n"
        "[2023-11-14 22:13:21.000000 +0000] I [MSGID: 2] no E [rror]\n"
        "[2023-11-14 22:13:22.000000 +0000] E [MSGID: 3] this one\n"
        "[2023-11-14 22:13:23.000000 +0000] C [rpc.c] and this\n"
    )
    assert [line[-9:] for line in evidence.gluster_errors(text, began)] == [
        " this one",
        " and this",
    ]


def test_of_a_rollout_the_failed_states_and_why_are_picked():
    text = """\
[ERROR   ] a step failed
master:
----------
          ID: Nobody else rolls out
    Function: salt.runner
      Result: True
     Comment: it is ours
     Changes:
----------
          ID: The volume is there
    Function: salt.runner
      Result: False
     Comment: db-2: no brick
              on its disk
     Started: 12:00
----------
          ID: The next
      Result: True
     Comment: fine
Summary for master
"""
    assert evidence.rollout_errors(text) == [
        "[ERROR   ] a step failed",
        "ID: The volume is there",
        "Comment: db-2: no brick",
        "on its disk",
    ]


def test_what_is_printed_is_bounded_and_every_node_has_its_share():
    groups = [evidence._Group(f"n{n}", [f"{i} {'x' * 1000}" for i in range(500)]) for n in range(8)]
    lines = evidence.section(["It is there."], groups)
    assert len(lines) < 150
    assert max(map(len, lines)) < 350
    for n in range(8):
        assert f"n{n} (the last 15 of 500):" in lines
    crowd = evidence.section([], [evidence._Group(f"n{n}", ["x"] * 500) for n in range(20)])
    assert "n19 (the last 6 of 500):" in crowd


def test_logs_that_were_written_since_are_read_to_their_last_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(node_logs, "KEPT_LINES", 2)
    (tmp_path / "journal").mkdir()
    for name in ("old.log", "new.log", "wtmp", "journal/system.journal"):
        (tmp_path / name).write_text("1\n2\n3\n")
    (tmp_path / "wtmp").write_bytes(b"a\0b")
    began = time.time() - 100
    os.utime(tmp_path / "old.log", (began - 1, began - 1))
    asked = [tmp_path, tmp_path / "missing"]
    assert node_logs.read(began, asked) == {
        "logs": {str(tmp_path / "new.log"): "2\n3\n"},
        "problems": [],
    }
    assert list(node_logs.read(began, [tmp_path / "old.log"])["logs"]) == [
        str(tmp_path / "old.log")
    ]


def test_what_the_nodes_know_is_saved_and_their_errors_are_told(podman, tmp_path):
    told = evidence.save([LAB], time.time(), tmp_path / "logs")
    assert (tmp_path / "logs/podman-ps.txt").read_text() == "CONTAINER ID\n"
    for node in ("web-1", "web-2"):
        assert "all is well" in (tmp_path / "logs" / node / "journal.log").read_text()
        assert (tmp_path / "logs" / node / "salt/minion").read_text() == "a line\n"
    assert told[1:] == [
        "web-1, errors in the journal:",
        "  12:00 web bang",
        '  12:02 web app: {"level": "error"}',
        "web-2, errors in the journal:",
        "  12:00 web bang",
        '  12:02 web app: {"level": "error"}',
    ]


def test_a_node_that_does_not_run_leaves_what_it_printed(podman, tmp_path):
    podman(("--format json", listed("exited")))
    told = "\n".join(evidence.save([LAB], time.time(), tmp_path / "logs"))
    assert "web-1: it is exited." in told
    assert f"web-2: there is no container {LAB.name}-web-2." in told
    assert (tmp_path / "logs/web-1/podman.log").read_text() == "it died\n"


def test_a_podman_that_hangs_on_one_node_costs_its_timeout_alone(podman, tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "TIMEOUT", 4.0)
    podman((f"{LAB.name}-web-1 ", "hang"))
    told = "\n".join(evidence.save([LAB], time.time(), tmp_path / "logs"))
    assert "web-2, errors in the journal:" in told
    assert "What could not be had:" in told
    assert f"web-1: LabError: 'podman exec {LAB.name}-web-1 journalctl" in told
    assert "did not end within 4 s" in told


def test_a_podman_that_fails_is_told(podman, tmp_path):
    podman(("", "fail"))
    told = "\n".join(evidence.save([LAB], time.time(), tmp_path / "logs"))
    assert "podman does not like it" in told


def test_a_machine_without_podman_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    told = "\n".join(evidence.save([LAB], time.time(), tmp_path / "logs"))
    assert "No such file or directory: 'podman'" in told


@pytest.fixture
def session(podman, tmp_path):
    """A session of pytest with the plugin; returns its output and where it saved logs."""

    def run(tests):
        file = tmp_path / "test_it.py"
        file.write_text(STUB_LAB + tests)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-p", "tests.support.evidence"),
                *("-p", "no:cacheprovider", f"--test-logs={tmp_path / 'logs'}"),
                *(f"--rootdir={tmp_path}", str(file)),
            ],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
        )
        return done.stdout + done.stderr, tmp_path / "logs"

    return run


def test_a_failed_test_has_a_section_and_a_passed_one_has_not(session):
    output, logs = session("""
def test_before(): pass
def test_fails():
    evidence.watch(LAB)
    assert False, "mine"
def test_after(): evidence.forget(LAB)
def test_without_nodes(): assert False
""")
    assert output.count(evidence.TITLE) == 1
    assert "AssertionError: mine" in output
    assert "12:00 web bang" in output
    assert [path.name for path in logs.iterdir()] == ["test_it.test_fails"]


def test_logs_of_an_earlier_session_are_replaced(session):
    text = "def test_fails():\n    evidence.watch(LAB)\n    assert False\n"
    _output, logs = session(text)
    for name in ("test_it.test_fails", "another"):
        (logs / name).mkdir(exist_ok=True)
        (logs / name / "stale").touch()
    session(text)
    assert not (logs / "test_it.test_fails/stale").exists()
    assert (logs / "test_it.test_fails/podman-ps.txt").exists()
    assert (logs / "another/stale").exists()


def test_a_setup_that_fails_for_many_tests_is_collected_once(session):
    output, logs = session("""
@pytest.fixture(scope="session")
def cluster():
    evidence.watch(LAB)
    raise RuntimeError("it does not start")

def test_one(cluster): pass
def test_other(): pass
@pytest.mark.parametrize("number", range(3))
def test_more(cluster, number): pass
""")
    assert [path.name for path in logs.iterdir()] == ["test_it.test_one"]
    assert output.count("All that they logged since") == 1
    assert output.count("The set-up failed as that of test_it.py::test_one did") == 3
    assert "4 errors" in output


def test_a_setup_that_fails_anew_is_collected_again_after_one_that_did_well(session):
    _output, logs = session("""
@pytest.fixture
def pool():
    evidence.watch(LAB)
    raise RuntimeError("it is not whole")

def test_a(pool): pass
def test_b(pool): pass
def test_c(): pass
def test_d(pool): pass
""")
    assert sorted(path.name for path in logs.iterdir()) == ["test_it.test_a", "test_it.test_d"]


def test_nodes_that_go_with_a_failed_start_are_asked_before(session):
    output, logs = session("""
@pytest.fixture(scope="session")
def cluster():
    evidence.watch(LAB)
    try:
        raise RuntimeError("it does not start")
    finally:
        evidence.forget(LAB)

def test_one(cluster): pass
def test_more(cluster): pass
""")
    assert (logs / "test_it.test_one/web-1/journal.log").exists()
    assert output.count("All that they logged since") == 1
    assert output.count("The set-up failed as that of test_it.py::test_one did") == 1


def test_a_teardown_that_fails_too_does_not_replace_what_the_test_left(session):
    _output, logs = session("""
@pytest.fixture
def node():
    evidence.watch(LAB)
    yield
    raise RuntimeError("it does not go")

def test_it(node): assert False
""")
    assert (logs / "test_it.test_it/web-1/journal.log").exists()
    assert (logs / "test_it.test_it/teardown-2/web-1/journal.log").exists()


def test_a_folder_that_cannot_be_made_leaves_the_tests_own_failure(session, tmp_path):
    (tmp_path / "logs").write_text("no folder can be made here")
    output, _logs = session("def test_it():\n    evidence.watch(LAB)\n    assert 0, 'mine'\n")
    assert "AssertionError: mine" in output
    assert "web-1: NotADirectoryError" in output
    assert "INTERNALERROR" not in output


def test_collecting_that_breaks_is_told_beside_the_tests_own_failure(session):
    output, _logs = session("""
def test_it():
    evidence.watch(LAB)
    evidence.save = lambda *_: 1 / 0
    assert False, "mine"
""")
    assert "AssertionError: mine" in output
    assert "Collecting what the nodes know failed" in output
    assert "ZeroDivisionError" in output
    assert "INTERNALERROR" not in output
