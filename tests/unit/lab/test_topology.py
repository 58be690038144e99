"""What a wrong topology is answered with, before anything is made of it."""

import copy

import pytest

from fleet import topology
from lab.config import LabError, load, read_document


@pytest.fixture
def document():
    return copy.deepcopy(read_document())


@pytest.fixture
def nodes(document):
    return document["topologies"]["default"]["nodes"]


@pytest.mark.parametrize("name", ["default", "classic"])
def test_the_topologies_we_ship_are_good(document, name):
    assert topology.problems(document, name) == []


def test_an_unknown_role_is_named(document, nodes):
    nodes["web-1"]["roles"] = ["web", "cache"]
    assert topology.problems(document, "default") == [
        "Node 'web-1' has the unknown role 'cache': use master, web, db, storage, lb."
    ]


def test_a_duplicate_address_names_both_nodes(document, nodes):
    nodes["web-2"]["address"] = nodes["web-1"]["address"]
    (problem,) = topology.problems(document, "default")
    assert "Node 'web-2' has the address 192.168.33.11 of Node 'web-1'" in problem


def test_the_vip_must_not_be_a_nodes_address(document):
    document["topologies"]["default"]["vip"] = "192.168.33.11"
    (problem,) = topology.problems(document, "default")
    assert problem.startswith("The VIP has the address 192.168.33.11 of Node 'web-1'")


def test_an_address_outside_the_network_names_the_network(document, nodes):
    nodes["lb-1"]["address"] = "10.0.0.1"
    (problem,) = topology.problems(document, "default")
    assert "Node 'lb-1' has address 10.0.0.1, outside the network 192.168.33.0/24" in problem


@pytest.mark.parametrize("address", ["192.168.33.0", "192.168.33.1", "192.168.33.255"])
def test_addresses_that_are_not_for_nodes_are_refused(document, nodes, address):
    nodes["lb-1"]["address"] = address
    (problem,) = topology.problems(document, "default")
    assert "reserved" in problem


@pytest.mark.parametrize("address", ["somewhere", None, 7.5, ["192.168.33.9"]])
def test_what_is_no_address_is_refused(document, nodes, address):
    nodes["lb-1"]["address"] = address
    (problem,) = topology.problems(document, "default")
    assert "give it an IPv4 address" in problem


@pytest.mark.parametrize("role", ["web", "db", "storage", "lb", "master"])
def test_a_role_nobody_has_is_named(document, nodes, role):
    for node in nodes.values():
        node["roles"] = [r for r in node["roles"] if r != role] or ["web"]
    if role == "web":
        for node_id in ("web-1", "web-2"):
            del nodes[node_id]
    problems = topology.problems(document, "default")
    assert f"Topology 'default' has no {role} node: give a node the role '{role}'." in problems


def test_an_even_replica_set_is_refused(document, nodes):
    nodes["db-3"]["roles"] = ["storage"]
    (problem,) = topology.problems(document, "default")
    assert "2 db nodes" in problem


def test_two_masters_are_refused(document, nodes):
    nodes["web-1"]["roles"] = ["web", "master"]
    assert "Topology 'default' has 2 masters: keep one." in topology.problems(document, "default")


def test_unknown_platforms_and_sizes_are_named(document, nodes):
    nodes["web-1"].update(lab="debian7", memory=0, cpus="two")
    problems = " ".join(topology.problems(document, "default"))
    assert "unknown platform 'debian7' for `lab`" in problems
    assert "memory 0" in problems
    assert "cpus 'two'" in problems


@pytest.mark.parametrize("node_id", ["Web-1", "web_1", "-web", "web.1", 7])
def test_node_ids_are_host_names(document, nodes, node_id):
    nodes[node_id] = nodes.pop("web-1")
    assert f"Node ID {node_id!r} is not a host name" in topology.problems(document, "default")[0]


@pytest.mark.parametrize("network", ["192.168.33.7/24", "192.168.33.0/40", "", None, 5.5])
def test_what_is_no_network_is_refused(document, network):
    document["topologies"]["default"]["network"] = network
    assert any("write it as 192.168.33.0/24" in p for p in topology.problems(document, "default"))


def test_a_public_network_is_refused(document, nodes):
    document["topologies"]["default"]["network"] = "8.8.8.0/24"
    assert "public" in topology.problems(document, "default")[0]


def test_an_unknown_topology_names_the_known_ones():
    with pytest.raises(LabError, match="set TOPOLOGY to one of classic, default"):
        load(topology_name="huge")


@pytest.mark.parametrize("document", [None, [], {}, {"topologies": {"default": {}}}])
def test_a_file_of_another_shape_is_refused(document):
    assert topology.problems(document, "default")


def test_a_lab_name_that_podman_would_not_take_is_refused():
    with pytest.raises(LabError, match="LAB is 'My Lab'"):
        load(name="My Lab")


def test_moving_a_lab_keeps_the_host_part_of_every_address():
    lab = load(name="elsewhere", network="192.168.77.0/24")
    assert lab.vip == "192.168.77.200"
    assert lab.node("db-1").address == "192.168.77.14"


@pytest.mark.parametrize("network", ["192.168.77.0/25", "8.8.8.0/24", "home"])
def test_a_lab_cannot_be_moved_to_a_network_of_another_kind(network):
    with pytest.raises(LabError, match="LAB_NETWORK"):
        load(name="elsewhere", network=network)


def test_an_unknown_node_names_the_known_ones():
    with pytest.raises(LabError, match="no node 'web-9': use one of master, web-1"):
        load().node("web-9")


class TestLeaving:
    @pytest.fixture
    def leave(self, document):
        def leaving(*nodes):
            document["topologies"]["default"]["leaving"] = list(nodes)
            return topology.problems(document, "default")

        return leaving

    def test_a_node_that_leaves_is_among_the_nodes_no_longer(self, document, leave):
        assert leave("web-2") == []
        chosen = topology.select(document, "default")
        assert "web-2" not in chosen["nodes"]
        assert list(chosen["leaving"]) == ["web-2"]
        assert chosen["leaving"]["web-2"]["roles"] == ["web"]
        assert topology.with_role(chosen, "web") == ["web-1"]

    def test_without_such_a_node_nobody_leaves(self, document):
        assert topology.select(document, "default")["leaving"] == {}

    def test_the_master_never_leaves(self, leave):
        (problem,) = leave("master")
        assert "the master 'master', which never leaves" in problem

    def test_who_is_not_there_cannot_leave(self, leave):
        (problem,) = leave("web-9")
        assert "'web-9', which is not among its nodes" in problem

    def test_it_is_a_list(self, document):
        document["topologies"]["default"]["leaving"] = "web-2"
        (problem,) = topology.problems(document, "default")
        assert "give it a list of node IDs" in problem

    def test_those_that_stay_must_be_enough(self, leave):
        assert leave("web-1", "web-2") == [
            "Topology 'default' has no web node: give a node the role 'web'."
        ]
        even, two = leave("db-3")
        assert "has 2 db nodes: a replica set wants an odd number" in even
        assert "has 2 storage nodes: a volume wants one brick, or three" in two
        assert leave("db-2", "db-3") == []
