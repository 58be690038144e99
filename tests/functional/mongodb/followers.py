"""Processes that keep the oplog of a test's replica set, as a service would."""

import json
import pathlib
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from tests.functional.mongodb.conftest import Cluster
from tests.support.loading import ROOT
from tests.support.mongod import Member

PROGRAM = """
import json, logging, pathlib, sys
from tests.functional.mongodb.conftest import Node
told = json.loads(sys.stdin.readline())
# Salt has made itself a handler when it was imported.
logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
for name in ("pymongo", "salt"):
    logging.getLogger(name).setLevel(logging.WARNING)
logging.getLogger("salt.loaded").setLevel(logging.INFO)
node = Node(told["id"], pathlib.Path(told["folder"]), told["pillar"], told["port"])
print(json.dumps(node.archive("follow", *told["args"], **told["kwargs"])))
"""
#: Short times, so that a test sees all that takes a day.
QUICK = {"sync_seconds": 0.5, "seal_seconds": 3, "lease_seconds": 3}


class Follower:
    """A process of ``mongodb_archive.follow`` on the minion of a member.

    :param password: the administrator's, where its pillar has another one.
    :param more: secrets in its pillar, besides the administrator's.
    """

    def __init__(
        self,
        cluster: Cluster,
        member: Member,
        folder: pathlib.Path,
        password: str | None = None,
        more: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ):
        self.name = f"db-{cluster.rs.members.index(member) + 1}"
        home = folder.parent / f"minion-{self.name}"
        home.mkdir(exist_ok=True)
        self._log = home / "log"
        secrets = {"mongodb_admin": password or cluster.admin_password, **(more or {})}
        told = {
            "id": self.name,
            "folder": str(home),
            "pillar": {"mongodb": {"admin_user": "admin"}, "secrets": secrets},
            "port": member.port,
            "args": [str(folder)],
            "kwargs": {**QUICK, **kwargs},
        }
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
            )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.close()

    @property
    def log(self) -> str:
        """What it has logged, and those before it on its minion."""
        return self._log.read_text()

    def stop(self) -> dict[str, Any]:
        """End it in good order; return what it returned."""
        self._process.send_signal(signal.SIGTERM)
        return self._ended()

    def kill(self) -> None:
        """Crash it."""
        self._process.kill()
        self._process.wait(10)

    def _ended(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer = self._process.stdout.read()
        assert self._process.wait(60) == 0, self.log
        found: dict[str, Any] = json.loads(answer)
        return found
