"""What HAProxy says itself, in the form in which it is wanted."""

import contextlib
import http.client
import json
import re
import socket
import xml.etree.ElementTree as ET

import pytest
from counterapp import answers, cors

from tests.functional.haproxy.role import OWN, Balancer

HIT = "/api/v1/counters/default/pages/hits"
FAMILY = "/hit/default/pages"
SCRIPT = "application/javascript; charset=utf-8"
IMAGE = "image/svg+xml; charset=utf-8"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PREFLIGHT = {"Origin": "https://blog.example", "Access-Control-Request-Method": "POST"}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A balancer none of whose servers lives."""
    made = Balancer(tmp_path_factory.mktemp("alone"))
    for web in made.webs:
        web.ready = web.live = False
    made.until_up()
    yield made
    made.stop()


@pytest.fixture
def balancer(tmp_path):
    made = Balancer(tmp_path)
    yield made
    made.stop()


def told(answer, kind="application/problem+json"):
    """Return what is said in JSON."""
    assert answer.head["Content-Type"] == kind
    return json.loads(answer.body)


def test_an_answer_of_the_api_is_a_problem(alone):
    answer = alone.answer("POST", HIT, {"X-Request-ID": "mine-7"}, b"")
    problem = told(answer)
    assert "Try again" in problem.pop("detail")
    assert problem == {"type": "about:blank", "title": "Service Unavailable", "status": 503}
    assert (answer.status, answer.head["Retry-After"]) == (503, "2")
    assert (answer.head["Cache-Control"], answer.head["X-Request-ID"]) == ("no-store", "mine-7")
    # A browser that was sent there has no use for a page.
    assert told(alone.answer("GET", "/api/v1/stats", BROWSER))["status"] == 503


@pytest.mark.parametrize(
    "path",
    [
        FAMILY,
        "/get/pages?x=1",
        "/create",
        "/stats/",
        "/countapi/hit/a/b",
        "/countapi",
        "/hit/a/b?img",
    ],
)
def test_an_answer_of_the_family_is_as_the_family_has_it(alone, path):
    answer = alone.answer("GET", path, BROWSER)
    assert (answer.status, answer.head["Retry-After"]) == (503, "2")
    if path.endswith("?img"):
        assert answer.head["Content-Type"] == IMAGE
        assert ET.fromstring(answer.body).get("width") == "1"
    else:
        assert list(told(answer, "application/json")) == ["error"]


@pytest.mark.parametrize("callback", ["show", "app.$show._1", "app.%24show", "a" * 128, "classy"])
def test_a_script_is_one_that_runs(alone, callback):
    answer = alone.answer("GET", f"{FAMILY}?callback={callback}&t=1")
    assert (answer.status, answer.head["Content-Type"]) == (200, SCRIPT)
    name, said = re.fullmatch(r"/\*\*/(.+?)\((.*)\);\s*", answer.body).groups()
    assert name == callback.replace("%24", "$")
    assert json.loads(said)["status"] == 503
    assert answer.head["Retry-After"] == "2"


@pytest.mark.parametrize(
    "callback",
    ["", "1a", "a b", "a(b", "alert(1)//", "a..b", "a.", "if", "this.x", "a" * 129]
    + ["%3Cscript%3E", "a%0Ab", "a%00", "é", "%C3%A9"],
)
def test_what_is_no_name_of_a_function_is_never_run(alone, callback):
    wanted = ValueError
    with contextlib.suppress(ValueError):
        answers._check_callback(callback)
        wanted = None
    assert wanted, "the application would take it"
    with socket.create_connection(("127.0.0.1", alone.port), timeout=10) as client:
        head = f"GET {FAMILY}?callback={callback} HTTP/1.0\r\nHost: counts.example\r\n\r\n"
        client.sendall(head.encode("latin-1"))
        answer = b"".join(iter(lambda: client.recv(4096), b"")).decode()
    assert "javascript" not in answer
    assert "/**/" not in answer


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin"},
        {"Host": "Counts.example", "Origin": "http://counts.EXAMPLE:80"},
        {"Host": "counts.example:443", "Referer": "https://counts.example/c/a?b"},
        {"Host": "counts.example:8080", "Referer": "http://counts.example:8080/"},
    ],
)
def test_a_page_of_ours_gets_no_script(alone, headers):
    answer = alone.answer("GET", f"{FAMILY}?callback=show", headers)
    assert (answer.status, list(told(answer, "application/json"))) == (503, ["error"])


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "counts.example", "Origin": "http://blog.example"},
        {"Host": "counts.example:8080", "Referer": "http://counts.example/c/a"},
    ],
)
def test_a_page_of_others_gets_its_script(alone, headers):
    assert alone.ask("GET", f"{FAMILY}?callback=show", headers) == 200


def test_a_badge_says_so_in_the_image(alone):
    answer = alone.answer("GET", "/badge/default/pages.svg?callback=show")
    assert (answer.status, answer.head["Content-Type"]) == (503, IMAGE)
    image = ET.fromstring(answer.body)
    assert image.get("aria-label") == "hits: unavailable"
    assert answer.head["Content-Security-Policy"].startswith("default-src 'none'")
    assert alone.answer("GET", "/get/a/b/shield").head["Content-Type"] == IMAGE


def test_who_opens_the_page_gets_one(alone):
    answer = alone.answer("GET", "/", BROWSER)
    assert (answer.status, answer.head["Content-Type"]) == (503, "text/html; charset=utf-8")
    assert "<h1>Service Unavailable</h1>" in answer.body
    assert "Access-Control-Allow-Origin" not in answer.head
    # A script or a style of it, or a program, has no use for one.
    assert told(alone.answer("GET", "/assets/a.js"))["status"] == 503


def test_a_head_has_no_body(alone):
    answer = alone.answer("HEAD", "/get/pages")
    assert (answer.status, answer.body) == (503, "")


PATHS = [
    *(f"/{verb}/a/b" for verb in ("hit", "get", "set", "update", "reset", "delete", "info")),
    *("/create", "/create/", "/create/a", "/stats", "/badge/a.svg", "/stream/a", "/api/v1/stats"),
    *("/", "/favicon.svg", "/assets/a.js", "/c/a/b", "/livez", "/hits/a", "/getaway"),
]


@pytest.mark.parametrize("path", PATHS)
def test_pages_of_others_may_read_it_where_they_may_read_the_applications(alone, path):
    def shown(head):
        names = ("Access-Control-Allow-Origin", "Access-Control-Expose-Headers")
        return {name: head.get(name) for name in (*names, "Cross-Origin-Resource-Policy")}

    assert shown(alone.answer("GET", path).head) == shown(cors.headers(path, "GET"))


@pytest.mark.parametrize("path", [HIT, FAMILY, "/create"])
def test_browsers_are_told_what_pages_of_others_may_send(alone, path):
    answer = alone.answer("OPTIONS", path, PREFLIGHT)
    assert (answer.status, answer.body) == (204, "")
    wanted = cors.headers(path, "OPTIONS")
    assert {name: answer.head.get(name) for name in wanted} == wanted


def test_they_are_not_told_so_by_the_balancer_where_there_is_a_server_or_nothing_to_send(alone):
    assert alone.ask("OPTIONS", "/", PREFLIGHT) == 503
    assert alone.ask("OPTIONS", HIT) == 503


@pytest.mark.parametrize(
    ("path", "kind"), [(HIT, "application/problem+json"), (FAMILY, "application/json")]
)
def test_a_server_that_dies_with_a_request(balancer, path, kind):
    for web in balancer.webs:
        web.dying = True
    answer = balancer.answer("GET", path)
    assert (answer.status, answer.head["Retry-After"]) == (502, "2")
    assert "may have done" in "".join(map(str, told(answer, kind).values()))
    assert answer.head["Access-Control-Allow-Origin"] == "*"


def test_an_answer_of_a_server_is_left_as_it_is(balancer):
    balancer.webs[0].dying = balancer.webs[1].dying = False
    answer = balancer.answer("GET", f"{FAMILY}?callback=show", BROWSER)
    assert (answer.status, answer.body) == (200, answer.body.strip())
    assert answer.body in ("web-1", "web-2")
    for name in ("Content-Type", "Cache-Control", "Access-Control-Allow-Origin"):
        assert name not in answer.head


def test_a_body_that_does_not_come(balancer):
    assert balancer.dribble(FAMILY, b"", b"x") == 408
    answer = balancer.answer("POST", FAMILY, {"Content-Length": "9"})
    assert (answer.status, answer.head["Access-Control-Allow-Origin"]) == (408, "*")
    assert "within 10 s" in told(answer, "application/json")["error"]


def test_what_is_too_long_is_told_in_the_form_of_the_rest(balancer):
    long = balancer.answer("GET", f"{FAMILY}?x={'x' * 4000}")
    assert (long.status, list(told(long, "application/json"))) == (414, ["error"])
    head = balancer.answer("GET", HIT, {"Cookie": "x" * 8200})
    assert told(head)["title"] == "Request Header Fields Too Large"
    assert head.status == 431
    assert head.head["Access-Control-Allow-Origin"] == "*"
    assert balancer.ask("GET", HIT, {"Cookie": "x" * 7000}) == 200


def test_one_connection_has_answers_of_each_form(alone):
    """What is known of a request is not taken for the next one."""
    client = http.client.HTTPConnection(OWN, alone.port, timeout=10)
    with contextlib.closing(client):
        kinds = []
        for path in (f"{FAMILY}?callback=show", HIT, FAMILY, "/badge/a.svg", "/"):
            client.request("GET", path)
            with client.getresponse() as response:
                kinds.append((response.status, response.headers["Content-Type"]))
                response.read()
    assert kinds == [
        (200, SCRIPT),
        (503, "application/problem+json"),
        (503, "application/json"),
        (503, IMAGE),
        (503, "application/problem+json"),
    ]
