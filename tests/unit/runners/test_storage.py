"""The switch of TLS as a command, and the names that its steps had before."""

import pytest


def test_before_the_first_rollout_there_is_nothing_to_switch(runners):
    answer, code = runners.run("storage.switch_tls", "test=True")
    assert code == 1
    assert "roll out first" in answer["failed"][0]


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("restrat=True", "is restart meant"),
        ("restart=perhaps", "restart must be True or False"),
        ("wait=long", "wait must be a number"),
    ],
)
def test_a_wrong_argument_is_named(runners, argument, words):
    answer, code = runners.run("storage.switch_tls", argument)
    assert code == 1
    assert words in answer["failed"][0]


@pytest.mark.parametrize("name", ["plan_tls", "begin_tls", "stop_daemons", "abandon_tls"])
def test_an_old_name_says_the_new_one(runners, name):
    answer, code = runners.run(f"storage.{name}", "[data]")
    assert code == 1
    assert answer["failed"][0].startswith(f"storage.{name} is now ")
    assert "salt-run storage.switch_tls" in answer["failed"][0]
