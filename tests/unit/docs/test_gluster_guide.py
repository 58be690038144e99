"""The Gluster guide shows states that work, and leaves nobody's function out.

test_commands.py holds its commands, and the functions that it names, with those of all pages.
"""

import pathlib
import re

import pytest
import yaml
from salt.state import STATE_INTERNAL_KEYWORDS

from docs import make_reference
from tests.support import docstrings

GUIDE = (make_reference.ROOT / "docs" / "gluster.md").read_text(encoding="utf-8")
FUNCTIONS = {f.name: f for f in make_reference.functions("modules", "gluster")}
STATES = {f.name: f for f in make_reference.functions("states", "gluster")}

OTHERS = yaml.safe_load(pathlib.Path(__file__).with_name("others.yaml").read_text(encoding="utf-8"))


def rows():
    """Return the rows of the comparison's tables: what theirs is and what is said to it."""
    text = GUIDE.partition("## Against Salt 3007")[2]
    found = [line.strip("| ").split(" | ", 1) for line in text.splitlines() if line[:1] == "|"]
    return [row for row in found if not set(row[0]) <= set("-|")]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def test_every_function_and_state_is_named_somewhere():
    left_out = sorted(name for name in {*FUNCTIONS, *STATES} if f"gluster.{name}" not in GUIDE)
    assert not left_out, f"docs/gluster.md does not tell of {', '.join(left_out)}"


@pytest.mark.parametrize("who", OTHERS)
def test_nothing_that_others_have_is_missing(who):
    theirs = " ".join(row[0] for row in rows())
    names = [name for names in OTHERS[who]["has"].values() for name in names.split()]
    missing = [name for name in names if not re.search(rf"`{re.escape(name)}\b", theirs)]
    assert not missing, f"the comparison leaves out {', '.join(missing)}"


def test_each_row_has_a_counterpart_or_a_reason():
    for row in rows():
        assert len(row) == 2, f"no second column: {row}"
        theirs, ours = row
        reason = re.search(r"\bNone(?: for [^:]+)?[:,] \S+ \S+|not needed: ", ours)
        counterpart = re.search(r"`(gluster\.[a-z_]+|options)`", ours)
        heading = ours in ("here", "by")
        assert reason or counterpart or heading or "test=True" in ours or "healed by" in ours, (
            theirs
        )


def test_the_states_shown_fit_their_signatures():
    shown = 0
    for block in blocks("yaml"):
        for name, body in yaml.safe_load(block).items():
            for state, arguments in body.items():
                if not state.startswith("gluster."):
                    continue
                given = {key: value for entry in arguments for key, value in entry.items()}
                own = {
                    key: value for key, value in given.items() if key not in STATE_INTERNAL_KEYWORDS
                }
                function = STATES[state.partition(".")[2]]
                assert docstrings.accepts(function, [], {"name": name, **own}) is True, name
                shown += 1
    assert shown > 3
