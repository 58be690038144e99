"""What the pillar and the states of those that stay say of a node that leaves."""

import copy

import pytest
import yaml

from tests.support import tree as support


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return support.Tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture
def compiled(tree, tmp_path):
    """Compile the highstate of a node, or some SLS, in a fleet that some nodes leave."""

    def compiling(node, *leaving, sls=None):
        document = copy.deepcopy(support.TOPOLOGY)
        document["topologies"]["default"]["leaving"] = list(leaving)
        (tmp_path / "topology.sls").write_text(yaml.safe_dump(document, sort_keys=False))
        grains = support.recorded_grains("debian12", "default", node)
        pillar = tree.pillar("default", node, {"id": node}, roots=(str(tmp_path),))
        assert "_errors" not in pillar
        pillar["release"] = "1.10"
        with tree.compiler(node, grains, pillar) as compiler:
            names = compiler.top() if sls is None else [sls]
            chunks, errors = compiler.chunks(names)
            return pillar, names, chunks, errors

    return compiling


def state(chunks, id_):
    (found,) = (chunk for chunk in chunks if chunk["__id__"] == id_)
    return found


def address(node):
    return support.facts("default", node)["address"]


def test_who_leaves_has_its_secrets_yet_and_nothing_to_apply(compiled):
    pillar, names, chunks, errors = compiled("db-3", "db-2", "db-3")
    assert not errors
    assert names == ["leaving"]
    assert [(chunk["state"], chunk["fun"]) for chunk in chunks] == [("test", "nop")]
    assert pillar["secrets"]["mongodb_admin"]
    assert list(pillar["topology"]["leaving"]) == ["db-2", "db-3"]
    assert "db-3" not in pillar["topology"]["nodes"]


def test_a_role_applied_to_it_by_hand_is_refused(compiled):
    *_, errors = compiled("web-2", "web-2", sls="web")
    assert "'web-2' leaves the topology 'default', so nothing is applied to it" in "".join(errors)


def test_balancers_have_no_server_and_no_peer_that_leaves(compiled):
    _, _, chunks, errors = compiled("lb-1", "web-2", "lb-2")
    assert not errors
    servers = state(chunks, "HAProxy is configured")["context"]["servers"]
    assert list(servers) == ["web-1"]
    assert state(chunks, "keepalived is configured")["context"]["peers"] == []


def test_web_servers_believe_a_balancer_until_it_has_left_and_ask_no_member_that_leaves(
    compiled, tree
):
    pillar, _, _, errors = compiled("web-1", "lb-2", "db-2", "db-3")
    assert not errors
    grains = support.recorded_grains("debian12", "default", "web-1")
    with tree.compiler("web-1", grains, pillar) as compiler:
        text = compiler.template("salt://web/files/counterapp.env.jinja")
    balancers = next(line for line in text.splitlines() if "BALANCERS" in line)
    assert address("lb-2") in balancers
    uri = next(line for line in text.splitlines() if "MONGODB_URI" in line)
    assert address("db-1") in uri
    assert address("db-2") not in uri


def test_the_set_bears_with_a_member_that_leaves(compiled):
    _, _, chunks, errors = compiled("db-1", "db-2", "db-3")
    assert not errors
    declared = state(chunks, "The replica set exists")
    assert declared["members"] == [{"host": f"{address('db-1')}:27017"}]
    assert declared["leaving"] == [f"{address(node)}:27017" for node in ("db-2", "db-3")]


def test_the_volume_lets_go_of_bricks_only_when_their_nodes_leave(compiled):
    _, _, chunks, _ = compiled("db-1")
    assert state(chunks, "The shared volume exists")["remove_bricks"] is False
    _, _, chunks, errors = compiled("db-1", "db-2", "db-3", "web-2")
    assert not errors
    volume = state(chunks, "The shared volume exists")
    assert volume["remove_bricks"] is True
    assert volume["replica"] == 1
    assert [brick.partition(":")[0] for brick in volume["bricks"]] == [address("db-1")]
    # Until its brick has moved, and no longer than it has one.
    allowed = volume["options"]["auth.allow"].split(",")
    assert address("db-3") in allowed
    assert address("web-2") not in allowed
    assert state(chunks, "The storage nodes know each other")["peers"] == [address("db-1")]


def test_everybody_knows_it_by_name_as_long_as_it_is_there(compiled):
    _, _, chunks, _ = compiled("web-1", "web-2")
    context = state(chunks, "Every node knows the others by name")["context"]
    assert "web-2" in context["leaving"]
    assert "web-2" not in context["nodes"]
