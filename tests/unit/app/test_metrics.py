"""``/metrics``: numbers that are true, and names that clients cannot make."""

import dataclasses
import json

import pytest
from prometheus_client.parser import text_string_to_metric_families


@pytest.fixture
def samples(reader):
    """Return a function that scrapes, and gives each sample by its name and labels."""

    def scrape():
        response = reader.get("/metrics")
        assert response.status_code == 200
        assert response.mimetype == "text/plain"
        text = response.get_data(as_text=True)
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    return scrape


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/metrics", 200),
        ("POST", "/metrics", 405),
        ("GET", "/livez", 404),
        ("POST", "/api/v1/counters/default/one/hits", 404),
    ],
)
def test_their_listener_has_nothing_else(reader, method, path, status):
    response = reader.open("/", method=method, environ_overrides={"PATH_INFO": path})
    assert response.status_code == status
    if status >= 400:
        assert response.mimetype == "application/problem+json"


@pytest.mark.parametrize("path", ["/metrics", "//metrics", "/metrics/"])
def test_nobody_reads_them_elsewhere(client, path):
    assert client.get("/", environ_overrides={"PATH_INFO": path}).status_code == 404


def requests(route, method, status):
    labels = {"route": route, "method": method, "status": str(status)}
    return ("counterapp_requests_total", *sorted(labels.items()))


HITS = "/api/v1/counters/<namespace>/<name>/hits"


def test_requests_are_counted_by_route_method_and_status(client, store, samples):
    for name in ("one", "two"):
        client.post(f"/api/v1/counters/default/{name}/hits")
    client.post("/api/v1/counters/default/no/hits")
    store.broken = "gone"
    client.post("/api/v1/counters/default/one/hits")
    found = samples()
    assert found[requests(HITS, "POST", 200)] == 2
    assert found[requests(HITS, "POST", 400)] == 1
    assert found[requests(HITS, "POST", 503)] == 1
    assert found["counterapp_request_duration_seconds_count", ("route", HITS)] == 4


def test_who_asks_for_anything_makes_no_new_names(client, samples):
    for n in range(20):
        client.get(f"/nowhere/{n}")
        client.open("/", method=f"BREW{n}")
    found = samples()
    assert found[requests("none", "GET", 404)] == 20
    made = [name for name in found if name[0] == "counterapp_requests_total"]
    assert len(made) == 2


def test_it_tells_who_it_is_and_what_waits(store, request, monkeypatch):
    monkeypatch.setattr(store, "waiting", lambda: 7)
    found = request.getfixturevalue("samples")()
    assert found[("counterapp_waiting_hits",)] == 7
    [(build, value)] = [each for each in found.items() if each[0][0] == "counterapp_build_info"]
    assert {("node", "web-1"), ("release", "1.2.3")} <= set(build[1:])
    assert value == 1
    assert found[("process_resident_memory_bytes",)] > 1_000_000


def test_it_needs_no_database(store, samples):
    store.broken = "gone"
    assert samples()


@pytest.fixture
def told(tmp_path):
    """The file that the master has Salt write."""
    return tmp_path / "run" / "backups.json"


@pytest.fixture
def settings(settings, told):
    return dataclasses.replace(settings, backups=told)


def of_backups(found):
    return {name: value for (name, *_), value in found.items() if "_backup_" in name}


def test_what_the_master_tells_of_backups_is_told_on_as_it_is_now(told, samples):
    assert of_backups(samples()) == {}
    told.parent.mkdir()
    numbers = {"told_timestamp_seconds": 1795836367.5, "drill_success": 0, "colour": 3}
    told.write_text(json.dumps(numbers))
    assert of_backups(samples()) == {
        "counterapp_backup_told_timestamp_seconds": 1795836367.5,
        "counterapp_backup_drill_success": 0,
    }
    told.write_text(json.dumps({**numbers, "newest_timestamp_seconds": 1795836000}))
    assert of_backups(samples())["counterapp_backup_newest_timestamp_seconds"] == 1795836000


@pytest.mark.parametrize(
    "text", ["", "[1]", '{"drill_success": "x"}', '{"a": 1' + " " * 5000 + "}"]
)
def test_a_file_that_says_nothing_is_logged_once_and_the_rest_is_told(told, text, samples, caplog):
    told.parent.mkdir()
    told.write_text(text)
    for _ in range(2):
        assert samples()[("counterapp_waiting_hits",)] == 0
    (line,) = [each for each in caplog.messages if "has no numbers of backups" in each]
    assert str(told) in line


def test_a_folder_in_the_place_of_the_file_is_no_number(told, samples):
    told.mkdir(parents=True)
    assert of_backups(samples()) == {}


def test_each_application_has_numbers_of_its_own(client, settings, store, samples):
    from counterapp.app import create_app

    create_app(settings, store).test_client().get("/livez")
    assert requests("/livez", "GET", 200) not in samples()
