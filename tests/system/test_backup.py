"""Backups on nodes: made, proved, copied, brought back, and restored to a second of the past."""

import time

from lab import machines
from tests.support import guide
from tests.support.waiting import until
from tests.system.test_failures import primary
from tests.system.test_secrets import DIRECTORY

GUIDE = "docs/operating.md"
LIST, RUN, VERIFY, DRILL = guide.section(GUIDE, "Back up and restore")[:4]
DRY, RESTORE = guide.section(GUIDE, "Counters were lost")
THERE, FETCH = guide.section(GUIDE, "A second place for backups")
#: Of the guide's commands.
TARGET, NAME = "2026-11-28T03:12:00Z", "2026-11-28T031200Z"
PLACE = "/mnt/second"
# Run on a member: what somebody does by mistake.
DROP = """
import sys, pymongo, yaml
password = yaml.safe_load(sys.stdin)["secrets"]["mongodb_admin"]
with pymongo.MongoClient("127.0.0.1", 27017, username="admin", password=password) as client:
    client.drop_database("counterapp")
"""


def typed(cluster, line):
    done = cluster.typed(line)
    assert done.code == 0, done.text
    return done.text


def test_a_dropped_database_is_as_it_was_the_second_before(cluster):
    typed(cluster, RUN)
    traffic = cluster.send("lost", 40)
    assert traffic.failures == []
    typed(cluster, VERIFY)
    assert "counterapp.counters" in typed(cluster, DRILL)
    # A second with nothing in it on either side.
    time.sleep(1.5)
    target = cluster.master("date", "-u", "+%Y-%m-%dT%H:%M:%SZ").strip()
    time.sleep(1.5)
    cluster.send("lost", 7)
    member = primary(cluster)
    secret = cluster.master("cat", f"{DIRECTORY}/mongodb_admin.sls")
    cluster.on(member, "/opt/salt/bin/python", "-c", DROP, stdin=secret)
    assert cluster.count("lost") == 0
    assert "nothing: this is a test" in typed(cluster, DRY.replace(TARGET, target))
    line = RESTORE.replace(TARGET, target)
    code = cluster.typed(line.partition(" confirm=")[0])
    assert code.code == 1
    assert "removes from the replica set rs0" in code.text
    run = machines.popen_on_node(cluster.lab, cluster.lab.master.id, line.split())

    def refused():
        assert run.poll() is None, run.communicate()
        return cluster.hit("lost")

    answer = until(refused, 120, "clients are refused", wanted=lambda each: each.status_code == 503)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0
    output, _ = run.communicate()
    assert run.returncode == 0, output
    assert cluster.count("lost") == 40
    assert cluster.send("lost", 3).failures == []
    assert cluster.count("lost") == 43
    (last,) = cluster.runner("rollout.history", "limit=1")
    assert (last["kind"], last["outcome"], last["target"]) == ("restore", "succeeded", target)
    there = cluster.runner("backup.list")
    kinds = [each["kind"] for each in there["backups"]]
    assert kinds[-2:] == ["before-restore", "scheduled"], there
    assert (there["missing"], there["unknown"], there["problem"]) == ([], [], None)
    cluster.until_whole()


def test_one_is_brought_back_from_the_second_place(cluster):
    cluster.master("mkdir", "-p", PLACE)
    cluster.master("mount", "-t", "tmpfs", "tmpfs", PLACE)
    try:
        with cluster.changed("backup", second={"folder": PLACE}):
            code, output = cluster.rollout()
            assert code == 0, output
            typed(cluster, RUN)
            newest = cluster.runner("backup.list")["backups"][-1]
            assert newest["second"]
            name = newest["name"]
            assert name in typed(cluster, THERE)
            path = f"/srv/shared/backups/{name}"
            member = cluster.with_role("db")[0]
            cluster.salt(member, "mongodb_backup.remove", path, f"confirm={name}")
            assert cluster.runner("backup.list")["missing"] == [name]
            typed(cluster, FETCH.replace(NAME, name))
            typed(cluster, f"{VERIFY} {name}")
            assert cluster.runner("backup.list")["missing"] == []
            typed(cluster, LIST)
    finally:
        code, output = cluster.rollout()
        cluster.master("umount", PLACE)
    assert code == 0, output
