"""What ``bench/vip`` makes of what kernels tell of the VIP."""

import json

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


@pytest.mark.parametrize(
    ("changes", "since"),
    [
        # As long as nothing has changed nothing is known.
        ([], None),
        ([Change(1, "a", False), Change(2, "a", True)], 2),
        ([Change(1, "a", False), Change(2, "b", True)], 2),
        ([Change(1, "a", False), Change(2, "a", True), Change(3, "b", True)], None),
    ],
)
def test_where_it_may_come_back_to(changes, since):
    assert vip.settled("a", changes, stays=True) == since


@pytest.mark.parametrize(("seconds", "code"), [([0.5] * 20, 0), ([0.5] * 18 + [2.0, 2.0], 1)])
def test_the_end_tells_whether_it_was_soon_enough(monkeypatch, capsys, tmp_path, seconds, code):
    class Fleet:
        def __init__(self, lab):
            pass

        def times(self, name, runs):
            assert (name, runs) == (vip.KILLED, 20)
            return iter([("lb-1", each) for each in seconds])

    monkeypatch.setattr(vip, "Vip", Fleet)
    monkeypatch.setattr(vip.config, "load", lambda: None)
    numbers = tmp_path / "numbers.json"
    assert vip.main(["--harm", vip.KILLED, "--json", str(numbers)]) == code
    assert ("MISSED" in capsys.readouterr().out) is bool(code)
    assert json.loads(numbers.read_text()) == {vip.KILLED: seconds}
