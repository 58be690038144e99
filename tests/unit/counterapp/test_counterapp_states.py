"""Every return of the states has Salt's shape, and failures of the service manager are told."""

import pytest
from salt.exceptions import CommandExecutionError

from tests.support.loading import load

states = load("_states/counterapp.py")


class Node:
    """What the states see of a node: releases, a link, and a service that runs one of them."""

    def __init__(self):
        self.installed = ["1.0.0", "1.1.0"]
        self.current = "1.0.0"
        self.serving = "1.0.0"
        self.running = True
        self.restarts = []
        self.fail = {}

    def _raise(self, what):
        if what in self.fail:
            raise CommandExecutionError(self.fail[what])

    def health(self, url=None):
        live = self.serving is not None
        return {"live": live, "ready": live, "release": self.serving, "reason": ""}

    def releases(self, root=None):
        self._raise("releases")
        return [{"version": version} for version in self.installed]

    def activate(self, version, root=None, remember=True):
        self._raise("activate")
        self.current = version

    def remove(self, version, root=None):
        self._raise(f"remove {version}")
        self.installed.remove(version)

    def restart(self, service):
        self._raise(f"restart {self.current}")
        self.restarts.append(service)
        self.serving = self.current
        return self.fail.get("restart") is not False

    def wait_ready(self, timeout=60, release=None, hold=0, url=None):
        self._raise(f"ready {release}")
        if self.serving != release:
            raise CommandExecutionError(f"release {self.serving} answers, not {release}")
        return {**self.health(), "waited": 0.1}

    def functions(self):
        return {
            "counterapp.health": self.health,
            "counterapp.releases": self.releases,
            "counterapp.current": lambda root=None: self.current,
            "counterapp.activate": self.activate,
            "counterapp.remove": self.remove,
            "counterapp.superseded": lambda keep, root=None: self.installed[:-keep],
            "counterapp.wait_ready": self.wait_ready,
            "service.restart": self.restart,
            "service.status": lambda service: self.running,
        }


@pytest.fixture
def node():
    return Node()


@pytest.fixture
def configure_loader_modules(node):
    return {states: {"__salt__": node.functions(), "__opts__": {"test": False}}}


@pytest.fixture(params=[False, True], ids=["real", "dry"])
def testmode(request):
    states.__opts__["test"] = request.param
    return request.param


def _check(ret, result, changes):
    assert set(ret) == {"name", "result", "changes", "comment"}
    assert isinstance(ret["comment"], str)
    assert ret["comment"]
    assert (ret["result"], ret["changes"]) == (result, changes), ret["comment"]


def test_active_and_serving_is_left_alone(node, testmode):
    _check(states.active("1.0.0"), True, {})
    assert node.restarts == []


def test_switch(node, testmode):
    expected = {
        "current": {"old": "1.0.0", "new": "1.1.0"},
        "serving": {"old": "1.0.0", "new": "1.1.0"},
    }
    _check(states.active("1.1.0"), None if testmode else True, expected)
    assert (node.current, node.restarts) == (
        ("1.0.0", []) if testmode else ("1.1.0", ["counterapp"])
    )


def test_version_that_yaml_made_a_number(node):
    node.installed.append("2.0")
    ret = states.active(2.0)
    assert ret["name"] == "2.0"
    assert ret["changes"]["current"] == {"old": "1.0.0", "new": "2.0"}


@pytest.mark.parametrize("problem", ["raises", "returns False"])
def test_service_that_cannot_be_restarted_goes_back(node, problem):
    if problem == "raises":
        node.fail["restart 1.1.0"] = "Job for counterapp.service failed"
    else:
        node.fail["restart"] = False
    ret = states.active("1.1.0")
    _check(ret, False, {})
    assert node.current == "1.0.0"
    if problem == "raises":
        assert "Job for counterapp.service failed; release 1.0.0 is back" in ret["comment"]
    else:
        assert "the service counterapp could not be restarted; release 1.0.0" in ret["comment"]


def test_old_release_that_fails_as_well_is_told(node):
    node.fail.update({"ready 1.1.0": "no primary", "ready 1.0.0": "still none"})
    ret = states.active("1.1.0")
    _check(ret, False, {})
    assert "no primary" in ret["comment"]
    assert "still none" in ret["comment"]
    assert node.restarts == ["counterapp", "counterapp"]


def test_link_that_cannot_be_switched_restarts_nothing(node):
    node.fail["activate"] = "read-only file system"
    ret = states.active("1.1.0")
    _check(ret, False, {})
    assert node.restarts == []


def test_service_that_is_just_starting_is_waited_for(node):
    node.serving = None

    def comes_up(**kwargs):
        node.serving = kwargs["release"]
        return {"waited": 1}

    states.__salt__["counterapp.wait_ready"] = comes_up
    _check(states.active("1.0.0"), True, {})
    assert node.restarts == []


def test_service_that_runs_and_never_answers_is_restarted(node):
    node.serving = None
    _check(states.active("1.0.0"), True, {"serving": {"old": None, "new": "1.0.0"}})
    assert node.restarts == ["counterapp"]


def test_pruning_that_fails_half_way_reports_what_went(node):
    node.installed = ["1.0.0", "1.1.0", "1.2.0"]
    node.fail["remove 1.1.0"] = "permission denied"
    ret = states.pruned("old", keep=1)
    _check(ret, False, {"removed": {"old": ["1.0.0"], "new": []}})
    node.fail["remove 1.1.0"] = "permission denied"
    _check(states.pruned("old", keep=1), False, {})


def test_absent(node, testmode):
    change = {"release": {"old": "1.1.0", "new": None}}
    _check(states.absent("1.1.0"), None if testmode else True, change)
    _check(states.absent("1.0.0"), False, {})
    _check(states.absent("7"), True, {})


@pytest.mark.parametrize(
    ("state", "arguments"),
    [("active", ["1.1.0"]), ("absent", ["1.1.0"]), ("released", ["1.1.0", "/x.tar.gz"])],
)
def test_errors_become_failures(node, testmode, state, arguments):
    node.fail["releases"] = "cannot be read"
    _check(getattr(states, state)(*arguments), False, {})
