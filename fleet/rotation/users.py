"""
Passwords of MongoDB's users.

A user has one password, and a connection stays logged in when it changes: to change it would refuse
whoever comes with the old one, and go on serving a stranger who came before. So there are two users
who take turns, ``counterapp`` and ``counterapp-b``: the one to come is made with the new password,
who logs in goes over to it one by one, and the old user is removed, which ends what is open.
User and password go together in the pillar: at any moment each node has a pair that is good.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import salt.utils.yaml

from fleet import pillar, preflight, secret_files
from fleet.errors import FleetError
from fleet.rotation.course import REFUSED, STAGE, Part, Rotation, fresh
from fleet.stages import db, web
from fleet.work import Work

#: What the name of the user ends with who takes turns with the declared one; both have its role.
SECOND = "-b"


@dataclass(frozen=True)
class User:
    """
    The password of a user.

    secret
        Its name among the secrets.
    key
        Where the pillar has the user's name, below ``mongodb``.
    database_key
        Where it has the user's database; none is ``admin``.
    web
        Whether web servers log in as it, and have to go over.
    service
        The SLS of a service on every member that logs in as it, where the revision has that.
    """

    secret: str
    key: str
    database_key: str | None = None
    web: bool = False
    service: str | None = None

    @property
    def did(self) -> str:
        return REFUSED

    @property
    def roles(self) -> Sequence[str]:
        # Balancers send nothing to a web server that goes over.
        return ("db", "web", "lb") if self.web else ("db",)

    @property
    def checks(self) -> Sequence[preflight.Check]:
        return (preflight.database, preflight.balancers) if self.web else (preflight.database,)

    def begin(self, rotation: Rotation) -> dict[str, Any]:
        """Return ``old`` and ``new``, the names of the two users, and their ``database``."""
        work, master = rotation.work, rotation.master
        # Refused where there is none yet.
        secret_files.value(master, self.secret)
        member = work.with_role("db")[0]
        known = pillar.of_node(master, work.target.pillars, member)["mongodb"]
        old = known[self.key]
        name = secret_files.path(master, self.secret)
        held = salt.utils.yaml.safe_load(name.read_text(encoding="utf-8"))
        made: dict[str, Any] = {"secrets": {self.secret: fresh(self.secret)}}
        if "mongodb" in held:
            new = old.removesuffix(SECOND)
        else:
            new = f"{old}{SECOND}"
            # Who gives the user another name gives it to both.
            declared = "{% import_yaml 'mongodb.sls' as declared %}{{ declared.mongodb."
            made["mongodb"] = {self.key: f"{declared}{self.key} }}}}{SECOND}"}
        secret_files.write(master, self.secret, made, "coming")
        return {
            "old": old,
            "new": new,
            "database": known[self.database_key] if self.database_key else "admin",
        }

    def parts(self) -> Sequence[Part]:
        """Return what there is to do; only the application's user is one that services have."""
        return [
            Part("make a second user, who has the new password", self._make),
            *(
                [Part("have each web server log in as that one, one at a time", self._go_over)]
                if self.web
                else []
            ),
            Part("have every node go by the new one", self._promote),
            *(
                [Part("have the service of each member log in as that one", self._serve)]
                if self.service
                else []
            ),
            Part("remove the old user, which ends what it has open", self._remove),
            Part("see that the old one is refused, and the new one is not", self._see),
        ]

    def _make(self, rotation: Rotation) -> None:
        work = rotation.work
        for node in work.with_role("db"):
            secret_files.give(rotation.master, node, self._both(rotation))
        node = self._member(rotation)
        # What else differs there may restart its daemon.
        db.step_aside(work, node)
        work.apply("db", [node], ["db.replication"])
        db.member_back(work, node)
        with work.step(STAGE, "seeing that the new one is let in", node):
            self._login(rotation, node, "new", f"secrets:coming:{self.secret}", True)

    def _both(self, rotation: Rotation) -> dict[str, Any]:
        """Return the pillar of a member while both users are good."""
        value = secret_files.value(rotation.master, self.secret, "coming")
        return {
            "mongodb": {"coming": {self.key: rotation.facts["known"]["new"]}},
            "secrets": {"coming": {self.secret: value}},
        }

    def _go_over(self, rotation: Rotation) -> None:
        work = rotation.work
        value = secret_files.value(rotation.master, self.secret, "coming")
        for node in web.in_order(work.with_role("web"), web.balancers_views(work)):
            also = self._both(rotation) if node in work.with_role("db") else {}
            given = {
                "mongodb": {**also.get("mongodb", {}), self.key: rotation.facts["known"]["new"]},
                "secrets": {**also.get("secrets", {}), self.secret: value},
            }
            rotation.turn("go over", node, given, partial(web.replace, work, [node]))

    def _promote(self, rotation: Rotation) -> None:
        work = rotation.work
        with work.step(STAGE, "having every node go by the new one"):
            rotation.promote(work.with_role("db"))

    def _serve(self, rotation: Rotation) -> None:
        work = rotation.work
        assert self.service
        sls = work.target.folder / f"salt/{self.service.replace('.', '/')}.sls"
        if not sls.is_file():
            return
        members = work.with_role("db")
        for node in db.in_order(members, work.everyone(members, "mongodb.status").answers):
            rotation.once(f"service {node}", partial(self._restart, work, node))

    def _restart(self, work: Work, node: str) -> None:
        assert self.service
        # What else differs there may restart its daemon.
        db.step_aside(work, node)
        work.apply("db", [node], [self.service])
        db.member_back(work, node)

    def _remove(self, rotation: Rotation) -> None:
        work, known = rotation.work, rotation.facts["known"]
        node = self._member(rotation)
        with work.step(STAGE, f"removing the user {known['old']}", node) as step:
            where = known["database"]
            if work.ask([node], "mongodb.user_exists", known["old"], where)[node] is True:
                work.ask([node], "mongodb.user_remove", known["old"], where, confirm=known["old"])
                step.did = "removed"
            else:
                step.did = "was gone already"

    def _see(self, rotation: Rotation) -> None:
        node = self._member(rotation)
        with rotation.work.step(STAGE, "seeing that the old one is refused", node) as step:
            self._login(rotation, node, "new", f"secrets:{self.secret}", True)
            self._login(rotation, node, "old", f"secrets:former:{self.secret}", False)
            step.did = f"{rotation.facts['known']['old']} is refused"

    def _login(self, rotation: Rotation, node: str, which: str, path: str, wanted: bool) -> None:
        known = rotation.facts["known"]
        name, database = known[which], known["database"]
        if (
            rotation.work.ask([node], "mongodb.user_login", name, path, database)[node]
            is not wanted
        ):
            state = "does not let in" if wanted else "still lets in"
            raise FleetError(
                f"the replica set {state} {name} of {database} with the password at pillar {path}"
            )

    def _member(self, rotation: Rotation) -> str:
        """Return the member that is asked: one that can go, if it has to."""
        members = rotation.work.with_role("db")
        states = rotation.work.everyone(members, "mongodb.status").answers
        serving = [node for node in members if (states.get(node) or {}).get("state")]
        return db.in_order(serving or members, states)[0]
