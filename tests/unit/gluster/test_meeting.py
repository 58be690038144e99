"""Members of a pool that do not see each other yet: who waits for them, and what is told."""

import functools

import pytest
from salt.exceptions import CommandExecutionError

from tests.support.loading import load

meeting = load("_modules/gluster_meeting.py")
pool = load("_modules/gluster_pool.py")
node = load("_modules/gluster_node.py")
brick = load("_modules/gluster_brick.py")
gluster = load("_modules/gluster.py")
MODULES = [gluster, meeting, pool, node, brick]
UTILS = ["gluster", "gluster_declared", "gluster_layout", "gluster_node"]

UUIDS = {f"db-{number}": f"00000000-0000-0000-0000-00000000000{number}" for number in (1, 2, 3)}
PEER = """\
<peer>
  <uuid>{uuid}</uuid><hostname>{host}</hostname>
  <hostnames><hostname>{host}</hostname></hostnames>
  <connected>{connected}</connected><state>3</state><stateStr>{state}</stateStr>
</peer>"""
DONE = "<cliOutput><opRet>0</opRet><opErrno>0</opErrno>{}</cliOutput>"
# What glusterd 11.1 says to one that begins too soon.
NOT_CONNECTED = """\
<cliOutput>
  <opRet>-1</opRet>
  <opErrno>30800</opErrno>
  <opErrstr>Pre Validation failed on db-2. Host db-3 not connected</opErrstr>
</cliOutput>
"""


def view(host, **states):
    """Return what a host's glusterd answers to ``peer status``; "" is a peer that is away."""
    peers = [
        PEER.format(
            uuid=UUIDS[other],
            host=other,
            connected=int(bool(states.get(other.replace("-", "_"), "Peer in Cluster"))),
            state=states.get(other.replace("-", "_")) or "Peer in Cluster",
        )
        for other in UUIDS
        if other != host
    ]
    return DONE.format(f"<peerStatus>{''.join(peers)}</peerStatus>")


class Pool:
    """glusterd of db-3, and what the others answer it; db-2 sees it after some looks."""

    def __init__(self):
        self.asked = []
        self.seen = {
            "db-1": [view("db-1")],
            "db-2": [view("db-2", db_3=""), view("db-2", db_3=""), view("db-2")],
            "db-3": [view("db-3")],
        }
        self.more = {}

    def __call__(self, argv, python_shell=True, ignore_retcode=False):
        words = [word for word in argv if word[0] != "-" or word.startswith("--remote-host=")][1:]
        host = "db-3"
        if words[0].startswith("--remote-host="):
            host = words.pop(0).partition("=")[2]
        self.asked.append(f"{host}: {' '.join(words)}")
        if words == ["peer", "status"]:
            answers = self.seen[host]
            text = answers.pop(0) if len(answers) > 1 else answers[0]
        elif words == ["system::", "uuid", "get"]:
            text = DONE.format(f"<uuidGenerate><uuid>{UUIDS[host]}</uuid></uuidGenerate>")
        elif words == ["volume", "list"]:
            text = DONE.format("<volList><count>0</count></volList>")
        elif len(self.seen["db-2"]) > 1:
            text = NOT_CONNECTED
        else:
            text = DONE.format("")
        return {"retcode": 0, "stdout": text, "stderr": ""}


@pytest.fixture
def daemons():
    return Pool()


@pytest.fixture
def configure_loader_modules(daemons, utils_of, monkeypatch):
    addresses = {host: {f"192.0.2.{host[-1]}"} for host in UUIDS}
    monkeypatch.setattr(pool, "_addresses", lambda host: addresses.get(host, set()))
    monkeypatch.setattr(pool, "_own_addresses", lambda: addresses["db-3"])
    dunders = {
        "__utils__": utils_of(UTILS),
        # Nothing is asked twice here for what it says: the waiting is what is tested.
        "__salt__": {"cmd.run_all": daemons, "config.get": {"gluster.lock_timeout": 0}.get},
    }
    for module in MODULES:
        for name, value in vars(module).items():
            if name[0] != "_" and callable(value):
                dunders["__salt__"][f"gluster.{name}"] = value
    made_of = {
        "name": "shared",
        "id": "0",
        "started": True,
        "replica": 3,
        "disperse": 0,
        "distribute": 1,
        "arbiter": 0,
        "bricks": [
            {"name": f"{host}:/b/shared", "host": host, "path": "/b/shared", "uuid": uuid}
            for host, uuid in UUIDS.items()
        ],
    }
    dunders["__salt__"]["gluster.info"] = lambda volume: made_of
    return dict.fromkeys(MODULES, dunders)


def test_members_are_told_that_do_not_see_others(daemons):
    assert meeting.unmet() == ["db-2 does not see this node (disconnected)"]
    daemons.seen["db-1"] = [view("db-1", db_2="Peer Rejected")]
    assert meeting.unmet() == [
        "db-1 does not see db-2 (Peer Rejected)",
        "db-2 does not see this node (disconnected)",
    ]
    assert meeting.unmet(["db-2"]) == ["db-1 does not see db-2 (Peer Rejected)"]
    assert meeting.unmet(["db-3"]) == []
    daemons.seen["db-1"] = [DONE.format("<peerStatus/>")]
    assert meeting.unmet(["db-3"]) == ["db-1 does not see this node (not a peer)"]
    daemons.seen["db-1"] = [DONE.replace("0<", "1<", 1).format("")]
    assert meeting.unmet(["db-3"]) == [
        "db-1 does not say whom it sees: gluster --remote-host=db-1 peer status: "
        "refused without a reason"
    ]


def test_who_is_not_connected_with_this_node_is_not_waited_for(daemons):
    daemons.seen["db-3"] = [view("db-3", db_2="")]
    assert meeting.wait_met(timeout=0) is True
    assert "db-2: peer status" not in daemons.asked
    daemons.seen["db-3"] = [DONE.format("<peerStatus/>")]
    assert meeting.unmet() == []


def test_who_is_no_member_is_left_to_glusterd(daemons):
    assert meeting.unmet(["db-9"]) == []
    assert meeting.unmet(["db-9", "db-3"]) == ["db-2 does not see this node (disconnected)"]


def test_a_whole_pool_is_asked_for_little(daemons):
    daemons.seen["db-2"] = daemons.seen["db-2"][-1:]
    assert len(pool.wait_peers(["db-1", "db-2", "db-3"], timeout=0)) == 2
    # Each of them takes a node 10 ms of its processor, and three nodes ask at the same time.
    assert sorted(daemons.asked) == [
        "db-1: peer status",
        "db-2: peer status",
        *["db-3: peer status"] * 2,
        "db-3: system:: uuid get",
    ]


def test_who_does_not_see_whom_is_told_when_the_time_is_over(daemons):
    daemons.seen["db-2"] = [view("db-2", db_3="")]
    words = r"the pool is not whole after 0.05 s: db-2 does not see this node \(disconnected\)"
    for wait in (
        meeting.wait_met,
        functools.partial(pool.wait_peers, list(UUIDS)),
        functools.partial(pool.gather, list(UUIDS)),
    ):
        with pytest.raises(CommandExecutionError, match=words):
            wait(timeout=0.05)


def test_a_pool_that_is_not_whole_yet_is_waited_for_beyond_the_time_of_one_that_stays_so(
    daemons, monkeypatch
):
    monkeypatch.setattr(pool, "SETTLE_SECONDS", 0)
    assert len(pool.wait_peers(list(UUIDS), timeout=10)) == 2


@pytest.mark.parametrize("wait", [pool.wait_peers, pool.gather])
def test_a_pool_is_ready_when_its_members_have_met(daemons, wait):
    wait(list(UUIDS), timeout=10)
    assert daemons.asked.count("db-2: peer status") == 3


def test_a_node_is_back_in_its_pool_when_each_member_sees_it(daemons):
    done = node.rejoin("db-1", confirm="db-3", timeout=10)
    assert done["identity"] is False
    assert daemons.asked.count("db-2: peer status") == 3

    daemons.seen["db-2"] = [view("db-2", db_3="")]
    with pytest.raises(CommandExecutionError, match=r"not back in .* db-2 does not see this node"):
        node.rejoin("db-1", confirm="db-3", timeout=0.05)


def test_no_brick_is_begun_before_each_member_sees_its_host(daemons, monkeypatch):
    began = [view("db-2", db_3=""), view("db-2", db_3=""), view("db-2")]
    monkeypatch.setattr(brick, "_check", lambda *_: None)
    three = [f"{host}:/b/new" for host in UUIDS]

    daemons.seen["db-2"] = list(began)
    gluster.create("new", three, replica=3)
    assert f"db-3: volume create new replica 3 {' '.join(three)}" in daemons.asked

    daemons.seen["db-2"] = list(began)
    brick.add_bricks("shared", three)
    assert daemons.asked[-1] == f"db-3: volume add-brick shared {' '.join(three)}"

    daemons.seen["db-2"] = list(began)
    brick.replace_brick("shared", "db-3:/b/shared", "db-3:/b/new")
    assert daemons.asked[-1].startswith("db-3: volume replace-brick shared db-3:/b/shared")


def test_a_brick_is_made_anew_when_each_member_sees_its_node(daemons, monkeypatch, tmp_path):
    name, path = f"db-3:{tmp_path}/brick", tmp_path / "brick"
    made_of = node.__salt__["gluster.info"]("shared")
    made_of["bricks"][2] |= {"name": name, "path": str(path)}
    state = {"bricks": [{**item, "online": item["name"] != name} for item in made_of["bricks"]]}
    monkeypatch.setitem(node.__salt__, "gluster.status", lambda volume: state)
    monkeypatch.setattr(node, "_launch_full_heal", lambda *_: None)
    done = node.reset_brick("shared", name, confirm="shared", timeout=10)
    assert done == {"brick": name, "reason": "its directory is missing"}
    assert daemons.asked[-1] == f"db-3: volume reset-brick shared {name} {name} commit"
    assert daemons.asked.count("db-2: peer status") == 3

    path.rmdir()
    daemons.seen["db-2"] = [view("db-2", db_3="")]
    with pytest.raises(CommandExecutionError, match="db-2 does not see this node"):
        node.reset_brick("shared", name, confirm="shared", timeout=0.05)
    assert not path.exists()
    assert not any("reset-brick" in words for words in daemons.asked[-3:])
