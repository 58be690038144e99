"""What a client finds behind a balancer when the database is away, and when the nodes are too."""

import json
from types import SimpleNamespace

import pytest

from tests.functional.haproxy.role import Balancer

NOWHERE = SimpleNamespace(uri="mongodb://127.0.0.1:1/?replicaSet=rs0")
HIT = "/api/v1/counters/default/pages/hits"
PREFLIGHT = {"Origin": "https://blog.example", "Access-Control-Request-Method": "POST"}
ASKED = {
    "api": ("POST", HIT, {}),
    "family": ("GET", "/hit/default/pages", {}),
    "countapi": ("GET", "/countapi/hit/default/pages", {}),
    "script": ("GET", "/hit/default/pages?callback=show", {}),
    "badge": ("GET", "/badge/default/pages.svg", {}),
    "preflight": ("OPTIONS", HIT, PREFLIGHT),
}
SAME = ("Content-Type", "Cache-Control", "Retry-After", "X-Content-Type-Options")


@pytest.fixture
def node(make_node):
    """A node that lives, and has no database."""
    return make_node(
        NOWHERE, COUNTERAPP_HIT_DEADLINE="0.5", COUNTERAPP_DATABASE_TIMEOUT="0.5"
    ).start(ready=False)


@pytest.fixture
def balancer(node, tmp_path):
    folder = tmp_path / "lb"
    folder.mkdir()
    made = Balancer(folder, servers={node.name: "127.0.0.1"}, port=node.port)
    yield made
    made.stop()


def test_the_nodes_answer_as_long_as_they_live_and_then_the_balancer_as_they_would(node, balancer):
    balancer.until_up(backend="web-ready")
    found = {what: balancer.answer(*asked) for what, asked in ASKED.items()}
    assert {answer.head["X-Served-By"] for answer in found.values()} == {node.name}
    page = balancer.answer("GET", "/")
    assert (page.status, page.head["X-Served-By"]) == (200, node.name)
    node.kill()
    balancer.until_up()
    for what, asked in ASKED.items():
        theirs, own = found[what], balancer.answer(*asked)
        assert "X-Served-By" not in own.head
        names = {name for name in theirs.head if name.startswith(("Access-Control", "Cross-"))}
        assert {name: own.head[name] for name in names} == {
            name: theirs.head[name] for name in names
        }
        if what == "preflight":
            assert (theirs.status, own.status) == (200, 204)
            continue
        assert own.status == theirs.status
        for name in SAME:
            assert own.head[name] == theirs.head[name], (what, name)
        assert shape(own.body) == shape(theirs.body)


def shape(body):
    """Return what a client goes by in a body."""
    before, _, rest = body.partition("{")
    if before.startswith("<svg"):
        return body.partition("<title>")[2].partition("</title>")[0]
    return before, sorted(json.loads("{" + rest.rstrip(");\n")))
