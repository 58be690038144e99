"""The driver's errors: which of them pass, and what they mean in our words."""

import time
from collections.abc import Callable
from typing import TypeVar

import pymongo
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConnectionFailure,
    DuplicateKeyError,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)

from counterapp.counters import StoreUnavailable

T = TypeVar("T")

RETRY_PAUSE = 0.05
"""Seconds between two tries, where the driver itself does not wait for a primary."""

DUPLICATE_KEY = 11000
SHUT_OUT = 13
"""The application's role has no rights: a restore has taken them away."""

PASSING = frozenset(
    (
        *(6, 7, 89, 9001, 10107, 11600, 11602, 13435, 13436),  # the network, a primary that goes
        *(91, 133, 134, 189, 234, 246),  # a server that starts, stops or catches up
        *(50, 64, 100, 262),  # late: the operation, the majority
        *(112, 251),  # another transaction on the same document
    )
)
"""Codes of refusals after which the very same operation may succeed; the names of the codes are in
MongoDB's ``src/mongo/base/error_codes.yml``."""


class translated:
    """Turns the driver's errors into ours, around a block."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, PyMongoError):
            raise unavailable(error) from error


def persist(write: Callable[[], T], deadline: float, timeout: float) -> T:
    """Call ``write`` until it succeeds, or fails for good, or ``deadline`` (monotonic) is there."""
    while True:
        left = deadline - time.monotonic()
        try:
            # Never no time at all: the first try is made however late it is.
            with pymongo.timeout(min(max(left, RETRY_PAUSE), timeout)):
                return write()
        except PyMongoError as error:
            if not passing(error) or time.monotonic() + RETRY_PAUSE >= deadline:
                raise
            time.sleep(RETRY_PAUSE)


def passing(error: PyMongoError) -> bool:
    """Tell whether the same write, which adds only once, is worth another try."""
    if isinstance(error, BulkWriteError):
        # Two nodes that make the same document at once: at the next try it is there.
        codes = {found.get("code") for found in error.details.get("writeErrors", [])}
        return codes <= PASSING | {DUPLICATE_KEY}
    if isinstance(error, (ConnectionFailure, WriteConcernError, DuplicateKeyError)):
        return True
    if error.has_error_label("TransientTransactionError"):
        return True
    if error.has_error_label("UnknownTransactionCommitResult"):
        return True
    return error.timeout or (isinstance(error, OperationFailure) and error.code in PASSING)


def unavailable(error: PyMongoError) -> StoreUnavailable:
    """Return an error in words that are fit for clients: no address, no secret."""
    if isinstance(error, ServerSelectionTimeoutError):
        return StoreUnavailable("The database has no primary that can be reached")
    if isinstance(error, WriteConcernError):
        return StoreUnavailable("No majority of the database acknowledged in time")
    if isinstance(error, (NotPrimaryError, AutoReconnect)) or error.timeout:
        return StoreUnavailable("The database did not answer in time")
    if isinstance(error, OperationFailure) and error.code == SHUT_OUT:
        return StoreUnavailable("The database is closed, as while counters are restored")
    if isinstance(error, OperationFailure):
        return StoreUnavailable(f"The database refused the operation (code {error.code})")
    return StoreUnavailable("The database cannot be used")
