"""Rotations as commands: what is refused, and with which words."""

import pytest


@pytest.mark.parametrize("command", [["secret.list"], ["secret.rotate", "mongodb_app"]])
def test_before_the_first_rollout_there_is_nothing_to_rotate(runners, command):
    answer, code = runners.run(*command)
    assert code == 1
    assert "roll out first" in answer["failed"][0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mongodb_ap"], "is mongodb_app meant? There are mongodb_keyfile, mongodb_admin"),
        (["mongodb_app", "tset=True"], "is test meant"),
        (["mongodb_app", "min_in_service=none"], "min_in_service must be a whole number"),
        ([], "secret.rotate needs name"),
    ],
)
def test_a_wrong_argument_is_named(runners, arguments, words):
    answer, code = runners.run("secret.rotate", *arguments)
    assert code == 1
    assert words in answer["failed"][0]
