"""What a backup of many counters takes, and what hits notice of it, beside MongoDB's own tools.

    bench/backup                     # a million counters, in three mongods on loopback
    bench/backup --counters 100000

Hits come at the same rate with nothing else, with our backup under way and with mongodump under
way, in turns; then each backup is made alone, and restored into a set of three without data.
mongodump and mongorestore take part where they are (docs/backup.md). A run in which a counter is
lost, or a restore is not what there was, ends with 1; how fast it was changes nothing about that.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import math
import os
import random
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NoReturn

import bson
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.write_concern import WriteConcern

from bench import backups, load
from bench.api import NUMBERED, Counters, numbered
from bench.backups import Maker, Took
from bench.load import Load, Outcome
from bench.local import Loopback, loopback
from bench.place import processor_time
from lab.config import LabError
from tests.support.mongod import ReplicaSet, replica_set
from tests.support.waiting import until

DATABASE, COLLECTION = "counterapp", "counters"
#: As MongoDB makes it where nothing is said; what is written during a dump has to fit.
OPLOG_MIB = 990
#: How many of the counters are hit: more or less what a node meets in an hour.
HIT = 10_000
#: Of wrk's threads each has a node of its own, and asks it for every other counter.
INTRODUCTIONS = 2
CONNECTIONS = 64
AT_ONCE, WRITERS = 1000, 4
NOTHING = "nothing else"
WANTED = {
    "p99 of hits with our backup : without": "at most 1.25",
    "counters a second, restored": "at least 20000",
    "counters a second, encrypted, restored": "at least 20000",
}


class Bench:
    """One run."""

    def __init__(self, place: Loopback, counters: int, rate: float, folder: Path) -> None:
        self._place = place
        self._many = counters
        self._hit = min(HIT, counters)
        self._rate = rate
        self._folder = folder
        self._client = place.rs.client()
        self._acknowledged = self._unsure = 0
        self.counters = Counters(place.endpoints[0])
        self.outcomes: dict[str, list[Outcome]] = {}
        self.dumps: dict[str, Took] = {}
        self.dumps_meanwhile: dict[str, list[Took]] = {}
        self.restores: dict[str, Took] = {}
        self.wrong: list[str] = []

    @property
    def _collection(self) -> Collection[Any]:
        majority = WriteConcern("majority")
        return self._client[DATABASE].get_collection(COLLECTION, write_concern=majority)

    # Before it is measured

    def fill(self) -> None:
        """Make the counters: one by the service, and the others as that one is."""
        name = "model"
        self.counters.make([name])
        self._hits(name, seconds=1)
        model = self._collection.find_one({"_id": f"{self.counters.namespace}/{name}"})
        assert model is not None
        self._collection.delete_one({"_id": model["_id"]})
        self._acknowledged = self._many * model["value"]
        names = list(numbered(self._many))
        # Those that are hit lie everywhere among the others.
        random.Random(1).shuffle(names)
        parts = (names[start : start + AT_ONCE] for start in range(0, self._many, AT_ONCE))
        with self._without_indexes(), ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(lambda part: self._insert(model, part), parts))

    @contextmanager
    def _without_indexes(self) -> Iterator[None]:
        """Make the indexes anew after the block, which is quicker than to keep them up."""
        kept = [dict(each) for each in self._collection.list_indexes()]
        self._collection.drop_indexes()
        yield
        indexes = [each for each in kept if each["name"] != "_id_"]
        self._client[DATABASE].command("createIndexes", COLLECTION, indexes=indexes)

    def _insert(self, model: dict[str, Any], names: Sequence[str]) -> None:
        made = []
        for name in names:
            one = copy.copy(model)
            one.update(_id=f"{self.counters.namespace}/{name}", inc=bson.ObjectId())
            # What no two have in common, or a dump would be too easy to compress.
            one.update(admin=random.randbytes(32).hex())
            made.append(RawBSONDocument(bson.encode(one)))
        self._collection.insert_many(made, ordered=False)

    def introduce(self) -> None:
        """Let the nodes meet the counters that are hit, as each node has met them for long."""
        met = 0
        while met < INTRODUCTIONS * self._hit:
            outcome = self._hits(NUMBERED, seconds=2, rate=0)
            if not outcome.acknowledged:
                raise LabError("No hit was acknowledged: the web nodes do not count.")
            met += outcome.acknowledged

    # Hits

    def rounds(self, count: int, seconds: float, makers: Sequence[Maker]) -> None:
        """Hit with nothing else and with the backup of each maker under way, in turns."""
        kinds: list[Maker | None] = [None, *makers]
        for turn in range(count):
            start = turn % len(kinds)
            # So that none is always first, or behind the same one.
            for maker in kinds[start:] + kinds[:start]:
                self._phase(maker, seconds)

    def _phase(self, maker: Maker | None, seconds: float) -> None:
        kind = maker.name if maker else NOTHING
        before = os.getloadavg()[0]
        if maker:
            with self._under_way(maker):
                outcome = self._hits(NUMBERED, seconds=seconds)
        else:
            outcome = self._hits(NUMBERED, seconds=seconds)
        self.outcomes.setdefault(kind, []).append(outcome)
        lost = outcome.refused + outcome.unanswered
        print(
            f"  hits, {kind:22} {outcome.rate:6.0f}/s  median {outcome.p50:6.1f} ms, 99 %"
            f" {outcome.p99:6.1f} ms   (load {before:.1f}{f', {lost} not answered' * bool(lost)})"
        )

    def _hits(self, name: str, *, seconds: float, rate: float | None = None) -> Outcome:
        turns = self._hit if name == NUMBERED else 0
        chosen = self._rate if rate is None else rate
        path = self.counters.hits(name)
        places = self._place.endpoints
        outcome = load.run(Load(places, "POST", path, seconds, CONNECTIONS, turns, chosen))
        self._acknowledged += outcome.acknowledged
        # What was refused may have been counted all the same.
        self._unsure += outcome.refused + outcome.unanswered
        return outcome

    @contextmanager
    def _under_way(self, maker: Maker) -> Iterator[None]:
        """Have one backup after the other made as long as the block runs."""
        done = threading.Event()
        parent = self._folder / "meanwhile"
        parent.mkdir()

        def make() -> None:
            number = 0
            while not done.is_set():
                took = self._dump(maker, parent / str(number))
                self.dumps_meanwhile.setdefault(maker.name, []).append(took)
                shutil.rmtree(parent / str(number))
                number += 1

        with ThreadPoolExecutor(1) as pool:
            making = pool.submit(make)
            try:
                until(
                    lambda: making.done() or any(each.is_dir() for each in parent.iterdir()),
                    60,
                    f"{maker.name} is under way",
                )
                yield
            finally:
                done.set()
                making.result()
        shutil.rmtree(parent)

    def check_hits(self) -> None:
        """See that all that was acknowledged is counted."""
        found = self._total(self._client[DATABASE][COLLECTION])
        least, most = self._acknowledged, self._acknowledged + self._unsure
        if not least <= found <= most:
            self.wrong.append(f"The counters have {found} in all, and {least} were acknowledged.")

    def _total(self, collection: Collection[Any]) -> int:
        stages = [{"$group": {"_id": None, "all": {"$sum": "$value"}}}]
        return int(next(collection.aggregate(stages))["all"])

    # Backups and restores alone

    def alone(self, makers: Sequence[Maker]) -> None:
        """Make a backup with each maker while nothing else happens."""
        for maker in makers:
            before = _servers(self._place.rs)
            took = self._dump(maker, self._folder / maker.name.replace(" ", "-"))
            self.dumps[maker.name] = took
            self._tell(maker.name, took, _servers(self._place.rs) - before)

    def _dump(self, maker: Maker, folder: Path) -> Took:
        return maker.dump(self._place.rs, self._place.rs.secondaries()[0], folder)

    def restore(self, rs: ReplicaSet, maker: Maker, backup: str) -> None:
        """Restore one of our backups with a maker, into a set without data; it is that again."""
        folder = self._folder / backup.replace(" ", "-")
        before = _servers(rs)
        took = maker.restore(rs, folder)
        servers = _servers(rs) - before
        self.restores[maker.name] = took
        self._tell(f"restored: {maker.name}", took, servers)
        with rs.client() as client:
            self._compare(client, maker.name)
            client[DATABASE].command("dropDatabase", writeConcern={"w": "majority"})

    def _tell(self, name: str, took: Took, servers: float) -> None:
        parts = "".join(f", {part} {seconds:.1f}" for part, seconds in took.parts.items())
        print(
            f"  {name:32} {took.seconds:6.1f} s, {self._many / took.seconds:7.0f} counters/s,"
            f" {took.bytes / 1e6:.1f} MB; processors {took.processor:.1f} s, the set's"
            f" {servers:.1f} s (load {os.getloadavg()[0]:.1f}){parts}"
        )

    def _compare(self, client: MongoClient[Any], name: str) -> None:
        restored = client[DATABASE][COLLECTION]
        found = restored.count_documents({}), self._total(restored)
        wanted = self._many, self._total(self._collection)
        if found != wanted:
            self.wrong.append(
                f"{name} restored {found[0]} counters with {found[1]} hits, and there were"
                f" {wanted[0]} with {wanted[1]}."
            )

    # Afterwards

    def ratios(self) -> dict[str, float]:
        """Return what is told at the end, by name; those asked of us are in ``WANTED``."""
        p99 = {kind: median(each.p99 for each in them) for kind, them in self.outcomes.items()}
        found = {
            f"p99 of hits with {kind} : without": value / p99[NOTHING]
            for kind, value in p99.items()
            if kind != NOTHING
        }
        for name, took in self.restores.items():
            kind = name.removeprefix("our backup").lstrip(", ")
            found[f"counters a second, {kind + ', ' if kind else ''}restored"] = (
                self._many / took.seconds
            )
        return found

    def document(self) -> dict[str, Any]:
        """Return all numbers."""
        return {
            "counters": self._many,
            "rate": self._rate,
            "outcomes": {
                kind: [dataclasses.asdict(each) for each in them]
                for kind, them in self.outcomes.items()
            },
            "dumps": {name: dataclasses.asdict(each) for name, each in self.dumps.items()},
            "dumps meanwhile": {
                name: [dataclasses.asdict(each) for each in them]
                for name, them in self.dumps_meanwhile.items()
            },
            "restores": {name: dataclasses.asdict(each) for name, each in self.restores.items()},
            "ratios": self.ratios(),
            "wrong": self.wrong,
        }


def _servers(rs: ReplicaSet) -> float:
    """Return the processor time of a set's servers so far, in seconds."""
    return sum(processor_time(int((each.folder / "pid").read_text())) for each in rs.members)


def report(bench: Bench) -> None:
    """Print the ratios beside what is asked for."""
    print("\nOf this run (medians over its rounds):")
    for kind, them in bench.outcomes.items():
        p50, p99 = (median(getattr(each, key) for each in them) for key in ("p50", "p99"))
        all_ = ", ".join(f"{each.p99:.1f}" for each in them)
        print(f"  hits, {kind:22} median {p50:6.1f} ms, 99 % {p99:6.1f} ms ({all_})")
    for name, value in bench.ratios().items():
        wanted = f"   wanted: {WANTED[name]}" if name in WANTED else ""
        print(f"  {name:42} {value:9.2f}{wanted}")


def measure(place: Loopback, options: argparse.Namespace, folder: Path) -> int:
    """Run the benchmark; returns the exit code."""
    print(
        f"{place.name}: {options.counters} counters, {options.rate:g} hits a second; load of this"
        f" machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    bench = Bench(place, options.counters, options.rate, folder)
    bench.fill()
    bench.introduce()
    tools = backups.tools()
    with backups.ours(folder / "salt") as (plain, encrypted):
        theirs = [tools] if tools else []
        bench.rounds(options.rounds, options.seconds, [plain, *theirs])
        bench.check_hits()
        place.stop()
        bench.alone([plain, encrypted, *theirs])
        with replica_set(members=3, auth=True, name="fresh", oplog_mib=OPLOG_MIB) as rs:
            bench.restore(rs, plain, plain.name)
            bench.restore(rs, encrypted, encrypted.name)
            for each in theirs:
                bench.restore(rs, each, plain.name)
    report(bench)
    if options.json:
        options.json.write_text(json.dumps(bench.document(), indent=2) + "\n")
    print("\nEvery hit is counted, and restored." if not bench.wrong else "\nWRONG:")
    for sentence in bench.wrong:
        print(f"  {sentence}")
    return 1 if bench.wrong else 0


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _number(kind: type[int] | type[float], least: float) -> Callable[[str], float]:
    """Return what reads a number that is at least ``least``."""

    def read(text: str) -> float:
        try:
            found = kind(text)
        except ValueError:
            found = math.nan
        if not least <= found < math.inf:
            name = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {name} of at least {least:g}")
        return found

    return read


def main(arguments: list[str] | None = None) -> int:
    """Run ``bench/backup``; returns its exit code."""
    parser = _Parser(
        prog="bench/backup",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--counters", type=_number(int, 1), default=1_000_000, help="(1000000)")
    parser.add_argument("--rate", type=_number(float, 1), default=500, help="hits a second (500)")
    parser.add_argument("--seconds", type=_number(float, 1), default=20, help="of each phase (20)")
    parser.add_argument("--rounds", type=_number(int, 1), default=4, help="of all phases (4)")
    parser.add_argument("--json", type=Path, help="a file for all numbers")
    options = parser.parse_args(arguments)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        with (
            tempfile.TemporaryDirectory(prefix="counterapp-backup-") as folder,
            loopback(auth=True, oplog_mib=OPLOG_MIB) as place,
        ):
            return measure(place, options, Path(folder))
    except LabError as error:
        print(f"bench/backup: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
