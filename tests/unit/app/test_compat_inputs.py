"""What the routes of the family do with everything that they were not meant for."""

import json
from urllib.parse import quote

import pytest
from counterapp.counters import LARGEST, Key
from counterapp.places import page_name
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import examples

PAGE = "https://Example.COM:8443/blog/post?x=1"


def refused(answer, status=400, part=""):
    assert answer.status_code == status
    assert answer.mimetype == "application/json"
    assert part in answer.json["error"]
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["X-Served-By"] == "web-1"
    return True


@pytest.mark.parametrize(
    "name", ["ab", "x" * 65, "with space", "ünïcode", "%00abc", "%ff%fe%fd", "a%0Ab", "$inc", "٣٣٣"]
)
@pytest.mark.parametrize("path", ["/hit/{}", "/hit/site/{}", "/hit/{}/page", "/create/{}"])
def test_a_bad_name_is_refused_in_countapis_words(client, path, name):
    refused(client.get(path.format(name)), 400, "Malformed Namespace/Key")


@pytest.mark.parametrize(
    "name",
    ["...", "__proto__", "constructor", "null", "undefined", "hit", "create", "stats", "a.svg"],
)
def test_words_that_mean_something_elsewhere_are_names_like_others(client, name):
    assert client.get(f"/hit/{name}/{name}").json == {"value": 1}
    assert client.get(f"/get/{name}/{name}").json == {"value": 1}
    assert client.get(f"/badge/{name}/{name}.svg").status_code == 200


NO_NUMBERS = [
    *("", "abc", "1.5", "1e3", "1e+21", "NaN", "Infinity", "0x10", "--1", "1 ", "１", "٣", "1_000"),
    *(str(LARGEST + 1), str(-LARGEST - 1), "9" * 17, "9" * 5000, "null", "[]", "%00"),
]


@pytest.mark.parametrize("text", NO_NUMBERS)
@pytest.mark.parametrize(
    "path",
    [
        *("/set/page?value={}", "/update/page?amount={}", "/create?value={}", "/create?step={}"),
        *("/create?expiration={}", "/create?update_upperbound={}", "/create/page?initializer={}"),
    ],
)
def test_what_is_no_whole_number_is_refused(client, path, text):
    refused(client.get(path.format(text)), 400, "must be a whole number from ")


def test_the_borders_themselves_are_numbers(client):
    for value in (LARGEST, -LARGEST):
        assert client.get(f"/create?value={value}&step={-value}").json["value"] == value


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("update_upperbound=-1", "update_upperbound must be positive"),
        ("update_lowerbound=1", "update_lowerbound must be negative"),
        ("step=0", "step must not be 0"),
        ("expiration=0", "expiration must be"),
        ("expiration=-5", "expiration must be"),
        ("expiration=9999999999", "expiration must be"),
        ("enable_reset=maybe", "enable_reset must be 1 or 0"),
        ("value=1&initializer=1", "mean the same"),
        ("value=1&value=1", "more than once"),
        ("key=abc&key=def", "more than once"),
        ("key=", "Malformed"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(client, store, query, part):
    refused(client.get(f"/create?{query}"), 400, part)
    assert store.totals().counters == 0


@pytest.mark.parametrize("path", ["/create/page?key=page", "/create/abc/page?namespace=abc"])
def test_a_name_is_given_once(client, path):
    refused(client.get(path), 400, "in the path and in the query")


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/set/page", "value is missing"),
        ("/update/page", "amount is missing"),
        ("/update/page?amount=1&value=1", "mean the same"),
        ("/hit/page?callback=a&callback=a", "callback is given more than once"),
        ("/set/page?value=1&token=a&token=b", "token is given more than once"),
    ],
)
def test_what_is_missing_or_there_twice_is_named(client, path, part):
    refused(client.get(path), 400, part)


def test_unknown_parameters_are_let_pass(client):
    assert client.get("/hit/page?_=1700000000&utm_source=x&_=2").json == {"value": 1}


def test_jsonp_is_a_script_that_never_fails(client):
    answer = client.get("/hit/page?callback=app.$show_1")
    assert answer.mimetype == "application/javascript"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.text == '/**/app.$show_1({"status": 200, "value": 1});'
    answer = client.get("/get/nobody?callback=show")
    assert answer.status_code == 200
    body = json.loads(answer.text.removeprefix("/**/show(").removesuffix(");"))
    assert (body["status"], body["value"]) == (404, None)


BAD_CALLBACKS = [
    *(
        "",
        "alert(1)",
        "a;b",
        "a b",
        "<script>",
        "a[0]",
        "1a",
        "a..b",
        ".a",
        "a.",
        "ünï",
        "a\u2028b",
    ),
    *("delete", "function", "new.target", "this.x", "a" * 129, "a%00", "%ff", "a%0a", "`x`", "a//"),
]


@pytest.mark.parametrize("callback", BAD_CALLBACKS)
def test_a_bad_callback_counts_nothing_and_is_not_executable(client, callback):
    answer = client.get(f"/hit/page?callback={callback}")
    assert refused(answer, 400, "callback must be")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    if callback:
        assert f"{callback}(" not in answer.text
    assert client.get("/get/page").status_code == 404


def test_a_page_of_our_own_finds_no_script_in_jsonp(client):
    answer = client.get("/hit/page?callback=show", headers={"Sec-Fetch-Site": "same-origin"})
    refused(answer, 400, "pages of other sites")


@pytest.mark.parametrize(
    ("host", "headers", "ours"),
    [
        ("counter.test", {"Referer": "http://counter.test/"}, True),
        ("counter.test:8000", {"Referer": "http://counter.test:8000/a?b"}, True),
        ("counter.test", {"Origin": "https://COUNTER.test"}, True),
        ("counter.test:80", {"Referer": "http://user@counter.test/"}, True),
        ("[::1]:8000", {"Referer": "http://[::1]:8000/"}, True),
        ("[::1]", {"Referer": "http://[::1]:80/"}, True),
        ("counter.test:8000", {"Referer": "http://counter.test:9000/"}, False),
        ("counter.test", {"Referer": "http://shop.test/counter.test/"}, False),
        ("counter.test", {"Origin": "null"}, False),
        ("counter.test", {"Referer": "http://[oops"}, False),
        ("counter.test", {}, False),
    ],
)
def test_over_plain_http_origin_and_referer_tell_our_own_page(client, host, headers, ours):
    answer = client.get("/hit/page?callback=show", headers={"Host": host, **headers})
    if ours:
        refused(answer, 400, "pages of other sites")
    else:
        assert answer.text.startswith("/**/show(")
    assert client.get("/get/page").status_code == (404 if ours else 200)


AHEAD = [
    {"Sec-Purpose": "prefetch"},
    {"Sec-Purpose": "prefetch;prerender"},
    {"Sec-Purpose": "prefetch;anonymous-client-ip"},
    {"Purpose": "prefetch"},
    {"X-Purpose": "preview"},
    {"X-Moz": "Prefetch"},
]


@pytest.mark.parametrize("ahead", AHEAD)
def test_a_hit_that_is_made_ahead_is_answered_and_not_counted(client, ahead):
    answer = client.get("/hit/page", headers=ahead)
    assert (answer.status_code, answer.json) == (200, {"value": 0})
    assert answer.headers["Cache-Control"] == "no-store"
    assert client.get("/get/page").status_code == 404
    client.get("/hit/page")
    assert client.get("/hit/page?callback=show", headers=ahead).text.endswith('"value": 1});')
    assert client.get("/get/page", headers=ahead).json == {"value": 1}


@pytest.mark.parametrize("verb", ["set", "update", "reset", "delete", "create"])
def test_any_other_change_that_is_asked_for_ahead_is_refused(client, verb):
    key = client.get("/create/site/page?value=5").json["admin_key"]
    before = client.get("/info/site/page").json
    path = f"/{verb}/site/{'other' if verb == 'create' else 'page'}?value=1&admin_key={key}"
    answer = client.get(path, headers={"Sec-Purpose": "prefetch"})
    refused(answer, 403, "made ahead changes nothing")
    assert "admin key" not in answer.json["error"]
    assert client.get("/info/site/page").json == before
    assert client.get("/get/site/other").status_code == 404


def test_a_purpose_that_is_none_changes_nothing(client):
    headers = {"Purpose": "navigation", "Sec-Purpose": "", "X-Moz": "x"}
    assert client.get("/hit/page", headers=headers).json == {"value": 1}


def test_the_pixel(client):
    answer = client.get("/hit/page?img")
    assert answer.mimetype == "image/gif"
    assert answer.data.startswith(b"GIF89a\x01\x00\x01\x00")
    assert len(answer.data) == 42
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Path"] == "default/page"
    assert client.get("/get/page").json == {"value": 1}
    missing = client.get("/get/nobody?img=1")
    assert (missing.status_code, missing.mimetype) == (404, "image/gif")


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "é", "a\tb"])
def test_a_bad_idempotency_key_counts_nothing(client, key):
    headers = {"Idempotency-Key": key}
    refused(client.get("/hit/page", headers=headers), 400, "Idempotency-Key")
    assert client.get("/get/page").status_code == 404


@pytest.mark.parametrize("body", [b"{", b'{"value": 5}', b"value=5", b"\xff\x00"])
@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", ""])
def test_a_body_says_nothing(client, body, kind):
    made = client.post("/create/page?value=2", data=body, content_type=kind)
    assert (made.status_code, made.json["value"]) == (201, 2)
    assert client.post("/hit/page", data=body, content_type=kind).json == {"value": 3}
    assert client.get("/get/page", data=body, content_type=kind).json == {"value": 3}


def test_a_large_body_is_refused_unread(client):
    refused(client.post("/hit/page", data=b"x" * 20_000), 413)
    refused(client.post("/hit/page", environ_overrides={"CONTENT_LENGTH": "99999999999"}), 413)


@pytest.mark.parametrize("verb", ["hit", "set", "update", "reset", "delete", "create"])
def test_a_head_request_changes_nothing(client, verb):
    answer = client.head(f"/{verb}/page?value=1")
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]
    assert client.get("/get/page").status_code == 404


def test_a_head_request_may_look(client):
    client.get("/hit/page")
    assert client.head("/get/page").status_code == 200


@pytest.mark.parametrize("base", ["", "/countapi"])
@pytest.mark.parametrize(("method", "path"), [("PUT", "/hit/page"), ("DELETE", "/get/page")])
def test_a_wrong_method_is_refused(client, base, method, path):
    answer = client.open(base + path, method=method)
    assert refused(answer, 405)
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize(
    "path",
    [
        *("/hit", "/hit/", "/hit/a/b/c", "/get//page", "/stats/x", "/set/", "/hit/abc//"),
        *("/info/abc/def/shield", "/healthcheck/x", "/countapi", "/countapi/", "/countapi/nope"),
        *("/countapi/create/abc", "/countapi/reset/abc", "/countapi/hit/a/b/shield"),
    ],
)
def test_what_is_nowhere_is_told_in_the_familys_form(client, path):
    assert refused(client.get(path), 404, "/api/v1/openapi.json")
    script = client.get(f"{path}?callback=show")
    assert (script.status_code, script.mimetype) == (200, "application/javascript")
    assert '"status": 404' in script.text
    pixel = client.get(f"{path}?img")
    assert (pixel.status_code, pixel.mimetype) == (404, "image/gif")
    for query in ("callback=alert(1)", "callback=%ff"):
        answer = client.get(f"{path}?{query}")
        assert answer.status_code in (400, 404)
        assert answer.mimetype == "application/json"


@pytest.mark.parametrize("path", ["/", "/nowhere", "/hits/page", "/countapis", "/api/v1/hit"])
def test_other_paths_are_not_the_familys(client, path):
    assert client.delete(path).mimetype == "application/problem+json"


def test_a_bug_is_told_in_the_familys_form(client, store):
    store.bug = RuntimeError("oops")
    for path in ("/get/page", "/countapi/get/page"):
        answer = client.get(path)
        assert (answer.status_code, list(answer.json)) == (500, ["error"])
        assert "oops" not in answer.text


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ({"Referer": PAGE}, "example.com/blog-post-"),
        ({"Origin": "https://shop.example", "Referer": PAGE}, "shop.example/blog-post-"),
        ({"Referer": "https://example.com/about.html"}, "example.com/about.html"),
        ({"Referer": "https://example.com/"}, "example.com/index"),
        ({"Origin": "null"}, "default/index"),
        ({}, "default/index"),
        ({"Referer": "https://[oops"}, "default/index"),
    ],
)
def test_host_and_pathname_are_those_of_the_page(client, headers, path):
    answer = client.get("/hit/:HOST:/:PATHNAME:", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["X-Path"].startswith(path)


def test_abacus_path_is_the_page_without_what_a_name_cannot_have(client):
    page = {"Referer": "https://mysite.com/example/page?x=1"}
    assert client.get("/hit/site/:PATH:", headers=page).headers["X-Path"] == "site/examplepage"
    refused(client.get("/hit/site/:PATH:"), 400, "Referer")


@pytest.mark.parametrize("page", ["http://[::1]/", "http://x/", f"http://{'x' * 65}/"])
def test_a_host_that_is_no_name_is_refused(client, page):
    refused(client.get("/hit/:HOST:/page", headers={"Referer": page}), 400, "Malformed")


@given(st.text(max_size=200), st.text(max_size=200))
def test_each_page_has_a_good_name_of_its_own(one, other):
    names = [page_name(path) for path in (one, other)]
    for name in names:
        assert Key.make("site", name)
    assert page_name(one) == names[0]


def test_pages_that_look_alike_are_apart():
    paths = ["/a/b", "/a-b", "/a b", "/A/b", "/index", "/", "/a", "/é", "/ê", "/" + "x" * 70]
    assert len({page_name(path) for path in paths}) == len(paths)
    assert page_name("/blog/") == page_name("/blog") == page_name("/bl%6Fg") == "blog"


segments = st.lists(
    st.sampled_from([b"a", b"blog", b"index", b"%", b"%2F", b"/", b"a/b", b"\xff", b"\xfe", b""])
    | st.binary(max_size=8),
    max_size=4,
)


def quoted(data, segment):
    """Write one segment of a path in one of the ways there are."""
    return "".join(
        chr(byte)
        if byte < 128 and chr(byte) not in "/%?#" and data.draw(st.booleans())
        else f"%{byte:02x}"
        for byte in segment
    )


@given(st.data(), segments, segments)
def test_two_paths_share_a_counter_only_if_they_are_one(data, one, other):
    names = [
        page_name("/" + "/".join(quoted(data, segment) for segment in path))
        for path in (one, other)
    ]

    # A slash at the end makes no difference.
    def same(path):
        path = path[:-1] if path[-1:] == [b""] else path
        return [] if path == [b""] else path

    assert (names[0] == names[1]) == (same(one) == same(other))


@given(segments)
def test_a_path_that_looks_like_a_name_that_was_made_is_another_page(path):
    name = page_name("/" + "/".join(quote(segment) for segment in path))
    literal = page_name(f"/{name}")
    assert Key.make("site", literal)
    assert (literal == name) == ([name.encode()] == path or [name.encode(), b""] == path)


def test_what_pages_counted_on_they_count_on():
    # These names are in the databases of those who use them.
    assert page_name("/a/b") == "a-b-c14cddc033f6"
    assert page_name("/blog/first") == page_name("/blog/first/") == "blog-first-6d156d8f4e27"


def wire(text):
    """Text as a WSGI server hands it over: its bytes, each as one Latin-1 character."""
    return text.encode("utf-8", "surrogatepass").decode("latin-1")


verbs = st.sampled_from(
    ["hit", "get", "set", "update", "reset", "delete", "info", "create", "stats", "badge", "stream"]
    + ["healthcheck", *(f"countapi/{verb}" for verb in ("hit", "get", "set", "create", "info"))]
)
words = st.text(max_size=20) | st.sampled_from(
    ["page", "site", ":HOST:", ":PATHNAME:", ":PATH:", "page.svg", "shield"]
)
names = st.sampled_from(
    ["value", "amount", "step", "key", "namespace", "callback", "img", "expiration", "token"]
    + ["update_lowerbound", "enable_reset", "label", "style", "color", "fontsize", "bgcolor"]
)
values = st.text(max_size=20) | st.integers(-(2**70), 2**70).map(str)
headers = st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=40)


@examples(300)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW"]),
    verb=verbs,
    path=st.lists(words, max_size=3),
    query=st.lists(st.tuples(names, values), max_size=5),
    referer=headers,
    authorization=headers | headers.map(lambda text: f"Basic {text}"),
    once=headers,
    body=st.binary(max_size=50),
)
def test_no_input_gives_a_500(
    client, method, verb, path, query, referer, authorization, once, body
):
    answer = client.open(
        "/",
        method=method,
        data=body,
        buffered=False,
        environ_overrides={
            "PATH_INFO": wire("/".join(["", verb, *path])),
            "QUERY_STRING": wire("&".join(f"{name}={value}" for name, value in query)),
            "HTTP_REFERER": referer,
            "HTTP_AUTHORIZATION": authorization,
            "HTTP_IDEMPOTENCY_KEY": once,
        },
    )
    assert answer.status_code in {200, 201, 400, 403, 404, 405, 409, 422}
    assert answer.headers["X-Served-By"] == "web-1"
    answer.close()
