"""When disks will be full: readings, and what can be said by them."""

import pytest

from fleet import disks
from fleet.master import Master

HOUR, GIB = 3600.0, 2**30


@pytest.fixture
def master(tmp_path):
    return Master({"id": "master", "counterapp_state": str(tmp_path / "state")})


def readings(*free, apart=HOUR):
    return [(number * apart, gib * GIB) for number, gib in enumerate(free)]


def test_what_is_left_at_a_steady_rate():
    assert disks.left(readings(10, 9, 8, 7, 6, 5)) == pytest.approx(5 * HOUR)


@pytest.mark.parametrize(
    "points",
    [
        [],
        readings(5, 5, 5, 5, 5, 5),
        readings(5, 6, 7, 8, 9, 10),
        # Too few, or for too short a time.
        readings(10, 8, 6, 4, 2),
        readings(10, 9, 8, 7, 6, 5, apart=600),
        # Something was unpacked once, and room was made once.
        readings(10, 10, 10, 6, 6, 6, 6),
        readings(10, 9, 8, 7, 9, 9, 9, 9),
    ],
)
def test_what_can_be_no_rate_is_none(points):
    assert disks.left(points) is None


def note(master, now, free, node="db-1"):
    disks.note(master, {node: {"/": {"free": free}}}, now)


def test_readings_that_are_close_or_old_are_not_kept(master):
    for now in (0, 599, 600, 1300):
        note(master, now, 7)
    assert disks.read(master) == {"db-1": {"/": [(0, 7), (600, 7), (1300, 7)]}}
    note(master, 24 * HOUR + 700, 6)
    assert disks.read(master)["db-1"]["/"] == [(1300, 7), (24 * HOUR + 700, 6)]


def test_a_clock_that_was_put_back_leaves_no_reading_of_the_future(master):
    note(master, 9000, 7)
    note(master, 5000, 6)
    assert disks.read(master)["db-1"]["/"] == [(5000, 6)]


def test_who_does_not_answer_keeps_its_readings(master):
    note(master, 0, 7, "db-1")
    note(master, 600, 7, "db-2")
    assert set(disks.read(master)) == {"db-1", "db-2"}


@pytest.mark.parametrize("text", ["", "[]", '{"db-1": 1}', '{"db-1": {"/": [[1]]}}', "\x00"])
def test_notes_that_are_damaged_are_made_anew(master, text):
    master.state.mkdir()
    (master.state / "disks.json").write_text(text)
    assert disks.read(master) == {}
    note(master, 0, 7)
    assert disks.read(master) == {"db-1": {"/": [(0, 7)]}}


def test_one_that_fills_within_a_day_is_told(master):
    for number in range(8):
        note(master, number * HOUR, (20 - number) * GIB)
    filling = disks.forecast(master)
    assert filling["db-1"]["/"] == pytest.approx(13 * HOUR)

    def told(seconds):
        entry = {"disk": {"/": {"free": 13 * GIB, "full_in_s": seconds}}}
        return disks.problems({"db-1": entry})

    assert told(filling["db-1"]["/"]) == [
        "db-1: its file system / will be full in 13 h 0 min at the rate of the last hours, "
        "13312 MiB are free: see what grows there, and make room"
    ]
    assert told(25 * HOUR) == told(None) == []
