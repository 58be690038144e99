"""What ``bench/backup`` takes as arguments, makes of its numbers, and tells as wrong."""

import types

import pytest

from bench import backup
from bench.backup import Bench
from bench.backups import Took
from bench.load import Outcome


def outcome(p99, acknowledged=10):
    return Outcome(acknowledged, acknowledged, 0, 0, 5.0, 1.0, p99, p99)


def made(**settings):
    bench = Bench.__new__(Bench)
    bench.__dict__.update(
        {"_many": 1000, "_rate": 5.0, "wrong": [], "dumps": {}, "dumps_meanwhile": {}, **settings}
    )
    return bench


def test_ratios_are_of_medians_and_named_as_what_is_wanted():
    bench = made(
        outcomes={
            "nothing else": [outcome(10.0), outcome(20.0), outcome(90.0)],
            "our backup": [outcome(25.0), outcome(22.0), outcome(11.0)],
            "mongodump": [outcome(40.0)],
        },
        restores={
            "our backup": Took(0.5, 0.1, 1, {}),
            "our backup, encrypted": Took(1.0, 0.1, 1, {}),
            "mongodump": Took(2.0, 0.1, 1, {}),
        },
    )
    assert bench.ratios() == {
        "p99 of hits with our backup : without": 1.1,
        "p99 of hits with mongodump : without": 2.0,
        "counters a second, restored": 2000.0,
        "counters a second, encrypted, restored": 1000.0,
        "counters a second, mongodump, restored": 500.0,
    }
    assert backup.WANTED.keys() <= bench.ratios().keys()


@pytest.mark.parametrize(("found", "right"), [(69, False), (70, True), (73, True), (74, False)])
def test_hits_that_are_lost_or_counted_twice_are_wrong(found, right):
    rows = types.SimpleNamespace(aggregate=lambda _stages: iter([{"all": found}]))
    bench = made(_client={"counterapp": {"counters": rows}}, _acknowledged=70, _unsure=3)
    bench.check_hits()
    assert bench.wrong == (
        [] if right else [f"The counters have {found} in all, and 70 were acknowledged."]
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--counters", "0"], "argument --counters: '0' is not a whole number of at least 1"),
        (["--counters", "1e6"], "argument --counters: '1e6' is not a whole number of at least 1"),
        (["--rate", "fast"], "argument --rate: 'fast' is not a number of at least 1"),
        (["--rate", "inf"], "argument --rate: 'inf' is not a number of at least 1"),
        (["--seconds", "0.5"], "argument --seconds: '0.5' is not a number of at least 1"),
        (["--lab"], "unrecognized arguments: --lab"),
    ],
)
def test_a_wrong_argument_is_told_in_one_sentence(capsys, words, sentence):
    with pytest.raises(SystemExit) as ended:
        backup.main(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"bench/backup: {sentence}\n"
