"""What an operator declares is checked before glusterd is asked, and compared with what is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from salt.exceptions import CommandExecutionError

from tests.support.loading import load

declared = load("_utils/gluster_declared.py")


@pytest.mark.parametrize(
    ("bricks", "replica", "arbiter", "words"),
    [
        ([], 1, 0, "list of host:/absolute/path"),
        ("db-1:/b", 1, 0, "list of host:/absolute/path"),
        (["db-1"], 1, 0, "'db-1' is not written as host:/absolute/path"),
        (["db-1:b"], 1, 0, "'db-1:b' is not written"),
        (["db-1:/"], 1, 0, "'db-1:/' is not written"),
        (["-o x:/b"], 1, 0, "is not written"),
        (["db-1:/a b"], 1, 0, "is not written"),
        (["db-1:/b", "db-1://b/"], 2, 0, "brick db-1:/b is given twice"),
        (["a:/b", "b:/b"], 3, 0, "2 bricks cannot be put into sets of replica 3"),
        (["a:/b"], 0, 0, "whole number from 1"),
        (["a:/b"], "3", 0, "whole number from 1"),
        (["a:/b"], True, 0, "whole number from 1"),
        (["a:/b", "b:/b"], 2, 1, "arbiter must be 0 or 1, and 1 only with replica 3"),
    ],
)
def test_an_impossible_layout_is_refused(bricks, replica, arbiter, words):
    with pytest.raises(CommandExecutionError) as raised:
        declared.layout(bricks, replica, arbiter)
    assert words in str(raised.value)


def test_a_layout_is_normalised():
    assert declared.layout(["db-1://srv//b/", "10.0.0.2:/srv/b"], 2) == [
        "db-1:/srv/b",
        "10.0.0.2:/srv/b",
    ]


@pytest.mark.parametrize(
    ("number", "replica", "disperse", "redundancy", "words"),
    [
        (3, 1, 3, 0, "greater than twice redundancy"),
        (4, 1, 4, 2, "greater than twice redundancy"),
        (3, 1, 0, 1, "greater than twice redundancy"),
        (3, 1, "3", 1, "not '3' and 1"),
        (3, 3, 3, 1, "disperse and replica exclude each other"),
        (4, 1, 3, 1, "4 bricks cannot be put into sets of disperse 3"),
    ],
)
def test_an_impossible_erasure_coding_is_refused(number, replica, disperse, redundancy, words):
    bricks = [f"db-{position}:/b" for position in range(number)]
    with pytest.raises(CommandExecutionError) as raised:
        declared.layout(bricks, replica, 0, disperse, redundancy)
    assert words in str(raised.value)


def test_option_values_become_what_glusterd_keeps():
    given_values = {"a.b": True, "a.c": False, "a.d": 10, "a.e": " 64MB ", "auth.allow": ["x", "y"]}
    assert declared.option_values(given_values) == {
        "a.b": "on",
        "a.c": "off",
        "a.d": "10",
        "a.e": "64MB",
        "auth.allow": "x,y",
    }
    assert declared.option_values(None) == {}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ping-timeout": 10}, "'ping-timeout' is no volume option: write its full name"),
        ({"--help.me": 1}, "is no volume option"),
        ({5: 1}, "5 is no volume option"),
        ({"a.b": None}, "option a.b has no value"),
        ({"a.b": {"c": 1}}, "option a.b has no value"),
        ({"a.b": "  "}, "option a.b has an empty value"),
    ],
)
def test_options_that_cannot_be_set_are_refused(options, words):
    with pytest.raises(CommandExecutionError) as raised:
        declared.option_values(options)
    assert words in str(raised.value)


@pytest.mark.parametrize("name", ["", "all", "a/b", "-x", "a b", None, 3])
def test_no_volume_names(name):
    with pytest.raises(CommandExecutionError, match="is no volume name"):
        declared.volume_name(name)


@pytest.mark.parametrize("name", ["", "-o", "a b", "a;b", None, "a-"])
def test_no_host_names(name):
    with pytest.raises(CommandExecutionError, match="is no host name"):
        declared.host_name(name)


@given(st.text(), st.text())
def test_a_brick_is_parsed_or_refused(host, path):
    try:
        brick = declared.brick(f"{host}:/{path}")
    except CommandExecutionError:
        return
    assert brick["name"] == f"{brick['host']}:{brick['path']}"
    assert declared.brick(brick["name"]) == brick
