"""
The fleet's secrets, as files of the master's pillar: what nodes have, and what a rotation gives.

Below ``secrets`` in the master's notes:

``<name>.sls``
    What every node that needs it has (``pillar/top.sls`` says which).
``gluster_tls/<node>.sls``
    Gluster's certificate of a node, its key, and the authorities that it trusts.
``gluster_tls_authority.pem``
    Who signs those; its key is in no pillar.
``own/<node>.sls``
    What a rotation that is under way has given this node, on top of that.
``coming/<name>.sls``, ``former/<name>.sls``
    What ``<name>.sls`` will have at the end of the rotation, and what it had before; no pillar has
    these files. The certificates to come are in ``coming/<name>/<node>.sls``.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import salt.utils.yaml

from fleet import files
from fleet.errors import FleetError
from fleet.master import Master


def folder(master: Master) -> Path:
    """Return the folder of the secrets."""
    return master.notes / "secrets"


def path(master: Master, name: str, kind: str = "") -> Path:
    """
    Return the file of a secret.

    kind
        ``coming`` or ``former``; none is what nodes have.
    """
    return folder(master) / kind / f"{name}.sls"


def value(master: Master, name: str, kind: str = "") -> str:
    """
    Return a secret.

    Raises FleetError when it was not made yet.
    """
    where = path(master, name, kind)
    try:
        # A name of a user in there may be a template; it is text to YAML.
        found = salt.utils.yaml.safe_load(where.read_text(encoding="utf-8"))["secrets"][name]
    except FileNotFoundError:
        raise FleetError(
            f"{where} is missing: run `/srv/counterapp/bootstrap/make-secrets {folder(master)}`"
        ) from None
    except (KeyError, TypeError, salt.utils.yaml.YAMLError):
        # The error itself may quote the secret.
        raise FleetError(f"{where} has no text at secrets:{name}: see README.md, Secrets") from None
    return str(found)


def made(master: Master, name: str) -> str | None:
    """
    Return since when nodes have a secret, as ISO 8601 text in UTC; None without one.

    Of one that each node has another of, it is the oldest that counts.
    """
    changed = [each.stat().st_mtime for each in _parts(folder(master), name)]
    if not changed:
        return None
    return datetime.fromtimestamp(min(changed), UTC).isoformat(timespec="seconds")


def write(master: Master, name: str, pillar: Mapping[str, Any], kind: str = "") -> None:
    """Have the file of a secret hold a pillar. Raises OSError when it cannot be written."""
    # JSON is YAML.
    files.write(path(master, name, kind), json.dumps(pillar, indent=1) + "\n")


def copy(master: Master, name: str, source: str, target: str) -> None:
    """Have the file of one kind be as that of another; see :func:`path`."""
    files.write(path(master, name, target), path(master, name, source).read_text(encoding="utf-8"))


def give(master: Master, node: str, pillar: Mapping[str, Any]) -> None:
    """Have a node get a pillar on top of what it has otherwise; it replaces what it was given."""
    files.write(folder(master) / "own" / f"{node}.sls", json.dumps(pillar, indent=1) + "\n")


def given(master: Master, node: str) -> bool:
    """Return whether a rotation has given a node something of its own."""
    return (folder(master) / "own" / f"{node}.sls").exists()


def clear(master: Master, name: str) -> None:
    """Remove what a rotation has left beside the secret that nodes have."""
    for each in (folder(master) / "own").glob("*.sls"):
        each.unlink()
    for kind in ("coming", "former"):
        for each in _parts(folder(master) / kind, name):
            each.unlink()
        if (folder(master) / kind / name).is_dir():
            (folder(master) / kind / name).rmdir()


def _parts(where: Path, name: str) -> list[Path]:
    """Return the files of a secret: one, that of an authority, or one for each node."""
    files = (where / f"{name}.sls", where / f"{name}.pem", *(where / name).glob("*.sls"))
    return [each for each in files if each.is_file()]
