"""The lab as clients reach it: where, and whose certificate they trust."""

from __future__ import annotations

import ssl
from pathlib import Path

import yaml

from fleet import edge, files
from lab import machines
from lab.config import ROOT, Lab, LabError

#: Where bootstrap leaves on the master whom clients are to trust.
_ON_MASTER = "/etc/salt/counterapp/pillar/secrets/https_authority.crt"


def url(lab: Lab) -> str:
    """Return where the lab's app is, without a slash at the end; its balancers' pillar says so."""
    own = lab.directory / "pillar/lb.sls"
    text = (own if own.exists() else ROOT / "pillar/lb.sls").read_text(encoding="utf-8")
    return edge.url({"vip": lab.vip}, yaml.safe_load(text)).rstrip("/")


def authority(lab: Lab) -> Path:
    """Return the file that a client of the lab is to trust, as PEM; ``make up`` leaves it there."""
    return lab.directory / "https-authority.crt"


def fetch_authority(lab: Lab) -> None:
    """Get from the master whom clients are to trust. Raises LabError when it has nobody."""
    text = machines.on_node(lab, lab.master.id, ["cat", _ON_MASTER])
    # In one step: clients may come meanwhile.
    files.write(authority(lab), text, 0o644)


def context(lab: Lab) -> ssl.SSLContext:
    """Return how a client connects that trusts the lab's authority. Raises LabError without it."""
    path = authority(lab)
    if not path.exists():
        raise LabError(f"{path} is missing: run 'make up', which gets it from the master.")
    return ssl.create_default_context(cafile=str(path))
