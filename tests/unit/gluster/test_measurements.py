"""Quotas and profiles: limits are checked, answers become data."""

import pytest
from salt.exceptions import CommandExecutionError

from tests.support.loading import load

gluster = load("_utils/gluster.py")
quota = load("_utils/gluster_quota.py")
profile = load("_utils/gluster_profile.py")
MIB = 1024**2


def test_limits_of_size(parsed):
    assert quota.limits(parsed("quota_list")) == {
        "/a": {
            "limit": 10 * MIB,
            "soft_percent": 70,
            "soft_limit": 7 * MIB,
            "used": 8 * MIB,
            "available": 2 * MIB,
            "soft_exceeded": True,
            "exceeded": False,
        },
        "/b c & d": {
            "limit": 1024 * MIB,
            "soft_percent": 80,
            "soft_limit": 858993459,
            "used": 0,
            "available": 1024 * MIB,
            "soft_exceeded": False,
            "exceeded": False,
        },
    }


def test_limits_of_files_and_directories(parsed):
    (found,) = quota.limits(parsed("quota_objects")).values()
    assert (found["limit"], found["soft_limit"], found["used"], found["available"]) == (5, 4, 2, 3)


@pytest.mark.parametrize(
    ("name", "none"), [("quota_none", True), ("quota_no_objects", True), ("quota_disabled", False)]
)
def test_no_limits_is_not_the_same_as_no_quotas(answer, name, none):
    with pytest.raises(CommandExecutionError) as raised:
        gluster.reply(["volume", "quota"], answer(name))
    assert quota.no_limits(raised.value) is none


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (1, 1),
        ("1024", 1024),
        ("10MB", 10 * MIB),
        ("1.5 gb", 1536 * MIB),
        ("2TB", 2 * 1024**4),
        ("7B", 7),
    ],
)
def test_sizes(value, size):
    assert quota.size(value) == size


@pytest.mark.parametrize(
    ("check", "values", "words"),
    [
        ("size", ["", "much", "10XB", "-1", 0, "0.1", None, True, "1e3"], "is no size"),
        ("count", ["", "x", 0, -1, "1.5", None, True], "is no number of files"),
        ("percent", ["", "x", 101, -1, "70.5", None, True], "is no soft limit"),
        ("path", ["", "a", "a/b", "/a/../b", "/./a", None], "is no directory of a volume"),
    ],
)
def test_limits_that_make_no_sense_are_refused(check, values, words):
    for value in values:
        with pytest.raises(CommandExecutionError, match=words):
            getattr(quota, check)(value)


def test_paths_counts_and_percentages_are_normalised():
    assert [quota.path(text) for text in ("/", "//a//b c/", "/a")] == ["/", "/a/b c", "/a"]
    assert (quota.count("7"), quota.percent("70%"), quota.percent(0)) == (7, "70%", "0%")


def test_a_profile(parsed):
    bricks = profile.bricks(parsed("profile_info"))
    assert [brick["name"][:4] for brick in bricks] == ["db-1", "db-2", "db-3"]
    for part in ("cumulative", "interval"):
        seen = bricks[0][part]
        # 1 MiB while it was measured, the rest before.
        assert seen["written"] == 9 * MIB
        assert seen["read"] == 0
        assert seen["duration"] >= 0
        sizes = seen["blocks"].items()
        assert 0 < sum(int(size) * block["writes"] for size, block in sizes) <= 9 * MIB
        write = seen["fops"]["WRITE"]
        assert 1 < write["min"] <= write["average"] <= write["max"] < 10_000_000


def test_a_profile_of_one_part(parsed):
    (brick, *_) = profile.bricks(parsed("profile_interval"))
    assert brick["cumulative"] is None
    assert brick["interval"]["written"] == 0


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("192745.272727", 192.745),
        ("nan", None),
        ("-nan", None),
        ("0.000000", None),
        ("18446744073709551616.000000", None),
        ("inf", None),
        ("", None),
        (None, None),
    ],
)
def test_a_latency_that_was_not_measured_is_none(text, microseconds):
    assert profile._microseconds(text) == microseconds
