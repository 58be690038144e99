"""MongoDB's shell, of npm and unmodified, at what was restored, and as an operator's way in.

``mongosh/package-lock.json`` pins it, and what it needs, by their SHA-512.
"""

import json
import pathlib
import subprocess
import urllib.parse

import pytest

from tests.functional.mongodb.backups import contents, furnish
from tests.support import npm

LOCK = pathlib.Path(__file__).parent / "mongosh" / "package-lock.json"
COUNTS = """
const found = {};
for (const {name} of db.adminCommand({listDatabases: 1, nameOnly: true}).databases)
    if (!["admin", "config", "local"].includes(name))
        for (const {name: collection, type} of db.getSiblingDB(name).getCollectionInfos())
            if (type === "collection" && !collection.startsWith("system."))
                found[`${name}.${collection}`] =
                    db.getSiblingDB(name).getCollection(collection).countDocuments();
print(EJSON.stringify(found));
"""


@pytest.fixture(scope="session")
def program():
    return npm.modules(LOCK) / ".bin" / "mongosh"


@pytest.fixture
def mongosh(program, tmp_path):
    """Return a function that runs it with a home of its own; what is given is its input."""

    def run(*words, given=""):
        return subprocess.run(
            [program, "--quiet", "--norc", *words],
            input=given,
            env={**npm.environ(), "HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def test_it_reads_what_a_drill_has_restored_and_kept(other_source, mongosh, tmp_path):
    node, client = other_source.nodes[0], other_source.rs.client()
    furnish(client)
    node.backup("dump", tmp_path / "one", primary=True)
    told = node.drill("run", str(tmp_path / "one"), scratch=str(tmp_path / "kept"), keep=True)
    try:
        # As docs/backup.md says it.
        address = f"mongodb://{urllib.parse.quote_plus(told['kept']['socket'])}/"
        done = mongosh(address, "--eval", COUNTS)
    finally:
        node.drill("remove", told["kept"]["folder"])
    assert done.returncode == 0, done.stderr
    wanted = {
        name: len(row["documents"])
        for name, row in contents(client).items()
        if row["type"] == "collection"
    }
    assert json.loads(done.stdout) == wanted
    assert sum(wanted.values()) > 1000


def test_an_administrator_gets_in_without_the_password_in_an_argument(
    other_source, mongosh, tmp_path
):
    member, password = other_source.rs.members[0], other_source.admin_password
    words = ("--host", "127.0.0.1", "--port", str(member.port), "--username", "admin")
    words = (*words, "--authenticationDatabase", "admin", "--eval", "db.hello().setName")
    done = mongosh(*words, "--password", given=f"{password}\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith("source")
    assert password not in done.stdout + done.stderr
    left = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert left
    assert [path for path in left if password in path.read_text()] == []
    refused = mongosh(*words, "--password", given="another\n")
    assert refused.returncode == 1
    assert "Authentication failed" in refused.stderr
