"""
The certificate of HTTPS at the VIP.

It becomes another one of our own authority, or what the operator's files have by now, where
``lb:https`` in the pillar names some. Each balancer has it in its file first and then shows it,
without a reload: so no connection is dropped, and a later reload keeps it. Clients take both, so in
between it does not matter that balancers differ.
"""

import ssl
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from fleet import certificate, edge, preflight, secret_files
from fleet.change import Step
from fleet.errors import FleetError
from fleet.readings import PATIENCE
from fleet.rotation.course import STAGE, Part, Rotation, maker
from fleet.work import Work

#: What writes the file, and has HAProxy show it.
_STATES = "lb.haproxy"


class Https:
    """The certificate that all balancers show, and its key."""

    secret = certificate.CERTIFICATE
    did = "is another one, and every balancer shows it"
    roles = ("lb",)

    @property
    def checks(self) -> Sequence[preflight.Check]:
        """Return what has to be so before anything is touched."""
        return (preflight.balancers, self._possible)

    def _possible(self, work: Work, _reached: list[str], _step: Step) -> Iterable[str]:
        if not edge.secure(work.settings):
            yield (
                "the balancers have no HTTPS by the revision that the fleet is on: roll out with "
                "lb:https:enabled true in pillar/lb.sls first"
            )
            return
        try:
            self._make(work)
        except FleetError as error:
            yield from error.problems

    def _make(self, work: Work) -> str:
        """Return what balancers are to show. Raises FleetError when the files are no good."""
        site = maker().Site({}, work.target.topology["vip"], work.settings["lb"]["https"])
        try:
            made: str = maker().https(secret_files.folder(work.change.master), site)
        except maker().Problem as error:
            raise FleetError(str(error)) from None
        return made

    def begin(self, rotation: Rotation) -> dict[str, Any]:
        """Make the certificate to come; there is nothing else to know."""
        # Where there is none yet, it is not rotated but made.
        secret_files.value(rotation.master, self.secret)
        made = {"secrets": {self.secret: self._make(rotation.work)}}
        secret_files.write(rotation.master, self.secret, made, "coming")
        return {}

    def parts(self) -> Sequence[Part]:
        """Return what there is to do; nothing is reloaded."""
        return [
            Part("note the new one as what every balancer has", self._promote),
            Part("have every balancer show the new one, one at a time", self._show),
        ]

    def _promote(self, rotation: Rotation) -> None:
        with rotation.work.step(STAGE, "noting the new one as what every balancer has"):
            rotation.promote()
            rotation.refresh(rotation.nodes())

    def _show(self, rotation: Rotation) -> None:
        wanted = edge.first(secret_files.value(rotation.master, self.secret))
        for node in rotation.nodes():
            rotation.once(f"shown by {node}", partial(_show_one, rotation, node, wanted))


def _show_one(rotation: Rotation, node: str, wanted: str) -> None:
    work = rotation.work
    work.apply(STAGE, [node], [_STATES])
    address = (work.nodes[node]["address"], work.settings["lb"]["https"]["port"])
    with work.step(STAGE, "seeing which certificate it shows", node):
        if shown(address) != wanted:
            raise FleetError(
                f"{node} shows another certificate than the new one at port {address[1]}"
            )


def shown(address: tuple[str, int]) -> str:
    """
    Return the certificate that who listens at an address shows, as PEM.

    Raises FleetError when nobody shows one.
    """
    try:
        return ssl.get_server_certificate(address, timeout=PATIENCE)
    except OSError as error:
        raise FleetError(f"{address[0]}:{address[1]} shows no certificate: {error}") from error
