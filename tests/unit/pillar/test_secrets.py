"""Who gets which secret: by minion ID and by nothing else."""

import pytest

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


def test_a_secret_that_an_old_master_still_has_goes_nowhere(tree):
    tree.write_secret("vrrp")
    assert set(compiled(tree, "default", "lb-1")["secrets"]) == {"gluster_tls"}
