"""The store's own rules that need no database: error messages and field names."""

import pytest
from counterapp import store
from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
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
        (OperationFailure(ADDRESS, 13), "refused the operation (code 13)"),
        (ConfigurationError(ADDRESS), "cannot be used"),
    ],
)
def test_errors_become_sentences_without_addresses(error, message):
    sentence = str(store._unavailable(error))
    assert message in sentence
    assert ADDRESS not in sentence


def test_a_dotted_node_name_survives_as_a_field_name():
    field = store._field("web-1.example.org")
    assert "." not in field
    assert store._node(field) == "web-1.example.org"


def test_making_a_store_connects_to_nothing():
    made = store.MongoStore("mongodb://127.0.0.1:1/?replicaSet=x", "counterapp", 0.1, 0.1)
    with pytest.raises(store.StoreUnavailable, match="no primary"):
        made.probe("web-1")
    made.close()
