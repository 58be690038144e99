"""Releases, verification and tokens, with real archives and a real HTTP server."""

import json
import os
import pathlib
import stat
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import jwt
import pytest
import yaml

from tests.support import release_archive
from tests.support.loading import ROOT
from tests.unit.runners.conftest import NODES


class Counter(BaseHTTPRequestHandler):
    """Counts hits like the app, or as wrongly as a test wants it."""

    def do_GET(self):
        if self.path == "/readyz":
            self._answer({"ready": True})
        else:
            self._answer({"value": self.server.count})

    def do_POST(self):
        self.server.count += self.server.steps.pop(0) if self.server.steps else 1
        node = ("one", "two")[self.server.count % 2]
        self._answer({"value": self.server.count, "node": node})

    def _answer(self, body):
        raw = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *args):
        pass


@pytest.fixture
def vip(runners):
    server = ThreadingHTTPServer(("127.0.0.2", 0), Counter)
    server.count, server.steps = 5, []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    runners.pillar("lb", {"frontend_port": server.server_address[1], "backend": "web"})
    runners.utils["fleet.ask"] = lambda nodes, *_a, **_k: {
        node: {"ready": True, "release": "1.0", "reason": ""} for node in nodes
    }
    yield server
    server.shutdown()
    server.server_close()


class TestVerify:
    def test_hits_are_counted_exactly(self, runners, vip):
        done = runners["counterapp.verify"](hits=6, release="1.0")
        assert done["hits"] == 6
        assert done["by_node"] == {"one": 3, "two": 3}
        assert "retcode" not in done
        assert not runners.context

    @pytest.mark.parametrize("steps", [[1, 1, 2], [1, 0]])
    def test_a_hit_counted_twice_or_never_is_a_failure(self, runners, vip, steps):
        vip.steps = list(steps)
        done = runners["counterapp.verify"](hits=4, release="1.0")
        assert done["retcode"] == 1
        assert runners.context["retcode"] == 1
        assert f"hit {len(steps)} through" in done["failed"][0]

    def test_another_release_is_a_failure_of_its_node(self, runners, vip):
        done = runners["counterapp.verify"](hits=1, release="2.0")
        assert done["failed"] == [
            "one: it answers with 1.0, not 2.0",
            "two: it answers with 1.0, not 2.0",
        ]

    def test_no_hits_prove_nothing(self, runners):
        done = runners["counterapp.verify"](hits=0)
        assert done["failed"] == ["hits must be a whole number from 1 on, not 0"]

    def test_nobody_at_the_vip(self, runners, vip):
        vip.shutdown()
        vip.server_close()
        done = runners["counterapp.verify"](timeout=0)
        assert "does not answer within 0 s" in done["failed"][0]


class TestToken:
    KEY = "an operator key of 256 bits and more"

    @pytest.fixture(autouse=True)
    def _secret(self, runners):
        folder = runners.folder / "config/pillar/secrets"
        folder.mkdir()
        text = f'secrets: {{counterapp_operator: "{self.KEY}"}}'
        (folder / "counterapp_operator.sls").write_text(text)

    def claims(self, path):
        scheme, token = path.read_text().removeprefix("Authorization: ").split()
        assert scheme == "Bearer"
        return token, jwt.decode(token, self.KEY, algorithms=["HS256"], audience="counterapp")

    def test_it_is_good_for_the_app_and_in_a_file_of_roots_alone(self, runners):
        before = time.time()
        done = runners["counterapp.token"](scopes="counters:write, counters:read", minutes=5)
        assert "retcode" not in done
        path = pathlib.Path(done["path"])
        assert path == runners.folder / "state/operator.header"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        token, claims = self.claims(path)
        assert claims["scope"] == "counters:read counters:write"
        assert claims["sub"] == done["subject"] == "root@boss"
        assert before + 299 <= claims["exp"] <= time.time() + 301
        # What a runner returns goes to the job cache and the event bus.
        assert token not in repr(done)
        assert self.KEY not in repr(done)
        assert [file.name for file in path.parent.iterdir()] == ["operator.header"]

    def test_a_new_one_takes_the_place_of_the_old(self, runners):
        path = runners.folder / "mine.header"
        first = runners["counterapp.token"](path=str(path), subject="ana")
        text = path.read_text()
        runners["counterapp.token"](path=str(path), subject="berta", minutes=1)
        assert first["scopes"] == ["counters:read"]
        assert path.read_text() != text
        assert self.claims(path)[1]["sub"] == "berta"

    @pytest.mark.parametrize(
        ("asked", "words"),
        [
            ({"scopes": "counters:admin"}, "the scopes must be some of"),
            ({"scopes": ""}, "the scopes must be some of"),
            ({"scopes": None}, "the scopes must be some of"),
            ({"minutes": 0}, "minutes must be from 1 to 1440"),
            ({"minutes": 1441}, "the app takes no token that is good for more than a day"),
            ({"minutes": "10"}, "minutes must be from 1 to 1440"),
            ({"path": "/dev/null/header"}, "no token was made"),
        ],
    )
    def test_what_cannot_be_asked_for_is_refused(self, runners, asked, words):
        done = runners["counterapp.token"](**asked)
        assert done["retcode"] == 1
        assert words in done["failed"][0]
        assert not (runners.folder / "state/operator.header").exists()

    def test_without_a_key_it_says_how_to_make_one(self, runners):
        (runners.folder / "config/pillar/secrets/counterapp_operator.sls").unlink()
        done = runners["counterapp.token"]()
        assert done["retcode"] == 1
        assert "make-secrets" in done["failed"][0]


class TestReleases:
    def test_there_is_none(self, runners):
        assert runners["counterapp.releases"]() == []
        runners.utils["fleet.everyone"] = _everyone_answers
        done = runners["counterapp.preflight"]()
        assert "build one with `make dist`" in done["failed"][0]

    def test_the_newest_build_is_the_default(self, runners):
        for age, version in enumerate(("0.9.0", "0.10.0")):
            path = release_archive.archive(runners.dist, version)
            os.utime(path, (1_000_000 + age, 1_000_000 + age))
        assert [each["version"] for each in runners["counterapp.releases"]()] == ["0.9.0", "0.10.0"]
        runners.utils["fleet.apply"] = lambda *_args, **_kwargs: {}
        assert runners["counterapp.plan"]()["release"] == "0.10.0"

    def test_a_release_that_came_as_a_number_is_not_guessed_at(self, runners):
        (reason,) = runners["counterapp.plan"](release=1.1)["failed"]
        assert "came as the number 1.1" in reason

    def test_the_fleets_release_comes_before_a_newer_build(self, runners):
        for version in ("0.9.0", "0.10.0"):
            release_archive.archive(runners.dist, version)
        (runners.folder / "config/pillar/release.sls").write_text('release: "0.9.0"\n')
        assert runners["counterapp.current_release"]() == "0.9.0"
        runners.utils["fleet.apply"] = lambda *_args, **_kwargs: {}
        assert runners["counterapp.plan"]()["release"] == "0.9.0"


def _everyone_answers(nodes, *_args, **_kwargs):
    return {
        "answers": {node: {"grains.item": {"roles": NODES[node][1]}} for node in nodes},
        "failed": {},
    }


class TestPublish:
    @pytest.fixture(autouse=True)
    def _mounted(self, runners, monkeypatch):
        is_mount = pathlib.Path.is_mount
        monkeypatch.setattr(
            pathlib.Path, "is_mount", lambda path: path == runners.mount or is_mount(path)
        )

    @pytest.fixture
    def target(self, runners):
        """Where release 1.0 lies on the volume, once it is published as it was built."""
        release_archive.archive(runners.dist, "1.0")
        assert "failed" not in runners["counterapp.publish"]("1.0")
        return runners.mount / "releases/counterapp-1.0.tar.gz"

    def test_it_arrives_whole_and_every_node_is_told_what_it_is(self, runners):
        archive = release_archive.archive(runners.dist, "1.0")
        note = release_archive.note(archive)
        done = runners["counterapp.publish"]("1.0")
        target = runners.mount / "releases/counterapp-1.0.tar.gz"
        assert done == {"version": "1.0", "path": str(target), "changed": True, **note}
        assert target.read_bytes() == archive.read_bytes()
        assert stat.S_IMODE(target.stat().st_mode) == 0o644
        assert list(target.parent.iterdir()) == [target]
        (told,) = runners["counterapp.settings"]()["releases"].items()
        assert told == ("1.0", {**note, "published": told[1]["published"]})
        (listed,) = runners["counterapp.releases"]()
        assert listed == {"version": "1.0", "path": str(archive), **told[1]}

    def test_what_only_lies_on_the_volume_is_no_release(self, runners, target):
        (runners.folder / "config/pillar/releases.sls").unlink()
        (runners.dist / target.name).unlink()
        assert runners["counterapp.releases"]() == []
        for call in (runners["counterapp.plan"], runners["counterapp.publish"]):
            (reason,) = call("1.0")["failed"]
            assert "release 1.0 is not in" in reason
            assert "was not published" in reason
            assert "salt-run counterapp.publish 1.0 source=ARCHIVE" in reason
        (reason,) = runners["counterapp.publish"]("1.0", source=str(target))["failed"]
        assert "lies on the volume, where root of any node can write" in reason

    def test_a_new_master_knows_what_the_old_one_has_published(self, runners, target):
        (runners.dist / target.name).unlink()
        (listed,) = runners["counterapp.releases"]()
        assert listed["path"] == str(target)
        assert runners["counterapp.publish"]("1.0")["changed"] is False
        target.unlink()
        assert runners["counterapp.releases"]() == []
        (reason,) = runners["counterapp.plan"]("1.0")["failed"]
        assert f"is gone from {target.parent}" in reason

    def test_what_was_changed_on_the_volume_stops_a_rollout_before_it_begins(
        self, runners, target, monkeypatch
    ):
        monkeypatch.setitem(runners.utils, "fleet.everyone", _everyone_answers)
        good = (runners.dist / target.name).read_bytes()
        target.write_bytes(good[::-1])
        (reason,) = runners["counterapp.preflight"]("1.0")["failed"]
        assert f"{target} is not what was published, somebody has changed it" in reason
        assert "put it back with `salt-run counterapp.publish 1.0`" in reason
        assert runners["counterapp.publish"]("1.0")["changed"] is True
        assert target.read_bytes() == good

    def test_nothing_on_the_volume_leads_the_master_elsewhere(self, runners, target):
        folder, elsewhere = target.parent, runners.folder / "elsewhere"
        elsewhere.write_bytes(b"root's own")
        good = target.read_bytes()
        target.unlink()
        target.symlink_to(elsewhere)
        assert runners["counterapp.publish"]("1.0")["changed"] is True
        assert target.is_symlink() is False
        assert target.read_bytes() == good
        assert elsewhere.read_bytes() == b"root's own"

        target.unlink()
        folder.rmdir()
        (runners.folder / "etc").mkdir()
        folder.symlink_to(runners.folder / "etc")
        done = runners["counterapp.publish"]("1.0")
        assert done["retcode"] == 1
        assert f"{folder} is a link or a file" in done["failed"][0]
        assert list((runners.folder / "etc").iterdir()) == []

    def test_a_build_that_differs_stops_a_rollout_before_it_begins(
        self, runners, target, monkeypatch
    ):
        monkeypatch.setitem(runners.utils, "fleet.everyone", _everyone_answers)
        release_archive.archive(runners.dist, "1.0", {"static/index.html": b"new"})
        (reason,) = runners["counterapp.preflight"]("1.0")["failed"]
        assert "give the new build a version of its own" in reason

    def test_again_it_changes_nothing(self, runners):
        release_archive.archive(runners.dist, "1.0")
        runners["counterapp.publish"]("1.0")
        assert runners["counterapp.publish"]("1.0")["changed"] is False

    def test_a_release_never_changes(self, runners):
        release_archive.archive(runners.dist, "1.0")
        runners["counterapp.publish"]("1.0")
        other = runners.folder / "other"
        other.mkdir()
        again = release_archive.archive(other, "1.0", {"static/index.html": b"new"})
        done = runners["counterapp.publish"]("1.0", source=str(again))
        assert done["retcode"] == 1
        assert "give the new build a version of its own" in done["failed"][0]

    def test_a_damaged_archive_is_refused(self, runners):
        archive = release_archive.archive(runners.dist, "1.0")
        archive.write_bytes(archive.read_bytes()[:-20])
        done = runners["counterapp.publish"]("1.0")
        assert done["retcode"] == 1
        assert not (runners.mount / "releases").exists()

    def test_another_version_inside_is_refused(self, runners):
        archive = release_archive.archive(runners.dist, "1.0")
        done = runners["counterapp.publish"]("2.0", source=str(archive))
        assert "holds release 1.0, not 2.0" in done["failed"][0]


def test_without_the_volume_nothing_is_published(runners):
    release_archive.archive(runners.dist, "1.0")
    done = runners["counterapp.publish"]("1.0")
    assert "is not mounted" in done["failed"][0]
    assert not list(runners.mount.iterdir())


class TestPreflight:
    def test_silent_nodes_and_wrong_roles_are_named(self, runners):
        def everyone(nodes, *_args, **_kwargs):
            found = _everyone_answers(nodes)
            del found["answers"]["two"]
            found["failed"]["two"] = "the minion does not answer"
            found["answers"]["one"]["grains.item"]["roles"] = ["db"]
            return found

        runners.utils["fleet.everyone"] = everyone
        done = runners["counterapp.preflight"]()
        assert done["retcode"] == 1
        silent, wrong = done["failed"]
        assert silent.startswith("two: the minion does not answer")
        assert "one: its roles grain is ['db'], but the topology gives it ['web']" in wrong

    def test_a_bad_topology_is_said_in_full(self, runners):
        runners.write_topology({"boss": ("127.0.0.10", ["master"])})
        done = runners["counterapp.preflight"]()
        assert done["retcode"] == 1
        assert "has no web node" in done["failed"][0]
        assert "has no db node" in done["failed"][0]


@pytest.fixture
def well(runners):
    """A fleet that answers everything well, but who is in ``silent``.

    ``server_info`` has what the function of this name answers, by node.
    """
    release_archive.archive(runners.dist, "1.0")
    runners.pillar("lb", {"frontend_port": 80, "backend": "web"})
    report = {"result": True, "error": None, "changed": [], "failed": [], "states": 1}
    runners.utils["fleet.apply"] = lambda nodes, **_kwargs: dict.fromkeys(nodes, report)
    runners.utils["fleet.replica_set"] = lambda _members: {"begun": False, "states": {}}
    runners.utils["fleet.clocks"] = lambda *_args: {"wrong": {}, "failed": {}}
    runners.silent, runners.server_info = [], {}

    def everyone(nodes, function, *_args, **_kwargs):
        answers = _everyone_answers(nodes)["answers"] if "grains" in str(function) else {}
        answers = runners.server_info if function == "mongodb.server_info" else answers
        failed = dict.fromkeys(runners.silent, "the minion does not answer")
        return {"answers": {n: a for n, a in answers.items() if n not in failed}, "failed": {}}

    runners.utils["fleet.everyone"] = everyone
    return runners


class TestZlib:
    """CVE-2025-14847: what is rolled out decides, and what runs is told of."""

    @pytest.fixture
    def fleet(self, well):
        def install(compressors=("snappy", "zstd"), **settings):
            pillar = yaml.safe_load((ROOT / "pillar/mongodb.sls").read_text())["mongodb"]
            pillar["install"].update(settings)
            well.pillar("mongodb", {**pillar, "compressors": list(compressors)})

        well.install = install
        return well

    def test_what_would_offer_it_is_refused(self, fleet):
        fleet.install(["snappy", "zlib"])
        [reason] = fleet["counterapp.preflight"]()["failed"]
        assert reason.startswith("data: its mongod would be 6.0.5 and offer zlib, over which a ")
        assert "have 6.0.27 or newer installed" in reason
        fleet.install(["snappy", "zlib"], source="repo", repo_least="8.0.16")
        [reason] = fleet["counterapp.preflight"]()["failed"]
        assert "would be 8.0.16" in reason

    @pytest.mark.parametrize(
        ("compressors", "install"),
        [(["snappy", "zstd"], {}), (["zlib"], {"source": "repo", "repo_least": "7.0.28"})],
    )
    def test_what_would_not_is_rolled_out_whatever_runs(self, fleet, compressors, install):
        fleet.install(compressors, **install)
        for offered, words in (
            (["snappy", "zlib"], "strangers read its memory over zlib until"),
            (["snappy"], "it is out of reach, since zlib is off"),
        ):
            fleet.told.clear()
            fleet.server_info["data"] = {"version": "6.0.5", "compressors": offered}
            assert "failed" not in fleet["counterapp.preflight"]()
            [told] = [text for text in fleet.told if "CVE-2025-14847" in text]
            assert told.startswith("its mongod 6.0.5 has CVE-2025-14847, repaired in 6.0.27: ")
            assert words in told

    def test_what_is_repaired_is_not_talked_of(self, fleet):
        fleet.server_info["data"] = {"version": "7.0.28", "compressors": ["zlib"]}
        assert "failed" not in fleet["counterapp.preflight"]()
        assert "CVE-2025-14847" not in repr(fleet.told)

    def test_a_version_that_is_none_is_named_by_its_key(self, fleet):
        fleet.install(version=6.0)
        [reason] = fleet["counterapp.preflight"]()["failed"]
        assert reason.startswith("mongodb:install:version in pillar/mongodb.sls: '6.0' is no ")


class TestClocks:
    """What is made of the deviations that ``fleet.clocks`` has measured."""

    @pytest.fixture
    def fleet(self, well):
        """A fleet that answers everything well, but for its clocks: ``wrong`` and ``failed``."""

        def clocks(nodes, tolerance):
            assert tolerance == 2
            well.asked = list(nodes)
            return {"wrong": well.wrong, "failed": well.failed}

        well.wrong, well.failed = {}, {}
        well.utils["fleet.clocks"] = clocks
        return well

    def failed(self, fleet, command):
        done = fleet[f"counterapp.{command}"]()
        assert fleet.context.pop("retcode", 0) == done.get("retcode", 0)
        return done.get("failed", [])

    @pytest.mark.parametrize("command", ["preflight", "status"])
    def test_clocks_that_are_right_are_no_trouble(self, fleet, command):
        assert self.failed(fleet, command) == []
        assert fleet.asked == list(NODES)

    @pytest.mark.parametrize("command", ["preflight", "status"])
    def test_a_wrong_one_is_named_with_the_remedy(self, fleet, command):
        fleet.wrong = {"one": -3660.04, "data": 2.5}
        behind, ahead = self.failed(fleet, command)
        assert behind.startswith("one: its clock is 3660.0 s behind the master's, more than 2 s: ")
        assert ahead.startswith("data: its clock is 2.5 s ahead of the master's")
        assert "`salt one state.apply base`" in behind
        assert "`chronyc makestep`" in behind

    @pytest.mark.parametrize("command", ["preflight", "status"])
    def test_where_all_others_agree_it_is_the_masters(self, fleet, command):
        fleet.wrong = {"one": 3600.2, "two": 3600.4, "data": 3600.9}
        [reason] = self.failed(fleet, command)
        assert reason.startswith("boss: its clock is 3600.4 s behind all others")
        fleet.wrong = {"one": 3600.2, "two": 3600.4, "data": -5}
        assert len(self.failed(fleet, command)) == 3

    def test_a_rollout_does_not_begin_without_knowing(self, fleet):
        fleet.failed = {"two": "'counterapp.clock' is not available."}
        assert self.failed(fleet, "preflight") == [
            "two: its clock is not known: 'counterapp.clock' is not available."
        ]

    def test_the_state_of_the_node_says_it(self, fleet):
        fleet.wrong = {"one": -3660.04}
        fleet.silent = ["two"]
        done = fleet["counterapp.status"]()
        assert done["nodes"]["one"]["state"].endswith("clock 3660.0 s behind")
        # Who is silent is said once.
        assert fleet.asked == ["boss", "one", "data"]
        assert [reason[:5] for reason in done["failed"]] == ["two: ", "one: "]

    def test_a_silent_master_can_be_the_wrong_one(self, fleet):
        fleet.silent = ["boss"]
        fleet.wrong = {"one": 60, "two": 60, "data": 60}
        done = fleet["counterapp.status"]()
        assert done["nodes"]["boss"]["state"] == "clock 60.0 s behind"


class TestVip:
    """What ``status`` makes of the addresses that the balancers have."""

    BALANCERS: ClassVar = {"left": ("127.0.0.21", ["lb"]), "right": ("127.0.0.22", ["lb"])}

    @pytest.fixture
    def status(self, runners):
        """Return ``status`` of a fleet: each look at the VIP sees the next of ``seen``."""
        runners.write_topology({**NODES, "boss": ("127.0.0.10", ["master"]), **self.BALANCERS})
        runners.pillar("lb", {"frontend_port": 80, "backend": "web"})
        runners.utils["fleet.clocks"] = lambda _nodes, _tolerance: {"wrong": {}, "failed": {}}

        def status(*seen, silent=()):
            looks = list(seen)

            def everyone(nodes, function, *_args, **_kwargs):
                answers = {}
                if function == "grains.item":
                    answers = {node: {} for node in nodes if node not in silent}
                elif function == "network.ip_addrs":
                    holders = looks.pop(0) if len(looks) > 1 else looks[0]
                    answers = {n: ["127.0.0.2"] if n in holders else [] for n in nodes}
                return {"answers": answers, "failed": {}}

            runners.utils["fleet.everyone"] = everyone
            done = runners["counterapp.status"]()
            assert runners.context.pop("retcode", 0) == done.get("retcode", 0)
            said = {n: done["nodes"][n]["state"] for n in self.BALANCERS}
            return done.get("failed", []), said

        return status

    def test_one_holds_it(self, status):
        assert status(["right"]) == ([], {"left": "standby", "right": "has the VIP"})

    def test_several_hold_it(self, status):
        [reason], said = status(["left", "right"])
        assert reason.startswith("left and right hold the VIP 127.0.0.2 at the same time: ")
        assert set(said.values()) == {"has the VIP"}

    def test_nobody_holds_it(self, status):
        [reason], said = status([])
        assert reason.startswith("no balancer holds the VIP 127.0.0.2: ")
        assert reason.endswith("on left, right")
        assert set(said.values()) == {"standby"}

    def test_it_is_not_missed_while_it_moves(self, status):
        assert status([], ["left"])[0] == []

    def test_a_silent_balancer_may_hold_it(self, status):
        failed, said = status([], silent=["left"])
        assert failed == ["left: the minion does not answer"]
        assert said == {"left": None, "right": "standby"}


class TestPlan:
    def plan(self, runners, reports):
        whole = {
            node: {"result": True, "error": None, "changed": [], "failed": [], "states": 1}
            for node in ("boss", "one", "two", "data")
        }
        for node, report in reports.items():
            whole[node] = {**whole[node], **report}
        runners.utils["fleet.apply"] = lambda *_args, **_kwargs: whole
        release_archive.archive(runners.dist, "1.0")
        return runners["counterapp.plan"]()

    def test_nothing_to_do(self, runners):
        made = self.plan(runners, {})
        assert made["release"] == "1.0"
        assert all(not node["pending"] and not node["fresh"] for node in made["nodes"].values())

    def test_changes_by_sls(self, runners):
        entry = {"id": "the env", "sls": "web.config", "comment": ""}
        made = self.plan(runners, {"one": {"changed": [entry]}})
        assert made["nodes"]["one"]["pending"] == {"web.config": ["the env"]}
        assert not made["nodes"]["one"]["fresh"]

    def test_fresh_is_who_has_nothing_of_its_role(self, runners):
        entries = [
            {"id": sls, "sls": sls, "comment": ""} for sls in ("mongodb.install", "mongodb.service")
        ]
        made = self.plan(runners, {"data": {"failed": entries}})
        assert made["nodes"]["data"]["fresh"]
        # A new mongod on a member that serves is no installation.
        made = self.plan(runners, {"data": {"changed": entries[1:]}})
        assert not made["nodes"]["data"]["fresh"]

    def test_what_does_not_render_is_a_failure(self, runners):
        done = self.plan(runners, {"two": {"error": "Rendering SLS 'web' failed", "states": 0}})
        assert done["retcode"] == 1
        assert done["failed"] == ["two: Rendering SLS 'web' failed"]
