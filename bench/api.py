"""The calls of the counter service that a benchmark makes beside its load."""

from __future__ import annotations

import copy
import csv
import io
import secrets
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.place import Endpoint
from lab.config import LabError

IMPORT = 5000
"""Counters of one import; the service takes no more than 10,000."""


class Counters:
    """The counters of one benchmark: in a namespace of their own, owned by it, removed by it.

    :param endpoint: any of the servers.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._admin_key = secrets.token_hex(32)
        self.namespace = f"bench-{secrets.token_hex(4)}"

    def at(self, endpoint: Endpoint) -> Counters:
        """Return the same counters, to be asked for at another server."""
        other = copy.copy(self)
        other._endpoint = endpoint
        return other

    def hits(self, name: str) -> str:
        """Return the path that hits a counter of this name are sent to."""
        return f"/api/v1/counters/{self.namespace}/{name}/hits"

    def make(self, names: Collection[str]) -> None:
        """Make counters at 0.

        :raises LabError: the service refused.
        """
        rows = [f"{self.namespace},{name},0\n" for name in names]
        for start in range(0, len(rows), IMPORT):
            body = "namespace,key,value\n" + "".join(rows[start : start + IMPORT])
            self._call("POST", "/api/v1/import", body, {"Content-Type": "text/csv"})

    def values(self) -> dict[str, int]:
        """Return the value of each counter by its name."""
        text = self._call("GET", "/api/v1/export?format=csv")
        return {row["key"]: int(row["value"]) for row in csv.DictReader(io.StringIO(text))}

    def remove(self) -> None:
        """Remove all of them."""
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(self._delete, self.values()))

    def _delete(self, name: str) -> None:
        self._call("DELETE", f"/api/v1/counters/{self.namespace}/{name}")

    def _call(
        self, method: str, path: str, body: str = "", headers: dict[str, str] | None = None
    ) -> str:
        own = {"Authorization": f"Bearer {self._admin_key}"}
        url, connection = self._endpoint.url, self._endpoint.connection(60)
        try:
            connection.request(method, path, body or None, own | (headers or {}))
            response = connection.getresponse()
            text = response.read().decode()
        except OSError as error:
            raise LabError(f"{url} does not answer ({error}).") from error
        finally:
            connection.close()
        if response.status >= 300:
            raise LabError(f"{method} {path}: {url} answered {response.status}: {text}")
        return text


def numbered(count: int) -> Iterator[str]:
    """Yield the names of ``count`` counters that a load with ``NUMBERED`` takes in turn."""
    return (NUMBERED % number for number in range(count))


NUMBERED = "many-%d"


def total(values: dict[str, int], names: Sequence[str]) -> int:
    """Return the sum of the counters of these names."""
    return sum(values[name] for name in names)
