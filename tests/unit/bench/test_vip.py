"""What ``bench/failover`` makes of what kernels tell of the VIP."""

import pytest

from bench import vip
from bench.vip import Change

ADDRESS = "10.0.0.9"


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        (r"[1970-01-01T00:00:10.250000] 2: eth0    inet 10.0.0.9/24 scope global\  valid", True),
        (r"[1970-01-01T00:00:10.250000] Deleted 2: eth0    inet 10.0.0.9/24 scope\  valid", False),
        (r"[1970-01-01T00:00:10.250000] 2: eth0    inet 10.0.0.90/24 scope global\  valid", None),
        ("Terminated", None),
    ],
)
def test_a_line_of_the_monitor(line, seen):
    found = vip.change(line, "lb-1", ADDRESS)
    assert found == (None if seen is None else Change(10.25, "lb-1", seen))


@pytest.mark.parametrize(
    ("changes", "since"),
    [
        ([], None),
        # The killed one's address goes first, or last; nobody has it, or both, until then.
        ([Change(1, "a", False)], None),
        ([Change(1, "a", False), Change(2, "b", True)], 2),
        ([Change(1, "b", True)], None),
        ([Change(3, "a", False), Change(1, "b", True)], 3),
        # The killed one takes it back, and so it was nobody else's.
        ([Change(1, "a", False), Change(2, "a", True)], None),
        ([Change(1, "a", False), Change(2, "b", True), Change(3, "c", True)], None),
        ([Change(1, "a", False), Change(2, "b", True), Change(3, "b", False)], None),
    ],
)
def test_since_when_another_one_alone_has_it(changes, since):
    assert vip.settled("a", changes) == since
