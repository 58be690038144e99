"""A directory on a volume: never below the mount point of a volume that is away."""

import pytest
from salt.exceptions import CommandExecutionError

from tests.support.loading import load

state = load("_states/gluster_mount.py")
failed = load("_utils/gluster.py").failed

PLACE = ("/srv/shared/oplog", "/srv/shared")


@pytest.fixture
def world():
    """What is mounted, and what was asked of ``file.directory``."""
    return {"mounted": True, "made": []}


@pytest.fixture
def configure_loader_modules(world):
    def mount_status(path):
        if isinstance(world["mounted"], Exception):
            raise world["mounted"]
        assert path == PLACE[1]
        return {"mounted": world["mounted"]}

    def directory(name, **settings):
        world["made"].append((name, settings))
        return {"name": name, "result": True, "changes": {name: "New Dir"}, "comment": "made"}

    return {
        state: {
            "__opts__": {"test": False},
            "__salt__": {"gluster.mount_status": mount_status},
            "__states__": {"file.directory": directory},
            "__utils__": {"gluster.failed": failed},
        }
    }


def test_on_a_mounted_volume_it_is_what_the_file_state_makes(world):
    ret = state.directory(*PLACE, mode="0700")
    assert world["made"] == [(PLACE[0], {"user": "root", "group": "root", "mode": "0700"})]
    assert ret["changes"] == {PLACE[0]: "New Dir"}


def test_while_the_volume_is_away_nothing_is_made(world):
    world["mounted"] = False
    ret = state.directory(*PLACE)
    assert not world["made"]
    assert (ret["result"], ret["changes"]) == (True, {})
    assert "/srv/shared is not mounted" in ret["comment"]


def test_a_systemd_that_does_not_answer_is_told(world):
    world["mounted"] = CommandExecutionError("systemctl show: timed out")
    ret = state.directory(*PLACE)
    assert not world["made"]
    assert (ret["result"], ret["comment"]) == (False, "systemctl show: timed out")


@pytest.mark.parametrize(
    "name", ["/srv/sharedness/oplog", "/srv/shared", "/srv/shared/../oplog", "srv/shared/oplog"]
)
def test_a_place_elsewhere_is_refused(world, name):
    ret = state.directory(name, PLACE[1])
    assert ret["result"] is False
    assert f"{name} does not lie below /srv/shared" in ret["comment"]
    assert not world["made"]
