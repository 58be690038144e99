"""
A simulated fleet whose nodes have secrets: what of them runs where, and that nobody is refused.

Whatever the master's pillar says is what a node gets when states are applied. That nobody could do
harm by applying some at any moment is checked by :meth:`Fleet.check_places`.
"""

import json
import re
from collections.abc import Generator
from functools import cache
from pathlib import Path
from typing import Any

import jwt
import yaml

import fleet.pillar
import fleet.rotation
import fleet.rotation.https
import fleet.rotation.listeners
import fleet.rotation.operator
from fleet import certificate, edge
from fleet.errors import FleetError
from fleet.rotation import KINDS, gluster
from fleet.rotation.course import fresh, maker
from fleet.rotation.gluster import RESTARTS
from tests.support import simulated_certificates
from tests.support.simulated_certificates import CertifiedFleet
from tests.support.simulated_master import SETTINGS, Simulation
from tests.support.simulated_nodes import Failed, Node

#: What pillar/mongodb.sls declares, as far as it matters.
DECLARED = {
    "admin_user": "admin",
    "health_user": "health",
    "backup_user": "backup",
    "app_user": "counterapp",
    "app_database": "counterapp",
}
USERS = ("admin", "health", "backup", "app")
_NEEDED = {
    "db": ["mongodb_keyfile", *(f"mongodb_{user}" for user in USERS)],
    "web": ["mongodb_app", "counterapp_operator"],
    "lb": [certificate.CERTIFICATE],
}


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return two pillars as one, as Salt merges them."""
    found = dict(one)
    for key, value in other.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = merged(found[key], value) if both else value
    return found


@cache
def rendered(text: str) -> dict[str, Any]:
    """Return a pillar file as Salt renders it."""
    template = r"\{% import_yaml 'mongodb.sls' as declared %\}\{\{ declared.mongodb.(\w+) \}\}"
    found: dict[str, Any] = yaml.safe_load(re.sub(template, lambda m: DECLARED[m[1]], text))
    return found


class SecretFleet(CertifiedFleet):
    """A fleet with MongoDB's users and keys, the operators' key and Gluster's certificates."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.secrets.mkdir(parents=True, exist_ok=True)
        for name in KINDS:
            if name not in (gluster.CERTIFICATES, gluster.AUTHORITY):
                value = self._first_https() if name == certificate.CERTIFICATE else fresh(name)
                path = self.secrets / f"{name}.sls"
                path.write_text(json.dumps({"secrets": {name: value}}))
        self.certify()
        #: Passwords by database and user; what each node's minion has in memory; what runs where.
        self.users: dict[tuple[str, str], str] = {}
        self.memory = {node.id: self.pillar(node) for node in self.nodes.values()}
        for name, database, password in self._declared(self.with_role("db")[0]):
            self.users[database, name] = password
        self.keys: dict[str, list[str]] = {}
        self.logins: dict[str, tuple[str, str]] = {}
        self.archives: dict[str, tuple[str, str]] = {}
        self.signers: dict[str, set[str]] = {}
        #: What each balancer shows.
        self.shown: dict[str, str] = {}
        for node in self.nodes.values():
            self._take_in(node)
            self._archive(node)

    def _first_https(self) -> str:
        site = maker().Site({}, self.vip, SETTINGS["lb"]["https"])
        made: str = maker().https(self.secrets, site)
        return made

    @property
    def secrets(self) -> Path:  # type: ignore[override]
        return self.master.notes / "secrets"

    # What nodes are told

    def pillar(self, node: Node) -> dict[str, Any]:
        found: dict[str, Any] = {"mongodb": dict(DECLARED)}
        needed = sorted({name for role in node.roles for name in _NEEDED.get(role, [])})
        for name in (*needed, f"{gluster.CERTIFICATES}/{node.id}"):
            found = merged(found, rendered((self.secrets / f"{name}.sls").read_text()))
        own = self.secrets / "own" / f"{node.id}.sls"
        return merged(found, rendered(own.read_text())) if own.exists() else found

    def wanted(self, node: Node, environment: str) -> dict[str, str]:
        found = dict(super().wanted(node, environment))
        told = self.pillar(node)
        if "db" in node.roles:
            found["db.config"] += told["secrets"]["mongodb_keyfile"]
        if "web" in node.roles:
            also = told["secrets"].get("also", {}).get("counterapp_operator")
            login = [told["mongodb"]["app_user"], told["secrets"]["mongodb_app"]]
            found["web.config"] += json.dumps(
                [*login, told["secrets"]["counterapp_operator"], also]
            )
        return found

    def _declared(self, node: Node) -> list[tuple[str, str, str]]:
        """Return whom salt/db/replication.sls declares there: names, databases, passwords."""
        told = self.pillar(node)
        found = []
        for user in USERS:
            database = told["mongodb"]["app_database"] if user == "app" else "admin"
            for path in ((), ("coming",)):
                names, values = told["mongodb"], told["secrets"]
                for part in path:
                    names, values = names.get(part, {}), values.get(part, {})
                if f"{user}_user" in names:
                    found.append((names[f"{user}_user"], database, values[f"mongodb_{user}"]))
        return found

    # What runs

    def _take_in(self, node: Node) -> None:
        """Have what starts on a node know what it is configured with."""
        told = self.pillar(node)
        if "db" in node.roles:
            text = told["secrets"]["mongodb_keyfile"]
            self.keys[node.id] = yaml.safe_load(text) if text.startswith("- ") else [text]
        if "web" in node.roles:
            secrets = told["secrets"]
            self.logins[node.id] = (told["mongodb"]["app_user"], secrets["mongodb_app"])
            also = secrets.get("also", {})
            self.signers[node.id] = {secrets["counterapp_operator"], *also.values()}
        if "lb" in node.roles:
            self.shown[node.id] = told["secrets"][certificate.CERTIFICATE]

    def _archive(self, node: Node) -> None:
        """Have the archive of the oplog log in as it is configured."""
        if "db" in node.roles:
            told = self.pillar(node)
            password = told["secrets"]["mongodb_backup"]
            self.archives[node.id] = (told["mongodb"]["backup_user"], password)

    def _restart_mongod(self, node: Node) -> list[str]:
        self._take_in(node)
        return super()._restart_mongod(node)

    def _restart_app(self, node: Node) -> None:
        self._take_in(node)
        super()._restart_app(node)

    def check(self) -> None:
        super().check()
        if not hasattr(self, "signers"):
            return
        up = [node for node in self.with_role("db") if node.mongod in ("PRIMARY", "SECONDARY")]
        for node in up:
            for other in up:
                if not set(self.keys[node.id]) & set(self.keys[other.id]):
                    self.breaks(f"{node.id} and {other.id} have no key in common")
        for node in self.with_role("web"):
            name, password = self.logins[node.id]
            if node.ready and self.users.get((DECLARED["app_database"], name)) != password:
                self.breaks(f"{node.id} is refused by the database as {name}")
        self.check_connections()
        for name, password in self.archives.values():
            if self.users.get(("admin", name)) != password:
                self.breaks(f"the archive is refused by the database as {name}")

    def check_places(self) -> None:
        turning = {node.id for node in self.nodes.values() if "rotating" in self.pillar(node)}
        busy = [self.nodes[name] for name in turning]
        for node in busy:
            node.busy += 1
        super().check_places()
        for node in busy:
            node.busy -= 1
        for member in self.with_role("db"):
            for name, database, password in self._declared(member):
                known = self.users.get((database, name))
                # One that is to come is made by whoever applies it first.
                if known is not None and known != password:
                    self.breaks(f"{member.id} would give {name} another password")

    # What they are asked

    def do_saltutil_refresh_pillar(self, node: Node, **_kwarg: Any) -> bool:
        self.memory[node.id] = self.pillar(node)
        return True

    def do_state_sls(self, node: Node, mods: str, **kwarg: Any) -> Generator[float, None, Any]:
        if mods == "gluster.tls":
            # What includes it.
            done = yield from super().do_state_sls(node, "gluster.install", **kwarg)
            self.take_files(node)
            return done
        if mods == "lb.haproxy":
            done = yield from super().do_state_sls(node, "lb", **kwarg)
            if isinstance(done, dict):
                self._take_in(node)
            return done
        # What includes the rest of the role.
        whole = mods in ("db", "db.replication", "db.archive")
        done = yield from super().do_state_sls(node, "db" if whole else mods, **kwarg)
        if whole and isinstance(done, dict):
            if mods != "db.replication":
                self._archive(node)
            for name, database, password in self._declared(node):
                if (database, name) not in self.users:
                    self.touched.append(f"user {name} made")
                self.users[database, name] = password
        return done

    def _value(self, node: Node, path: str) -> str:
        found: Any = self.memory[node.id]
        for part in path.split(":"):
            if part not in found:
                raise Failed(f"pillar has no text at {path}")
            found = found[part]
        return str(found)

    def _as_admin(self, node: Node) -> None:
        name = self._value(node, "mongodb:admin_user")
        password = self._value(node, "secrets:mongodb_admin")
        if self.users.get(("admin", name)) != password:
            raise Failed(f"the server refuses the login of {name}")

    def do_mongodb_user_login(self, node: Node, name: str, path: str, database: str) -> bool:
        return self.users.get((database, name)) == self._value(node, path)

    def do_mongodb_user_exists(self, node: Node, name: str, database: str) -> bool:
        self._as_admin(node)
        return (database, name) in self.users

    def do_mongodb_user_remove(
        self, node: Node, name: str, database: str, confirm: str | None = None
    ) -> bool:
        self._as_admin(node)
        if confirm != name:
            raise Failed("to do it say confirm")
        del self.users[database, name]
        self.touched.append(f"user {name} removed")
        return True

    def do_mongodb_key_login(self, node: Node, path: str) -> bool:
        if node.mongod not in ("PRIMARY", "SECONDARY"):
            raise Failed("connection refused")
        return self._value(node, path) in self.keys[node.id]


class SecretSimulation(Simulation):
    """A master with the secrets of its fleet."""

    FLEET = SecretFleet
    MORE = ("db.archive",)
    FILES = (RESTARTS,)
    fleet: SecretFleet

    def rotate(self, name: str, **given: Any) -> dict[str, Any]:
        """Do what ``secret.rotate`` does; raises Died when the master was killed."""
        with self.patched(), self.living():
            return fleet.rotation.rotate(
                self.master, self.fleet, name, listeners=(self._hear,), **given
            )

    def stand_ins(self) -> list[tuple[Any, str, Any]]:
        def of_node(_master: Any, _folders: Any, node: str) -> dict[str, Any]:
            return self.fleet.pillar(self.fleet.nodes[node])

        return [
            (fleet.pillar, "of_node", of_node),
            (fleet.rotation.operator, "answered", self._answered),
            (fleet.rotation.listeners, "asked", self.fleet.listener),
            (fleet.rotation.https, "shown", self._shown),
        ]

    def _shown(self, address: tuple[str, int]) -> str:
        assert address[1] == SETTINGS["lb"]["https"]["port"]
        self.fleet.own("a look at a certificate")
        node = next(each for each in self.fleet.nodes.values() if each.address == address[0])
        return edge.first(self.fleet.shown[node.id])

    def _answered(self, address: str, _port: int, signed: str) -> int:
        self.fleet.own("a request with a token")
        node = next(each for each in self.fleet.nodes.values() if each.address == address)
        if not node.ready:
            raise FleetError("connection refused")
        for key in self.fleet.signers[node.id]:
            try:
                jwt.decode(signed, key, ["HS256"], {"verify_exp": False}, audience="counterapp")
            except jwt.InvalidSignatureError:
                continue
            return 200
        return 401

    def secret(self, name: str) -> str:
        """Return what nodes have, or what tells it from every other."""
        if name in (gluster.CERTIFICATES, gluster.AUTHORITY):
            return simulated_certificates.secret(self.master, name)
        held = yaml.safe_load((self.fleet.secrets / f"{name}.sls").read_text(encoding="utf-8"))
        return str(held["secrets"][name])

    def problems(self) -> list[str]:
        found = super().problems()
        left = [
            path.name
            for kind in ("own", "coming", "former")
            for path in (self.fleet.secrets / kind).glob("*")
        ]
        if left:
            found.append(f"a rotation has left {left}")
        declared = {
            (database, name): password
            for name, database, password in self.fleet._declared(self.fleet.with_role("db")[0])
        }
        if self.fleet.users != declared:
            found.append(f"the users are {sorted(self.fleet.users)}")
        return found + self.fleet.tls_problems()
