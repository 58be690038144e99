"""The fleet's topology and settings, as a revision has them."""

from pathlib import Path
from typing import Any

import salt.pillar
import salt.utils.yaml

from fleet import topology
from fleet.errors import FleetError, refuse
from fleet.master import Master


def document(folders: list[Path]) -> Any:
    """
    Return the parsed ``topology.sls`` of the first of these pillar folders that has one.

    Raises FleetError when none has, and when it is no YAML.
    """
    for folder in folders:
        path = folder / "topology.sls"
        if not path.is_file():
            continue
        try:
            return salt.utils.yaml.safe_load(path.read_text(encoding="utf-8"))
        except (salt.utils.yaml.YAMLError, UnicodeDecodeError) as error:
            raise FleetError(f"{path} is no YAML: {error}") from None
    raise FleetError(
        f"no topology.sls in the pillar folders ({', '.join(map(str, folders))}): put the "
        "repository's folder pillar there"
    )


def select(master: Master, folders: list[Path]) -> dict[str, Any]:
    """
    Return the checked topology of this fleet: ``name``, ``network``, ``vip``, ``nodes`` by ID.

    folders
        Pillar folders, the first that has a file wins.

    Raises FleetError with every problem of it.
    """
    found = document(folders)
    refuse(topology.problems(found, master.topology_name))
    return topology.select(found, master.topology_name)


def of_node(master: Master, folders: list[Path], node: str) -> dict[str, Any]:
    """
    Return the pillar of a node as the master would send it from these folders.

    Raises FleetError when the pillar does not render.
    """
    opts = {
        # Within an orchestration they have its pillar, with which Salt would begin.
        **{key: value for key, value in master.opts.items() if key != "pillar"},
        "pillar_roots": {"base": [str(folder) for folder in [*folders, master.notes]]},
        "file_client": "local",
    }
    compiled: dict[str, Any] = salt.pillar.Pillar(
        opts, {"id": node}, node, "base", pillarenv="base"
    ).compile_pillar()
    if problems := compiled.get("_errors"):
        raise FleetError(*(f"the pillar does not render: {problem}" for problem in problems))
    return compiled


def settings(master: Master, folders: list[Path]) -> dict[str, Any]:
    """Return the fleet's settings: the pillar of the master's own minion, without secrets."""
    nodes = select(master, folders)["nodes"]
    first = next(node for node, entry in nodes.items() if "master" in entry["roles"])
    chosen = of_node(master, folders, first)
    # A master that has another role as well gets that one's; runners' returns are kept as jobs.
    chosen.pop("secrets", None)
    return chosen
