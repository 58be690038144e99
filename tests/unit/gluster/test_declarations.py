"""What an operator declares is checked before glusterd is asked, and compared with what is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from salt.exceptions import CommandExecutionError

from tests.support.loading import load

utils = load("_utils/gluster.py")


def volume(bricks, replica=1, arbiter=0, disperse=0):
    return {
        "type": "Disperse" if disperse else "Replicate",
        "replica": replica,
        "arbiter": arbiter,
        "disperse": disperse,
        "redundancy": 0,
        "bricks": [{"name": name} for name in bricks],
    }


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
        utils.layout(bricks, replica, arbiter)
    assert words in str(raised.value)


def test_a_layout_is_normalised():
    assert utils.layout(["db-1://srv//b/", "10.0.0.2:/srv/b"], 2) == [
        "db-1:/srv/b",
        "10.0.0.2:/srv/b",
    ]


@pytest.mark.parametrize(
    ("actual", "wanted", "replica", "arbiter", "words"),
    [
        ("abc", "abc", 3, 0, None),
        ("abc", "cab", 3, 0, None),
        ("abcdef", "defcba", 3, 0, None),
        ("abcdef", "abdcef", 3, 0, "its bricks are put into sets in another way"),
        ("abc", "abcdef", 3, 0, "it lacks d:/b, e:/b, f:/b"),
        ("abcdef", "abc", 3, 0, "it also has d:/b, e:/b, f:/b"),
        ("abc", "abd", 3, 0, "it lacks d:/b; it also has c:/b"),
        ("abc", "bac", 3, 1, None),
        ("abc", "acb", 3, 1, "its bricks are put into sets in another way"),
    ],
)
def test_layouts_are_compared_as_sets_of_copies(actual, wanted, replica, arbiter, words):
    existing = volume([f"{host}:/b" for host in actual], replica, arbiter)
    difference = utils.layout_difference(
        existing, [f"{host}:/b" for host in wanted], replica, arbiter
    )
    assert difference is None if words is None else words in difference


def test_other_counts_and_types_are_told():
    existing = volume(["a:/b", "b:/b"], replica=2)
    assert utils.layout_difference(existing, ["a:/b", "b:/b"], 1) == (
        "its replica count is 2, not 1"
    )
    existing = volume(["a:/b", "b:/b", "c:/b"], disperse=3)
    assert "of type Disperse" in utils.layout_difference(existing, ["a:/b", "b:/b", "c:/b"], 1)


def test_option_values_become_what_glusterd_keeps():
    given_values = {"a.b": True, "a.c": False, "a.d": 10, "a.e": " 64MB ", "auth.allow": ["x", "y"]}
    assert utils.option_values(given_values) == {
        "a.b": "on",
        "a.c": "off",
        "a.d": "10",
        "a.e": "64MB",
        "auth.allow": "x,y",
    }
    assert utils.option_values(None) == {}


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
        utils.option_values(options)
    assert words in str(raised.value)


@pytest.mark.parametrize("name", ["", "all", "a/b", "-x", "a b", None, 3])
def test_no_volume_names(name):
    with pytest.raises(CommandExecutionError, match="is no volume name"):
        utils.volume_name(name)


@pytest.mark.parametrize("name", ["", "-o", "a b", "a;b", None, "a-"])
def test_no_host_names(name):
    with pytest.raises(CommandExecutionError, match="is no host name"):
        utils.host_name(name)


@given(st.text(), st.text())
def test_a_brick_is_parsed_or_refused(host, path):
    try:
        brick = utils.brick(f"{host}:/{path}")
    except CommandExecutionError:
        return
    assert brick["name"] == f"{brick['host']}:{brick['path']}"
    assert utils.brick(brick["name"]) == brick
