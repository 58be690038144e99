"""The process: how it starts, stops, logs, and what it does with bytes that are not HTTP."""

import concurrent.futures
import contextlib
from collections import Counter

import pytest
import requests

from tests.functional.app.conftest import ANSWER_SECONDS, HIT
from tests.support.mongod import replica_set
from tests.support.waiting import until

GOOD = {"COUNTERAPP_MONGODB_URI": "mongodb://db-1/?replicaSet=rs0", "COUNTERAPP_NODE": "web-1"}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"COUNTERAPP_MONGODB_URI": None}, "COUNTERAPP_MONGODB_URI is not set"),
        ({"COUNTERAPP_NODE": None}, "COUNTERAPP_NODE is not set"),
        ({"COUNTERAPP_STATIC": "/nowhere"}, "COUNTERAPP_STATIC must be"),
        ({"COUNTERAPP_BIND": "everywhere"}, "COUNTERAPP_BIND must be"),
    ],
)
def test_a_bad_environment_ends_it_at_once_with_one_sentence(run_gunicorn, changes, named):
    ended = run_gunicorn(GOOD | changes)
    assert ended.returncode != 0
    assert named in ended.stderr
    assert "Traceback" not in ended.stderr


def test_sigterm_finishes_what_is_in_flight(single, make_node):
    node = make_node(single).start()
    client = single.client()
    client.admin.command("fsync", lock=True)
    try:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            answer = pool.submit(node.post)
            until(lambda: waiting_hits(client), 10, "the hit waits in the database")
            node.terminate()
            until(node.accepts, 10, "new connections are refused", wanted=False)
            assert not answer.done()
            client.admin.command("fsyncUnlock")
            assert answer.result(20).json()["value"] == 1
    finally:
        with contextlib.suppress(Exception):
            client.admin.command("fsyncUnlock")
    assert node.wait() == 0


def waiting_hits(client):
    operations = client.admin.aggregate([{"$currentOp": {}}])
    return [
        operation
        for operation in operations
        if "findAndModify" in operation.get("command", {}) and operation.get("waitingForLock")
    ]


def test_a_stopping_node_answers_or_refuses_and_cuts_nobody_off(single, make_node):
    node = make_node(single).start()
    outcomes = []

    def hit_until_refused():
        while True:
            try:
                outcomes.append(node.post().status_code)
            except requests.ConnectionError as error:
                outcomes.append("refused" if "refused" in str(error) else repr(error))
                return

    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        for _ in range(10):
            pool.submit(hit_until_refused)
        until(
            lambda: Counter(outcomes),
            20,
            "100 hits are counted",
            wanted=lambda seen: seen[200] >= 100,
        )
        node.terminate()
        assert node.wait() == 0
    assert set(outcomes) == {200, "refused"}
    told = [line for line in node.log_lines if line.get("path") == HIT]
    assert len(told) == outcomes.count(200)


def test_logs_are_json_and_without_secrets(make_node):
    with replica_set(auth=True) as rs:
        node = make_node(rs).start()
        node.post(headers={"X-Request-ID": "find-me"})
        node.get("/api/v1/counters/default/x")
        for member in rs.members:
            member.kill()
        until(lambda: node.status("/readyz"), 10, "/readyz answers 503", wanted=503)
        node.terminate()
        assert node.wait() == 0
        lines = node.log_lines
        assert rs.admin_password not in node.log
    [hit] = [line for line in lines if line.get("request_id") == "find-me"]
    assert (hit["method"], hit["path"], hit["status"]) == ("POST", HIT, 200)
    assert hit["node"] == "web-1"
    assert hit["duration_ms"] > 0
    assert [
        line["status"] for line in lines if line.get("path") == "/api/v1/counters/default/x"
    ] == [400]
    assert any("Listening at" in line["message"] for line in lines)


def test_wrong_credentials_are_not_ready_and_say_so(make_node):
    with replica_set(auth=True) as rs:
        wrong = rs.uri_for("admin", "wrong")
        node = make_node(rs, COUNTERAPP_MONGODB_URI=wrong).start(ready=False)
        refused = node.get("/readyz")
    assert refused.status_code == 503
    assert "refused" in refused.json()["reason"]
    assert "wrong" not in node.log


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
        b"GET /%ff%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://x?\r HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/v1/counters/default/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /api/v1/counters HTTP/1.1\r\nHost: x\r\nContent-Length: nonsense\r\n\r\n",
        b"POST /api/v1/counters HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /api/v1/counters HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"BREW /api/v1/requests HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/v1/requests HTTP/1.1\r\nHost: [\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nRange: bytes=9-1\r\n\r\n",
    ],
)
def test_bytes_that_are_hardly_http_give_no_500_and_no_harm(shared_node, sent):
    status = shared_node.status_line(sent)
    assert b" 500 " not in status
    assert shared_node.get("/livez").ok


def test_a_chunked_body_beyond_the_limit_is_refused(shared_node):
    chunks = iter([b"x" * 8192] * 8)
    response = requests.post(shared_node.url + HIT, data=chunks, timeout=ANSWER_SECONDS)
    assert response.status_code in {400, 413}


@pytest.fixture
def shared_node(single, make_node):
    return make_node(single).start()
