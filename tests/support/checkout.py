"""A master's folders in a test, over this checkout: with a topology and settings of its own."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import salt.config
import yaml

from fleet import revision
from fleet.master import Master
from tests.support.loading import ROOT

NODES = {
    "boss": ("127.0.0.10", ["master", "lb"]),
    "one": ("127.0.0.11", ["web"]),
    "two": ("127.0.0.12", ["web"]),
    "data": ("127.0.0.13", ["db", "storage"]),
}


class Checkout:
    """
    The folders, and ``opts`` and ``master`` over them.

    ``dist`` is where builds lie, ``mount`` is in the volume's place; ``opts`` are a real master's.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.dist = folder / "dist"
        self.mount = folder / "shared"
        self.notes = folder / "config/pillar"
        for each in (self.dist, self.mount, folder / "pillar", self.notes):
            each.mkdir(parents=True)
        self.opts: dict[str, Any] = salt.config.master_config(None)
        self.opts.update(
            root_dir=str(folder),
            cachedir=str(folder / "cache"),
            extension_modules=str(folder / "extmods"),
            pki_dir=str(folder / "pki"),
            sock_dir=str(folder / "sock"),
            id="boss",
            file_client="local",
            counterapp_topology="own",
            counterapp_tree=str(ROOT),
            counterapp_pillar=[str(folder / "pillar")],
            counterapp_config=str(folder / "config"),
            counterapp_state=str(folder / "state"),
            counterapp_dist=str(self.dist),
            runner_dirs=[str(ROOT / "_runners")],
            utils_dirs=[str(ROOT / "_utils")],
        )
        self.master = Master(self.opts)
        # As bootstrap makes it.
        (self.notes / "moving.yaml").write_text("{}")
        self.write_topology(NODES)
        self.pillar("gluster", {"mount": str(self.mount), "volume": "shared"})

    def write_topology(self, nodes: Mapping[str, tuple[str, Sequence[str]]]) -> None:
        """Have these nodes, by ID with address and roles."""
        document = {
            "platforms": {"debian12": {"family": "Debian", "python": "3.11"}},
            "topologies": {
                "own": {
                    "network": "127.0.0.0/24",
                    "vip": "127.0.0.2",
                    "nodes": {
                        name: {
                            "address": address,
                            "roles": list(roles),
                            "lab": "debian12",
                            "vm": "debian12",
                            "memory": 256,
                            "cpus": 1,
                        }
                        for name, (address, roles) in nodes.items()
                    },
                }
            },
        }
        text = yaml.safe_dump(document, sort_keys=False)
        (self.folder / "pillar/topology.sls").write_text(text)

    def own_tree(self) -> None:
        """Have a tree that is empty in place of this checkout: what matters is a pillar."""
        for name in (*revision.FOLDERS, "pillar"):
            (self.folder / "tree" / name).mkdir(parents=True)
        self.opts["counterapp_tree"] = str(self.folder / "tree")

    def pillar(self, key: str, value: Any) -> None:
        """Set a setting of the fleet, in place of the tree's own."""
        (self.folder / f"pillar/{key}.sls").write_text(yaml.safe_dump({key: value}))
