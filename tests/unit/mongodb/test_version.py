"""Versions of mongod: which let a stranger read their memory, and what each may become."""

import pytest

from tests.support.loading import load

version = load("_utils/mongodb_version.py")


@pytest.mark.parametrize(
    ("running", "repaired"),
    [
        ("3.6.23", "4.4.30"),
        ("4.2.25", "4.4.30"),
        ("4.4.29", "4.4.30"),
        ("4.4.30", None),
        ("5.0.31", "5.0.32"),
        ("5.0.32", None),
        ("5.3.1", "6.0.27"),
        ("6.0.5", "6.0.27"),
        ("6.0.26", "6.0.27"),
        ("6.0.27", None),
        ("7.0.0", "7.0.28"),
        ("7.0.27", "7.0.28"),
        ("7.0.28", None),
        ("7.0.100", None),
        ("8.0.16-6", "8.0.17"),
        ("8.0.17-6", None),
        ("8.1.2", "8.2.3"),
        ("8.2.2", "8.2.3"),
        ("8.2.3", None),
        ("8.3.0", None),
        ("10.0.0", None),
    ],
)
def test_where_it_is_repaired(running, repaired):
    assert version.repaired_in(running) == repaired


@pytest.mark.parametrize("text", ["", "7.0", "seven", "v7.0.28", "7.0.x"])
def test_what_is_no_version(text):
    with pytest.raises(ValueError, match="is no version of mongod: it must begin like"):
        version.repaired_in(text)


@pytest.mark.parametrize(
    ("runs", "wanted", "compatibility", "words"),
    [
        ("6.0.5", "6.0.27", "6.0", None),
        ("6.0.27", "6.0.5", "5.0", None),
        ("6.0.5", "7.0.28", "6.0", None),
        ("6.0.5", "7.0", None, None),
        ("8.0.17", "8.2.3", "8.0", None),
        ("7.0.28", "6.0.27", "6.0", None),
        ("6.0.5", "7.0.28", "5.0", "from 6.0 to 7.0 it must be 6.0"),
        ("7.0.28", "6.0.27", "7.0", "from 7.0 to 6.0 it must be 6.0"),
        ("4.4.30", "7.0.28", "4.4", "from 4.4 to 7.0: go to 5.0 first"),
        ("8.0.17", "6.0.27", "8.0", "from 8.0 to 6.0: go to 7.0 first"),
        ("7.0.28", "8.2.3", "7.0", None),
        ("3.6.23", "4.4.30", None, "from 3.6 to 4.4 no way is known"),
        ("8.0.17", "9.0.1", None, "from 8.0 to 9.0 no way is known"),
    ],
)
def test_where_a_member_may_go(runs, wanted, compatibility, words):
    found = version.change_problem(runs, wanted, compatibility)
    assert found is None if words is None else words in found


@pytest.mark.parametrize("wrong", ["", "seven", "7", "7.x", "v7.0"])
def test_what_is_no_series(wrong):
    with pytest.raises(ValueError, match="is no version of mongod"):
        version.series(wrong)


@pytest.mark.parametrize(
    ("wanted", "platform", "repo", "words"),
    [
        ("7.0", ("Debian", "Debian", "12", "x86_64", ["avx"]), True, None),
        ("6.0", ("Debian", "Debian", "12", "x86_64", ["avx"]), True, "has no 6.0 for Debian 12"),
        ("6.0.5", ("Debian", "Debian", "12.5", "x86_64", ["avx"]), False, None),
        ("7.0", ("Ubuntu", "Debian", "24.04", "x86_64", []), True, "take 8.0 or newer"),
        ("7.0", ("Rocky", "RedHat", "9.4", "aarch64", ["asimd"]), True, None),
        ("5.0", ("Rocky", "RedHat", "9.4", "x86_64", ["avx"]), True, "has no 5.0 for Rocky 9.4"),
        ("5.0", ("Debian", "Debian", "12", "x86_64", ["sse"]), False, "processor with AVX"),
        ("4.4", ("Debian", "Debian", "11", "x86_64", ["sse"]), True, None),
    ],
)
def test_where_a_version_runs(wanted, platform, repo, words):
    found = version.platform_problems(wanted, *platform, repo)
    assert (found == []) if words is None else words in found[0]


@pytest.mark.parametrize(
    ("series", "before"), [((7, 0), (6, 0)), ((8, 2), (8, 0)), ((4, 4), None), ((9, 1), None)]
)
def test_what_comes_before(series, before):
    assert version.before(series) == before
