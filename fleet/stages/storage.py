"""The shared volume: its nodes one after the other, then everybody's mount, then the release."""

from collections.abc import Sequence

from fleet import releases
from fleet.stages import turns
from fleet.work import Work

_HEALTHY = 120.0


def run(work: Work) -> None:
    """
    Bring volume and mounts to what the target says, and put the release onto the volume.

    Where there is no volume yet the first node makes it, and the others follow together with those
    who only mount.
    """
    assert work.plan is not None
    keepers = work.plan.todo(["storage", "gluster"], "storage")
    if keepers and not _there(work, keepers):
        # Nobody uses it yet whom the others could hurt.
        keepers = keepers[:1]
    for node in keepers:
        replace(work, node)
    volume_healthy(work)
    others = [node for node in work.plan.todo(["storage", "gluster"]) if node not in keepers]
    if others:
        work.apply("storage", others, ["gluster"])
    publish(work)


def back(work: Work, nodes: Sequence[str]) -> list[str]:
    """Put storage nodes back one by one, and those that only mount at once."""
    keepers = [node for node in reversed(nodes) if node in work.with_role("storage")]
    others = [node for node in nodes if node not in keepers]
    problems = turns.each(keepers, lambda node: replace(work, node))
    if others:
        problems += turns.each([""], lambda _: work.apply("storage", others, ["gluster"]))
    return problems


def replace(work: Work, node: str) -> None:
    """Bring one storage node to the target."""
    work.apply("storage", [node], ["storage", "gluster"])


def volume_healthy(work: Work, timeout: float = _HEALTHY) -> None:
    """Wait until the volume has all its bricks and nothing left to heal."""
    keeper = work.with_role("storage")[0]
    volume = work.settings["gluster"]["volume"]
    with work.step("storage", f"waiting for the volume {volume}", keeper) as step:

        def look() -> tuple[bool, str]:
            seen = work.ask([keeper], "gluster.healthy", volume)[keeper]
            return seen["healthy"], "; ".join(seen["reasons"]) or "healthy"

        step.did = work.until(look, timeout, f"the volume {volume} is healthy", step)


def publish(work: Work) -> None:
    """Vouch for the release, and put it on the volume, where the web servers take it from."""
    version = work.target.release
    master = work.with_role("master")[0]
    with work.step("storage", f"publishing release {version}", master) as step:
        step.did = releases.publish(work.change.master, version)


def _there(work: Work, keepers: Sequence[str]) -> bool:
    """Return whether one of these nodes has the volume."""
    volume = work.settings["gluster"]["volume"]
    found = work.everyone(keepers, "gluster.volumes").answers.values()
    return any(isinstance(volumes, list) and volume in volumes for volumes in found)
