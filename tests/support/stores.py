"""The back end's store, opened as a web node opens it."""

from counterapp.mongo import MongoStore


def open_store(replicas, database, node, uri=None, **options):
    """Return a store of a node on a replica set, with its indexes made."""
    store = MongoStore(
        uri or replicas.uri,
        database,
        node=node,
        **{"timeout": 20, "probe_timeout": 10, **options},
    )
    store.probe(node)
    return store
