"""What clients of the VIP get: each hit counted once, by both web servers, with who answered."""

from lab import up


def test_hits_through_the_vip_are_counted_exactly_by_both_web_servers(cluster):
    traffic = cluster.send("exactly", 300)
    assert traffic.failures == []
    assert sorted(traffic.values) == list(range(1, 301))
    assert set(traffic.nodes) == set(cluster.with_role("web"))
    answer = cluster.get(cluster.path("exactly")).json()
    assert answer["value"] == 300
    assert answer["nodes"] == traffic.nodes


def test_an_answer_names_the_server_and_the_request(cluster):
    response = cluster.get("/api/v1/requests")
    assert response.headers["X-Served-By"] in cluster.with_role("web")
    assert response.headers["X-Request-ID"]
    assert response.headers["X-Release"] == up.status(cluster.lab)["release"]
