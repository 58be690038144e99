"""
The key that operators' tokens are signed with.

Web servers take a second key: each is started with both, then the master signs with the new one,
and each is started with the new one alone. So a token that is made at any moment is good at every
web server, until the last round begins: from then on one that the old key has signed is refused
here and there, and in the end everywhere, which is what the rotation is for.
"""

import http.client
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from fleet import preflight, secret_files, token
from fleet.errors import FleetError
from fleet.readings import PATIENCE
from fleet.rotation.course import REFUSED, STAGE, Part, Rotation, make_coming
from fleet.stages import web

#: What only a token is good for, or the key of an owner.
_ASKED = "/api/v1/counters?limit=1"


class Operator:
    """The operators' key."""

    secret = "counterapp_operator"
    did = REFUSED
    # Balancers send nothing to a web server that is restarted.
    roles = ("web", "lb")
    checks = (preflight.balancers,)

    def begin(self, rotation: Rotation) -> dict[str, Any]:
        """Make the key to come; there is nothing else to know."""
        make_coming(rotation.master, self.secret)
        return {}

    def parts(self) -> Sequence[Part]:
        """Return what there is to do: each web server is restarted twice."""
        return [
            Part("have each web server take tokens of both keys, one at a time", self._both),
            Part("have the master sign tokens with the new key", self._promote),
            Part("have each web server take tokens of the new key alone, one at a time", self._new),
            Part("see that the old one is refused, and the new one is not", self._see),
        ]

    def _both(self, rotation: Rotation) -> None:
        old = secret_files.value(rotation.master, self.secret)
        new = secret_files.value(rotation.master, self.secret, "coming")
        self._round(rotation, "both keys", {self.secret: old, "also": {self.secret: new}})

    def _new(self, rotation: Rotation) -> None:
        new = secret_files.value(rotation.master, self.secret)
        self._round(rotation, "the new key", {self.secret: new})

    def _round(self, rotation: Rotation, word: str, given: dict[str, Any]) -> None:
        work = rotation.work
        for node in web.in_order(work.with_role("web"), web.balancers_views(work)):
            rotation.turn(word, node, {"secrets": given}, partial(web.replace, work, [node]))

    def _promote(self, rotation: Rotation) -> None:
        with rotation.work.step(STAGE, "having the master sign tokens with the new key"):
            rotation.promote()

    def _see(self, rotation: Rotation) -> None:
        work = rotation.work
        port = work.settings["web"]["port"]
        for node in work.with_role("web"):
            with work.step(STAGE, "seeing that the old one is refused", node):
                for kind, wanted in (("", 200), ("former", 401)):
                    key = secret_files.value(rotation.master, self.secret, kind)
                    made = token.signed(key, ["counters:read"], int(time.time()) + 60, "rotation")
                    status = answered(work.nodes[node]["address"], port, made)
                    if status != wanted:
                        raise FleetError(
                            f"{node} answers a token of the {kind or 'new'} key with {status}, not "
                            f"with {wanted}"
                        )


def answered(address: str, port: int, signed: str) -> int:
    """
    Return the status that a web server answers a request with, which carries a token.

    Raises FleetError when there is no answer.
    """
    connection = http.client.HTTPConnection(address, port, timeout=PATIENCE)
    try:
        connection.request("GET", _ASKED, headers={"Authorization": f"Bearer {signed}"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException) as error:
        raise FleetError(f"{address}:{port} does not answer: {error}") from error
    finally:
        connection.close()
