"""Activating releases for real: a service that gunicorn runs, its readiness, the way back."""

import json
import os
import threading
import time
import urllib.request

import pytest
from salt.exceptions import CommandExecutionError

GOOD, BETTER, UNREADY, UNIMPORTABLE = "1.0.0", "1.1.0", "1.2.0", "1.3.0"


@pytest.fixture(scope="module")
def installed(node, build_release):
    """The node with four releases, two of which never become ready."""
    for version, broken in ((GOOD, ""), (BETTER, ""), (UNREADY, "ready"), (UNIMPORTABLE, "import")):
        node.install(build_release(node, version, broken))
    return node


@pytest.fixture
def web(installed):
    """The node, serving the good release with nothing before it."""
    for link in (installed.root / "previous").iterdir():
        link.unlink()
    (installed.root / "current").unlink(missing_ok=True)
    installed.not_ready.unlink(missing_ok=True)
    installed.modules["counterapp.activate"](GOOD)
    installed.modules["service.restart"]("counterapp")
    installed.modules["counterapp.wait_ready"](release=GOOD, timeout=15)
    return installed


def _prefix(node):
    with urllib.request.urlopen(f"http://127.0.0.1:{node.port}/livez", timeout=5) as answer:
        return json.load(answer)["prefix"]


def test_switch_restarts_and_waits_for_the_new_release(web):
    before = web.restarts()
    expected = {
        "current": {"old": GOOD, "new": BETTER},
        "serving": {"old": GOOD, "new": BETTER},
    }
    dry = web.dry_state("active", BETTER)
    assert (dry["result"], dry["changes"]) == (None, expected)
    assert web.modules["counterapp.current"]() == GOOD
    assert web.restarts() == before

    ret = web.state("active", BETTER, ready_timeout=15, hold=1)
    assert (ret["result"], ret["changes"]) == (True, expected), ret["comment"]
    assert web.modules["counterapp.health"]() == {
        "url": f"http://127.0.0.1:{web.port}",
        "live": True,
        "ready": True,
        "release": BETTER,
        "node": "web-1",
        "reason": "",
    }
    assert web.modules["counterapp.previous"]() == GOOD
    assert web.restarts() == before + 1

    for run in (web.state, web.dry_state):
        again = run("active", BETTER)
        assert (again["result"], again["changes"]) == (True, {})
    assert web.restarts() == before + 1


def test_a_process_keeps_its_release_while_the_link_moves(web):
    assert _prefix(web) == str(web.root / "releases" / GOOD / "venv")
    web.modules["counterapp.activate"](BETTER)
    assert _prefix(web) == str(web.root / "releases" / GOOD / "venv")


@pytest.mark.parametrize("broken", [UNREADY, UNIMPORTABLE])
def test_release_that_is_never_ready_is_taken_back(web, broken):
    ret = web.state("active", broken, ready_timeout=3)
    assert ret["result"] is False
    assert ret["changes"] == {}
    assert f"release {broken} did not become ready" in ret["comment"]
    assert f"release {GOOD} is back and ready" in ret["comment"]
    assert web.modules["counterapp.current"]() == GOOD
    assert web.modules["counterapp.previous"]() is None
    assert web.modules["counterapp.health"]()["release"] == GOOD


def test_failure_with_nothing_to_go_back_to_says_so(web):
    web.modules["service.stop"]("counterapp")
    (web.root / "current").unlink()
    ret = web.state("active", UNREADY, ready_timeout=3)
    assert ret["result"] is False
    assert ret["changes"] == {"current": {"old": None, "new": UNREADY}}
    assert "the database has no primary" in ret["comment"]
    assert "no earlier release" in ret["comment"]


def test_old_release_that_is_not_ready_either_is_reported(web):
    web.not_ready.touch()
    ret = web.state("active", BETTER, ready_timeout=1)
    assert ret["result"] is False
    assert f"release {GOOD} was put back but is not ready either" in ret["comment"]
    assert web.modules["counterapp.current"]() == GOOD


def test_run_that_died_between_switch_and_restart_is_finished(web):
    web.modules["counterapp.activate"](BETTER)
    ret = web.state("active", BETTER, ready_timeout=15)
    assert ret["result"] is True, ret["comment"]
    assert ret["changes"] == {"serving": {"old": GOOD, "new": BETTER}}


def test_run_that_died_and_cannot_be_finished_goes_back_to_what_served(web):
    web.modules["counterapp.activate"](UNREADY)
    ret = web.state("active", UNREADY, ready_timeout=3)
    assert ret["result"] is False
    assert f"release {GOOD} is back and ready" in ret["comment"]
    assert web.modules["counterapp.current"]() == GOOD


def test_stopped_service_is_started(web):
    web.modules["service.stop"]("counterapp")
    ret = web.state("active", GOOD, ready_timeout=15)
    assert ret["result"] is True, ret["comment"]
    assert ret["changes"] == {"serving": {"old": None, "new": GOOD}}


def test_right_release_that_is_not_ready_is_waited_for_and_not_restarted(web):
    before = web.restarts()
    web.not_ready.touch()
    assert web.dry_state("active", GOOD)["result"] is False
    ret = web.state("active", GOOD, ready_timeout=1)
    assert (ret["result"], ret["changes"]) == (False, {})
    assert "the database has no primary" in ret["comment"]

    timer = threading.Timer(0.7, web.not_ready.unlink)
    timer.start()
    ret = web.state("active", GOOD, ready_timeout=15)
    timer.join()
    assert (ret["result"], ret["changes"]) == (True, {})
    assert web.restarts() == before


def test_release_that_is_not_installed(web):
    ret = web.state("active", "7.7.7")
    assert (ret["result"], ret["changes"]) == (False, {})
    assert "not installed" in ret["comment"]
    assert web.dry_state("active", "7.7.7")["result"] is None


def test_waiting_for_readiness_to_hold_starts_anew_after_a_break(web):
    start = time.monotonic()
    away = threading.Timer(0.5, web.not_ready.touch)
    back = threading.Timer(1.5, web.not_ready.unlink)
    away.start()
    back.start()
    found = web.modules["counterapp.wait_ready"](timeout=10, release=GOOD, hold=1)
    assert time.monotonic() - start >= 2.5
    assert found["ready"]
    assert found["waited"] >= 2.4


def test_waiting_for_another_release_names_the_one_that_answers(web):
    with pytest.raises(CommandExecutionError, match=f"release {GOOD} answers, not {BETTER}"):
        web.modules["counterapp.wait_ready"](timeout=0.5, release=BETTER)


def test_hits_are_counted_and_looked_at(web):
    before = web.modules["counterapp.hits"]()["value"]
    counted = web.modules["counterapp.hit"]()
    assert counted == {
        "namespace": "default",
        "key": "shared",
        "value": before + 1,
        "node": "web-1",
        "release": GOOD,
    }
    assert web.modules["counterapp.hit"](counter="other.one")["key"] == "other.one"
    assert web.modules["counterapp.hits"]()["nodes"] == {"web-1": before + 1}


def test_surplus_releases_go_and_needed_ones_stay(web):
    web.state("active", BETTER, ready_timeout=15)
    for number in (1, 2):
        old = web.root / "releases" / f"0.{number}.0"
        old.mkdir()
        (old / "manifest.json").write_text("{}")
        os.utime(old / "manifest.json", (number, number))
    surplus = {"removed": {"old": ["0.1.0", "0.2.0"], "new": []}}
    dry = web.dry_state("pruned", "old releases", keep=4)
    assert (dry["result"], dry["changes"]) == (None, surplus)
    ret = web.state("pruned", "old releases", keep=4)
    assert (ret["result"], ret["changes"]) == (True, surplus)
    left = [entry["version"] for entry in web.modules["counterapp.releases"]()]
    assert left == [GOOD, BETTER, UNREADY, UNIMPORTABLE]
    for run in (web.state, web.dry_state):
        assert run("pruned", "old releases", keep=4)["changes"] == {}


def test_active_release_is_never_removed(web):
    for run in (web.state, web.dry_state):
        ret = run("absent", GOOD)
        assert (ret["result"], ret["changes"]) == (False, {})
        assert "is the active one" in ret["comment"]
        assert run("absent", "7.7.7")["changes"] == {}
    with pytest.raises(CommandExecutionError, match="is the active one"):
        web.modules["counterapp.remove"](GOOD)
