"""Backups that are encrypted: made, looked at, restored and decrypted with keys of the pillar."""

import base64
import gzip
import os

import bson
import pytest
from salt.exceptions import CommandExecutionError

from tests.functional.mongodb.backups import contents, differing, furnish, majority
from tests.functional.mongodb.conftest import Node
from tests.functional.mongodb.followers import Follower
from tests.support.loading import load
from tests.support.waiting import until

crypt = load("_utils/mongodb_crypt.py")
files = load("_utils/mongodb_files.py")


def new_key():
    return base64.b64encode(os.urandom(32)).decode()


def known_as(key):
    return crypt.identity(base64.b64decode(key))


OLD, NEW = new_key(), new_key()


def having(key=None, old=()):
    """Return these keys as they are in a pillar."""
    return {"mongodb_backup_old_keys": list(old), **({"mongodb_backup_key": key} if key else {})}


def minion(cluster, name, key=None, old=(), **settings):
    """Return a minion of the cluster's first member that has these keys."""
    secrets = {"mongodb_admin": cluster.admin_password, **having(key, old)}
    folder = cluster.folder / name
    folder.mkdir(exist_ok=True)
    pillar = {"mongodb": {"admin_user": "admin", **settings}, "secrets": secrets}
    return Node(name, folder, pillar, cluster.rs.members[0].port)


@pytest.fixture(scope="module")
def made(other_source, tmp_path_factory):
    """A backup and a file of the oplog with the old key, and what the set held then."""
    folder = tmp_path_factory.mktemp("encrypted")
    client = other_source.rs.client()
    furnish(client)
    node = minion(other_source, "writes", OLD)
    shop = majority(client, "shop")
    with pytest.MonkeyPatch.context() as patch:
        change = {"$set": {"n": "a word"}}
        node.meanwhile(patch, lambda: shop.things.update_many({}, change), after=5)
        info = node.backup("dump", folder / "one", primary=True)
    before = contents(client)
    shop.ledger.insert_one({"_id": "later"})
    copied = node.backup("copy_oplog", folder / "1.bson.gz", info["to"]["time"])
    assert info["encrypted"] == copied["encrypted"] == known_as(OLD)
    return folder, before, contents(client)


@pytest.fixture
def theirs(other):
    with other.rs.client() as client:
        yield client


def test_no_file_tells_what_was_written(made):
    folder, _, _ = made
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in ("manifest.json", files.LOCK):
            assert path.read_bytes().startswith(crypt.MAGIC)
    text = (folder / "one" / "manifest.json").read_text()
    assert "hash" not in text
    assert OLD not in text


def test_after_a_change_of_keys_it_is_verified_and_restored(made, other, theirs):
    folder, before, after = made
    node = minion(other, "rotated", NEW, [OLD])
    assert node.backup("verify", folder / "one")["files"] > 5
    back = node.backup("restore", folder / "one")
    assert back["unchecked"] == []
    assert back["operations"] >= 3000
    assert differing(before, contents(theirs)) == []
    more = [str(folder / "1.bson.gz")]
    node.backup("restore", folder / "one", oplog=more, drop=True, confirm="other")
    assert differing(after, contents(theirs)) == []


def test_without_its_key_nothing_is_touched(made, other, theirs):
    folder, _, _ = made
    majority(theirs, "shop").things.insert_one({"_id": "mine"})
    before = contents(theirs)
    for node in (minion(other, "none"), minion(other, "another", NEW)):
        for function, more in (("info", {}), ("verify", {}), ("restore", {"drop": True})):
            with pytest.raises(CommandExecutionError, match=f"with the key {known_as(OLD)}, which"):
                node.backup(function, folder / "one", **more)
        # What must be known to keep and remove backups is known without it.
        [row] = node.backup("list", folder)
        assert (row["encrypted"], row["set"], row["problem"]) == (known_as(OLD), "source", None)
    assert contents(theirs) == before


def test_the_oplogs_key_is_asked_for_before_anything_is_touched(made, other, theirs, tmp_path):
    folder, _, _ = made
    plain = tmp_path / "plain"
    minion(other, "old", OLD).backup("decrypt", folder / "one", plain)
    majority(theirs, "shop").things.insert_one({"_id": "mine"})
    before = contents(theirs)
    more = {"oplog": [str(folder / "1.bson.gz")], "drop": True, "confirm": "other"}
    with pytest.raises(CommandExecutionError, match=r"1\.bson\.gz is encrypted with the key"):
        minion(other, "none").backup("restore", plain, **more)
    assert contents(theirs) == before


def test_a_plain_copy_is_what_mongodump_makes(made, other, theirs, tmp_path):
    folder, before, _ = made
    node = minion(other, "old", OLD)
    copy = node.backup("decrypt", folder / "one", tmp_path / "plain")
    assert copy["encrypted"] is None
    source = node.backup("info", folder / "one")
    for name in ("to", "from", "set", "collections", "entries"):
        assert copy[name] == source[name]
    with gzip.open(tmp_path / "plain" / "shop" / "accounts.bson.gz") as file:
        assert sum(1 for _ in bson.decode_file_iter(file)) == 50
    assert (tmp_path / "plain").stat().st_mode & 0o777 == 0o700
    # Who has no key at all reads it.
    without = minion(other, "none")
    without.backup("restore", tmp_path / "plain")
    assert differing(before, contents(theirs)) == []
    with pytest.raises(CommandExecutionError, match="is not encrypted: mongorestore --gzip reads"):
        node.backup("decrypt", tmp_path / "plain", tmp_path / "again")
    with pytest.raises(CommandExecutionError, match="with the key"):
        without.backup("decrypt", folder / "one", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_an_archive_goes_on_with_another_key_and_is_drilled(other_source, tmp_path):
    client, member = other_source.rs.client(), other_source.rs.members[0]
    archive = tmp_path / "oplog"
    archive.mkdir()
    rotated = minion(other_source, "rotated", NEW, [OLD])
    first = minion(other_source, "old", OLD)
    info = first.backup("dump", tmp_path / "one", primary=True)

    def kept(until_, keys):
        """Keep the oplog for as long as it takes to have a time in the archive."""
        follower = Follower(other_source, member, archive, more=having(*keys))
        try:
            until(
                lambda: (rotated.archive("status", archive)["recoverable_until"] or {}).get("wall"),
                60,
                "it has been kept",
                wanted=lambda wall: wall and wall >= until_,
            )
            # What is still open is read as well.
            chain = rotated.archive("chain", archive, info["to"]["time"])
        finally:
            follower.kill()
        return chain

    for number, keys in enumerate(((OLD,), (NEW, [OLD]))):
        majority(client, "shop").ledger.insert_one({"_id": f"kept-{number}"})
        wall = client.admin.command("hello")["lastWrite"]["lastWriteDate"]
        chain = kept(wall.isoformat(), keys)
    assert len(chain["paths"]) >= 2
    segments = [path.read_bytes() for path in archive.rglob("*.bson.gz")]
    assert all(each.startswith(crypt.MAGIC) for each in segments)
    assert {each[8:16].hex() for each in segments} == {known_as(OLD), known_as(NEW)}
    more = {"oplog": chain["paths"], "target": chain["recoverable_until"]["time"]}
    scratch = str(tmp_path / "scratch")
    told = rotated.drill("run", str(tmp_path / "one"), scratch=scratch, **more)
    assert told["to"] == chain["recoverable_until"]
    assert told["operations"] >= 2
    with pytest.raises(CommandExecutionError, match=f"with the key {known_as(NEW)}, which"):
        first.drill("run", str(tmp_path / "one"), scratch=scratch, **more)


def test_where_a_key_is_promised_nothing_is_written_without(other, tmp_path):
    node = minion(other, "promised", backup_key_pillar="secrets:mine")
    for function, more in (("dump", ()), ("copy_oplog", ("1:1",))):
        with pytest.raises(CommandExecutionError, match="no key at secrets:mine, where"):
            node.backup(function, tmp_path / "one", *more)
    assert list(tmp_path.iterdir()) == []
