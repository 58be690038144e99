"""What the pillar derives from the topology, and what it says when that cannot be had."""

import pytest
import salt.pillar
import yaml

from tests.support import tree as support
from tests.support.loading import load


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return support.Tree(tmp_path_factory.mktemp("tree"))


def compiled(tree, topology, roots=()):
    return tree.pillar(topology, "master", {"id": "master"}, roots)


@pytest.mark.parametrize("topology", sorted(support.TOPOLOGY["topologies"]))
def test_the_selected_topology_is_published_whole(tree, topology):
    pillar = compiled(tree, topology)
    declared = support.TOPOLOGY["topologies"][topology]
    assert pillar["topology"] == {"name": topology, **declared, "leaving": {}}
    # Order matters: the first of a role initiates, or is preferred.
    assert list(pillar["topology"]["nodes"]) == list(
        support.TOPOLOGY["topologies"][topology]["nodes"]
    )


@pytest.mark.parametrize(("storage", "replica"), [(1, 1), (3, 3), (6, 3)])
def test_copies_follow_the_storage_nodes(tree, tmp_path, storage, replica):
    nodes = {
        f"node-{number}": {"address": f"10.9.0.{number}", "roles": ["storage"]}
        for number in range(10, 10 + storage)
    }
    document = {
        "topologies": {"own": {"network": "10.9.0.0/24", "vip": "10.9.0.9", "nodes": nodes}}
    }
    (tmp_path / "topology.sls").write_text(yaml.safe_dump(document))
    # A lab's own topology lies in an earlier pillar root.
    pillar = compiled(tree, "own", (str(tmp_path),))
    assert pillar["gluster"]["replica"] == replica


def test_an_unknown_topology_is_named_with_what_there_is(tree):
    [error, *_] = compiled(tree, "other")["_errors"]
    assert "Topology 'other' does not exist" in str(error)
    assert "classic, default" in str(error)


def test_the_release_of_the_last_rollout_is_published(tree):
    path = tree.master_pillar / "release.sls"
    assert "release" not in compiled(tree, "default")
    path.write_text('release: "1.10"\n')
    try:
        assert compiled(tree, "default")["release"] == "1.10"
    finally:
        path.unlink()


def test_what_a_published_release_is_goes_to_the_nodes(tree):
    load("_utils/release.py").note(tree.master_pillar, "1.10", "0" * 64, 5)
    try:
        note = compiled(tree, "default")["releases"]["1.10"]
        assert (note["sha256"], note["size"]) == ("0" * 64, 5)
    finally:
        (tree.master_pillar / "releases.sls").unlink()


def test_a_node_is_matched_with_its_own_targets_and_nobody_elses(tree, monkeypatch):
    # One for each node of the fleet, each of which matches all, would be the square of them.
    tops = []
    matches = salt.pillar.Pillar.top_matches

    def spy(self, top, *args, **kwargs):
        tops.append(top)
        return matches(self, top, *args, **kwargs)

    monkeypatch.setattr(salt.pillar.Pillar, "top_matches", spy)
    tree.pillar("default", "web-1", {"id": "web-1"})
    tree.pillar("default", "stranger", {"id": "stranger"})
    assert [set(top["base"]) for top in tops] == [{"*", "web-1"}, {"*"}]
