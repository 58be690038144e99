"""
Gluster's certificates, and the authority that signs them.

Gluster reads certificate, key and authorities anew for each connection, in or out, and goes on with
those that are open. So to replace the files is all that new connections take, and what a daemon has
open it keeps until it is restarted. While an authority becomes another, all nodes trust both: then
each shows a certificate of the new one, then each trusts that alone, and in this last round one
storage node after the other is restarted, which ends what a stranger has open by the old one.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import salt.utils.yaml

from fleet import files, preflight, secret_files
from fleet.change import Step
from fleet.errors import FleetError
from fleet.master import Master
from fleet.rotation import listeners
from fleet.rotation.course import REFUSED, STAGE, Part, Rotation, maker
from fleet.stages.storage import volume_healthy
from fleet.work import Work

CERTIFICATES = "gluster_tls"
AUTHORITY = "gluster_tls_authority"
#: Where glusterd listens.
_PORT = 24007
_RESTART, _CONNECT = 120.0, 60.0
#: What of a revision knows how to restart Gluster's daemons.
RESTARTS = "_modules/gluster_daemon.py"
#: Every node mounts the volume.
_ROLES = ("master", "web", "db", "storage", "lb")


def held(master: Master, node: str, name: str = CERTIFICATES, kind: str = "") -> dict[str, str]:
    """
    Return ``certificate``, ``key`` and ``ca`` of a node, as PEM.

    name, kind
        Which secret's and which kind; see :func:`fleet.secret_files.path`.

    Raises FleetError where they were not made yet.
    """
    where = secret_files.path(master, f"{name}/{node}", kind)
    try:
        read = salt.utils.yaml.safe_load(where.read_text(encoding="utf-8"))
        found: dict[str, str] = read["secrets"][CERTIFICATES]
    except FileNotFoundError:
        raise FleetError(f"{where} is missing: {_remedy(master)}") from None
    except (KeyError, TypeError, salt.utils.yaml.YAMLError):
        # The error itself may quote the key.
        raise FleetError(f"{where} has no certificate: remove it, and {_remedy(master)}") from None
    return found


def _remedy(master: Master) -> str:
    return f"run `/srv/counterapp/bootstrap/make-secrets {secret_files.folder(master)}`"


@dataclass(frozen=True)
class _Listener:
    node: str
    address: str
    port: int

    def ask(self, shown: dict[str, str], ca: str) -> str | None:
        return listeners.asked(self.address, self.port, shown, ca)


class _Gluster:
    """What both have in common: who has to do with it, and how nodes get their files."""

    secret: str
    roles = _ROLES

    @property
    def checks(self) -> Sequence[preflight.Check]:
        return (preflight.volume, self._made)

    def _made(self, work: Work, _reached: list[str], _step: Step) -> Iterable[str]:
        """Return why there is nothing to rotate."""
        if not work.settings["gluster"]["tls"]:
            return [
                "Gluster works without TLS here, and nobody has its certificates: "
                f"{_remedy(work.change.master)} after gluster:tls is true in pillar/gluster.sls, "
                "then `salt-run storage.switch_tls`"
            ]
        return self._missing(work)

    def _missing(self, work: Work) -> list[str]:
        problems = []
        for node in work.nodes:
            try:
                held(work.change.master, node)
            except FleetError as error:
                problems += error.problems
        return problems

    def _make(self, rotation: Rotation, authority: Any) -> None:
        """Have an authority sign a certificate to come for each node."""
        for node, entry in rotation.work.nodes.items():
            made = {"secrets": {CERTIFICATES: authority.certify(node, entry["address"])}}
            secret_files.write(rotation.master, f"{self.secret}/{node}", made, "coming")

    def _coming(self, rotation: Rotation, node: str) -> dict[str, str]:
        return held(rotation.master, node, self.secret, "coming")

    def _give(
        self, rotation: Rotation, nodes: Sequence[str], files_of: Callable[[str], dict[str, str]]
    ) -> None:
        """Have nodes go by other files of TLS; what runs there takes them for new connections."""
        for node in nodes:
            given = {"secrets": {CERTIFICATES: files_of(node)}}
            secret_files.give(rotation.master, node, given)
        rotation.work.apply(STAGE, nodes, ["gluster.tls"])

    def _promote(self, rotation: Rotation) -> None:
        """Have the certificates to come be those that nodes have."""
        master = rotation.master
        for node in rotation.work.nodes:
            source = secret_files.path(master, f"{self.secret}/{node}", "coming")
            target = secret_files.path(master, f"{CERTIFICATES}/{node}")
            files.write(target, source.read_text(encoding="utf-8"))

    def _see_shown(self, rotation: Rotation, both: bool = False) -> None:
        """
        See that each listener shows its node's certificate to come, and answers who has one.

        both
            True where they still show those of before.
        """
        work = rotation.work
        asking = self._coming(rotation, work.with_role("storage")[0])
        with work.step(STAGE, "seeing that each listener takes the new ones") as step:
            found = _listeners(work)
            for each in found:
                coming = self._coming(rotation, each.node)
                ca = coming["ca"] + (held(work.change.master, each.node)["ca"] if both else "")
                shown = each.ask(asking, ca)
                words = f"{each.node}: what listens at {each.address}:{each.port}"
                if shown is None:
                    raise FleetError(f"{words} refuses who has a new certificate")
                if not both and shown.split() != coming["certificate"].split():
                    raise FleetError(f"{words} does not show its new certificate")
            step.did = f"{len(found)} listeners take them"


def _listeners(work: Work) -> list[_Listener]:
    """Return every glusterd and every brick."""
    keepers = work.with_role("storage")
    nodes = {work.nodes[node]["address"]: node for node in keepers}
    volume = work.settings["gluster"]["volume"]
    bricks = work.ask(keepers[:1], "gluster.status", volume)[keepers[0]]["bricks"]
    return [
        *(_Listener(node, address, _PORT) for address, node in nodes.items()),
        *(_Listener(nodes[each["host"]], each["host"], each["port"]) for each in bricks),
    ]


class Certificates(_Gluster):
    """The certificate of each node, and its key."""

    secret = CERTIFICATES
    did = (
        "are others; the old ones are good until they end, unless `salt-run secret.rotate "
        f"{AUTHORITY}` has them refused"
    )

    def _missing(self, work: Work) -> list[str]:
        """Return why the authority cannot sign: other nodes would not believe what it signs."""
        if problems := super()._missing(work):
            return problems
        where = secret_files.folder(work.change.master) / f"{AUTHORITY}.pem"
        way = f"run `salt-run secret.rotate {AUTHORITY}`, which makes another one"
        if not where.exists():
            return [f"{where} is missing, which signs certificates: {way}"]
        ca = maker().pem(maker().Authority.of(where).certificate)
        return [
            f"{where} is not the authority that {node} trusts: {way}"
            for node in work.nodes
            if held(work.change.master, node)["ca"] != ca
        ]

    def begin(self, rotation: Rotation) -> dict[str, Any]:
        """Have the authority sign a certificate to come for each node."""
        where = secret_files.folder(rotation.master) / f"{AUTHORITY}.pem"
        self._make(rotation, maker().Authority.of(where))
        return {}

    def parts(self) -> Sequence[Part]:
        """Return what there is to do; nothing is restarted."""
        return [
            Part("have every node show another certificate of the same authority", self._show),
            Part("note the new ones as what every node has", self._note),
        ]

    def _show(self, rotation: Rotation) -> None:
        self._give(rotation, rotation.nodes(), partial(self._coming, rotation))
        self._see_shown(rotation)

    def _note(self, rotation: Rotation) -> None:
        with rotation.work.step(STAGE, "noting the new ones as what every node has"):
            self._promote(rotation)


class Authority(_Gluster):
    """Who signs the certificates of all nodes, and so the certificates."""

    secret = AUTHORITY
    did = REFUSED

    def _missing(self, work: Work) -> list[str]:
        """Return why it cannot be done to its end."""
        if not (work.target.folder / RESTARTS).is_file():
            return [
                f"the revision that the fleet is on, {work.target.id}, does not know how Gluster's "
                "daemons are restarted: roll out what is in the checkout first"
            ]
        return super()._missing(work)

    def begin(self, rotation: Rotation) -> dict[str, Any]:
        """Make an authority, and have it sign a certificate to come for each node."""
        authority = maker().Authority.fresh()
        folder = secret_files.folder(rotation.master)
        files.write(folder / "coming" / f"{AUTHORITY}.pem", authority.text())
        self._make(rotation, authority)
        return {}

    def parts(self) -> Sequence[Part]:
        """Return what there is to do: every node gets other files three times."""
        return [
            Part("have every node trust both authorities", self._trust_both),
            Part("have every node show a certificate of the new one", self._show),
            Part(
                "have every node trust the new one alone, and restart Gluster's daemons on one "
                "storage node at a time",
                self._trust_new,
            ),
            Part("note the new one as what every node has", self._note),
            Part("see that the old one is refused, and the new one is not", self._see),
        ]

    def _trust_both(self, rotation: Rotation) -> None:
        def given(node: str) -> dict[str, str]:
            return {"ca": self._both(rotation, node)}

        self._give(rotation, rotation.nodes(), given)
        self._see_shown(rotation, both=True)

    def _both(self, rotation: Rotation, node: str) -> str:
        return held(rotation.master, node)["ca"] + self._coming(rotation, node)["ca"]

    def _show(self, rotation: Rotation) -> None:
        def given(node: str) -> dict[str, str]:
            return {**self._coming(rotation, node), "ca": self._both(rotation, node)}

        self._give(rotation, rotation.nodes(), given)
        self._see_shown(rotation)

    def _trust_new(self, rotation: Rotation) -> None:
        work = rotation.work
        keepers = work.with_role("storage")
        others = [node for node in rotation.nodes() if node not in keepers]
        coming = partial(self._coming, rotation)
        rotation.once("trust of the others", partial(self._give, rotation, others, coming))
        for node in keepers:
            given = {"secrets": {CERTIFICATES: coming(node)}}
            rotation.turn("trust of", node, given, partial(self._restart, work, node))

    def _restart(self, work: Work, node: str) -> None:
        """Have one storage node go by its files, while the others have all that it has."""
        volume, path = (work.settings["gluster"][key] for key in ("volume", "mount"))
        volume_healthy(work)
        work.apply(STAGE, [node], ["gluster.tls"])
        with work.step(STAGE, "restarting Gluster's daemons", node):
            # It waits twice.
            work.wait([node], "gluster.restart", volume, timeout=_RESTART / 2, extra=_RESTART / 2)
        volume_healthy(work)
        # Who has not come back to this node must not lose the next one.
        with work.step(STAGE, f"waiting until {path} reaches all bricks on every node"):
            work.wait(list(work.nodes), "gluster.wait_connected", path, timeout=_CONNECT, extra=5)

    def _note(self, rotation: Rotation) -> None:
        master, folder = rotation.master, secret_files.folder(rotation.master)
        with rotation.work.step(STAGE, "noting the new one as what every node has"):
            witness = self._witness(rotation)
            former = secret_files.path(master, f"{AUTHORITY}/{witness}", "former")
            if not former.exists():
                old = secret_files.path(master, f"{CERTIFICATES}/{witness}")
                files.write(former, old.read_text(encoding="utf-8"))
            self._promote(rotation)
            coming = folder / "coming" / f"{AUTHORITY}.pem"
            files.write(folder / f"{AUTHORITY}.pem", coming.read_text(encoding="utf-8"))
            # Signed by the old one for nodes that are to come: make-secrets makes others.
            for each in (folder / CERTIFICATES).glob("*.sls"):
                if each.stem not in rotation.work.nodes:
                    each.unlink()

    def _witness(self, rotation: Rotation) -> str:
        """Return the node whose old certificate is tried in the end."""
        return rotation.work.with_role("storage")[0]

    def _see(self, rotation: Rotation) -> None:
        work, master, witness = rotation.work, rotation.master, self._witness(rotation)
        old, new = held(master, witness, AUTHORITY, "former"), held(master, witness)
        with work.step(STAGE, "seeing that the old one is refused") as step:
            found = _listeners(work)
            for each in found:
                words = f"{each.node}: what listens at {each.address}:{each.port}"
                if each.ask(new, new["ca"]) is None:
                    raise FleetError(f"{words} refuses a certificate of the new authority")
                if each.ask(old, new["ca"]) is not None:
                    raise FleetError(f"{words} still takes a certificate of the old authority")
            step.did = f"{len(found)} listeners refuse it"
