"""A release, `mongod.conf`, `haproxy.cfg` and `keepalived.conf` change while the fleet serves.

One story, told by the fixture `change`: the rollout is killed while a web server is drained, that
server comes back by itself, and the same command finishes what is left. Hits arrive all the while.
"""

import time
from dataclasses import dataclass, field

import pytest

from lab import up
from tests.support.hits import Traffic
from tests.support.waiting import until
from tests.system.test_failures import holder, primary

# Seconds. Long enough for the rollout to be killed and seen dead meanwhile.
LEASE = 30
# As the files' own words have them, after the change.
CACHE, MAXCONN, MISSED = 0.3, 3000, 4
# Seconds around the move of the VIP in which a connection through it may break: the address is
# away until the other balancer has missed the adverts or heard the goodbye.
VIP_MOVES = 6


@dataclass
class Change:
    """What was so before, and what clients and nodes have to tell of the change."""

    release: str
    primary: str
    holder: str
    code: int = -1
    output: str = ""
    drained: str = ""
    back_after: float = 0.0
    plain: Traffic = field(default_factory=Traffic)
    keyed: Traffic = field(default_factory=Traffic)


def servers(cluster):
    """Return the web servers as every balancer sees them."""
    found = cluster.salt("lb-*", "haproxy.servers", "web").values()
    return [server for view in found for server in view]


@pytest.fixture(scope="module")
def change(cluster, next_release):
    cluster.settings("mongodb", cache_gb=CACHE)
    cluster.settings("lb", maxconn=MAXCONN, vrrp={"missed": MISSED})
    cluster.settings("web", drain_lease=LEASE)
    story = Change(next_release, primary(cluster), holder(cluster))
    with (
        cluster.traffic("changed") as story.plain,
        cluster.traffic("changed-keyed", keyed=True) as story.keyed,
    ):
        die_while_drained(cluster, story)
        story.code, story.output = cluster.rollout(next_release)
    print(story.output)
    return story


def die_while_drained(cluster, story):
    """Kill the rollout when it has drained a server, and wait until that one serves again."""
    run = cluster.start_rollout(story.release)
    try:
        drained = until(
            lambda: {s["name"] for s in servers(cluster) if s["admin"] == "drain"} or run.poll(),
            400,
            "the rollout has drained a web server",
            wanted=lambda seen: seen is not None and seen != set(),
        )
        assert isinstance(drained, set), run.communicate()
        (story.drained,) = drained
        cluster.master("pkill", "-KILL", "-f", "state.orchestrate", check=False)
    finally:
        run.kill()
        run.communicate()
    began = time.monotonic()
    until(
        lambda: [s for s in servers(cluster) if s["admin"] != "ready" or not s["up"]],
        LEASE + 60,
        f"{story.drained} is back in rotation by itself",
        wanted=[],
        interval=1,
    )
    story.back_after = time.monotonic() - began


def moment(cluster, node, unit, name):
    """Return when a unit last changed, on the kernel's clock, in seconds."""
    asked = ["systemctl", "show", unit, f"--property={name}TimestampMonotonic", "--value"]
    return int(cluster.on(node, *asked)) / 1e6


def written(cluster, node, path):
    """Return when a file was last written, in seconds since 1970."""
    return float(cluster.on(node, "stat", "-c", "%.Y", path))


def test_a_server_that_a_dead_rollout_left_drained_comes_back(change):
    assert change.drained
    assert change.back_after <= LEASE + 30


def test_the_same_command_finishes_what_died(cluster, change):
    assert change.code == 0, change.output
    current = cluster.salt("roles:web", "counterapp.current", kind="grain")
    assert current == dict.fromkeys(cluster.with_role("web"), change.release)
    assert up.status(cluster.lab)["release"] == change.release
    for node, path, words in (
        *((db, "/etc/mongod.conf", f"cacheSizeGB: {CACHE}") for db in cluster.with_role("db")),
        *((lb, "/etc/haproxy/haproxy.cfg", f"maxconn {MAXCONN}") for lb in ("lb-1", "lb-2")),
        *(
            (lb, "/etc/keepalived/keepalived.conf", f"down_timer_adverts {MISSED}")
            for lb in ("lb-1", "lb-2")
        ),
    ):
        assert words in cluster.on(node, "cat", path), (node, path)


def test_members_are_touched_one_after_the_other_and_the_primary_last(cluster, change):
    spans = sorted(
        (
            moment(cluster, node, "mongod", "InactiveEnter"),
            moment(cluster, node, "mongod", "ActiveEnter"),
            node,
        )
        for node in cluster.with_role("db")
    )
    assert spans[-1][2] == change.primary
    for (_, up_again, node), (stopped, _, other) in zip(spans, spans[1:], strict=False):
        assert up_again < stopped, f"{other} was stopped before {node} ran again"


def test_the_primary_is_touched_after_it_stepped_down(cluster, change):
    command = ["journalctl", "-u", "mongod", "--no-pager", "-o", "cat"]
    log = cluster.on(change.primary, *command).splitlines()

    def last(words):
        return max(number for number, line in enumerate(log) if words in line)

    became = last("Transition to primary complete")
    stepped = last("replSetStepDown command completed")
    assert became < stepped < last("Stepping down the ReplicationCoordinator for shutdown")
    assert primary(cluster) != change.primary


def test_the_holder_of_the_vip_is_last_and_hands_it_over_before(cluster, change):
    (other,) = {*cluster.with_role("lb")} - {change.holder}
    for path in ("/etc/haproxy/haproxy.cfg", "/etc/keepalived/keepalived.conf"):
        assert written(cluster, other, path) < written(cluster, change.holder, path)
    assert holder(cluster) == other
    command = ["journalctl", "-u", "keepalived", "--no-pager", "-o", "short-unix"]
    log = cluster.on(other, *command).splitlines()
    (*_, taken) = (float(line.split()[0]) for line in log if "Entering MASTER STATE" in line)
    assert taken < written(cluster, change.holder, "/etc/haproxy/haproxy.cfg")


def test_every_acknowledged_hit_is_counted_once(cluster, change):
    for counter, traffic in (("changed", change.plain), ("changed-keyed", change.keyed)):
        assert len(traffic.values) > 1000
        # Those with a key were sent until acknowledged: of them none is unsure.
        assert traffic.problems(cluster.count(counter)) == []


def test_no_request_fails_but_those_that_the_moving_address_cuts_off(cluster, change):
    moved = moment(cluster, change.holder, "keepalived", "InactiveEnter")
    for traffic in (change.plain, change.keyed):
        print(f"{len(traffic.values)} hits, {len(traffic.failures)} failed", *set(traffic.failures))
        for sent, failure in zip(traffic.failed_at, traffic.failures, strict=True):
            # Reset by the balancer that took the address over, or never answered: the one that had
            # the connection can no longer send from that address.
            assert failure.startswith(("ConnectionError", "ReadTimeout")), failure
            assert moved - VIP_MOVES < sent < moved + VIP_MOVES, (sent - moved, failure)


def test_a_plain_highstate_keeps_the_fleets_release(cluster, change):
    (node, *_) = cluster.with_role("web")
    cluster.salt(node, "state.apply")
    assert cluster.salt(node, "counterapp.current") == {node: change.release}
