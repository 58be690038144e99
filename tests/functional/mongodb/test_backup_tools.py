"""MongoDB's own tools and our backups. No registry has them: these tests run where they are."""

import pathlib
import shutil
import subprocess

import pytest

from tests.functional.mongodb.backups import Writers, contents, differing, furnish
from tests.functional.mongodb.test_backup import all_there_is
from tests.support.loading import ROOT
from tests.support.waiting import until

BUILT = ROOT / "build" / "cache" / "mongo-tools"


def tool(name):
    found = shutil.which(name, path=f"{BUILT}:{pathlib.Path('/usr/local/bin')}:/usr/bin:/bin")
    if not found:
        pytest.skip(f"{name} is not on this machine: docs/backup.md says how it can be built")
    return found


def run(name, *words):
    done = subprocess.run([tool(name), *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


@pytest.fixture
def backup(other_source, tmp_path):
    """A backup of a set with all there is, made while it was written to."""
    client = other_source.rs.client()
    for database in set(client.list_database_names()) - {"admin", "config", "local"}:
        client.drop_database(database)
    furnish(client)
    all_there_is(client)
    writers = Writers(other_source.rs)
    with writers.running():
        until(lambda: min(writers.rounds), 30, "each writer has written", wanted=lambda n: n > 3)
        other_source.nodes[0].backup("dump", tmp_path / "one", primary=True)
    return tmp_path / "one"


def test_mongorestore_makes_the_same_of_a_backup_as_we_do(backup, other):
    words = ("--uri", other.rs.uri, "--gzip", "--bypassDocumentValidation")
    run("mongorestore", *words, "--oplogReplay", "--dir", backup)
    client = other.rs.client()
    theirs = contents(client)
    other.nodes[0].backup("restore", backup, drop=True, confirm="other")
    ours = contents(client)
    assert differing(theirs, ours) == []
    # The control: without the oplog it is not the same.
    run("mongorestore", *words, "--drop", "--dir", backup)
    assert "shop.ledger" in differing(contents(client), ours)


def test_mongodump_names_its_files_as_we_do(backup, other_source, tmp_path):
    out = tmp_path / "theirs"
    run("mongodump", "--uri", other_source.rs.uri, "--gzip", "--oplog", "--out", out)

    def names(folder):
        files = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        return {name for name in files if not name.startswith("admin/")}

    assert names(backup) - names(out) == {"manifest.json"}
    assert names(out) - names(backup) == set()
