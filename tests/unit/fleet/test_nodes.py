"""A node that is made anew: when that is refused, what is done, and going on after a failure."""

import pytest

from fleet import canary, keys, nodes
from fleet import revision as revisions
from fleet.change import StepFailed
from fleet.errors import FleetError
from fleet.journal import history
from tests.support.leavers import SETTINGS, Fleet, address, revision

ALL = ["boss", "web-1", "web-2", "db-1", "db-2", "db-3", "lb-1", "lb-2"]


@pytest.fixture
def accepted(monkeypatch):
    """The fingerprints of accepted keys, by node. A new machine offers ``new`` after ``old``."""
    found = dict.fromkeys(ALL, "old")

    def delete(_master, node):
        found[node] = "new"

    monkeypatch.setattr(keys, "accepted", lambda _, node: found.get(node))
    monkeypatch.setattr(keys, "delete", delete)
    return found


@pytest.fixture
def expect(master):
    def noted(node, fingerprint="new"):
        path = master.config / "enrolled" / node
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{fingerprint}\n")

    return noted


@pytest.fixture
def begin(master, monkeypatch):
    def on(*names, **more):
        base = revision(master, *names, **more) if names else None
        monkeypatch.setattr(revisions, "base", lambda _: base)

    on(*ALL)
    return on


@pytest.fixture
def fleet(accepted):
    """Minions of which one is silent as long as its old key is accepted and its machine gone."""

    class Anew(Fleet):
        gone = None

        def everyone(self, asked, *rest):
            lost = {self.gone} if self.gone and accepted.get(self.gone) == "old" else set()
            self.silent = lost
            return super().everyone(asked, *rest)

    return Anew(
        members={"db-1": "PRIMARY", "db-2": "SECONDARY", "db-3": "SECONDARY"},
        pool=["db-1", "db-2", "db-3"],
        servers={"lb-1": ["web-1", "web-2"], "lb-2": ["web-1", "web-2"]},
        vip="lb-1",
    )


@pytest.fixture
def anew(master, fleet, begin, accepted, expect):
    """Replace a node whose machine is gone and whose new one is expected."""

    def replaced(node, confirm=None, lost=True, noted=True):
        if lost:
            fleet.gone = node
        if noted:
            expect(node)
        return nodes.replace(master, node, confirm or node, 0, fleet, ())

    return replaced


def applied(fleet):
    return [(each[0][0], each[1][0]) for each in fleet.did("state.sls")]


class TestRefused:
    def test_before_the_first_rollout(self, anew, begin):
        begin()
        with pytest.raises(FleetError, match="nothing has been rolled out yet"):
            anew("web-1")

    def test_a_name_that_no_node_has(self, anew):
        with pytest.raises(FleetError, match="there is no node of the fleet's revision 'web-11'"):
            anew("web-11")

    def test_without_its_name_once_more(self, anew, fleet):
        with pytest.raises(FleetError, match="say confirm=web-1"):
            anew("web-1", confirm="web-2")
        assert fleet.asked == []

    def test_the_master(self, anew):
        with pytest.raises(FleetError, match="boss is the master"):
            anew("boss")

    def test_no_new_machine_was_made(self, anew, accepted):
        with pytest.raises(StepFailed, match="no fingerprint is noted for web-1"):
            anew("web-1", noted=False)
        assert accepted["web-1"] == "old"

    def test_the_machine_is_silent_and_no_other_is_expected(self, anew, expect, fleet):
        expect("web-1", "old")
        with pytest.raises(StepFailed, match="make the new machine first"):
            anew("web-1", noted=False)

    def test_the_old_machine_answers(self, anew, accepted):
        with pytest.raises(StepFailed, match="web-1 is alive: its old machine answers"):
            anew("web-1", lost=False)
        assert accepted["web-1"] == "old"

    def test_it_is_alive_and_stays_so_when_asked_again(self, anew, accepted, fleet):
        accepted["web-1"] = "new"
        fleet.running.add(("web-1", "counterapp"))
        for _ in range(2):
            with pytest.raises(StepFailed, match="web-1 is alive: .* counterapp runs there"):
                anew("web-1", lost=False)
        assert applied(fleet) == []

    def test_its_roles_are_others(self, anew, fleet):
        fleet.roles["web-1"] = ["db"]
        with pytest.raises(StepFailed, match=r"roles grain is \['db'\]"):
            anew("web-1")

    def test_the_only_member_of_a_set(self, anew, begin, fleet):
        begin("boss", "web-1", "db-1", "lb-1")
        with pytest.raises(FleetError, match="only member of the replica set"):
            anew("db-1")
        assert fleet.asked == []


class TestAnew:
    def test_a_web_server(self, anew, fleet, accepted, master, monkeypatch):
        monkeypatch.setattr(canary, "restore", lambda *_: None)
        entry = anew("web-1")
        assert accepted["web-1"] == "new"
        assert applied(fleet) == [
            ("web-1", "prepare"),
            ("web-1", "gluster"),
            ("web-1", "web"),
        ]
        [(_, _, kwarg), *_] = fleet.did("state.sls")
        assert kwarg["saltenv"] == kwarg["pillarenv"] == "base"
        assert kwarg["pillar"]["fresh"] == ["web-1"]
        assert (entry["kind"], entry["nodes"], entry["from"]) == ("replace", ["web-1"], "a" * 12)
        assert history(master.state)[0]["outcome"] == "succeeded"

    def test_a_balancer(self, anew, fleet):
        anew("lb-2")
        assert applied(fleet)[-1] == ("lb-2", "lb")
        assert fleet.vip == "lb-1"

    def test_a_member_and_storage_node(self, anew, fleet):
        anew("db-3")
        assert fleet.rejoined == [("db-3", address("db-1"), True)]
        assert applied(fleet) == [
            ("db-3", "prepare"),
            ("db-3", "storage.service"),
            ("db-3", "storage,gluster"),
            ("db-3", "db.service"),
            ("db-3", "db"),
        ]
        # The set was a healthy majority without it before its daemon came.
        names = fleet.functions()
        assert names.index("mongodb.status") < len(names) - names[::-1].index("state.sls")

    def test_a_brick_with_a_disk_of_its_own_is_not_forced(self, anew, fleet):
        fleet.mounts = ["/", "/srv"]
        anew("db-3")
        assert fleet.rejoined == [("db-3", address("db-1"), False)]

    def test_a_pool_that_does_not_know_it_takes_it_in_by_its_states(self, anew, fleet):
        fleet.pool.remove("db-3")
        anew("db-3")
        assert fleet.rejoined == []
        assert ("db-3", "storage,gluster") in applied(fleet)

    def test_it_waits_for_the_database_as_long_as_that_takes(self, anew, fleet, begin):
        short = {**SETTINGS["rollout"], "data_timeout": 0}
        begin(*ALL, settings={"rollout": short})
        fleet.members["db-3"] = "STARTUP2"
        with pytest.raises(StepFailed, match="copying the database; last seen: it is STARTUP2"):
            anew("db-3")

    def test_given_again_after_a_failure_it_goes_on(self, anew, fleet, monkeypatch):
        monkeypatch.setattr(canary, "restore", lambda *_: None)
        fleet.refuses["web-1", "counterapp.wait_ready"] = "the release is broken"
        with pytest.raises(StepFailed, match="the release is broken"):
            anew("web-1")
        fleet.refuses.clear()
        # Meanwhile it runs: by now it would be taken for alive.
        fleet.running.add(("web-1", "counterapp"))
        anew("web-1")
        with pytest.raises(StepFailed, match="web-1 is alive"):
            anew("web-1")


class TestTable:
    def test_each_node_tells_how_it_stands(self, master, fleet, begin, accepted, expect):
        begin(*ALL[:3], leaving=["lb-2"])
        expect("web-1", "other")
        del accepted["web-2"]
        expect("web-2")
        del accepted["lb-2"]
        fleet.gone = "boss"
        found = nodes.table(master, fleet)
        assert {node: (each["key"], each["answers"]) for node, each in found.items()} == {
            "boss": ("accepted", False),
            "web-1": ("another", True),
            "web-2": ("expected", True),
            "lb-2": ("none", True),
        }
        assert [node for node, each in found.items() if each["leaving"]] == ["lb-2"]
        assert found["web-1"]["roles"] == ["web"]
