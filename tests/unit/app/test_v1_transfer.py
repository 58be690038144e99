"""Import and export: what goes out comes back in, and what is no count is told and left out."""

import csv
import io

import pytest
from counterapp import transfer
from counterapp.counters import LARGEST, StoreUnavailable
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.unit.app.test_app import assert_problem
from tests.unit.app.test_v1 import bearer

IMPORT = "/api/v1/import"
EXPORT = "/api/v1/export"


def send(client, text, **options):
    return client.post(IMPORT, data=text, content_type="text/csv", **options)


def value(client, name):
    answer = client.get(f"/api/v1/counters/{name}")
    return answer.get_json()["value"] if answer.status_code == 200 else None


def test_counts_come_in_as_csv_and_belong_to_the_key_that_comes_back(client):
    body = send(client, "namespace,key,value\r\nblog,post-1,41\r\nblog,post-2,-7\r\n").get_json()
    assert (body["taken"], body["refused"]) == (2, [])
    assert value(client, "blog/post-1") == 41
    assert value(client, "blog/post-2") == -7
    assert client.post("/api/v1/counters/blog/post-1/hits").get_json()["value"] == 42
    gone = client.delete("/api/v1/counters/blog/post-2", headers=bearer(body["admin_key"]))
    assert gone.status_code == 204


def test_counts_come_in_as_json(client):
    records = [{"namespace": "blog", "key": "post-1", "value": 41}, {"key": "other", "value": 1}]
    body = client.post(IMPORT, json=records).get_json()
    assert (body["taken"], body["refused"]) == (2, [])
    assert value(client, "blog/post-1") == 41
    assert value(client, "default/other") == 1


@pytest.mark.parametrize(
    "text",
    [
        "key,value\nabc,5\n",
        "value,key\n5,abc",
        "\ufeffNamespace, Key ,VALUE\n,abc, 5 \n\n",
        'key,value\n"abc","+5"\n',
        "namespace,value,key\r\ndefault,0005,abc\r\n",
        "key;value\nabc;5\n",
        'namespace;key;value\r\n"default";abc;"5"\r\n',
        "key\tvalue\nabc\t5\n",
    ],
)
def test_csv_as_spreadsheets_write_it(client, text):
    assert send(client, text).get_json()["taken"] == 1
    assert value(client, "default/abc") == 5


def test_what_is_no_count_is_told_and_the_rest_is_taken(client):
    client.post("/api/v1/counters/default/found/hits")
    answer = send(
        client,
        "key,value\n"
        "good,1\n"
        "ab,2\n"
        "float,1.5\n"
        f"huge,{LARGEST + 1}\n"
        f"huger,{'9' * 5000}\n"
        "good,3\n"
        "wide,4,5\n"
        "narrow\n"
        "found,6\n"
        "arabic,٣\n"
        "fine,7\n",
    )
    body = answer.get_json()
    assert body["taken"] == 2
    assert (value(client, "default/good"), value(client, "default/fine")) == (1, 7)
    assert value(client, "default/found") == 1
    reasons = {each["record"]: each["reason"] for each in body["refused"]}
    assert list(reasons) == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert '"key" must be 3 to 64' in reasons[2]
    assert '"value" must be a whole number' in reasons[3]
    assert '"value" must be a whole number' in reasons[4]
    assert '"value" must be a whole number' in reasons[5]
    assert reasons[6] == "Record 1 has this name too."
    assert "A record has" in reasons[7]
    assert "A record has" in reasons[8]
    assert reasons[9] == "There is a counter of this name already."
    assert body["refused"][7] == {
        "record": 9,
        "line": 10,
        "text": "found,6",
        "namespace": "default",
        "key": "found",
        "reason": reasons[9],
    }


def test_what_is_refused_is_told_with_its_line_and_text(client):
    answer = send(client, 'key,value\n"two\nlines",1\n\na b,2\n,3,4\n')
    told = [(each["record"], each["line"], each["text"]) for each in answer.get_json()["refused"]]
    assert told == [(1, 2, "two\nlines,1"), (2, 5, "a b,2"), (3, 6, ",3,4")]


def test_of_a_long_record_the_beginning_is_told(client):
    [csv_one] = send(client, f"key,value\n{'x' * 5000},1\n").get_json()["refused"]
    [json_one] = client.post(IMPORT, json=[{"key": "x" * 5000}]).get_json()["refused"]
    assert csv_one["text"] == f"{'x' * (transfer.LONGEST_TEXT - 1)}…"
    assert json_one["text"].startswith('{"key": "xxx')
    assert len(json_one["text"]) == transfer.LONGEST_TEXT
    assert "line" not in json_one


@pytest.mark.parametrize(
    "record",
    [
        1,
        None,
        [],
        {},
        {"key": "abc"},
        {"key": "abc", "value": "5"},
        {"key": "abc", "value": True},
        {"key": "abc", "value": 1.5},
        {"key": "abc", "value": 1, "step": 2},
        {"key": "abc", "value": 1, "namespace": ""},
        {"key": "abc", "value": 1, "namespace": None},
        {"key": ["abc"], "value": 1},
    ],
)
def test_what_is_no_record_is_told(client, record):
    body = client.post(IMPORT, json=[record, {"key": "good", "value": 1}]).get_json()
    assert body["taken"] == 1
    assert [each["record"] for each in body["refused"]] == [1]
    assert value(client, "default/abc") is None


def test_nothing_taken_gives_no_key(client):
    assert client.post(IMPORT, json=[]).get_json() == {"taken": 0, "refused": []}


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", 422),
        ("\n", 422),
        ("blog,post-1,41\n", 422),
        ("key\nabc\n", 422),
        ("key,key,value\n", 422),
        ("key,value,extra\n", 422),
        ('key,value\n"abc', 400),
        ('key,value\n"abc"x,5\n', 400),
        (b"key,value\n\xff\xfe,5\n", 400),
        ("key,value\n" + "x" * 200_000 + ",1\n", 400),
    ],
)
def test_what_is_no_csv_is_refused_as_a_whole(client, text, status):
    assert_problem(send(client, text), status)


@pytest.mark.parametrize("body", [{}, "text", None, 5, True])
def test_json_that_is_no_list_is_refused(client, body):
    response = client.post(
        IMPORT, data=client.application.json.dumps(body), content_type="application/json"
    )
    assert_problem(response, 422, "list of objects")


def test_another_media_type_is_refused(client):
    assert_problem(client.post(IMPORT, data=b"key,value", content_type="text/plain"), 415, "CSV")


def test_an_import_may_be_larger_than_other_bodies_and_has_its_own_end(client):
    lines = "".join(f"name-{n:06},{n}\n" for n in range(3000))
    assert len(lines) > 16 * 1024
    assert send(client, "key,value\n" + lines).get_json()["taken"] == 3000
    assert_problem(send(client, b"x" * (1024 * 1024 + 1)), 413)


def test_one_import_has_an_end_in_number_too(client):
    lines = "".join(f"n{n:05},1\n" for n in range(10_001))
    assert_problem(send(client, "key,value\n" + lines), 422, "at most 10000")
    assert value(client, "default/n00000") is None


def test_who_imports_again_replaces_what_is_theirs_and_nothing_else(client):
    first = send(client, "key,value\nmine,1\n").get_json()["admin_key"]
    send(client, "key,value\nyours,2\n")
    again = "key,value\nmine,10\nyours,20\nnew,30\n"
    kept = send(client, again, headers=bearer(first)).get_json()
    assert (kept["taken"], [each["record"] for each in kept["refused"]]) == (1, [1, 2])
    assert "admin_key" not in kept
    replaced = send(client, again, headers=bearer(first), query_string={"replace": "true"})
    body = replaced.get_json()
    assert (body["taken"], [each["key"] for each in body["refused"]]) == (2, ["yours"])
    assert "another admin key" in body["refused"][0]["reason"]
    assert (value(client, "default/mine"), value(client, "default/yours")) == (10, 2)


def test_a_store_that_fails_half_way_leaves_the_key_of_what_was_taken(client, store, monkeypatch):
    batches = []
    take = store.take

    def failing(records, replace, admin):
        batches.append(len(records))
        if len(batches) == 2:
            raise StoreUnavailable("The database has no primary that can be reached")
        return take(records, replace, admin)

    monkeypatch.setattr(store, "take", failing)
    lines = [f"name-{n:06},{n}\n" for n in range(1, 2501)]
    lines[0] = lines[1999] = "ab,1\n"
    cut = send(client, "key,value\n" + "".join(lines))
    assert_problem(cut, 503, "no primary")
    body = cut.get_json()
    assert (body["taken"], body["record"]) == (1000, 1002)
    assert [each["record"] for each in body["refused"]] == [1]
    rest = lines[body["record"] - 1 :]
    again = send(client, "key,value\n" + "".join(rest), headers=bearer(body["admin_key"]))
    assert again.get_json()["taken"] == 1498
    assert [each["record"] for each in again.get_json()["refused"]] == [999]
    assert value(client, "default/name-002500") == 2500


def test_a_key_that_was_sent_is_not_repeated_when_an_import_is_cut_off(client, store):
    store.broken = "The database has no primary that can be reached"
    body = send(client, "key,value\nabc,1\n", headers=bearer("0" * 36)).get_json()
    assert (body["taken"], body["record"], body["refused"]) == (0, 1, [])
    assert "admin_key" not in body


def test_an_import_ends_itself_before_the_balancer_does(client, store, monkeypatch):
    clock = [0.0]
    take = store.take

    def slow(records, replace, admin):
        clock[0] += transfer.TIME / 2.5
        return take(records, replace, admin)

    monkeypatch.setattr(transfer, "monotonic", lambda: clock[0])
    monkeypatch.setattr(store, "take", slow)
    lines = [f"name-{n:06},{n}\n" for n in range(1, 4501)]
    cut = send(client, "key,value\n" + "".join(lines))
    assert_problem(cut, 503, "ends itself after 20 s")
    body = cut.get_json()
    # A third batch as long as the others would not have ended in time.
    assert (body["taken"], body["record"]) == (2000, 2001)
    assert clock[0] <= transfer.TIME
    rest = "key,value\n" + "".join(lines[2000:4000])
    last = send(client, rest, headers=bearer(body["admin_key"]))
    assert last.get_json() == {"taken": 2000, "refused": []}


def test_replace_is_true_or_false(client):
    response = send(client, "key,value\n", query_string={"replace": "yes"})
    assert_problem(response, 400, "replace must be")


# Export


def test_ones_own_counts_go_out_as_csv_and_json(client):
    key = send(client, "namespace,key,value\nblog,post-1,41\ndefault,abc,-1\n").get_json()[
        "admin_key"
    ]
    send(client, "key,value\nyours,2\n")
    answer = client.get(EXPORT, headers=bearer(key))
    assert answer.mimetype == "text/csv"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="counters.csv"'
    text = answer.get_data(as_text=True)
    assert text == "namespace,key,value\r\nblog,post-1,41\r\ndefault,abc,-1\r\n"
    records = client.get(f"{EXPORT}?format=json", headers=bearer(key)).get_json()
    assert records == list(
        {**row, "value": int(row["value"])} for row in csv.DictReader(io.StringIO(text))
    )


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_key_that_owns_nothing_is_told_so(client, form):
    answer = client.get(f"{EXPORT}?format={form}", headers=bearer("0" * 36))
    assert_problem(answer, 403, "No counter has this admin key")


def test_an_export_needs_a_key_and_a_known_form(client):
    assert_problem(client.get(EXPORT), 401)
    assert_problem(client.get(f"{EXPORT}?format=xml", headers=bearer("0" * 36)), 400, "format")


def test_a_store_that_cannot_answer_is_a_503_and_no_broken_body(client, store):
    store.broken = "The database did not answer in time"
    assert_problem(client.get(EXPORT, headers=bearer("0" * 36)), 503)


def test_a_store_that_fails_in_the_middle_breaks_the_body_off(client, store, monkeypatch):
    key = send(client, "key,value\naaa,1\nbbb,2\n").get_json()["admin_key"]
    everything = store.all

    def failing(owner):
        yield next(everything(owner))
        raise StoreUnavailable("gone")

    monkeypatch.setattr(store, "all", failing)
    with pytest.raises(StoreUnavailable):
        client.get(EXPORT, headers=bearer(key), buffered=True)


names = st.from_regex("[A-Za-z0-9_.-]{3,64}", fullmatch=True)
values = st.integers(-LARGEST, LARGEST)


@examples(50)
@given(counts=st.dictionaries(st.tuples(names, names), values, min_size=1, max_size=20))
@pytest.mark.parametrize("form", ["csv", "json"])
def test_what_goes_out_comes_back_in(app, store, counts, form):
    client = app.test_client()
    store._counters.clear()
    store._admins.clear()
    records = [{"namespace": n, "key": k, "value": v} for (n, k), v in counts.items()]
    key = client.post(IMPORT, json=records).get_json()["admin_key"]
    out = client.get(f"{EXPORT}?format={form}", headers=bearer(key))
    store._counters.clear()
    store._admins.clear()
    back = client.post(IMPORT, data=out.data, content_type=out.mimetype, headers=bearer(key))
    assert back.get_json() == {"taken": len(counts), "refused": []}
    found = {(c.key.namespace, c.key.name): c.value for c in store.all(None)}
    assert found == counts
