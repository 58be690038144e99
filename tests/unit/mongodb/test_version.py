"""Which versions of mongod let a stranger read their memory."""

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
