"""A restore begins a timeline, and one that is left half-done is noticed by who needs to know."""

import pytest
from salt.exceptions import CommandExecutionError

from tests.functional.mongodb.backups import majority
from tests.functional.mongodb.conftest import APP_PASSWORD


@pytest.fixture
def made(other_source, tmp_path):
    """A backup with a document."""
    with other_source.rs.client() as client:
        majority(client, "shop").rows.replace_one({"_id": 1}, {"_id": 1}, upsert=True)
    return other_source.nodes[0].backup("dump", tmp_path / "one", primary=True)


@pytest.fixture
def node(other):
    """A minion of a set of one whose timeline is its first."""
    with other.rs.client() as client:
        client.admin.drop_collection("mongodb_backup")
        yield other.nodes[0]
        client.admin.drop_collection("mongodb_backup")


def set_id(cluster):
    with cluster.rs.client() as client:
        config = client.admin.command("replSetGetConfig")["config"]
    return str(config["settings"]["replicaSetId"])


def test_each_restore_begins_a_timeline(made, other_source, other, node, tmp_path):
    assert other_source.nodes[0].backup("state") == {
        "timeline": set_id(other_source),
        "restoring": None,
        "restored": None,
    }
    assert made["timeline"] == set_id(other_source)
    assert node.backup("state")["timeline"] == set_id(other)
    back = node.backup("restore", made["folder"])
    state = node.backup("state")
    assert state["timeline"] == back["timeline"] not in (set_id(other), made["timeline"])
    assert state["restoring"] is None
    assert state["restored"]["backup"] == made["folder"]
    assert state["restored"]["to"] == made["to"]["time"]
    again = node.backup("restore", made["folder"], drop=True, confirm="other")
    assert again["timeline"] != back["timeline"]
    # A dump just after it belongs to what the restore has begun, and does not have the mark.
    dumped = node.backup("dump", tmp_path / "two", primary=True)
    assert dumped["timeline"] == again["timeline"]
    assert list(dumped["collections"]) == ["shop.rows"]
    assert [row["timeline"] for row in node.backup("list", tmp_path)] == [
        made["timeline"],
        again["timeline"],
    ]


def test_a_set_that_is_half_restored_is_kept_by_nobody(made, node, tmp_path, monkeypatch):
    inside = node._modules["mongodb_backup.restore"].__globals__

    def fail(*_):
        raise CommandExecutionError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setitem(inside, "_load_documents", fail)
        with pytest.raises(CommandExecutionError, match="the disk is full"):
            node.backup("restore", made["folder"], target=made["to"]["time"])
    restoring = node.backup("state")["restoring"]
    assert restoring["backup"] == made["folder"]
    assert restoring["target"] == made["to"]["time"]
    assert restoring["since"].endswith("+00:00")
    with pytest.raises(CommandExecutionError, match="the set is half restored: .* restore again"):
        node.backup("dump", tmp_path / "two", primary=True)
    assert not (tmp_path / "two").exists()
    # The next one dies when all is there already, but for the indexes.
    with monkeypatch.context() as patch:
        patch.setitem(inside, "_compare", fail)
        with pytest.raises(CommandExecutionError, match="the disk is full"):
            node.backup("restore", made["folder"])
    assert node.backup("state")["restoring"]
    with pytest.raises(CommandExecutionError, match="has what would be restored"):
        node.backup("restore", made["folder"])
    node.backup("restore", made["folder"], drop=True, confirm="other")
    assert node.backup("state")["restoring"] is None
    node.backup("dump", tmp_path / "two", primary=True)


def test_a_restore_that_is_refused_marks_nothing(made, other, node):
    with other.rs.client() as client:
        majority(client, "shop").rows.insert_one({"_id": "mine"})
    before = node.backup("state")
    for confirm in ({}, {"drop": True, "confirm": "rs0"}, {"target": "4000000000:77"}):
        with pytest.raises(CommandExecutionError):
            node.backup("restore", made["folder"], **confirm)
    assert node.backup("state") == before


def test_a_restore_in_the_middle_of_a_dump_is_noticed(made, other, node, tmp_path, monkeypatch):
    with other.rs.client() as client:
        majority(client, "mine").rows.insert_one({})
    node.meanwhile(monkeypatch, lambda: node.backup("restore", made["folder"]))
    with pytest.raises(CommandExecutionError, match="a restore began or ended at .* dump again"):
        node.backup("dump", tmp_path / "two", primary=True)


def test_the_state_takes_no_more_than_the_page_says(other, node):
    with other.rs.client() as client:
        client.admin.command(
            "createUser", "keeper", pwd=APP_PASSWORD, roles=["backup", "clusterMonitor"]
        )
    keeper = other.node(other.rs.members[0], "keeper", admin_password=APP_PASSWORD, user="keeper")
    try:
        assert keeper.backup("state") == node.backup("state")
    finally:
        with other.rs.client() as client:
            client.admin.command("dropUser", "keeper")
