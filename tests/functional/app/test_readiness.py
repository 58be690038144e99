"""Ready means: the majority can journal a write now."""

from tests.support.waiting import PATIENCE, until


def test_not_ready_without_a_majority_and_back_by_itself(rs, make_node):
    node = make_node(rs).start()
    body = node.get("/readyz").json()
    assert body == {"ready": True, "node": "web-1", "release": body["release"]}

    for member in rs.secondaries():
        member.kill()
    # What is logged is the first reason; the driver may find another one later.
    refused = until(
        lambda: node.get("/readyz"),
        10,
        "/readyz answers 503",
        wanted=lambda answer: answer.status_code == 503,
    )
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.headers["Retry-After"]
    assert refused.json()["ready"] is False
    assert refused.json()["reason"]
    assert node.get("/livez").status_code == 200

    rs.heal()
    until(lambda: node.status("/readyz"), 10, "/readyz answers 200 again", wanted=200)
    said = [line for line in node.log_lines if line["logger"] == "counterapp.readiness"]
    assert [line["level"] for line in said] == ["warning", "warning"]
    assert said[0]["message"] == f"not ready: {refused.json()['reason']}"
    assert said[0]["cause"] != "None"
    assert said[1]["message"].startswith("ready again")


def test_an_answer_takes_no_longer_than_the_probe_may(rs, make_node):
    node = make_node(rs, COUNTERAPP_READY_TIMEOUT="0.5").start()
    # Frozen members are worse than dead ones: connections stay open and nothing comes back.
    for member in rs.members:
        member.pause()
    until(lambda: node.status("/readyz"), 10, "/readyz answers 503", wanted=503)
    for _ in range(3):
        assert node.get("/readyz").elapsed.total_seconds() < 1.5 * PATIENCE


def test_a_hit_without_a_majority_is_refused_in_time(rs, make_node):
    node = make_node(rs, COUNTERAPP_HIT_DEADLINE="1").start()
    for member in rs.secondaries():
        member.kill()
    refused = node.post()
    assert refused.status_code == 503
    assert refused.json()["status"] == 503
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.elapsed.total_seconds() < 8 * PATIENCE


def test_alive_but_not_ready_when_the_database_was_never_there(rs, make_node):
    node = make_node(rs, COUNTERAPP_MONGODB_URI="mongodb://127.0.0.1:1/?replicaSet=rs0")
    node.start(ready=False)
    assert node.get("/livez").status_code == 200
    assert node.get("/readyz").status_code == 503
