"""Where a benchmark measures: what ``local`` and ``cluster`` have in common."""

from __future__ import annotations

import http.client
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import requests


@dataclass(frozen=True)
class Endpoint:
    """What clients talk to: a URL without a path, and the file with whom they trust for HTTPS."""

    url: str
    authority: Path | None = None

    @property
    def address(self) -> str:
        """``host:port``."""
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"

    def connection(self, timeout: float) -> http.client.HTTPConnection:
        """Return a connection that is not made yet, with a timeout in seconds."""
        if self.authority:
            trusts = ssl.create_default_context(cafile=self.authority)
            return http.client.HTTPSConnection(self.address, timeout=timeout, context=trusts)
        return http.client.HTTPConnection(self.address, timeout=timeout)

    def post(self, path: str, headers: dict[str, str], timeout: float) -> requests.Response:
        """Send a request without a body, on a connection of its own."""
        trusts = str(self.authority) if self.authority else True
        return requests.post(f"{self.url}{path}", headers=headers, timeout=timeout, verify=trusts)


class Place(Protocol):
    """Running web nodes in front of a running replica set."""

    name: str
    """For the report."""

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """What clients talk to; they are shared out evenly."""

    def once_per_request(self) -> AbstractContextManager[None]:
        """Have the same nodes write once for each hit, inside the ``with``."""

    def memory(self) -> dict[str, float]:
        """Return what each web node's processes have in memory now, in MiB."""


def tree_memory(pid: int) -> float:
    """Return the MiB that a process and all below it have in memory (RSS, summed up)."""
    return sum(_of_each(pid, _resident)) / 1024


def tree_own_memory(pid: int) -> float:
    """Return the MiB that a process and all below it have written to; what they share counts once.

    That is their PSS without the pages of files, which the kernel can drop, and which programs
    share that are not of this tree.
    """
    return sum(_of_each(pid, _own)) / 1024


def tree(pid: int) -> Iterator[int]:
    """Yield a process and all below it, each before its children."""
    yield pid
    # Of what ends meanwhile nothing is found: a process, or one of its threads.
    for task in Path("/proc").glob(f"{pid}/task/*"):
        try:
            children = (task / "children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        for child in children:
            yield from tree(int(child))


def _of_each(pid: int, read: Callable[[int], float]) -> Iterator[float]:
    """Yield what is read of a process, and of all below it that do not end meanwhile."""
    for each in tree(pid):
        try:
            yield read(each)
        except (FileNotFoundError, ProcessLookupError):
            if each == pid:
                raise


def _own(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines[1:])
    return sum(int(fields[name].split()[0]) for name in ("Pss_Anon", "Pss_Shmem"))


def _resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


def processor_time(pid: int) -> float:
    """Return the seconds for which a process has had a processor, with its threads."""
    return _ticks(pid, 2)


def tree_processor_time(pid: int) -> float:
    """Return the same of a process and all below it, with those that have ended."""
    return sum(_of_each(pid, lambda each: _ticks(each, 4)))


def _ticks(pid: int, fields: int) -> float:
    """Return seconds: of ``utime``, ``stime``, and the same of children that ended."""
    # The name, which may hold anything, ends with the last parenthesis.
    found = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, found[11 : 11 + fields])) / os.sysconf("SC_CLK_TCK")
