"""What clients of the VIP get: each hit counted once, by both web servers, through a rollout."""

import os
import subprocess
import sys

import pytest

from lab import up
from lab.config import ROOT
from tests.system.conftest import NEXT


def test_hits_through_the_vip_are_counted_exactly_by_both_web_servers(cluster):
    traffic = cluster.send("exactly", 300)
    assert traffic.failures == []
    assert sorted(traffic.values) == list(range(1, 301))
    assert set(traffic.nodes) == set(cluster.with_role("web"))
    answer = cluster.get("/api/v1/counters/default/exactly").json()
    assert answer["value"] == 300
    assert answer["nodes"] == traffic.nodes


def test_an_answer_names_the_server_and_the_request(cluster):
    response = cluster.get("/api/v1/requests")
    assert response.headers["X-Served-By"] in cluster.with_role("web")
    assert response.headers["X-Request-ID"]
    assert response.headers["X-Release"] == up.default_release()


@pytest.fixture(scope="module")
def next_release():
    """A release after the first one, built as an operator builds it."""
    subprocess.run(
        [sys.executable, "-m", "lab", "dist"],
        cwd=ROOT,
        env={**os.environ, "VERSION": NEXT},
        check=True,
    )
    return NEXT


def test_a_new_release_is_rolled_out_under_traffic_without_dropping_a_request(
    cluster, next_release
):
    with cluster.traffic("rollout") as traffic:
        code, output = cluster.rollout(next_release)
    assert code == 0, output
    assert traffic.failures == []
    assert sorted(traffic.values) == list(range(1, len(traffic.values) + 1))
    assert cluster.count("rollout") == len(traffic.values)
    current = cluster.salt("roles:web", "--grain", "counterapp.current")
    assert current == dict.fromkeys(cluster.with_role("web"), next_release)
    assert up.status(cluster.lab)["release"] == next_release


def test_a_plain_highstate_keeps_the_fleets_release(cluster, next_release):
    (node, *_) = cluster.with_role("web")
    cluster.salt(node, "state.apply")
    assert cluster.salt(node, "counterapp.current") == {node: next_release}
