"""
The key by which the members of the replica set, and nobody else, are members.

mongod reads its file when it starts, and takes one key or two: it shows the first, and the second
to a member that refuses that. So each member is started with both, and then with the new one alone:
whichever two meet on the way have one in common.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from fleet import preflight, secret_files
from fleet.errors import FleetError
from fleet.rotation.course import REFUSED, STAGE, Part, Rotation, make_coming
from fleet.stages import db
from fleet.work import Work


class Keyfile:
    """The replica set's key."""

    secret = "mongodb_keyfile"
    did = REFUSED
    roles = ("db",)
    checks = (preflight.database,)

    def begin(self, rotation: Rotation) -> dict[str, Any]:
        """Make the key to come; there is nothing else to know."""
        make_coming(rotation.master, self.secret)
        return {}

    def parts(self) -> Sequence[Part]:
        """Return what there is to do: each member is restarted twice."""
        turns = "one member at a time, the primary last"
        return [
            Part(f"have each member know both keys, {turns}", self._both),
            Part(f"have each member know the new key alone, {turns}", self._new),
            Part("note the new one as what every member has", self._promote),
            Part("see that the old one is refused, and the new one is not", self._see),
        ]

    def _both(self, rotation: Rotation) -> None:
        old = secret_files.value(rotation.master, self.secret)
        new = secret_files.value(rotation.master, self.secret, "coming")
        # What mongod takes for a list.
        self._round(rotation, "both keys", f'- "{old}"\n- "{new}"\n')

    def _new(self, rotation: Rotation) -> None:
        new = secret_files.value(rotation.master, self.secret, "coming")
        self._round(rotation, "the new key", new)

    def _round(self, rotation: Rotation, word: str, content: str) -> None:
        work = rotation.work
        members = work.with_role("db")
        states = work.everyone(members, "mongodb.status").answers
        for node in db.in_order(members, states):
            given = {"secrets": {self.secret: content}}
            rotation.turn(word, node, given, partial(db.replace, work, node))
        db.healthy(work)

    def _promote(self, rotation: Rotation) -> None:
        work = rotation.work
        with work.step(STAGE, "noting the new one as what every member has"):
            rotation.promote(work.with_role("db"))

    def _see(self, rotation: Rotation) -> None:
        for node in rotation.work.with_role("db"):
            with rotation.work.step(STAGE, "seeing that the old one is refused", node):
                _login(rotation.work, node, f"secrets:{self.secret}", True)
                _login(rotation.work, node, f"secrets:former:{self.secret}", False)


def _login(work: Work, node: str, path: str, wanted: bool) -> None:
    if work.ask([node], "mongodb.key_login", path)[node] is not wanted:
        state = "does not let in" if wanted else "still lets in"
        raise FleetError(f"{node}: mongod {state} a member with the key at pillar {path}")
