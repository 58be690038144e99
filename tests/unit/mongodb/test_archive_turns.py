"""Which member the archive of the oplog is written from, when not every one will do."""

import pytest

from tests.support.loading import load

archive = load("_modules/mongodb_archive.py")
MEMBERS = ["a", "b", "c"]


@pytest.fixture
def turns():
    return archive._Turns()


def test_the_first_one_will_do(turns):
    assert [turns.choose(MEMBERS) for _ in range(2)] == [("a", False)] * 2


def test_who_had_trouble_comes_last_and_then_again(turns):
    seen = []
    for _ in range(6):
        member, gap = turns.choose(MEMBERS)
        assert gap is False
        seen.append(member)
        turns.note(member, lacks=False)
    assert seen == ["a", "b", "c"] * 2


def test_a_gap_is_left_only_when_all_lack_what_follows(turns):
    for member in MEMBERS:
        assert turns.choose(MEMBERS) == (member, False)
        turns.note(member, lacks=True)
    assert turns.choose(MEMBERS) == ("a", True)


def test_trouble_that_all_had_does_not_hide_what_they_have_now(turns):
    # A set that was made anew lets nobody in at first, and has another oplog then.
    for member in MEMBERS:
        assert turns.choose(MEMBERS)[0] == member
        turns.note(member, lacks=False)
    for member in MEMBERS:
        assert turns.choose(MEMBERS) == (member, False)
        turns.note(member, lacks=True)
    assert turns.choose(MEMBERS) == ("a", True)
    # Who has trouble then gives way, too.
    turns.note("a", lacks=False)
    assert turns.choose(MEMBERS) == ("b", True)


def test_one_member_that_answers_is_asked_whatever_it_had(turns):
    turns.note("b", lacks=False)
    assert turns.choose(["b"]) == ("b", False)
    turns.note("b", lacks=True)
    assert turns.choose(["b"]) == ("b", True)
