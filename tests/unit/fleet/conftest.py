"""A master's folders, and a change of its fleet, for tests that need no more of either."""

import pytest

from fleet.change import Change
from fleet.master import Master


@pytest.fixture
def master(tmp_path):
    return Master(
        {
            "id": "boss",
            "cachedir": str(tmp_path / "cache"),
            "counterapp_state": str(tmp_path / "state"),
            "counterapp_config": str(tmp_path / "config"),
        }
    )


@pytest.fixture
def mount(tmp_path):
    """A folder in the place of the shared volume's."""
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


@pytest.fixture
def told():
    """The events that the change has told."""
    return []


@pytest.fixture
def change(master, told):
    with Change(master, "rollout", listeners=(told.append,)) as opened:
        yield opened
