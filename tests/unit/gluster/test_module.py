"""What the execution module adds to the answers: patience, order and confirmation."""

import pytest
from salt.exceptions import CommandExecutionError

from tests.support.loading import load

gluster = load("_modules/gluster.py")
utils = load("_utils/gluster.py")


class Gluster:
    """Plays recorded answers for ``cmd.run_all``: per command a list, its last one for ever."""

    def __init__(self):
        self.answers = {}
        self.asked = []

    def __call__(self, argv, python_shell=True, ignore_retcode=False):
        assert argv[:3] == ["gluster", "--mode=script", "--xml"]
        assert python_shell is False
        words = " ".join(argv[3:])
        self.asked.append(words)
        answers = self.answers[words]
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture
def daemon():
    return Gluster()


@pytest.fixture
def context():
    return {}


@pytest.fixture
def configure_loader_modules(daemon, context, monkeypatch):
    monkeypatch.setattr(gluster.salt.utils.path, "which", lambda command: f"/usr/sbin/{command}")
    monkeypatch.setattr(gluster, "POLL_SECONDS", 0.01)
    functions = {f"gluster.{name}": getattr(utils, name) for name in dir(utils) if name[0] != "_"}
    config = {"gluster.lock_timeout": 0.2}
    return {
        gluster: {
            "__utils__": functions,
            "__context__": context,
            "__salt__": {"cmd.run_all": daemon, "config.get": config.get},
        }
    }


def test_a_locked_glusterd_is_asked_again(daemon, answer):
    locked = answer("set_locked")
    daemon.answers["volume start shared"] = [locked, locked, answer("start")]
    assert gluster.start("shared") is True
    assert len(daemon.asked) == 3


def test_a_lock_that_stays_is_an_error_in_the_end(daemon, answer):
    daemon.answers["volume start shared"] = [answer("set_locked")]
    with pytest.raises(CommandExecutionError, match=r"Another transaction .* \(30802\)"):
        gluster.start("shared")
    assert len(daemon.asked) > 2


def test_other_refusals_are_not_repeated(daemon, answer):
    daemon.answers["volume start shared"] = [answer("start_again")]
    with pytest.raises(CommandExecutionError, match=r"already started \(30800\)"):
        gluster.start("shared")
    assert daemon.asked == ["volume start shared"]


def test_a_missing_command_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(gluster.salt.utils.path, "which", lambda command: None)
    with pytest.raises(CommandExecutionError, match="missing: install glusterfs-server") as raised:
        gluster.peers()
    assert raised.value.answered is False


@pytest.mark.parametrize("confirm", [None, "", "other", True])
def test_delete_wants_the_name_twice(daemon, answer, confirm):
    daemon.answers["volume info shared"] = [answer("info")]
    with pytest.raises(CommandExecutionError, match=r"db-3:/srv/.* say confirm=shared"):
        gluster.delete("shared", confirm=confirm)
    assert daemon.asked == ["volume info shared"]


def test_an_impossible_layout_never_reaches_glusterd(daemon):
    with pytest.raises(CommandExecutionError, match="replica 3"):
        gluster.create("shared", ["a:/b", "b:/b"], replica=3)
    assert daemon.asked == []


def test_create_says_what_it_was_told(daemon, answer):
    words = "volume create arb replica 3 arbiter 1 a:/b b:/b c:/b force"
    daemon.answers = {words: [answer("create")], "volume info arb": [answer("info_arb")]}
    created = gluster.create("arb", ["a:/b", "b:/b", "c:/b"], replica=3, arbiter=1, force=True)
    assert created["name"] == "arb"


def test_options_are_set_in_one_transaction(daemon, answer):
    words = "volume set shared network.ping-timeout 12 cluster.quorum-type auto"
    daemon.answers = {words: [answer("set_multi")], "volume info shared": [answer("info_opts")]}
    options = {"network.ping-timeout": 12, "cluster.quorum-type": "auto"}
    assert gluster.set_options("shared", options) == {
        "network.ping-timeout": "12",
        "cluster.quorum-type": "auto",
    }
    with pytest.raises(CommandExecutionError, match="no option to set"):
        gluster.set_options("shared", {})


def healthy_pool(answer):
    return {
        "volume info shared": [answer("info")],
        "volume status shared": [answer("status")],
        "peer status": [answer("peer_status")],
        "volume heal shared info summary": [answer("heal_summary")],
    }


def test_healthy(daemon, answer, context):
    daemon.answers = healthy_pool(answer)
    assert gluster.healthy("shared") == {"healthy": True, "reasons": []}
    assert "retcode" not in context


def test_unhealthy_with_every_reason(daemon, answer, context):
    daemon.answers = {
        **healthy_pool(answer),
        "volume status shared": [answer("status_down")],
        "peer status": [answer("peer_status_down")],
        "volume heal shared info summary": [answer("heal_summary_killed")],
    }
    found = gluster.healthy("shared")
    assert found["healthy"] is False
    assert found["reasons"][:2] == [
        "peer db-3 is not ready: disconnected",
        "brick db-3:/srv/gluster/shared/brick is offline",
    ]
    assert context["retcode"] == 1


def test_a_glusterd_that_is_down_is_a_reason(daemon, context):
    words = "Connection failed. Please check if gluster daemon is operational."
    daemon.answers["volume info shared"] = [{"retcode": 1, "stdout": "", "stderr": words}]
    found = gluster.healthy("shared")
    assert found == {"healthy": False, "reasons": [f"gluster volume info shared: {words} (1)"]}
    assert context["retcode"] == 1


@pytest.fixture
def names(monkeypatch):
    """Resolve db-1 … db-3 without a network; which of them this node is, the test says."""
    addresses = {f"db-{number}": {f"192.0.2.{number}"} for number in (1, 2, 3)}
    monkeypatch.setattr(gluster, "_addresses", lambda host: addresses.get(host, set()))

    def here(name):
        monkeypatch.setattr(gluster, "_own_addresses", lambda: addresses[name])

    return here


def test_hosts_are_found_by_name_by_address_and_as_this_node(daemon, answer, names, monkeypatch):
    names("db-1")
    known = answer("peer_status_fresh")
    known["stdout"] = known["stdout"].replace(">db-2<", ">192.0.2.2<")
    addresses = {"192.0.2.2": {"192.0.2.2"}, "db-1": {"192.0.2.1"}, "db-2": {"192.0.2.2"}}
    addresses["db-3"] = {"192.0.2.3"}
    monkeypatch.setattr(gluster, "_addresses", lambda host: addresses.get(host, set()))
    daemon.answers["peer status"] = [known]
    found = gluster.find_peers(["db-1", "db-2", "db-3"])
    assert found["db-1"]["self"]
    assert (found["db-2"]["member"], found["db-2"]["ready"]) == (True, True)
    assert found["db-3"]["state"] == "not a peer"
    with pytest.raises(CommandExecutionError, match="db-9 does not resolve"):
        gluster.find_peers(["db-9"])


def test_the_first_of_new_nodes_probes_at_once(daemon, answer, names):
    names("db-1")
    daemon.answers = {
        "peer status": [answer("peer_status_alone"), answer("peer_status_alone")]
        + [answer("peer_status")],
        "peer probe db-2": [answer("probe_new")],
        "peer probe db-3": [answer("probe_again")],
    }
    assert gluster.gather(["db-1", "db-2", "db-3"], timeout=1) == ["db-2"]


def test_a_later_new_node_waits_to_be_taken_in(daemon, answer, names):
    names("db-3")
    taken_in = answer("peer_status")
    taken_in["stdout"] = taken_in["stdout"].replace("db-3", "db-1")
    alone = answer("peer_status_alone")
    daemon.answers["peer status"] = [alone] * 4 + [taken_in]
    assert gluster.gather(["db-1", "db-2", "db-3"], timeout=2) == []
    assert not any(words.startswith("peer probe") for words in daemon.asked)


def test_a_refused_probe_is_in_the_error(daemon, answer, names):
    names("db-1")
    daemon.answers = {
        "peer status": [answer("peer_status_fresh")],
        "peer probe db-3": [answer("probe_bad")],
    }
    with pytest.raises(CommandExecutionError) as raised:
        gluster.gather(["db-1", "db-2", "db-3"], timeout=0.05)
    assert "not in the pool after 0.05 s: db-3 (gluster peer probe db-3:" in str(raised.value)
    assert "Transport endpoint is not connected (107)" in str(raised.value)


def test_offline_bricks_are_named_with_their_disconnected_hosts(daemon, answer):
    daemon.answers = {
        **healthy_pool(answer),
        "volume status shared": [answer("status_down")],
        "peer status": [answer("peer_status_down")],
    }
    with pytest.raises(CommandExecutionError) as raised:
        gluster.wait_online("shared", timeout=0.05)
    assert "db-3:/srv/gluster/shared/brick (its host is disconnected)" in str(raised.value)
