"""How much the database may hold, and whether there is room for more."""

import threading
import time

from pymongo.collection import Collection

from counterapp.documents import Document

AGE = 1.0
"""Seconds for which a number of documents is taken for the present one: what other processes make
in that time may come on top of the limit."""


class Room:
    """The room that a collection has.

    :param most: how many documents it may have.
    """

    def __init__(self, collection: Collection[Document], most: int) -> None:
        self._collection = collection
        self.most = most
        self._lock = threading.Lock()
        self._free = 0
        self._asked: float | None = None

    def free(self) -> int:
        """Return for how many more documents there is room; asks the server once in ``AGE``."""
        with self._lock:
            if self._asked is None or time.monotonic() - self._asked > AGE:
                # Kept by the server, which need not count.
                self._free = max(0, self.most - self._collection.estimated_document_count())
                self._asked = time.monotonic()
            return self._free

    def use(self, count: int) -> None:
        """Take note that ``count`` more documents are there."""
        with self._lock:
            self._free = max(0, self._free - count)
