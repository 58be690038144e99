"""The switch of Gluster's TLS, over answers of minions."""

import json

import pytest
import yaml

from fleet import pillar, revision, tls, unfinished
from fleet.change import StepFailed
from fleet.errors import FleetError
from fleet.journal import find, history
from fleet.lock import holder
from fleet.minions import Answers
from tests.support.checkout import NODES, Checkout

GLUSTER = {"mount": "/srv/shared", "volume": "shared", "tls": True, "options": {}}


class Fleet:
    """Minions that do what they are asked; ``fails`` has functions and who fails them with what."""

    def __init__(self):
        self.tls = True
        self.fails = {}
        self.changed = {}
        self.asked = []
        self.options = None

    def everyone(self, nodes, function, arg=(), kwarg=None, timeout=15, patience=10):
        nodes, kwarg = list(nodes), dict(kwarg or {})
        self.asked.append((function, nodes, list(arg), kwarg))
        found = Answers()
        what = f"{function} {arg[0]}" if function == "state.sls" else function
        for node in nodes:
            words = self.fails.get(what, {}).get(node)
            if words:
                found.failed[node] = words
            else:
                found.answers[node] = self._answer(node, function, kwarg)
        return found

    def _answer(self, node, function, kwarg):
        if function == "state.sls":
            changed = self.changed.get(node) if kwarg["test"] else None
            state = {"result": None if changed else True, "changes": {}, "__id__": changed or "x"}
            return {"file_|-x_|-x_|-managed": state}
        mode = "on" if self.tls else "off"
        return {
            "gluster.info": {
                "name": "shared",
                "started": True,
                "options": self.options or {"client.ssl": mode, "server.ssl": mode},
            },
            "gluster.mount_status": {"enabled": node != "one"},
            "gluster.healthy": {"healthy": True, "reasons": []},
        }.get(function, True)

    def done(self):
        """What was asked that touches something, with the nodes."""
        looks = {"gluster.info", "gluster.mount_status", "gluster.healthy", "cmd.run"}
        quiet = {"saltutil.refresh_pillar", "saltutil.sync_all", "cmd.run_all"}
        return [
            (f"{arg[0]} in {kwarg['saltenv']}" if function == "state.sls" else function, nodes)
            for function, nodes, arg, kwarg in self.asked
            if function not in looks | quiet and not kwarg.get("test")
        ]


class Site(Checkout):
    """A master whose fleet is on a revision with TLS."""

    def __init__(self, folder):
        super().__init__(folder)
        self.own_tree()
        self.pillar("web", {"workers": 2})
        self.edit()
        self.first = revision.capture(self.master, "1.4.0")
        revision.settle(self.first)

    def edit(self, **changes):
        self.pillar("gluster", {**GLUSTER, **changes})


def settings(_master, folders):
    """Settings as they stand in the files; to have Salt compile them takes a while each time."""
    found = {}
    for path in (path for folder in folders for path in folder.glob("*.sls")):
        found.update(yaml.safe_load(path.read_text()))
    return found


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setattr(pillar, "settings", settings)
    kept = []
    monkeypatch.setattr(tls.archive, "keep", lambda *args: kept.append(args))
    made = Site(tmp_path)
    made.kept = kept
    return made


@pytest.fixture
def fleet():
    return Fleet()


def marker(site):
    return site.master.state / "storage_tls.json"


def test_where_all_is_as_the_checkout_says_nothing_is_done(site, fleet):
    done = tls.switch(site.master, fleet)
    assert done["reasons"] == []
    assert done["did"] == "nothing: Gluster works with TLS, as the checkout says"
    assert fleet.done() == []
    assert history(site.master.state) == []


def test_a_test_touches_nothing_and_says_the_steps(site, fleet):
    site.edit(tls=False)
    done = tls.switch(site.master, fleet, test=True)
    assert "rolled out with gluster:tls true, and the checkout has false" in done["reasons"][0]
    assert done["steps"][0] == "unmount the volume on every node"
    assert fleet.done() == []
    assert history(site.master.state) == []
    assert [each.id for each in revision.kept(site.master)] == [site.first.id]


def test_the_whole_fleet_is_switched_and_the_revision_is_the_fleets(site, fleet):
    site.edit(tls=False)
    done = tls.switch(site.master, fleet)
    nodes = list(NODES)
    assert fleet.done() == [
        ("gluster.unmount", ["boss", "two", "data"]),
        ("service.stop", ["data"]),
        ("gluster.tls in candidate", nodes),
        ("service.start", ["data"]),
        ("gluster.wait_peers", ["data"]),
        ("gluster.stop", ["data"]),
        ("storage in candidate", ["data"]),
        ("gluster in candidate", nodes),
    ]
    base = revision.base(site.master)
    assert done["revision"] == base.id != site.first.id
    assert base.settings["gluster"]["tls"] is False
    assert (revision.candidate(site.master), revision.moving(site.master)) == (None, {})
    assert [args[0].id for args in site.kept] == [base.id]
    [entry] = history(site.master.state)
    assert (entry["kind"], entry["outcome"], entry["tls"]) == ("tls", "succeeded", False)
    assert (entry["from"], entry["to"]) == (site.first.id, base.id)
    assert not marker(site).exists()
    assert holder(site.master.state) is None
    # And there is nothing to do then.
    fleet.tls = False
    assert tls.switch(site.master, fleet)["reasons"] == []


def test_the_states_may_change_a_nodes_mode_only_here(site, fleet):
    site.edit(tls=False)
    tls.switch(site.master, fleet)
    allowed = [
        arg[0]
        for function, _, arg, kwarg in fleet.asked
        if function == "state.sls" and "gluster_tls_switch" in (kwarg.get("pillar") or {})
    ]
    assert set(allowed) == {"gluster.tls"}


@pytest.mark.parametrize("more", ["another file", "another setting of Gluster's"])
def test_more_than_tls_has_to_be_rolled_out_first(site, fleet, more):
    if more == "another file":
        site.pillar("web", {"workers": 17})
        words = "pillar/web.sls"
        site.edit(tls=False)
    else:
        site.edit(tls=False, options={"nfs.disable": "off"})
        words = "gluster:options"
    with pytest.raises(FleetError, match=words):
        tls.switch(site.master, fleet)
    assert fleet.asked == []
    assert [each.id for each in revision.kept(site.master)] == [site.first.id]


def test_a_restart_goes_by_what_was_rolled_out_whatever_was_edited(site, fleet):
    site.pillar("web", {"workers": 17})
    done = tls.switch(site.master, fleet, restart=True)
    assert done["reasons"] == ["a restart was asked for"]
    assert ("gluster.tls in base", list(NODES)) in fleet.done()
    assert revision.base(site.master).id == site.first.id
    assert site.kept == []


def test_options_of_the_volume_are_a_reason(site, fleet):
    fleet.options = {"client.ssl": "on"}
    reasons = tls.plan(site.master, fleet).reasons
    assert reasons == ["volume shared: server.ssl is off, not on"]


def test_files_of_a_node_are_a_reason(site, fleet):
    fleet.changed["one"] = "Gluster's key is in its place"
    [reason] = tls.plan(site.master, fleet).reasons
    assert reason.startswith("one: ")
    assert "Gluster's key is in its place" in reason


def test_a_value_that_is_none_is_named(site, fleet):
    site.edit(tls="maybe")
    with pytest.raises(FleetError, match="gluster:tls must be true or false, not 'maybe'"):
        tls.plan(site.master, fleet)


@pytest.mark.parametrize("edited", [True, False])
def test_a_silent_node_ends_it_before_anything_is_touched(site, fleet, edited):
    site.edit(tls=not edited)
    fleet.fails["state.sls gluster.tls"] = {"one": "the minion does not answer"}
    with pytest.raises(FleetError, match="one: the minion does not answer"):
        tls.switch(site.master, fleet, restart=True)
    assert fleet.done() == []
    assert history(site.master.state) == []


def test_without_a_volume_there_is_nothing_to_switch(site, fleet):
    fleet.fails["gluster.info"] = {"data": "no such volume"}
    with pytest.raises(FleetError, match="cannot be seen.*roll out.*data: no such volume"):
        tls.switch(site.master, fleet)


def test_a_mount_in_use_is_given_back_to_all_and_the_switch_has_not_begun(site, fleet):
    site.edit(tls=False)
    fleet.fails["gluster.unmount"] = {"boss": "target is busy"}
    with pytest.raises(StepFailed, match="boss: target is busy"):
        tls.switch(site.master, fleet)
    assert fleet.done() == [
        ("gluster.unmount", ["boss", "two", "data"]),
        ("gluster.mount", ["two", "data"]),
    ]
    assert not marker(site).exists()
    assert revision.candidate(site.master) is None
    assert revision.base(site.master).id == site.first.id
    [entry] = history(site.master.state)
    assert entry["outcome"] == "undone"
    assert unfinished.problems(site.master) == []


def test_one_that_is_not_mounted_again_has_to_be_seen_to(site, fleet):
    site.edit(tls=False)
    fleet.fails["gluster.unmount"] = {"boss": "target is busy"}
    fleet.fails["gluster.mount"] = {"two": "no route"}
    with pytest.raises(FleetError, match="not mounted again: two: no route.*switch_tls"):
        tls.switch(site.master, fleet)
    assert history(site.master.state)[0]["outcome"] == "failed"


@pytest.mark.parametrize(
    ("what", "node"),
    [
        ("service.stop", "data"),
        ("state.sls gluster.tls", "two"),
        ("service.start", "data"),
        ("gluster.wait_peers", "data"),
        ("gluster.stop", "data"),
        ("state.sls storage", "data"),
        ("state.sls gluster", "one"),
        ("gluster.healthy", "data"),
    ],
)
def test_what_fails_half_way_is_done_again_as_a_whole(site, fleet, what, node):
    site.edit(tls=False)
    everyone = fleet.everyone

    def failing(nodes, function, arg=(), kwarg=None, timeout=15, patience=10):
        # A dry run goes well.
        fleet.fails = {} if (kwarg or {}).get("test") else {what: {node: "boom"}}
        return everyone(nodes, function, arg, kwarg, timeout, patience)

    fleet.everyone = failing
    with pytest.raises(FleetError, match=f"{node}: boom.*salt-run storage.switch_tls"):
        tls.switch(site.master, fleet)
    assert history(site.master.state)[0]["outcome"] == "failed"
    assert json.loads(marker(site).read_text())["tls"] is False
    assert revision.base(site.master).id == site.first.id
    assert unfinished.problems(site.master)
    # Glusterd may not answer then.
    fleet.everyone, fleet.asked = everyone, []
    fleet.fails = {}
    done = tls.switch(site.master, fleet)
    assert "an earlier switch has not come to its end" in done["reasons"]
    assert fleet.done()[0] == ("gluster.unmount", ["boss", "two", "data"])
    assert revision.base(site.master).settings["gluster"]["tls"] is False
    assert revision.moving(site.master) == {}
    assert unfinished.problems(site.master) == []


def test_one_that_died_can_go_back_to_the_mode_before(site, fleet):
    site.edit(tls=False)
    fleet.fails["service.start"] = {"data": "boom"}
    with pytest.raises(FleetError):
        tls.switch(site.master, fleet)
    assert set(revision.moving(site.master)) == set(NODES)
    site.edit()
    fleet.fails, fleet.asked = {}, []
    tls.switch(site.master, fleet)
    assert ("gluster.tls in base", list(NODES)) in fleet.done()
    assert revision.base(site.master).id == site.first.id
    assert (revision.candidate(site.master), revision.moving(site.master)) == (None, {})


def test_it_has_a_journal_of_its_own_and_tells_its_steps(site, fleet):
    site.edit(tls=False)
    told = []
    done = tls.switch(site.master, fleet, listeners=(told.append,))
    events = [line["event"] for line in find(site.master.state, done["change"]).lines()]
    assert (events[0], events[-1]) == ("begun", "ended")
    steps = [event["step"] for event in told if event["event"] == "begins"]
    assert steps[0] == "unmounting /srv/shared"
    assert "stopping glusterd on data" in steps
    assert {event["kind"] for event in told} == {"tls"}
