"""Much is lost at once, and brought back as docs/operating.md says it."""

import os
import time
import uuid
from datetime import UTC, datetime

import pytest
import yaml

from lab.config import ROOT
from tests.support import guide
from tests.support.waiting import until
from tests.system.test_backup import GUIDE, NAME, PLACE, RUN, VERIFY, typed

VOLUME = guide.section(GUIDE, "The volume was lost")
MACHINES = guide.section(GUIDE, "All machines were lost")
REPLICA_SET = guide.section(GUIDE, "The replica set was lost")
DATA, LOST = "/var/lib/mongodb", "/var/lib/mongodb.lost"
BRICK = "/srv/gluster/shared/brick"
# What a member dies of, and does not come back from.
DAMAGE = f"systemctl kill --signal=KILL mongod; rm {DATA}/WiredTiger {DATA}/WiredTiger.wt"


def archived(cluster, moment):
    """Wait until the archive has everything until a moment."""

    def reach():
        text = cluster.runner("fleet.status")["backup"]["recoverable_until"]
        return datetime.fromisoformat(text)

    until(reach, 90, f"the archive reaches {moment}", wanted=lambda reached: reached >= moment)


def test_a_lost_set_comes_back_with_all_that_was_archived(cluster):
    typed(cluster, RUN)
    name = cluster.runner("backup.list")["backups"][-1]["name"]
    key = str(uuid.uuid4())
    first = cluster.hit("lost-set", key=key).json()["value"]
    traffic = cluster.send("lost-set", 60)
    assert traffic.failures == []
    # The archive's times are whole seconds: one that is after the last hit.
    time.sleep(1.5)
    moment = datetime.now(UTC)
    cluster.hit("other-lost-set").raise_for_status()
    archived(cluster, moment)
    members = cluster.with_role("db")
    for member in members:
        cluster.on(member, "sh", "-c", DAMAGE)
    *before, there, restore = REPLICA_SET
    for line in before:
        typed(cluster, line)
    assert name in typed(cluster, there)
    typed(cluster, restore.replace(NAME, name))
    assert cluster.count("lost-set") == 61
    again = cluster.hit("lost-set", key=key)
    assert (again.json()["value"], cluster.count("lost-set")) == (first, 61)
    assert cluster.send("lost-set", 3).failures == []
    assert cluster.count("lost-set") == 64
    (last,) = cluster.runner("rollout.history", "limit=1")
    assert (last["kind"], last["outcome"]) == ("restore", "succeeded")
    for member in members:
        cluster.on(member, "rm", "-r", LOST)
    cluster.until_whole()
    # Whoever archives the oplog begins anew as well.
    until(
        lambda: cluster.runner("fleet.status").get("failed", []),
        60,
        "the master finds nothing wrong",
        wanted=[],
    )


@pytest.mark.skipif("DRILL_LOST" not in os.environ, reason="make drill loses the volume")
def test_a_lost_volume_is_made_anew_while_hits_are_counted(cluster):
    for node in cluster.with_role("storage"):
        cluster.on(node, "sh", "-c", f"pkill -KILL glusterfsd; rm -r {BRICK}")
    with cluster.traffic("lost-volume") as traffic:
        for line in VOLUME:
            typed(cluster, line)
    assert traffic.failures == []
    assert cluster.count("lost-volume") == len(traffic.values) > 0
    typed(cluster, VERIFY)
    # What went with it is forgotten.
    for name in cluster.runner("backup.list")["missing"]:
        typed(cluster, f"salt-run backup.remove {name} confirm={name}")
    assert cluster.runner("backup.list")["missing"] == []
    cluster.until_whole()
    until(
        lambda: cluster.runner("fleet.status").get("failed", []),
        60,
        "the archive is kept again, and nothing else is wrong",
        wanted=[],
    )


@pytest.mark.skipif("DRILL_LOST" not in os.environ, reason="make drill loses all machines")
def test_all_machines_are_made_anew_and_have_what_the_second_place_had(cluster):
    # What an operator would mount there is kept by this test.
    second = {"second": {"folder": PLACE, "mounted": False}}
    quick = yaml.safe_load((ROOT / "pillar/backup.sls").read_text())["backup"]["archive"]

    def copied():
        cluster.runner("backup.tend")
        until_then = cluster.runner("fleet.status")["backup"]["second_until"]
        return until_then and datetime.fromisoformat(until_then)

    with cluster.changed("backup", **second, archive={**quick, "seal_seconds": 10}):
        cluster.master("mkdir", "-p", PLACE)
        rolled_out(cluster)
        typed(cluster, RUN)
        name = cluster.runner("backup.list")["backups"][-1]["name"]
        key = str(uuid.uuid4())
        first = cluster.hit("all-lost", key=key).json()["value"]
        assert cluster.send("all-lost", 30).failures == []
        # The archive's times are whole seconds: one that is after the last hit.
        time.sleep(1.5)
        moment = datetime.now(UTC)
        cluster.hit("other-all-lost").raise_for_status()
        until(copied, 180, f"the second place has all until {moment}", wanted=lambda t: t > moment)
        kept = cluster.master("sh", "-c", f"tar --create --directory={PLACE} . | base64")

    for line in ("make down", "make up"):
        typed(cluster, line)
    assert cluster.get(cluster.path("all-lost")).status_code == 404
    with cluster.changed("backup", **second):
        cluster.master("mkdir", "-p", PLACE)
        unpack = f"base64 --decode | tar --extract --directory={PLACE}"
        cluster.on(cluster.lab.master.id, "sh", "-c", unpack, stdin=kept)
        rolled_out(cluster)
        there, *lines = MACHINES
        assert name in typed(cluster, there)
        for line in lines:
            typed(cluster, line.replace(NAME, name))
        assert cluster.count("all-lost") == 31
        again = cluster.hit("all-lost", key=key)
        assert (again.json()["value"], cluster.count("all-lost")) == (first, 31)
        assert cluster.send("all-lost", 3).failures == []
        assert cluster.count("all-lost") == 34
    rolled_out(cluster)
    cluster.until_whole()


def rolled_out(cluster):
    code, output = cluster.rollout()
    assert code == 0, output
