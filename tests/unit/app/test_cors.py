"""Pages of any origin may use the counters, and nothing else."""

import pytest

PAGE = {"Origin": "https://example.com"}


@pytest.mark.parametrize(
    "path", ["/hit/page", "/create", "/stats", "/badge/page.svg", "/api/v1/stats", "/set/nobody"]
)
def test_any_origin_may_ask_and_read_the_headers(client, path):
    headers = client.get(path, headers=PAGE).headers
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "X-Path" in headers["Access-Control-Expose-Headers"]
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert "Access-Control-Allow-Credentials" not in headers


@pytest.mark.parametrize("path", ["/set/page", "/api/v1/counters/default/page/value"])
def test_a_preflight_allows_the_admin_key_and_the_idempotency_key(client, path):
    asked = {
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization,idempotency-key",
    }
    answer = client.options(path, headers=PAGE | asked)
    assert answer.status_code == 200
    assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
    for name in ("Authorization", "Idempotency-Key", "Content-Type"):
        assert name in answer.headers["Access-Control-Allow-Headers"]
    assert int(answer.headers["Access-Control-Max-Age"]) > 0


def test_a_preflight_counts_nothing(client):
    client.options("/hit/page", headers=PAGE | {"Access-Control-Request-Method": "POST"})
    assert client.get("/get/page").status_code == 404


@pytest.mark.parametrize("path", ["/", "/livez", "/nowhere"])
def test_the_rest_is_for_our_own_page(client, path):
    assert "Access-Control-Allow-Origin" not in client.get(path, headers=PAGE).headers
