"""Our pillar and state tree as Salt itself compiles them for a node, without master or minion."""

import contextlib
import functools
import importlib
import pathlib
from typing import Any

import jinja2
import salt.config
import salt.pillar
import salt.state
import salt.utils.templates
import yaml

from tests.support.loading import ROOT, load

GRAINS = pathlib.Path(__file__).parent / "grains"
SYSTEMS = sorted(path.stem for path in GRAINS.glob("*.yaml"))
SECRETS = (
    "counterapp_operator",
    "https_certificate",
    "mongodb_admin",
    "mongodb_app",
    "mongodb_backup",
    "mongodb_health",
    "mongodb_keyfile",
)
REQUISITES = ("require", "watch", "onchanges", "onfail", "prereq", "listen")
TOPOLOGY = yaml.safe_load((ROOT / "pillar/topology.sls").read_text())
#: Every node of every topology.
NODES = [
    (name, node) for name, topology in TOPOLOGY["topologies"].items() for node in topology["nodes"]
]

#: Templates as Jinja has compiled them. Salt makes an environment for each file that it renders, so
#: the files that all others import would be compiled some hundred times.
_COMPILED: dict[Any, Any] = {}
_compile = jinja2.Environment.compile


def _compile_once(
    environment: jinja2.Environment, source: Any, name: Any = None, filename: Any = None, **how: Any
) -> Any:
    settings = (environment.trim_blocks, environment.lstrip_blocks, *environment.extensions)
    key = (source, name, filename, environment.undefined, *settings, *how.items())
    if key not in _COMPILED:
        _COMPILED[key] = _compile(environment, source, name, filename, **how)
    return _COMPILED[key]


jinja2.Environment.compile = _compile_once  # type: ignore[assignment]


def facts(topology: str, node: str) -> dict[str, Any]:
    """Return what the topology says of a node."""
    found: dict[str, Any] = TOPOLOGY["topologies"][topology]["nodes"][node]
    return found


def secret(name: str) -> str:
    """Return the value that a secret has in these tests."""
    return f"value-of-{name.replace('_', '-')}"


def tls(node: str) -> dict[str, str]:
    """Return the key and certificates that a node has for Gluster in these tests."""
    return {kind: f"tls-{kind}-of-{node}" for kind in ("key", "certificate", "ca")}


def recorded_grains(system: str, topology: str, node: str) -> dict[str, Any]:
    """Return the grains of a node of the topology that runs an operating system."""
    entry = facts(topology, node)
    grains: dict[str, Any] = yaml.safe_load((GRAINS / f"{system}.yaml").read_text())
    return {
        **grains,
        "id": node,
        "roles": list(entry["roles"]),
        "ip4_interfaces": {"lo": ["127.0.0.1"], "eth1": [entry["address"]]},
    }


class Tree:
    """
    Compiles for one node after the other; ``folder`` holds the secrets and Salt's caches.

    ``environments`` are the folders that hold ``salt`` and ``pillar``, by the environment that a
    master serves them as.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.environments = {"base": ROOT}
        self.master_pillar = folder / "etc-pillar"
        (self.master_pillar / "secrets/gluster_tls").mkdir(parents=True)
        for name in SECRETS:
            self.write_secret(name)
        for _topology, node in NODES:
            path = self.master_pillar / f"secrets/gluster_tls/{node}.sls"
            path.write_text(yaml.safe_dump({"secrets": {"gluster_tls": tls(node)}}))

    def write_secret(self, name: str) -> None:
        path = self.master_pillar / f"secrets/{name}.sls"
        path.write_text(f'secrets:\n  {name}: "{secret(name)}"\n')

    def pillar(
        self,
        topology: str,
        node: str,
        grains: dict[str, Any],
        roots: tuple[str, ...] = (),
        pillarenv: str | None = None,
    ) -> dict[str, Any]:
        """
        Return the pillar that the master compiles for a minion of this ID and these grains.

        pillarenv
            What the minion asks for; None asks for none, as one does that converges by itself.
        """
        opts = salt.config.master_config(None)
        opts.update(
            root_dir=str(self.folder),
            cachedir=str(self.folder / "master-cache"),
            pki_dir=str(self.folder / "pki"),
            file_client="local",
            # The master's own; a minion's takes its place.
            id="master",
            pillar_roots={
                name: [*roots, str(folder / "pillar"), str(self.master_pillar)]
                for name, folder in self.environments.items()
            },
            counterapp_topology=topology,
        )
        compiled: dict[str, Any] = salt.pillar.Pillar(
            opts, grains, node, None, pillarenv=pillarenv
        ).compile_pillar()
        return compiled

    def minion_opts(
        self,
        node: str,
        grains: dict[str, Any],
        pillar: dict[str, Any],
        module_dirs: tuple[str, ...] = (),
        saltenv: str | None = None,
        pillarenv: str | None = None,
    ) -> dict[str, Any]:
        opts = salt.config.minion_config(None)
        opts.update(
            root_dir=str(self.folder),
            cachedir=str(self.folder / "cache"),
            pki_dir=str(self.folder / "pki"),
            extension_modules=str(self.folder / "extmods"),
            file_client="local",
            autoload_dynamic_modules=False,
            id=node,
            grains=grains,
            pillar=pillar,
            file_roots={name: [str(folder / "salt")] for name, folder in self.environments.items()},
            env_order=list(self.environments),
            saltenv=saltenv,
            pillarenv=pillarenv,
            module_dirs=[*module_dirs, str(ROOT / "_modules")],
            states_dirs=[str(ROOT / "_states")],
            utils_dirs=[str(ROOT / "_utils")],
        )
        return opts

    @contextlib.contextmanager
    def compiler(
        self,
        node: str,
        grains: dict[str, Any],
        pillar: dict[str, Any],
        module_dirs: tuple[str, ...] = (),
        saltenv: str | None = None,
        pillarenv: str | None = None,
    ) -> Any:
        """
        Yield a :class:`Compiler` for a node with this pillar.

        saltenv, pillarenv
            What the command that applies states asks for.
        """
        opts = self.minion_opts(node, grains, pillar, module_dirs, saltenv, pillarenv)
        gather = salt.state.State._gather_pillar
        # It would compile the pillar from the minion's own roots.
        salt.state.State._gather_pillar = lambda _self: pillar
        try:
            yield Compiler(salt.state.HighState(opts), opts)
        finally:
            salt.state.State._gather_pillar = gather


class Compiler:
    """Salt's own state compiler for one node."""

    def __init__(self, highstate: Any, opts: dict[str, Any]) -> None:
        self.highstate = highstate
        self.state = highstate.state
        self.opts = opts

    def top(self) -> list[str]:
        """Return the SLS that the top file gives this node."""
        return self.tops().get("base", [])

    def tops(self) -> dict[str, list[str]]:
        """Return the SLS that the top files give this node, by environment."""
        return dict(self.highstate.top_matches(self.highstate.get_top()))

    def chunks(
        self, sls: list[str], saltenv: str = "base"
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """Return the states of these SLS in the order in which they run, and all errors."""
        high, errors = self.highstate.render_highstate({saltenv: sls})
        if errors:
            return [], errors
        high, more = self.state.reconcile_extend(high)
        errors += more + self.state.verify_high(high)
        high, more = self.state.requisite_in(high)
        errors += more
        if errors:
            return [], errors
        chunks, more = self.state.compile_high_data(high)
        return chunks, errors + more

    def problems(self, chunks: list[dict[str, Any]]) -> list[str]:
        """Return what would only show when the states run: unknown functions and requisites."""
        found = []
        for chunk in chunks:
            if not _function_exists(chunk["state"], chunk["fun"]):
                found.append(f"{chunk['__id__']}: no state {chunk['state']}.{chunk['fun']}")
            for kind in REQUISITES:
                for wanted in chunk.get(kind, []):
                    [(state, name)] = (
                        wanted.items() if isinstance(wanted, dict) else [("id", wanted)]
                    )
                    if not any(_is(other, state, name) for other in chunks):
                        found.append(f"{chunk['__id__']}: {kind} finds no {state}: {name}")
        return found

    def template(self, source: str, **context: Any) -> str:
        """Return a file of the tree as ``file.managed`` would render it on this node."""
        rendered = salt.utils.templates.TEMPLATE_REGISTRY["jinja"](
            str(ROOT / "salt" / source.removeprefix("salt://")),
            to_str=True,
            saltenv="base",
            salt=self.state.functions,
            grains=self.opts["grains"],
            pillar=self.opts["pillar"],
            opts=self.opts,
            context=context,
        )
        assert rendered["result"], rendered["data"]
        return str(rendered["data"])

    def file(self, chunks: list[dict[str, Any]], name: str) -> str:
        """Return what a ``file.managed`` with a template would write to a path."""
        [chunk] = [
            chunk
            for chunk in chunks
            if chunk["state"] == "file" and chunk["fun"] == "managed" and chunk["name"] == name
        ]
        return self.template(chunk["source"], **chunk.get("context", {}))


@functools.cache
def _function_exists(state: str, function: str) -> bool:
    """Look into the state's file: loading it depends on what is installed on this machine."""
    # Several files can be one state module: see docs/modules.md.
    ours = [path.name for path in (ROOT / "_states").glob(f"{state}*.py")]
    if f"{state}.py" in ours:
        return any(hasattr(load(f"_states/{name}"), function) for name in ours)
    name = {"salt": "saltmod"}.get(state, state)
    return hasattr(importlib.import_module(f"salt.states.{name}"), function)


def _is(chunk: dict[str, Any], state: str, name: str) -> bool:
    if state == "sls":
        return bool(chunk["__sls__"] == name)
    return state in (chunk["state"], "id") and name in (chunk["__id__"], chunk["name"])
