"""Secrets that become others while clients hit: nothing fails, and the old ones are refused."""

import json
import os
from contextlib import contextmanager

import pytest
import yaml

from lab import machines
from tests.support import guide
from tests.support.waiting import until
from tests.system.test_secrets import DIRECTORY, SEARCH

#: Two to three minutes each: `make drill` tries all secrets.
drilled = pytest.mark.skipif(
    "DRILL_SECRETS" not in os.environ, reason="make drill rotates all secrets"
)
LIST, DRY, ROTATE = guide.section("docs/operating.md", "Rotate a secret")
MARK = "/var/lib/counterapp/secret_rotation.json"
# Run on a member, which is asked as it is: says of each login on its standard input whether it is
# let in.
LOGIN = """
import json, sys
import pymongo
for user, database, password in json.load(sys.stdin):
    options = dict(directConnection=True, username=user, password=password, authSource=database,
        authMechanism="SCRAM-SHA-256")
    with pymongo.MongoClient("127.0.0.1", 27017, **options) as client:
        try:
            client.admin.command("ping")
            print("in")
        except pymongo.errors.OperationFailure as error:
            assert error.code == 18, error
            print("refused")
"""


# Run on a node: whether a listener takes a certificate, which comes with its key on the standard
# input. Who is taken is kept, until it has had its time.
TAKEN = """
file=$(mktemp) && cat >"$file"
tail -f /dev/null | timeout 5 openssl s_client -cert "$file" -key "$file" \
    -CAfile /etc/ssl/glusterfs.ca -verify_return_error -connect "$1" 2>&1
rm "$file"
"""


def secret(cluster, name):
    """Return what nodes have; of a key for Gluster the line that tells it from every other."""
    if name == "gluster_tls_authority":
        return cluster.master("cat", f"{DIRECTORY}/{name}.pem").splitlines()[2]
    if name == "gluster_tls":
        return certificate(cluster)["key"].splitlines()[2]
    return yaml.safe_load(cluster.master("cat", f"{DIRECTORY}/{name}.sls"))["secrets"][name]


def certificate(cluster):
    """Return the key and certificate of a storage node, and the authority that it trusts."""
    keeper = cluster.with_role("storage")[0]
    text = cluster.master("cat", f"{DIRECTORY}/gluster_tls/{keeper}.sls")
    return yaml.safe_load(text)["secrets"]["gluster_tls"]


def let_in(cluster, member, *logins):
    words = ["/opt/salt/bin/python", "-c", LOGIN]
    return cluster.on(member, *words, stdin=json.dumps(logins)).split()


@contextmanager
def rotated(cluster, name):
    """Look at a fleet before and after a block in which a secret becomes another."""
    old = secret(cluster, name)
    with (
        cluster.traffic(f"rotate-{name}") as plain,
        cluster.traffic(f"rotate-{name}-keyed", keyed=True) as keyed,
    ):
        yield old
    for counter, traffic in ((f"rotate-{name}", plain), (f"rotate-{name}-keyed", keyed)):
        assert traffic.failures == []
        assert sorted(traffic.values) == list(range(1, len(traffic.values) + 1))
        assert cluster.count(counter) == len(traffic.values) > 0
    new = secret(cluster, name)
    assert new != old
    (last,) = cluster.runner("rollout.history", "limit=1")
    assert (last["kind"], last["secret"], last["outcome"]) == ("rotation", name, "succeeded")
    listed = cluster.runner("secret.list")[name]
    assert (listed["rotated"], listed["days"], listed["unfinished"]) == (last["id"], 0, False)
    # What is declared is what runs.
    for node, states in cluster.salt("*", "state.highstate").items():
        assert isinstance(states, dict), (node, states)
        changed = [each["__id__"] for each in states.values() if each["changes"]]
        assert (node, changed) == (node, [])
        assert all(each["result"] for each in states.values()), node
    for node in cluster.lab.nodes:
        found = cluster.on(node.id, "python3", "-c", SEARCH, stdin=f"{old}\n{new}")
        assert found.splitlines() == [], node.id
    assert not [value for value in (old, new) if value in "\n".join(cluster.printed)]
    cluster.until_whole()


def test_the_applications_password_by_a_master_that_dies_half_way(cluster):
    before = cluster.typed(LIST)
    assert before.code == 0, before.text
    dry = cluster.typed(DRY)
    assert dry.code == 0, dry.text
    assert "make a second user" in dry.text
    member = cluster.with_role("db")[0]
    with rotated(cluster, "mongodb_app") as old:
        run = machines.popen_on_node(cluster.lab, cluster.lab.master.id, ROTATE.split())

        def gone_over():
            assert run.poll() is None, run.communicate()
            return cluster.master("cat", MARK, check=False)

        until(gone_over, 180, "a web server has gone over", wanted=lambda text: "go over" in text)
        cluster.master("pkill", "-KILL", "-f", "secret.rotate", check=False)
        run.communicate()
        # Both are good, and nothing else begins.
        assert let_in(cluster, member, ("counterapp", "counterapp", old)) == ["in"]
        code, output = cluster.rollout()
        assert code != 0
        assert "the rotation of mongodb_app has not come to its end" in output
        status = cluster.runner("fleet.status")
        assert any("salt-run secret.rotate mongodb_app" in each for each in status["failed"])
        done = cluster.typed(ROTATE)
        assert done.code == 0, done.text
    users = cluster.salt(member, "mongodb.user_list", "counterapp")[member]
    assert [user["name"] for user in users] == ["counterapp-b"]
    new = secret(cluster, "mongodb_app")
    logins = [("counterapp", "counterapp", old), ("counterapp-b", "counterapp", old)]
    assert let_in(cluster, member, *logins) == ["refused", "refused"]
    assert let_in(cluster, member, ("counterapp-b", "counterapp", new)) == ["in"]


@drilled
def test_the_key_of_the_replica_set(cluster):
    with rotated(cluster, "mongodb_keyfile") as old:
        done = cluster.typed("salt-run secret.rotate mongodb_keyfile")
        assert done.code == 0, done.text
    new = secret(cluster, "mongodb_keyfile")
    for member in cluster.with_role("db"):
        logins = [("__system", "local", key) for key in (old, new)]
        assert let_in(cluster, member, *logins) == ["refused", "in"], member


@drilled
@pytest.mark.parametrize("name", ["mongodb_admin", "mongodb_backup"])
def test_who_is_at_home_in_the_database_alone(cluster, name):
    user = name.removeprefix("mongodb_")
    with rotated(cluster, name) as old:
        done = cluster.typed(f"salt-run secret.rotate {name}")
        assert done.code == 0, done.text
    member = cluster.with_role("db")[0]
    logins = [(user, "admin", old), (f"{user}-b", "admin", secret(cluster, name))]
    assert let_in(cluster, member, *logins) == ["refused", "in"]


@drilled
def test_the_operators_key(cluster):
    def asked():
        words = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}"]
        header = ["--header", "@/var/lib/counterapp/operator.header"]
        address = f"{cluster.url}/api/v1/counters?limit=1"
        # The web servers take turns.
        return {cluster.master(*words, *header, address).strip() for _ in range(4)}

    cluster.master("salt-run", "operator.token")
    assert asked() == {"200"}
    with rotated(cluster, "counterapp_operator"):
        done = cluster.typed("salt-run secret.rotate counterapp_operator")
        assert done.code == 0, done.text
        assert asked() == {"401"}
        cluster.master("salt-run", "operator.token")
        assert asked() == {"200"}


def listeners(cluster):
    """Return address and port of every glusterd and every brick."""
    keeper = cluster.with_role("storage")[0]
    bricks = cluster.salt(keeper, "gluster.status", "shared")[keeper]["bricks"]
    found = [(brick["host"], brick["port"]) for brick in bricks]
    return [*found, *((host, 24007) for host, _port in found)]


@drilled
@pytest.mark.parametrize(
    ("name", "old_is"),
    [("gluster_tls", "Verification: OK"), ("gluster_tls_authority", "alert unknown ca")],
)
def test_glusters_certificates(cluster, name, old_is):
    before = certificate(cluster)
    with rotated(cluster, name):
        done = cluster.typed(f"salt-run secret.rotate {name}")
        assert done.code == 0, done.text
    after = certificate(cluster)
    assert (after["ca"] == before["ca"]) is (name == "gluster_tls")
    for host, port in listeners(cluster):
        words = ["sh", "-c", TAKEN, "sh", f"{host}:{port}"]
        for files, wanted in ((before, old_is), (after, "Verification: OK")):
            said = cluster.on("web-1", *words, stdin=files["key"] + files["certificate"])
            assert wanted in said, (host, port, said)
            assert ("alert" in said) is (wanted != "Verification: OK"), said
    for node in cluster.lab.nodes:
        assert "releases" in cluster.on(node.id, "ls", "/srv/shared"), node.id
