"""The runners as a master loads them, over folders of the test."""

import inspect
import pathlib

import pytest
import salt.config
import salt.loader
import yaml

from tests.support.loading import ROOT, load

NODES = {
    "boss": ("127.0.0.10", ["master", "lb"]),
    "one": ("127.0.0.11", ["web"]),
    "two": ("127.0.0.12", ["web"]),
    "data": ("127.0.0.13", ["db", "storage"]),
}


class Utils(dict):
    """Our utils by name, of which a test can put another in place of one."""

    module_dirs = (str(ROOT / "_utils"),)


class Runners:
    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.dist = folder / "dist"
        self.mount = folder / "shared"
        for each in (self.dist, self.mount, folder / "pillar", folder / "config/pillar"):
            each.mkdir(parents=True)
        self.opts = salt.config.master_config(None)
        self.opts.update(
            root_dir=str(folder),
            cachedir=str(folder / "cache"),
            pki_dir=str(folder / "pki"),
            sock_dir=str(folder / "sock"),
            id="boss",
            file_client="local",
            counterapp_topology="own",
            counterapp_config=str(folder / "config"),
            counterapp_state=str(folder / "state"),
            counterapp_dist=str(self.dist),
            pillar_roots={
                "base": [
                    str(folder / "pillar"),
                    str(ROOT / "pillar"),
                    str(folder / "config/pillar"),
                ]
            },
            runner_dirs=[str(ROOT / "_runners")],
            utils_dirs=[str(ROOT / "_utils")],
        )
        self.write_topology()
        self.pillar("gluster", {"mount": str(self.mount), "volume": "shared"})
        loader = salt.loader.utils(self.opts)
        # Listing what a loader has would load all of Salt's own utils for each test.
        names = [
            f"{module}.{name}"
            for module in ("enrolled", "fleet", "ledger", "mongodb_version", "release", "topology")
            for name, thing in vars(load(f"_utils/{module}.py")).items()
            if inspect.isfunction(thing) and not name.startswith("_")
        ]
        self.utils = Utils({name: loader[name] for name in names})
        # There is no master whose bus could be told.
        self.told: list[str] = []
        self.utils["fleet.tell"] = lambda _stage, text, node=None: self.told.append(text)
        self.context: dict = {}
        self.functions = salt.loader.runner(self.opts, utils=self.utils, context=self.context)

    def write_topology(self, nodes=None):
        nodes = nodes or NODES
        document = {
            "platforms": {"debian12": {"family": "Debian", "python": "3.11"}},
            "topologies": {
                "own": {
                    "network": "127.0.0.0/24",
                    "vip": "127.0.0.2",
                    "nodes": {
                        name: {
                            "address": address,
                            "roles": roles,
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

    def pillar(self, key, value):
        """Set a setting of the fleet, in place of the tree's own."""
        (self.folder / f"pillar/{key}.sls").write_text(yaml.safe_dump({key: value}))

    def __getitem__(self, name):
        return self.functions[name]


@pytest.fixture
def runners(tmp_path):
    return Runners(tmp_path)
