"""What a rollout would do, in tables and colours for a terminal."""

import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from fleet.screen import paint
from fleet.words import count

_BOLD, _FAINT, _RED, _GREEN, _YELLOW, _CYAN = "1", "2", "31", "32", "33", "36"
#: Columns that a table takes where the terminal does not say.
_WIDTH = 100
_LEAST = 40


def width(stream: TextIO) -> int:
    """Return how many columns a stream's terminal has."""
    try:
        return max(os.get_terminal_size(stream.fileno()).columns, _LEAST)
    except (OSError, ValueError):
        return _WIDTH


def summary(view: Mapping[str, Any]) -> str:
    """Return in a sentence what a rollout would do."""
    to = f"revision {view['revision']['to']} (release {view['release']['to']})"
    if not view["changes"] and not view["leaving"]:
        return f"nothing to do: every node is as {to} has it"
    said = [
        f"{count(view['changes'], 'state')} would change on {count(len(view['nodes']), 'node')}"
    ]
    for key, words in (
        ("restarts", "service"),
        ("drains", "drain"),
        ("step_downs", "step-down"),
        ("hand_overs", "hand-over"),
    ):
        if number := len(view[key]):
            said.append(count(number, words))
    if view["leaving"]:
        said.append(f"{', '.join(view['leaving'])} would leave")
    return f"{to}: {', '.join(said)}"


def render(view: Mapping[str, Any], colour: bool, width: int) -> str:
    """
    Return a view as text: a table of the turns, then the states with their differences.

    view
        What :func:`fleet.plan_view.view` returns.
    colour
        Whether the terminal has colours.
    width
        Its columns; lines of differences are not broken.
    """

    def tint(text: str, code: str) -> str:
        return paint(text, code) if colour else text

    lines = [tint(_heading(view), _BOLD), ""]
    if view["files"]:
        lines += [tint(f"Files of the revision ({len(view['files'])})", _BOLD), ""]
        for each in view["files"]:
            mark = {"added": "+", "removed": "-"}.get(each["change"], "~")
            code = {"added": _GREEN, "removed": _RED}.get(each["change"], _YELLOW)
            lines.append(f"  {tint(mark, code)} {_plain(each['path'])}")
            if each["diff"] is None:
                lines.append("    no text, or too large to be shown")
            else:
                lines += _difference(each["diff"], tint, "    ")
        lines.append("")
    if view["order"]:
        lines += [tint("In this order", _BOLD), ""]
        lines += _turns(view, tint, width)
        lines.append("")
    for node, states in view["nodes"].items():
        lines += [tint(f"{node}: {count(len(states), 'state')}", _BOLD), ""]
        for each in states:
            lines += _state(each, tint, width)
        lines.append("")
    lines.append(tint(summary(view), _BOLD))
    return "\n".join(lines)


def _heading(view: Mapping[str, Any]) -> str:
    def named(which: str) -> str:
        return f"{view['revision'][which]} (release {view['release'][which]})"

    before = named("from") if view["revision"]["from"] else "nothing (the first rollout)"
    return f"Revision {before} -> {named('to')}"


def _turns(view: Mapping[str, Any], tint: Any, width: int) -> list[str]:
    rows = [("stage", "nodes", "states", "what happens")]
    for turn in view["order"]:
        stage, nodes = turn["stage"], turn["nodes"]
        states = [
            each for node in nodes for each in view["nodes"].get(node, ()) if each["stage"] == stage
        ]
        rows.append((stage, ", ".join(nodes), str(len(states)), "; ".join(_does(view, turn))))
    unseen = [
        node
        for node, states in view["nodes"].items()
        if any(each["stage"] == "none" for each in states)
    ]
    if unseen:
        rows.append(("none", ", ".join(unseen), "", "no stage applies these states"))
    return table(rows, width, tint)


def _does(view: Mapping[str, Any], turn: Mapping[str, Any]) -> list[str]:
    """Return what happens beside states in a turn, first what comes before them."""
    stage, nodes = turn["stage"], turn["nodes"]
    said = []
    for key, of, words in (
        ("drains", "web", "is drained"),
        ("step_downs", "db", "steps down"),
        ("hand_overs", "lb", "hands over the VIP"),
    ):
        if stage == of:
            said += [f"{node} {words}" for node in nodes if node in view[key]]
    for each in view["restarts"]:
        if each["stage"] == stage and each["node"] in nodes:
            where = f" on {each['node']}" if len(nodes) > 1 else ""
            said.append(f"{each['service']} is {each['what']}ed{where}")
    return said


def table(rows: Sequence[Sequence[str]], width: int, tint: Any) -> list[str]:
    """Return rows, the first of them headings, in columns of which the widest ones are broken."""
    columns = list(zip(*rows, strict=True))
    sizes = [max(len(cell) for cell in column) for column in columns]
    # Two blanks before the first and between columns.
    spare = width - 2 * len(sizes) - sum(sizes)
    while spare < 0 and max(sizes) > 12:
        widest = sizes.index(max(sizes))
        cut = min(-spare, sizes[widest] - 12, max(1, sizes[widest] // 4))
        sizes[widest] -= cut
        spare += cut
    lines = []
    for number, row in enumerate(rows):
        cells = [
            textwrap.wrap(_plain(cell), size) or [""] for cell, size in zip(row, sizes, strict=True)
        ]
        for at in range(max(map(len, cells))):
            parts = (
                (cell[at] if at < len(cell) else "").ljust(size)
                for cell, size in zip(cells, sizes, strict=True)
            )
            line = ("  " + "  ".join(parts)).rstrip()
            lines.append(tint(line, _FAINT) if number == 0 else line)
    return lines


def _state(each: Mapping[str, Any], tint: Any, width: int) -> list[str]:
    code = _RED if each["fails"] else _YELLOW
    mark = "!" if each["fails"] else "~"
    lines = [
        f"  {tint(mark, code)} {_plain(each['id'])}",
        tint(f"    {each['stage']}: {each['sls']}, {each['state']} {_plain(each['name'])}", _FAINT),
    ]
    bare = not each["changes"] and each["diff"] is None and not each["hidden"]
    if each["fails"] or bare:
        lines += textwrap.wrap(
            _plain(each["comment"]), width, initial_indent="    ", subsequent_indent="    "
        )
    for change in each["changes"]:
        old = "" if change["old"] in (None, "") else f"{tint(_value(change['old']), _RED)} -> "
        new = "none" if change["new"] is None else _value(change["new"])
        lines.append(f"    {_plain(change['what'])}: {old}{tint(new, _GREEN)}")
    if each["diff"] is not None:
        lines += _difference(each["diff"], tint, "    ")
    if each["hidden"]:
        lines.append("    its content changes, and is not shown: there are secrets in it")
    return lines


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_value(each) for each in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(each)}" for key, each in value.items()) or "none"
    return _plain(str(value))


def _difference(text: str, tint: Any, indent: str) -> Iterable[str]:
    for line in text.splitlines():
        if line.startswith(("+++", "---")):
            code = _BOLD
        else:
            code = {"+": _GREEN, "-": _RED, "@": _CYAN}.get(line[:1], "")
        shown = _plain(line)
        yield indent + (tint(shown, code) if code else shown)


def _plain(text: str) -> str:
    """Return a text without what a terminal would take for a command: nodes have a say in it."""
    return "".join(each if each.isprintable() or each == "\t" else "?" for each in text)
