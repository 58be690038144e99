"""The modules in a Salt tree of somebody else, called as he would call them."""

import json
import pathlib
import shutil
import subprocess
import sys

import pytest
import yaml

from tests.support.loading import ROOT


@pytest.fixture
def salt_call(tmp_path, running):
    """Return a function that runs ``salt-call --local`` in a tree that has these files alone."""
    for kind in ("_modules", "_utils"):
        (tmp_path / "srv" / kind).mkdir(parents=True)
        for file in (ROOT / kind).glob("haproxy*.py"):
            shutil.copy(file, tmp_path / "srv" / kind)
    (tmp_path / "minion").write_text(
        yaml.safe_dump(
            {
                "id": "lb-1",
                "root_dir": str(tmp_path),
                "file_client": "local",
                "file_roots": {"base": [str(tmp_path / "srv")]},
                "haproxy.socket": running.socket,
            }
        )
    )

    def call(*words):
        done = subprocess.run(
            [
                pathlib.Path(sys.executable).with_name("salt-call"),
                f"--config-dir={tmp_path}",
                "--local",
                "--out=json",
                "--log-level=error",
                *words,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return call


def test_whoever_copies_the_files_has_the_functions(balancer, salt_call):
    code, said, wrong = salt_call("saltutil.sync_all")
    assert code == 0, wrong
    synced = json.loads(said)["local"]
    assert "modules.haproxy_server" in synced["modules"]
    assert "utils.haproxy_declared" in synced["utils"]

    code, said, wrong = salt_call(
        "haproxy.set_server", "web-1", "drain", "weight=10%", "timeout=20"
    )
    assert code == 0, said + wrong
    found = json.loads(said)["local"]
    assert {name: (each["admin"], each["weight"]) for name, each in found.items()} == {
        "again": ("drain", 10),
        "web": ("drain", 10),
    }
    assert balancer.call("server_state", "web", "web-1")["admin"] == "drain"

    code, said, wrong = salt_call("haproxy.drain", "web", "web-2")
    assert code != 0
    assert "at least 1 must be; bring another one up first" in said + wrong
    assert "Traceback" not in said + wrong
