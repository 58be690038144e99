"""
What happens to a set's collections while they are dumped, as the oplog tells it.

A dump reads each collection at another moment, and the oplog brings all to one. That cannot be done
for all that may happen meanwhile, and a :class:`Window` refuses what it cannot be done for. It also
knows which documents were written, for the others are in the dump as they are at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from salt.exceptions import CommandExecutionError

Entry = Mapping[str, Any]
# Identities of documents that are kept in memory, of all collections together: some 40 MiB.
MOST = 300_000


class Window:
    """The oplog entries of a dump, one after the other.

    :param operations: ``mongodb_oplog.operations``.
    :param is_ours: ``mongodb_oplog.is_ours``.
    :param identity: ``mongodb_digest.identity``.
    """

    def __init__(
        self,
        operations: Callable[[Entry], Iterable[Entry]],
        is_ours: Callable[[str], bool],
        identity: Callable[[bytes], bytes],
    ) -> None:
        self.entries = 0
        self.first: Entry | None = None
        self.last: Entry | None = None
        #: Of each collection that was written, the identities of the documents.
        self.touched: dict[str, set[bytes]] = {}
        #: Collections of which it is not known what was written.
        self.unknown: set[str] = set()
        #: Collections and databases that were dropped, or replaced by others.
        self.dropped: set[str] = set()
        self._created: set[bytes] = set()
        self._kept = 0
        self._operations = operations
        self._is_ours = is_ours
        self._identity = identity

    def see(self, entry: Entry) -> None:
        """Take the next entry into account.

        :raises CommandExecutionError: it is one that the dump cannot be brought over.
        """
        self.entries += 1
        self.first = self.first or entry
        self.last = entry
        for operation in self._operations(entry):
            kind, namespace = operation["op"], operation["ns"]
            if not self._is_ours(namespace):
                continue
            if kind == "c":
                self._command(operation, namespace.partition(".")[0])
            elif kind in ("i", "u", "d"):
                source = operation["o2"] if kind == "u" else operation["o"]
                self._touch(namespace, self._identity(source.raw))

    def was_dropped(self, namespace: str) -> bool:
        """Tell whether a collection was dropped or replaced."""
        return namespace in self.dropped or namespace.partition(".")[0] in self.dropped

    def is_unknown(self, namespace: str) -> bool:
        """Tell whether it is not known which documents of a collection were written."""
        return namespace in self.unknown or self.was_dropped(namespace)

    def _touch(self, namespace: str, identity: bytes) -> None:
        if namespace in self.unknown:
            return
        identities = self.touched.setdefault(namespace, set())
        if identity in identities:
            return
        if self._kept >= MOST:
            self.unknown.add(namespace)
            self._kept -= len(self.touched.pop(namespace))
            return
        identities.add(identity)
        self._kept += 1

    def _command(self, operation: Entry, database: str) -> None:
        name = next(iter(operation["o"]))
        value = operation["o"][name]
        namespace = f"{database}.{value}"
        if name == "create":
            if str(value).startswith("system.buckets."):
                raise CommandExecutionError(
                    refusal(database, value.removeprefix("system.buckets."))
                )
            self._created.add(bytes(operation.get("ui") or b""))
        elif name == "drop":
            self.dropped.add(namespace)
            self.unknown.add(namespace)
        elif name == "dropDatabase":
            self.dropped.add(database)
        elif name == "renameCollection":
            self._rename(value, operation["o"]["to"], bytes(operation.get("ui") or b""))
        elif name in ("importCollection", "upgradeDowngradeViewlessTimeseries"):
            raise CommandExecutionError(
                f"the server did {name} in {database} while it was dumped, which a dump cannot"
                " follow: dump again when that has ended"
            )

    def _rename(self, source: str, target: str, uuid: bytes) -> None:
        if not uuid or uuid not in self._created:
            raise CommandExecutionError(
                f"{source} was renamed to {target} while the set was dumped, so that its documents"
                " may have been missed: dump again"
            )
        # All of its documents are in the oplog, since it was made meanwhile: $out does so.
        self.dropped.update((source, target))
        self.unknown.update((source, target))


def window(
    operations: Callable[[Entry], Iterable[Entry]],
    is_ours: Callable[[str], bool],
    identity: Callable[[bytes], bytes],
) -> Window:
    """Return a window that has seen no entry."""
    return Window(operations, is_ours, identity)


def refusal(database: str, collection: str) -> str:
    """Return why a time series is not dumped."""
    return (
        f"{database}.{collection} is a time series, which is not dumped by this module: use"
        " mongodump, or drop it"
    )
