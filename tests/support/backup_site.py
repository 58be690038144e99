"""A master with backups, and minions that answer about them, for the tests of ``fleet``."""

import hashlib
from datetime import UTC, datetime

import yaml

from fleet import pillar, restore, revision
from fleet.minions import Answers
from tests.support.checkout import Checkout

NODES = {
    "boss": ("127.0.0.10", ["master", "lb"]),
    "one": ("127.0.0.11", ["web"]),
    "db-1": ("127.0.0.13", ["db", "storage"]),
    "db-2": ("127.0.0.14", ["db", "storage"]),
    "db-3": ("127.0.0.15", ["db", "storage"]),
}
DAY = datetime(2026, 11, 20, tzinfo=UTC)


def info(when=None, **facts):
    """What a node says of a backup of a time."""
    when = when or datetime.now(UTC)
    found = {
        "set": "rs0",
        "timeline": "first",
        "sha256": hashlib.sha256(str(when).encode()).hexdigest(),
        "to": {"time": f"{int(when.timestamp())}:1", "wall": when.isoformat()},
        "ended": when.isoformat(timespec="seconds"),
        "bytes": 1000,
        "collections": {"app.counters": {"read": 3}, "app.view": {"read": None}},
    }
    return {**found, **facts}


class Fleet:
    """Minions that have backups; ``fails`` has functions and who fails them with what."""

    def __init__(self, volume):
        self.volume = volume
        self.states = {"db-1": "PRIMARY", "db-2": "SECONDARY", "db-3": "SECONDARY"}
        self.unmounted = set()
        self.there = {"app": {"counters": 7}}
        self.segments = ["/a/1", "/a/2"]
        self.half = None
        # Whether no member is in a set any more; members whose mongod does not run.
        self.gone = False
        self.stopped = set()
        self.archive = None
        self.breaks = None
        self.fails = {}
        self.asked = []
        self.watch = lambda function: None

    def everyone(self, nodes, function, arg=(), kwarg=None, timeout=15, patience=10):
        self.asked.append((function, list(nodes), list(arg), dict(kwarg or {})))
        found = Answers()
        for node in nodes:
            if words := self.fails.get(str(function), {}).get(node):
                found.failed[node] = words
                if function == "mongodb_backup.restore":
                    self.half = self.breaks
            elif isinstance(function, list):
                found.answers[node] = {
                    each: self._answer(node, each, given)
                    for each, given in zip(function, arg, strict=True)
                }
            else:
                self.watch(function)
                found.answers[node] = self._answer(node, function, list(arg))
        return found

    def _answer(self, node, function, arg):
        if function == "mongodb_backup.dump":
            (self.volume / arg[0]).mkdir()
            return info()
        if function == "mongodb_backup.list":
            names = sorted(path.name for path in self.volume.joinpath(arg[0]).iterdir())
            return [{"name": name, "to": None, "problem": None} for name in names]
        if function == "mongodb_backup.remove":
            (self.volume / arg[0]).rmdir()
        if function == "state.sls":
            return {"file_|-x_|-x_|-managed": {"result": True, "changes": {}, "__id__": "x"}}
        return {
            "mongodb.status": {
                **{"state": self.states.get(node), "reachable": node not in self.stopped},
                **{"initialized": not self.gone, "members": []},
            },
            "mongodb.is_open": False,
            "gluster.mount_status": {"alive": node not in self.unmounted},
            "mongodb_backup.state": {"restoring": self.half},
            "mongodb_backup.contents": self.there,
            "mongodb_backup.info": info(),
            "mongodb_backup.verify": {"files": 4, "bytes": 1000},
            "mongodb_archive.chain": {
                "paths": self.segments,
                "recoverable_until": {
                    "time": "9:9",
                    "wall": "2026-11-28T04:00:00+00:00" if self.segments else None,
                },
            },
            "mongodb_archive.status": self.archive,
            "mongodb_archive.prune": {"removed": 1, "bytes": 10},
            "mongodb_drill.run": {
                **{"to": {"time": "9:9", "wall": "2026-11-28T04:00:00+00:00"}},
                **{"documents": 3, "checked": ["app.counters"], "unchecked": [], "seconds": {}},
                "compared_at": {"time": "8:8", "wall": "2026-11-28T03:00:00+00:00"},
            },
            "mongodb_backup.restore": {
                **{"to": {"time": "9:9", "wall": "2026-11-28T04:00:00+00:00"}},
                **{"documents": 3, "operations": 2, "checked": [], "unchecked": []},
                **{"seconds": {"load": 1.0}},
            },
        }.get(function, True)

    def functions(self):
        """What was asked, without looks."""
        looks = ("status", "refresh_pillar", "contents", "state", "mkdir")
        names = [function for function, *_ in self.asked if isinstance(function, str)]
        return [name for name in names if not name.endswith(looks)]


class Site(Checkout):
    """A master whose fleet was rolled out, with backups once an hour."""

    def __init__(self, folder):
        super().__init__(folder)
        self.own_tree()
        self.write_topology(NODES)
        self.pillar(
            "mongodb",
            {
                "replica_set": "rs0",
                "app_user": "app",
                "app_database": "app",
                "install": {"source": "wheel"},
            },
        )
        self.pillar("web", {"ready_timeout": 5})
        self.pillar("lb", {"frontend_port": 80})
        self.lying = self.mount / "backups"
        self.lying.mkdir()
        self.settle()

    def settle(self, **chosen):
        """Have the fleet be on a revision with these settings of ``backup``."""
        self.pillar("backup", {"folder": str(self.lying), "every": 3600, **chosen})
        revision.settle(revision.capture(self.master, "1.4.0"))


def site(folder, monkeypatch):
    """Return a :class:`Site` in a folder, with its pillar read as plain YAML."""

    def read(_master, folders):
        found = {}
        for each in folders:
            for path in each.glob("*.sls"):
                content = yaml.safe_load(path.read_text())
                for key, value in content.items():
                    found.setdefault(key, value)
        return found

    monkeypatch.setattr(pillar, "settings", read)
    monkeypatch.setattr(restore, "verify", lambda *_: {"hits": 20})
    return Site(folder)
