"""The switch of Gluster's TLS, step by step, over answers of minions."""

import pytest
from salt.exceptions import CommandExecutionError

NODES = {
    "boss": ("127.0.0.10", ["master", "lb"]),
    "one": ("127.0.0.11", ["web"]),
    "data": ("127.0.0.13", ["db", "storage"]),
}


@pytest.fixture
def fleet(runners):
    """Runners over a fleet of three, with the answers by function and node, and what was asked."""
    runners.write_topology(NODES)
    runners.pillar("gluster", {"mount": "/srv/shared", "volume": "shared", "tls": True})
    runners.answers = {
        "gluster.info": {
            "data": {
                "name": "shared",
                "started": True,
                "options": {"client.ssl": "on", "server.ssl": "on"},
            }
        },
        "gluster.mount_status": {node: {"enabled": node != "one"} for node in NODES},
    }
    runners.reports, runners.asked = {}, []

    def everyone(nodes, function, arg=(), *_args, **_kwargs):
        runners.asked.append((function, list(nodes)))
        found = {"answers": {}, "failed": {}}
        for node in nodes:
            value = runners.answers.get(function, {}).get(node, True)
            kind = "failed" if isinstance(value, Exception) else "answers"
            found[kind][node] = str(value) if kind == "failed" else value
        return found

    def ask(nodes, function, *args, **kwargs):
        found = everyone(nodes, function, *args, **kwargs)
        if found["failed"]:
            raise CommandExecutionError(str(found["failed"]))
        return found["answers"]

    def apply(nodes, sls, pillar=None, test=False, **_kwargs):
        assert (sls, pillar, test) == (["gluster.tls"], {"gluster_tls_switch": True}, True)
        nothing = {"error": None, "changed": [], "failed": []}
        return {node: {**nothing, **runners.reports.get(node, {})} for node in nodes}

    runners.utils.update({"fleet.everyone": everyone, "fleet.ask": ask, "fleet.apply": apply})
    return runners


def test_where_all_is_as_the_pillar_says_there_is_no_reason(fleet):
    plan = fleet["storage.plan_tls"]()
    assert plan["reasons"] == []
    assert (plan["keepers"], plan["others"]) == (["data"], ["boss", "one"])


def test_a_plan_touches_nothing(fleet):
    fleet["storage.plan_tls"]()
    assert {function for function, _nodes in fleet.asked} == {"gluster.info"}


@pytest.mark.parametrize(
    ("tls", "words"),
    [(True, "server.ssl is off, not on"), (False, "client.ssl is on, not off")],
)
def test_options_of_the_volume_are_a_reason(fleet, tls, words):
    fleet.pillar("gluster", {"mount": "/srv/shared", "volume": "shared", "tls": tls})
    if tls:
        fleet.answers["gluster.info"]["data"]["options"] = {"client.ssl": "on"}
    assert any(words in reason for reason in fleet["storage.plan_tls"]()["reasons"])


def test_files_of_a_node_are_a_reason(fleet):
    fleet.reports["one"] = {"changed": [{"id": "Gluster's key is in its place"}]}
    [reason] = fleet["storage.plan_tls"]()["reasons"]
    assert reason.startswith("one: ")
    assert "Gluster's key is in its place" in reason


def test_a_restart_that_was_asked_for_is_a_reason(fleet):
    assert len(fleet["storage.plan_tls"](restart=True)["reasons"]) == 1


def test_a_silent_node_ends_it_before_anything_is_touched(fleet):
    fleet.reports["one"] = {"error": "the minion does not answer"}
    plan = fleet["storage.plan_tls"]()
    assert plan["failed"] == ["one: the minion does not answer"]
    assert fleet.context["retcode"] == 1


def test_without_a_volume_there_is_nothing_to_switch(fleet):
    fleet.answers["gluster.info"] = {"data": CommandExecutionError("no such volume")}
    [words] = fleet["storage.plan_tls"]()["failed"]
    assert "roll out" in words
    assert "no such volume" in words


def test_one_that_died_is_done_again_whatever_is_there(fleet):
    fleet["storage.begin_tls"]()
    whole = fleet.answers["gluster.info"]
    fleet.answers["gluster.info"] = {"data": CommandExecutionError("glusterd does not answer")}
    plan = fleet["storage.plan_tls"]()
    assert plan["begun"]
    assert plan["reasons"] == ["an earlier switch has not come to its end"]
    fleet["storage.finish_tls"]()
    fleet.answers["gluster.info"] = whole
    assert fleet["storage.plan_tls"]()["reasons"] == []


def test_a_mount_in_use_is_given_back_to_all(fleet):
    fleet.answers["gluster.unmount"] = {"boss": CommandExecutionError("target is busy")}
    done = fleet["storage.unmount"](list(NODES))
    assert "boss: target is busy" in done["failed"][0]
    # Where there never was a unit there is nothing to unmount.
    assert ("gluster.unmount", ["boss", "data"]) in fleet.asked
    assert fleet.asked[-1] == ("gluster.mount", ["data"])


def test_a_failure_says_how_to_go_on(fleet):
    fleet["counterapp.lock"]()
    fleet["storage.begin_tls"]()
    [words] = fleet["storage.abandon_tls"]()["failed"]
    assert "salt-run state.orchestrate orch.storage_tls" in words
    assert fleet["counterapp.lock"]()["taken_from"] is None
