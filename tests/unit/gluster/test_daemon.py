"""A restart of a node's daemons, and the wait for its clients."""

import copy

import pytest
from salt.exceptions import CommandExecutionError

from tests.support.loading import load

daemon = load("_modules/gluster_daemon.py")
mount = load("_modules/gluster_mount.py")
MODULES = [daemon, mount]
UTILS = ["gluster", "gluster_mount", "gluster_node"]

UUIDS = ["00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"]
OWN = "db-1:/bricks/a"


class Node:
    """What runs on db-1, of a volume with a copy there and one on db-2."""

    def __init__(self):
        self.info = {
            "name": "shared",
            "replica": 2,
            "disperse": 0,
            "bricks": [
                {"name": f"db-{number}:/bricks/a", "uuid": uuid}
                for number, uuid in enumerate(UUIDS, 1)
            ],
        }
        self.pids = {OWN: 100, "db-2:/bricks/a": 200}
        self.reasons = []
        self.done = []
        self.fails = set()
        self.outlives = False
        self.silent = 2
        self.mounted = True

    def run_all(self, argv, python_shell=True, ignore_retcode=False):
        assert python_shell is False
        if argv[0] == "systemctl":
            self.done.append(argv[1])
            if argv[1] == "start" and not self.outlives:
                self.pids[OWN] += 1
            failed = argv[1] in self.fails
            return {"retcode": int(failed), "stdout": "", "stderr": "no" if failed else ""}
        text = f"<uuidGenerate><uuid>{UUIDS[0]}</uuid></uuidGenerate>"
        stdout = f"<cliOutput><opRet>0</opRet><opErrno>0</opErrno>{text}</cliOutput>"
        return {"retcode": 0, "stdout": stdout, "stderr": ""}

    def status(self, _volume):
        return {"bricks": [{"name": name, "pid": pid} for name, pid in self.pids.items()]}

    def hindrances(self, _volume, dropped):
        assert dropped == [OWN]
        return self.reasons

    def volumes(self):
        self.silent -= 1
        if self.silent > 0:
            raise CommandExecutionError("Connection failed")
        return ["shared"]


@pytest.fixture
def node():
    return Node()


@pytest.fixture
def configure_loader_modules(node, utils_of):
    dunders = {
        "__utils__": utils_of(UTILS),
        "__salt__": {
            "cmd.run_all": node.run_all,
            "config.get": lambda _key, default: default,
            "gluster.info": lambda _volume: copy.deepcopy(node.info),
            "gluster.status": node.status,
            "gluster.hindrances": node.hindrances,
            "gluster.volumes": node.volumes,
            "gluster.wait_online": lambda *_: node.done.append("online"),
        },
    }
    return dict.fromkeys(MODULES, dunders)


def test_everything_is_restarted_and_its_bricks_are_waited_for(node):
    node.fails = {"reset-failed", "kill"}
    assert daemon.restart("shared") == [OWN]
    assert node.done == ["reset-failed", "kill", "stop", "start", "online"]
    assert node.silent == 0


def test_one_that_others_need_is_left_alone(node):
    node.reasons = ["brick db-2:/bricks/a is offline"]
    with pytest.raises(CommandExecutionError, match="which others need: brick db-2"):
        daemon.restart("shared")
    assert node.done == []


def test_a_volume_without_copies_is_restarted_as_it_is(node):
    node.info["replica"] = 1
    node.reasons = ["nobody else has it"]
    assert daemon.restart("shared") == [OWN]


def test_a_node_without_bricks_has_its_glusterd_restarted(node):
    node.info["bricks"] = node.info["bricks"][1:]
    assert daemon.restart("shared") == []
    assert node.done[-1] == "start"


def test_a_glusterd_that_does_not_start_is_told(node):
    node.fails = {"start"}
    with pytest.raises(CommandExecutionError, match="systemctl start glusterd: no"):
        daemon.restart("shared")


def test_a_glusterd_that_does_not_answer_is_told(node):
    node.silent = 10**6
    with pytest.raises(CommandExecutionError, match="Connection failed"):
        daemon.restart("shared", timeout=0.05)


def test_a_brick_that_was_not_restarted_is_told(node):
    node.outlives = True
    with pytest.raises(CommandExecutionError, match="db-1:/bricks/a: its process has outlived"):
        daemon.restart("shared")


# Clients


@pytest.fixture
def point(tmp_path, monkeypatch):
    """A mount whose client tells of its connections to three bricks."""
    active = tmp_path / ".meta/graphs/active"
    for name in ("shared-client-0", "shared-client-1", "shared-client-2", "shared-replicate-0"):
        (active / name).mkdir(parents=True)
        (active / name / "private").write_text("[xlator]\nconnected = 1\n")
    monkeypatch.setattr(mount, "mount_status", lambda _path: {"mounted": True})
    return tmp_path


def test_a_client_that_reaches_all_bricks_is_connected(point):
    (point / ".meta/graphs/active/shared-replicate-0/private").write_text("child_up[0] = 1\n")
    assert mount.wait_connected(str(point), timeout=0) is True


def test_a_client_without_a_brick_is_waited_for(point):
    (point / ".meta/graphs/active/shared-client-1/private").write_text("connected = 0\n")
    with pytest.raises(CommandExecutionError, match="has no connection as shared-client-1"):
        mount.wait_connected(str(point), timeout=0.05)


def test_a_mount_that_nobody_serves_is_told(point):
    (point / ".meta").rename(point / "gone")
    with pytest.raises(CommandExecutionError, match="cannot be looked into: No such file"):
        mount.wait_connected(str(point), timeout=0.05)


def test_where_nothing_is_mounted_nobody_has_to_connect(point, monkeypatch):
    monkeypatch.setattr(mount, "mount_status", lambda _path: {"mounted": False})
    assert mount.wait_connected(str(point)) is False
