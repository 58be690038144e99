"""What the kernel counts of a node: processor time and memory, by its container's groups."""

from __future__ import annotations

from pathlib import Path

from lab.config import LabError

GROUPS = Path("/sys/fs/cgroup")


def folders(lines: str, root: Path = GROUPS) -> dict[str, Path]:
    """Return where a container's counters are, by controller: version 1's ``cpuacct`` and
    ``memory``, or version 2's, whose name is empty.

    :param lines: ``/proc/PID/cgroup`` of the container's first process.
    """
    found = {}
    for line in lines.splitlines():
        _, controllers, path = line.split(":", 2)
        # systemd puts itself into a group of its own, below the container's.
        name = path.removesuffix("/init.scope").lstrip("/")
        for controller in controllers.split(","):
            found[controller] = root / controllers / name if controller else root / name
    return found


def processor_seconds(there: dict[str, Path]) -> float:
    """Return the seconds for which a container's processes, also those that ended, had a processor.

    :param there: as :func:`folders` returns it.
    :raises LabError: the kernel does not count it here.
    """
    usage = there.get("cpuacct", Path()) / "cpuacct.usage"
    if usage.is_file():
        return int(usage.read_text()) / 1e9
    return _stat(there, "", "cpu.stat")["usage_usec"] / 1e6


def memory(there: dict[str, Path]) -> float:
    """Return the MiB that a container uses, without what the kernel only caches of its files.

    That is what its processes wrote to, what lies in a tmpfs, and what the kernel has for them.

    :param there: as :func:`folders` returns it.
    :raises LabError: the kernel does not count it here.
    """
    kernel = there.get("memory", Path()) / "memory.kmem.usage_in_bytes"
    if kernel.is_file():
        stat = _stat(there, "memory", "memory.stat")
        return (stat["total_rss"] + stat["total_shmem"] + int(kernel.read_text())) / 2**20
    stat = _stat(there, "", "memory.stat")
    return (stat["anon"] + stat["shmem"] + stat["kernel"]) / 2**20


def _stat(there: dict[str, Path], controller: str, name: str) -> dict[str, int]:
    path = there.get(controller, Path("/nonexistent")) / name
    try:
        pairs = [line.split() for line in path.read_text().splitlines()]
    except OSError as error:
        raise LabError(f"This machine does not count what a container uses: {error}") from error
    return {key: int(value) for key, value in pairs}
