"""How the tests reach our Salt modules: by file for unit tests, through Salt's loader otherwise."""

import copy
import importlib.util
import itertools
import math
import pathlib
import sys
import time
import types
from dataclasses import dataclass
from typing import Any

import salt.config
import salt.loader
import salt.utils.entrypoints
from salt.loader.lazy import LazyLoader

ROOT = pathlib.Path(__file__).resolve().parents[2]

# No package is installed while tests run, and Salt forgets every half second which there are.
salt.utils.entrypoints.iter_entry_points.__wrapped__.expiration = math.inf

#: What is in the folders of Salt's loaders. It makes some for each node, and each would read and
#: sort the thousand files of Salt's own anew, which takes a third of all that compiling computes.
_FILES: dict[Any, Any] = {}
_look = LazyLoader._refresh_file_mapping
_NUMBERS = itertools.count(1)
# A folder that has changed so many nanoseconds ago may do so once more without another time.
_SETTLED = 1_000_000_000


def _look_once(loader: Any) -> None:
    folders = [
        each
        for folder in map(pathlib.Path, loader.module_dirs)
        for each in (folder, folder / "__pycache__")
    ]
    changed = [each.stat().st_mtime_ns if each.is_dir() else 0 for each in folders]
    names = (loader.module_dirs, changed, sorted(loader.disabled), loader.static_modules)
    key = repr((names, loader.suffix_order, loader.opts["optimization_order"]))
    if key not in _FILES:
        _look(loader)
        if max(changed, default=0) > time.time_ns() - _SETTLED:
            return
        _FILES[key] = (loader.file_mapping, loader.suffix_map, loader.suffix_order)
    loader.file_mapping, loader.suffix_map, loader.suffix_order = map(copy.copy, _FILES[key])


LazyLoader._refresh_file_mapping = _look_once


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
    # Loaders with one base name share their module objects, and so their options.
    base = f"salt.loaded.test{next(_NUMBERS)}"
    utils = salt.loader.utils(opts, loaded_base_name=base)
    modules = salt.loader.minion_mods(opts, utils=utils, loaded_base_name=base)
    states = salt.loader.states(opts, modules, utils, None, loaded_base_name=base)
    return Loaders(opts=opts, utils=utils, modules=modules, states=states)
