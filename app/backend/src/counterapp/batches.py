"""Plain hits in batches: many of them in one write, each of them counted once.

Hits that come while a write is on its way share the next one (``combiner``). Such a batch is sent
until the majority has journaled it or its callers' time is over, across failovers, and added once:
each document remembers the last batch of each process (``updates.hits``).
"""

import threading
import time
from collections.abc import Sequence

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.collection import Collection

from counterapp import documents, updates
from counterapp.clock import DatabaseClock
from counterapp.combiner import Combiner
from counterapp.counters import Counted, Full, Key, NotMade, StoreError
from counterapp.documents import Document
from counterapp.driver import persist, translated
from counterapp.gate import Gate
from counterapp.history import bucket
from counterapp.room import Room
from counterapp.writer import Hit, Writer, Written, dealt, tally

BATCH = 1000
"""Hits in one write."""

PACE = 0.025
"""Seconds from one write to the next under load: what a smaller one costs is told in
docs/performance.md."""


class Batches:
    """The line of plain hits of one process.

    :param counters: through a client which repeats nothing on its own: batches are sent again by
        what is known of them here.
    :param timeout: seconds that one try of a batch may take.
    :param deadline: seconds that a hit waits at most, for as many tries as that takes.
    :param gate: of those who wait.
    :param lifetime: milliseconds for which a counter that nobody owns is kept unchanged.
    """

    def __init__(
        self,
        counters: Collection[Document],
        *,
        node: str,
        clock: DatabaseClock,
        timeout: float,
        deadline: float,
        gate: Gate,
        lifetime: int,
        room: Room,
    ) -> None:
        self._timeout = timeout
        self._room = room
        self._writer = Writer(counters, clock, new_slot(node), node, lifetime)
        self._batch = 0
        self._hits: Combiner[Hit, Counted] = Combiner(
            self._commit,
            gate=gate,
            batch=BATCH,
            timeout=deadline,
            name="hits",
            pace=PACE,
        )

    def hit(self, key: Key, make: bool) -> Counted:
        """Add a hit, in one write with others."""
        return self._hits.submit(Hit(key, make))

    def close(self) -> None:
        """Take nothing more, and finish what waits."""
        self._hits.close()

    def _commit(self, hits: Sequence[Hit], deadline: float) -> Sequence[Counted | Exception]:
        self._batch += 1
        batch = self._writer.batch(self._batch)
        counts, unmade = tally(hits)
        full = False

        def write() -> dict[Key, Written]:
            nonlocal full
            # Nobody can tell yet which of them are new.
            full = self._room.free() < len(counts)
            return self._writer.write(counts, batch, set(counts) if full else unmade)

        with translated():
            written = persist(write, deadline, self._timeout)
        self._room.use(sum(each.made for each in written.values()))
        return dealt(hits, written, lambda key: not_made(key, self._room, full))


class Singles:
    """Hits in a write of their own each: what combining is measured against.

    :param counters: through a client that sends a write which was cut off once more.
    """

    def __init__(
        self, counters: Collection[Document], *, node: str, clock: DatabaseClock, lifetime: int
    ) -> None:
        self._counters = counters
        self._node = node
        self._clock = clock
        self._writer = Writer(counters, clock, new_slot(node), node, lifetime)
        self._first = threading.Lock()
        # The hour in which a counter last had its old history dropped, and its step.
        self._known: dict[Key, tuple[int, int]] = {}

    def hit(self, key: Key) -> Counted:
        """Add a hit."""
        with translated():
            counted = self._again(key)
            if counted is None:
                with self._first:
                    counted = self._again(key) or self._once(key)
        return counted

    def _again(self, key: Key) -> Counted | None:
        now = self._clock.now()
        hour, step = self._known.get(key, (None, 0))
        if hour != bucket(now, "hour"):
            return None
        usual, update = updates.one_hit(step, self._node, now)
        document = self._counters.find_one_and_update(
            {"_id": str(key), **usual},
            update,
            projection={"value": True},
            return_document=ReturnDocument.AFTER,
        )
        return None if document is None else Counted(int(document["value"]))

    def _once(self, key: Key) -> Counted:
        hit = Hit(key, True)
        written = self._writer.write({key: 1}, self._writer.batch(time.monotonic_ns()))
        self._known[key] = (bucket(self._clock.now(), "hour"), written[key].step)
        (answer,) = dealt([hit], written, NotMade)
        if isinstance(answer, StoreError):
            raise answer
        return answer


def new_slot(node: str) -> str:
    """Return a slot for a line of batches, which no other line of any process ever has."""
    return f"{documents.field(node)}:{ObjectId()}"


def not_made(key: Key, room: Room, full: bool) -> StoreError:
    """Return why a counter that is not there was not made."""
    if full:
        return Full(f"There is no counter {key}, and no room for more than {room.most} of them")
    return NotMade(f"There is no counter {key}, and this client has made enough of them for now")
