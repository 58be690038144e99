"""A drill restores a backup into a mongod of its own, and leaves nothing of it, however it ends."""

import json
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import sys
import urllib.parse

import pymongo
import pytest
from salt.exceptions import CommandExecutionError, SaltInvocationError

from tests.functional.mongodb.backups import contents, differing, furnish, majority
from tests.functional.mongodb.test_backup import all_there_is
from tests.functional.mongodb.test_backup_refusals import flip, seal
from tests.support.loading import ROOT, load
from tests.support.mongod import mongod_binary
from tests.support.waiting import until

files = load("_utils/mongodb_files.py")


def servers(folder):
    """Return the numbers of the processes that have a part of this folder in their command."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if os.fsencode(folder) + b"/" in command and b"dbpath" in command:
            found.append(int(entry.name))
    return found


@pytest.fixture(scope="module")
def made(other_source, tmp_path_factory):
    """A backup, a file of the oplog from then on, and what the set held at either's end."""
    folder = tmp_path_factory.mktemp("backups")
    node, client = other_source.nodes[0], other_source.rs.client()
    furnish(client)
    all_there_is(client)
    shop = majority(client, "shop")
    with pytest.MonkeyPatch.context() as patch:
        # When it has been read, so that only the oplog has the change.
        count = sum(row["type"] == "collection" for row in contents(client).values()) + 1
        change = {"$set": {"n": 1}}
        node.meanwhile(patch, lambda: shop.things.update_many({}, change), after=count)
        info = node.backup("dump", folder / "one", primary=True)
    before = contents(client)
    shop.things.delete_many({"_id": {"$lt": 1000}})
    copied = node.backup("copy_oplog", folder / "1.bson.gz", info["to"]["time"])
    return folder, info, copied, before, contents(client)


@pytest.fixture
def node(other_source):
    return other_source.nodes[0]


@pytest.fixture
def copy(made, tmp_path):
    """A copy of the backup that a test may spoil."""
    return pathlib.Path(shutil.copytree(made[0] / "one", tmp_path / "one"))


@pytest.fixture
def scratch(tmp_path):
    """A folder for the drill's server, in which nothing is left of it afterwards."""
    folder = tmp_path / "scratch"
    yield folder
    left = {path.name for path in folder.iterdir()} if folder.exists() else set()
    assert left <= {".mongodb_drill.lock"}
    assert servers(folder) == []


def test_a_backup_is_proved(made, node, scratch):
    folder, info, _, _, _ = made
    told = node.drill("run", str(folder / "one"), scratch=str(scratch))
    assert told["to"] == told["compared_at"] == info["to"]
    # Nothing is in the oplog of what makes room in a capped collection.
    assert told["unchecked"] == ["kinds.capped"]
    collections = {n for n, row in info["collections"].items() if row["type"] == "collection"}
    assert set(told["checked"]) == collections - {"kinds.capped"}
    read = sum(row.get("read", 0) for row in info["collections"].values())
    assert told["documents"] == read
    assert told["operations"] >= 3000
    assert (told["set"], told["sha256"], told["bytes"]) == ("source", info["sha256"], info["bytes"])
    assert told["version"] == "6.0.5"
    assert told["disk"] > 100_000
    assert told["kept"] is None
    parts = {"start", "look", "load", "replay", "check", "indexes", "total"}
    assert set(told["seconds"]) == parts
    assert told["seconds"]["total"] > max(told["seconds"][part] for part in parts - {"total"}) > 0
    assert stat.S_IMODE(scratch.stat().st_mode) == 0o700


def test_what_is_kept_is_what_there_was_at_the_target(made, node, tmp_path):
    folder, info, copied, before, after = made
    scratch = tmp_path / "kept"
    for target, wanted in ((info["to"]["time"], before), (copied["to"]["time"], after)):
        told = node.drill(
            "run",
            str(folder / "one"),
            target=target,
            oplog=[str(folder / "1.bson.gz")],
            scratch=str(scratch),
            keep=True,
        )
        assert told["to"]["time"] == target
        # The hashes are of the backup's own time, and that is told.
        assert told["compared_at"] == info["to"]
        assert node.drill("list", str(scratch)) == [told["kept"]]
        where = f"mongodb://{urllib.parse.quote_plus(told['kept']['socket'])}"
        with pymongo.MongoClient(where, directConnection=True) as client:
            assert differing(wanted, contents(client)) == []
        [pid] = servers(scratch)
        for path in (pathlib.Path(told["kept"]["folder"]), pathlib.Path(told["kept"]["socket"])):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert os.getpriority(os.PRIO_PROCESS, pid) == 19
        assert listening(pid) == []
        assert node.drill("remove", told["kept"]["folder"]) is True
        assert servers(scratch) == []
        assert node.drill("list", str(scratch)) == []
    with pytest.raises(CommandExecutionError, match="is no server that a drill has left"):
        node.drill("remove", told["kept"]["folder"])
    with pytest.raises(CommandExecutionError, match="is no server that a drill has left"):
        node.drill("remove", str(folder / "one"))
    assert (folder / "one").exists()


def listening(pid):
    """Return the sockets on which a process listens: of TCP, and outside of its own folder."""
    inodes = set()
    for handle in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        target = str(handle.readlink())
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    rows = []
    for name in ("tcp", "tcp6"):
        for line in pathlib.Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                rows.append(line)
    for line in pathlib.Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]:
        fields = line.split()
        inside = fields[-1].startswith(str(pathlib.Path(f"/proc/{pid}/cwd").readlink()))
        if len(fields) == 8 and fields[6] in inodes and not inside:
            rows.append(line)
    return rows


@pytest.mark.parametrize("spoil", ["oplog", "file", "documents"])
def test_a_backup_that_is_not_what_it_says_fails(copy, node, scratch, spoil):
    if spoil == "file":
        flip(copy / "shop" / "things.bson.gz")
        words = "shop/things.bson.gz is damaged"
    elif spoil == "oplog":
        entries = [bytes(entry.raw) for entry in files.entries(copy / "oplog.bson")]
        (copy / "oplog.bson").unlink()
        dump = files.dump(copy)
        with dump.oplog() as target:
            target.write(b"".join(entries[:500] + entries[-1:]))
        seal(copy)
        words = "shop.things came out other than the backup says"
    else:
        dump = files.dump(copy)
        (copy / "plain" / "still.bson.gz").unlink()
        with dump.documents("plain.still"):
            pass
        seal(copy)
        words = "plain.still came out other than the backup says"
    with pytest.raises(CommandExecutionError, match=words):
        node.drill("run", str(copy), scratch=str(scratch))


def test_what_cannot_be_drilled_is_said_before_anything_is_started(
    made, copy, node, scratch, tmp_path, monkeypatch
):
    one = str(made[0] / "one")

    def refused(words, kind=CommandExecutionError, folder=one, **options):
        with pytest.raises(kind, match=words):
            node.drill("run", str(folder), **{"scratch": str(scratch), **options})
        assert servers(scratch) == []

    refused("/no/mongod is no program .* set mongod to the whole path", mongod="/no/mongod")
    refused("is no program that this minion can start", mongod=str(copy / "manifest.json"))
    monkeypatch.setenv("PATH", str(tmp_path))
    refused("no mongod is on the PATH .* set mongodb:mongod", mongod=None)
    monkeypatch.undo()
    refused("is no backup", folder=tmp_path)
    refused("is another backup than the one noted", sha256="77")
    refused("cache_gb must be a number of GiB from 0.25", kind=SaltInvocationError, cache_gb=0.1)
    refused("write the whole path", kind=SaltInvocationError, scratch="here")
    refused("too long a path for a socket in it, by", scratch=str(tmp_path / ("x" * 99)))
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    refused("can be written by others", scratch=str(tmp_path / "open"))
    manifest = json.loads((copy / "manifest.json").read_text())
    del manifest["checksum"], manifest["format"]
    dump = files.dump(copy)
    dump.files = manifest.pop("files")
    dump.files["oplog.bson"]["unpacked"] = 1 << 60
    for name in ("manifest.json", "prelude.json.gz"):
        (copy / name).unlink()
    dump.seal(manifest)
    refused(r"has [\d.]+ GiB free, and up to 2147483649\.\d GiB are needed", folder=copy)


def test_a_program_that_is_no_mongod_is_told_with_its_words(made, node, scratch, tmp_path):
    program = tmp_path / "mongod"
    program.write_text("#!/bin/sh\necho I am none >&2\nexit 3\n")
    program.chmod(0o755)
    with pytest.raises(CommandExecutionError, match="ended with 3 and said: I am none"):
        node.drill("run", str(made[0] / "one"), scratch=str(scratch), mongod=str(program))


def test_a_server_that_dies_meanwhile_is_told(made, node, scratch, monkeypatch):
    inside = node._modules["mongodb_backup.restore"].__globals__
    load_documents = inside["_load_documents"]

    def die(*args):
        [pid] = servers(scratch)
        os.kill(pid, signal.SIGKILL)
        return load_documents(*args)

    monkeypatch.setitem(inside, "_load_documents", die)
    with pytest.raises(CommandExecutionError, match="the scratch mongod has ended with -9"):
        node.drill("run", str(made[0] / "one"), scratch=str(scratch))


DRILLER = """
import contextlib, json, os, pathlib, signal, sys
from salt.exceptions import CommandExecutionError
from tests.functional.mongodb.conftest import Node
told = json.loads(sys.stdin.read())
node = Node("db-x", pathlib.Path(told["folder"]), {}, 1)
# The loader that a module calls others by executes their files once more, over what is put there.
with contextlib.suppress(CommandExecutionError):
    node.drill("run", "/there/is/none", scratch=told["scratch"])
inside = node._modules["mongodb_backup.restore"].__globals__
compare = inside["_compare"]
def compare_and_stop(*args):
    os.kill(os.getpid(), signal.SIGSTOP)
    return compare(*args)
inside["_compare"] = compare_and_stop
node.drill("run", told["backup"], scratch=told["scratch"])
"""


def test_what_a_killed_drill_left_is_removed_by_the_next(made, node, scratch, tmp_path):
    one = str(made[0] / "one")
    told = {"folder": str(tmp_path / "minion"), "backup": one, "scratch": str(scratch)}
    process = subprocess.Popen(
        [sys.executable, "-c", DRILLER], stdin=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        process.stdin.write(json.dumps(told))
        process.stdin.close()
        until(
            lambda: pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2][1],
            60,
            "the drill has stopped in its middle",
            wanted="T",
        )
        assert len(servers(scratch)) == 1
        # Meanwhile nobody else may think that it is dead.
        with pytest.raises(CommandExecutionError, match="another drill is under way in"):
            node.drill("run", one, scratch=str(scratch))
        assert len(servers(scratch)) == 1
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    until(lambda: servers(scratch), 30, "the server has ended with its drill", wanted=[])
    assert len(list(scratch.glob("drill-*"))) == 1
    # One whose server has outlived it is removed as well.
    home = scratch / "drill-outlived"
    (home / "data").mkdir(parents=True)
    options = ("--bind_ip", str(home / "x.sock"), "--logpath", str(home / "log"))
    options += ("--unixSocketPrefix", str(home))
    left = subprocess.Popen([mongod_binary(), "--dbpath", str(home / "data"), *options])
    assert servers(scratch) == [left.pid]
    node.drill("run", one, scratch=str(scratch))
    assert left.wait(30) == -signal.SIGKILL
