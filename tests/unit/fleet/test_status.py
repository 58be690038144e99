"""The fleet at a glance: what is told of each node, of the whole, and of all that is wrong."""

import datetime
import io
import re
import threading
import time

import pytest
import salt.config
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fleet import backups, drift, files, lock, parts, revision, secret_files, status
from fleet import certificate as certificates
from fleet.change import Change
from fleet.master import Master
from fleet.minions import Answers
from fleet.utils import mongodb_health
from tests.support.loading import ROOT
from tests.support.waiting import PATIENCE

VIP = "192.168.33.200"
TRACE = "Traceback (most recent call last):\n  File x\nKeyError: 'no such function'\n"
NOW = datetime.datetime.now(datetime.UTC)


def certificate(days):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "db-1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - datetime.timedelta(days=90))
        .not_valid_after(NOW + datetime.timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


CERTIFICATE = certificate(365)


def unit(name, state="active", entered="2026-11-20 08:00:00"):
    return (
        f"Id={name}.service\nActiveState={state}\nActiveEnterTimestamp=Fri {entered} UTC\n"
        "InactiveEnterTimestamp=Fri 2026-11-27 09:00:00 UTC"
    )


def member(number, state="SECONDARY", lag=0.0, health=1):
    name = f"192.168.33.{13 + number}:27017"
    return {"name": name, "state": state, "lag_s": lag, "health": health, "votes": 1, "self": False}


def server(name, **facts):
    return {"name": name, "in_service": True, "admin": "ready", "since": 60, **facts}


def ago(**since):
    """What the archive says of its last entry, so long ago."""
    when = datetime.datetime.now(datetime.UTC) - datetime.timedelta(**since)
    return {"time": "9:9", "wall": when.isoformat()}


class Fleet:
    """Eight nodes that are well; a test has some of them answer otherwise."""

    def __init__(self):
        self.silent = set()
        self.holders = [["lb-1"]]
        self.members = [member(1, "PRIMARY"), member(2), member(3)]
        self.servers = {name: [server("web-1"), server("web-2")] for name in ("lb-1", "lb-2")}
        self.other = {}
        self.archive = {"problem": None, "recoverable_until": ago(seconds=5), "holder": "db-2"}
        self.jobs = []
        self.together = 0
        self.at_once = 0
        #: How many jobs wait for each other, so that all of them are under way at one moment.
        self.meeting = 0
        self.changed = threading.Condition()

    def everyone(self, nodes, function, arg=(), kwarg=None, timeout=15, patience=10):
        nodes = list(nodes)
        several = not isinstance(function, str)
        functions = dict(zip(function, arg, strict=True)) if several else {function: list(arg)}
        with self.changed:
            self.jobs.append((nodes, list(functions)))
            self.together += 1
            self.at_once = max(self.at_once, self.together)
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.at_once >= self.meeting, 10 * PATIENCE)
        found = Answers()
        for node in nodes:
            if node in self.silent:
                found.failed[node] = "the minion does not answer"
                continue
            answers = {name: self.answer(node, name, given) for name, given in functions.items()}
            found.answers[node] = answers if several else answers[function]
        with self.changed:
            self.together -= 1
        return found

    def answer(self, node, function, arg):
        if (node, function) in self.other:
            return self.other[node, function]
        kind, _, number = node.partition("-")
        if function == "cmd.run_all":
            units = re.search(r"InactiveEnterTimestamp (.*)", arg[0])[1].split()
            return {"stdout": "\n\n".join(map(unit, units)), "retcode": 0}
        if function == "network.ip_addrs":
            holders = self.holders[0]
            if node == "lb-2" and len(self.holders) > 1:
                self.holders.pop(0)
            return [VIP] if node in holders else []
        state = next(
            (
                m["state"]
                for m in self.members
                if m["name"].startswith(f"192.168.33.{13 + int(number or 0)}:")
            ),
            None,
        )
        return {
            "counterapp.clock": time.time(),
            "grains.item": {"osfinger": "Debian-12"},
            "disk.usage": {
                "/": {"available": "1024", "capacity": "40%"},
                "/var/lib/mongodb": {"available": "2048", "capacity": "70%"},
            },
            "file.read": CERTIFICATE,
            "counterapp.health": {"ready": True, "release": "1.4.0", "reason": ""},
            "mongodb.status": {
                "reachable": True,
                "reason": None,
                "state": state,
                "primary": "192.168.33.14:27017",
                "members": self.members,
            },
            "gluster.healthy": {"healthy": True, "reasons": []},
            "mongodb_archive.status": self.archive,
            "haproxy.servers": self.servers.get(node),
        }[function]


def make_master(folder):
    opts = salt.config.master_config(None)
    opts.update(
        id="master",
        root_dir=str(folder),
        cachedir=str(folder / "cache"),
        pki_dir=str(folder / "pki"),
        sock_dir=str(folder / "sock"),
        file_client="local",
        counterapp_tree=str(ROOT),
        counterapp_pillar=[],
        counterapp_state=str(folder / "state"),
        counterapp_config=str(folder / "config"),
    )
    (folder / "config/pillar").mkdir(parents=True)
    # As bootstrap makes it.
    (folder / "config/pillar/moving.yaml").write_text("{}")
    return Master(opts)


@pytest.fixture(scope="module")
def rolled_out(tmp_path_factory):
    made = make_master(tmp_path_factory.mktemp("master"))
    revision.settle(revision.capture(made, "1.4.0"))
    shown(made, CERTIFICATE)
    return made


def shown(master, certificate):
    """Have balancers show a certificate at the VIP."""
    name = certificates.CERTIFICATE
    secret_files.write(master, name, {"secrets": {name: certificate}})


@pytest.fixture
def fleet():
    return Fleet()


@pytest.fixture
def look(rolled_out, fleet):
    return lambda: status.status(rolled_out, fleet, io.StringIO())


def test_a_fleet_that_is_well(look, fleet, rolled_out):
    found = look()
    assert "failed" not in found
    assert "retcode" not in found
    assert (found["url"], found["topology"]) == (f"https://{VIP}/", "default")
    assert found["release"] == found["revision"]["release"] == "1.4.0"
    assert found["revision"]["id"] == revision.base(rolled_out).id
    assert found["drift"]["differs"] is False
    assert found["lock"] is None
    assert found["vip"] == {"address": VIP, "holders": ["lb-1"]}
    assert found["volume"] == {"name": "shared", "healthy": True, "reasons": []}
    assert found["replica_set"]["primary"] == "db-1"
    assert found["replica_set"]["members"][1] == {
        "node": "db-2",
        "name": "192.168.33.15:27017",
        "state": "SECONDARY",
        "lag_s": 0.0,
    }
    states = {node: entry["state"] for node, entry in found["nodes"].items()}
    assert states == {
        "master": None,
        "web-1": "ready",
        "web-2": "ready",
        "db-1": "PRIMARY, glusterd up, volume healthy",
        "db-2": "SECONDARY, glusterd up",
        "db-3": "SECONDARY, glusterd up",
        "lb-1": "2/2 servers up, has the VIP",
        "lb-2": "2/2 servers up, standby",
    }
    db = found["nodes"]["db-2"]
    assert db["since"] == "2026-11-20T08:00:00+00:00"
    assert db["disk"] == {
        "/": {"free": 2**20, "used": 40, "full_in_s": None},
        "/var/lib/mongodb": {"free": 2**21, "used": 70, "full_in_s": None},
    }
    assert set(found["nodes"]["web-1"]["disk"]) == {"/"}
    assert datetime.datetime.fromisoformat(db["certificate"]) > NOW
    # A balancer has seen it come up a minute ago.
    web = datetime.datetime.fromisoformat(found["nodes"]["web-1"]["since"])
    assert 55 <= (datetime.datetime.now(datetime.UTC) - web).total_seconds() <= 75


def test_all_are_asked_at_once_and_each_but_once(look, fleet):
    fleet.meeting = 5
    look()
    *jobs, (_member, archive) = fleet.jobs
    # By itself and last: it reads the volume, which may hang.
    assert archive == ["mongodb_archive.status"]
    assert len(jobs) == fleet.at_once == 5
    asked = [node for nodes, _functions in jobs for node in nodes]
    assert sorted(asked) == sorted(set(asked))
    # glusterd answers one at a time: one storage node tells of the volume.
    assert sum("gluster.healthy" in functions for _nodes, functions in fleet.jobs) == 1


def problems(look):
    found = look()
    assert found.get("retcode", 0) == (1 if "failed" in found else 0)
    return found.get("failed", [])


class TestProblems:
    def test_a_silent_node(self, look, fleet):
        fleet.silent = {"web-2"}
        found = look()
        [reason] = found["failed"]
        assert reason.startswith("web-2: the minion does not answer; look at `salt-key -L`")
        assert found["nodes"]["web-2"]["up"] is False
        assert found["nodes"]["web-2"]["state"] is None

    def test_a_wrong_clock(self, look, fleet):
        fleet.other["web-1", "counterapp.clock"] = time.time() - 3660
        found = look()
        [reason] = found["failed"]
        assert reason.startswith("web-1: its clock is 366")
        assert re.fullmatch(r"ready, clock 36\d\d\.\d s behind", found["nodes"]["web-1"]["state"])

    def test_an_app_that_is_not_ready(self, look, fleet):
        health = {"ready": False, "release": "1.4.0", "reason": "no database"}
        fleet.other["web-1", "counterapp.health"] = health
        found = look()
        assert found["nodes"]["web-1"]["state"] == "not ready: no database"
        assert found["failed"] == [
            "web-1: its app is not ready: no database; look at `journalctl -u counterapp` on the "
            "node"
        ]

    def test_a_drained_server_is_no_problem_but_told(self, look, fleet):
        fleet.servers["lb-2"] = [
            server("web-1", in_service=False, admin="drain"),
            server("web-2", in_service=False),
        ]
        found = look()
        assert "failed" not in found
        assert found["nodes"]["web-1"]["state"] == "ready, drain in lb-2"
        assert found["nodes"]["web-2"]["state"] == "ready, down in lb-2"
        assert found["nodes"]["lb-2"]["state"] == "0/2 servers up, standby"

    def test_what_fails_on_a_node_is_named(self, look, fleet):
        fleet.other["lb-2", "haproxy.servers"] = TRACE
        found = look()
        assert found["nodes"]["lb-2"]["state"] == "lb does not answer, standby"
        assert found["failed"] == [
            "lb-2: haproxy.servers fails there: KeyError: 'no such function'; look at `systemctl "
            "status haproxy keepalived` on the node"
        ]

    def test_a_member_that_is_down(self, look, fleet):
        fleet.members[2] = member(3, "(not reachable/healthy)", None, 0)
        fleet.other["db-3", "mongodb.status"] = {
            "reachable": False,
            "reason": "connection refused",
            "state": None,
            "members": [],
        }
        of_node, of_set = problems(look)
        assert of_node.startswith("db-3: its mongod does not answer: connection refused; look at ")
        assert of_set.startswith(
            "the replica set, as db-1 sees it: db-3 is (not reachable/healthy); look at "
        )

    def test_a_member_that_cannot_catch_up(self, look, fleet):
        why = f"it cannot catch up: it has to copy all data anew: {mongodb_health.RESYNC}"
        fleet.members[1] = {**member(2, "RECOVERING", None), "trouble": why}
        found = look()
        assert found["nodes"]["db-2"]["state"] == "RECOVERING, glusterd up, cannot catch up"
        assert found["failed"] == [
            "the replica set, as db-1 sees it: db-2 is RECOVERING: it cannot catch up: it has to "
            "copy all data anew: `salt db-2 mongodb.resync "
            "confirm=192.168.33.15:27017/var/lib/mongodb`"
        ]

    def test_a_member_that_copies_all_data(self, look, fleet):
        fleet.members[1] = {
            **member(2, "STARTUP2", None),
            "trouble": "it copies all data, it serves by itself then",
        }
        assert problems(look) == [
            "the replica set, as db-1 sees it: db-2 is STARTUP2: it copies all data, it serves by "
            "itself then"
        ]

    def test_a_mongod_that_is_no_member(self, look, fleet):
        del fleet.members[2]
        assert problems(look) == [
            "db-3: its mongod runs, and the replica set has no member 192.168.33.16:27017: `salt "
            "db-3 state.apply db` takes it in"
        ]

    def test_a_member_of_another_address(self, look, fleet):
        fleet.members[2] = {**member(3, "(not reachable/healthy)", None, 0), "name": "10.0.0.9:1"}
        of_set, of_node = problems(look)
        assert of_set.startswith("the replica set, as db-1 sees it: 10.0.0.9:1 is (not reachable")
        assert of_node == (
            "db-3: its mongod runs, and the replica set has no member 192.168.33.16:27017: if it "
            "is the one that the set knows as 10.0.0.9:1, where no node is, `salt db-1 "
            "mongodb.move_member 10.0.0.9:1 192.168.33.16:27017`; else `salt db-3 state.apply db` "
            "takes it in"
        )

    def test_a_member_that_is_late_on_purpose(self, look, fleet):
        fleet.members[1] = {**member(2, lag=3600.4), "delay_s": 3600}
        assert look()["nodes"]["db-2"]["state"] == "SECONDARY, glusterd up"

    def test_a_member_that_is_behind(self, look, fleet):
        fleet.members[1] = member(2, lag=90.0)
        assert look()["nodes"]["db-2"]["state"] == "SECONDARY, glusterd up, 1 min 30 s behind"

    def test_a_volume_that_is_not_healthy(self, look, fleet):
        fleet.other["db-1", "gluster.healthy"] = {"healthy": False, "reasons": ["no quorum"]}
        found = look()
        assert found["nodes"]["db-1"]["state"].endswith("volume: no quorum")
        [reason] = found["failed"]
        assert reason.startswith("the volume shared, as db-1 sees it: no quorum; see that glusterd")

    def test_another_tells_of_the_volume_when_the_first_is_silent(self, look, fleet):
        fleet.silent = {"db-1"}
        found = look()
        assert found["volume"]["healthy"]
        assert found["nodes"]["db-2"]["state"].endswith("volume healthy")
        assert len(found["failed"]) == 1

    def test_a_glusterd_that_does_not_run(self, look, fleet):
        stdout = f"{unit('mongod')}\n\n{unit('glusterd', 'failed')}"
        fleet.other["db-3", "cmd.run_all"] = {"stdout": stdout}
        found = look()
        assert found["nodes"]["db-3"]["state"] == "SECONDARY, glusterd failed"
        assert found["nodes"]["db-3"]["since"] == "2026-11-27T09:00:00+00:00"
        assert found["failed"] == [
            "db-3: its glusterd is failed: run `systemctl restart glusterd` on the node"
        ]

    def test_a_full_disk(self, look, fleet):
        fleet.other["db-2", "disk.usage"] = {"/": {"available": "10240", "capacity": "98%"}}
        assert problems(look) == [
            "db-2: its file system / is 98 % full, 10 MiB are free: make room there"
        ]

    @pytest.mark.parametrize(
        ("days", "verb", "remedy"),
        [
            (-3, "ended", "storage.switch_tls restart=True"),
            (5, "ends", "secret.rotate gluster_tls`"),
        ],
    )
    def test_a_certificate_that_ends(self, look, fleet, days, verb, remedy):
        fleet.other["web-1", "file.read"] = certificate(days)
        [reason] = problems(look)
        assert reason.startswith(f"web-1: its certificate /etc/ssl/glusterfs.pem {verb} on 20")
        assert remedy in reason

    @pytest.mark.parametrize(("days", "verb"), [(-3, "ended"), (5, "ends")])
    def test_a_certificate_of_https_that_ends(self, look, rolled_out, days, verb):
        shown(rolled_out, certificate(days))
        try:
            [reason] = problems(look)
        finally:
            shown(rolled_out, CERTIFICATE)
        assert reason.startswith(f"the certificate of HTTPS {verb} on 20")
        assert reason.endswith("run `salt-run secret.rotate https_certificate` on the master")

    def test_none_of_https(self, look, rolled_out):
        shown(rolled_out, "nothing")
        try:
            [reason] = problems(look)
        finally:
            shown(rolled_out, CERTIFICATE)
        assert "has no certificate: remove it, and run" in reason

    def test_no_certificate(self, look, fleet):
        fleet.other["web-1", "file.read"] = TRACE
        [reason] = problems(look)
        assert "cannot be read: KeyError: 'no such function'; run" in reason


class TestBackups:
    @pytest.fixture(autouse=True)
    def clean(self, rolled_out):
        yield
        for path in (rolled_out.config / backups.NOTES, rolled_out.state / "backup.json"):
            path.unlink(missing_ok=True)

    @pytest.fixture
    def noted(self, rolled_out):
        """A backup of ten minutes ago."""

        def note(**since):
            info = {
                **{"set": "rs0", "timeline": "first", "sha256": "0" * 64, "bytes": 1},
                **{"to": ago(**since), "ended": ago(**since)["wall"], "collections": {}},
            }
            return backups.add(rolled_out, backups.SCHEDULED, "mine", info)

        note(minutes=10)
        return note

    def test_what_can_be_restored_is_told(self, look, rolled_out, fleet, noted):
        found = look()
        assert "failed" not in found
        told = found["backup"]
        assert (told["newest"]["name"], told["number"], told["drill"]) == ("mine", 1, None)
        assert 600 <= told["newest"]["age_s"] < 660
        assert told["recoverable_until"] == fleet.archive["recoverable_until"]["wall"]

    def test_a_newest_one_that_is_old(self, look, rolled_out, fleet, noted):
        noted(hours=3)
        (told,) = look()["failed"]
        assert re.search("the newest backup is 3 h .* old, and one is wanted every 1 h 0 min", told)

    def test_a_drill_that_failed(self, look, rolled_out, fleet, noted):
        drill = {"ended": ago(minutes=1)["wall"], "problem": "counters came out other"}
        backups.update(rolled_out, "mine", drill=drill)
        (told,) = look()["failed"]
        assert "the last drill, of the backup mine, failed: counters came out other" in told

    def test_an_archive_that_is_behind(self, look, rolled_out, fleet):
        fleet.archive["recoverable_until"] = ago(minutes=5)
        (told,) = look()["failed"]
        assert "the archive of the oplog ends 5 min" in told
        assert "systemctl status mongodb-archive" in told

    def test_an_archive_that_says_what_is_wrong(self, look, rolled_out, fleet):
        fleet.archive["problem"] = "nobody writes"
        assert look()["failed"] == ["the archive of the oplog: nobody writes"]

    def test_why_the_newest_one_is_old_and_what_passes_is_not_told(
        self, look, rolled_out, fleet, noted
    ):
        files.write_json(
            rolled_out.state / "backup.json",
            {"ended": "2026-11-28T03:00:00+00:00", "did": [], "problems": ["backup: no room"]},
        )
        assert "failed" not in look()
        noted(hours=3)
        (told,) = look()["failed"]
        assert told.endswith("one is wanted every 1 h 0 min: backup: no room")


class TestVip:
    def test_several_hold_it(self, look, fleet):
        fleet.holders = [["lb-1", "lb-2"]]
        found = look()
        [reason] = found["failed"]
        assert reason.startswith(f"lb-1 and lb-2 hold the VIP {VIP} at the same time: ")
        assert found["vip"]["holders"] == ["lb-1", "lb-2"]

    def test_nobody_holds_it(self, look, fleet, monkeypatch):
        monkeypatch.setattr(parts, "VIP_MOVES", 0.1)
        fleet.holders = [[]]
        found = look()
        [reason] = found["failed"]
        assert reason.startswith(f"no balancer holds the VIP {VIP}: ")
        assert reason.endswith("on lb-1, lb-2")
        assert found["nodes"]["lb-1"]["state"].endswith("standby")

    def test_it_is_not_missed_while_it_moves(self, look, fleet):
        fleet.holders = [[], ["lb-2"]]
        found = look()
        assert "failed" not in found
        assert found["vip"]["holders"] == ["lb-2"]

    def test_a_silent_balancer_may_hold_it(self, look, fleet):
        fleet.holders, fleet.silent = [[]], {"lb-1"}
        [reason] = look()["failed"]
        assert reason.startswith("lb-1: the minion does not answer")


class TestChanges:
    def test_one_that_runs_and_the_last_that_ended(self, look, rolled_out):
        with Change(rolled_out, "rollout") as change:
            revision.move(rolled_out, ["web-1"], change.id)
            found = look()
            assert found["lock"]["change"] == change.id
            assert found["moving"] == {"web-1": change.id}
            assert "failed" not in found
        revision.arrived(rolled_out, "web-1")
        assert look()["last"]["id"] == change.id
        (rolled_out.state / "history.jsonl").unlink()

    def test_one_that_died_is_told(self, look, rolled_out, monkeypatch):
        with Change(rolled_out, "rollout") as change:
            revision.move(rolled_out, ["web-1"], change.id)
            real = lock.holder(rolled_out.state)
            with monkeypatch.context() as patched:
                patched.setattr(lock, "holder", lambda _folder: {**real, "alive": False})
                died, between = problems(look)
        revision.arrived(rolled_out, "web-1")
        assert died.startswith(f"the change {change.id} (rollout) of ")
        assert between.startswith(f"web-1: between two revisions since the change {change.id} was")
        assert "`salt-run rollout.rollback`" in between


def test_before_the_first_rollout_it_goes_by_the_checkout(tmp_path, fleet):
    master = make_master(tmp_path)
    for node in ("web-1", "db-1", "lb-1"):
        fleet.other[node, "counterapp.clock"] = TRACE
        fleet.other[node, "file.read"] = TRACE
    fleet.other["web-1", "counterapp.health"] = TRACE
    fleet.holders = [["lb-1"]]
    found = status.status(master, fleet, io.StringIO())
    assert found["note"].startswith("nothing was rolled out yet")
    assert (found["revision"], found["drift"]) == (None, None)
    assert set(found["nodes"]) >= {"master", "web-1"}
    assert "failed" not in found
    fleet.silent = {"web-2"}
    assert len(status.status(master, fleet, io.StringIO())["failed"]) == 1


def test_drift_names_the_files(tmp_path):
    master = make_master(tmp_path)
    tree = tmp_path / "tree"
    for name in (*revision.FOLDERS, "pillar"):
        (tree / name).mkdir(parents=True)
        (tree / name / "here").write_text("as it was")
    master = Master({**master.opts, "counterapp_tree": str(tree)})
    revision.settle(revision.capture(master, "1.4.0"))
    assert drift.of(master) == {"differs": False, "changed": [], "added": [], "gone": []}
    (tree / "salt/here").write_text("edited")
    (tree / "pillar/new.sls").write_text("new")
    (tree / "_utils/here").unlink()
    (tree / "_modules/here").chmod(0o755)
    assert drift.of(master) == {
        "differs": True,
        "changed": ["_modules/here", "salt/here"],
        "added": ["pillar/new.sls"],
        "gone": ["_utils/here"],
    }


class Tty(io.StringIO):
    def isatty(self):
        return True


class TestRows:
    def test_a_row_for_each_node_and_what_is_wrong(self, rolled_out, fleet):
        fleet.silent = {"web-2"}
        stream = Tty()
        status.status(rolled_out, fleet, stream)
        head, *lines = stream.getvalue().splitlines()
        nodes = revision.base(rolled_out).topology["nodes"]
        rows, rest = lines[: len(nodes)], lines[len(nodes) :]
        assert head.split() == ["NODE", "ROLES", "ADDRESS", "RELEASE", "SINCE", "STATE"]
        assert sorted(row.split()[0] for row in rows) == sorted(nodes)
        [row] = [row for row in rows if row.startswith("db-2")]
        assert re.fullmatch(
            r"db-2 +db,storage +192\.168\.33\.15 +- +2026-11-20 08:00 +SECONDARY, glusterd up", row
        )
        assert rest[0].startswith("revision     ")
        assert rest[-1].startswith("WRONG        web-2: the minion does not answer")

    def test_they_come_as_nodes_answer(self, rolled_out, fleet):
        stream = Tty()
        seen, free = [], threading.Event()

        class Late(Fleet):
            def everyone(self, nodes, *args, **kwargs):
                if "lb-1" in nodes:
                    # Everybody else's row stands there before the balancers answer.
                    free.wait(10)
                    seen.append(stream.getvalue())
                return super().everyone(nodes, *args, **kwargs)

        def rows():
            return {line.split()[0] for line in stream.getvalue().splitlines()}

        def release():
            for _ in range(200):
                if rows() >= {"master", "db-1", "db-2", "db-3"}:
                    break
                time.sleep(0.05)
            free.set()

        thread = threading.Thread(target=release)
        thread.start()
        status.status(rolled_out, Late(), stream)
        thread.join()
        assert "db-3" in seen[0]
        # What balancers see of a web server is in its row.
        assert "web-1" not in seen[0]
        assert "web-1" in rows()

    def test_who_reads_a_pipe_gets_the_data_alone(self, rolled_out, fleet):
        stream = io.StringIO()
        status.status(rolled_out, fleet, stream)
        assert stream.getvalue() == ""
