"""What the driver's errors become: sentences for clients, and the choice to try again."""

import time

import pytest
from counterapp import driver
from counterapp.counters import StoreUnavailable
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    DuplicateKeyError,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    ServerSelectionTimeoutError,
    WriteConcernError,
    WTimeoutError,
)

ADDRESS = "db-1.internal:27017"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ServerSelectionTimeoutError(ADDRESS), "no primary"),
        (WTimeoutError(ADDRESS, 64), "No majority"),
        (WriteConcernError(ADDRESS, 100), "No majority"),
        (NetworkTimeout(ADDRESS), "did not answer in time"),
        (AutoReconnect(ADDRESS), "did not answer in time"),
        (NotPrimaryError(ADDRESS), "did not answer in time"),
        (OperationFailure(ADDRESS, 50), "did not answer in time"),
        (OperationFailure(ADDRESS, 13), "is closed, as while counters are restored"),
        (OperationFailure(ADDRESS, 14), "refused the operation (code 14)"),
        (ConfigurationError(ADDRESS), "cannot be used"),
    ],
)
def test_errors_become_sentences_without_addresses(error, message):
    with pytest.raises(StoreUnavailable) as raised, driver.translated():
        raise error
    assert message in str(raised.value)
    assert ADDRESS not in str(raised.value)


def bulk(*codes):
    return BulkWriteError({"writeErrors": [{"code": code} for code in codes]})


@pytest.mark.parametrize(
    "error",
    [
        AutoReconnect(ADDRESS),
        ServerSelectionTimeoutError(ADDRESS),
        WTimeoutError(ADDRESS, 64),
        DuplicateKeyError(ADDRESS, 11000),
        OperationFailure(ADDRESS, 112),
        OperationFailure(ADDRESS, 10107),
        OperationFailure(ADDRESS, 251, {"errorLabels": ["TransientTransactionError"]}),
        bulk(11000),
        bulk(112, 11000),
        bulk(),
    ],
)
def test_what_passes_is_tried_until_it_has_passed(error):
    tries = []

    def write():
        tries.append(error)
        if len(tries) < 3:
            raise error
        return "written"

    assert driver.persist(write, time.monotonic() + 5, 5) == "written"
    assert len(tries) == 3


@pytest.mark.parametrize(
    "error", [OperationFailure(ADDRESS, 13), ConfigurationError(ADDRESS), bulk(11000, 121)]
)
def test_what_does_not_pass_is_not_tried_again(error):
    tries = []

    def write():
        tries.append(error)
        raise error

    with pytest.raises(type(error)):
        driver.persist(write, time.monotonic() + 5, 5)
    assert len(tries) == 1


def test_a_deadline_ends_the_tries():
    began = time.monotonic()

    def write():
        raise AutoReconnect(ADDRESS)

    with pytest.raises(AutoReconnect):
        driver.persist(write, began + 0.3, 5)
    assert 0.1 < time.monotonic() - began < 2
