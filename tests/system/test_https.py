"""HTTPS at the VIP: whom clients trust, who is sent on, and another certificate under hits."""

import json

import requests
import yaml

import fleet.edge
from lab import edge, engine
from tests.support.certificates import shown
from tests.support.waiting import until
from tests.system.test_secrets import CERTIFICATE, DIRECTORY

ROTATE = f"salt-run secret.rotate {CERTIFICATE}"


def declared(cluster):
    """Return the certificate that the balancers were given, as PEM, without its key."""
    text = yaml.safe_load(cluster.master("cat", f"{DIRECTORY}/{CERTIFICATE}.sls"))
    return fleet.edge.first(text["secrets"][CERTIFICATE])


def test_who_comes_without_is_sent_on_and_the_master_trusts_it(cluster):
    engine.check_route(cluster.lab, cluster.lab.vip)
    url = f"http://{cluster.lab.vip}{cluster.path('sent-on')}/hits"
    first = requests.post(url, allow_redirects=False, timeout=10)
    assert (first.status_code, first.headers["Location"]) == (308, url.replace("http:", "https:"))
    followed = requests.post(url, timeout=10, verify=cluster.authority)
    assert followed.json()["value"] == 1
    # As an operator types it there, who names no authority.
    answer = cluster.master("curl", "-s", f"{cluster.url}{cluster.path('sent-on')}")
    assert json.loads(answer)["value"] == 1


def test_another_certificate_is_shown_without_a_reload_and_stays_after_one(cluster):
    engine.check_route(cluster.lab, cluster.lab.vip)
    balancers = cluster.with_role("lb")
    port = 443

    def processes():
        return cluster.salt("roles:lb", "haproxy.workers", kind="grain")

    def seen():
        context = edge.context(cluster.lab)
        addresses = [(cluster.lab.node(node).address, port) for node in balancers]
        # Each is trusted for the VIP, whatever address it is asked at.
        context.check_hostname = False
        return [shown(each, context) for each in [*addresses, (cluster.lab.vip, port)]]

    before, workers = declared(cluster), processes()
    assert seen() == [before] * 3
    with cluster.traffic("certified") as traffic:
        done = cluster.typed(ROTATE)
        assert done.code == 0, done.text
        after = declared(cluster)
        assert after != before
        assert seen() == [after] * 3
        assert processes() == workers
    assert traffic.failures == []
    assert cluster.count("certified") == len(traffic.values) > 0
    assert cluster.runner("rollout.history", "limit=1")[0]["secret"] == CERTIFICATE
    # The file has it, too.
    for node in balancers:
        cluster.on(node, "systemctl", "reload", "haproxy")
        until(
            lambda node=node: cluster.salt(node, "haproxy.workers")[node]["current"],
            30,
            f"{node} has another worker",
            wanted=lambda current, node=node: current not in (None, workers[node]["current"]),
            ignoring=(*cluster.AWAY, TypeError),
        )
    assert seen() == [after] * 3
    cluster.until_whole()
