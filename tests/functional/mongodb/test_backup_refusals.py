"""What is wrong with a backup, or wanted of it in vain, is found before anything is touched."""

import gzip
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest
from bson import Timestamp, encode
from salt.exceptions import CommandExecutionError, SaltInvocationError

from tests.functional.mongodb.backups import contents, furnish, majority
from tests.support.loading import ROOT, load
from tests.support.waiting import until

files = load("_utils/mongodb_files.py")


@pytest.fixture(scope="module")
def made(other_source, tmp_path_factory):
    """A backup with an oplog that changes what was read, and two more files of oplog."""
    folder = tmp_path_factory.mktemp("backups")
    node, client = other_source.nodes[0], other_source.rs.client()
    furnish(client)
    shop = majority(client, "shop")
    with pytest.MonkeyPatch.context() as patch:
        change = {"$set": {"n": 1}}
        node.meanwhile(patch, lambda: shop.things.update_many({}, change), after=5)
        info = node.backup("dump", folder / "one", primary=True)
    ends = [info["to"]]
    for number in (1, 2):
        shop.ledger.insert_one({"_id": number})
        path = folder / f"{number}.bson.gz"
        ends.append(node.backup("copy_oplog", path, ends[-1]["time"])["to"])
    return folder, ends


@pytest.fixture
def copy(made, tmp_path):
    """A copy of the backup that a test may spoil."""
    return pathlib.Path(shutil.copytree(made[0] / "one", tmp_path / "one"))


@pytest.fixture
def theirs(other):
    """A set with data that a refused restore must leave alone."""
    with other.rs.client() as client:
        majority(client, "shop").things.insert_one({"_id": "mine"})
        yield client


def seal(folder):
    """Make the manifest of a backup true again, as who means to deceive would."""
    manifest = json.loads((folder / files.MANIFEST).read_text())
    del manifest["checksum"], manifest["format"]
    for name in manifest["files"]:
        data = (folder / name).read_bytes()
        manifest["files"][name] = {"bytes": len(data), "sha256": files._hash(folder / name)}
    dump = files.dump(folder)
    dump.files = {k: v for k, v in manifest.pop("files").items() if k != files.PRELUDE}
    (folder / files.MANIFEST).unlink()
    (folder / files.PRELUDE).unlink()
    dump.seal(manifest)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: flip(f / "shop" / "things.bson.gz"), "shop/things.bson.gz is damaged"),
        (lambda f: flip(f / "oplog.bson"), "oplog.bson is damaged"),
        (lambda f: os.truncate(f / "plain" / "still.bson.gz", 99), "has 99 bytes, and had"),
        (lambda f: (f / "shop" / "ledger.metadata.json.gz").unlink(), "json.gz is missing"),
        (lambda f: (f / "shop" / "more.bson.gz").touch(), "shop/more.bson.gz is no part of it"),
        (lambda f: flip(f / "manifest.json"), "manifest.json"),
        (lambda f: (f / "manifest.json").unlink(), "manifest.json is missing"),
    ],
    ids=["data", "oplog", "cut", "metadata", "stranger", "manifest", "no-manifest"],
)
def test_what_is_damaged_is_named_and_nothing_is_touched(copy, other, theirs, spoil, words):
    spoil(copy)
    before = contents(theirs)
    node = other.nodes[0]
    with pytest.raises(CommandExecutionError, match=words):
        node.backup("verify", copy)
    with pytest.raises(CommandExecutionError, match=words):
        node.backup("restore", copy, drop=True, confirm="other")
    assert contents(theirs) == before


def test_one_that_was_sealed_again_is_not_the_one_that_was_noted(copy, other, theirs):
    node = other.nodes[0]
    noted = node.backup("info", copy)["sha256"]
    assert node.backup("verify", copy, sha256=noted)["files"] > 0
    flip(copy / "oplog.bson")
    seal(copy)
    before = contents(theirs)
    for function, options in (("verify", {}), ("restore", {"drop": True, "confirm": "other"})):
        with pytest.raises(CommandExecutionError, match="is another backup than the one noted"):
            node.backup(function, copy, sha256=noted, **options)
    assert contents(theirs) == before
    assert node.backup("verify", copy)["files"] > 0


def test_each_thing_that_is_wrong_is_said(copy, other):
    flip(copy / "oplog.bson")
    (copy / "plain" / "still.bson.gz").unlink()
    with pytest.raises(CommandExecutionError) as refused:
        other.nodes[0].backup("verify", copy)
    assert "oplog.bson is damaged" in str(refused.value)
    assert "plain/still.bson.gz is missing" in str(refused.value)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("oplog", "shop.things came out other than the backup says"),
        ("document", "plain.still came out other than the backup says"),
    ],
)
def test_the_comparison_sees_what_checksums_cannot(copy, other, spoil, words):
    """The control: a backup that is not what it says, with checksums that are right."""
    if spoil == "oplog":
        entries = [bytes(entry.raw) for entry in files.entries(copy / "oplog.bson")]
        assert len(entries) > 1000
        path, data = copy / "oplog.bson", b"".join(entries[:500] + entries[-1:])
    else:
        path = copy / "plain" / "still.bson.gz"
        data = gzip.decompress(path.read_bytes()).replace(b"y" * 100, b"y" * 99 + b"x", 1)
    path.write_bytes(gzip.compress(data))
    seal(copy)
    other.nodes[0].backup("verify", copy)
    with pytest.raises(CommandExecutionError, match=words):
        other.nodes[0].backup("restore", copy)


def test_what_is_there_is_not_removed_by_mistake(copy, other, theirs):
    before = contents(theirs)
    node = other.nodes[0]
    with pytest.raises(
        CommandExecutionError, match="shop with 1 collections and about 1 documents"
    ):
        node.backup("restore", copy)
    for confirm in (None, "rs0", True):
        with pytest.raises(CommandExecutionError, match="to do it say confirm=other"):
            node.backup("restore", copy, drop=True, confirm=confirm)
    assert contents(theirs) == before


def test_a_target_that_cannot_be_reached_is_refused(made, other, theirs):
    folder, ends = made
    before = contents(theirs)
    one, two = (str(folder / f"{number}.bson.gz") for number in (1, 2))

    def refused(words, kind=CommandExecutionError, **options):
        with pytest.raises(kind, match=words):
            other.nodes[0].backup("restore", folder / "one", drop=True, confirm="other", **options)
        assert contents(theirs) == before

    refused("is before .* take an older one", target="1000:1", oplog=[one])
    refused("is before .* take an older one", target="2020-01-01T00:00:00Z", oplog=[one])
    refused("is after .* give the files that follow", target="4000000000:77", oplog=[one])
    refused("is after .* give the files that follow", target="2090-01-01T00:00:00+01:00")
    refused("what lies between them is missing", oplog=[two])
    refused("what lies between them is missing", oplog=[two], target=ends[2]["time"])
    refused("has no zone: write", kind=SaltInvocationError, target="2026-11-28T03:12:00")
    refused("is no target: write an operation time", kind=SaltInvocationError, target="yesterday")
    refused("No such file", oplog=[str(folder / "3.bson.gz")])


def test_each_time_in_the_oplog_can_be_had(made, other, theirs):
    folder, ends = made
    paths = [str(folder / f"{number}.bson.gz") for number in (1, 2)]
    for number, end in enumerate(ends):
        back = other.nodes[0].backup(
            "restore", folder / "one", target=end["time"], oplog=paths, drop=True, confirm="other"
        )
        assert back["to"] == end
        assert theirs.shop.ledger.count_documents({}) == number
        assert theirs.shop.things.count_documents({"n": 1}) == 3000


def test_what_the_oplog_cannot_mean_is_refused_before_all_else(made, other, theirs, tmp_path):
    folder, ends = made
    before = contents(theirs)
    last = [bytes(entry.raw) for entry in files.entries(folder / "one" / "oplog.bson")][-1]
    seconds = int(ends[0]["time"].split(":")[0]) + 1
    strange = {
        "ts": Timestamp(seconds, 1),
        "op": "c",
        "ns": "shop.$cmd",
        "o": {"importCollection": "x"},
        "wall": ends[0]["wall"],
    }
    (tmp_path / "x.bson.gz").write_bytes(gzip.compress(last + encode(strange)))
    with pytest.raises(CommandExecutionError, match="importCollection .* cannot be replayed"):
        other.nodes[0].backup(
            "restore",
            folder / "one",
            oplog=[str(tmp_path / "x.bson.gz")],
            drop=True,
            confirm="other",
        )
    assert contents(theirs) == before


DUMPER = """
import json, os, pathlib, signal, sys
from tests.functional.mongodb.conftest import Node
told = json.loads(sys.stdin.read())
node = Node("db-x", pathlib.Path(told["folder"]), told["pillar"], told["port"])
inside = node._modules["mongodb_backup.dump"].__globals__
copy = inside["_copy"]
def copy_and_stop(*args):
    trouble = copy(*args)
    os.kill(os.getpid(), signal.SIGSTOP)
    return trouble
inside["_copy"] = copy_and_stop
node.backup("dump", told["target"], primary=True)
"""


def test_only_a_backup_that_is_named_twice_is_removed(copy, other):
    node = other.nodes[0]
    for confirm in (None, "two"):
        with pytest.raises(CommandExecutionError, match="this removes the backup .*confirm=one"):
            node.backup("remove", copy, confirm=confirm)
    (copy.parent / "papers").mkdir()
    with pytest.raises(CommandExecutionError, match="papers is no backup"):
        node.backup("remove", copy.parent / "papers", confirm="papers")
    assert node.backup("remove", copy, confirm="one") is True
    assert sorted(path.name for path in copy.parent.iterdir()) == [".mongodb_backup.lock", "papers"]


def test_what_a_restore_would_remove_can_be_seen(other, theirs):
    assert other.nodes[0].backup("contents") == {"shop": {"things": 1}}


def test_a_dump_that_is_killed_half_way_is_no_backup(other_source, tmp_path):
    client = other_source.rs.client()
    majority(client, "shop").half.insert_many({"_id": n} for n in range(100))
    secrets = {"mongodb_admin": other_source.admin_password}
    told = {
        "folder": str(tmp_path / "minion"),
        "pillar": {"mongodb": {"admin_user": "admin"}, "secrets": secrets},
        "port": other_source.rs.members[0].port,
        "target": str(tmp_path / "backups" / "one"),
    }
    backups = tmp_path / "backups"
    backups.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", DUMPER], stdin=subprocess.PIPE, text=True, cwd=ROOT
    )
    node = other_source.nodes[0]
    try:
        process.stdin.write(json.dumps(told))
        process.stdin.close()
        until(
            lambda: pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2][1],
            60,
            "the dump has stopped in its middle",
            wanted="T",
        )
        assert list((backups / ".one.partial").rglob("*.bson.gz"))
        assert node.backup("list", backups) == []
        # Meanwhile nobody else may think that it is dead.
        with pytest.raises(CommandExecutionError, match="another backup is being written"):
            node.backup("dump", backups / "two", primary=True)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert node.backup("list", backups) == []
    assert (backups / ".one.partial").exists()
    node.backup("dump", backups / "two", primary=True)
    assert [row["name"] for row in node.backup("list", backups)] == ["two"]
    assert not (backups / ".one.partial").exists()
    flip(backups / "two" / "manifest.json")
    [row] = node.backup("list", backups)
    assert "manifest.json" in row["problem"]
