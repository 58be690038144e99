"""A member that cannot catch up is told as that, and brought back without a risk for the others."""

import re
import shutil
import time

import pytest
from salt.exceptions import CommandExecutionError

from tests.support.mongod import AS_DECLARED, replica_set
from tests.support.waiting import until

from .conftest import Cluster

ASIDE = "before-resync"
PIECE = "x" * 100_000
# A checkpoint each second: an oplog forgets nothing that a restart would need.
QUICK = (*AS_DECLARED, "--syncdelay", "1")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A set of three whose oplogs hold a MiB."""
    with replica_set(3, auth=True, oplog_mib=1, settings=QUICK) as rs:
        yield Cluster(rs, tmp_path_factory.mktemp("minions"))


@pytest.fixture
def cluster(small):
    yield small
    for member in small.rs.members:
        shutil.rmtree(member.folder / "data" / ASIDE, ignore_errors=True)
    small.rs.heal()


def oldest(cluster, member):
    login = {"username": "admin", "password": cluster.admin_password}
    with member.client(authMechanism="SCRAM-SHA-256", **login) as client:
        return client.local["oplog.rs"].find_one({}, sort=[("$natural", 1)])["ts"]


def write_all_over(cluster, members):
    """Write until nothing of before is in these members' oplogs."""
    before = [oldest(cluster, member) for member in members]
    with cluster.rs.client() as client:
        last = client.admin.command("hello")["lastWrite"]["opTime"]["ts"]

        def rolled():
            client.test.filling.insert_many([{"piece": PIECE} for _ in range(10)])
            return all(oldest(cluster, member) > last for member in members)

        until(rolled, 60, f"the oplogs reach no further back than {last}, from {before}")


@pytest.fixture
def stale(cluster):
    """A member that cannot catch up any more."""
    cluster.rs.wait_secondaries(2)
    member = cluster.rs.secondaries()[0]
    with cluster.rs.client() as client:
        client.test.counters.replace_one({"_id": 1}, {"_id": 1, "hits": 4711}, upsert=True)
    member.stop()
    write_all_over(cluster, [each for each in cluster.rs.members if each is not member])
    member.start()
    return member


def confirmation(member):
    return f"{member.address}{member.folder / 'data'}"


def count(cluster, member):
    login = {"username": "admin", "password": cluster.admin_password}
    with member.client(authMechanism="SCRAM-SHA-256", **login) as client:
        return client.test.counters.find_one({"_id": 1})["hits"]


def test_a_member_that_is_too_stale_is_told_and_brought_back(cluster, stale):
    node, watcher = cluster.of(stale), cluster.primary
    pattern = (
        rf"{stale.address} is RECOVERING: it cannot catch up: its last write is of \d{{4}}-.* UTC,"
        r" and the oldest entry in the others' oplogs is of \d{4}-.* UTC; it has to copy all data"
        r" anew: mongodb.resync on its node"
    )
    for each in (watcher, node):
        found = until(
            lambda each=each: each.call("healthy"),
            30,
            "it is told",
            wanted=lambda found: found["notes"] and "cannot" in found["notes"][0],
        )
        assert found["healthy"] is True
        assert re.fullmatch(pattern, found["notes"][0])
        assert re.fullmatch(pattern, each.call("healthy", require="all")["reasons"][0])
    entry = next(m for m in watcher.call("status")["members"] if m["name"] == stale.address)
    assert entry["trouble"].startswith("it cannot catch up: its last write is of ")
    # No time is long enough for it.
    began = time.monotonic()
    with pytest.raises(CommandExecutionError, match="cannot catch up"):
        node.call("wait_member", timeout=60)
    assert time.monotonic() - began < 20

    # Nothing happens without the word for what will be gone.
    for word in (None, stale.address, "127.0.0.1:1/nowhere", True):
        with pytest.raises(CommandExecutionError, match=f"say confirm={confirmation(stale)}$"):
            node.call("resync", confirm=word)
    assert stale.running
    assert node.call("status")["state"] == "RECOVERING"

    back = node.call("resync", confirm=confirmation(stale))
    assert back["state"] == "SECONDARY"
    assert (back["member"], back["dbpath"]) == (stale.address, str(stale.folder / "data"))
    assert back["destroyed"] > 2**20
    assert back["kept"] is True
    assert not (stale.folder / "data" / ASIDE).exists()
    assert watcher.call("wait_healthy", require="all", timeout=30) is True
    assert watcher.call("healthy")["notes"] == []
    assert count(cluster, stale) == 4711


def test_how_far_an_oplog_reaches_is_told_and_changed(cluster):
    watcher, member = cluster.primary, cluster.rs.secondaries()[0]
    seen = watcher.call("oplog", member.address)
    assert seen["max_mib"] == 1
    assert seen["oldest"] <= seen["newest"]
    assert seen["hours"] < 1
    with pytest.raises(CommandExecutionError, match="990"):
        watcher.call("resize_oplog", 64)
    node = cluster.of(member)
    assert node.call("resize_oplog", 990, min_hours=0)["max_mib"] == 990
    assert node.call("oplog")["max_mib"] == 990
    assert watcher.call("oplog")["max_mib"] == 1


def test_the_primary_is_refused(cluster):
    primary = cluster.rs.wait_primary()
    with pytest.raises(CommandExecutionError, match="is the primary: let it step down first"):
        cluster.of(primary).call("resync", confirm=confirmation(primary))
    assert primary.running


def test_no_majority_without_it_is_refused(cluster):
    lost, asked = cluster.rs.secondaries()
    lost.stop()
    watcher = cluster.primary
    until(
        lambda: watcher.call("healthy", require="all")["healthy"],
        30,
        "the loss is noticed",
        wanted=False,
    )
    words = r"without it only 1 of 3 votes are of members that have the data and are up: .*is \(not"
    with pytest.raises(CommandExecutionError, match=words):
        cluster.of(asked).call("resync", confirm=confirmation(asked))
    assert asked.running


def test_without_a_proof_that_the_others_have_all_it_goes_on_as_it_was(cluster, monkeypatch):
    asked, late = cluster.rs.secondaries()
    node = cluster.of(asked)
    inside = node._modules["mongodb.resync"].__globals__
    monkeypatch.setitem(inside, "MAJORITY", {"w": "majority", "wtimeout": 500})
    login = {"username": "admin", "password": cluster.admin_password}
    with late.client(authMechanism="SCRAM-SHA-256", **login) as client:
        # It applies nothing meanwhile, so what was acknowledged may be on two members alone.
        client.admin.command("fsync", lock=True)
        try:
            with pytest.raises(CommandExecutionError, match="showing that the others hold all"):
                node.call("resync", confirm=confirmation(asked))
        finally:
            client.admin.command("fsyncUnlock")
    assert asked.running
    assert node.call("wait_member", timeout=30)["state"] == "SECONDARY"
    assert not (asked.folder / "data" / ASIDE).exists()


def test_one_whose_data_are_damaged_and_whose_mongod_does_not_run(cluster):
    member = cluster.rs.secondaries()[0]
    node, contact = cluster.of(member), cluster.rs.wait_primary().address
    member.stop()
    for path in (member.folder / "data").glob("collection-*"):
        path.write_bytes(b"nonsense")
    with pytest.raises(CommandExecutionError, match="does not tell which member it is"):
        node.call("resync", confirm=confirmation(member))
    other = next(each for each in cluster.rs.secondaries() if each is not member)
    asked = {"confirm": confirmation(member), "address": contact}
    with pytest.raises(CommandExecutionError, match="it is SECONDARY, and this node's mongod is"):
        node.call("resync", member=other.address, **asked)
    back = until(
        lambda: node.call("resync", member=member.address, **asked),
        60,
        "the others have noticed that it is down",
        ignoring=(CommandExecutionError,),
    )
    assert back["state"] == "SECONDARY"
    assert member.running
    assert cluster.primary.call("wait_healthy", require="all", timeout=30) is True


def test_a_resync_that_died_is_begun_anew_and_keeps_what_was_there_first(cluster, monkeypatch):
    member = cluster.rs.secondaries()[0]
    node, data = cluster.of(member), member.folder / "data"
    (data / "of-old").write_text("as it was")
    hang = "failpoint.initialSyncHangBeforeCopyingDatabases={'mode': 'alwaysOn'}"
    usual = member.settings
    member.settings = (
        *usual,
        *("--setParameter", "enableTestCommands=1", "--setParameter", hang),
    )
    words = f"STARTUP2: it copies all data.*; what it had is in {data}/{ASIDE}"
    try:
        with pytest.raises(CommandExecutionError, match=words):
            node.call("resync", confirm=confirmation(member), data_timeout=3)
    finally:
        member.settings = usual
    kept = {path.name for path in (data / ASIDE).iterdir()}
    assert {"of-old", "WiredTiger"} <= kept
    assert "of-old" not in {path.name for path in data.iterdir()}
    member.stop()
    member.start()
    node.call("wait_member", timeout=60)
    back = node.call("resync", confirm=confirmation(member))
    assert back["state"] == "SECONDARY"
    assert not (data / ASIDE).exists()


def test_another_folder_than_its_own_is_never_touched(cluster, tmp_path):
    member = cluster.rs.secondaries()[0]
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "letter").write_text("dear reader")
    for folder, words in (
        (precious, "holds something else than a mongod's data"),
        (tmp_path / "none", "there is no folder"),
        ("/", "can be no data folder"),
        (cluster.rs.wait_primary().folder / "nothing", "there is no folder"),
    ):
        node = cluster.node(member, "elsewhere", dbpath=str(folder))
        with pytest.raises(CommandExecutionError, match=f"{words}.*set mongodb:dbpath"):
            node.call("resync", confirm=f"{member.address}{folder}")
    empty = tmp_path / "empty"
    empty.mkdir()
    node = cluster.node(member, "elsewhere", dbpath=str(empty))
    with pytest.raises(CommandExecutionError, match="no running mongod has its data in"):
        node.call("resync", confirm=f"{member.address}{empty}")
    assert (precious / "letter").exists()
    assert member.running
