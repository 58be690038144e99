"""All machines gone and only the second place left: the set comes back as the archive closed it."""

import pathlib
import shutil

import pytest
from salt.exceptions import CommandExecutionError

from fleet import backups, fetching, keeping, second, segments, volume
from fleet.master import Master
from tests.functional.mongodb.backups import majority
from tests.functional.mongodb.followers import Follower
from tests.functional.mongodb.test_archive import held_by, reaches
from tests.functional.mongodb.test_backup_refusals import flip
from tests.support.waiting import until

NAME = "2026-11-28T031200Z"


@pytest.fixture
def chosen(tmp_path, monkeypatch):
    """The settings of a fleet whose volume and second place are folders."""
    monkeypatch.setattr(volume, "require", lambda path: None)
    for name in ("volume/backups", "volume/oplog", "second"):
        (tmp_path / name).mkdir(parents=True)
    return {
        **{"mount": str(tmp_path / "volume"), "folder": str(tmp_path / "volume/backups")},
        "second": {"folder": str(tmp_path / "second"), "mounted": False},
        "archive": {"enabled": True, "folder": str(tmp_path / "volume/oplog")},
    }


def master(folder):
    (folder / "state").mkdir(parents=True)
    return Master(
        {
            "id": "boss",
            "counterapp_config": str(folder / "config"),
            "counterapp_state": str(folder / "state"),
        }
    )


def closed(oplog):
    return sum("-open-" not in path.name for path in oplog.glob("*/*.bson.gz"))


def test_the_set_comes_back_from_the_second_place_alone(other_source, other, chosen, tmp_path):
    node, oplog = other_source.nodes[0], pathlib.Path(chosen["archive"]["folder"])
    rows = majority(other_source.rs.client(), "shop").rows
    rows.insert_one({"_id": 0})
    follower = Follower(other_source, other_source.rs.members[0], oplog, seal_seconds=0.5)
    try:
        held_by(node, oplog, follower)
        path = pathlib.Path(chosen["folder"]) / NAME
        made = node.backup("dump", path, primary=True)
        for number in range(1, 3):
            before = closed(oplog)
            rows.insert_one({"_id": number})
            until(
                lambda before=before: closed(oplog) > before, 60, "a file of the archive is closed"
            )
        reaches(node, oplog, other_source.rs.client())
        follower.stop()
    finally:
        follower.kill()
    rows.insert_one({"_id": "after the archive"})
    old = master(tmp_path / "old")
    assert second.copy(old, chosen, backups.add(old, backups.SCHEDULED, NAME, made))
    kept = keeping.keep(old, chosen)
    assert kept["copied"] == kept["noted"] >= 2

    shutil.rmtree(chosen["folder"])
    shutil.rmtree(oplog)
    oplog.mkdir()
    new = master(tmp_path / "new")
    assert second.fetch(new, chosen, NAME) == path
    entry = backups.add(new, backups.ADOPTED, NAME, node.backup("info", path))
    told = fetching.fetch(new, chosen, NAME)
    assert 2 <= told["brought"] <= kept["noted"]
    known = segments.known(new, entry)

    def chain(**options):
        options = {"until": told["until"]["time"], "timeline": made["timeline"], **options}
        return other.nodes[0].archive("chain", oplog, made["to"]["time"], **options)["paths"]

    paths = chain(known=list(known))
    # What somebody has put among them: it would be taken, since it reaches furthest at once.
    last = pathlib.Path(paths[-1])
    first_of_all, _ = pathlib.Path(paths[0]).name.split("-")
    forged = last.with_name(f"{first_of_all}-{last.name.partition('-')[2]}")
    shutil.copy(paths[0], forged)
    with pytest.raises(CommandExecutionError, match=f"{forged.name} is damaged"):
        chain()
    assert chain(known=list(known)) == paths
    options = {
        "oplog": paths,
        "target": told["until"]["time"],
        "sha256": entry["sha256"],
        "oplog_sha256": segments.by_path(paths, known),
    }
    assert set(options["oplog_sha256"]) == set(paths)
    with other.rs.client() as client:
        other.nodes[0].backup("restore", path, **options)
        assert {row["_id"] for row in client.shop.rows.find()} == {0, 1, 2}
        flip(last)
        majority(client, "shop").rows.delete_one({"_id": 0})
        options.update(drop=True, confirm="other")
        with pytest.raises(
            CommandExecutionError, match=f"{last.name} is another file than the one"
        ):
            other.nodes[0].backup("restore", path, **options)
        assert {row["_id"] for row in client.shop.rows.find()} == {1, 2}
        last.unlink()
        with pytest.raises(CommandExecutionError, match=f"{last.name} cannot be read: No such"):
            other.nodes[0].backup("restore", path, **options)
        # The second place puts both right.
        assert fetching.fetch(new, chosen, NAME)["brought"] == 1
        other.nodes[0].backup("restore", path, **options)
        assert {row["_id"] for row in client.shop.rows.find()} == {0, 1, 2}
