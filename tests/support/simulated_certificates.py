"""
Gluster's certificates on the nodes of a simulated fleet: what their files have, and who is let in.

Files count for each connection that is made anew, as with Gluster itself; a daemon has those of
before until it is restarted.
"""

from collections.abc import Generator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import salt.utils.yaml
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from fleet import secret_files
from fleet.errors import FleetError
from fleet.master import Master
from fleet.rotation import gluster
from fleet.rotation.course import maker
from tests.support.simulated import Fleet
from tests.support.simulated_nodes import Failed, Node

#: Seconds for which the daemons of a node are away.
AWAY = 2.0
BRICK = 49152


@cache
def _first(nodes: tuple[tuple[str, str], ...]) -> tuple[str, dict[str, dict[str, str]]]:
    """Return an authority and its certificates: one for all fleets that have the same nodes."""
    authority = maker().Authority.fresh()
    return authority.text(), {node: authority.certify(node, address) for node, address in nodes}


@cache
def _certificates(text: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(text.encode())


@cache
def believes(ca: str, certificate: str) -> bool:
    """Return whether who trusts these authorities believes a certificate."""
    [shown] = _certificates(certificate)
    for authority in _certificates(ca):
        try:
            shown.verify_directly_issued_by(authority)
        except (InvalidSignature, ValueError):
            continue
        return True
    return False


class CertifiedFleet(Fleet):
    """A fleet whose nodes have certificates and connect to each storage node's daemons."""

    secrets: Path

    def pillar(self, node: Node) -> dict[str, Any]:
        raise NotImplementedError

    def certify(self) -> None:
        """Make the first certificates, and have each node have its own."""
        nodes = tuple((node.id, node.address) for node in self.nodes.values())
        text, made = _first(nodes)
        (self.secrets / f"{gluster.AUTHORITY}.pem").write_text(text)
        for node, each in made.items():
            pillar = {"secrets": {gluster.CERTIFICATES: each}}
            secret_files.write(self.master, f"{gluster.CERTIFICATES}/{node}", pillar)
        #: What the files of each node have, and what of them those had who have a connection.
        self.tls = {node: dict(each) for node, each in made.items()}
        self.open = {node.id: {self.tls[node.id]["ca"]} for node in self.with_role("storage")}
        self.away: set[str] = set()
        self.unhealed: set[str] = set()
        self.lacking: set[str] = set()
        self.restarted: list[str] = []

    def take_files(self, node: Node) -> None:
        """Have the files of a node be what its pillar says."""
        told = self.pillar(node)["secrets"][gluster.CERTIFICATES]
        if self.tls[node.id] != told:
            self.touched.append(f"{node.id}: gluster.tls")
        self.tls[node.id] = dict(told)
        if node.id in self.open:
            # Somebody connects at any time.
            self.open[node.id].add(told["ca"])

    def check_connections(self) -> None:
        """See that each node would be let in by each storage node, and believe it."""
        for keeper in self.with_role("storage"):
            server = self.tls[keeper.id]
            for node in self.nodes.values():
                client = self.tls[node.id]
                if not believes(server["ca"], client["certificate"]):
                    self.breaks(f"{keeper.id} would not let {node.id} in")
                if not believes(client["ca"], server["certificate"]):
                    self.breaks(f"{node.id} would not believe {keeper.id}")
        lost = self.away | self.unhealed | self.lacking
        if len(lost) > 1:
            self.breaks(f"{', '.join(sorted(lost))} lack what others have at once")

    # What they are asked

    def do_gluster_status(self, _node: Node, _volume: str) -> dict[str, Any]:
        bricks = [
            {"host": each.address, "port": BRICK, "online": each.id not in self.away}
            for each in self.with_role("storage")
        ]
        return {"bricks": bricks, "daemons": []}

    def do_gluster_healthy(self, _node: Node, _volume: str, **_kwarg: Any) -> dict[str, Any]:
        reasons = [f"brick of {name} is offline" for name in sorted(self.away)]
        reasons += [f"{name} has files to be healed" for name in sorted(self.unhealed)]
        return {"healthy": not reasons, "reasons": reasons}

    def do_gluster_restart(
        self, node: Node, _volume: str, **_kwarg: Any
    ) -> Generator[float, None, list[str]]:
        yield 0.1
        if self.away | self.unhealed - {node.id}:
            raise Failed("Gluster was not restarted on this node, which others need")
        self.away.add(node.id)
        self.restarted.append(node.id)
        yield AWAY
        self.away.discard(node.id)
        self.unhealed.add(node.id)
        self.lacking.add(node.id)
        self.open[node.id] = {self.tls[node.id]["ca"]}
        self.clock.at(self.random.uniform(1, 6), lambda: self.unhealed.discard(node.id))
        self.clock.at(self.random.uniform(1, 6), lambda: self.lacking.discard(node.id))
        return [f"{node.address}:/srv/gluster/shared/brick"]

    def do_gluster_wait_connected(
        self, _node: Node, _path: str, timeout: float = 60
    ) -> Generator[float, None, bool]:
        yield from self._await(lambda: not self.lacking, timeout)
        return True

    def listener(self, address: str, port: int, shown: Mapping[str, str], ca: str) -> str | None:
        """Answer as what listens there does; see :func:`fleet.rotation.listeners.asked`."""
        self.own("a connection to Gluster")
        node = next(each for each in self.nodes.values() if each.address == address)
        assert port in (24007, BRICK)
        if node.id in self.away:
            raise FleetError(f"{address}:{port} does not listen: connection refused")
        server = self.tls[node.id]
        if not believes(ca, server["certificate"]):
            raise FleetError(f"{address}:{port} shows a certificate that nobody has to trust")
        return server["certificate"] if believes(server["ca"], shown["certificate"]) else None

    def tls_problems(self) -> list[str]:
        """Return what of it is not as it must be whenever no change runs."""
        found = []
        trusted = {each["ca"] for each in self.tls.values()}
        if len(trusted) > 1:
            found.append("the nodes do not all trust the same authority")
        ca = min(trusted)
        for node, files in self.tls.items():
            path = secret_files.path(self.master, f"{gluster.CERTIFICATES}/{node}")
            read = salt.utils.yaml.safe_load(path.read_text(encoding="utf-8"))
            if files != read["secrets"][gluster.CERTIFICATES]:
                found.append(f"{node} has other certificates than the master notes")
        found += [
            f"who is of before is connected to {n}"
            for n, known in self.open.items()
            if known != {ca}
        ]
        text = (self.secrets / f"{gluster.AUTHORITY}.pem").read_text(encoding="utf-8")
        if ca not in text:
            found.append("the nodes do not trust the authority of the master")
        return found


def secret(master: Master, name: str) -> str:
    """Return a line of the key of a secret, which tells it from every other."""
    if name == gluster.AUTHORITY:
        path = secret_files.folder(master) / f"{name}.pem"
        return path.read_text(encoding="utf-8").splitlines()[2]
    return gluster.held(master, "web-1")["key"].splitlines()[2]
