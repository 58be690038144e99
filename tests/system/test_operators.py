"""An operator's token, from the runner on the master to the app behind the VIP."""

import contextlib
import http.client
import socket

import pytest
import requests

from lab import edge, engine
from tests.system.test_secrets import SEARCH

READ = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=9).read().decode())"


def test_a_token_of_the_runner_is_good_for_the_app_and_seen_nowhere(cluster):
    cluster.hit("operated").raise_for_status()
    made = cluster.runner("operator.token", "scopes=counters:write", "minutes=5")
    assert made["scopes"] == ["counters:write"]
    assert cluster.master("stat", "-c", "%a %U", made["path"]).strip() == "600 root"
    name, _, value = cluster.master("cat", made["path"]).strip().partition(": ")
    assert name == "Authorization"

    target = f"{cluster.url}/api/v1/operator/counters/{cluster.namespace}/operated"
    headers = {name: value}

    def ask(method, url, headers, **given):
        # The verify of a session gives way to REQUESTS_CA_BUNDLE of the environment.
        given = {"headers": headers, "verify": cluster.authority, "timeout": 10, **given}
        return requests.request(method, url, **given)

    put = ask("PUT", f"{target}/value", headers, json={"value": 70})
    assert (put.status_code, put.json()["previous"]) == (200, 1)
    assert cluster.hit("operated").json()["value"] == 71
    assert ask("DELETE", target, {}).status_code == 401
    assert ask("DELETE", target, headers).status_code == 204
    assert cluster.get(cluster.path("operated")).status_code == 404
    assert ask("GET", f"{cluster.url}/api/v1/counters", headers).status_code == 403

    signature = value.rpartition(".")[2]
    for node in cluster.lab.nodes:
        found = cluster.on(node.id, "python3", "-c", SEARCH, stdin=signature).split()
        # The folder of the journal is searched too, and there the file itself lies.
        assert found == ([made["path"]] if node.id == cluster.lab.master.id else []), node.id


def test_every_web_node_has_the_numbers_of_its_own(cluster):
    cluster.hit("measured").raise_for_status()
    for node in cluster.with_role("web"):
        address = next(each.address for each in cluster.lab.nodes if each.id == node)
        text = cluster.on(node, "python3", "-c", READ, f"http://{address}:8001/metrics")
        assert f'counterapp_build_info{{node="{node}"' in text
        assert "counterapp_request_duration_seconds_bucket" in text


def test_numbers_are_not_to_be_had_through_the_balancers(cluster):
    engine.check_route(cluster.lab, cluster.lab.vip)
    for path in ("/metrics", "//metrics", "/%6detrics"):
        connection = http.client.HTTPSConnection(
            cluster.lab.vip, timeout=10, context=edge.context(cluster.lab)
        )
        with contextlib.closing(connection):
            # What `requests` would make the same of all three.
            connection.request("GET", path)
            assert connection.getresponse().status == 404, path
    with pytest.raises(OSError, match="refused|timed out"):
        socket.create_connection((cluster.lab.vip, 8405), timeout=3).close()


def test_every_balancer_has_the_numbers_of_its_own(cluster):
    for node in cluster.with_role("lb"):
        address = cluster.lab.node(node).address
        text = cluster.on(node, "python3", "-c", READ, f"http://{address}:8405/metrics")
        assert 'haproxy_server_status{proxy="web",server="web-1"' in text
