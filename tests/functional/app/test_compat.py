"""The clients of CountAPI, of npm and PyPI, unmodified but for their base URL, at a real node.

``countapi/package-lock.json`` pins npm's, and what its own tests need, by their SHA-512;
``requirements/dev.txt`` pins PyPI's.
"""

import hashlib
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from tests.support import npm
from tests.support.npm import NODE

LOCK = pathlib.Path(__file__).parent / "countapi" / "package-lock.json"
BASE_URL = '"https://api.countapi.xyz"'

OWNER = "0b1f0a5e-6b6b-4c4e-9f3e-2d1c0b0a0908"
"""An admin key, as a person would keep it in the base URL: the client itself knows of none."""


@pytest.fixture(scope="session")
def modules():
    """The packages, fetched once for each state of the lock file."""
    return npm.modules(LOCK)


@pytest.fixture
def node(single, make_node):
    return make_node(single).start()


@pytest.fixture
def countapi(modules, node, tmp_path):
    """Return a function that lays the client out with our node as its base URL."""

    def lay_out(login="", base=""):
        name = hashlib.sha256(f"{login} {base}".encode()).hexdigest()[:8]
        client = tmp_path / f"client-{name}"
        if not client.exists():
            shutil.copytree(modules / "countapi-js", client)
            source = (client / "lib" / "index.js").read_text()
            assert source.count(BASE_URL) == 1
            ours = f'"http://{login}127.0.0.1:{node.port}{base}"'
            (client / "lib" / "index.js").write_text(source.replace(BASE_URL, ours))
        return client

    return lay_out


@pytest.fixture
def call(modules, countapi):
    """Return a function that calls the client and returns what its promise came to."""

    def run(expression, login="", base=""):
        script = f"""
            const countapi = require({json.dumps(str(countapi(login, base)))});
            {expression}
                .then((result) => ({{ result }}), (error) => ({{ error: String(error) }}))
                .then((outcome) => console.log(JSON.stringify(outcome)));
        """
        return json.loads(run_node(modules, "-e", script).stdout)

    return run


def run_node(modules, *arguments):
    ended = subprocess.run(
        [NODE, *arguments],
        env=os.environ | {"NODE_PATH": str(modules)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended


@pytest.fixture
def in_python(node, tmp_path):
    """Return a function that runs lines with PyPI's client and returns what they print as JSON."""

    def run(lines, login=""):
        client = tmp_path / "python" / "countapi"
        if not client.exists():
            installed = importlib.util.find_spec("countapi")
            shutil.copytree(installed.submodule_search_locations[0], client)
            source = (client / "common.py").read_text()
            assert source.count(BASE_URL) == 1
            (client / "common.py").write_text(
                source.replace(BASE_URL, "__import__('os').environ['BASE']")
            )
        environ = os.environ | {
            "PYTHONPATH": str(client.parent),
            "BASE": f"http://{login}127.0.0.1:{node.port}/countapi",
        }
        ended = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", f"import json, countapi\n{lines}"],
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    return run


@pytest.mark.parametrize(("base", "login"), [("/countapi", ""), ("", f":{OWNER}@")])
def test_the_clients_own_tests_pass(modules, node, countapi, base, login):
    """Its authors' tests want some counters to be there; all but these is theirs."""
    key = {"Authorization": f"Bearer {OWNER}"} if login else {}
    for path in (
        "/hit/test",
        "/hit/test/test",
        "/create?key=d7b97e5f-69a4-4933-8928-b9ee92f6b6ca",
        "/create?key=c23ce4fa-4b78-4cbb-b53a-da3c2c38bb18&enable_reset=1",
        "/create?key=ce420ebf-369c-4a19-92b1-8b02fb6e72ba&update_upperbound=100",
    ):
        assert node.get(base + path, headers=key).status_code == 200
    client = countapi(login, base)
    mocha = modules / "mocha" / "bin" / "mocha.js"
    ended = run_node(modules, mocha, "--reporter", "json", client / "test" / "index.js")
    report = json.loads(ended.stdout[ended.stdout.index("{\n") :])
    assert report["stats"]["failures"] == report["stats"]["pending"] == 0
    assert report["stats"]["passes"] == 30


def test_counting_and_reading(call):
    assert call("countapi.hit('site', 'page')") == {
        "result": {"status": 200, "path": "site/page", "value": 1}
    }
    assert call("countapi.hit('page')")["result"]["path"] == "default/page"
    assert call("countapi.get('site', 'page')")["result"]["value"] == 1
    assert (
        call("countapi.get('nobody')")["result"].items()
        >= {"status": 404, "path": "default/nobody", "value": None}.items()
    )


def test_what_the_client_creates_is_its_users_by_the_key_in_the_base_url(call):
    login = f":{OWNER}@"
    options = "{ namespace: 'site', key: 'shop', value: 5, enable_reset: 1, update_upperbound: 50 }"
    assert call(f"countapi.create({options})", login)["result"] == {
        "status": 200,
        "path": "site/shop",
        "namespace": "site",
        "key": "shop",
        "value": 5,
    }
    assert call("countapi.update('site', 'shop', 37)", login)["result"]["value"] == 42
    assert call("countapi.update('site', 'shop', 51)", login)["result"]["status"] == 403
    assert (
        call("countapi.set('site', 'shop', 7)", login)["result"].items()
        >= {"status": 200, "old_value": 42, "value": 7}.items()
    )
    refused = call("countapi.set('site', 'shop', 8)")["result"]
    assert refused.items() >= {"status": 403, "old_value": 7, "value": 7}.items()
    info = call("countapi.info('site', 'shop')")["result"]
    assert (info["update_upperbound"], info["enable_reset"]) == (50, True)


ALL_OF_IT = """
made = countapi.create_counter("shop", "site", 5, True, -1, 50)
print(json.dumps([
    vars(made),
    vars(countapi.hit_counter("shop", "site")),
    vars(countapi.update_counter(37, "shop", "site")),
    vars(countapi.get_value("shop", "site")),
    vars(countapi.set_value(7, "shop", "site")),
    {name: value for name, value in vars(countapi.get_info("shop", "site")).items()
     if name not in ("ttl", "created_at")},
    vars(countapi.create_counter())["namespace"],
    vars(countapi.hit_counter("alone")),
    sorted(vars(countapi.get_stats())),
]))
"""


@pytest.mark.parametrize("login", ["", f":{OWNER}@"])
def test_the_client_from_pypi_does_all_that_it_can(in_python, login):
    assert in_python(ALL_OF_IT, login) == [
        {"namespace": "site", "key": "shop", "value": 5},
        {"value": 6},
        {"value": 43},
        {"value": 43},
        {"old_value": 43, "value": 7},
        {
            **{"namespace": "site", "key": "shop", "value": 7, "enable_reset": True},
            **{"update_upper_bound": 50, "update_lower_bound": -1},
        },
        "default",
        {"value": 1},
        ["keys_created", "keys_updated", "requests", "version"],
    ]


def test_the_client_from_pypi_is_told_what_is_refused(in_python):
    refused = """
from countapi.common import NotOKError
said = []
countapi.hit_counter("page")
for call in (
    lambda: countapi.get_value("nobody"),
    lambda: countapi.set_value(1, "page"),
    lambda: countapi.update_counter(2, "page"),
    lambda: countapi.create_counter("page"),
    lambda: countapi.create_counter("ab"),
):
    try:
        call()
    except NotOKError as error:
        said.append(str(error).rpartition("status ")[2])
print(json.dumps(said))
"""
    assert in_python(refused) == ["404]", "403]", "403]", "409]", "400]"]


def test_a_page_that_counted_with_countapi_goes_on_where_it_was(call, node):
    counts = "namespace,key,value\r\nmysite.com,examplepage,1234\r\n"
    taken = node.post("/api/v1/import", data=counts, headers={"Content-Type": "text/csv"})
    assert taken.json()["taken"] == 1
    visit = {"Referer": "https://mysite.com/example/page", "Origin": "https://mysite.com"}
    answer = node.get("/countapi/hit/:HOST:/:PATHNAME:", headers=visit)
    assert (answer.json(), answer.headers["X-Path"]) == ({"value": 1235}, "mysite.com/examplepage")
    # npm's client, in Node.js, has no page.
    assert call("countapi.visits()", base="/countapi")["result"]["path"] == ".../..."


def test_what_the_client_rejects(call):
    assert "update_upperbound" in call("countapi.create({ update_upperbound: -1 })")["error"]
    call("countapi.create({ key: 'once' })")
    assert call("countapi.create({ key: 'once' })")["error"].endswith("409")


def test_a_browser_that_sends_its_page_is_counted_by_it(node):
    visit = {"Referer": "https://example.com/blog/", "Origin": "https://example.com"}
    for value in (1, 2):
        answer = node.get("/hit/:HOST:/:PATHNAME:", headers=visit)
        assert answer.json() == {"value": value}
        assert answer.headers["X-Path"] == "example.com/blog"


def test_an_abacus_client(node):
    made = node.post("/create/site/page?initializer=10")
    assert made.status_code == 201
    bearer = {"Authorization": f"Bearer {made.json()['admin_key']}"}
    assert node.post("/update/site/page?value=5", headers=bearer).json()["value"] == 15
    assert node.get("/hit/site/page").json()["value"] == 16
    assert node.post("/set/site/page?value=3", headers=bearer).json()["value"] == 3
    assert node.post("/reset/site/page", headers=bearer).json()["value"] == 0
    badge = node.get("/hit/site/page/shield?text=visits&style=plastic")
    assert badge.headers["Content-Type"].startswith("image/svg+xml")
    assert "visits: 1" in badge.text
    sent = {"headers": bearer | {"Content-Type": "application/json"}, "data": b'{"value": 9}'}
    assert node.post("/update/site/page/?value=5", **sent).json()["value"] == 6
    assert node.get("/healthcheck").json()["status"] == "ok"
    assert node.post("/delete/site/page", headers=bearer).json()["status"] == "ok"
    assert node.get("/get/site/page").status_code == 404


def test_the_database_keeps_no_admin_key(node, single, environ):
    made = node.post("/create/site/page").json()
    with single.client() as client:
        kept = client[environ["COUNTERAPP_DATABASE"]]["counters"].find_one({"_id": "site/page"})
    assert made["admin_key"] not in str(kept)
    assert hashlib.sha256(made["admin_key"].encode()).hexdigest() in str(kept)


def test_idempotent_hits_and_borders(node):
    once = {"Idempotency-Key": "one"}
    answers = [node.get("/hit/page", headers=once) for _ in range(2)]
    assert [answer.json()["value"] for answer in answers] == [1, 1]
    assert answers[1].headers["Idempotency-Replayed"] == "true"
    largest = 2**53 - 1
    key = node.get(f"/create/large?value={largest - 1}").json()["admin_key"]
    assert node.get("/hit/large").json() == {"value": largest}
    for path in ("/hit/large", f"/update/large?amount=1&token={key}"):
        over = node.get(path)
        assert (over.status_code, over.json()["value"]) == (403, largest)


def test_a_counter_of_a_hit_is_nobodys(node):
    node.get("/hit/page")
    assert node.get("/update/page?amount=100").status_code == 403
    bearer = {"Authorization": f"Bearer {OWNER}"}
    for path in ("/set/page?value=1", "/reset/page", "/delete/page"):
        assert node.get(path, headers=bearer).status_code == 403
    assert node.get("/badge/page.svg").text.count("hits: 1") == 2


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /hit/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /hit/page?callback=\xff\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /hit/page?callback=" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /set/page?value=" + b"9" * 3000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /set/:HOST:/page?value=1 HTTP/1.1\r\nHost: x\r\nReferer: http://[\xff\r\n\r\n",
        b"GET /set/page?value=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Basic \xff\r\n\r\n",
        b"GET /hit/page HTTP/1.1\r\nHost: x\r\nIdempotency-Key: \xff\r\n\r\n",
        b"POST /hit/page HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /hit/page HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /hit/page HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\nxx",
        b"BREW /hit/page HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /stream/\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /badge/page.svg?label=\xff\x01\xed\xa0\x80 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_bytes_that_no_client_should_send_are_the_clients_fault(node, sent):
    status = node.status_line(sent)
    assert b" 4" in status or not status
    assert node.get("/get/page").status_code == 404


@pytest.mark.parametrize(
    "line",
    [
        "GET /hit/site/page",
        "POST /hit/site/page",
        "POST /create/site/page",
        "POST /api/v1/counters/site/page/hits",
        "POST /api/v1/counters/site/page/hits?x",
    ],
)
def test_a_head_that_has_two_content_types_is_refused_on_every_way(node, line):
    head = f"{line} HTTP/1.1\r\nHost: here\r\n"
    types = "Content-Type: text/plain\r\nContent-Type: application/json\r\n"
    assert node.status_line(f"{head}{types}\r\n".encode()) == b"HTTP/1.1 400 Bad Request"
    assert node.get("/get/site/page").status_code == 404
