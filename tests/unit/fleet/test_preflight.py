"""What a rollout needs before it touches anything, and what it would change."""

import time

import pytest
import yaml

from fleet import plan, preflight, revision, unfinished, work
from fleet.change import Change, StepFailed
from fleet.errors import FleetError
from fleet.revision import CANDIDATE
from tests.support import leavers, release_archive
from tests.support.checkout import Checkout
from tests.support.loading import ROOT

ALL = ["boss", "web-1", "web-2", "db-1", "lb-1", "lb-2"]
LIMITS = {"batch": 1, "min_in_service": 1, "min_healthy_time": 0, "deadline": 600}


class Fleet(leavers.Fleet):
    """A fleet that has nothing to do, and what a preflight asks it besides."""

    def __init__(self):
        super().__init__(members={"db-1": "PRIMARY"})
        self.servers = {node: ["web-1", "web-2"] for node in ("lb-1", "lb-2")}
        self.states = {}
        self.mongods = {}
        self.grains = {}
        self.open = False

    def _grains_item(self, node, *_keys):
        return {"roles": self.roles.get(node, leavers.entry(node)["roles"]), **self.grains}

    def _state_highstate(self, node, **_):
        state = {"result": True, "changes": {}, "__id__": "x", "__sls__": "base.hosts"}
        return self.states.get(node, {"file_|-x_|-x_|-managed": state})

    def _mongodb_is_open(self, _node):
        return self.open

    def _mongodb_server_info(self, node):
        return self.mongods.get(node, {"version": "7.0.28", "compressors": ["snappy"]})

    def _gluster_volumes(self, _node):
        return []

    def _counterapp_clock(self, _node):
        return time.time()


@pytest.fixture
def checkout(tmp_path):
    made = Checkout(tmp_path)
    release_archive.archive(made.dist, "1.0")
    return made


@pytest.fixture
def master(checkout):
    return checkout.master


@pytest.fixture
def change(master):
    with Change(master, "rollout") as opened:
        yield opened


@pytest.fixture
def fleet():
    return Fleet()


@pytest.fixture
def mongodb():
    """The settings of mongod in the tree; a test alters them."""
    return yaml.safe_load((ROOT / "pillar/mongodb.sls").read_text())["mongodb"]


@pytest.fixture
def going(change, fleet, mongodb):
    def going(**limits):
        target = leavers.revision(change.master, *ALL, settings={"mongodb": mongodb})
        return work.Work(change, fleet, target, CANDIDATE, None, {**LIMITS, **limits})

    return going


@pytest.fixture
def problems(change, going):
    """Return what the checks of all parts have to say."""

    def problems(reached=ALL, **limits):
        with change.step("preflight", "checking") as step:
            return preflight.problems(going(**limits), list(reached), step)

    return problems


class TestModules:
    def test_they_are_there_before_anything_is_looked_at(self, change, going, fleet):
        fleet.modules = {"web-2": "others", "db-1": "'synced.digest' is not available."}
        with change.step("preflight", "checking") as step:
            preflight.examine(going(), step)
        asked = fleet.functions()
        assert asked.index("saltutil.sync_all") < asked.index("state.highstate")
        assert fleet.did("saltutil.sync_all") == [
            (["web-2", "db-1"], [], {"saltenv": CANDIDATE}),
        ]

    def test_who_has_those_of_the_target_syncs_nothing(self, change, going, fleet):
        with change.step("preflight", "checking") as step:
            preflight.examine(going(), step)
        assert fleet.did("saltutil.sync_all") == []

    def test_who_cannot_load_them_is_named(self, change, going, fleet):
        fleet.modules["web-1"] = "others"
        fleet.refuses["web-1", "saltutil.sync_all"] = "No space left on device"
        with (
            pytest.raises(StepFailed, match="web-1: its modules: No space left on device"),
            change.step("preflight", "checking") as step,
        ):
            preflight.examine(going(), step)


class TestUnreachable:
    def test_who_answers_and_is_what_it_should_be_is_reached(self, going):
        assert preflight.unreachable(going()) == (dict.fromkeys(ALL, "ours"), [])

    def test_a_silent_node_is_named(self, going, fleet):
        fleet.silent = {"web-2"}
        reached, [silent] = preflight.unreachable(going())
        assert "web-2" not in reached
        assert silent.startswith("web-2: the minion does not answer; look at `salt-key -L`")

    def test_wrong_roles_are_named(self, going, fleet):
        fleet.roles["web-1"] = ["lb"]
        reached, [wrong] = preflight.unreachable(going())
        assert "web-1" in reached
        assert "web-1: its roles grain is ['lb'], but the topology gives it ['web']" in wrong

    def test_no_roles_are_wrong_ones(self, going, fleet):
        fleet.roles["web-1"] = None
        [wrong] = preflight.unreachable(going())[1]
        assert "its roles grain is []" in wrong


class TestProblems:
    def test_a_fleet_that_is_well_has_none(self, problems):
        assert problems() == []

    def test_those_of_all_checks_are_told_together(self, problems, fleet, monkeypatch):
        half = ["a switch of TLS is half done"]
        monkeypatch.setattr(unfinished, "problems", lambda _master: half)
        fleet.refuses["lb-1", "haproxy.servers"] = "its socket is closed"
        fleet.running.add(("lb-1", "haproxy"))
        found = problems(batch=0)
        assert found[0].startswith("batch must be a number from 1 on")
        assert any("lb-1" in each and "its socket is closed" in each for each in found)
        assert found[-1] == "a switch of TLS is half done"

    @pytest.mark.parametrize("key", ["min_healthy_time", "deadline", "total_deadline"])
    @pytest.mark.parametrize("value", ["ten", True, -1, float("nan")])
    def test_a_time_that_is_none_is_named_by_its_key(self, problems, key, value):
        assert problems(**{key: value}) == [f"{key} must be a number of seconds, not {value!r}"]

    def test_the_whole_may_take_as_long_as_it_needs(self, problems):
        assert problems(total_deadline=None) == []

    def test_a_release_that_is_damaged_is_not_rolled_out(self, problems, checkout):
        [archive] = checkout.dist.glob("counterapp-1.0*.tar.gz")
        archive.write_bytes(archive.read_bytes()[:-9])
        [reason] = problems()
        assert "1.0" in reason

    def test_a_set_without_its_primary_is_not_touched(self, problems, fleet, monkeypatch):
        sick = {"healthy": False, "reasons": ["there is no primary"]}
        monkeypatch.setattr(fleet, "_mongodb_healthy", lambda _node: sick, raising=False)
        assert problems() == ["db-1: the replica set is not healthy: there is no primary"]

    def test_a_set_that_is_yet_to_be_made_is_not_asked_how_it_is(self, problems, fleet):
        fleet.open = True
        assert problems() == []
        assert "mongodb.healthy" not in fleet.functions()

    def test_one_whose_daemon_is_down_is_not_who_tells(self, problems, fleet):
        fleet.members.clear()
        assert problems() == []

    def test_a_volume_that_is_not_whole_is_not_touched(self, problems, fleet, monkeypatch):
        monkeypatch.setattr(preflight, "_HEALS", 0)
        sick = {"healthy": False, "reasons": ["a brick is down"]}
        monkeypatch.setattr(fleet, "_gluster_volumes", lambda _node: ["shared"])
        monkeypatch.setattr(fleet, "_gluster_healthy", lambda _node, _volume: sick)
        assert problems() == ["db-1: volume shared: a brick is down"]

    def test_balancers_see_the_same_unless_a_change_has_left_one_on_its_way(
        self, problems, fleet, master, monkeypatch
    ):
        monkeypatch.setattr(preflight, "_AGREE", 0)
        fleet.servers["lb-2"] = ["web-1"]
        [reason] = problems()
        assert "lb-1 sees web-1, web-2; lb-2 sees web-1" in reason
        revision.move(master, ["lb-2"], "20261127-220000-abcd")
        assert problems() == []


class TestVersions:
    @pytest.fixture
    def repo(self, mongodb):
        def have(series):
            mongodb["install"].update(source="repo", repo_series=series, repo_least=f"{series}.40")

        return have

    def test_no_series_can_be_left_out(self, problems, fleet, repo):
        fleet.mongods["db-1"] = {"version": "6.0.5", "compressors": [], "compatibility": "6.0"}
        repo("8.0")
        assert problems() == [
            "db-1: its mongod 6.0.5: no series can be left out from 6.0 to 8.0: go to 7.0 first"
        ]
        repo("7.0")
        assert problems() == []

    def test_the_way_back_wants_the_compatibility_of_before(self, problems, fleet, repo):
        fleet.mongods["db-1"] = {"version": "7.0.28", "compressors": [], "compatibility": "7.0"}
        [reason] = problems()
        assert "for the way from 7.0 to 6.0 it must be 6.0: `salt db-1 mongodb.set_feat" in reason
        fleet.mongods["db-1"]["compatibility"] = "6.0"
        assert problems() == []

    def test_what_a_node_cannot_run_is_refused(self, problems, fleet, repo):
        repo("7.0")
        fleet.grains = {"os": "Ubuntu", "os_family": "Debian", "osrelease": "24.04"}
        [reason] = problems()
        assert reason.startswith("db-1: MongoDB's repository has no 7.0 for Ubuntu 24.04: take 8.0")
        fleet.grains = {"cpuarch": "x86_64", "cpu_flags": ["sse4_2"]}
        [reason] = problems()
        assert reason.startswith("db-1: mongod 7.0 wants a processor with AVX")
        fleet.grains["cpu_flags"].append("avx")
        assert problems() == []

    def test_a_series_that_is_none_is_named_by_its_key(self, problems, repo):
        repo("seven")
        assert any("mongodb:install:repo_series in pillar" in each for each in problems())


class TestZlib:
    """CVE-2025-14847: what is rolled out decides, and what runs is told of."""

    def test_what_would_offer_it_is_refused(self, problems, mongodb):
        mongodb["compressors"] = ["snappy", "zlib"]
        [reason] = problems()
        assert reason.startswith("db-1: its mongod would be 6.0.5 and offer zlib, over which a ")
        assert "have 6.0.27 or newer installed" in reason
        mongodb["install"].update(source="repo", repo_least="8.0.16")
        [reason] = problems()
        assert "would be 8.0.16" in reason

    @pytest.mark.parametrize(
        ("compressors", "install"),
        [(["snappy", "zstd"], {}), (["zlib"], {"source": "repo", "repo_least": "7.0.28"})],
    )
    def test_what_would_not_is_rolled_out_whatever_runs(
        self, problems, going, fleet, mongodb, compressors, install
    ):
        mongodb["compressors"] = compressors
        mongodb["install"].update(install)
        for offered, words in (
            (["snappy", "zlib"], "strangers read its memory over zlib until"),
            (["snappy"], "it is out of reach, since zlib is off"),
        ):
            fleet.mongods["db-1"] = {"version": "6.0.5", "compressors": offered}
            assert problems() == []
            [(node, told)] = preflight.warnings(going(), ALL)
            assert node == "db-1"
            assert told.startswith("its mongod 6.0.5 has CVE-2025-14847, repaired in 6.0.27: ")
            assert words in told

    def test_what_is_repaired_is_not_talked_of(self, going, fleet):
        fleet.mongods["db-1"] = {"version": "7.0.28", "compressors": ["zlib"]}
        assert preflight.warnings(going(), ALL) == []

    def test_who_cannot_tell_is_not_talked_of(self, going, fleet):
        fleet.mongods["db-1"] = "mongod does not run"
        assert preflight.warnings(going(), ALL) == []
        assert preflight.warnings(going(), []) == []

    def test_a_version_that_is_none_is_named_by_its_key(self, problems, mongodb):
        mongodb["install"]["version"] = 6.0
        [reason] = problems()
        assert reason.startswith("mongodb:install:version in pillar/mongodb.sls: '6.0' is no ")


class TestPlan:
    def made(self, going, reached=None):
        work = going()
        return plan.make(work.minions, work.target, CANDIDATE, reached).nodes

    @staticmethod
    def states(result, *every):
        """What a node returns that has these SLS to do, or fails at them."""
        return {
            f"file_|-{sls}_|-x_|-managed": {"result": result, "__id__": f"of {sls}", "__sls__": sls}
            for sls in every
        }

    def test_nothing_to_do(self, going):
        made = self.made(going)
        assert list(made) == ALL
        assert all(not node.pending and not node.fresh for node in made.values())

    def test_it_is_a_look_at_the_candidate_and_no_more(self, going, fleet):
        self.made(going)
        assert fleet.functions() == ["state.highstate"]
        [(_nodes, _arg, kwarg)] = fleet.did("state.highstate")
        assert (kwarg["test"], kwarg["saltenv"], kwarg["pillarenv"]) == (True, CANDIDATE, CANDIDATE)

    def test_changes_by_sls(self, going, fleet):
        fleet.states["web-1"] = self.states(None, "web.config")
        made = self.made(going)
        [state] = made["web-1"].pending["web.config"]
        assert (state["id"], state["fails"]) == ("of web.config", False)
        assert not made["web-1"].fresh

    @pytest.mark.parametrize("result", [None, False])
    @pytest.mark.parametrize(
        ("node", "sls"),
        [
            ("db-1", ("db.install", "db.service")),
            ("web-1", ("web.install", "web.config")),
            ("lb-1", ("lb.install", "lb.haproxy")),
        ],
    )
    def test_fresh_is_who_has_nothing_of_its_role(self, going, fleet, node, sls, result):
        fleet.states[node] = self.states(result, *sls)
        assert self.made(going)[node].fresh
        # A new daemon on a node that serves is no installation, and neither are new settings.
        for one in sls:
            fleet.states[node] = self.states(result, one)
            assert not self.made(going)[node].fresh

    def test_what_does_not_render_is_a_failure_of_its_node(self, going, fleet):
        fleet.states["web-2"] = ["Rendering SLS 'web' failed"]
        with pytest.raises(FleetError) as refused:
            self.made(going)
        assert refused.value.problems == ["web-2: Rendering SLS 'web' failed"]

    def test_only_who_was_reached_is_looked_at(self, going, fleet):
        assert list(self.made(going, ["db-1", "boss"])) == ["boss", "db-1"]
        [(nodes, _arg, _kwarg)] = fleet.did("state.highstate")
        assert nodes == ["boss", "db-1"]
