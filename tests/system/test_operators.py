"""An operator's token, from the runner on the master to the app behind the VIP."""

import requests

from tests.system.test_secrets import SEARCH

READ = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=9).read().decode())"


def test_a_token_of_the_runner_is_good_for_the_app_and_seen_nowhere(cluster):
    cluster.hit("operated").raise_for_status()
    made = cluster.runner("counterapp.token", "scopes=counters:write", "minutes=5")
    assert made["scopes"] == ["counters:write"]
    assert cluster.master("stat", "-c", "%a %U", made["path"]).strip() == "600 root"
    name, _, value = cluster.master("cat", made["path"]).strip().partition(": ")
    assert name == "Authorization"

    target = f"{cluster.url}/api/v1/operator/counters/{cluster.namespace}/operated"
    headers = {name: value}
    put = requests.put(f"{target}/value", json={"value": 70}, headers=headers, timeout=10)
    assert (put.status_code, put.json()["previous"]) == (200, 1)
    assert cluster.hit("operated").json()["value"] == 71
    assert requests.delete(target, headers={}, timeout=10).status_code == 401
    assert requests.delete(target, headers=headers, timeout=10).status_code == 204
    assert cluster.get(cluster.path("operated")).status_code == 404
    refused = requests.get(f"{cluster.url}/api/v1/counters", headers=headers, timeout=10)
    assert refused.status_code == 403

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
