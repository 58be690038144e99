"""What turns bad on the way is put back by the rollout itself: one node has it, nobody notices."""

import contextlib
import json
import os
import shutil
import subprocess
import sys

import pytest

from lab import machines, up
from lab.config import ROOT
from tests.support.waiting import until
from tests.system.conftest import BAD, LEAKING

_ASKED = '''        """Return None when traffic may come'''
_REFUSES = """        if self._node == "web-2":
            return "this release is never ready on web-2"
"""
_LEAKS = """
import itertools

_whole, _number = app.wsgi_app, itertools.count(1)


def _leaking(environ, start_response):
    # Every twentieth hit fails.
    if environ["REQUEST_METHOD"] == "POST" and next(_number) % 20 == 0:
        start_response("500 Internal Server Error", [("Content-Length", "0")])
        return []
    return _whole(environ, start_response)


app.wsgi_app = _leaking
"""
#: A checkout of the master's own, in which the tests change what no setting changes.
TREE, CONF = "/root/tree", "/etc/salt/master.d/zz-tree.conf"


def build(folder, version, **edits):
    """Build a release as any other, of a back end in which modules were edited."""
    tree = folder / "tree"
    shutil.copytree(ROOT / "app", tree / "app", ignore=shutil.ignore_patterns("node_modules"))
    shutil.copytree(ROOT / "pillar", tree / "pillar")
    for each in ("build", "app/frontend/node_modules"):
        (tree / each).symlink_to(ROOT / each)
    for module, edit in edits.items():
        path = tree / "app/backend/src/counterapp" / f"{module}.py"
        before = path.read_text()
        path.write_text(edit(before))
        assert path.read_text() != before, f"{module}.py is not what this test knows"
    subprocess.run(
        [sys.executable, tree / "app/build_release.py", "--version", version, "--out", up.DIST],
        env={**os.environ, "SOURCE_DATE_EPOCH": "0"},
        check=True,
    )
    return version


def never_ready_on_one(text):
    before, asked, after = text.partition(_ASKED)
    docstring, quotes, body = after.partition('"""\n')
    return before + asked + docstring + quotes + _REFUSES + body if asked else text


@pytest.fixture
def tree(cluster):
    """A checkout of the master's own, from which the next rollouts are made."""
    cluster.master("cp", "-aL", "/srv/counterapp/.", TREE)
    conf = json.dumps({"counterapp_tree": TREE})
    cluster.on(cluster.lab.master.id, "tee", CONF, stdin=conf)
    yield TREE
    cluster.master("rm", "-rf", CONF, TREE)


def files(cluster, node, *paths):
    return cluster.on(node, "sha256sum", *paths)


def running(cluster, role, unit):
    """Return since when a unit runs on each node of a role."""
    return {
        node: cluster.on(node, "systemctl", "show", unit, "--property=ActiveEnterTimestamp,MainPID")
        for node in cluster.with_role(role)
    }


@contextlib.contextmanager
def unnoticed(cluster, counter):
    """Have hits sent all the while, none of which may fail, be lost or be counted twice."""
    with cluster.traffic(counter) as traffic:
        yield traffic
    assert traffic.failures == []
    assert cluster.count(counter) == len(traffic.values) > 0
    assert len(set(traffic.values)) == len(traffic.values)


def undone(cluster, stage, words):
    """Assert how the last change ended, and return its line of the history."""
    (last,) = cluster.runner("rollout.history", "limit=1")
    assert last["outcome"] == "undone", last
    assert last["failed"]["stage"] == stage, last
    assert words in " ".join(last["failed"]["reason"]), last
    cluster.until_whole()
    return last


def test_a_release_that_is_never_ready_on_one_node_is_taken_back_on_all(cluster, tmp_path):
    bad = build(tmp_path, BAD, readiness=never_ready_on_one)
    before = cluster.salt("roles:web", "counterapp.current", kind="grain")
    # What is never ready is given up sooner; what is, was never seen to take ten seconds.
    with cluster.changed("web", ready_timeout=25), unnoticed(cluster, "undo") as traffic:
        code, output = cluster.rollout(bad)
    assert code != 0
    assert "this release is never ready on web-2" in output
    undone(cluster, "web", "this release is never ready on web-2")
    assert cluster.salt("roles:web", "counterapp.current", kind="grain") == before
    assert set(traffic.nodes) == set(cluster.with_role("web"))


def test_a_release_that_leaks_errors_gets_no_further_than_its_canary(cluster, tmp_path):
    leaking = build(
        tmp_path,
        LEAKING,
        wsgi=lambda text: text + _LEAKS,
        # Plain hits have a way of their own, past the application.
        shortcut=lambda text: text.replace(
            "def plain_hit(data: bytes) -> Hit | None:\n",
            "def plain_hit(data: bytes) -> Hit | None:\n    return None\n\n\n"
            "def _plain_hit(data: bytes) -> Hit | None:\n",
        ),
    )
    before = cluster.salt("roles:web", "counterapp.current", kind="grain")
    code, output = cluster.rollout(leaking)
    assert code != 0, output
    last = undone(cluster, "web", "canary")
    assert len(last["touched"]["web"]) == 1
    assert cluster.salt("roles:web", "counterapp.current", kind="grain") == before


def test_a_setting_with_which_the_database_does_not_start_stops_one_member(cluster, tree):
    before = running(cluster, "db", "mongod")
    conf = {node: files(cluster, node, "/etc/mongod.conf") for node in before}
    cluster.master("sed", "-i", "$a noSuchSetting: 1", f"{tree}/salt/db/files/mongod.conf.jinja")
    with unnoticed(cluster, "undo-db"):
        code, output = cluster.rollout()
    assert code != 0, output
    last = undone(cluster, "db", "mongod")
    (touched,) = last["touched"]["db"]
    after = running(cluster, "db", "mongod")
    assert [node for node in before if before[node] != after[node]] == [touched]
    assert conf == {node: files(cluster, node, "/etc/mongod.conf") for node in before}


def test_a_balancer_that_reaches_no_server_is_put_back_before_it_gets_the_address(cluster, tree):
    path = "/etc/haproxy/haproxy.cfg"
    before = {node: files(cluster, node, path) for node in cluster.with_role("lb")}
    template = f"{tree}/salt/lb/files/haproxy.cfg.jinja"
    cluster.master("sed", "-i", r"s/uri-lf \/gets/uri-lf \/no/", template)
    with unnoticed(cluster, "undo-lb"):
        code, output = cluster.rollout()
    assert code != 0, output
    last = undone(cluster, "lb", "is DOWN")
    assert len(last["touched"]["lb"]) == 1
    assert before == {node: files(cluster, node, path) for node in before}


def test_going_back_is_one_command_and_a_highstate_meanwhile_changes_nothing(cluster):
    with cluster.changed("mongodb", cache_gb=0.28):
        code, output = cluster.rollout()
        assert code == 0, output
        (there,) = cluster.runner("rollout.history", "limit=1")
        members = running(cluster, "db", "mongod")
        command = ["salt-run", "rollout.rollback", "--out=json"]
        rollback = machines.popen_on_node(cluster.lab, cluster.lab.master.id, command)
        try:
            until(
                lambda: running(cluster, "db", "mongod") != members or rollback.poll() is not None,
                200,
                "a member was restarted",
            )
            # The members wait for their turns, so they are neither here nor there.
            answers = cluster.salt("*", "state.apply", "queue=True")
        finally:
            output, _ = rollback.communicate()
        assert rollback.returncode == 0, output
    for node, states in answers.items():
        changed = [s["__id__"] for s in states.values() if s["changes"]]
        assert changed == [], (node, changed)
    (last,) = cluster.runner("rollout.history", "limit=1")
    assert (last["outcome"], last["kind"]) == ("succeeded", "rollback")
    assert (last["from"], last["to"]) == (there["to"], there["from"])
    cluster.until_whole()
