"""What an archive of the oplog is made of, without a server: segments, chains, lease, marks."""

import datetime
import gzip
import itertools
import json
import os

import bson
import pytest
from bson import Timestamp
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from salt.exceptions import CommandExecutionError

from tests.support.loading import load

archivers = load("_utils/mongodb_archiver.py")
crypt = load("_utils/mongodb_crypt.py")
files = load("_utils/mongodb_files.py")
leases = load("_utils/mongodb_lease.py")
oplog = load("_utils/mongodb_oplog.py")
segments = load("_utils/mongodb_segments.py")
timelines = load("_utils/mongodb_timeline.py")

WALL = datetime.datetime(2026, 11, 28, 3, 12, tzinfo=datetime.UTC)
KEYS = crypt.Keyring(b"k" * 32, [], "at secrets:key")
OPTIONS = CodecOptions(document_class=RawBSONDocument, tz_aware=True)


def at(number):
    return Timestamp(1795836000 + number, 1)


def entry(number, op="i", ns="shop.rows", o=None, **more):
    o = {"_id": number} if o is None else o
    wall = WALL + datetime.timedelta(seconds=number)
    told = {"op": op, "ns": ns, "o": o, "ts": at(number), "t": 1, "v": 2, "wall": wall, **more}
    return RawBSONDocument(bson.encode(told), OPTIONS)


def write(folder, numbers, token="aa", keys=None):
    """Return an open segment with these entries on the disk."""
    writer = segments.writer(folder, at(numbers[0]), token, files.sync_folder, keys)
    for number in numbers:
        content = {"_id": number, "text": os.urandom(10).hex()}
        writer.write(entry(number, o=content).raw, at(number))
    writer.sync()
    return writer


def numbers_in(path, read=files.chunks):
    return [each["ts"].time - 1795836000 for each in files.entries(path, read)]


# Segments


def test_a_sealed_segment_is_a_file_that_restore_takes(tmp_path):
    writer = write(tmp_path / "one", [1, 2])
    assert segments.is_segment(writer.path)
    writer.write(entry(3).raw, at(3))
    path = writer.seal()
    assert path.name == "1795836001.0000000001-1795836003.0000000001.bson.gz"
    assert segments.is_segment(path)
    assert not segments.is_segment(tmp_path / "0001.bson.gz")
    # What root of another node can make must stop nobody.
    assert not segments.is_segment(tmp_path / path.name.replace(path.name[:10], "9" * 10))
    assert numbers_in(path) == numbers_in(path, segments.chunks) == [1, 2, 3]
    assert gzip.decompress(path.read_bytes()).endswith(entry(3).raw)
    [segment] = segments.segments(tmp_path / "one")
    assert (segment.first, segment.last) == (at(1), at(3))
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    assert oct(path.parent.stat().st_mode & 0o777) == "0o700"


@pytest.mark.parametrize("keys", [None, KEYS], ids=["plain", "encrypted"])
@pytest.mark.parametrize("cut", ["nothing", "member", "entry", "garbage", "first"])
def test_what_a_dead_writer_left_is_read_as_far_as_it_is_whole(tmp_path, cut, keys):
    def read(path):
        return segments.chunks(path, keys)

    writer = write(tmp_path, [1, 2, 3], keys=keys)
    size = writer.path.stat().st_size
    writer.write(entry(4).raw, at(4))
    writer.sync()
    writer.leave()
    whole = {"nothing": [1, 2, 3, 4], "first": []}.get(cut, [1, 2, 3])
    if cut == "member":
        os.truncate(writer.path, writer.path.stat().st_size - 1)
    elif cut == "entry":
        os.truncate(writer.path, size + 20)
    elif cut == "garbage":
        with writer.path.open("r+b") as file:
            file.seek(size)
            file.write(b"\0" * 50)
    elif cut == "first":
        os.truncate(writer.path, size - 5)
    assert numbers_in(writer.path, read) == whole
    last = segments.last_entry(writer.path, keys)
    assert (last and last["ts"]) == (at(whole[-1]) if whole else None)
    left = writer.path.read_bytes()
    sealed = segments.salvage(tmp_path, files.sync_folder, keys)
    assert [numbers_in(path, read) for path in sealed] == ([whole] if whole else [])
    # What was whole is copied to the byte, and nothing else.
    assert all(left.startswith(path.read_bytes()) for path in sealed)
    assert keys is None or left.startswith(crypt.MAGIC)
    assert not writer.path.exists()
    # Who was told of the open one finds what it has become.
    if whole:
        assert numbers_in(writer.path, read) == whole
    else:
        with pytest.raises(CommandExecutionError, match="cannot be read: No such file"):
            numbers_in(writer.path, read)


@pytest.mark.parametrize("keys", [None, KEYS], ids=["plain", "encrypted"])
def test_a_sealed_segment_that_lost_its_end_is_damaged(tmp_path, keys):
    writer = write(tmp_path, [1, 2], keys=keys)
    size = writer.path.stat().st_size
    writer.write(entry(3).raw, at(3))
    path = writer.seal()
    # Between two members: what is left is whole.
    os.truncate(path, size)
    with pytest.raises(CommandExecutionError, match="is damaged: it does not end as its name says"):
        list(segments.chunks(path, keys))


def test_an_encrypted_segment_is_read_as_what_it_is_and_with_its_key(tmp_path):
    path = write(tmp_path / "one", [1, 2], keys=KEYS).seal()
    assert numbers_in(path, lambda path: segments.chunks(path, KEYS)) == [1, 2]
    other = crypt.Keyring(b"o" * 32, [], "at secrets:key")
    with pytest.raises(CommandExecutionError, match="is encrypted with the key"):
        list(segments.chunks(path, other))
    moved = tmp_path / "two" / path.name
    moved.parent.mkdir()
    path.rename(moved)
    with pytest.raises(
        CommandExecutionError, match="it was written as one/17958.*, and not as two/"
    ):
        list(segments.chunks(moved, KEYS))


def test_a_segment_of_which_not_even_the_head_is_whole_keeps_nobody_from_going_on(tmp_path):
    writer = write(tmp_path, [1], keys=KEYS)
    whole = writer.path.read_bytes()
    for size in range(120):
        writer.path.write_bytes(whole[:size])
        assert segments.salvage(tmp_path, files.sync_folder, KEYS) == []
        assert list(tmp_path.iterdir()) == []


def test_a_salvage_that_died_is_done_again(tmp_path):
    write(tmp_path, [1, 2]).leave()
    (tmp_path / f".x{segments.HALF_DONE}").write_bytes(b"x")
    [path] = segments.salvage(tmp_path, files.sync_folder)
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_lives_on_after_its_salvage_harms_nobody(tmp_path):
    writer = write(tmp_path, [1, 2])
    [path] = segments.salvage(tmp_path, files.sync_folder)
    writer.write(entry(3).raw, at(3))
    writer.sync()
    with pytest.raises(FileNotFoundError):
        writer.seal()
    assert numbers_in(path) == [1, 2]


def test_members_are_small_however_much_is_written_between_two_looks(tmp_path):
    writer = segments.writer(tmp_path, at(1), "aa", files.sync_folder)
    for number in range(1, 41):
        writer.write(entry(number, o={"text": "x" * (1 << 20)}).raw, at(number))
    writer.leave()
    chunks = list(segments.chunks(writer.path))
    assert len(chunks) >= 9
    assert max(map(len, chunks)) <= segments.MEMBER + (1 << 20) + 200


def sealed(folder, *spans):
    for first, last in spans:
        write(folder, list(range(first, last + 1))).seal()
    return segments.ended(segments.segments(folder))


def spans(found):
    return [(each.first.time - at(0).time, each.last.time - at(0).time) for each in found]


def test_a_chain_takes_as_few_segments_as_will_do(tmp_path):
    # Two wrote at once for a while.
    known = sealed(tmp_path, (1, 4), (4, 8), (4, 9), (5, 6), (9, 12), (8, 10), (12, 12))
    assert segments.breaks(known) == []
    assert spans(segments.covering(known, at(2))) == [(1, 4), (4, 9), (9, 12)]
    assert spans(segments.covering(known, at(9))) == [(9, 12)]
    assert spans(segments.covering(known, at(12))) == []


def test_gaps_are_seen_in_the_names(tmp_path):
    known = sealed(tmp_path, (1, 4), (6, 8), (8, 9))
    assert segments.breaks(known) == [(at(4), at(6))]
    assert spans(segments.covering(known, at(2))) == [(1, 4)]
    assert spans(segments.covering(known, at(5))) == []


def test_an_open_segment_ends_where_it_is_whole(tmp_path):
    writer = write(tmp_path, [1, 2])
    empty = segments.writer(tmp_path, at(3), "bb", files.sync_folder)
    writer.write(entry(3).raw, at(3))
    assert spans(segments.ended(segments.segments(tmp_path))) == [(1, 2)]
    writer.leave()
    empty.leave()


def test_pruning_leaves_what_reaches_over_the_time(tmp_path):
    sealed(tmp_path, (1, 4), (4, 8))
    write(tmp_path, [8, 9]).leave()
    for number in (3, 8):
        segments.note(tmp_path, "rename", at(number), {"number": number}, files.sync_folder)
    assert segments.prune(tmp_path, at(4)) == []
    assert len(segments.prune(tmp_path, at(6))) == 1
    assert spans(segments.ended(segments.segments(tmp_path))) == [(4, 8), (8, 9)]
    assert segments.notes(tmp_path) == [(at(8), {"kind": "rename", "number": 8})]
    assert len(segments.prune(tmp_path, at(99))) == 1
    # Who writes it will seal it.
    assert spans(segments.ended(segments.segments(tmp_path))) == [(8, 9)]


def test_timelines_go_by_their_newest_segment(tmp_path):
    sealed(tmp_path / "b", (1, 4))
    sealed(tmp_path / "a", (6, 8))
    (tmp_path / "empty").mkdir()
    (tmp_path / ".lease").touch()
    assert segments.timelines(tmp_path) == ["b", "a"]


# Lease


class Clock:
    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(leases.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def wait_for(lease, clock, seconds):
    """Look each interval; return after how many seconds it was ours, or None."""
    began = clock.now
    while clock.now - began <= seconds:
        if lease.acquire():
            return clock.now - began
        clock.now += lease.interval
    return None


def test_a_lease_is_taken_over_when_its_holder_says_nothing(tmp_path, clock):
    one, two = (leases.lease(tmp_path, name, 30) for name in ("db-1", "db-2"))
    assert wait_for(one, clock, 10) is not None
    for _ in range(20):
        assert one.beat({"timeline": "t"})
        assert not two.acquire()
        clock.now += 5
    took = wait_for(two, clock, 60)
    assert 30 <= took <= 45
    assert leases.read(tmp_path)["holder"] == "db-2"
    # The old one learns it with its next word, and takes nothing back.
    assert not one.beat({})
    assert not one.acquire()
    assert leases.read(tmp_path)["holder"] == "db-2"


def test_a_released_lease_is_had_at_once_by_one(tmp_path, clock):
    one, two, three = (leases.lease(tmp_path, name, 30) for name in ("db-1", "db-2", "db-3"))
    wait_for(one, clock, 10)
    one.release({"durable": 1})
    assert leases.read(tmp_path)["durable"] == 1
    two.acquire()
    three.acquire()
    clock.now += 5
    assert (two.acquire(), three.acquire()) == (True, False) or three.acquire()
    assert [two.beat({}), three.beat({})].count(True) == 1


def test_a_folder_that_stands_still_is_no_silence(tmp_path, clock):
    one, two = (leases.lease(tmp_path, name, 30) for name in ("db-1", "db-2"))
    wait_for(one, clock, 10)
    two.acquire()
    # As long as it looked, the other one could not write either.
    clock.now += 300
    assert not two.acquire()
    assert leases.read(tmp_path)["holder"] == "db-1"
    assert one.beat({})


def test_without_the_folder_nothing_is_held_or_made(tmp_path, clock):
    lease = leases.lease(tmp_path / "away", "db-1", 30)
    with pytest.raises(FileNotFoundError):
        lease.acquire()
    assert not (tmp_path / "away").exists()
    (tmp_path / "away").mkdir()
    wait_for(lease, clock, 10)
    (tmp_path / "away").rename(tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        lease.beat({})


def test_a_damaged_lease_is_nobodys(tmp_path, clock):
    (tmp_path / leases.FILE).write_text("{")
    assert leases.read(tmp_path) == {}
    assert wait_for(leases.lease(tmp_path, "db-1", 30), clock, 10) is not None


# Marks


def mark(number, op="i", **document):
    return entry(number, op, timelines.NAMESPACE, {"_id": timelines.ID, **document})


def test_an_entry_tells_of_a_timeline():
    found = timelines.of_entry(mark(1, timeline="t2", restoring=None), oplog.operations)
    assert found["timeline"] == "t2"
    assert timelines.refusal(found) is None
    restoring = {"backup": "/b/one", "target": None, "since": WALL}
    found = timelines.of_entry(mark(2, "u", restoring=restoring), oplog.operations)
    assert found["timeline"] is None
    assert "half restored: the restore of /b/one that began at 2026-11-28T03:12:00+00:00" in (
        timelines.refusal(found)
    )


@pytest.mark.parametrize(
    ("changed", "known"),
    [
        ({"op": "u", "o": {"$v": 2, "diff": {"u": {"timeline": "x"}}}}, False),
        ({"op": "d", "o": {"_id": "timeline"}}, False),
        ({"op": "c", "ns": "admin.$cmd", "o": {"drop": "mongodb_backup"}}, False),
        ({"op": "c", "ns": "admin.$cmd", "o": {"drop": "other"}}, True),
        ({"op": "u", "ns": "admin.system.users", "o": {"_id": "timeline"}}, True),
        ({"op": "i", "ns": "shop.mongodb_backup", "o": {"_id": "timeline"}}, True),
        ({"op": "n", "ns": "", "o": {"msg": "periodic noop"}}, True),
    ],
)
def test_a_change_by_hand_is_noticed(changed, known):
    changed = {"ns": timelines.NAMESPACE, **changed}
    found = timelines.of_entry(entry(1, **changed), oplog.operations)
    assert found == (None if known else {})


# The archiver


class Member:
    """A member whose oplog is a list of entries."""

    def __init__(self, entries, timeline="t1"):
        self.entries = entries
        self.state = timelines.told_by({"timeline": timeline})


class Oplog:
    """``mongodb_oplog`` on such a member."""

    def __getattr__(self, name):
        return getattr(oplog, name)

    def first_from(self, member, start, **wanted):
        found = (each for each in member.entries if each["ts"] >= start)
        if wanted:
            found = (
                each
                for each in found
                if each["ns"] == wanted["ns"]
                and each["o"].get("timeline") == wanted["o.timeline"]
                and not each["o"].get("restoring")
            )
        return next(found, None)

    def position(self, member):
        return {"committed": member.entries[-1]["ts"]}

    def reader(self, member, start):
        return Reader(member, start)


class Reader:
    def __init__(self, member, start):
        self.member, self.next = member, start

    def pull(self):
        for each in list(self.member.entries):
            if each["ts"] >= self.next:
                self.next = Timestamp(each["ts"].time, each["ts"].inc + 1)
                yield each


class Timelines:
    def __getattr__(self, name):
        return getattr(timelines, name)

    def read(self, member):
        return {**member.state, "timeline": member.state["timeline"] or "t1"}


@pytest.fixture
def archiver(tmp_path):
    """Return a maker of archivers into one folder, each run to the end of a member's oplog."""
    tokens = itertools.count(10)
    parts = {"oplog": Oplog(), "timeline": Timelines(), "segments": segments, "files": files}
    parts["keys"] = crypt.Keyring(None, [], "nowhere")

    def keep(member, rebase=False, die=False, **limits):
        limits = {"sync_seconds": 0, "seal_seconds": 600, "seal_bytes": 1 << 20, **limits}
        made = archivers.archiver(tmp_path, f"{next(tokens)}", limits, parts)
        read = []
        made.run(member, rebase, lambda: not read, lambda: read.append(True))
        if die:
            made.leave()
        else:
            made.close()
        return made

    return keep


def chained(folder, after):
    """Return the numbers of the entries that continue ``after``, each once."""
    known = segments.ended(segments.segments(folder))
    sources = [
        (str(each.path), lambda each=each: files.entries(each.path, segments.chunks))
        for each in segments.covering(known, at(after))
    ]
    return [each["ts"].time - at(0).time for each in oplog.chain(sources)]


def test_the_next_one_goes_on_where_a_dead_one_ended(archiver, tmp_path):
    member = Member([entry(n) for n in range(1, 5)])
    archiver(member, die=True)
    member.entries += [entry(n) for n in range(5, 9)]
    archiver(member, die=True)
    archiver(member)
    assert chained(tmp_path / "t1", 1) == list(range(1, 9))
    assert segments.breaks(segments.ended(segments.segments(tmp_path / "t1"))) == []
    assert not [each for each in segments.segments(tmp_path / "t1") if each.token]


def test_a_gap_is_left_only_when_told_and_written_down(archiver, tmp_path):
    archiver(Member([entry(n) for n in range(1, 5)]))
    later = Member([entry(n) for n in range(7, 9)])
    with pytest.raises(LookupError, match="no longer has what follows 1795836004:1"):
        archiver(later)
    archiver(later, rebase=True)
    known = segments.ended(segments.segments(tmp_path / "t1"))
    assert segments.breaks(known) == [(at(4), at(7))]
    [(begin, note)] = segments.notes(tmp_path / "t1")
    assert (begin, note["kind"]) == (at(7), "gap")
    assert note["after"]["time"] == "1795836004:1"


def test_a_member_that_is_behind_makes_no_gap(archiver):
    entries = [entry(n) for n in range(1, 5)]
    archiver(Member(entries))
    with pytest.raises(CommandExecutionError, match="has not got to 1795836004:1 yet"):
        archiver(Member(entries[:2]), rebase=True)


def test_two_histories_under_one_name_are_not_mixed(archiver, tmp_path):
    archiver(Member([entry(n) for n in range(1, 5)]))
    archiver(Member([entry(n, t=7) for n in range(1, 9)]), rebase=True)
    known = segments.ended(segments.segments(tmp_path / "t1"))
    assert spans(known) == [(1, 4), (5, 8)]
    assert segments.breaks(known) == [(at(4), at(5))]


def restored(member, number, old="t1", new="t2"):
    """Have a member's set restored, with the marks and what the restore writes between."""
    restoring = {"backup": "/b/one", "target": None, "since": WALL}
    member.entries += [
        mark(number, "u", timeline=old, restoring=restoring),
        entry(number + 1),
        mark(number + 2, "u", timeline=new, restoring=None),
        entry(number + 3),
    ]
    member.state = timelines.told_by({"timeline": new, "after": at(number + 1)})


@pytest.mark.parametrize("late", [False, True], ids=["seen", "afterwards"])
def test_a_restore_ends_a_timeline_to_the_entry(archiver, tmp_path, late):
    member = Member([entry(1), entry(2)])
    archiver(member)
    if late:
        member.entries.append(entry(3))
        restored(member, 4)
    else:
        member.entries.append(entry(3))
        archiver(member)
        restored(member, 4)
    made = archiver(member)
    assert made.timeline == "t2"
    assert chained(tmp_path / "t1", 1) == [1, 2, 3]
    assert chained(tmp_path / "t2", 6) == [6, 7]
    # The next one stays there.
    member.entries.append(entry(8))
    archiver(member)
    assert chained(tmp_path / "t2", 6) == [6, 7, 8]
    assert chained(tmp_path / "t1", 1) == [1, 2, 3]


def test_nothing_is_kept_of_a_set_that_is_half_restored(archiver, tmp_path):
    member = Member([entry(1), entry(2)])
    restored(member, 3)
    half = Member(member.entries[:4])
    half.state = timelines.told_by({"restoring": {"backup": "/b/one", "since": WALL}})
    # Without an archive there is nothing to go on from.
    with pytest.raises(CommandExecutionError, match="the set is half restored"):
        archiver(half, rebase=True)
    archiver(Member(member.entries[:2]))
    made = archiver(half)
    assert "half restored" in made.waiting
    assert chained(tmp_path / "t1", 1) == [1, 2]
    made = archiver(member)
    assert made.waiting is None
    assert chained(tmp_path / "t2", 5) == [5, 6]


def test_a_fresh_archive_begins_with_its_timeline(archiver, tmp_path):
    member = Member([entry(1), entry(2)])
    restored(member, 3)
    archiver(member)
    assert segments.timelines(tmp_path) == ["t2"]
    assert chained(tmp_path / "t2", 5) == [5, 6]


def test_a_rename_is_written_down_and_out_is_none(archiver, tmp_path):
    sources = ("tmp.agg_out.1f2e", "tmpAb3x9.convertToCapped.rows", "rows")
    renames = [{"renameCollection": f"shop.{source}", "to": "shop.old"} for source in sources]
    entries = [entry(2 + n, "c", "shop.$cmd", rename) for n, rename in enumerate(renames)]
    archiver(Member([entry(1), *entries]))
    [(when, note)] = segments.notes(tmp_path / "t1")
    assert when == at(4)
    assert (note["kind"], note["source"], note["target"]) == ("rename", "shop.rows", "shop.old")
    assert json.dumps(note)


def test_segments_are_sealed_by_size_and_age(archiver, tmp_path):
    member = Member([entry(n, o={"text": os.urandom(500).hex()}) for n in range(1, 1001)])
    made = archiver(member, seal_bytes=100_000)
    assert made.sealed > 2
    assert chained(tmp_path / "t1", 1) == list(range(1, 1001))
    assert archiver(Member(member.entries), seal_seconds=0).sealed == 0
    member.entries.append(entry(1001))
    assert archiver(member, seal_seconds=0).sealed == 1
