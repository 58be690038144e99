"""The commands that look at the fleet, on a real master whose minions run none of our services."""

import pytest

pytestmark = pytest.mark.usefixtures("clean")


def test_status_tells_of_each_node_what_its_minion_says(salt_run, salt_cli, fleet):
    for name in fleet.nodes:
        salt_cli("saltutil.sync_all", minion_tgt=name)
        salt_cli("saltutil.refresh_pillar", "wait=True", minion_tgt=name)
    done = salt_run("fleet.status")
    found = done.data
    assert done.returncode == found["retcode"] == 1
    assert set(found["nodes"]) == set(fleet.nodes)
    assert found["revision"]["release"] == found["release"]
    assert found["drift"]["differs"] is False
    alpha, beta = found["nodes"]["alpha"], found["nodes"]["beta"]
    for node in (alpha, beta):
        assert node["up"]
        assert node["os"]
        assert node["disk"]["/"]["free"] > 0
    assert alpha["state"].startswith("not ready: ")
    assert beta["state"].startswith("no replica set, glusterd ")
    said = "\n".join(found["failed"])
    assert "alpha: its app is not ready: " in said
    assert "beta: its mongod does not answer: " in said
    assert "no balancer holds the VIP 192.168.77.200" in said
    # Each function was known and understood on the nodes.
    for words in ("Traceback", "KeyError", "TypeError", "not available", "clock"):
        assert words not in said


def test_what_is_not_rolled_out_is_told(salt_run, fleet):
    path = fleet.checkout / "pillar/web.sls"
    path.write_text(path.read_text() + "# edited\n")
    found = salt_run("fleet.status").data
    assert found["drift"] == {
        "differs": True,
        "changed": ["pillar/web.sls"],
        "added": [],
        "gone": [],
    }


def test_before_the_first_rollout_it_is_told_of_the_checkout(salt_run, fleet):
    fleet.bare()
    done = salt_run("fleet.status")
    assert done.returncode == 0, done.data
    assert done.data["note"].startswith("nothing was rolled out yet")
    assert salt_run("fleet.topology").data["name"] == "light"
    assert "secrets" not in salt_run("fleet.settings").data
    failed = salt_run("fleet.verify", "hits=1")
    assert failed.returncode == 1
    assert failed.data["failed"][0].startswith("nothing was rolled out yet")


def test_a_misspelt_argument_is_refused(salt_run):
    done = salt_run("fleet.verify", "hit=1")
    assert done.returncode == 1
    assert "hits" in done.data["failed"][0]


def test_clocks(salt_run):
    assert salt_run("fleet.clocks").data == {"wrong": {}}
