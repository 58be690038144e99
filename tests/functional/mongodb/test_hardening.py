"""What the role's own configuration and states leave a stranger, the application and a looker."""

import pathlib
import sys
import threading

import pymongo
import pytest
import yaml
from pymongo.errors import OperationFailure
from salt.exceptions import CommandExecutionError

from tests.support import tree as support
from tests.support.loading import ROOT
from tests.support.mongod import AS_DECLARED, Member, mongod_binary, replica_set
from tests.support.waiting import until

from .conftest import APP_PASSWORD, HEALTH_PASSWORD, Cluster, Node

sys.path.insert(0, str(ROOT / "app" / "backend" / "src"))

#: As servers ran before they were told what not to do.
BEFORE = AS_DECLARED[:4]
UNAUTHORIZED = 13
MECHANISM_UNAVAILABLE = 334


@pytest.fixture(scope="module")
def role(tmp_path_factory):
    """The states of db-1, compiled, and its compiler."""
    tree = support.Tree(tmp_path_factory.mktemp("tree"))
    grains = support.recorded_grains("debian12", "default", "db-1")
    pillar = {**tree.pillar("default", "db-1", grains), "release": "1.0"}
    with tree.compiler("db-1", grains, pillar) as compiler:
        chunks, errors = compiler.chunks(["db"])
        assert not errors
        yield compiler, chunks


@pytest.fixture(scope="module")
def declared(role):
    """The roles and users of the role's own states, in order: function, and its arguments."""
    told = {"name", "database", "privileges", "roles", "mechanisms", "password_pillar", "admin"}
    return [
        (chunk["fun"], {key: value for key, value in chunk.items() if key in told})
        for chunk in role[1]
        if chunk["state"] == "mongodb" and chunk["fun"] in ("role_present", "user_present")
    ]


def apply(node: Node, declared, *, test: bool = False):
    """Apply the states; returns the names of what changed."""
    changed = []
    for function, arguments in declared:
        ret = node.state(function, test=test, **arguments)
        assert ret["result"] is not False, ret
        changed += [arguments["name"]] if ret["changes"] else []
    return changed


@pytest.fixture
def hardened(cluster, declared):
    """The cluster with the roles and users of the role's own states, until the test has ended."""
    node = cluster.secondaries[0]
    apply(node, declared)
    yield cluster
    for function, arguments in reversed(declared):
        name = arguments["name"]
        if not arguments.get("admin"):
            kind = function.removesuffix("_present")
            node.call(f"{kind}_remove", name, arguments["database"], confirm=name)
    with cluster.rs.client() as client:
        client.drop_database("counterapp")


@pytest.fixture
def configured(role, tmp_path):
    """A server that runs with the role's own configuration, but for what is the machine's."""
    compiler, chunks = role
    config = yaml.safe_load(compiler.file(chunks, "/etc/mongod.conf"))
    keyfile = tmp_path / "keyfile"
    keyfile.touch(0o600)
    keyfile.write_text("0123456789abcdef")
    config["security"]["keyFile"] = str(keyfile)
    for machines in ("systemLog", "processManagement"):
        del config[machines]
    path = tmp_path / "mongod.conf"
    path.write_text(yaml.safe_dump(config))
    # Port, address and folders are on the command line, which wins.
    member = Member(mongod_binary(), tmp_path, ["--config", str(path)])
    member.settings = ()
    member.start()
    yield member
    member.kill()


def test_the_configuration_leaves_a_stranger_and_a_thief_less(configured):
    with configured.client() as stranger:
        assert "compression" not in stranger.admin.command("hello", compression=["zlib"])
        offer = stranger.admin.command("hello", compression=["zlib", "zstd", "snappy"])
        assert offer["compression"] == ["zstd", "snappy"]
        stranger.admin.command("replSetInitiate")
        until(lambda: (configured.hello() or {}).get("isWritablePrimary"), 30, "it is primary")
        stranger.admin.command("createUser", "admin", pwd="s3cret", roles=["root"])
    login = {"username": "admin", "password": "s3cret"}
    with configured.client(**login, authMechanism="SCRAM-SHA-256") as admin:
        [user] = admin.admin.command("usersInfo", "admin")["users"]
        assert user["mechanisms"] == ["SCRAM-SHA-256"]
        with pytest.raises(OperationFailure, match="globalScriptEngine"):
            list(admin.counterapp.counters.find({"$where": "true"}))
    with (
        configured.client(**login, authMechanism="SCRAM-SHA-1") as weaker,
        pytest.raises(OperationFailure) as refused,
    ):
        weaker.admin.command("ping")
    assert refused.value.code == MECHANISM_UNAVAILABLE


def test_the_application_can_do_its_work_and_nothing_else(hardened):
    from counterapp.counters import Key, Plan, Record

    from tests.support.stores import open_store

    uri = hardened.rs.uri_for("counterapp", APP_PASSWORD, "counterapp")
    key, admin = Key("default", "counted"), "digest"
    store = open_store(hardened.rs, "counterapp", "web-1", uri=uri)
    changes = store.changes()
    assert next(changes) is None
    assert store.hit(key).value == 1
    assert store.hit(key, "once").value == store.hit(key, "once").value == 2
    assert until(lambda: next(changes), 10, "the stream tells of a hit").key == key
    changes.close()
    owned = Key("mine", "counter")
    assert store.create(owned, Plan(), admin).owned
    assert store.add(owned, 4, admin).value == store.add(owned, 2, admin, "two").value - 2 == 4
    assert store.set(owned, 9, admin) == (6, 9)
    records = [Record(Key("mine", "taken"), 7), Record(owned, 3)]
    assert store.take(records, True, admin) == [None, None]
    assert [each.value for each in store.page(admin, None, 10)] == [3, 7]
    assert store.totals().counters >= 3
    store.delete(owned, admin)
    assert store.operator_count("mine/") == store.operator_delete_all("mine/", 10) == 1
    store.close()

    with hardened.rs.client() as client:
        indexes = client.counterapp.counters.index_information()
        assert set(indexes) == {"_id_", "admin_1__id_1", "expires_1", "idle_1"}
    with pymongo.MongoClient(uri) as client:
        own, others = client.counterapp, client.get_database("other")
        for refused in (
            own.counters.drop,
            lambda: own.counters.rename("gone"),
            lambda: own.counters.drop_index("expires_1"),
            lambda: own.command("collMod", "counters", validationLevel="off"),
            lambda: client.drop_database("counterapp"),
            lambda: own.other.insert_one({}),
            own.other.find_one,
            own.readiness.find_one,
            others.counters.find_one,
            lambda: own.command("usersInfo", 1),
            lambda: own.command("updateUser", "counterapp", roles=["dbOwner"]),
            lambda: client.admin.command("serverStatus"),
            lambda: client.local["oplog.rs"].find_one(),
        ):
            with pytest.raises(OperationFailure) as failure:
                refused()
            assert failure.value.code == UNAUTHORIZED


class Counting(threading.Thread):
    """Writes as the application's user, one write after the other, and keeps what was refused."""

    def __init__(self, uri: str) -> None:
        super().__init__(daemon=True)
        self.done = 0
        self.refused: list[str] = []
        self._uri = uri
        self._ended = threading.Event()

    def run(self) -> None:
        with pymongo.MongoClient(self._uri) as client:
            counters = client.counterapp.counters
            while not self._ended.is_set():
                try:
                    counters.update_one({"_id": "rolled"}, {"$inc": {"value": 1}}, upsert=True)
                    self.done += 1
                except OperationFailure as error:
                    self.refused.append(str(error))

    def end(self) -> int:
        self._ended.set()
        self.join(30)
        return self.done


@pytest.fixture
def before(tmp_path: pathlib.Path):
    """A set as it was made before: users of all mechanisms, the application's with a wide role."""
    with replica_set(3, auth=True, settings=BEFORE) as rs:
        cluster = Cluster(rs, tmp_path)
        with rs.client() as client:
            client.counterapp.command(
                "createUser", "counterapp", pwd=APP_PASSWORD, roles=["readWrite"]
            )
        cluster.nodes = [
            cluster.node(member, f"new-{number}", health_user="health")
            for number, member in enumerate(rs.members, 1)
        ]
        yield cluster


def test_a_set_of_before_is_rolled_member_by_member(before, declared):
    rs = before.rs
    writing = Counting(rs.uri_for("counterapp", APP_PASSWORD, "counterapp"))
    writing.start()
    # Nobody has made who looks yet: the administrator does.
    assert before.nodes[0].call("status")["authorized"] is True
    assert before.nodes[0].call("server_info")["compressors"] == ["snappy", "zstd", "zlib"]

    told = ["admin", "oplogReader", "health", "replicaSetReader", "backup"]
    told += ["counterapp", "counterapp"]
    while old := [member for member in rs.members if member.settings is BEFORE]:
        primary = rs.wait_primary()
        [member, *_] = [member for member in old if member is not primary] or old
        node = before.of(member)
        if member is primary:
            node.call("step_down", timeout=20)
        member.stop()
        member.settings = AS_DECLARED
        member.start()
        node.call("wait_member", timeout=30)
        planned = apply(node, declared, test=True)
        assert apply(node, declared) == planned == told
        told = []
    assert before.nodes[0].call("server_info")["compressors"] == ["snappy", "zstd"]
    for user in before.nodes[0].call("user_list"):
        assert user["mechanisms"] == ["SCRAM-SHA-256"]
    assert writing.end() > 0
    assert writing.refused == []
    with rs.client() as client:
        assert client.counterapp.counters.find_one("rolled")["value"] == writing.done


def test_who_looks_needs_no_administrator_and_is_none(hardened):
    member = hardened.rs.secondaries()[0]
    looking = hardened.node(member, "looking", admin_password="wr0ng", health_user="health")
    seen = looking.call("status")
    assert (seen["authorized"], seen["reason"]) == (True, None)
    assert {each["votes"] for each in seen["members"]} == {1}
    assert looking.call("healthy", require="all")["healthy"] is True
    assert looking.call("members")[0]["votes"] == 1
    assert looking.call("oplog")["max_mib"] == 64
    assert looking.call("wait_member", timeout=30)["self"] is True
    with pymongo.MongoClient(hardened.rs.uri_for("health", HEALTH_PASSWORD)) as health:
        # How long a member lacks a write is told by nothing else.
        assert health.local["oplog.rs"].find_one()
        for refused in (
            health.counterapp.counters.find_one,
            lambda: health.counterapp.counters.insert_one({}),
            lambda: health.admin.command("replSetStepDown", 1),
            lambda: health.admin.command("createUser", "x", pwd="x", roles=[]),
            lambda: health.admin.command("setParameter", 1, logLevel=1),
            lambda: health.admin.command("shutdown"),
        ):
            with pytest.raises(OperationFailure) as failure:
                refused()
            assert failure.value.code == UNAUTHORIZED
    with pytest.raises(CommandExecutionError, match="refuses the login of admin"):
        looking.call("user_list")
