"""The service that keeps the oplog on our nodes: its settings, its user's rights, its command."""

import contextlib
import json
import pathlib
import shlex
import signal
import subprocess
import sys

import pytest

from tests.functional.mongodb.backups import majority
from tests.functional.mongodb.test_archive import held_by, reaches
from tests.support import tree as support
from tests.support.loading import ROOT

SETTINGS = "/etc/mongodb-archive"
HOME = "/usr/local/lib/mongodb-archive"


@pytest.fixture
def declared(tmp_path, other):
    """What the tree declares on db-1: ``file(path)`` and ``chunk(id)``."""
    tree = support.Tree(tmp_path / "tree")
    grains = support.recorded_grains("debian12", "default", "db-1")
    pillar = tree.pillar("default", "db-1", grains)
    pillar["mongodb"]["port"] = other.rs.members[0].port
    pillar["backup"]["archive"]["folder"] = str(tmp_path / "oplog")
    with tree.compiler("db-1", grains, pillar) as compiler:
        chunks, errors = compiler.chunks(["db"])
        assert not errors
        yield (
            lambda path: compiler.file(chunks, path),
            lambda name: next(each for each in chunks if each["__id__"] == name),
        )


@pytest.fixture
def user(declared, other):
    """The user that makes backups, with the roles that it has on our nodes and no other."""
    _, chunk = declared
    role = chunk("Who makes backups may know the replica set")
    wanted = chunk("Who makes backups exists")
    with other.rs.client() as client:
        client.admin.command("createRole", role["name"], privileges=role["privileges"], roles=[])
        client.admin.command(
            "createUser",
            wanted["name"],
            pwd=support.secret("mongodb_backup"),
            roles=wanted["roles"],
            mechanisms=wanted["mechanisms"],
        )
        yield wanted["name"]
        client.admin.command("dropUser", wanted["name"])
        client.admin.command("dropRole", role["name"])


@contextlib.contextmanager
def running(command, log):
    """Run a command; yield its process and end it surely."""
    # An empty environment, as systemd has one.
    with (
        log.open("w") as target,
        subprocess.Popen(
            command, stdout=target, stderr=target, env={"PATH": "/usr/bin:/bin"}
        ) as it,
    ):
        try:
            yield it
        finally:
            it.kill()


def test_the_unit_keeps_the_oplog_with_its_own_login_and_no_master(declared, user, other, tmp_path):
    file, chunk = declared
    etc, folder = tmp_path / "etc", tmp_path / "oplog"
    (etc / "pillar").mkdir(parents=True)
    folder.mkdir()
    places = {
        SETTINGS: str(etc),
        f"{HOME}/modules": str(ROOT / "_modules"),
        f"{HOME}/utils": str(ROOT / "_utils"),
        "/var/cache/mongodb-archive": str(tmp_path / "cache"),
        "/opt/salt/bin/salt-call": str(pathlib.Path(sys.executable).with_name("salt-call")),
    }

    def here(text):
        for declared_path, path in places.items():
            text = text.replace(declared_path, path)
        return text

    for name in ("minion", "pillar/login.sls"):
        (etc / name).write_text(here(file(f"{SETTINGS}/{name}")))
    top = chunk("What the archive is told as its pillar")["dataset"]
    (etc / "pillar/top.sls").write_text(json.dumps(top))
    unit = file("/etc/systemd/system/mongodb-archive.service").replace("\\\n", " ")
    [line] = [each for each in unit.splitlines() if each.startswith("ExecStart=")]
    command = shlex.split(here(line.removeprefix("ExecStart=")))
    node, log = other.nodes[0], tmp_path / "log"
    with other.rs.client() as client, running([*command, "lease_seconds=3"], log) as process:

        class Service:
            name = "db-1"

        status = held_by(node, folder, Service)
        assert status["member"].endswith(f":{other.rs.members[0].port}")
        majority(client, "shop").rows.insert_one({})
        assert reaches(node, folder, client)["problem"] is None
        memory = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        [peak] = [each.split()[1] for each in memory.splitlines() if each.startswith("VmHWM")]
        assert int(peak) < 200 * 1024
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()
    said = log.read_text()
    assert "the oplog is kept from here" in said
    assert "WARNING" not in said
    assert "ERROR" not in said
    assert support.secret("mongodb_backup") not in said + " ".join(command)
    assert not list(folder.glob("*/*open*"))
    # Not in what it leaves, either.
    secret = support.secret("mongodb_backup").encode()
    left = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert not [path for path in left if secret in path.read_bytes()]
