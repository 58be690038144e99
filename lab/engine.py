"""Podman as this machine can run it: its configuration, images, networks and containers."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.config import BUILD, Lab, LabError

# The label that everything of a lab carries, so that all of it can be found and removed.
LABEL = "counterapp.lab"
_CAP_SYS_RESOURCE = 24
# Plenty for a node; podman's helpers were seen to run with lower limits than this process, and
# then even its own hard limit is refused ("setrlimit: Operation not permitted").
_SAFE_LIMIT = 16384


@dataclass(frozen=True)
class Host:
    """The facts about this machine that decide how containers can run."""

    cgroup_v1: bool
    cgroup_v2: bool
    can_raise_limits: bool
    nofile: int
    nproc: int


def read_host() -> Host:
    """Return the facts, read from /proc and the resource limits."""
    kinds = {line.split()[2] for line in Path("/proc/self/mounts").read_text().splitlines()}
    effective = next(
        int(line.split()[1], 16)
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("CapEff:")
    )
    return Host(
        cgroup_v1="cgroup" in kinds,
        cgroup_v2="cgroup2" in kinds,
        can_raise_limits=bool(effective >> _CAP_SYS_RESOURCE & 1),
        nofile=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        nproc=resource.getrlimit(resource.RLIMIT_NPROC)[1],
    )


def container_config(host: Host) -> str:
    """Return the containers.conf that this machine wants beside podman's defaults.

    crun, podman's default runtime, refuses a machine with both cgroup versions mounted; runc
    does not. Podman asks for high limits, which a machine without CAP_SYS_RESOURCE cannot give.
    Both are set only where they are needed.
    """
    lines = ["[engine]", 'events_logger = "file"']
    if host.cgroup_v1 and host.cgroup_v2:
        lines.append('runtime = "runc"')
    if not host.can_raise_limits:
        limits = []
        for name, hard in (("nofile", host.nofile), ("nproc", host.nproc)):
            if hard != resource.RLIM_INFINITY:
                value = min(hard, _SAFE_LIMIT)
                limits.append(f'"{name}={value}:{value}"')
        if limits:
            lines += ["[containers]", f"default_ulimits = [{', '.join(limits)}]"]
    return "\n".join(lines) + "\n"


def write_container_config() -> Path:
    """Write build/containers.conf for this machine; returns its path."""
    path = BUILD / "containers.conf"
    text = container_config(read_host())
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
    return path


def podman(*arguments: str, input_path: Path | None = None, timeout: float | None = None) -> str:
    """Run podman and return what it printed; raises :class:`LabError` with its own words.

    :param timeout: seconds after which it is killed, which is an error as well.
    """
    environment = {**os.environ, "CONTAINERS_CONF": str(write_container_config())}
    try:
        with (input_path or Path(os.devnull)).open("rb") as stream:
            done = subprocess.run(
                ["podman", *arguments],
                env=environment,
                capture_output=True,
                text=True,
                stdin=stream,
                timeout=timeout,
            )
    except subprocess.TimeoutExpired as error:
        raise LabError(
            f"'podman {' '.join(arguments)}' did not end within {timeout:g} s."
        ) from error
    if done.returncode != 0:
        raise LabError(f"'podman {' '.join(arguments)}' failed: {done.stderr.strip()}")
    return done.stdout


def networks() -> list[dict[str, Any]]:
    """Return every podman network: its name, labels, subnets and bridge."""
    # One question: a network of another lab may go between two.
    found: list[dict[str, Any]] = json.loads(podman("network", "ls", "--format", "json"))
    return found


def ensure_network(lab: Lab) -> None:
    """Make the lab's network unless it is there; the names come from the nodes' /etc/hosts."""
    for network in networks():
        if network["name"] == lab.name:
            subnets = [subnet["subnet"] for subnet in network.get("subnets") or []]
            if subnets == [str(lab.network)]:
                return
            remove_containers(lab)
            podman("network", "rm", "--force", lab.name)
    podman(
        "network",
        "create",
        "--disable-dns",
        "--label",
        f"{LABEL}={lab.name}",
        "--subnet",
        str(lab.network),
        lab.name,
    )


def containers(lab: Lab, timeout: float | None = None) -> list[dict[str, Any]]:
    """Return the lab's containers, running or not, as podman lists them."""
    label = f"label={LABEL}={lab.name}"
    text = podman("ps", "--all", "--filter", label, "--format", "json", timeout=timeout)
    found: list[dict[str, Any]] = json.loads(text or "[]") or []
    return found


def remove_containers(lab: Lab) -> None:
    """Remove the lab's containers and what they stored, in whatever state they are."""
    for container in containers(lab):
        podman("rm", "--force", "--ignore", "--volumes", "--time", "0", container["Id"])


def remove_network(lab: Lab) -> None:
    """Remove the lab's network if it is there."""
    if any(network["name"] == lab.name for network in networks()):
        podman("network", "rm", "--force", lab.name)


def bridge(lab: Lab) -> str:
    """Return the name of the bridge of the lab's network; raises when there is none."""
    for network in networks():
        if network["name"] == lab.name:
            return str(network["network_interface"])
    raise LabError(f"The lab '{lab.name}' has no network: is it up? Run 'make up'.")


def check_route(lab: Lab, address: str) -> None:
    """Make sure that packets to ``address`` stay on the lab's own bridge.

    With the lab down they would follow the default route and leave this machine.
    Raises :class:`LabError` otherwise.
    """
    wanted = bridge(lab)
    done = subprocess.run(["ip", "-json", "route", "get", address], capture_output=True, text=True)
    route = json.loads(done.stdout)[0] if done.returncode == 0 else {}
    if route.get("dev") != wanted or "gateway" in route:
        raise LabError(
            f"Packets to {address} would leave through {route.get('dev', 'nowhere')}, not through "
            f"the lab's bridge {wanted}: is the lab '{lab.name}' up? Run 'make up'."
        )
