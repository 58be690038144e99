"""What the module tells of the app's latency, of a process that is real."""

import pytest
import requests

from tests.functional.app.conftest import ANSWER_SECONDS
from tests.support.loading import load

counterapp = load("_modules/counterapp.py")


@pytest.fixture
def configure_loader_modules():
    return {counterapp: {"__salt__": {"config.get": lambda *_, **__: ""}, "__opts__": {"id": "a"}}}


def test_latency_is_told_by_route(single, make_node):
    node = make_node(single).start()
    url = f"http://127.0.0.1:{node.metrics_port}"
    route = "/api/v1/counters/<namespace>/<name>/hits"
    node.post()
    before = counterapp.latency(url=url)
    for _ in range(3):
        node.post()
        node.get("/assets/of-another-release.js")
    after = counterapp.latency(url=url)
    assert (after["node"], after["process"]) == (node.name, before["process"])
    assert (
        after["release"]
        == requests.get(f"{node.url}/livez", timeout=ANSWER_SECONDS).headers["X-Release"]
    )
    assert after["not_found"] - before["not_found"] == 3
    old, new = before["routes"][route], after["routes"][route]
    assert list(new["buckets"])[-1] == "+Inf"
    assert new["buckets"]["+Inf"] - old["buckets"]["+Inf"] == 3
    assert 0 < new["seconds"] - old["seconds"] < 30
    assert sorted(new["buckets"].values()) == list(new["buckets"].values())
