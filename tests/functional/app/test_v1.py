"""``/api/v1`` on a real server and a real database, also under thousands of made-up requests."""

import concurrent.futures
import pathlib
import subprocess
import sys
import time

import jwt
import pytest
import requests

from tests.functional.app.conftest import ANSWER_SECONDS, HIT
from tests.support.loading import load
from tests.support.waiting import until

COUNTERS = "/api/v1/counters"
OPERATOR_KEY = "an operator key of 256 bits and more"


@pytest.fixture
def node(single, make_node):
    return make_node(single, COUNTERAPP_OPERATOR_KEY=OPERATOR_KEY).start()


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def operator(*scopes):
    claims = {"sub": "test", "aud": "counterapp", "scope": " ".join(scopes)}
    return bearer(jwt.encode({**claims, "exp": int(time.time()) + 600}, OPERATOR_KEY, "HS256"))


def test_a_counters_whole_life(node):
    made = node.post(COUNTERS, json={"namespace": "blog", "key": "post-1", "value": 5, "step": 2})
    assert made.status_code == 201
    path, key = made.headers["Location"], made.json()["admin_key"]
    assert node.post(COUNTERS, json={"namespace": "blog", "key": "post-1"}).status_code == 409

    once = {"Idempotency-Key": "first"}
    hits = [node.post(f"{path}/hits", headers=once).json() for _ in range(3)]
    assert [(hit["value"], hit["replayed"]) for hit in hits] == [(7, False), (7, True), (7, True)]

    refused = node.post(f"{path}/updates", json={"amount": 1}, headers=bearer("wrong" * 8))
    assert refused.status_code == 403
    update = node.post(f"{path}/updates", json={"amount": -3}, headers=bearer(key))
    assert update.json().get("value") == 4, update.text
    put = requests.put(
        f"{node.url}{path}/value", json={"value": 9}, headers=bearer(key), timeout=ANSWER_SECONDS
    )
    assert (put.json()["previous"], put.json()["value"]) == (4, 9)

    seen = node.get(path)
    assert (seen.json()["value"], seen.json()["nodes"]) == (9, {"web-1": 2})
    known = {"If-None-Match": seen.headers["ETag"]}
    assert node.get(path, headers=known).status_code in {200, 304}
    points = node.get(f"{path}/history").json()["points"]
    assert points[-1]["value"] == 9

    assert [each["key"] for each in node.get(COUNTERS, headers=bearer(key)).json()["items"]] == [
        "post-1"
    ]
    gone = requests.delete(f"{node.url}{path}", headers=bearer(key), timeout=ANSWER_SECONDS)
    assert gone.status_code == 204
    assert node.get(path).status_code == 404
    assert node.post(f"{path}/hits").json()["value"] == 1


def test_many_counts_come_in_and_go_out_the_same(node):
    lines = [f"moved,name-{n:05},{n * 7 - 9000}" for n in range(10_000)]
    text = "\r\n".join(["namespace,key,value", *lines, ""])
    headers = {"Content-Type": "text/csv"}
    took = node.post("/api/v1/import", data=text, headers=headers)
    assert (took.status_code, took.json()["taken"]) == (200, 10_000)
    out = node.get("/api/v1/export", headers=bearer(took.json()["admin_key"]))
    assert out.text == text

    pages, after = [], None
    while after or not pages:
        query = {"limit": 500, **({"after": after} if after else {})}
        answer = node.get(COUNTERS, params=query, headers=bearer(took.json()["admin_key"]))
        pages.append([f"{each['namespace']},{each['key']}" for each in answer.json()["items"]])
        after = answer.json()["next"]
    assert [len(page) for page in pages] == [500] * 20
    assert sum(pages, []) == [line.rpartition(",")[0] for line in lines]


def test_an_import_in_chunks_ends_at_its_limit(node):
    chunks = iter([b"namespace,key,value\r\n", *[b"moved,some-name,1\r\n" * 1000] * 100])
    headers = {"Content-Type": "text/csv"}
    refused = node.post("/api/v1/import", data=chunks, headers=headers)
    assert refused.status_code == 413
    assert node.get("/api/v1/counters/moved/some-name").status_code == 404


def test_operators_reach_every_counter(node):
    node.post("/api/v1/counters/some/counter/hits")
    listed = node.get(COUNTERS, headers=operator("counters:read")).json()["items"]
    assert [each["key"] for each in listed] == ["counter"]
    path = f"{node.url}/api/v1/operator/counters/some/counter"
    refused = requests.delete(path, headers=operator("counters:read"), timeout=ANSWER_SECONDS)
    assert refused.status_code == 403
    put = requests.put(
        f"{path}/value",
        json={"value": 50},
        headers=operator("counters:write"),
        timeout=ANSWER_SECONDS,
    )
    assert (put.json()["previous"], put.json()["value"]) == (1, 50)
    assert (
        requests.delete(
            path, headers=operator("counters:write"), timeout=ANSWER_SECONDS
        ).status_code
        == 204
    )
    assert "operator test deleted some/counter" in node.log
    assert OPERATOR_KEY not in node.log


def test_an_operator_deletes_a_namespace(node):
    spam = [{"namespace": "spam", "key": f"n-{n:05}", "value": 1} for n in range(2500)]
    for records in (spam[:1250], spam[1250:], [{**spam[0], "namespace": "spam-not"}]):
        assert node.post("/api/v1/import", json=records).json()["taken"] == len(records)
    url, write = f"{node.url}/api/v1/operator/counters", operator("counters:write")
    asked = requests.delete(url, params={"prefix": "spam/"}, headers=write, timeout=ANSWER_SECONDS)
    assert (asked.status_code, asked.json()["counters"]) == (422, 2500)
    confirmed = {"prefix": "spam/", "confirm": "spam/"}
    done = requests.delete(url, params=confirmed, headers=write, timeout=ANSWER_SECONDS)
    assert (done.status_code, done.json()) == (200, {"deleted": 2500, "left": 0})
    left = node.get(COUNTERS, headers=operator("counters:read")).json()["items"]
    assert [each["namespace"] for each in left] == ["spam-not"]
    assert "operator test deleted 2500 counters that begin with spam/" in node.log


def test_an_unanswered_creation_can_be_sent_again_and_is_ones_own(rs, make_node):
    node = make_node(rs, COUNTERAPP_DATABASE_TIMEOUT="1").start()
    for member in rs.secondaries():
        member.pause()
    unanswered = []
    for path, sent in (("/create/blog/post-1", {}), (COUNTERS, {"json": {"value": 5}})):
        told = node.post(path, **sent)
        assert told.status_code == 503, told.text
        body = told.json()
        unanswered.append((body["namespace"], body["key"], body["admin_key"]))
    rs.heal()
    until(lambda: node.status("/readyz"), 20, "/readyz answers 200", wanted=200)
    for namespace, name, key in unanswered:
        again = {"namespace": namespace, "key": name}
        assert node.post(COUNTERS, json=again, headers=bearer(key)).status_code in {201, 409}
        [mine] = node.get(COUNTERS, headers=bearer(key)).json()["items"]
        assert (mine["namespace"], mine["key"]) == (namespace, name)


def test_the_rates_and_shares_of_requests_are_told(single, make_node):
    nodes = [make_node(single, name).start() for name in ("web-1", "web-2")]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: nodes[n % 2].post(HIT), range(60)))
    for node in nodes:
        body = node.get("/api/v1/requests").json()
        assert (body["total"], body["nodes"]) == (60, {"web-1": 30, "web-2": 30})
        assert body["rates"]["day"] == 60
        assert body["node"] == node.name


def test_prometheus_gets_what_it_can_read(node):
    for _ in range(3):
        node.post(HIT)
    text = node.metrics()
    route = '{method="POST",route="/api/v1/counters/<namespace>/<name>/hits",status="200"}'
    assert f"counterapp_requests_total{route} 3.0" in text
    assert "counterapp_waiting_hits 0.0" in text
    assert "process_resident_memory_bytes" in text


def test_prometheus_is_told_of_backups_what_the_master_has_told_the_node(
    single, make_node, tmp_path
):
    told = tmp_path / "run" / "backups.json"
    node = make_node(single, COUNTERAPP_BACKUPS=str(told)).start()
    assert "counterapp_backup" not in node.metrics()
    load("_modules/counterapp_backups.py").tell_backups({"drill_success": 1}, str(told))
    assert "counterapp_backup_drill_success 1.0" in node.metrics()


SCHEMATHESIS = pathlib.Path(sys.executable).with_name("schemathesis")
CONFIGURATION = """
max-failures = 20
headers = {{ Authorization = "Bearer {owner}" }}

[[operations]]
include-path-regex = "/operator/"
headers = {{ Authorization = "Bearer {operator}" }}

# What no schema says: bounds the wrong way round, a value or an idempotency key that the counter
# has no place for, text that is no CSV.
[[operations]]
include-operation-id = [
    "createCounter", "updateCounter", "importCounts", "hit", "operatorDeleteCounters",
]
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "422"]

# Whether a counter is there is no secret, so that it is told before whose it is.
[[operations]]
include-operation-id = ["deleteCounter", "setCounter"]
checks.ignored_auth.enabled = false

# Most made-up names are of no counter, and no amount matters to those.
[[operations]]
include-operation-id = ["updateCounter", "setCounter", "operatorSetCounter", "readHistory"]
parameters = {{ "path.namespace" = "abc", "path.name" = "abc" }}

# An import takes what it can and tells the rest.
[[operations]]
include-operation-id = "importCounts"
checks.negative_data_rejection.expected-statuses = ["200", "4xx"]
"""


def test_made_up_requests_get_what_the_document_says(node, tmp_path):
    """Each operation with requests that fit the document, and with many more that do not."""
    made = node.post(COUNTERS, json={"namespace": "abc", "key": "abc"}).json()
    token = operator("counters:read", "counters:write")["Authorization"].removeprefix("Bearer ")
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION.format(owner=made["admin_key"], operator=token))
    fuzzed = subprocess.run(
        [
            *(SCHEMATHESIS, "--config-file", configuration, "run", "--no-color"),
            *("--url", node.url, f"{node.url}/api/v1/openapi.json"),
            # Of the others, unit tests look at each answer.
            *("--include-path-regex", "^/api/v1/"),
            *(
                "--phases",
                "examples,coverage,fuzzing,stateful",
                "--mode",
                "all",
                "--max-examples",
                "100",
            ),
            *("--generation-deterministic", "--seed", "1", "--continue-on-failure"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    print(fuzzed.stdout)
    assert fuzzed.returncode == 0, fuzzed.stdout + fuzzed.stderr
    assert {line["status"] for line in node.log_lines if "status" in line} < set(range(200, 500))
    assert "unexpected error" not in node.log
