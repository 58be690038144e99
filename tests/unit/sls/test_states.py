"""Every SLS, compiled by Salt for every node of both topologies on each kind of system."""

import configparser
import copy
import dataclasses
import functools
import json
import re
import subprocess
from typing import ClassVar

import pytest
import yaml

from fleet.change import PROGRESS
from tests.support import tree as support
from tests.support.loading import ROOT, load

CASES = [(system, *case) for system in support.SYSTEMS for case in support.NODES]
# What may take longer than an operator waits without a word.
SLOW = {
    "pkg.installed",
    "archive.extracted",
    "gluster.peered",
    "gluster.volume_present",
    "gluster.mounted",
    "mongodb.replica_set_present",
    "counterapp.released",
    "counterapp.active",
}
ROLE_SLS = ("storage", "db", "web", "lb")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return support.Tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def pillar_of(tree):
    """Return the pillar of a node. It goes by topology and ID alone, so it is compiled once."""

    @functools.cache
    def compiled(topology, name):
        return tree.pillar(topology, name, {"id": name})

    return lambda topology, name: copy.deepcopy(compiled(topology, name))


@pytest.fixture
def node(tree, pillar_of):
    """Compile for a node; keywords change its pillar or grains."""
    stack = []

    def compiling(node, topology="default", system="debian12", pillar=None, grains=None):
        known = {**support.recorded_grains(system, topology, node), **(grains or {})}
        compiled = pillar_of(topology, node)
        compiled["release"] = "1.10"
        for path, value in (pillar or {}).items():
            target = compiled
            *parents, last = path.split(":")
            for parent in parents:
                target = target[parent]
            if value is None:
                target.pop(last)
            else:
                target[last] = value
        context = tree.compiler(node, known, compiled)
        stack.append(context)
        return context.__enter__()

    yield compiling
    for context in reversed(stack):
        context.__exit__(None, None, None)


@pytest.mark.parametrize(("system", "topology", "name"), CASES)
def test_the_highstate_compiles(node, system, topology, name):
    compiler = node(name, topology, system)
    roles = support.facts(topology, name)["roles"]
    top = compiler.top()
    assert top == ["base", "gluster", *(role for role in ROLE_SLS if role in roles)]
    chunks, errors = compiler.chunks(top)
    assert not errors
    assert not compiler.problems(chunks)
    # What is compiled goes over the wire and into job caches.
    text = repr(chunks)
    assert not [name for name in support.SECRETS if support.secret(name) in text]
    assert support.tls(name)["key"] not in text
    # For each of these Salt asks the loader for a function that is not there, and so loads every
    # state module that there is.
    asking = {"onlyif", "unless", "creates"}
    assert not [chunk["__id__"] for chunk in chunks if asking & chunk.keys()]
    # To tell the master of a state takes longer than most states do.
    assert not [chunk["__id__"] for chunk in chunks if chunk.get("fire_event")]


@pytest.mark.parametrize(("topology", "name"), support.NODES)
def test_a_step_of_a_change_has_the_bus_told_of_what_may_take_long(node, topology, name):
    compiler = node(name, topology, pillar=PROGRESS)
    chunks, errors = compiler.chunks(compiler.top())
    assert not errors
    # Whoever waits sees what is going on.
    assert {
        chunk["__id__"]: chunk.get("fire_event")
        for chunk in chunks
        if f"{chunk['state']}.{chunk['fun']}" in SLOW
    } == {chunk["__id__"]: "progress" for chunk in chunks if "fire_event" in chunk}


@pytest.mark.parametrize("system", support.SYSTEMS)
@pytest.mark.parametrize("name", ["master", "web-1", "db-1", "lb-1"])
def test_the_preparation_touches_no_service_that_hits_need(node, name, system):
    compiler = node(name, system=system, pillar={"fresh": [name]})
    chunks, errors = compiler.chunks(["prepare"])
    assert not errors
    assert not compiler.problems(chunks)
    # It goes to all at once. glusterd holds no volume that depends on one node.
    services = {chunk["name"] for chunk in chunks if chunk["state"] == "service"}
    assert services <= {"glusterd", "chronyd", "counterapp-watch"}


def test_each_sls_is_compiled_by_some_node(node):
    seen = set()
    for name in ("web-1", "db-1", "lb-1"):
        for source, virtual in (("wheel", "container"), ("repo", "kvm")):
            pillar = {"mongodb:install:source": source}
            compiler = node(name, pillar=pillar, grains={"virtual": virtual})
            seen |= {chunk["__sls__"] for chunk in compiler.chunks(compiler.top())[0]}
    there = {
        ".".join(path.relative_to(ROOT / "salt").with_suffix("").parts)
        for role in ("base", "gluster", "storage", "db", "web", "lb")
        for path in (ROOT / "salt" / role).glob("*.sls")
        if path.name != "init.sls"
    }
    assert there <= seen


@pytest.mark.parametrize(
    ("grains", "name", "words"),
    [
        ({"roles": ["db"]}, "web-1", "has the roles grain [db], but the topology 'default' gives"),
        (
            {"roles": []},
            "web-1",
            "has the roles grain [], but the topology",
        ),
        ({"id": "web-9"}, "web-1", "Minion 'web-9' is not in the topology 'default'"),
    ],
)
def test_a_node_that_is_not_what_it_says_compiles_nothing(node, grains, name, words):
    compiler = node(name, grains=grains)
    chunks, errors = compiler.chunks(compiler.top())
    assert not chunks
    assert any(words in error for error in errors), errors


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("web-1", "secrets:mongodb_app"),
        ("web-1", "secrets:counterapp_operator"),
        ("web-1", "secrets:gluster_tls"),
        ("web-1", "gluster:mount"),
        ("web-1", "gluster:tls"),
        ("web-1", "web:port"),
        ("db-1", "secrets:mongodb_keyfile"),
        ("db-1", "secrets:mongodb_admin"),
        ("db-1", "secrets:mongodb_health"),
        ("db-1", "secrets:mongodb_backup"),
        ("db-1", "mongodb:dbpath"),
        ("db-1", "mongodb:compressors"),
        ("db-1", "backup:archive:folder"),
        ("db-1", "backup:archive:sync_seconds"),
        ("db-1", "mongodb:install:wheel_sha256"),
        ("db-1", "gluster:brick"),
        ("lb-1", "lb:vrrp:id"),
        ("lb-1", "lb:limits:creations"),
        ("lb-1", "lb:https:port"),
        ("lb-1", "secrets:https_certificate"),
    ],
)
def test_a_missing_key_is_named_with_the_remedy(node, name, key):
    compiler = node(name, pillar={key: None})
    chunks, errors = compiler.chunks(compiler.top())
    assert not chunks
    text = "\n".join(errors)
    assert f"Pillar key '{key}' is missing on '{name}'" in text
    remedy = "bootstrap" if key.startswith("secrets") else f"pillar/{key.split(':')[0]}.sls"
    assert remedy in text


def test_an_unknown_family_is_named(node):
    compiler = node("web-1", grains={"os_family": "Suse"})
    _, errors = compiler.chunks(compiler.top())
    assert any("has no data for the OS family 'Suse'" in error for error in errors)


def chunk(chunks, id_):
    [found] = [each for each in chunks if each["__id__"] == id_]
    return found


def unit_of(compiler, chunks, path):
    """Return the unit file that a node gets at a path; of several lines with a name, the last."""
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read_string(compiler.file(chunks, path))
    return unit


class TestClock:
    @pytest.mark.parametrize("virtual", ["kvm", "VirtualBox", "VMware", "physical"])
    @pytest.mark.parametrize("system", support.SYSTEMS)
    @pytest.mark.parametrize("name", ["master", "db-1"])
    def test_a_machine_keeps_its_own(self, node, name, system, virtual):
        compiler = node(name, system=system, grains={"virtual": virtual})
        chunks, errors = compiler.chunks(["base"])
        assert not errors
        assert not compiler.problems(chunks)
        assert chunk(chunks, "The keeper of the clock is installed")["name"] == "chrony"
        kept = chunk(chunks, "The clock is kept")
        assert (kept["fun"], kept["enable"]) == ("running", True)
        assert kept["name"] == ("chronyd" if system.startswith("rocky") else "chrony")

    @pytest.mark.parametrize("system", support.SYSTEMS)
    def test_a_container_has_its_hosts(self, node, system):
        chunks, errors = node("web-1", system=system, grains={"virtual": "container"}).chunks(
            ["base"]
        )
        assert not errors
        assert "chrony" not in repr(chunks)

    def test_the_labs_images_have_none(self):
        assert "chrony" not in (ROOT / "salt/base/packages.yaml").read_text()


class TestStorage:
    @pytest.mark.parametrize(
        ("brick", "force"), [("/srv/gluster/shared/brick", True), ("/proc/shared/brick", False)]
    )
    def test_force_only_without_a_filesystem_of_its_own(self, node, brick, force):
        chunks, _ = node("db-1", pillar={"gluster:brick": brick}).chunks(["storage"])
        assert chunk(chunks, "The shared volume exists")["force"] is force

    def test_force_can_be_said(self, node):
        chunks, _ = node("db-1", pillar={"gluster:force": False}).chunks(["storage"])
        assert chunk(chunks, "The shared volume exists")["force"] is False

    def test_a_brick_on_each_storage_node(self, node):
        chunks, _ = node("web-1", "classic").chunks(["storage"])
        volume = chunk(chunks, "The shared volume exists")
        assert volume["replica"] == 3
        assert volume["bricks"] == [
            f"192.168.33.{last}:/srv/gluster/shared/brick" for last in (11, 12, 14)
        ]

    @pytest.mark.parametrize(
        ("name", "topology", "arbiter"), [("db-1", "default", 0), ("web-1", "classic", 1)]
    )
    def test_two_copies_and_an_arbiter_in_place_of_three(self, node, name, topology, arbiter):
        compiler = node(name, topology, pillar={"gluster:arbiter": bool(arbiter)})
        volume = chunk(compiler.chunks(["storage"])[0], "The shared volume exists")
        assert (volume["replica"], volume["arbiter"]) == (3, arbiter)
        # The arbiter is the last of the three.
        assert len(volume["bricks"]) == 3
        last = {"db-1": "192.168.33.16", "web-1": "192.168.33.14"}[name]
        assert volume["bricks"][-1].startswith(f"{last}:")

    def test_an_arbiter_without_three_nodes_is_refused(self, node):
        compiler = node("db-1", pillar={"gluster:arbiter": True, "gluster:replica": 2})
        chunks, errors = compiler.chunks(["storage"])
        assert not chunks
        assert any("gluster:arbiter wants three storage nodes" in error for error in errors)

    @pytest.mark.parametrize(
        ("keepers", "client", "server"),
        [(1, None, "none"), (2, "auto", "none"), (3, "auto", "server")],
    )
    def test_quorum_follows_the_storage_nodes(self, node, pillar_of, keepers, client, server):
        nodes = pillar_of("default", "db-1")["topology"]["nodes"]
        for number in range(keepers + 1, 4):
            nodes[f"db-{number}"]["roles"] = ["db"]
        pillar = {"topology:nodes": nodes, "gluster:replica": keepers}
        volume = chunk(
            node("db-1", pillar=pillar).chunks(["storage"])[0], "The shared volume exists"
        )
        assert len(volume["bricks"]) == keepers
        assert volume["options"].get("cluster.quorum-type") == client
        assert volume["options"]["cluster.server-quorum-type"] == server
        # A volume without copies has nothing to heal.
        assert ("cluster.self-heal-daemon" in volume["options"]) is (keepers > 1)

    @pytest.mark.parametrize(("name", "topology"), [("db-1", "default"), ("web-1", "classic")])
    def test_nobody_but_the_topologys_nodes_may_mount(self, node, name, topology):
        chunks, _ = node(name, topology).chunks(["storage"])
        options = chunk(chunks, "The shared volume exists")["options"]
        nodes = support.TOPOLOGY["topologies"][topology]["nodes"]
        assert options["auth.allow"].split(",") == [each["address"] for each in nodes.values()]
        assert options["auth.ssl-allow"].split(",") == list(nodes)
        assert options["network.ping-timeout"] == "10"
        assert options["nfs.disable"] == "on"

    def test_an_option_of_the_pillar_wins(self, node):
        pillar = {"gluster:options": {"network.ping-timeout": "7", "auth.allow": "10.0.0.1"}}
        chunks, _ = node("db-1", pillar=pillar).chunks(["storage"])
        options = chunk(chunks, "The shared volume exists")["options"]
        assert (options["network.ping-timeout"], options["auth.allow"]) == ("7", "10.0.0.1")


class TestGluster:
    @pytest.mark.parametrize("system", support.SYSTEMS)
    def test_keys_are_in_place_before_anything_starts(self, node, system):
        compiler = node("db-1", system=system)
        chunks, errors = compiler.chunks(["storage", "gluster"])
        assert not errors
        ids = [each["__id__"] for each in chunks]
        for before, after in (
            ("Gluster's key is in its place", "Gluster's management speaks TLS"),
            ("Gluster's management speaks TLS", "Gluster's client is installed"),
            ("Gluster's client is installed", "Gluster's daemon runs"),
            ("Gluster's daemon runs", "The shared volume exists"),
        ):
            assert ids.index(before) < ids.index(after)
        key = chunk(chunks, "Gluster's key is in its place")
        assert (key["mode"], key["show_changes"]) == ("0600", False)
        assert key["contents_pillar"] == "secrets:gluster_tls:key"
        folder = "/etc/pki/tls" if system.startswith("rocky") else "/usr/lib/ssl"
        link = chunk(chunks, "Every version of Gluster finds glusterfs.key")
        assert (link["name"], link["target"]) == (
            f"{folder}/glusterfs.key",
            "/etc/ssl/glusterfs.key",
        )
        options = chunk(chunks, "The shared volume exists")["options"]
        assert (options["client.ssl"], options["server.ssl"]) == ("on", "on")

    @pytest.mark.parametrize("system", support.SYSTEMS)
    def test_without_tls(self, node, system):
        compiler = node("db-1", system=system, pillar={"gluster:tls": False})
        chunks, errors = compiler.chunks(["storage", "gluster"])
        assert not errors
        assert not compiler.problems(chunks)
        assert not [each for each in chunks if "secrets:" in str(each.get("contents_pillar"))]
        assert chunk(chunks, "Gluster's management speaks in clear")["fun"] == "absent"
        assert chunk(chunks, "Gluster's key is gone")["fun"] == "absent"
        options = chunk(chunks, "The shared volume exists")["options"]
        assert (options["client.ssl"], options["server.ssl"]) == ("off", "off")
        assert "auth.ssl-allow" not in options

    def test_without_tls_no_key_is_needed(self, node):
        pillar = {"gluster:tls": False, "secrets:gluster_tls": None}
        assert node("web-1", pillar=pillar).chunks(["gluster"])[1] == []

    @pytest.mark.parametrize("tls", [True, False])
    @pytest.mark.parametrize("bound", ["peers", "vols"])
    def test_a_pool_never_changes_node_by_node(self, node, tmp_path, tls, bound):
        (tmp_path / bound).mkdir()
        (tmp_path / bound / "something").touch()
        if not tls:
            (tmp_path / "secure-access").touch()
        pillar = {"gluster:tls": tls, "gluster:home": str(tmp_path)}
        chunks, errors = node("db-1", pillar=pillar).chunks(["storage"])
        assert not chunks
        words = "without TLS" if tls else "with TLS"
        assert any(f"or has a volume, {words}" in error for error in errors)
        assert any("salt-run storage.switch_tls" in error for error in errors)
        # The orchestration, for which everything has stopped, may.
        pillar["gluster_tls_switch"] = True
        assert node("db-1", pillar=pillar).chunks(["gluster.tls"])[1] == []
        pillar.pop("gluster_tls_switch")
        # And so may one whose glusterd knows of nobody.
        (tmp_path / bound / "something").unlink()
        assert node("db-1", pillar=pillar).chunks(["storage"])[1] == []

    def test_root_of_another_node_cannot_leave_a_program_of_roots_on_the_volume(self, node):
        chunks, _ = node("db-1").chunks(["gluster", "storage"])
        options = chunk(chunks, "The shared volume is mounted")["options"]
        assert {"nosuid", "nodev", "noexec"} <= set(options)
        # And on the brick, where no such option is in the way, nobody but root gets at it.
        assert chunk(chunks, "The brick has a place")["mode"] == "0700"

    def test_a_mounted_volume_is_in_the_mode_of_its_pool(self, node, tmp_path):
        pillar = {"gluster:home": str(tmp_path), "gluster:mount": "/proc"}
        chunks, errors = node("web-1", pillar=pillar).chunks(["gluster"])
        assert not chunks
        assert any("'web-1' has mounted /proc without TLS" in error for error in errors)
        (tmp_path / "secure-access").touch()
        assert node("web-1", pillar=pillar).chunks(["gluster"])[1] == []

    @pytest.mark.parametrize(
        ("system", "path"),
        [
            ("debian12", "/etc/logrotate.d/glusterfs-common"),
            ("debian13", "/etc/logrotate.d/glusterfs-common"),
            ("rocky9", "/etc/logrotate.d/glusterfs"),
        ],
    )
    def test_logs_are_rotated_by_size_and_time(self, node, system, path):
        compiler = node("lb-1", system=system)
        chunks, _ = compiler.chunks(["gluster"])
        # In the place of the package's entry: a log with two would be rotated by none.
        text = compiler.file(chunks, path)
        lines = [line.strip() for line in text.splitlines()]
        assert {"daily", "rotate 14", "maxsize 50M", "nocreate"} <= set(lines)
        assert "copytruncate" not in lines
        assert any("-HUP" in line for line in lines)


class TestMongodb:
    def test_configuration(self, node):
        compiler = node("db-2")
        chunks, _ = compiler.chunks(["db"])
        config = yaml.safe_load(compiler.file(chunks, "/etc/mongod.conf"))
        assert config["net"]["bindIp"] == "192.168.33.15,127.0.0.1"
        assert config["replication"]["replSetName"] == "rs0"
        assert config["security"] == {
            "authorization": "enabled",
            "keyFile": "/etc/mongodb/keyfile",
            "javascriptEnabled": False,
        }
        assert config["net"]["compression"]["compressors"] == "snappy,zstd"
        assert config["setParameter"]["authenticationMechanisms"] == "SCRAM-SHA-256"
        assert config["storage"]["wiredTiger"]["engineConfig"]["cacheSizeGB"] == 0.25

    @pytest.mark.parametrize(("cache", "most"), [(0.25, "1536M"), (8, "17408M")])
    def test_its_memory_goes_by_its_cache(self, node, cache, most):
        compiler = node("db-1", pillar={"mongodb:cache_gb": cache})
        chunks, _ = compiler.chunks(["db"])
        unit = compiler.file(chunks, "/etc/systemd/system/mongod.service").splitlines()
        assert f"MemoryMax={most}" in unit
        assert {"Restart=always", "StartLimitIntervalSec=0"} <= set(unit)

    def test_its_sandbox_leaves_it_little(self, node, tmp_path):
        compiler = node("db-1")
        unit = tmp_path / "mongod.service"
        unit.write_text(
            compiler.file(compiler.chunks(["db"])[0], f"/etc/systemd/system/{unit.name}")
        )
        judged = ["systemd-analyze", "security", "--offline=yes", "--threshold=30", str(unit)]
        done = subprocess.run(judged, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_compressors_can_be_none_and_nothing_unknown(self, node):
        compiler = node("db-1", pillar={"mongodb:compressors": []})
        config = yaml.safe_load(compiler.file(compiler.chunks(["db"])[0], "/etc/mongod.conf"))
        assert config["net"]["compression"]["compressors"] == "disabled"
        for wrong in (["snappy", "lz4"], "snappy,zstd"):
            _, errors = node("db-1", pillar={"mongodb:compressors": wrong}).chunks(["db"])
            assert any("set it to a list of snappy, zstd and zlib" in error for error in errors)

    def test_nobody_but_the_administrator_may_change_the_set(self, node):
        chunks, _ = node("db-1").chunks(["db"])
        users = {each["password_pillar"]: each for each in chunks if each["fun"] == "user_present"}
        assert users["secrets:mongodb_admin"]["roles"] == ["root"]
        assert users["secrets:mongodb_health"]["roles"] == ["clusterMonitor", "oplogReader"]
        assert users["secrets:mongodb_backup"]["roles"] == ["backup", "replicaSetReader"]
        assert users["secrets:mongodb_app"]["roles"] == ["counterapp"]
        assert {tuple(each["mechanisms"]) for each in users.values()} == {("SCRAM-SHA-256",)}

    @pytest.mark.parametrize(
        ("user", "database"),
        [("admin", "admin"), ("health", "admin"), ("backup", "admin"), ("app", "counterapp")],
    )
    def test_a_user_to_come_is_declared_beside_the_one_that_there_is(self, node, user, database):
        coming = {
            "mongodb:coming": {f"{user}_user": "another"},
            "secrets:coming": {f"mongodb_{user}": "its password"},
        }
        compiler = node("db-1", pillar=coming)
        chunks, errors = compiler.chunks(["db"])
        assert not errors
        assert not compiler.problems(chunks)
        users = {each["password_pillar"]: each for each in chunks if each["fun"] == "user_present"}
        assert len(users) == 5
        now, then = (users[f"secrets:{path}mongodb_{user}"] for path in ("", "coming:"))
        assert then["name"] == "another"
        assert then["database"] == database
        # Nobody but who there is makes the other one.
        assert (then["roles"], "admin" in then) == (now["roles"], False)

    @pytest.mark.parametrize("user", ["counterapp", "counterapp-b"])
    def test_both_users_of_the_application_have_the_same_role(self, node, user):
        chunks, _ = node("db-1", pillar={"mongodb:app_user": user}).chunks(["db"])
        assert chunk(chunks, "The application may do its work")["name"] == "counterapp"
        found = chunk(chunks, "The application's user exists")
        assert (found["name"], found["roles"]) == (user, ["counterapp"])

    def test_the_first_of_the_topology_initiates(self, node):
        chunks, _ = node("db-3").chunks(["db"])
        present = chunk(chunks, "The replica set exists")
        assert present["initiator"] == "192.168.33.14:27017"
        assert present["members"] == [{"host": f"192.168.33.{last}:27017"} for last in (14, 15, 16)]

    def test_members_have_the_settings_of_their_nodes(self, node):
        hidden = {"priority": 0, "hidden": True}
        chunks, _ = node("db-1", pillar={"mongodb:members": {"db-3": hidden}}).chunks(["db"])
        members = chunk(chunks, "The replica set exists")["members"]
        assert members[1:] == [
            {"host": "192.168.33.15:27017"},
            {"host": "192.168.33.16:27017", **hidden},
        ]

    @pytest.mark.parametrize("wrong", [{"db-9": {"priority": 0}}, {"web-1": {}}, ["db-3"]])
    def test_settings_of_who_is_no_member_are_refused(self, node, wrong):
        _, errors = node("db-1", pillar={"mongodb:members": wrong}).chunks(["db"])
        assert any("set it to a mapping of nodes with the role db" in error for error in errors)

    def test_the_set_elects_before_a_hit_s_time_is_over(self, node):
        web = yaml.safe_load((ROOT / "pillar" / "web.sls").read_text())["web"]
        chunks, _ = node("db-2").chunks(["db"])
        settings = chunk(chunks, "The replica set has its settings")["settings"]
        # A hit comes just after the primary's end, and members add up to 15 % by chance.
        assert 1.15 * settings["electionTimeoutMillis"] / 1000 < web["hit_deadline"] / 2

    def test_a_set_without_declared_settings_keeps_its_own(self, node):
        chunks, errors = node("db-2", pillar={"mongodb:settings": None}).chunks(["db"])
        assert not errors
        assert not [each for each in chunks if each["fun"] == "replica_set_settings"]

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            ({"electionTimeoutMillis": 500}, "'mongodb:settings:electionTimeoutMillis' is 500 on"),
            ({"electionTimeoutMillis": "3 s"}, "must be a whole number from 1000 to 60000"),
            ([3000], "set it to a mapping, e.g. {electionTimeoutMillis: 3000}"),
        ],
    )
    def test_settings_that_a_set_cannot_have_are_refused(self, node, wrong, words):
        _, errors = node("db-1", pillar={"mongodb:settings": wrong}).chunks(["db"])
        assert any(words in error for error in errors), errors

    def test_the_keyfile_is_shown_to_nobody(self, node):
        chunks, _ = node("db-1").chunks(["db"])
        keyfile = chunk(chunks, "The members of the replica set trust each other by a key")
        assert (keyfile["mode"], keyfile["show_changes"]) == ("0400", False)
        assert keyfile["contents_pillar"] == "secrets:mongodb_keyfile"

    def test_the_kernel_is_left_alone_in_a_container(self, node):
        states = {each["state"] for each in node("db-1").chunks(["db"])[0]}
        assert "sysctl" not in states
        states = {each["state"] for each in node("db-1", system="rocky9").chunks(["db"])[0]}
        assert "sysctl" in states

    @pytest.mark.parametrize("system", support.SYSTEMS)
    def test_from_mongodbs_own_repository(self, node, system):
        compiler = node("db-1", system=system, pillar={"mongodb:install:source": "repo"})
        chunks, errors = compiler.chunks(["db"])
        assert not errors
        assert not compiler.problems(chunks)
        repo = chunk(chunks, "MongoDB's package repository is known")
        where = repo["name"] + repo.get("baseurl", "")
        assert "repo.mongodb.org" in where
        installed = chunk(chunks, "mongod is installed")
        assert installed["name"] == "mongodb-org-server"
        least = re.fullmatch(r">=(7\.0\.\d+)", installed["version"])[1]
        assert load("_utils/mongodb_version.py").repaired_in(least) is None
        assert "/usr/bin/mongod" in compiler.file(chunks, "/etc/systemd/system/mongod.service")

    def test_a_drill_starts_the_mongod_that_is_installed(self, node, pillar_of):
        compiler = node("db-1")
        unit = compiler.file(compiler.chunks(["db"])[0], "/etc/systemd/system/mongod.service")
        mongod = pillar_of("default", "db-1")["mongodb"]["mongod"]
        assert f"ExecStart={mongod} " in unit

    def test_an_unknown_source_is_named(self, node):
        _, errors = node("db-1", pillar={"mongodb:install:source": "tarball"}).chunks(["db"])
        assert any("mongodb:install:source is 'tarball'" in error for error in errors)


@pytest.fixture(scope="module")
def application():
    """The application's settings, which read what the tree writes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "app/backend/src"))
        yield pytest.importorskip("counterapp.settings")


class TestArchive:
    SETTINGS = "/etc/mongodb-archive"

    @pytest.mark.parametrize(("topology", "name"), [("default", "db-2"), ("classic", "db-1")])
    def test_each_member_can_keep_the_oplog_without_a_master(self, node, topology, name):
        compiler = node(name, topology)
        chunks, errors = compiler.chunks(["db"])
        assert not errors
        minion = yaml.safe_load(compiler.file(chunks, f"{self.SETTINGS}/minion"))
        assert minion["id"] == name
        assert (minion["file_client"], minion["master_type"]) == ("local", "disable")
        assert minion["mongodb"]["user"] == "backup"
        assert minion["pillar_roots"] == {"base": [f"{self.SETTINGS}/pillar"]}
        login = chunk(chunks, "The archive knows its login")
        assert (login["mode"], login["show_changes"]) == ("0600", False)
        text = compiler.file(chunks, f"{self.SETTINGS}/pillar/login.sls")
        assert yaml.safe_load(text) == {
            "secrets": {"mongodb_backup": support.secret("mongodb_backup")}
        }
        assert support.secret("mongodb_backup") not in compiler.file(
            chunks, f"{self.SETTINGS}/minion"
        )

    def test_it_has_the_keys_of_backups_where_there_are_some(self, node):
        keys = {"mongodb_backup_key": "a+b/c=", "mongodb_backup_old_keys": ["d=", "e="]}
        compiler = node("db-1", pillar={f"secrets:{name}": key for name, key in keys.items()})
        text = compiler.file(compiler.chunks(["db"])[0], f"{self.SETTINGS}/pillar/login.sls")
        secrets = {"mongodb_backup": support.secret("mongodb_backup"), **keys}
        assert yaml.safe_load(text) == {"secrets": secrets}

    def test_its_unit_is_told_what_the_pillar_says(self, node):
        archive = {
            "enabled": True,
            "folder": "/srv/elsewhere",
            "seal_seconds": 60,
            "seal_mib": 8,
            "sync_seconds": 5,
        }
        for folder, writable in (
            ("/srv/shared/oplog", "/srv/shared"),
            ("/srv/sharedness/oplog", "/srv/sharedness/oplog"),
        ):
            compiler = node("db-1", pillar={"backup:archive": {**archive, "folder": folder}})
            chunks, _ = compiler.chunks(["db"])
            unit = compiler.file(chunks, "/etc/systemd/system/mongodb-archive.service")
            assert f"mongodb_archive.follow {folder} seal_seconds=60" in unit
            assert "seal_mib=8 sync_seconds=5\n" in unit
            assert f"ReadWritePaths=-{writable}\n" in unit
            assert ("BindsTo=srv-shared.mount\n" in unit) == (writable == "/srv/shared")
            wanted = " srv-shared.mount" if writable == "/srv/shared" else ""
            assert f"WantedBy=multi-user.target{wanted}\n" in unit + "\n"
            made = chunk(chunks, "The folder of the archive exists")
            assert made["mode"] == "0700"
            # Never below the mount point of a volume that is away.
            assert made.get("mount") == ("/srv/shared" if writable == "/srv/shared" else None)

    def test_new_modules_restart_it(self, node):
        chunks, _ = node("db-1").chunks(["db"])
        watched = {
            name for each in chunk(chunks, "The oplog is kept")["watch"] for name in each.values()
        }
        assert {
            "The modules that keep the oplog are installed",
            "The module that keeps the oplog is installed",
            "The archive knows its login",
            "The unit of the archive is known",
        } <= watched

    def test_it_can_be_switched_off(self, node):
        chunks, errors = node("db-1", pillar={"backup:archive:enabled": False}).chunks(["db"])
        assert not errors
        stopped = chunk(chunks, "The oplog is not kept")
        assert (stopped["fun"], stopped["name"]) == ("dead", "mongodb-archive")
        assert stopped["enable"] is False

    @pytest.mark.parametrize(
        ("key", "value"), [("seal_seconds", 5), ("seal_mib", "64"), ("sync_seconds", 0)]
    )
    def test_a_number_that_cannot_be_meant_is_named(self, node, key, value):
        _, errors = node("db-1", pillar={f"backup:archive:{key}": value}).chunks(["db"])
        text = "\n".join(errors)
        assert f"Pillar key 'backup:archive:{key}'" in text
        assert "set it in pillar/backup.sls" in text

    def test_its_sandbox_leaves_it_little(self, node, tmp_path):
        compiler = node("db-1")
        unit = tmp_path / "mongodb-archive.service"
        unit.write_text(
            compiler.file(compiler.chunks(["db"])[0], f"/etc/systemd/system/{unit.name}")
        )
        judged = ["systemd-analyze", "security", "--offline=yes", "--threshold=30", str(unit)]
        done = subprocess.run(judged, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


class TestWatch:
    @pytest.mark.parametrize(
        ("topology", "name", "units"),
        [
            ("default", "master", {"salt-master.service"}),
            (
                "default",
                "db-2",
                {"mongod.service", "mongodb-archive.service", "glusterd.service"},
            ),
            ("default", "lb-1", {"haproxy.service", "keepalived.service", "vip-guard.service"}),
            ("classic", "web-1", {"counterapp.service", "glusterd.service"}),
        ],
    )
    def test_each_node_knows_its_daemons(self, node, topology, name, units):
        compiler = node(name, topology)
        chunks, errors = compiler.chunks(["base.watch"])
        assert not errors
        assert not compiler.problems(chunks)
        (known,) = (chunk["dataset"] for chunk in chunks if "dataset" in chunk)
        assert set(known["units"]) == units | {"salt-minion.service"}
        assert known["mount"] == "/srv/shared"
        volume = known["volume"]
        if "glusterd.service" in units:
            assert volume["host"] == support.facts(topology, name)["address"]
            assert (volume["name"], volume["path"]) == ("shared", "/srv/gluster/shared/brick")
        else:
            assert volume is None


class TestWeb:
    def test_environment(self, node):
        key = "k-_" * 15
        secrets = {"secrets:mongodb_app": "p/w:1@x", "secrets:counterapp_operator": key}
        compiler = node("web-2", pillar=secrets)
        chunks, _ = compiler.chunks(["web"])
        env = dict(
            line.split("=", 1)
            for line in compiler.file(chunks, "/etc/counterapp/counterapp.env").splitlines()
            if line and not line.startswith("#")
        )
        assert env["COUNTERAPP_NODE"] == "web-2"
        assert env["COUNTERAPP_BIND"] == "192.168.33.12:8000"
        assert env["COUNTERAPP_METRICS_BIND"] == "192.168.33.12:8001"
        assert env["COUNTERAPP_OPERATOR_KEY"] == key
        hosts = ",".join(f"192.168.33.{last}:27017" for last in (14, 15, 16))
        # A password may hold what means something in a URI.
        assert env["COUNTERAPP_MONGODB_URI"].startswith("mongodb://counterapp:p")
        assert "p/w:1@x" not in env["COUNTERAPP_MONGODB_URI"]
        assert env["COUNTERAPP_MONGODB_URI"].endswith(
            f"@{hosts}/?replicaSet=rs0&authSource=counterapp"
        )

    def test_a_second_operator_key_is_there_while_it_is_rotated(self, node):
        def variables(**pillar):
            compiler = node("web-1", pillar=pillar)
            text = compiler.file(compiler.chunks(["web"])[0], "/etc/counterapp/counterapp.env")
            lines = [line for line in text.splitlines() if "OPERATOR_KEY" in line]
            return dict(line.split("=", 1) for line in lines)

        assert set(variables()) == {"COUNTERAPP_OPERATOR_KEY"}
        both = variables(**{"secrets:also": {"counterapp_operator": "k" * 43}})
        assert both == {**variables(), "COUNTERAPP_OPERATOR_KEY_ALSO": "k" * 43}

    def test_the_application_accepts_its_environment(self, node):
        parse_uri = pytest.importorskip("pymongo.uri_parser").parse_uri
        compiler = node("web-1", pillar={"secrets:mongodb_app": "p/w:1@x"})
        chunks, _ = compiler.chunks(["web"])
        text = compiler.file(chunks, "/etc/counterapp/counterapp.env")
        uri = re.search(r"^COUNTERAPP_MONGODB_URI=(.*)$", text, re.MULTILINE)[1]
        parsed = parse_uri(uri)
        assert (parsed["username"], parsed["password"]) == ("counterapp", "p/w:1@x")

    def environment(self, compiler, tmp_path):
        """Return the application's environment as systemd reads it, with files of this machine."""
        chunks, errors = compiler.chunks(["web"])
        assert not errors
        (tmp_path / "index.html").touch()
        lines = compiler.file(chunks, "/etc/counterapp/counterapp.env").splitlines()
        found = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
        return found | {"COUNTERAPP_STATIC": str(tmp_path), "COUNTERAPP_OPERATOR_KEY": "k" * 32}

    #: Settings that both know by one name, with the most that is allowed.
    LIMITS: ClassVar = {
        "client_streams": 1024,
        "client_places": 99_999_999,
        "client_creations": 99_999_999,
        "client_imports": 99_999_999,
        "unowned_lifetime": 36_600,
        "most_counters": 999_999_999,
        "most_keys": 999_999_999,
    }

    @pytest.mark.parametrize("older", [False, True])
    def test_the_application_has_its_limits_with_a_pillar_of_before_too(
        self, node, tmp_path, application, older
    ):
        pillar = {f"web:{name}": None for name in self.LIMITS} if older else {}
        read = application.Settings.from_environ(
            self.environment(node("web-1", pillar=pillar), tmp_path)
        )
        defaults = {field.name: field.default for field in dataclasses.fields(read)}
        for name in self.LIMITS:
            assert getattr(read, name) == defaults[name], name

    #: The most that is allowed of what the application has under a variable of this name.
    MOST: ClassVar = {
        **{name: (name.upper(), most) for name, most in LIMITS.items()},
        "waiting": ("WAITING", 99_999_999),
        "hit_deadline": ("HIT_DEADLINE", 25),
        "streams": ("MAX_STREAMS", 1024),
        "keep_keys": ("KEEP_KEYS", 99_999_999),
    }

    @pytest.mark.parametrize("largest", [False, True])
    def test_what_the_pillar_may_have_the_application_takes(
        self, node, tmp_path, application, largest
    ):
        pillar = {f"web:{key}": most if largest else 1 for key, (_, most) in self.MOST.items()}
        given = self.environment(node("web-1", pillar=pillar), tmp_path)
        read = application.Settings.from_environ(given)
        assert read.waiting == pillar["web:waiting"]

    @pytest.mark.parametrize("key", MOST)
    def test_what_the_application_refuses_is_refused_before_a_node_is_touched(
        self, node, application, key
    ):
        variable, most = self.MOST[key]
        for bad in (0, most + 1):
            _, errors = node("web-1", pillar={f"web:{key}": bad}).chunks(["web"])
            words = f"'web:{key}' is {bad} on 'web-1': it must be a whole number from 1 to {most}; "
            assert any(f"{words}set it in pillar/web.sls." in error for error in errors), errors
            with pytest.raises(application.SettingsError, match=f"COUNTERAPP_{variable} must"):
                application.Settings.from_environ({f"COUNTERAPP_{variable}": str(bad)})

    @pytest.mark.parametrize("bad", [True, "8000", 1.5, [8000]])
    def test_what_only_looks_like_a_number_is_refused(self, node, bad):
        _, errors = node("web-1", pillar={"web:port": bad}).chunks(["web"])
        assert any(f"'web:port' is {json.dumps(bad)} on 'web-1'" in error for error in errors)

    @pytest.mark.parametrize("memory_max", [None, 2048])
    def test_the_service_is_bounded_and_never_given_up(self, node, memory_max):
        compiler = node("web-1", pillar={"web:memory_max": memory_max})
        chunks, _ = compiler.chunks(["web.config"])
        unit = compiler.file(chunks, "/etc/systemd/system/counterapp.service").splitlines()
        assert f"MemoryMax={memory_max or 1024}M" in unit
        assert {"Restart=always", "StartLimitIntervalSec=0", "OOMPolicy=continue"} <= set(unit)

    def test_one_port_for_clients_and_operators_is_refused(self, node):
        _, errors = node("web-1", pillar={"web:metrics_port": 8000}).chunks(["web"])
        assert any("'web:metrics_port' are both 8000 on 'web-1'" in error for error in errors)

    @pytest.mark.parametrize(
        ("topology", "balancers"),
        [
            ("default", {"192.168.33.21", "192.168.33.22", "192.168.33.200"}),
            ("classic", {"192.168.33.21", "192.168.33.200"}),
        ],
    )
    def test_the_topologys_balancers_are_believed(
        self, node, tmp_path, application, topology, balancers
    ):
        given = self.environment(node("web-1", topology), tmp_path)
        assert application.Settings.from_environ(given).balancers == balancers

    def test_without_balancers_nobody_is_believed(self, node, pillar_of, tmp_path, application):
        nodes = pillar_of("default", "web-1")["topology"]["nodes"]
        alone = {name: entry for name, entry in nodes.items() if "lb" not in entry["roles"]}
        given = self.environment(node("web-1", pillar={"topology:nodes": alone}), tmp_path)
        assert application.Settings.from_environ(given).balancers == frozenset()

    def test_a_release_of_before_takes_the_environment_of_a_newer_tree(
        self, node, tmp_path, application
    ):
        given = self.environment(node("web-1"), tmp_path)
        newer = {**given, "COUNTERAPP_OF_A_LATER_RELEASE": "anything"}
        from_environ = application.Settings.from_environ
        assert from_environ(newer) == from_environ(given)

    def test_the_secret_is_readable_by_the_group_alone(self, node):
        chunks, _ = node("web-1").chunks(["web"])
        env = chunk(chunks, "The application is configured")
        assert (env["user"], env["group"], env["mode"]) == ("root", "counterapp", "0640")
        assert env["show_changes"] is False

    def test_the_release_is_text_however_it_looks(self, node):
        chunks, _ = node("web-1").chunks(["web"])
        assert chunk(chunks, "The release is active")["name"] == "1.10"

    def test_a_release_is_what_the_master_noted_and_not_what_the_volume_holds(self, node):
        note = {"sha256": "0" * 64, "size": 5, "published": "2026-01-01T00:00:00+00:00"}
        chunks, _ = node("web-1", pillar={"releases": {"1.10": note, "1.1": {}}}).chunks(["web"])
        state = chunk(chunks, "The release is installed")
        assert (state["sha256"], state["size"], state["user"]) == ("0" * 64, 5, "counterapp")
        # Before a first rollout there is no note; the state says what to do.
        chunks, errors = node("web-1").chunks(["web"])
        assert not errors
        assert chunk(chunks, "The release is installed")["sha256"] is None

    def test_no_release_is_said_with_the_remedy(self, node):
        _, errors = node("web-1", pillar={"release": None}).chunks(["web"])
        assert any("No release is known for 'web-1'" in error for error in errors)
        assert any("orch.rollout" in error for error in errors)

    @pytest.mark.parametrize(("current", "follows"), [("1.10", True), ("1.9", False)])
    def test_one_restart_is_enough(self, node, tmp_path, current, follows):
        (tmp_path / "releases" / current).mkdir(parents=True)
        (tmp_path / "current").symlink_to(f"releases/{current}")
        chunks, errors = node("web-1", pillar={"web:root": str(tmp_path)}).chunks(["web"])
        assert not errors
        ids = [each["__id__"] for each in chunks]
        # Where the release changes, its switch restarts the service with the new settings.
        assert ("The application follows its settings" in ids) is follows
        if follows:
            place = ids.index("The application follows its settings")
            assert place < ids.index("The release is active")

    def test_without_a_new_release_a_node_stays_at_its_own(self, node, tmp_path):
        (tmp_path / "releases/1.9").mkdir(parents=True)
        (tmp_path / "current").symlink_to("releases/1.9")
        pillar = {"web:root": str(tmp_path), "release": None}
        chunks, _ = node("web-1", pillar=pillar).chunks(["web"])
        assert chunk(chunks, "The release is active")["name"] == "1.9"

    @pytest.mark.parametrize(
        ("system", "python"),
        [("debian12", "/usr/bin/python3"), ("rocky9", "/usr/bin/python3.11")],
    )
    def test_the_interpreter_of_the_system(self, node, system, python):
        chunks, _ = node("web-1", system=system).chunks(["web"])
        assert chunk(chunks, "The release is installed")["python"] == python

    def test_the_unit_is_hardened(self, node):
        compiler = node("web-1")
        chunks, _ = compiler.chunks(["web"])
        service = unit_of(compiler, chunks, "/etc/systemd/system/counterapp.service")["Service"]
        assert service["User"] == "counterapp"
        assert service["ProtectSystem"] == "strict"
        assert service["NoNewPrivileges"] == "true"
        assert service["ExecStart"].startswith("/opt/counterapp/current/venv/bin/gunicorn ")


class TestBalancer:
    def test_servers_are_the_web_nodes(self, node):
        compiler = node("lb-1")
        chunks, _ = compiler.chunks(["lb"])
        config = compiler.file(chunks, "/etc/haproxy/haproxy.cfg")
        servers = re.findall(r"^    server (\S+) (\S+)$", config, re.MULTILINE)
        # Those that get requests, that are asked whether they are ready, and whether they live.
        assert servers == 3 * [("web-1", "192.168.33.11:8000"), ("web-2", "192.168.33.12:8000")]
        for name in ("web-1", "web-2"):
            assert f"backend web-gets-{name}\n    server {name} " in config
        assert "load-server-state-from-file global" in config
        # HAProxy refuses a last line without an end.
        assert config.endswith("\n")

    def test_it_is_heard_where_it_should_be_and_nowhere_else(self, node):
        compiler = node("lb-1")
        config = compiler.file(compiler.chunks(["lb"])[0], "/etc/haproxy/haproxy.cfg")
        secure = "ssl crt /etc/haproxy/certificate.pem alpn h2,http/1.1"
        assert re.findall(r"^    bind (.*)$", config, re.MULTILINE) == [
            "127.0.0.1:8405",
            "192.168.33.21:8405",
            "192.168.33.200:80 transparent",
            "192.168.33.21:80",
            f"192.168.33.200:443 transparent {secure}",
            f"192.168.33.21:443 {secure}",
        ]

    def test_without_https_there_is_none_and_no_certificate_is_wanted(self, node):
        pillar = {"lb:https:enabled": False, "secrets:https_certificate": None}
        compiler = node("lb-1", pillar=pillar)
        chunks, errors = compiler.chunks(["lb"])
        assert not errors
        assert "ssl" not in compiler.file(chunks, "/etc/haproxy/haproxy.cfg")
        assert not [each for each in chunks if "certificate" in each["__id__"]]

    def test_the_certificate_is_a_file_before_haproxy_shows_it(self, node):
        compiler = node("lb-1")
        chunks, _ = compiler.chunks(["lb"])
        file = chunk(chunks, "HAProxy has the certificate of the VIP")
        assert (file["mode"], file["show_changes"]) == ("0600", False)
        assert file["contents_pillar"] == "secrets:https_certificate"
        shows = chunk(chunks, "HAProxy shows the certificate of the VIP")
        assert shows["name"] == file["name"]
        assert {"file": file["__id__"]} in shows["watch"]
        # Or else the file would be a reload, and the new one shown by accident.
        assert {"file": file["__id__"]} not in chunk(chunks, "HAProxy runs")["watch"]
        config = compiler.file(chunks, "/etc/haproxy/haproxy.cfg")
        assert f"ssl crt {file['name']} alpn h2,http/1.1" in config

    def test_what_it_says_itself_is_there_before_the_configuration_that_needs_it(self, node):
        compiler = node("lb-1")
        chunks, _ = compiler.chunks(["lb"])
        config = compiler.file(chunks, "/etc/haproxy/haproxy.cfg")
        answers = compiler.file(chunks, "/etc/haproxy/answers.map")
        found = dict(line.split(" ", 1) for line in answers.splitlines() if line[:1].strip("# "))
        limits = re.findall(r"str\((.*)\) if .* sc\d_", config)
        assert len(limits) == 4
        assert all(found[f"{limit}-after"].isdecimal() for limit in limits)
        said = re.findall(r"http-error status (\d+)|return status (4\d+)", config)
        for word in (*map("".join, said), *(f"429-{limit}" for limit in limits)):
            assert json.loads(found[f"problem-{word}"])["status"] == int(word[:3])
            assert list(json.loads(found[f"family-{word}"])) == ["error"]
            assert found[f"script-{word}"].endswith(");")
            for form in ("pixel", "badge", "page"):
                assert found[f"{form}-{word}"].startswith("<")
        say = "HAProxy has something to say where no server does"
        assert {"file": say} in chunk(chunks, "HAProxy is configured")["require"]
        assert {"file": say} in chunk(chunks, "HAProxy runs")["watch"]

    def test_limits_are_those_of_the_pillar_and_the_fleet_has_none(self, node):
        pillar = {"lb:limits:requests": 7, "lb:limits:streams": 0}
        compiler = node("lb-1", pillar=pillar)
        chunks, _ = compiler.chunks(["lb"])
        config = compiler.file(chunks, "/etc/haproxy/haproxy.cfg")
        assert "    acl exempt src 192.168.33.0/24\n" in config
        assert "str(requests) if { sc0_http_req_rate gt 7 }\n" in config
        assert "str(streams)" not in config
        answers = compiler.file(chunks, "/etc/haproxy/answers.map")
        assert "One client may make 7 requests in 10 s" in answers

    def test_nobody_may_be_exempt(self, node):
        compiler = node("lb-1", pillar={"lb:limits:exempt": []})
        config = compiler.file(compiler.chunks(["lb"])[0], "/etc/haproxy/haproxy.cfg")
        assert "    acl exempt always_false\n" in config

    def test_a_new_configuration_is_a_reload(self, node):
        chunks, _ = node("lb-1").chunks(["lb"])
        assert chunk(chunks, "HAProxy runs")["reload"] is True
        assert chunk(chunks, "keepalived runs")["reload"] is True
        assert "haproxy -c -f" in chunk(chunks, "HAProxy is configured")["check_cmd"]

    @pytest.mark.parametrize(
        ("daemon", "file"),
        [
            (
                "haproxy",
                "HAProxy is confined, and keeps what it knows of its servers over a reload",
            ),
            ("keepalived", "keepalived is confined, and leaves no address behind"),
        ],
    )
    def test_a_daemon_always_comes_back_and_new_bounds_are_a_restart(self, node, daemon, file):
        compiler = node("lb-1")
        chunks, _ = compiler.chunks(["lb"])
        unit = unit_of(compiler, chunks, chunk(chunks, file)["name"])
        assert unit["Unit"]["StartLimitIntervalSec"] == "0"
        assert unit["Service"]["Restart"] == "always"
        assert unit["Service"]["ProtectSystem"] == "strict"
        [started] = [each for each in chunks if {"file": file} in each.get("watch", [])]
        assert (started["name"], started.get("reload", False)) == (daemon, False)
        # systemd sees no file in a folder that it has not read.
        [read] = [each for each in chunks if {"file": file} in each.get("onchanges", [])]
        assert {"module": read["__id__"]} in started["require"]

    def test_a_killed_keepalived_leaves_no_address(self, node):
        compiler = node("lb-1")
        chunks, _ = compiler.chunks(["lb"])
        service = unit_of(
            compiler, chunks, "/etc/systemd/system/keepalived.service.d/counterapp.conf"
        )["Service"]
        flushed = "/sbin/ip -4 address flush dev eth1 to 192.168.33.200/32"
        assert service["ExecStopPost"] == service["ExecStartPre"] == flushed
        assert "--dont-respawn" in service["ExecStart"]

    @pytest.mark.parametrize(
        ("topology", "name", "priority", "peers"),
        [
            ("default", "lb-1", 150, ["192.168.33.22"]),
            ("default", "lb-2", 140, ["192.168.33.21"]),
            # Without any peer, it would hear everybody.
            ("classic", "lb-1", 150, ["127.0.0.1"]),
        ],
    )
    def test_vrrp(self, node, topology, name, priority, peers):
        compiler = node(name, topology)
        chunks, _ = compiler.chunks(["lb"])
        config = compiler.file(chunks, "/etc/keepalived/keepalived.conf")
        lines = [line.strip() for line in config.splitlines()]
        assert f"priority {priority}" in lines
        assert "interface eth1" in lines
        assert "192.168.33.200/24" in lines
        assert "vrrp_version 3" in lines
        assert "vrrp_check_unicast_src" in lines
        assert "advert_int 0.2" in lines
        at = lines.index("unicast_peer {")
        assert lines[at + 1 : lines.index("}", at)] == peers
        # Its parser wants one statement a line.
        assert not [line for line in lines if line.endswith("}") and line != "}"]
        assert config.count("{") == config.count("}")

    @pytest.mark.parametrize(
        ("key", "value", "words"),
        [
            ("vrrp:interval", 0.125, "is 0.125 on 'lb-1': it must be a number from 0.05 to 40.95"),
            ("vrrp:interval", 0.01, "is 0.01 on 'lb-1'"),
            ("vrrp:interval", "0.2", "is \"0.2\" on 'lb-1'"),
            ("vrrp:interval", True, "is true on 'lb-1'"),
            ("vrrp:missed", 1, "is 1 on 'lb-1': it must be a whole number from 2 to 100"),
            ("vrrp:missed", 2.5, "is 2.5 on 'lb-1'"),
            ("vrrp:id", 256, "is 256 on 'lb-1'"),
            ("maxconn", "many", "is \"many\" on 'lb-1'"),
            ("metrics_port", 70000, "is 70000 on 'lb-1'"),
            ("limits:requests", -1, "is -1 on 'lb-1': it must be a whole number from 0 to 1000000"),
            ("limits:connections", "400", "is \"400\" on 'lb-1'"),
            ("limits:streams", 2.5, "is 2.5 on 'lb-1'"),
            ("limits:creations", True, "is true on 'lb-1'"),
            ("limits:exempt", "fleet", "is \"fleet\" on 'lb-1': it must be a list of networks"),
            ("limits:exempt", ["10.0.0.0/33"], "is [\"10.0.0.0/33\"] on 'lb-1'"),
            ("limits:exempt", ["fleet", 7], "is [\"fleet\", 7] on 'lb-1'"),
            ("limits:exempt", {"fleet": None}, "is {\"fleet\": null} on 'lb-1'"),
            ("metrics_port", 80, "'lb:metrics_port' are both 80 on 'lb-1'"),
            ("https:port", 80, "'lb:https:port' are both 80 on 'lb-1'"),
            ("https:port", "443", "it must be a whole number from 1 to 65535"),
            ("https:hsts", -1, "it must be a whole number from 0 to 63072000"),
            ("https:enabled", "yes", "it must be true or false"),
            ("https:plain", "/hit/", "it must be a list of beginnings of paths"),
            ("https:plain", ["hit"], "it must be a list of beginnings of paths"),
            ("https:plain", ["/a b"], "it must be a list of beginnings of paths"),
            ("https:plain", [5], "it must be a list of beginnings of paths"),
        ],
    )
    def test_a_value_that_cannot_be_is_named(self, node, key, value, words):
        chunks, errors = node("lb-1", pillar={f"lb:{key}": value}).chunks(["lb"])
        assert not chunks
        text = "\n".join(errors)
        assert f"lb:{key}'" in text
        assert words in text
        assert "pillar/lb.sls" in text

    def test_the_vip_is_guarded_where_another_balancer_could_take_it(self, node):
        compiler = node("lb-1", pillar={"lb:vrrp:interval": 0.25, "lb:vrrp:id": 9})
        chunks, errors = compiler.chunks(["lb"])
        assert not errors
        unit = unit_of(compiler, chunks, "/etc/systemd/system/vip-guard.service")
        words = unit["Service"]["ExecStart"].split()
        told = [word for word in words if word.startswith("--")]
        assert {"--vip=192.168.33.200", "--interface=eth1", "--router=9"} < set(told)
        assert "--silence=0.625" in told
        # Web servers and the other balancer.
        assert [word for word in told if word.startswith("--other=")] == [
            "--other=192.168.33.11:8000",
            "--other=192.168.33.12:8000",
            "--other=192.168.33.22:8405",
        ]
        assert "--balancer=192.168.33.22" in told
        [fault] = [word.partition("=")[2] for word in told if word.startswith("--fault=")]
        config = compiler.file(chunks, "/etc/keepalived/keepalived.conf")
        assert f'  file "{fault}"\n' in config
        assert "  track_file {\n    guarded\n  }\n" in config

    def test_adverts_that_are_closer_than_the_guard_looks_are_not_missed(self, node):
        compiler = node("lb-1", pillar={"lb:vrrp:interval": 0.05, "lb:vrrp:missed": 2})
        chunks, _ = compiler.chunks(["lb"])
        unit = unit_of(compiler, chunks, "/etc/systemd/system/vip-guard.service")
        assert "--silence=0.5" in unit["Service"]["ExecStart"].split()

    def test_the_only_balancer_keeps_the_vip_whatever_it_does(self, node):
        compiler = node("lb-1", "classic")
        chunks, errors = compiler.chunks(["lb"])
        assert not errors
        [guard] = [each for each in chunks if each["name"] == "vip-guard"]
        assert (guard["fun"], guard["enable"]) == ("dead", False)
        assert "track_file" not in compiler.file(chunks, "/etc/keepalived/keepalived.conf")

    @pytest.mark.parametrize("interval", [1, 0.29, 40.95])
    def test_an_interval_may_have_hundredths(self, node, interval):
        compiler = node("lb-1", pillar={"lb:vrrp:interval": interval})
        config = compiler.file(compiler.chunks(["lb"])[0], "/etc/keepalived/keepalived.conf")
        assert f"  advert_int {interval}\n" in config

    def test_an_address_that_no_interface_has_is_named(self, node):
        compiler = node("lb-1", grains={"ip4_interfaces": {"lo": ["127.0.0.1"]}})
        _, errors = compiler.chunks(["lb"])
        assert any("No interface of 'lb-1' has the address 192.168.33.21" in e for e in errors)

    def test_selinux_lets_haproxy_out(self, node):
        states = {each["state"] for each in node("lb-1", system="rocky9").chunks(["lb"])[0]}
        assert "selinux" in states


def test_hosts_name_every_node_by_its_address(node):
    compiler = node("web-1")
    chunks, _ = compiler.chunks(["base"])
    lines = compiler.file(chunks, "/etc/hosts").splitlines()
    for name, entry in support.TOPOLOGY["topologies"]["default"]["nodes"].items():
        assert f"{entry['address']} {name}" in lines
    # The own name on a loopback address would be announced to peers.
    assert not [line for line in lines if line.startswith("127.0.1.1")]


@pytest.mark.parametrize("role", ["base", "gluster", "storage", "db", "web", "lb"])
def test_packages_are_plain_yaml(role):
    # The image builder reads the lists without Salt.
    packages = yaml.safe_load((ROOT / f"salt/{role}/packages.yaml").read_text())
    assert set(packages) == {"Debian", "RedHat"}
    for names in packages.values():
        assert names
        assert all(isinstance(name, str) for name in names)
