"""How the tests reach our Salt modules: by file for unit tests, through Salt's loader otherwise."""

import importlib.util
import pathlib
import sys
import types
from dataclasses import dataclass
from typing import Any

import salt.config
import salt.loader

ROOT = pathlib.Path(__file__).resolve().parents[2]


def load(relative: str) -> types.ModuleType:
    """Import one of our Salt modules from its file, e.g. ``load("_modules/gluster.py")``.

    Unit tests patch the dunders (``__salt__`` …) of the module object that this returns, so
    each file is imported once and stays the same object for a whole run.
    """
    path = ROOT / relative
    name = "counterapp_" + relative.removesuffix(".py").strip("_").replace("/", "_")
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"cannot load {path}")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@dataclass
class Loaders:
    """Salt's own loaders over our folders: dict-likes keyed ``module.function``."""

    opts: dict[str, Any]
    utils: Any
    modules: Any
    states: Any


def minion_loader(root_dir: pathlib.Path, **overrides: Any) -> Loaders:
    """Return real Salt loaders with our modules in them, as a masterless minion has them.

    :param root_dir: where Salt keeps its cache and PKI (a test's ``tmp_path``).
    :param overrides: minion configuration on top, e.g. ``pillar={...}``, ``test=True``.
    """
    pillar = overrides.pop("pillar", {})
    opts = salt.config.minion_config(None)
    opts.update(
        root_dir=str(root_dir),
        cachedir=str(root_dir / "cache"),
        pki_dir=str(root_dir / "pki"),
        conf_file=str(root_dir / "minion"),
        extension_modules=str(root_dir / "extmods"),
        file_client="local",
        id="test-minion",
        utils_dirs=[str(ROOT / "_utils")],
        module_dirs=[str(ROOT / "_modules")],
        states_dirs=[str(ROOT / "_states")],
        grains={},
        pillar=pillar,
    )
    opts.update(overrides)
    opts["grains"] = opts["grains"] or salt.loader.grains(opts)
    utils = salt.loader.utils(opts)
    modules = salt.loader.minion_mods(opts, utils=utils)
    states = salt.loader.states(opts, modules, utils, None)
    return Loaders(opts=opts, utils=utils, modules=modules, states=states)
