"""
Replay an oplog on another set, by ``applyOps``.

What ``applyOps`` does not take, or does in another way than replication, is done in its place:

- Indexes and views are kept in a catalog, for whoever makes them at the end.
- The operations of a transaction are gathered until the entry that commits it.
- A collection that is renamed onto another one replaces it: ``applyOps`` would keep the other under
  a name of its own.
- A collection that the dump missed since it was dropped meanwhile is not missed.
- A timestamp of 0 stays one.
- A capped collection has no document that only an update remembers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from salt.exceptions import CommandExecutionError

try:
    from bson import Timestamp
    from pymongo.errors import OperationFailure

    HAS_PYMONGO = True
except ImportError:
    HAS_PYMONGO = False

Entry = Mapping[str, Any]
Send = Callable[..., Any]
PutBack = Callable[[str, bytes], dict[str, Any] | None]
AT_ONCE = 1000
# A command is a document, which may have 16 MiB; what is small goes in one, what is large alone.
BYTES_AT_ONCE = 4 << 20
# An update whose document is not there, and which is not to make it: UpdateOperationFailed.
NOT_UPDATED = 218
# No data: no-ops, and records of the server's own bookkeeping.
SILENT = frozenset({"n", "cd", "ci", "cu", "km"})
SILENT_COMMANDS = frozenset(
    {"startIndexBuild", "abortIndexBuild", "setMultikeyMetadata", "dbCheck", "dropIdent"}
)
INDEXES_DROPPED = frozenset({"dropIndexes", "deleteIndexes", "dropIndex", "deleteIndex"})


def __virtual__() -> bool | tuple[bool, str]:
    if not HAS_PYMONGO:
        return False, "PyMongo is missing in Salt's Python: salt-pip install pymongo"
    return True


class Replay:
    """The entries of an oplog, in order, onto what a dump was loaded into.

    :param send: gets a list of operations and ``applyOps``' options; nothing is done by one that
        does nothing, and all that would be refused is.
    :param catalog: what was loaded; it is kept up to date.
    :param consistent: operation time of the dump's end. Until there it may lack collections that
        the oplog writes to.
    :param operations: ``mongodb_oplog.operations``.
    :param is_ours: ``mongodb_oplog.is_ours``.
    :param put_back: ``mongodb_digest.put_back``.
    """

    def __init__(
        self,
        send: Send,
        catalog: Any,
        consistent: Timestamp,
        operations: Callable[[Entry], Iterable[Entry]],
        is_ours: Callable[[str], bool],
        put_back: PutBack,
    ) -> None:
        self.applied = 0
        #: All databases that were there at any time.
        self.databases: set[str] = set(catalog.databases)
        #: The last entry that was fed.
        self.last: Entry | None = None
        self._send = send
        self._catalog = catalog
        self._consistent = consistent
        self._operations = operations
        self._is_ours = is_ours
        self._put_back = put_back
        self._transactions: dict[tuple[bytes, int], list[Entry]] = {}
        self._batch: list[dict[str, Any]] = []
        self._bytes = 0

    def feed(self, entry: Entry) -> None:
        """Take the next entry. What it does may be done with the next ones only.

        :raises CommandExecutionError: it cannot be replayed.
        """
        self.last = entry
        if entry["op"] in SILENT:
            return
        for operation in self._due(entry):
            if operation["op"] not in SILENT and self._is_ours(operation["ns"]):
                self._operation(operation, entry["ts"])

    def flush(self) -> None:
        """Do all that was fed."""
        if self._batch:
            batch, self._batch, self._bytes = self._batch, [], 0
            self._send(batch)
            self.applied += len(batch)

    def _due(self, entry: Entry) -> Iterable[Entry]:
        """Return the operations that are due with an entry, a transaction's at its end."""
        command = entry["o"] if entry["op"] == "c" else {}
        owned = "lsid" in entry and "txnNumber" in entry and entry.get("multiOpType") != 1
        key = (bytes(entry["lsid"].raw), int(entry["txnNumber"])) if owned else (b"", 0)
        if "abortTransaction" in command:
            self._transactions.pop(key, None)
            return ()
        if "commitTransaction" in command:
            if key not in self._transactions:
                raise CommandExecutionError(
                    f"the transaction that ends at {_text(entry)} began before the oplog given:"
                    " begin with the backup that it belongs to"
                )
            return self._transactions.pop(key)
        operations = list(self._operations(entry))
        if owned and (command.get("partialTxn") or command.get("prepare")):
            self._transactions.setdefault(key, []).extend(operations)
            return ()
        return [*self._transactions.pop(key, []), *operations] if owned else operations

    def _operation(self, operation: Entry, at: Timestamp) -> None:
        namespace = operation["ns"]
        database, _, collection = namespace.partition(".")
        kind = operation["op"]
        if kind == "c":
            self._command(operation, database, at)
        elif collection == "system.views":
            self._catalog.change_view(operation)
        elif kind not in ("i", "u", "d"):
            raise CommandExecutionError(
                f"the oplog has an operation {kind!r} at {_text_of(at)}, which is not known here"
            )
        elif self._is_there(namespace, at):
            self._document(operation, capped=self._catalog.is_capped(namespace))

    def _is_there(self, namespace: str, at: Timestamp) -> bool:
        """Tell whether a collection was loaded or made; one that was dropped while the set was
        dumped need not be."""
        if namespace in self._catalog.options:
            return True
        if at > self._consistent:
            raise CommandExecutionError(
                f"the oplog writes to {namespace} at {_text_of(at)}, which neither the backup nor"
                " the oplog before that has: something is missing"
            )
        return False

    def _document(self, operation: Entry, capped: bool) -> None:
        kept = {name: operation[name] for name in ("op", "ns", "o", "o2", "b") if name in operation}
        if capped and kept["op"] == "u":
            self.flush()
            try:
                self._send([kept], alwaysUpsert=False)
            except OperationFailure as err:
                # It has made room for newer ones already.
                if err.code != NOT_UPDATED:
                    raise
            self.applied += 1
            return
        size = len(kept["o"].raw)
        if self._bytes + size > BYTES_AT_ONCE:
            self.flush()
        self._batch.append(kept)
        self._bytes += size
        if kept["op"] == "i" or (kept["op"] == "u" and "$v" not in kept["o"]):
            completing = self._put_back(kept["ns"], kept["o"].raw)
            if completing:
                self._batch.append(completing)
        if len(self._batch) >= AT_ONCE:
            self.flush()

    def _command(self, operation: Entry, database: str, at: Timestamp) -> None:
        command = operation["o"]
        name = next(iter(command))
        namespace = f"{database}.{command[name]}"
        if name in SILENT_COMMANDS:
            return
        if name == "create":
            self._create(namespace, command)
        elif name == "drop":
            if namespace in self._catalog.options:
                self._run(database, {"drop": command["drop"]})
            self._catalog.drop(namespace)
        elif name == "dropDatabase":
            self._run(database, {"dropDatabase": 1})
            self._catalog.drop_database(database)
        elif name == "renameCollection":
            self._rename(command["renameCollection"], command["to"], at)
        elif name == "createIndexes":
            if self._is_there(namespace, at):
                specification = {k: v for k, v in command.items() if k != "createIndexes"}
                self._catalog.add_indexes(namespace, [specification])
        elif name == "commitIndexBuild":
            if self._is_there(namespace, at):
                self._catalog.add_indexes(namespace, list(command["indexes"]))
        elif name in INDEXES_DROPPED:
            if self._is_there(namespace, at):
                self._catalog.drop_indexes(namespace, command["index"])
        elif name == "collMod":
            if self._is_there(namespace, at):
                self._modify(namespace, dict(command))
        else:
            raise CommandExecutionError(
                f"the oplog has a command {name} at {_text_of(at)}, which cannot be replayed"
            )

    def _create(self, namespace: str, command: Entry) -> None:
        database, _, collection = namespace.partition(".")
        if collection.startswith("system.buckets."):
            raise CommandExecutionError(
                f"{database}.{collection.removeprefix('system.buckets.')} is a time series, which"
                " this module does not restore"
            )
        options = {key: value for key, value in command.items() if key != "create"}
        if "viewOn" in options:
            self._catalog.views[namespace] = options
        elif collection != "system.views" and namespace not in self._catalog.options:
            # One that is there was dumped after it was made, with the options of then.
            self.databases.add(database)
            self._catalog.create(namespace, options)
            wanted = {"create": collection, **self._catalog.options[namespace]}
            if "idIndex" in options:
                wanted["idIndex"] = options["idIndex"]
            self._run(database, wanted)

    def _rename(self, source: str, target: str, at: Timestamp) -> None:
        if source not in self._catalog.options:
            raise CommandExecutionError(
                f"the oplog renames {source} at {_text_of(at)}, which neither the backup nor the"
                " oplog before that has: something is missing"
            )
        database, _, collection = target.partition(".")
        if target in self._catalog.options:
            self._run(database, {"drop": collection})
            self._catalog.drop(target)
        self._run(database, {"renameCollection": source, "to": target})
        self._catalog.rename(source, target)

    def _modify(self, namespace: str, command: dict[str, Any]) -> None:
        change = command.pop("index", None)
        if change is not None:
            self._catalog.change_index(namespace, change)
        if len(command) > 1:
            self._run(namespace.partition(".")[0], command)

    def _run(self, database: str, command: dict[str, Any]) -> None:
        self.flush()
        self._send([{"op": "c", "ns": f"{database}.$cmd", "o": command}])
        self.applied += 1


def replay(
    send: Send,
    catalog: Any,
    consistent: Timestamp,
    operations: Callable[[Entry], Iterable[Entry]],
    is_ours: Callable[[str], bool],
    put_back: PutBack,
) -> Replay:
    """Return a replay that was fed nothing."""
    return Replay(send, catalog, consistent, operations, is_ours, put_back)


def _text(entry: Entry) -> str:
    return _text_of(entry["ts"])


def _text_of(moment: Timestamp) -> str:
    return f"{moment.time}:{moment.inc}"
