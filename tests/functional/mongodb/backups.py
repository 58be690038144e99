"""What the tests of backups share: what a set holds, and writers that keep score."""

import itertools
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymongo
import pymongo.errors
from bson import encode
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.write_concern import WriteConcern

from tests.support.mongod import ReplicaSet

OURS = ("admin", "config", "local")


def majority(client: "pymongo.MongoClient[Any]", database: str) -> Any:
    """Return a database whose writes wait for a majority."""
    return client.get_database(database, write_concern=WriteConcern("majority"))


def contents(client: "pymongo.MongoClient[Any]") -> dict[str, Any]:
    """Return all that a set holds: documents as bytes, options, indexes and views."""
    found: dict[str, Any] = {}
    for database in client.list_database_names():
        if database in OURS:
            continue
        raw = client.get_database(database, CodecOptions(document_class=RawBSONDocument))
        for info in client[database].list_collections():
            name = info["name"]
            if name.startswith("system."):
                continue
            row: dict[str, Any] = {"type": info["type"], "options": info["options"]}
            if info["type"] == "collection":
                row["documents"] = sorted(bytes(document.raw) for document in raw[name].find())
                row["indexes"] = {
                    index["name"]: encode(dict(sorted(index.items())))
                    for index in client[database][name].list_indexes()
                }
            found[f"{database}.{name}"] = row
    return found


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the names of what differs between two :func:`contents`."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


class Writers:
    """Four writers: inserts, updates, deletes with inserts anew, and transactions."""

    def __init__(self, rs: ReplicaSet, seed: int = 1) -> None:
        self._rs = rs
        self._seed = seed
        self._stop = threading.Event()
        #: Numbers of the documents of ``ledger`` whose insert was acknowledged, in order.
        self.acknowledged: list[int] = []
        self.failures: list[BaseException] = []
        self.rounds = [0, 0, 0, 0]

    @contextmanager
    def running(self) -> Iterator["Writers"]:
        """Write while the block runs, and have stopped at its end."""
        work = (self._insert, self._update, self._delete, self._transact)
        threads = [
            threading.Thread(target=self._run, args=(number, each))
            for number, each in enumerate(work)
        ]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
        if self.failures:
            raise self.failures[0]

    def _run(self, number: int, work: Any) -> None:
        rng = random.Random(self._seed * 10 + number)
        try:
            with self._rs.client() as client:
                database = majority(client, "shop")
                for turn in itertools.count():
                    if self._stop.is_set():
                        return
                    work(client, database, rng, turn)
                    self.rounds[number] += 1
        except BaseException as error:
            self.failures.append(error)

    def _insert(self, client: Any, database: Any, rng: random.Random, turn: int) -> None:
        database.ledger.insert_one({"_id": turn, "text": "x" * rng.randrange(200)})
        self.acknowledged.append(turn)

    def _update(self, client: Any, database: Any, rng: random.Random, turn: int) -> None:
        number = rng.randrange(3000)
        database.things.update_one(
            {"_id": number},
            [{"$set": {"n": {"$add": ["$n", 1]}, f"by.w{rng.randrange(4)}": turn}}],
        )
        database.things.update_one({"_id": number}, {"$unset": {f"by.w{rng.randrange(4)}": 1}})

    def _delete(self, client: Any, database: Any, rng: random.Random, turn: int) -> None:
        number = rng.randrange(3000)
        database.things.delete_one({"_id": number})
        database.things.insert_one({"_id": number, "n": 0, "code": f"again-{turn}"})

    def _transact(self, client: Any, database: Any, rng: random.Random, turn: int) -> None:
        one, other = rng.sample(range(50), 2)

        def move(session: Any) -> None:
            database.accounts.update_one({"_id": one}, {"$inc": {"sum": -1}}, session=session)
            database.accounts.update_one({"_id": other}, {"$inc": {"sum": 1}}, session=session)
            database.moves.insert_one({"_id": turn, "from": one, "to": other}, session=session)

        with client.start_session() as session:
            session.with_transaction(move)


def furnish(client: "pymongo.MongoClient[Any]") -> None:
    """Make what the writers write to, and some of all that a set can have."""
    shop = majority(client, "shop")
    shop.things.insert_many({"_id": n, "n": 0, "code": f"first-{n}"} for n in range(3000))
    shop.things.create_index("code", unique=True)
    shop.accounts.insert_many({"_id": n, "sum": 100} for n in range(50))
    shop.create_collection("ledger")
    shop.create_collection("moves")
    client.plain.still.insert_many({"_id": n, "text": "y" * 100} for n in range(20_000))
