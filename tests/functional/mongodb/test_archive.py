"""The oplog kept without a break by processes that die, and any second restored from it."""

import contextlib
import datetime
import itertools
import threading

import pytest
from bson import Timestamp
from pymongo.errors import PyMongoError
from salt.exceptions import CommandExecutionError, SaltInvocationError

from tests.functional.mongodb.backups import contents, differing, furnish, majority
from tests.functional.mongodb.conftest import Cluster
from tests.functional.mongodb.followers import Follower
from tests.support.mongod import replica_set
from tests.support.waiting import until


class Counting:
    """A writer that notes when each of its inserts was begun and acknowledged."""

    def __init__(self, rs):
        self._rs = rs
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        #: Of each number: when its insert was begun, and when it was acknowledged, if it was.
        self.begun = {}
        self.acknowledged = {}

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _run(self):
        with self._rs.client(retryWrites=False) as client:
            ledger = majority(client, "shop").ledger
            for number in itertools.count():
                if self._stop.is_set():
                    return
                self.begun[number] = now()
                with contextlib.suppress(PyMongoError):
                    ledger.insert_one({"_id": number})
                    self.acknowledged[number] = now()

    def check(self, numbers, target):
        """See that a set has what was acknowledged until a moment, and nothing begun later."""
        sure = {number for number, when in list(self.acknowledged.items()) if when <= target}
        possible = {number for number, when in list(self.begun.items()) if when <= target}
        assert sure
        assert sure <= numbers
        assert numbers <= possible


def now():
    return datetime.datetime.now(datetime.UTC)


@pytest.fixture(scope="module")
def _running_cluster(tmp_path_factory):
    """A set of its own: what other tests have renamed would be in its oplog, and noted."""
    with replica_set(3, auth=True) as rs:
        yield Cluster(rs, tmp_path_factory.mktemp("archived"))


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "oplog"
    path.mkdir()
    return path


@pytest.fixture
def follow(folder):
    """Return a maker of followers; what a test leaves is killed."""
    made = []

    def make(cluster, number=0, **kwargs):
        made.append(Follower(cluster, cluster.rs.members[number], folder, **kwargs))
        return made[-1]

    yield make
    for each in made:
        each.kill()


def held_by(node, folder, follower, timeout=60):
    return until(
        lambda: node.archive("status", folder),
        timeout,
        f"{follower.name} keeps the oplog",
        wanted=lambda seen: (
            seen["holder"] == follower.name and seen["member"] and seen["recoverable_until"]
        ),
    )


def reaches(node, folder, client, timeout=60):
    """Wait until the archive has all that is committed now; return its status."""
    written = client.admin.command("hello")["lastWrite"]["opTime"]["ts"]

    def reached(seen):
        until_ = seen["recoverable_until"]
        return until_ and Timestamp(*map(int, until_["time"].split(":"))) >= written

    return until(
        lambda: node.archive("status", folder),
        timeout,
        f"the archive reaches {written}",
        wanted=reached,
    )


def test_any_second_comes_back_though_writers_of_the_archive_die(
    source, other, folder, tmp_path, follow
):
    furnish(source.client)
    node = source.nodes[0]
    followers = [follow(source, 0)]
    held_by(node, folder, followers[0])
    followers.append(follow(source, 1))
    made = source.secondaries[0].backup("dump", tmp_path / "one")
    with Counting(source.rs) as counting:
        targets = []
        for number in (0, 1, 0):
            holder = followers[number]
            before = len(list(folder.glob("*/*.bson.gz")))
            until(
                lambda before=before: len(list(folder.glob("*/*.bson.gz"))),
                60,
                "a segment was sealed",
                wanted=lambda count, before=before: count >= before + 2,
            )
            targets.append(now())
            # In the middle of a segment, with what it has not yet on the disk.
            holder.kill()
            held_by(node, folder, followers[1 - number])
            followers[number] = follow(source, number)
        targets.append(now())
        reaches(node, folder, source.client)
    status = reaches(node, folder, source.client)
    assert status["problem"] is None
    assert status["timeline"] == made["timeline"]
    after = made["to"]["time"]
    with other.rs.client() as theirs:
        for target in targets:
            chained = node.archive("chain", folder, after, until=target.isoformat())
            other.nodes[0].backup(
                "restore",
                tmp_path / "one",
                oplog=chained["paths"],
                target=target.isoformat(),
                drop=True,
                confirm="other",
            )
            counting.check({row["_id"] for row in theirs.shop.ledger.find()}, target)
        # And all of it, with what is in the file that is being written.
        majority(source.client, "shop").ledger.insert_one({"_id": "last"})
        reaches(node, folder, source.client)
        chained = until(
            lambda: node.archive("chain", folder, after, timeline=made["timeline"]),
            60,
            "the last file is being written",
            wanted=lambda seen: "-open-" in seen["paths"][-1],
        )
        other.nodes[0].backup(
            "restore", tmp_path / "one", oplog=chained["paths"], drop=True, confirm="other"
        )
        assert differing(contents(source.client), contents(theirs)) == []
    assert not list(folder.glob("*/*.json"))


def test_who_is_stopped_hands_over_at_once_and_leaves_nothing_open(source, folder, follow):
    node = source.nodes[0]
    one = follow(source, 0, lease_seconds=60)
    held_by(node, folder, one)
    two = follow(source, 1, lease_seconds=60)
    majority(source.client, "shop").rows.insert_one({"_id": 1})
    done = one.stop()
    assert done["folder"] == str(folder)
    assert done["entries"] >= 1
    assert done["sealed"] >= 1
    # Long before the first one could be taken for dead.
    held_by(node, folder, two, 45)
    two.stop()
    assert not list(folder.glob("*/*open*"))
    status = node.archive("status", folder)
    assert status["holder"] is None
    assert "nobody keeps the oplog: db-2 was the last, until" in status["problem"]
    assert status["recoverable_until"]


def test_who_cannot_log_in_leaves_it_to_others(source, folder, follow):
    node = source.nodes[0]
    wrong = follow(source, 0, password="wr0ng")
    until(lambda: "is not kept at the moment" in wrong.log, 60, "it says why it waits")
    assert "the server refuses the login of admin" in wrong.log
    right = follow(source, 1)
    held_by(node, folder, right)
    assert "wr0ng" not in wrong.log


def test_it_goes_on_when_a_server_or_the_volume_was_away(source, folder, follow):
    node = source.nodes[0]
    rows = majority(source.client, "shop").rows
    follower = follow(source, 0)
    held_by(node, folder, follower)
    # It reads a secondary, and another one when that is gone.
    member = next(
        each
        for each in source.rs.members
        if each.address.endswith(held_by(node, folder, follower)["member"].rpartition(":")[2])
    )
    assert member in source.rs.secondaries()
    member.kill()
    rows.insert_one({"_id": 1})
    assert reaches(node, folder, source.client)["problem"] is None
    member.start()
    # Its own and all others: then it waits, and says so.
    for each in source.rs.members:
        each.kill()
    until(lambda: "answers as primary or secondary" in follower.log, 60, "it says why it waits")
    source.rs.heal()
    rows.insert_one({"_id": 2})
    reaches(node, folder, source.client)
    folder.rename(folder.with_name("away"))
    until(lambda: "No such file or directory" in follower.log, 60, "it says why it waits")
    assert "cannot be read" in node.archive("status", folder)["problem"]
    rows.insert_one({"_id": 3})
    assert not folder.exists()
    folder.with_name("away").rename(folder)
    status = reaches(node, folder, source.client)
    assert status["since"]["why"] is None
    assert "all is well again" in follower.log
    # It says so once, and not each second.
    assert len(follower.log.splitlines()) < 40
    follower.stop()
    first = sorted(folder.glob("*/*.bson.gz"))[0].name.split("-")[0].split(".")
    begin = ":".join(str(int(part)) for part in first)
    assert node.archive("chain", folder, begin)["paths"]


def test_a_gap_is_told_and_the_archive_goes_on_behind_it(other, folder, tmp_path, follow):
    node = other.nodes[0]
    with other.rs.client() as client:
        rows = majority(client, "shop").rows
        follower = follow(other)
        held_by(node, folder, follower)
        rows.insert_one({"_id": 1})
        reaches(node, folder, client)
        made = node.backup("dump", tmp_path / "one", primary=True)
        follower.stop()
        text = "x" * (1 << 20)
        ended = made["to"]["time"]
        lost = Timestamp(*map(int, ended.split(":")))

        def write_more():
            for number in range(20):
                new = {"_id": "large", "n": number, "text": text}
                rows.replace_one({"_id": "large"}, new, upsert=True)
            # What a checkpoint does not have yet is kept.
            client.admin.command("fsync")
            return first_of_oplog(client)

        until(write_more, 120, "the oplog has rolled over", wanted=lambda first: first > lost)
        rows.delete_one({"_id": "large"})
        follower = follow(other)
        held_by(node, folder, follower)
        status = reaches(node, folder, client)
        assert "was not in the oplog any more" in status["since"]["why"]
        assert status["since"]["wall"]
        problem = node.archive("status", folder, base=ended)["problem"]
        assert "the newest backup is of" in problem
        assert "make a backup" in problem
        with pytest.raises(CommandExecutionError, match="is missing on timeline"):
            node.archive("chain", folder, ended)
        # A new base is enough.
        again = node.backup("dump", tmp_path / "two", primary=True)
        rows.insert_one({"_id": 2})
        reaches(node, folder, client)
        chained = node.archive("chain", folder, again["to"]["time"])
        assert chained["paths"]
        assert node.archive("status", folder, base=again["to"]["time"])["problem"] is None
        # What was before the gap is as good as it was.
        kept = node.archive("chain", folder, ended, until=ended)
        assert kept["paths"] == []
        pruned = node.archive("prune", folder, again["to"]["time"])
        assert pruned["removed"] >= 1
        assert node.archive("status", folder)["since"]["why"] is None


def first_of_oplog(client):
    return client.local["oplog.rs"].find_one(sort=[("$natural", 1)])["ts"]


def test_a_restore_ends_a_timeline_and_none_is_mixed_with_another(other, folder, tmp_path, follow):
    node = other.nodes[0]
    with other.rs.client() as client:
        rows = majority(client, "shop").rows
        rows.insert_one({"_id": 1})
        follower = follow(other)
        held_by(node, folder, follower)
        one = node.backup("dump", tmp_path / "one", primary=True)
        rows.insert_one({"_id": 2})
        reaches(node, folder, client)
        wanted = node.archive("chain", folder, one["to"]["time"], timeline=one["timeline"])
        rows.insert_one({"_id": "not wanted"})
        reaches(node, folder, client)
        back = node.backup(
            "restore",
            tmp_path / "one",
            oplog=wanted["paths"],
            target=wanted["recoverable_until"]["time"],
            drop=True,
            confirm="other",
        )
        rows.insert_one({"_id": 3})
        status = reaches(node, folder, client)
        assert status["timeline"] == back["timeline"] != one["timeline"]
        assert status["since"]["why"] is None
        two = node.backup("dump", tmp_path / "two", primary=True)
        rows.insert_one({"_id": 4})
        reaches(node, folder, client)
        chained = node.archive("chain", folder, two["to"]["time"], timeline=two["timeline"])
        assert {row["_id"] for row in rows.find()} == {1, 2, 3, 4}
        # The old one goes on to the restore, and nothing of the new one follows it.
        old = node.archive("chain", folder, one["to"]["time"], timeline=one["timeline"])
        with pytest.raises(CommandExecutionError, match="what lies between them is missing"):
            node.backup(
                "restore",
                tmp_path / "one",
                oplog=old["paths"] + chained["paths"],
                drop=True,
                confirm="other",
            )
        with pytest.raises(CommandExecutionError, match="is missing on timeline"):
            node.archive("chain", folder, one["to"]["time"], timeline=two["timeline"])
        for name, paths, ids in (
            ("one", old["paths"], {1, 2, "not wanted"}),
            ("two", chained["paths"], {1, 2, 3, 4}),
        ):
            node.backup("restore", tmp_path / name, oplog=paths, drop=True, confirm="other")
            assert {row["_id"] for row in rows.find()} == ids


def test_nothing_is_kept_of_a_set_that_is_half_restored(
    other, folder, tmp_path, follow, monkeypatch
):
    node = other.nodes[0]
    with other.rs.client() as client:
        majority(client, "shop").rows.insert_one({"_id": 1})
        follower = follow(other)
        held_by(node, folder, follower)
        node.backup("dump", tmp_path / "one", primary=True)
        inside = node._modules["mongodb_backup.restore"].__globals__

        def fail(*_):
            raise CommandExecutionError("died")

        with monkeypatch.context() as patch:
            patch.setitem(inside, "_compare", fail)
            with pytest.raises(CommandExecutionError, match="died"):
                node.backup("restore", tmp_path / "one", drop=True, confirm="other")
        status = until(
            lambda: node.archive("status", folder),
            60,
            "it says that it waits",
            wanted=lambda seen: "half restored" in (seen["problem"] or ""),
        )
        # Also who begins only now.
        follower.kill()
        follower = follow(other)
        until(lambda: "half restored" in follower.log, 60, "the next one waits as well")
        back = node.backup("restore", tmp_path / "one", drop=True, confirm="other")
        after = reaches(node, folder, client)
        assert (after["timeline"], after["problem"]) == (back["timeline"], None)
        assert status["timeline"] != back["timeline"]


def test_a_rename_asks_for_a_new_backup_and_can_be_replayed(
    other_source, other, folder, tmp_path, follow
):
    node = other_source.nodes[0]
    with other_source.rs.client() as client, other.rs.client() as theirs:
        shop = majority(client, "renames")
        shop.rows.insert_many({"_id": n} for n in range(10))
        follower = follow(other_source)
        held_by(node, folder, follower)
        made = node.backup("dump", tmp_path / "one", primary=True)
        shop.rows.aggregate([{"$out": "copy"}])
        reaches(node, folder, client)
        assert node.archive("status", folder, base=made["to"]["time"])["problem"] is None
        client.admin.command(
            {"renameCollection": "renames.rows", "to": "renames.old"},
            writeConcern={"w": "majority"},
        )
        shop.old.insert_one({"_id": 10})
        status = reaches(node, folder, client)
        assert status["since"]["why"] == "renames.rows was renamed to renames.old"
        problem = node.archive("status", folder, base=made["to"]["time"])["problem"]
        assert "renames.rows was renamed to renames.old): make a backup" in problem
        chained = node.archive("chain", folder, made["to"]["time"])
        other.nodes[0].backup("restore", tmp_path / "one", oplog=chained["paths"])
        assert differing(contents(client), contents(theirs)) == []
        client.drop_database("renames")


def test_what_cannot_be_meant_is_refused(other, folder, tmp_path):
    node = other.nodes[0]
    for kwargs in ({"seal_mib": 0}, {"sync_seconds": "10"}, {"lease_seconds": True}):
        with pytest.raises(SaltInvocationError, match="must be a number above 0"):
            node.archive("follow", folder, **kwargs)
    with pytest.raises(SaltInvocationError, match="write the whole path"):
        node.archive("status", "relative")
    with pytest.raises(SaltInvocationError, match="must be an operation time"):
        node.archive("chain", folder, "2026-11-28T03:12:00Z")
    with pytest.raises(CommandExecutionError, match="reaches 1:1 .* and not 2:2"):
        node.archive("chain", folder, "1:1", until="2:2")
    assert node.archive("chain", folder, "1:1")["paths"] == []
    with pytest.raises(CommandExecutionError, match="cannot be read: No such file"):
        node.archive("chain", tmp_path / "nowhere", "1:1")
    assert "nobody has ever kept the oplog" in node.archive("status", folder)["problem"]
