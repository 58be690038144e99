"""Whose clock counts: the database's. A web node's own may be wrong, and nearly nothing asks it."""

import ast

from tests.support.loading import ROOT

PACKAGE = ROOT / "app" / "backend" / "src" / "counterapp"

MAY_ASK = {
    "access.py": "how long a token lives is between its issuer and this node",
    "gunicorn_worker.py": "the Date of an answer is its server's",
    "logs.py": "a line says when this node wrote it",
}

CLOCK = {
    "date": {"today"},
    "datetime": {"now", "utcnow", "today"},
    "time": {"time", "time_ns", "localtime", "gmtime", "ctime", "asctime", "strftime"},
}
"""What tells the time of day; the clocks that only measure how much passes are not among it."""


def asks(tree):
    """Return the lines of a module that ask for the time of day."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = getattr(node.value, "attr", None) or getattr(node.value, "id", None)
            words = {node.attr}
        elif isinstance(node, ast.ImportFrom):
            owner, words = node.module, {alias.name for alias in node.names}
        else:
            continue
        if words & CLOCK.get(owner, set()):
            found.append(node.lineno)
    return sorted(found)


def test_what_asks_is_found():
    source = "from time import time\nnow = dt.datetime.now(UTC)\ntime.time()\ntime.monotonic()\n"
    assert asks(ast.parse(source)) == [1, 2, 3]


def test_nothing_else_asks_for_a_nodes_own_time():
    asking = {path.name for path in PACKAGE.glob("*.py") if asks(ast.parse(path.read_text()))}
    assert asking == set(MAY_ASK)
