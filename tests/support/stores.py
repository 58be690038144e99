"""The back end's store, opened as a web node opens it."""

from counterapp.counters import StoreError
from counterapp.mongo import MongoStore

COMMANDS = (
    *("aggregate", "delete", "find", "findAndModify", "getMore", "insert", "update"),
    *("abortTransaction", "commitTransaction"),
)


def open_store(replicas, database, node, uri=None, **options):
    """Return a store of a node on a replica set, with its indexes made."""
    timeout = options.get("timeout", 20)
    store = MongoStore(
        uri or replicas.uri,
        database,
        node=node,
        **{"timeout": timeout, "hit_deadline": timeout, "probe_timeout": 10, **options},
    )
    store.probe(node)
    return store


def commands(replicas):
    """Return how many commands about data the first member was sent so far, by whomever."""
    with replicas.members[0].client() as client:
        kinds = client.admin.command("serverStatus")["metrics"]["commands"]
    return sum(int(kinds[name]["total"]) for name in COMMANDS)


def outcome(call):
    """Return what a call comes to: its result, or the kind of its refusal."""
    try:
        return call()
    except StoreError as error:
        return type(error)
