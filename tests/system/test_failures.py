"""One node of each role dies without a word: the service goes on, and the node comes back."""

import pytest

from bench import gaps
from bench.failing import CASES, There
from bench.vip import HARMS, Vip
from tests.support.waiting import until

# Longest time until hits are answered again, in seconds. HAProxy checks every second and takes a
# server out after three misses; a replica set elects after 2.5 s without its primary; the VIP
# moves after three missed adverts, of which there are five a second.
OUTAGE = {"web": 10, "db": 30, "lb": 10, "storage": 15}


def holder(cluster):
    """Return the balancer that has the VIP."""

    def seen():
        found = cluster.salt("lb-*", "network.ip_addrs")
        return [node for node, addresses in found.items() if cluster.lab.vip in addresses]

    return one(seen, "one balancer has the VIP")


def primary(cluster):
    """Return the member of the replica set that takes writes."""

    def seen():
        found = cluster.salt("db-*", "mongodb.is_primary")
        return [node for node, is_it in found.items() if is_it is True]

    return one(seen, "the set has a primary")


def one(look, what):
    (found,) = until(look, 60, what, wanted=lambda nodes: len(nodes) == 1, interval=1)
    return found


@pytest.mark.parametrize("role", ["web", "db", "lb"])
def test_the_service_survives_the_loss_of_a_node(cluster, role):
    victim = {"web": lambda c: c.with_role("web")[0], "db": primary, "lb": holder}[role](cluster)
    counter = f"loss-of-{role}"
    with cluster.traffic(counter) as traffic:

        def seen():
            return {"hits": len(traffic.values), "last failure": traffic.failures[-1:]}

        until(seen, 60, "hits are counted", wanted=lambda now: now["hits"] > 20)
        cluster.stop(victim)
        at_loss = len(traffic.values)
        until(
            seen,
            OUTAGE[role],
            f"50 more hits than {at_loss} are counted without {victim}",
            wanted=lambda now: now["hits"] > at_loss + 50,
        )
    count = cluster.count(counter)
    assert traffic.problems(count) == []
    cluster.start(victim)
    cluster.until_whole()
    assert cluster.count(counter) == count


@pytest.mark.parametrize("harm", HARMS)
def test_one_balancer_alone_has_the_address_whatever_befell_its_holder(cluster, harm):
    before = holder(cluster)
    [(harmed, seconds)] = Vip(cluster.lab).times(harm, 1)
    assert harmed == before
    assert seconds > 0
    assert HARMS[harm].stays or holder(cluster) != before


def test_what_clients_get_of_each_failover_is_measured_and_every_hit_counts(cluster):
    service = There(cluster.lab)
    try:
        runs = [gaps.run(service, case, clients=3) for case in service.cases()]
    finally:
        service.counters.remove()
    assert [run.case for run in runs] == list(CASES)
    assert [(run.case, run.problems) for run in runs if run.problems] == []
    assert all(run.gap > 0 for run in runs)


def test_a_server_whose_drainer_died_comes_back_when_its_lease_ends(cluster):
    balancer, server = cluster.with_role("lb")[0], cluster.with_role("web")[0]

    def admin():
        return cluster.salt(balancer, "haproxy.server_state", "web", server)[balancer]["admin"]

    drained = cluster.salt(balancer, "haproxy.drain", "web", server, "lease=8")[balancer]
    assert drained["admin"] == "drain"
    assert admin() == "drain"
    until(admin, 40, f"{server} is back", wanted="ready", ignoring=cluster.AWAY)


def test_a_server_that_was_put_back_has_no_lease_left(cluster):
    balancer, server = cluster.with_role("lb")[0], cluster.with_role("web")[0]
    cluster.salt(balancer, "haproxy.drain", "web", server, "lease=300")
    cluster.salt(balancer, "haproxy.ready", "web", server)
    timers = cluster.on(balancer, "systemctl", "list-timers", "--all", "--no-legend")
    assert "haproxy-lease" not in timers
