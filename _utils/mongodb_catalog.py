"""
What a set has besides documents, as metadata and oplog tell it: collections with their options and
indexes, and views. No connection, only data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from salt.exceptions import CommandExecutionError

ID_INDEX = "_id_"
# Belong to a command in the oplog, or to the server that wrote it, and not to the collection.
FOREIGN_OPTIONS = ("temp", "idIndex", "recordIdsReplicated", "uuid")


class Catalog:
    """The collections and views of a set; a namespace is ``database.name``."""

    def __init__(self) -> None:
        #: Of each collection its options.
        self.options: dict[str, dict[str, Any]] = {}
        #: Of each collection its indexes by name, but for that of ``_id``.
        self.indexes: dict[str, dict[str, dict[str, Any]]] = {}
        #: Of each view its ``viewOn``, ``pipeline`` and, maybe, ``collation``.
        self.views: dict[str, dict[str, Any]] = {}

    @property
    def databases(self) -> set[str]:
        """The databases of all collections and views."""
        return {name.partition(".")[0] for name in (*self.options, *self.views)}

    def is_capped(self, namespace: str) -> bool:
        """Tell whether a collection has a largest size."""
        return bool(self.options.get(namespace, {}).get("capped"))

    def add(self, namespace: str, metadata: Mapping[str, Any]) -> None:
        """Add what the metadata of a dump say of a collection or view."""
        if metadata.get("type") == "view":
            self.views[namespace] = dict(metadata["options"])
        else:
            self.create(namespace, metadata.get("options") or {})
            self.add_indexes(namespace, metadata.get("indexes") or [])

    def create(self, namespace: str, options: Mapping[str, Any]) -> None:
        """Add a collection without indexes."""
        kept = {key: value for key, value in options.items() if key not in FOREIGN_OPTIONS}
        self.options[namespace] = kept
        self.indexes[namespace] = {}

    def drop(self, namespace: str) -> None:
        """Forget a collection, or the views of a database with its ``system.views``."""
        self.options.pop(namespace, None)
        self.indexes.pop(namespace, None)
        database, _, name = namespace.partition(".")
        if name == "system.views":
            self.views = {
                view: found
                for view, found in self.views.items()
                if view.partition(".")[0] != database
            }

    def drop_database(self, database: str) -> None:
        """Forget all of a database."""
        for namespace in [each for each in self.options if each.partition(".")[0] == database]:
            self.drop(namespace)
        self.drop(f"{database}.system.views")

    def rename(self, source: str, target: str) -> None:
        """Give a collection another name, whose own is forgotten."""
        self.options[target] = self.options.pop(source)
        self.indexes[target] = self.indexes.pop(source)

    def add_indexes(self, namespace: str, specifications: list[Any]) -> None:
        """Add indexes, in place of those of their names."""
        for found in specifications:
            specification = dict(found)
            if specification["name"] != ID_INDEX and not specification.get("clustered"):
                specification.pop("ns", None)
                if self.options[namespace].get("collation"):
                    # Else the index would get the collection's.
                    specification.setdefault("collation", {"locale": "simple"})
                self.indexes[namespace][specification["name"]] = specification

    def drop_indexes(self, namespace: str, which: Any) -> None:
        """Forget indexes: ``*``, or by name, by names or by key."""
        indexes = self.indexes[namespace]
        if which == "*":
            indexes.clear()
        elif isinstance(which, Mapping):
            key = list(which.items())
            for name in [name for name, one in indexes.items() if list(one["key"].items()) == key]:
                del indexes[name]
        else:
            for name in [which] if isinstance(which, str) else which:
                indexes.pop(name, None)

    def change_index(self, namespace: str, change: Mapping[str, Any]) -> None:
        """Change options of an index as ``collMod`` does."""
        name = change.get("name")
        found = self.indexes[namespace].get(str(name))
        if found is None:
            # Dropped later in the same oplog: it was not there any more when it was listed.
            return
        for option, value in change.items():
            if option in ("name", "keyPattern"):
                continue
            if option in ("hidden", "prepareUnique") and not value:
                found.pop(option, None)
            else:
                found[option] = value
            if option == "unique" and value:
                found.pop("prepareUnique", None)

    def change_view(self, operation: Mapping[str, Any]) -> None:
        """Take over a write to ``system.views``.

        :raises CommandExecutionError: it is of a form that is not known, or makes a time series.
        """
        if operation["op"] == "d":
            self.views.pop(operation["o"]["_id"], None)
            return
        found = dict(operation["o"])
        if "$v" in found or "viewOn" not in found:
            raise CommandExecutionError("a view was changed in a way that is not known here")
        namespace = found.pop("_id")
        if str(found["viewOn"]).startswith("system.buckets."):
            raise CommandExecutionError(
                f"{namespace} is a time series, which this module does not restore"
            )
        self.views[namespace] = found


def catalog() -> Catalog:
    """Return a catalog of nothing."""
    return Catalog()
