"""Whatever breaks, no acknowledged hit is lost and none is counted twice.

Clients hit two counters while a fault of ``faults.FAULTS`` is done and undone, one without keys and
one with, and note what they were told. Then the counts are held against that, and keys sent again.
The lanes try few faults, once; ``DRILL_CHAOS=1`` (``make drill``) all of them, many times.
"""

import json
import os
import random
import time
import uuid

import pytest

from bench.gaps import surely
from tests.system.faults import (
    FAULTS,
    Clients,
    another_primary,
    archive,
    partitioned,
    until_archived,
)
from tests.system.test_failures import primary
from tests.system.test_secrets import DIRECTORY

DRILL = bool(os.environ.get("DRILL_CHAOS"))
#: Keys of each run that are sent once more.
SAMPLE = 10
#: Run on a member: adds one to a counter, by what the member alone acknowledges.
ADD = """
import json, sys, pymongo, yaml
password = yaml.safe_load(sys.stdin)["secrets"]["mongodb_admin"]
login = {"username": "admin", "password": password, "directConnection": True}
with pymongo.MongoClient("127.0.0.1", 27017, w=1, **login) as client:
    for _ in range(int(sys.argv[2])):
        found = client.counterapp.counters.find_one_and_update(
            {"_id": sys.argv[1]}, {"$inc": {"value": 1}}, return_document=True
        )
        print(json.dumps({"value": found["value"], "node": "none"}), flush=True)
"""


def replay(cluster, counter, keys):
    """Send some keys again; each has to be answered as it was the first time."""
    for key in random.sample(sorted(keys), min(SAMPLE, len(keys))):
        body = cluster.hit(counter, key=key).json()
        assert (body["value"], body["replayed"]) == (keys[key], True), (key, body)


def once(cluster, name, harm):
    """Do a fault under hits, and hold the counts against what clients were told."""
    counter = f"{name}-{uuid.uuid4().hex[:6]}"
    since = (archive(cluster)["since"] or {}).get("time")
    with (
        cluster.traffic(counter) as plain,
        cluster.traffic(f"{counter}-keyed", keyed=True) as keyed,
    ):
        clients = Clients(plain, keyed)
        clients.served(20)
        harm(cluster, clients)
    cluster.until_whole()
    assert plain.problems(cluster.count(counter)) == []
    assert keyed.unsure == 0
    replay(cluster, f"{counter}-keyed", keyed.keys)
    assert keyed.problems(cluster.count(f"{counter}-keyed")) == []
    until_archived(cluster, since)
    return plain, keyed


@pytest.fixture(scope="module")
def first_backup(cluster):
    """A backup from before all faults, in a drill; to be restored after them."""
    return cluster.runner("backup.run")["name"] if DRILL else None


@pytest.mark.parametrize("name", [name for name in FAULTS if DRILL or FAULTS[name].short])
def test_nothing_acknowledged_is_lost_and_no_hit_counts_twice(cluster, first_backup, name):
    fault = FAULTS[name]
    runs = fault.runs if DRILL else 1
    acknowledged, gaps = 0, []
    with fault.prepare(cluster):
        for number in range(1, runs + 1):
            plain, keyed = once(cluster, name, fault.harm)
            acknowledged += len(plain.values) + len(keyed.values)
            gaps.append(max(plain.longest_gap, keyed.longest_gap))
            print(
                f"{name} {number}: {len(plain.values)} and {len(keyed.values)} hits acknowledged, "
                f"{len(plain.failures)} failed, {plain.unsure} of them unsure; "
                f"none acknowledged for {gaps[-1]:.1f} s"
            )
    print(
        f"{name}: {runs} of {runs} runs good, so below {1 - surely(runs, runs):.0%} fail (95 %); "
        f"{acknowledged} hits acknowledged; gaps of {min(gaps):.1f} to {max(gaps):.1f} s"
    )


def test_a_control_whose_hits_count_twice_is_seen(cluster):
    counter = f"control-{uuid.uuid4().hex[:6]}"
    traffic = cluster.send(counter, 20)
    # A client that takes answers for lost, and has no key to say that it is the same hit.
    cluster.send(counter, 20)
    assert traffic.problems(cluster.count(counter)) != []


@pytest.mark.skipif(not DRILL, reason="waits for an election: DRILL_CHAOS=1")
def test_a_control_whose_hits_one_member_acknowledges_is_seen(cluster):
    counter = f"control-{uuid.uuid4().hex[:6]}"
    traffic = cluster.send(counter, 20)
    assert traffic.problems(cluster.count(counter)) == []
    secret = cluster.master("cat", f"{DIRECTORY}/mongodb_admin.sls")
    old = primary(cluster)
    command = ["/opt/salt/bin/python", "-c", ADD, f"{cluster.namespace}/{counter}", "20"]
    with partitioned(cluster, old):
        for line in cluster.on(old, *command, stdin=secret).splitlines():
            traffic.acknowledged(json.loads(line), time.monotonic())
        another_primary(cluster, old)
    cluster.until_whole()
    (lost,) = {"20 of 40 acknowledged hits are lost"} & {*traffic.problems(cluster.count(counter))}
    print(lost)


@pytest.mark.skipif(not DRILL, reason="wants all faults before it: DRILL_CHAOS=1")
def test_what_was_archived_through_all_faults_can_be_restored(cluster, first_backup):
    proved = cluster.runner("backup.drill", first_backup)
    assert proved.get("failed") is None, proved
    print(proved)
