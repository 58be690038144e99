"""Minions over real mongods: each node has Salt's own loaders and one member on loopback."""

import contextlib
import itertools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import salt.config
import salt.loader

from tests.support.loading import ROOT
from tests.support.mongod import Member, ReplicaSet, mongod_binary, replica_set

APP_PASSWORD = "app-pa55-word-4711"
HEALTH_PASSWORD = "health-pa55-word-5812"
BACKUP_PASSWORD = "backup-pa55-word-6913"
NAMES = itertools.count(1)


class Node:
    """One minion whose mongod is ``member``."""

    def __init__(self, minion_id: str, folder: pathlib.Path, pillar: dict[str, Any], port: int):
        opts = salt.config.minion_config(None)
        opts.update(
            id=minion_id,
            cachedir=str(folder / "cache"),
            extension_modules=str(folder / "extmods"),
            file_client="local",
            grains={"id": minion_id},
            utils_dirs=[str(ROOT / "_utils")],
            module_dirs=[str(ROOT / "_modules")],
            states_dirs=[str(ROOT / "_states")],
            pillar=pillar,
            mongodb={"port": port},
        )
        # Loaders with one base name share their module objects, and so their options.
        base = f"salt.loaded.mongodb{next(NAMES)}"
        utils = salt.loader.utils(opts, loaded_base_name=base)
        self._modules = salt.loader.minion_mods(opts, utils=utils, loaded_base_name=base)
        self._states = salt.loader.states(opts, self._modules, utils, None, loaded_base_name=base)

    def call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        """Call an execution function, e.g. ``call("status")``."""
        return self._modules[f"mongodb.{function}"](*args, **kwargs)

    def backup(self, function: str, *args: Any, **kwargs: Any) -> Any:
        """Call a function of ``mongodb_backup``; paths may be such."""
        return self._call(f"mongodb_backup.{function}", *args, **kwargs)

    def archive(self, function: str, *args: Any, **kwargs: Any) -> Any:
        """Call a function of ``mongodb_archive``; paths may be such."""
        return self._call(f"mongodb_archive.{function}", *args, **kwargs)

    def _call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        plain = [str(arg) if isinstance(arg, pathlib.Path) else arg for arg in args]
        return self._modules[function](*plain, **kwargs)

    def drill(self, function: str, *args: Any, **kwargs: Any) -> Any:
        """Call a function of ``mongodb_drill``; its mongod is the tests' own."""
        if function == "run":
            kwargs = {"mongod": str(mongod_binary()), **kwargs}
        return self._modules[f"mongodb_drill.{function}"](*args, **kwargs)

    def meanwhile(
        self, monkeypatch: pytest.MonkeyPatch, deed: Callable[[], Any], after: int = 1
    ) -> None:
        """Have ``deed`` done in the middle of a dump: when so many collections were read."""
        inside = self._modules["mongodb_backup.dump"].__globals__
        copy, turns = inside["_copy"], itertools.count(1)

        def copy_and_do(*args: Any) -> Any:
            trouble = copy(*args)
            if next(turns) == after:
                deed()
            return trouble

        monkeypatch.setitem(inside, "_copy", copy_and_do)

    def serve(self, member: Member) -> None:
        """Have Salt's service functions stop and start ``member``, as systemd does on a node."""

        def stop(_name: str) -> bool:
            member.stop()
            return True

        def start(_name: str) -> bool:
            member.start()
            return True

        self._modules["service.stop"] = stop
        self._modules["service.start"] = start
        self._modules["service.status"] = lambda _name: member.running

    def state(self, function: str, *args: Any, test: bool = False, **kwargs: Any) -> dict[str, Any]:
        """Apply a state and check that its return keeps Salt's rules."""
        self._states.opts["test"] = test
        ret = self._states[f"mongodb.{function}"](*args, **kwargs)
        assert set(ret) == {"name", "result", "comment", "changes"}
        assert isinstance(ret["comment"], str)
        assert ret["comment"]
        assert isinstance(ret["changes"], dict)
        assert ret["result"] in (True, False, None)
        assert (ret["result"] is None) <= test
        if test and ret["result"] is True:
            assert ret["changes"] == {}
        return ret


class Cluster:
    """A replica set and the minion of each member, named db-1, db-2 and so on."""

    def __init__(self, rs: ReplicaSet, folder: pathlib.Path) -> None:
        self.rs = rs
        self.folder = folder
        self.admin_password = rs.admin_password or "admin-pa55-word-0815"
        self.nodes = [self.node(member) for member in rs.members]

    @property
    def names(self) -> list[str]:
        return [member.address for member in self.rs.members]

    def node(
        self,
        member: Member,
        minion_id: str | None = None,
        admin_password: str | None = None,
        **settings: Any,
    ) -> Node:
        """Return a minion whose own mongod is ``member``."""
        minion_id = minion_id or f"db-{self.rs.members.index(member) + 1}"
        settings = {"dbpath": str(member.folder / "data"), **settings}
        secrets = {
            "mongodb_admin": admin_password or self.admin_password,
            "mongodb_app": APP_PASSWORD,
            "mongodb_health": HEALTH_PASSWORD,
            "mongodb_backup": BACKUP_PASSWORD,
        }
        pillar = {"mongodb": {"admin_user": "admin", **settings}, "secrets": secrets}
        folder = self.folder / minion_id
        folder.mkdir(exist_ok=True)
        made = Node(minion_id, folder, pillar, member.port)
        made.serve(member)
        return made

    def of(self, member: Member) -> Node:
        return self.nodes[self.rs.members.index(member)]

    @property
    def primary(self) -> Node:
        return self.of(self.rs.wait_primary())

    @property
    def secondaries(self) -> list[Node]:
        self.rs.wait_secondaries(len(self.rs.members) - 1)
        return [self.of(member) for member in self.rs.secondaries()]


@pytest.fixture
def bare_cluster(tmp_path: pathlib.Path) -> Callable[[int], contextlib.AbstractContextManager]:
    """Return a maker of clusters whose servers run and know nothing of each other."""

    @contextlib.contextmanager
    def make(members: int) -> Iterator[Cluster]:
        with replica_set(members, auth=True, initiate=False) as rs:
            yield Cluster(rs, tmp_path)

    return make


@pytest.fixture(scope="session")
def _running_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with replica_set(3, auth=True) as rs:
        yield Cluster(rs, tmp_path_factory.mktemp("minions"))


@pytest.fixture(scope="session")
def _another_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with replica_set(1, auth=True, name="other") as rs:
        yield Cluster(rs, tmp_path_factory.mktemp("others"))


@pytest.fixture
def other(_another_cluster: Cluster) -> Iterator[Cluster]:
    """A set of one with its admin, named ``other``, without data."""
    yield _another_cluster
    with _another_cluster.rs.client() as client:
        for database in set(client.list_database_names()) - {"admin", "config", "local"}:
            client.drop_database(database)


@pytest.fixture(scope="module")
def other_source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A set of one with its admin, for what takes a backup once for many tests."""
    with replica_set(1, auth=True, name="source") as rs:
        yield Cluster(rs, tmp_path_factory.mktemp("sources"))


@pytest.fixture
def cluster(_running_cluster: Cluster) -> Iterator[Cluster]:
    """A cluster of three with its admin; made whole again after each test."""
    yield _running_cluster
    _running_cluster.rs.heal()


@pytest.fixture
def source(cluster: Cluster) -> Iterator[Cluster]:
    """A set of three, with no data of users before and after."""
    with cluster.rs.client() as client:

        def clear() -> None:
            for database in set(client.list_database_names()) - {"admin", "config", "local"}:
                client[database].command("dropDatabase", writeConcern={"w": "majority"})

        clear()
        cluster.client = client
        yield cluster
        clear()
