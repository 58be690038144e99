"""The node images: a bare Debian with systemd, sshd and Salt, as a cloud image would have.

Made from Debian's own packages by mmdebstrap, since no image registry is needed that way. The
packages that the roles install are left in the image's apt cache: the states really install
them on the node, without the network being in the way.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import yaml

from lab import engine, wheels
from lab.config import BUILD, ROOT, Lab, LabError

Say = Callable[[str], None]

PREFIX = "localhost/counterapp"
_INPUTS_LABEL = "counterapp.inputs"

# What a minimal server install has, and sudo and sshd for Vagrant.
_BASE_PACKAGES = (
    "ca-certificates",
    "curl",
    "dbus",
    "iproute2",
    "iputils-ping",
    "kmod",
    "libpam-systemd",
    "netbase",
    "openssh-server",
    "procps",
    "python3",
    "python3-venv",
    "sudo",
    "systemd",
    "systemd-sysv",
    "udev",
)


def name(platform: str) -> str:
    """Return the image's name for a platform of the topology."""
    return f"{PREFIX}/{platform}:latest"


def role_packages(family: str = "Debian") -> list[str]:
    """Return every package that the roles of the state tree install on ``family``."""
    found: set[str] = set()
    for path in sorted((ROOT / "salt").glob("*/packages.yaml")):
        found.update(yaml.safe_load(path.read_text())[family])
    return sorted(found)


def missing(lab: Lab) -> list[str]:
    """Return the platforms of the lab whose image is not there or not up to date."""
    return [
        platform
        for platform in sorted({node.platform for node in lab.nodes})
        if _label(platform) != inputs(lab, platform)
    ]


def inputs(lab: Lab, platform: str) -> str:
    """Return a digest of everything that goes into the image of ``platform``."""
    facts = lab.platforms[platform]
    parts = [
        json.dumps(facts, sort_keys=True),
        " ".join(_BASE_PACKAGES),
        " ".join(role_packages(facts["family"])),
        wheels.digest(str(facts["python"])),
        (ROOT / "bootstrap" / "bootstrap.sh").read_text(),
        (ROOT / "lab" / "files" / "customize").read_text(),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def build(lab: Lab, platform: str, say: Say) -> None:
    """Build and import the image of ``platform``, a Debian one."""
    facts = lab.platforms[platform]
    if facts["family"] != "Debian" or "suite" not in facts:
        raise LabError(
            f"The lab cannot run platform '{platform}': its images are made from Debian's "
            "packages. Choose a Debian platform for `lab` in pillar/topology.sls."
        )
    work = BUILD / "images"
    work.mkdir(parents=True, exist_ok=True)
    tar = work / f"{platform}.tar"
    wanted = inputs(lab, platform)
    say(f"{platform}: {facts['suite']} from Debian's packages")
    try:
        _mmdebstrap(facts["suite"], str(facts["python"]), facts["family"], tar, work)
        say(f"{platform}: importing")
        engine.podman(
            "import",
            "--change",
            'CMD ["/sbin/init"]',
            "--change",
            f"LABEL {_INPUTS_LABEL}={wanted}",
            "-",
            name(platform),
            input_path=tar,
        )
    finally:
        tar.unlink(missing_ok=True)
    remove_replaced()


def remove() -> None:
    """Remove every image that was made here, those that newer ones have replaced too."""
    found = engine.podman("images", "--quiet", "--no-trunc", "--filter", f"label={_INPUTS_LABEL}")
    if found:
        engine.podman("rmi", "--force", *sorted(set(found.split())))


def remove_replaced() -> None:
    """Remove the images that newer ones have replaced, unless a node still runs on one."""
    filters = ("--filter", f"label={_INPUTS_LABEL}", "--filter", "dangling=true")
    for image in set(engine.podman("images", "--quiet", "--no-trunc", *filters).split()):
        # The filter finds nothing for an ID that is written with its kind in front.
        ancestor = image.removeprefix("sha256:")
        users = engine.podman("ps", "--all", "--quiet", "--filter", f"ancestor={ancestor}")
        if not users.strip():
            engine.podman("rmi", image)


def _label(platform: str) -> str | None:
    """Return the label that says what an image was made from; None when there is no image."""
    try:
        text = engine.podman("image", "inspect", name(platform))
    except LabError:
        return None
    return str((json.loads(text)[0].get("Labels") or {}).get(_INPUTS_LABEL, ""))


def _mmdebstrap(suite: str, python: str, family: str, tar: Path, work: Path) -> None:
    packages = work / f"{suite}.packages"
    packages.write_text("\n".join(role_packages(family)) + "\n")
    mmdebstrap = shutil.which("mmdebstrap")
    if mmdebstrap is None:
        raise LabError("mmdebstrap is not installed: run 'make up', which installs it.")
    customize = ROOT / "lab" / "files" / "customize"
    command = [
        mmdebstrap,
        "--variant=minbase",
        f"--include={','.join(_BASE_PACKAGES)}",
        # The lists stay, so that a node installs what this image has in its cache.
        "--skip=cleanup/apt",
        f'--customize-hook="{customize}" "$1" "{ROOT}" "{wheels.WHEELS / python}" "{packages}"',
        suite,
        str(tar),
    ]
    log = work / f"{suite}.log"
    with log.open("w") as file:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    if done.returncode != 0:
        tail = "\n  ".join(log.read_text().splitlines()[-15:])
        raise LabError(f"mmdebstrap failed for {suite}:\n  {tail}\nThe whole output is in {log}.")
