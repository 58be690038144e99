"""What must hold on this machine before a lab is made on it; each failure names its remedy."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lab import engine
from lab.config import Lab, LabError

# What was tried. Podman before 4 has no netavark, Vagrant before 2.2 no Ruby triggers; the
# newest of both that were tried work, so there is no upper bound.
MINIMUM_VERSIONS = {"podman": (4, 0), "vagrant": (2, 2)}

# What images, nodes and the wheelhouse take, with some room for data; a lab that is there wants
# only the room. `make up` on an empty machine took 6 GiB (`df` before and after).
FREE_GIB = 7
FREE_GIB_THERE = 1


def check_all(lab: Lab) -> None:
    """Raise :class:`LabError` with every reason why ``lab`` cannot be made here."""
    found = [
        *user_problems(os.geteuid()),
        *fuse_problems(Path("/dev/fuse")),
        *disk_problems(
            [Path("/var/lib"), lab.directory],
            FREE_GIB_THERE if lab.directory.exists() else FREE_GIB,
        ),
        *program_problems({name: program_version(name) for name in MINIMUM_VERSIONS}),
    ]
    if not found:
        found = network_problems(lab, routes(), engine.networks())
    if found:
        raise LabError("\n".join(found))


def user_problems(uid: int) -> list[str]:
    if uid == 0:
        return []
    return ["Not running as root: containers with systemd need it. Use 'sudo make up'."]


def fuse_problems(device: Path) -> list[str]:
    if device.is_char_device():
        return []
    return [
        f"{device} is missing, GlusterFS mounts need it: load it with 'modprobe fuse', or pass "
        "the device to this machine."
    ]


def disk_problems(paths: Iterable[Path], wanted_gib: int) -> list[str]:
    """Return a problem for each of ``paths`` whose file system has too little room."""
    found = []
    for path in paths:
        existing = next(p for p in [path, *path.parents] if p.exists())
        free = shutil.disk_usage(existing).free / 2**30
        if free < wanted_gib:
            found.append(
                f"Only {free:.1f} GiB are free under {existing}, the lab needs {wanted_gib}: "
                "free some disk space there."
            )
    return found


def program_version(name: str) -> str | None:
    """Return the version that a program prints, e.g. ``4.3.1``; None when it is not there."""
    if shutil.which(name) is None:
        return None
    done = subprocess.run([name, "--version"], capture_output=True, text=True)
    match = re.search(r"\d+(\.\d+)+", done.stdout)
    return match.group() if match else ""


def program_problems(versions: Mapping[str, str | None]) -> list[str]:
    """Return a problem for each program that is missing or too old.

    :param versions: what :func:`program_version` returned, by program.
    """
    found = []
    for name, version in versions.items():
        minimum = MINIMUM_VERSIONS[name]
        wanted = ".".join(str(part) for part in minimum)
        if version is None:
            found.append(f"{name} is not installed: run 'apt-get install {name}'.")
        elif not version:
            found.append(f"'{name} --version' does not work: reinstall {name}.")
        elif tuple(int(part) for part in version.split(".")[:2]) < minimum:
            found.append(f"{name} {version} is too old: install {name} {wanted} or newer.")
    return found


def routes() -> list[dict[str, Any]]:
    """Return this machine's IPv4 routes as ``ip -json route`` gives them."""
    done = subprocess.run(["ip", "-json", "-4", "route"], capture_output=True, text=True)
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return found


def network_problems(
    lab: Lab, routes: Iterable[dict[str, Any]], networks: Iterable[dict[str, Any]]
) -> list[str]:
    """Return a problem for everything else that uses the lab's range of addresses.

    :param routes: as :func:`routes` returns them.
    :param networks: podman's networks, the lab's own among them when it exists.
    """
    remedy = (
        "stop using it there, or move the lab with 'make up LAB_NETWORK=…' to a free private range."
    )
    found = []
    own_bridge = None
    for network in networks:
        if network["name"] == lab.name:
            own_bridge = network["network_interface"]
            continue
        for subnet in network.get("subnets") or []:
            if _overlap(subnet["subnet"], lab):
                found.append(
                    f"The network {lab.network} is taken by podman's network "
                    f"'{network['name']}' ({subnet['subnet']}): {remedy}"
                )
    taken = {network["network_interface"] for network in networks}
    for route in routes:
        destination = route.get("dst", "default")
        if destination == "default" or route.get("dev") in taken | {own_bridge}:
            continue
        if _overlap(destination, lab):
            found.append(
                f"The network {lab.network} is taken: this machine has a route to {destination} "
                f"through {route.get('dev')}: {remedy}"
            )
    return found


def _overlap(subnet: str, lab: Lab) -> bool:
    parsed = ipaddress.ip_network(subnet, strict=False)
    return isinstance(parsed, ipaddress.IPv4Network) and parsed.overlaps(lab.network)
