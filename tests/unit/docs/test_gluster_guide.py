"""The Gluster guide names what there is, shows what works, and leaves nobody's function out."""

import pathlib
import re
import shlex

import pytest
import yaml
from salt.state import STATE_INTERNAL_KEYWORDS

from docs import make_reference
from tests.support import docstrings

GUIDE = (make_reference.ROOT / "docs" / "gluster.md").read_text(encoding="utf-8")
FUNCTIONS = {f.name: f for f in make_reference.functions("modules", "gluster")}
STATES = {f.name: f for f in make_reference.functions("states", "gluster")}
# No functions: the name of a collection, and a setting.
NO_FUNCTIONS = {"gluster", "lock_timeout"}

OTHERS = yaml.safe_load(pathlib.Path(__file__).with_name("others.yaml").read_text(encoding="utf-8"))


def rows():
    """Return the rows of the comparison's tables: what theirs is and what is said to it."""
    text = GUIDE.partition("## Against Salt 3007")[2]
    found = [line.strip("| ").split(" | ", 1) for line in text.splitlines() if line[:1] == "|"]
    return [row for row in found if not set(row[0]) <= set("-|")]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def test_every_function_and_state_that_is_named_exists():
    named = set(re.findall(r"(?<!/)\bgluster\.([a-z_]+)\b", GUIDE)) - NO_FUNCTIONS
    missing = sorted(named - set(FUNCTIONS) - set(STATES))
    assert not missing, f"docs/gluster.md names what does not exist: {', '.join(missing)}"


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


def test_the_commands_shown_fit_their_signatures():
    shown = 0
    for line in "".join(blocks("sh")).splitlines():
        words = shlex.split(line)
        if words[:1] != ["salt"] or not words[2].startswith("gluster."):
            continue
        call = docstrings.call(line)
        function = FUNCTIONS[call.function.partition(".")[2]]
        assert docstrings.accepts(function, call.arguments, call.keywords) is True, line
        shown += 1
    assert shown > 5
