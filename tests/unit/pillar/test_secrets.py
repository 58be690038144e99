"""Who gets which secret: by minion ID and by nothing else."""

import json
import types

import pytest
import yaml

from fleet import secret_files
from fleet.master import Master
from fleet.rotation import users
from tests.support import tree as support

NEEDED = {
    "db": {
        "mongodb_admin",
        "mongodb_app",
        "mongodb_backup",
        "mongodb_health",
        "mongodb_keyfile",
    },
    "web": {"counterapp_operator", "mongodb_app"},
    "lb": {"https_certificate"},
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return support.Tree(tmp_path_factory.mktemp("tree"))


def compiled(tree, topology, node, **grains):
    known = grains or support.recorded_grains("debian12", topology, node)
    pillar = tree.pillar(topology, node, known)
    assert "_errors" not in pillar, pillar["_errors"]
    return pillar


@pytest.mark.parametrize(("topology", "node"), support.NODES)
def test_each_node_gets_what_its_roles_need(tree, topology, node):
    pillar = compiled(tree, topology, node)
    roles = support.facts(topology, node)["roles"]
    wanted = set().union(*(NEEDED.get(role, set()) for role in roles))
    assert pillar["secrets"] == {
        "gluster_tls": support.tls(node),
        **{name: support.secret(name) for name in wanted},
    }


@pytest.mark.parametrize("node", ["web-1", "lb-1", "master"])
def test_a_claimed_role_gives_nothing(tree, node):
    claimed = {"id": node, "roles": ["db", "storage", "web", "lb", "master"]}
    pillar = compiled(tree, "default", node, **claimed)
    roles = support.facts("default", node)["roles"]
    wanted = set().union(*(NEEDED.get(role, set()) for role in roles))
    assert set(pillar["secrets"]) == {"gluster_tls", *wanted}


@pytest.mark.parametrize("stranger", ["db-9", "db-1.example.org", "xdb-1", "db-11"])
def test_a_stranger_gets_no_secret(tree, stranger):
    pillar = compiled(tree, "default", stranger, id=stranger, roles=["db"])
    assert "secrets" not in pillar


def test_a_node_of_the_other_topology_is_a_stranger(tree):
    pillar = compiled(tree, "classic", "db-2", id="db-2", roles=["db", "storage"])
    assert "secrets" not in pillar


@pytest.mark.parametrize(("topology", "node"), support.NODES)
def test_the_key_of_another_node_goes_nowhere(tree, topology, node):
    text = repr(compiled(tree, topology, node))
    others = {other for _topology, other in support.NODES} - {node}
    assert not [other for other in others if support.tls(other)["key"] in text]


def test_a_secret_that_was_not_made_yet_is_left_to_who_needs_it(tmp_path):
    tree = support.Tree(tmp_path)
    (tree.master_pillar / "secrets/counterapp_operator.sls").unlink()
    pillar = compiled(tree, "default", "web-1")
    assert set(pillar["secrets"]) == {"gluster_tls", "mongodb_app"}
    assert "web" in pillar


def test_what_a_rotation_gives_a_node_comes_last_and_goes_to_that_node_alone(tmp_path):
    tree = support.Tree(tmp_path)
    own = tree.master_pillar / "secrets/own/web-1.sls"
    own.parent.mkdir()
    given = {"mongodb": {"app_user": "counterapp-b"}, "secrets": {"mongodb_app": "a new one"}}
    own.write_text(json.dumps(given, indent=1))
    pillar = compiled(tree, "default", "web-1")
    assert pillar["mongodb"]["app_user"] == "counterapp-b"
    assert pillar["secrets"] == {
        "gluster_tls": support.tls("web-1"),
        "counterapp_operator": support.secret("counterapp_operator"),
        "mongodb_app": "a new one",
    }
    other = compiled(tree, "default", "web-2")
    assert other["mongodb"]["app_user"] == "counterapp"
    assert other["secrets"]["mongodb_app"] == support.secret("mongodb_app")


def test_the_second_user_follows_the_name_that_is_declared(tmp_path, monkeypatch):
    """What a rotation writes is rendered by Salt itself."""
    tree = support.Tree(tmp_path)
    folder = tree.master_pillar / "secrets"
    master = Master({"counterapp_config": str(tmp_path), "counterapp_state": str(tmp_path)})
    monkeypatch.setattr(Master, "notes", property(lambda _: tree.master_pillar))
    monkeypatch.setattr(users.pillar, "of_node", lambda *_: compiled(tree, "default", "db-1"))

    class Work:
        target = types.SimpleNamespace(pillars=[])

        def with_role(self, _role):
            return ["db-1"]

    kind = users.User("mongodb_app", "app_user", "app_database")
    known = kind.begin(types.SimpleNamespace(work=Work(), master=master))
    assert known == {"old": "counterapp", "new": "counterapp-b", "database": "counterapp"}
    secret_files.copy(master, "mongodb_app", "coming", "")
    pillar = compiled(tree, "default", "web-1")
    assert pillar["mongodb"]["app_user"] == "counterapp-b"
    assert pillar["secrets"]["mongodb_app"] != support.secret("mongodb_app")
    known = kind.begin(types.SimpleNamespace(work=Work(), master=master))
    assert (known["old"], known["new"]) == ("counterapp-b", "counterapp")
    secret_files.copy(master, "mongodb_app", "coming", "")
    assert "mongodb" not in yaml.safe_load((folder / "mongodb_app.sls").read_text())


def test_a_key_of_backups_goes_to_the_database_alone(tmp_path):
    tree = support.Tree(tmp_path)
    for name in ("mongodb_backup_key", "mongodb_backup_old_keys"):
        tree.write_secret(name)
        assert name in compiled(tree, "default", "db-2")["secrets"]
        for other in ("web-1", "lb-1", "master"):
            assert name not in compiled(tree, "default", other)["secrets"]


def test_a_secret_that_an_old_master_still_has_goes_nowhere(tree):
    tree.write_secret("vrrp")
    assert set(compiled(tree, "default", "master")["secrets"]) == {"gluster_tls"}
