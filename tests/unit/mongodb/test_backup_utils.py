"""What a backup is made of, without a server: entries, times, catalog, replay, files, hashes."""

import gzip
import itertools

import bson
import pytest
from bson import Binary, Timestamp
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from salt.exceptions import CommandExecutionError

from tests.support.loading import load

oplog = load("_utils/mongodb_oplog.py")
digest = load("_utils/mongodb_digest.py")
files = load("_utils/mongodb_files.py")
loads = load("_utils/mongodb_load.py")
catalogs = load("_utils/mongodb_catalog.py")
replays = load("_utils/mongodb_replay.py")
windows = load("_utils/mongodb_window.py")

ORDINALS = itertools.count(1)
EARLY = Timestamp(1, 1)
UUID = Binary(b"u" * 16, 4)


def entry(op, ns, o, at=None, **more):
    at = at or Timestamp(100, next(ORDINALS))
    return RawBSONDocument(bson.encode({"op": op, "ns": ns, "o": o, "ts": at, **more}))


def command(o, database="shop", **more):
    return entry("c", f"{database}.$cmd", o, **more)


# Times and sources


def test_a_target_is_an_operation_time_or_a_moment():
    assert oplog.target("1795836367:10") == Timestamp(1795836367, 10)
    # YAML has read the same as a number of base 60.
    assert oplog.target(1795836367 * 60 + 10) == Timestamp(1795836367, 10)
    moments = (oplog.target(text) for text in ("2026-11-28T03:12:00Z", "2026-11-28T04:12:00+01:00"))
    assert len(set(moments)) == 1


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("2026-11-28T03:12:00", "has no zone: write 2026-11-28T03:12:00Z"),
        ("yesterday", "is no target"),
        (1795836367, "is no target"),
        ("99999999999:1", "is no target"),
    ],
)
def test_what_is_no_target_is_named(written, words):
    with pytest.raises(ValueError, match=words):
        oplog.target(written)


def test_sources_follow_each_other_without_a_gap():
    rows = [entry("n", "", {}, at=Timestamp(1, n)) for n in range(6)]
    one, two = ("one", lambda: rows[:3]), ("two", lambda: rows[2:])
    assert list(oplog.chain([one, two])) == rows
    assert list(oplog.chain([one, one, two, one])) == rows
    with pytest.raises(CommandExecutionError, match="late begins with 1:4, .* ends with 1:2"):
        list(oplog.chain([one, ("late", lambda: rows[4:])]))
    with pytest.raises(CommandExecutionError, match="one is out of order: 1:1 follows 1:2"):
        list(oplog.chain([("one", lambda: [rows[2], rows[1]])]))


def test_users_are_left_out_and_the_time_is_kept():
    user = entry("i", "admin.system.users", {"_id": "secret"})
    nested = command(
        {"applyOps": [{"op": "i", "ns": "admin.system.users", "o": {"_id": "secret"}}]}
    )
    for each in (user, nested):
        kept = bson.decode(oplog.without_secrets(each))
        assert (kept["op"], kept["ts"]) == ("n", each["ts"])
        assert "secret" not in str(kept)
    ours = entry("i", "shop.rows", {"_id": 1})
    end = command({"commitTransaction": 1}, "admin")
    assert [oplog.without_secrets(each) for each in (ours, end)] == [ours.raw, end.raw]


# Hashes


def test_a_sum_knows_documents_and_not_their_order():
    documents = [bson.encode({"_id": n}) for n in range(50)]
    one, other, less, twice = (digest.start() for _ in range(4))
    for document in documents:
        one.add(document)
        twice.add(document)
    for document in reversed(documents):
        other.add(document)
    for document in documents[1:]:
        less.add(document)
    for document in documents:
        twice.add(document)
    assert (one.documents, one.hash) == (other.documents, other.hash)
    assert len({one.hash, less.hash, twice.hash, digest.start().hash}) == 4
    assert list(digest.split(b"".join(documents))) == documents
    with pytest.raises(ValueError, match="something else"):
        list(digest.split(documents[0][:-1]))


@pytest.mark.parametrize(
    "value",
    [1, 2.5, "x", "", None, True, b"b", {"a": {"b": 1}}, bson.ObjectId(), Timestamp(1, 2)]
    + [bson.Int64(1), bson.Decimal128("1.5"), bson.MinKey(), bson.Regex("x", "i"), UUID],
)
def test_an_identity_is_type_and_value_wherever_it_stands(value):
    first = digest.identity(bson.encode({"_id": value, "a": 1}))
    assert first == digest.identity(bson.encode({"a": 1, "_id": value}))
    assert first != digest.identity(bson.encode({"_id": "another"}))
    assert bson.encode({"_id": digest.value(first)}) == bson.encode({"_id": value})
    assert digest.identity(bson.encode({"a": 1})) == b""


@pytest.mark.parametrize(
    "values",
    [
        ["", "a", "ab", "b/longer", "c", "ä"],
        [-(2**40), -300, -1.5, 0, 1, 255, 256, 1.5e9, bson.Int64(2**33)],
        [bson.ObjectId(f"{number:024x}") for number in (0, 1, 255, 256, 1 << 90)],
        [Timestamp(1, 2), Timestamp(1, 300), Timestamp(2, 1)],
        [bson.DatetimeMS(number) for number in (-1, 0, 1, 256, 1 << 40)],
    ],
)
def test_documents_are_ordered_as_the_index_of_their_ids(values):
    documents = [bson.encode({"a": 1, "_id": value}) for value in values]
    assert sorted(reversed(documents), key=digest.order) == documents


def test_all_ids_can_be_ordered_with_one_another():
    values = [1, 2.5, "x", None, True, b"b", {"a": 1}, bson.Decimal128("1.5"), UUID, bson.MaxKey()]
    documents = [bson.encode({"_id": value}) for value in values] + [bson.encode({"a": 1})]
    assert sorted(sorted(documents, key=digest.order)) == sorted(documents)


def test_what_is_loaded_is_sorted_in_runs_of_so_many_bytes(monkeypatch):
    documents = [bson.encode({"_id": (number * 7) % 100}) for number in range(100)]
    monkeypatch.setattr(loads, "RUN_BYTES", 30 * len(documents[0]))
    found = list(loads.runs(documents, digest.order))
    assert [len(run) for run in found] == [30, 30, 30, 10]
    for number, run in enumerate(found):
        assert run == sorted(documents[30 * number :][:30], key=digest.order)
    # A capped collection is read in the order in which its documents came.
    assert [each for run in loads.runs(documents, None) for each in run] == documents


def test_a_timestamp_of_zero_is_put_back():
    document = bson.encode({"_id": 1, "at": Timestamp(0, 0), "deep": {"at": Timestamp(0, 0)}})
    found = digest.put_back("shop.rows", document)
    assert found["o"] == {"$v": 2, "diff": {"u": {"at": Timestamp(0, 0)}}}
    assert found["o2"] == {"_id": 1}
    for harmless in ({"_id": 1}, {"_id": 1, "deep": {"at": Timestamp(0, 0)}}):
        assert digest.put_back("shop.rows", bson.encode(harmless)) is None


# Replay


class Replaying:
    """A replay onto a catalog with ``shop.rows``, and all that it sends."""

    def __init__(self, consistent=EARLY):
        self.catalog = catalogs.catalog()
        self.catalog.add("shop.rows", {"options": {}, "indexes": []})
        self.sent = []
        self.replay = replays.replay(
            lambda operations, **options: self.sent.append((list(operations), options)),
            self.catalog,
            consistent,
            oplog.operations,
            oplog.is_ours,
            digest.put_back,
        )

    def __call__(self, *entries):
        for each in entries:
            self.replay.feed(each)
        self.replay.flush()
        sent, self.sent = self.sent, []
        return [
            bson.decode(bson.encode(operation), CodecOptions())
            for operations, _ in sent
            for operation in operations
        ]


def test_only_what_apply_ops_takes_is_sent_and_in_batches():
    replaying = Replaying()
    more = {"ui": UUID, "wall": 1, "stmtId": 0, "t": 1}
    one = entry("u", "shop.rows", {"$v": 2, "diff": {}}, o2={"_id": 1}, **more)
    assert replaying(one) == [
        {"op": "u", "ns": "shop.rows", "o": {"$v": 2, "diff": {}}, "o2": {"_id": 1}}
    ]
    for _ in range(2500):
        replaying.replay.feed(one)
    replaying.replay.flush()
    assert [len(operations) for operations, _ in replaying.sent] == [1000, 1000, 500]
    assert replaying.replay.applied == 2501


def test_what_belongs_to_the_server_is_passed_over():
    replaying = Replaying()
    assert not replaying(
        entry("n", "", {}),
        entry("i", "config.transactions", {"_id": 1}),
        entry("i", "admin.system.users", {"_id": 1}),
        command({"startIndexBuild": "rows"}),
        command({"abortIndexBuild": "rows"}),
    )


def test_a_transaction_is_replayed_where_it_is_committed():
    replaying = Replaying()
    number = itertools.count()

    def part(txn, **more):
        insert = {"op": "i", "ns": "shop.rows", "o": {"_id": next(number)}, "ui": UUID}
        more = {"applyOps": [insert], **more}
        return command(more, "admin", lsid={"id": 1}, txnNumber=bson.Int64(txn))

    def end(txn, how):
        return command({how: 1}, "admin", lsid={"id": 1}, txnNumber=bson.Int64(txn))

    assert replaying(part(1, partialTxn=True), part(1, partialTxn=True)) == []
    assert [each["o"]["_id"] for each in replaying(part(1, count=3))] == [0, 1, 2]
    assert replaying(part(2, prepare=True), part(3, prepare=True)) == []
    assert [each["o"]["_id"] for each in replaying(end(2, "commitTransaction"))] == [3]
    assert replaying(end(3, "abortTransaction")) == []
    with pytest.raises(CommandExecutionError, match="began before the oplog given"):
        replaying(end(3, "commitTransaction"))
    # One entry of several inserts has the same fields, and is no transaction.
    insert = {"op": "i", "ns": "shop.rows", "o": {"_id": 9}}
    many = command({"applyOps": [insert]}, "admin", lsid={}, txnNumber=1, multiOpType=1)
    assert [each["o"]["_id"] for each in replaying(many)] == [9]


def test_a_rename_replaces_its_target():
    replaying = Replaying()
    replaying(command({"create": "new"}), command({"createIndexes": "new", "name": "a_1"}))
    sent = replaying(
        command({"renameCollection": "shop.new", "to": "shop.rows", "dropTarget": UUID})
    )
    assert [each["o"] for each in sent] == [
        {"drop": "rows"},
        {"renameCollection": "shop.new", "to": "shop.rows"},
    ]
    assert set(replaying.catalog.options) == {"shop.rows"}
    assert set(replaying.catalog.indexes["shop.rows"]) == {"a_1"}


def test_a_collection_that_is_missing_is_an_error_only_after_the_dump():
    replaying = Replaying(consistent=Timestamp(50, 1))
    write = {"op": "i", "ns": "shop.gone", "o": {"_id": 1}}
    assert replaying(entry(at=Timestamp(50, 1), **write)) == []
    with pytest.raises(CommandExecutionError, match="writes to shop.gone at 50:2, .* is missing"):
        replaying(entry(at=Timestamp(50, 2), **write))


def test_indexes_and_views_are_kept_for_the_end():
    replaying = Replaying()
    indexes = [{"v": 2, "key": {"a": 1}, "name": "a_1"}, {"key": {"b": 1}, "name": "b_1"}]
    view = {"_id": "shop.view", "viewOn": "rows", "pipeline": []}
    sent = replaying(
        command({"commitIndexBuild": "rows", "indexes": indexes}),
        command({"collMod": "rows", "index": {"name": "a_1", "expireAfterSeconds": 5}}),
        command({"dropIndexes": "rows", "index": "b_1"}),
        entry("i", "shop.system.views", view),
    )
    assert sent == []
    assert replaying.catalog.indexes["shop.rows"]["a_1"]["expireAfterSeconds"] == 5
    assert set(replaying.catalog.indexes["shop.rows"]) == {"a_1"}
    assert set(replaying.catalog.views) == {"shop.view"}
    replaying(entry("d", "shop.system.views", {"_id": "shop.view"}))
    assert replaying.catalog.views == {}


def test_a_command_that_is_not_known_is_refused():
    with pytest.raises(CommandExecutionError, match="command importCollection at .* be replayed"):
        Replaying()(command({"importCollection": "x"}))
    with pytest.raises(CommandExecutionError, match="shop.clock is a time series"):
        Replaying()(command({"create": "system.buckets.clock"}))


# A dump's window


def test_a_window_knows_what_was_written_and_bounds_it(monkeypatch):
    monkeypatch.setattr(windows, "MOST", 3)
    window = windows.window(oplog.operations, oplog.is_ours, digest.identity)
    for number in (1, 2, 2):
        window.see(entry("u", "shop.rows", {"$v": 2}, o2={"_id": number}))
    assert window.touched["shop.rows"] == {digest.key(1), digest.key(2)}
    for number in range(3):
        window.see(entry("d", "shop.more", {"_id": number}))
    assert window.is_unknown("shop.more")
    assert not window.is_unknown("shop.rows")
    window.see(command({"dropDatabase": 1}))
    assert window.is_unknown("shop.rows")


def test_a_rename_is_followed_only_of_what_was_made_meanwhile():
    window = windows.window(oplog.operations, oplog.is_ours, digest.identity)
    rename = {"renameCollection": "shop.tmp", "to": "shop.out"}
    with pytest.raises(CommandExecutionError, match="shop.tmp was renamed to shop.out while"):
        window.see(command(rename, ui=UUID))
    window.see(command({"create": "tmp"}, ui=UUID))
    window.see(command(rename, ui=UUID))
    assert window.was_dropped("shop.out")


# Files


def test_names_are_those_of_mongodump():
    assert files.stem("shop.a.b-c_d~e") == "shop/a.b-c_d~e"
    assert files.stem("shop.name with / and %, ünd") == "shop/name+with+%2F+and+%25%2C+%C3%BCnd"
    # As mongodump 100.16 named it.
    long = files.stem("kinds.long" + "ä" * 60)
    assert long.endswith("%C3%A4%24S8ENxMJOG83V8HK9vNCjI8lVZjQ")
    assert len(long) == len("kinds/") + 238


def test_a_file_that_is_cut_or_is_no_bson_is_named(tmp_path):
    path = tmp_path / "x.bson.gz"
    documents = b"".join(bson.encode({"_id": n, "text": "x" * 1000}) for n in range(3000))
    whole = gzip.compress(documents)
    path.write_bytes(whole)
    assert b"".join(files.chunks(path)) == documents
    assert len(list(files.entries(path))) == 3000
    for data in (
        whole[:-20],
        gzip.compress(documents[:-1]),
        gzip.compress(b"\1\0\0\0"),
        b"no gzip",
    ):
        path.write_bytes(data)
        with pytest.raises(CommandExecutionError, match=r"x\.bson\.gz"):
            list(files.chunks(path))


def test_a_folder_has_its_name_as_a_whole_only(tmp_path):
    def fail():
        with files.published(tmp_path / "one") as partial:
            (partial / "half").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert {path.name for path in tmp_path.iterdir()} == {files.LOCK}
    (tmp_path / ".dead.partial").mkdir()
    with files.published(tmp_path / "one"):
        assert not (tmp_path / ".dead.partial").exists()
        with (
            pytest.raises(CommandExecutionError, match="another backup is being written"),
            files.published(tmp_path / "two"),
        ):
            pass
    with (
        pytest.raises(CommandExecutionError, match="is there already"),
        files.published(tmp_path / "one"),
    ):
        pass
    with (
        pytest.raises(CommandExecutionError, match="cannot be written: No such file"),
        files.published(tmp_path / "nowhere" / "one"),
    ):
        pass


# The catalog


def test_an_index_without_a_collation_keeps_none_in_a_collection_that_has_one():
    catalog = catalogs.catalog()
    indexes = [{"key": {"_id": 1}, "name": "_id_"}, {"key": {"a": 1}, "name": "a_1"}]
    catalog.add("shop.es", {"options": {"collation": {"locale": "es"}}, "indexes": indexes})
    assert catalog.indexes["shop.es"]["a_1"]["collation"] == {"locale": "simple"}
    assert set(catalog.indexes["shop.es"]) == {"a_1"}


def test_indexes_are_dropped_by_name_names_key_or_all():
    catalog = catalogs.catalog()
    indexes = [{"key": {name: 1}, "name": f"{name}_1"} for name in "abcde"]
    catalog.add("shop.rows", {"options": {"temp": True}, "indexes": indexes})
    assert catalog.options["shop.rows"] == {}
    catalog.drop_indexes("shop.rows", "a_1")
    catalog.drop_indexes("shop.rows", ["b_1", "none"])
    catalog.drop_indexes("shop.rows", {"c": 1})
    assert set(catalog.indexes["shop.rows"]) == {"d_1", "e_1"}
    catalog.drop_indexes("shop.rows", "*")
    assert catalog.indexes["shop.rows"] == {}
