"""What a master needs for minions on loopback over our tree, with harmless states in the roles.

The roles' own states would change this machine, so in the copy of the tree that the master makes
revisions of each of their SLS is one state that does nothing, does something or fails as it is
told. All the rest is the real thing: revisions and environments, top files, guards, pillar,
runners, orchestration, key store, keys, and the strict settings that bootstrap gives to master and
minions.
"""

from __future__ import annotations

import ipaddress
import json
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import salt.utils.crypt
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from fleet import files
from fleet import revision as revisions
from fleet.master import Master
from tests.support import release_archive

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLATFORMS = {"debian12": {"family": "Debian", "python": "3.11"}}
SECRETS = (
    "mongodb_keyfile",
    "mongodb_admin",
    "mongodb_app",
    "mongodb_health",
    "https_certificate",
    "mongodb_backup",
    "counterapp_operator",
)
KEPT_SLS = ("init.sls",)
ROLES = ("base", "gluster", "storage", "db", "web", "lb")
#: What the web servers are said to serve.
RELEASE = "0.1.0"
TOPOLOGY = "light"

HARMLESS = """\
{{%- from 'lib/cluster.jinja' import me with context %}}

{sls} on {{{{ grains.id }}}}:
  test.configurable_test_state:
    - changes: {{{{ salt['file.file_exists']('{switches}/change.{sls}.' ~ grains.id) }}}}
    - result: {{{{ not salt['file.file_exists']('{switches}/fail.{sls}.' ~ grains.id) }}}}
    - comment: as the test says
"""


def node(address: str, roles: Sequence[str]) -> dict[str, Any]:
    """Return a node as the topology has it."""
    return {
        "address": address,
        "roles": list(roles),
        "lab": "debian12",
        "vm": "debian12",
        "memory": 256,
        "cpus": 1,
    }


def settings(daemon: str) -> dict[str, Any]:
    """Return what bootstrap sets on every ``master`` or ``minion``."""
    text = (ROOT / f"bootstrap/files/{daemon}.conf").read_text()
    text = text.replace("@TOPOLOGY@", TOPOLOGY).replace("@MASTER@", "127.0.0.1")
    found: dict[str, Any] = yaml.safe_load(text)
    # Paths are those of a node, the log is what a test reads, and waiting is its own matter.
    for name in list(found):
        if name.endswith(("_roots", "_dirs")) or name.startswith(("log_", "counterapp_")):
            del found[name]
    return found


def make_key(pki: pathlib.Path, bits: int = 2048) -> str:
    """Make a minion's key pair where it looks for one, and return its fingerprint."""
    pki.mkdir(parents=True, exist_ok=True)
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (pki / "minion.pem").write_bytes(private)
    os.chmod(pki / "minion.pem", 0o400)  # noqa: PTH101
    (pki / "minion.pub").write_bytes(public)
    fingerprint: str = salt.utils.crypt.pem_finger(path=str(pki / "minion.pub"), sum_type="sha256")
    return fingerprint


class Fleet:
    """
    What the fleet is made of, and what steers it.

    ``checkout`` is what revisions are made from; what is edited there, in ``tree`` (its states) and
    in ``pillar`` (before its pillar), is as it was after ``reset``. ``notes`` is the pillar folder
    of what is no part of a revision.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        nodes: Mapping[str, dict[str, Any]],
        network: str = "192.168.77.0/24",
    ) -> None:
        """
        folder
            Of its own, and empty.
        nodes
            By ID, as :func:`node` makes them.
        network
            Where their addresses lie; its VIP is that with number 200.
        """
        self.folder = folder
        self.nodes = nodes
        self.network = ipaddress.IPv4Network(network)
        self.checkout = folder / "checkout"
        self.tree = self.checkout / "salt"
        self.switches = folder / "switches"
        self.pillar = folder / "pillar"
        self.config = folder / "config"
        self.notes = self.config / "pillar"
        self.state = folder / "state"
        self.dist = folder / "dist"
        for each in (self.switches, self.pillar, self.notes / "secrets", self.dist):
            each.mkdir(parents=True)
        for name in SECRETS:
            path = self.notes / f"secrets/{name}.sls"
            path.write_text(f"secrets: {{{name}: only-for-those-who-need-{name}}}\n")
        # As bootstrap has it, on a master and in its Python.
        (folder / "orchestrations").mkdir()
        (folder / "orchestrations/orch").symlink_to(self.tree / "orch")
        self.python = folder / "python"
        self.python.mkdir()
        (self.python / "fleet").symlink_to(ROOT / "fleet")
        release_archive.archive(self.dist, RELEASE)
        self.bare()

    @property
    def opts(self) -> dict[str, Any]:
        """What of the master's configuration says where this fleet has what."""
        state, notes = self.state, str(self.notes)
        return {
            "counterapp_topology": TOPOLOGY,
            "counterapp_tree": str(self.checkout),
            "counterapp_pillar": [str(self.pillar)],
            "counterapp_config": str(self.config),
            "counterapp_state": str(state),
            "counterapp_dist": str(self.dist),
            "file_roots": {
                "base": [str(state / "base/salt"), str(self.folder / "orchestrations")],
                "candidate": [str(state / "candidate/salt")],
            },
            "pillar_roots": {
                "base": [str(state / "base/pillar"), notes],
                "candidate": [str(state / "candidate/pillar"), notes],
            },
            "runner_dirs": [str(ROOT / "_runners")],
            "utils_dirs": [str(ROOT / "_utils")],
            "module_dirs": [str(ROOT / "_modules")],
            "cache_dirs": [str(ROOT / "_cache")],
        }

    @property
    def master(self) -> Master:
        """Where the functions of ``fleet`` find this fleet's things."""
        return Master({"id": "light-master", **self.opts})

    def write_topology(self, nodes: Mapping[str, dict[str, Any]]) -> None:
        """Have the checkout's topology have these nodes."""
        topology = {
            "network": str(self.network),
            "vip": str(self.network[200]),
            "nodes": dict(nodes),
        }
        document = {"platforms": PLATFORMS, "topologies": {TOPOLOGY: topology}}
        (self.pillar / "topology.sls").write_text(yaml.safe_dump(document, sort_keys=False))

    def switch(self, kind: str, sls: str, node: str) -> None:
        """Have the SLS ``change`` something or ``fail`` on a node from now on."""
        (self.switches / f"{kind}.{sls}.{node}").touch()

    def capture(self) -> revisions.Revision:
        """Return the revision of what is in the checkout now."""
        return revisions.capture(self.master, RELEASE)

    def settle(self) -> revisions.Revision:
        """Have what is in the checkout be what the fleet is on, as after a rollout; return it."""
        revision = self.capture()
        revisions.settle(revision)
        return revision

    def history(self) -> list[dict[str, Any]]:
        """Return the changes of the fleet, the oldest first."""
        path = self.state / "history.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def bare(self) -> None:
        """Be as bootstrap leaves a fleet: nothing was rolled out yet, and nothing is pending."""
        for path in self.switches.iterdir():
            path.unlink()
        shutil.rmtree(self.state, ignore_errors=True)
        files.write_json(self.notes / "moving.yaml", {})
        self.write_topology(self.nodes)
        self._copy_tree()

    def reset(self) -> None:
        """Be on what is in the repository, with nothing pending, no lock and no history."""
        self.bare()
        self.settle()

    def _copy_tree(self) -> None:
        shutil.rmtree(self.checkout, ignore_errors=True)
        for name in ("salt", "pillar", "_modules", "_states", "_utils"):
            shutil.copytree(
                ROOT / name,
                self.checkout / name,
                symlinks=True,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
        for role in ROLES:
            for path in (self.tree / role).glob("*.sls"):
                if path.name not in KEPT_SLS:
                    sls = f"{role}.{path.stem}"
                    path.write_text(HARMLESS.format(sls=sls, switches=self.switches))
        # Nothing that could touch this machine may be left in what the minions are given.
        for path in self.tree.rglob("*.sls"):
            if path.parent.name in ROLES:
                for line in path.read_text().splitlines():
                    assert not line.strip().startswith(("file.", "pkg.", "service.", "user.")), path
