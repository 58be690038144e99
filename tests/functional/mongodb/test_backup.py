"""Backups of a set that is written to, restored into another one: the same, to the byte."""

import contextlib
import datetime
import gzip
import os
import re
import threading
import time
import types

import bson
import pytest
from bson import Int64, ObjectId, Timestamp, json_util
from salt.exceptions import CommandExecutionError, SaltInvocationError

from tests.functional.mongodb.backups import Writers, contents, differing, furnish, majority
from tests.functional.mongodb.conftest import Cluster
from tests.support.mongod import AS_DECLARED, replica_set
from tests.support.waiting import until


@pytest.fixture
def theirs(other):
    """A client of the set that is restored into."""
    with other.rs.client() as client:
        yield client


def caught_up(source):
    """Wait until a secondary knows that all is committed; return its minion."""
    node = source.secondaries[0]
    member = source.rs.members[source.nodes.index(node)]
    newest = source.client.admin.command("hello")["lastWrite"]["opTime"]["ts"]
    until(
        lambda: member.hello()["lastWrite"]["majorityOpTime"]["ts"],
        30,
        "the secondary has it all",
        wanted=lambda seen: seen >= newest,
    )
    return node


def test_a_dump_under_writers_is_the_set_as_it_was_at_its_end(
    source, other, theirs, tmp_path, monkeypatch
):
    furnish(source.client)
    writers = Writers(source.rs)

    def all_write():
        since = list(writers.rounds)
        until(
            lambda: min(now - then for now, then in zip(writers.rounds, since, strict=True)),
            30,
            "each writer has written",
            wanted=lambda n: n > 3,
        )

    with writers.running():
        all_write()
        before = list(writers.acknowledged)
        source.secondaries[0].meanwhile(monkeypatch, all_write)
        made = source.secondaries[0].backup("dump", tmp_path / "one")
        after = len(writers.acknowledged)
    assert made["set"] == "rs0"
    assert made["entries"] > 1
    back = other.nodes[0].backup("restore", tmp_path / "one")
    assert back["to"] == made["to"]
    # The server knew what each collection was at that time, and it is compared byte for byte.
    assert back["checked"] == sorted(made["collections"])
    # What the writers say, which knows nothing of hashes.
    shop = theirs.shop
    numbers = sorted(row["_id"] for row in shop.ledger.find())
    assert numbers == list(range(len(numbers)))
    assert len(before) <= len(numbers) <= after + 1
    assert sum(row["sum"] for row in shop.accounts.find()) == 5000
    sums = dict.fromkeys(range(50), 100)
    for move in shop.moves.find():
        sums[move["from"]] -= 1
        sums[move["to"]] += 1
    assert {row["_id"]: row["sum"] for row in shop.accounts.find()} == sums
    assert shop.things.count_documents({}) in (2999, 3000)
    # And with the oplog from then on it is what the source is now.
    node = caught_up(source)
    node.backup("copy_oplog", tmp_path / "more.bson.gz", made["to"]["time"])
    other.nodes[0].backup(
        "restore",
        tmp_path / "one",
        oplog=[str(tmp_path / "more.bson.gz")],
        drop=True,
        confirm="other",
    )
    assert differing(contents(source.client), contents(theirs)) == []


def all_there_is(client):
    """Make one of each thing that a set can have and a dump carries."""
    db = majority(client, "kinds")
    ids = [0, Int64(1), 2.5, "three", "", ObjectId(), {"a": 1, "b": {"c": 2}}, b"bytes", None]
    ids += [True, datetime.datetime(2026, 11, 28), Timestamp(5, 6)]
    ids += [bson.Decimal128("1.5"), bson.Binary(b"12345678" * 2, 4), bson.MinKey(), bson.MaxKey()]
    db.odd_ids.insert_many({"_id": each, "n": n} for n, each in enumerate(ids))
    db.create_collection("capped", capped=True, size=100_000, max=50)
    for n in range(80):
        db.capped.insert_one({"_id": n})
    db.create_collection("empty")
    db.create_collection("strict", validator={"n": {"$gt": 0}}, validationLevel="moderate")
    db.strict.insert_one({"n": 1})
    db.command("insert", "strict", documents=[{"n": -1}], bypassDocumentValidation=True)
    db.create_collection("spanish", collation={"locale": "es", "strength": 1})
    db.spanish.insert_many([{"_id": "año", "a": "x"}, {"_id": "bueno", "a": "X"}])
    db.spanish.create_index("a")
    db.spanish.create_index("b", collation={"locale": "simple"})
    db.command("create", "clustered", clusteredIndex={"key": {"_id": 1}, "unique": True})
    db.clustered.insert_many([{"_id": n} for n in range(10)])
    rows = db.indexed
    rows.insert_many({"_id": n, "a": n, "when": datetime.datetime(2099, 1, 1)} for n in range(100))
    rows.create_index([("a", -1), ("b", 1)], unique=True, name="named")
    rows.create_index("when", expireAfterSeconds=3600)
    rows.create_index("c", sparse=True)
    rows.create_index([("d", 1), ("a", 1)], partialFilterExpression={"a": {"$gt": 50}}, unique=True)
    rows.create_index("e", hidden=True)
    rows.create_index([("words", "text")])
    rows.create_index([("place", "2dsphere")])
    rows.create_index([("$**", 1)])
    db.zero.insert_one({"_id": 1})
    # By fields: a document that is written as a whole has another time on each member afterwards.
    db.zero.update_one({"_id": 1}, {"$set": {"at": Timestamp(0, 0), "deep.at": Timestamp(0, 0)}})
    db["name with / and %, ünd"].insert_one({"_id": 1})
    db["long" + "ä" * 60].insert_one({"_id": 1})
    db["system.js"].insert_one({"_id": "f", "value": "no code"})
    db.command("create", "view", viewOn="indexed", pipeline=[{"$match": {"a": {"$gt": 5}}}])
    db.command("create", "view of a view", viewOn="view", pipeline=[{"$limit": 1}])
    majority(client, "second").rows.insert_one({"$x": 1, "a.b": 2, "": 3})


def test_all_that_a_set_can_have_comes_back(source, other, theirs, tmp_path):
    all_there_is(source.client)
    made = caught_up(source).backup("dump", tmp_path / "one")
    back = other.nodes[0].backup("restore", tmp_path / "one")
    assert differing(contents(source.client), contents(theirs)) == []
    assert contents(theirs)["kinds.capped"]["options"]["max"] == 50
    assert theirs.kinds["system.js"].find_one() == {"_id": "f", "value": "no code"}
    assert theirs.kinds["view of a view"].count_documents({}) == 1
    # Nothing is in the oplog of what makes room in a capped collection.
    assert [name for name, row in made["collections"].items() if row.get("hash", "") is None] == [
        "kinds.capped"
    ]
    assert back["unchecked"] == ["kinds.capped"]


def test_documents_are_restored_in_the_order_of_their_ids_unless_theirs_counts(
    source, other, theirs, tmp_path
):
    db = majority(source.client, "orders")
    db.create_collection("capped", capped=True, size=100_000)
    downwards = [f"name {number:03}" for number in reversed(range(900))]
    for rows in (db.plain, db.capped):
        rows.insert_many({"_id": name} for name in downwards)
    caught_up(source).backup("dump", tmp_path / "one")
    other.nodes[0].backup("restore", tmp_path / "one")

    def natural(rows):
        return [row["_id"] for row in rows.find().sort("$natural", 1)]

    assert natural(theirs.orders.plain) == downwards[::-1]
    assert natural(theirs.orders.capped) == downwards


def test_the_files_are_those_that_mongodump_makes(source, tmp_path):
    all_there_is(source.client)
    caught_up(source).backup("dump", tmp_path / "one")
    folder = tmp_path / "one"
    names = {path.name for path in (folder / "kinds").iterdir()}
    assert {"indexed.bson.gz", "indexed.metadata.json.gz", "view.metadata.json.gz"} <= names
    assert "view.bson.gz" not in names
    assert "name+with+%2F+and+%25%2C+%C3%BCnd.bson.gz" in names
    # Longer than a file's name can be: cut, with the hash of the whole one.
    assert any(re.fullmatch(r"long(%C3%A4){34}%24[\w-]{27}\.bson\.gz", name) for name in names)
    with gzip.open(folder / "kinds" / "indexed.bson.gz") as file:
        assert sum(1 for _ in bson.decode_file_iter(file)) == 100
    text = gzip.decompress((folder / "kinds" / "indexed.metadata.json.gz").read_bytes())
    metadata = json_util.loads(text)
    assert metadata["collectionName"] == "indexed"
    assert len(metadata["indexes"]) == 9
    assert re.fullmatch("[0-9a-f]{32}", metadata["uuid"])
    with gzip.open(folder / "oplog.bson") as file:
        entries = list(bson.decode_file_iter(file))
    assert all({"ts", "op", "ns", "o"} <= entry.keys() for entry in entries)
    prelude = gzip.decompress((folder / "prelude.json.gz").read_bytes())
    assert json_util.loads(prelude)["ServerVersion"] == "6.0.5"


def what_can_be_followed(client):
    """Change collections in every way that a dump can follow while it is made."""
    db = majority(client, "later")
    # Names before and behind that of the collection that was read first.
    db.aaa.insert_many({"_id": n} for n in range(50, 60))
    db.aaa.drop()
    db.aaa.insert_many({"_id": n, "again": True} for n in range(5))
    db.aaa.create_index("again")
    db.gone.drop()
    db.anew.drop()
    db.create_collection("anew", capped=True, size=4096)
    db.anew.insert_one({"_id": "new"})
    db.rows.aggregate([{"$out": "out"}])
    db.rows.aggregate([{"$match": {"_id": {"$gt": 3}}}, {"$out": "out"}])
    db.rows.create_index("n")
    db.rows.drop_index("old_1")
    db.command("collMod", "rows", index={"name": "kept_1", "hidden": True})
    db.command("collMod", "rows", validator={"n": {"$exists": True}})
    db.command("convertToCapped", "converted", size=10_000)
    db.command("collMod", "view", viewOn="rows", pipeline=[{"$limit": 2}])
    db.command("create", "view2", viewOn="view", pipeline=[])
    client["whole"].command("dropDatabase", writeConcern={"w": "majority"})
    with client.start_session() as session, session.start_transaction():
        db.rows.insert_one({"_id": "in a transaction", "n": 1}, session=session)
        db.create_collection("in_transaction", session=session)
        db.in_transaction.insert_one({"_id": 1}, session=session)
    # More than one entry of the oplog can hold.
    with client.start_session() as session, session.start_transaction():
        for n in range(3):
            db.large.insert_one({"_id": n, "text": "z" * (7 << 20)}, session=session)


def test_what_happens_to_collections_meanwhile_is_followed(
    source, other, theirs, tmp_path, monkeypatch
):
    db = majority(source.client, "later")
    for name in ("aaa", "gone", "anew", "converted"):
        db[name].insert_many({"_id": n, "old": name} for n in range(20))
    db.rows.insert_many({"_id": n, "n": n} for n in range(20))
    db.rows.create_index("old")
    db.rows.create_index("kept")
    db.command("create", "view", viewOn="rows", pipeline=[])
    db.create_collection("large")
    majority(source.client, "whole").rows.insert_one({})
    node = caught_up(source)

    def change():
        what_can_be_followed(source.client)
        # Only what the secondary knows to be committed is in a dump.
        caught_up(source)

    node.meanwhile(monkeypatch, change)
    node.backup("dump", tmp_path / "one")
    other.nodes[0].backup("restore", tmp_path / "one")
    assert differing(contents(source.client), contents(theirs)) == []
    assert theirs.later["out"].count_documents({}) == 16


@pytest.mark.parametrize(
    ("deed", "words"),
    [
        (lambda db: db.rows.rename("renamed"), "shop.rows was renamed to shop.renamed while"),
        (
            lambda db: db.create_collection("clock", timeseries={"timeField": "t"}),
            "shop.clock is a time series",
        ),
    ],
)
def test_what_cannot_be_followed_is_refused_and_leaves_nothing(
    source, tmp_path, monkeypatch, deed, words
):
    db = majority(source.client, "shop")
    db.first.insert_one({})
    db.rows.insert_one({})
    node = caught_up(source)

    def change():
        deed(db)
        # Only what the secondary knows to be committed is in a dump.
        caught_up(source)

    with monkeypatch.context() as patched:
        node.meanwhile(patched, change)
        with pytest.raises(CommandExecutionError, match=words):
            node.backup("dump", tmp_path / "one")
    assert node.backup("list", tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == [".mongodb_backup.lock"]


def test_an_oplog_that_rolls_over_meanwhile_is_noticed(tmp_path, monkeypatch):
    # A server keeps of its oplog what it would need after a crash, until its data are on the disk.
    settings = (*AS_DECLARED, "--syncdelay", "1")
    with replica_set(1, auth=True, settings=settings) as rs, rs.client() as client:
        db = majority(client, "shop")
        db.first.insert_one({})
        node = Cluster(rs, tmp_path).nodes[0]
        backups = tmp_path / "backups"
        backups.mkdir()

        def write_much():
            before = client.admin.command("hello")["lastWrite"]["opTime"]["ts"]

            def oldest_after_more():
                for _ in range(4):
                    db.first.insert_one({"text": os.urandom(8 << 20)})
                entry = client.local["oplog.rs"].find_one({}, {"ts": 1}, sort=[("$natural", 1)])
                return entry["ts"]

            until(oldest_after_more, 90, "the oplog begins later", wanted=lambda at: at > before)

        node.meanwhile(monkeypatch, write_much)
        with pytest.raises(CommandExecutionError, match="no longer has what follows"):
            node.backup("dump", backups / "one", primary=True)
        assert node.backup("list", backups) == []
        with pytest.raises(CommandExecutionError, match="no longer has what follows 1000:1"):
            node.backup("copy_oplog", backups / "more.bson.gz", "1000:1")
        assert [path.name for path in backups.iterdir()] == [".mongodb_backup.lock"]


def test_a_set_goes_back_to_one_second_before_a_drop(source, other, theirs, tmp_path):
    db = majority(source.client, "shop")
    db.ledger.insert_one({"_id": -1})
    made = caught_up(source).backup("dump", tmp_path / "one")
    acknowledged = {}
    begin = time.monotonic()
    while time.monotonic() - begin < 2.5:
        number = len(acknowledged)
        db.ledger.insert_one({"_id": number})
        acknowledged[number] = datetime.datetime.now(datetime.UTC)
    source.client["shop"].command("dropDatabase", writeConcern={"w": "majority"})
    dropped = datetime.datetime.now(datetime.UTC)
    majority(source.client, "mistake").made.insert_one({})
    node = caught_up(source)
    copied = node.backup("copy_oplog", tmp_path / "more.bson.gz", made["to"]["time"])
    assert copied["from"] == made["to"]
    more = [str(tmp_path / "more.bson.gz")]

    # Everything, and so nothing of the database.
    back = other.nodes[0].backup("restore", tmp_path / "one", oplog=more)
    assert back["databases"] == ["mistake", "shop"]
    assert set(contents(theirs)) == {"mistake.made"}

    target = dropped - datetime.timedelta(seconds=1)
    back = other.nodes[0].backup(
        "restore",
        tmp_path / "one",
        target=target.isoformat(),
        oplog=more,
        drop=True,
        confirm="other",
    )
    numbers = {row["_id"] for row in theirs.shop.ledger.find()} - {-1}
    sure = {number for number, when in acknowledged.items() if when <= target}
    assert sure
    assert sure <= numbers
    # A write is acknowledged after it was made: one more may be in.
    assert len(numbers) <= len(sure) + 1
    assert max(acknowledged) not in numbers
    # What was not yet made then is not known to it, and left alone.
    assert back["left_alone"] == ["mistake"]

    # The same place by operation time, the other way to say it.
    back = other.nodes[0].backup(
        "restore",
        tmp_path / "one",
        target=back["to"]["time"],
        oplog=more,
        drop=True,
        confirm="other",
    )
    assert {row["_id"] for row in theirs.shop.ledger.find()} - {-1} == numbers


def test_a_primary_is_spared_unless_told(source, tmp_path):
    majority(source.client, "shop").rows.insert_one({})
    with pytest.raises(CommandExecutionError, match="is PRIMARY: make it from a secondary"):
        source.primary.backup("dump", tmp_path / "one")
    made = source.primary.backup("dump", tmp_path / "one", primary=True)
    assert made["collections"]["shop.rows"]["documents"] == 1
    with pytest.raises(CommandExecutionError, match="is there already"):
        source.primary.backup("dump", tmp_path / "one", primary=True)
    with pytest.raises(CommandExecutionError, match="cannot be written"):
        source.primary.backup("dump", tmp_path / "nowhere" / "one", primary=True)
    for path in ("relative/one", str(tmp_path / ".hidden"), f"{tmp_path}/../one"):
        with pytest.raises(SaltInvocationError, match="write the whole path"):
            source.primary.backup("dump", path, primary=True)


def test_a_dump_leaves_the_processors_to_others(other, tmp_path, monkeypatch):
    def nice():
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before, meanwhile = nice(), []
    with other.rs.client() as client:
        majority(client, "shop").rows.insert_one({})
    other.nodes[0].meanwhile(monkeypatch, lambda: meanwhile.append(nice()))
    other.nodes[0].backup("dump", tmp_path / "one", primary=True)
    assert meanwhile == [max(before, 10)]
    assert nice() == before


def test_a_dump_rests_between_small_parts_of_what_it_reads_and_reads_again(
    other, tmp_path, monkeypatch
):
    with other.rs.client() as client:
        majority(client, "shop").rows.insert_many({"_id": number} for number in range(4500))
    inside = other.nodes[0]._modules["mongodb_backup.dump"].__globals__
    gentle, rests = inside["_gentle"], []

    @contextlib.contextmanager
    def counted():
        with gentle.work() as rest:
            yield lambda: rests.append(rest())

    monkeypatch.setitem(inside, "_gentle", types.SimpleNamespace(work=counted))
    other.nodes[0].backup("dump", tmp_path / "one", primary=True)
    # A thousand documents at a time, and at least once for the file.
    assert len(rests) >= 6


def test_users_and_their_hashes_are_in_no_file(source, tmp_path, monkeypatch):
    majority(source.client, "shop").rows.insert_one({})
    node = caught_up(source)

    def make_user():
        source.client.shop.command("createUser", "mallory", pwd="x" * 20, roles=["read"])
        source.client.shop.command("dropUser", "mallory")
        caught_up(source)

    node.meanwhile(monkeypatch, make_user)
    made = node.backup("dump", tmp_path / "one")
    assert made["entries"] > 2
    assert set(made["collections"]) == {"shop.rows"}
    for path in (tmp_path / "one").rglob("*.bson*"):
        assert b"mallory" not in gzip.decompress(path.read_bytes())


@pytest.fixture
def limited(source, other):
    """Return a maker of a minion of a cluster whose user has certain roles only."""
    made = []

    def make(cluster, member, name, roles):
        with cluster.rs.client() as client:
            client.admin.command(
                "createUser",
                name,
                pwd=cluster.admin_password,
                roles=roles,
                writeConcern={"w": "majority"},
            )
        made.append((cluster, name))
        return cluster.node(member, f"db-{name}", user=name)

    yield make
    for cluster, name in made:
        with cluster.rs.client() as client:
            client.admin.command("dropUser", name)


def test_the_roles_that_the_page_names_are_enough(source, other, theirs, tmp_path, limited):
    furnish(source.client)
    all_there_is(source.client)
    caught_up(source)
    member = source.rs.secondaries()[0]
    limited(source, member, "keeper", ["backup", "clusterMonitor"]).backup("dump", tmp_path / "one")
    roles = ["restore", "readWriteAnyDatabase", "dbAdminAnyDatabase"]
    node = limited(other, other.rs.members[0], "restorer", roles)
    node.backup("restore", tmp_path / "one")
    node.backup("restore", tmp_path / "one", drop=True, confirm="other")
    assert differing(contents(source.client), contents(theirs)) == []
