"""The settings that a replica set has as a whole: what is right, and what has to change."""

import pytest

from tests.support.loading import load

settings = load("_utils/mongodb_settings.py")

CONFIG = {
    "_id": "rs0",
    "version": 7,
    "settings": {"electionTimeoutMillis": 10000, "replicaSetId": "kept", "chainingAllowed": True},
}


@pytest.mark.parametrize(
    "good",
    [
        {"electionTimeoutMillis": 3000},
        {"chainingAllowed": False, "catchUpTimeoutMillis": -1, "heartbeatTimeoutSecs": 5},
        {"catchUpTakeoverDelayMillis": 0},
    ],
)
def test_what_is_right(good):
    assert settings.check(good) == good


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (None, "must be a mapping, e.g. {electionTimeoutMillis: 3000}, not None"),
        ({}, "must be a mapping"),
        ([], "must be a mapping"),
        ({"heartbeatIntervalMillis": 500}, "no setting heartbeatIntervalMillis: there are chain"),
        ({"electionTimeoutMillis": 999}, "write a whole number from 1000 to 3600000"),
        ({"electionTimeoutMillis": "3000"}, "electionTimeoutMillis is '3000': write a whole"),
        ({"electionTimeoutMillis": True}, "write a whole number"),
        ({"heartbeatTimeoutSecs": 2.5}, "write a whole number from 1 to 3600"),
        ({"chainingAllowed": 1}, "chainingAllowed is 1: write true or false"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_right(wrong, words):
    with pytest.raises(ValueError, match=words):
        settings.check(wrong)


def test_what_a_configuration_does_not_say_is_the_default():
    assert settings.of({}) == settings.DEFAULTS
    assert settings.of({"settings": {"electionTimeoutMillis": 5}})["electionTimeoutMillis"] == 5


def test_only_what_differs_is_changed_and_all_else_is_kept():
    wanted = {"electionTimeoutMillis": 3000, "chainingAllowed": True}
    assert settings.differing(CONFIG, wanted) == {
        "electionTimeoutMillis": {"old": 10000, "new": 3000}
    }
    then = settings.changed(CONFIG, wanted)
    assert then == {**CONFIG, "settings": {**CONFIG["settings"], "electionTimeoutMillis": 3000}}
    assert settings.changed(then, wanted) is None
    assert CONFIG["settings"]["electionTimeoutMillis"] == 10000
