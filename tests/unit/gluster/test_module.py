"""What the execution module adds to the answers: patience, order and confirmation."""

import pytest
from salt.exceptions import CommandExecutionError

from tests.support.loading import load

gluster = load("_modules/gluster.py")
heal = load("_modules/gluster_heal.py")
option = load("_modules/gluster_option.py")
pool = load("_modules/gluster_pool.py")
MODULES = [gluster, heal, option, pool]
UTILS = ["gluster", "gluster_declared", "gluster_layout", "gluster_option"]
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
def config():
    """The minion's configuration: a busy machine has the time for some attempts."""
    return {"gluster.lock_timeout": 60}


@pytest.fixture
def impatient(config):
    """Have what is refused be told soon."""

    def be():
        config["gluster.lock_timeout"] = 0.2

    return be


@pytest.fixture
def configure_loader_modules(daemon, config, context, utils_of):
    dunders = {
        "__utils__": utils_of(UTILS),
        "__context__": context,
        "__salt__": {"cmd.run_all": daemon, "config.get": config.get},
    }
    dunders["__salt__"]["gluster.replaced"] = lambda hosts: []
    dunders["__salt__"]["gluster.lost_bricks"] = lambda volume: []
    # They ask the other nodes; see test_meeting.py.
    dunders["__salt__"]["gluster.unmet"] = lambda hosts=None: []
    dunders["__salt__"]["gluster.wait_met"] = lambda hosts=None, timeout=30: True
    for module in MODULES:
        for name, value in vars(module).items():
            if name[0] != "_" and callable(value):
                dunders["__salt__"][f"gluster.{name}"] = value
    return dict.fromkeys(MODULES, dunders)


def test_a_locked_glusterd_is_asked_again(daemon, answer):
    locked = answer("set_locked")
    daemon.answers["volume start shared"] = [locked, locked, answer("start")]
    assert gluster.start("shared") is True
    assert len(daemon.asked) == 3


def test_a_lock_that_stays_is_an_error_in_the_end(daemon, answer, impatient):
    impatient()
    daemon.answers["volume start shared"] = [answer("set_locked")]
    with pytest.raises(CommandExecutionError, match=r"Another transaction .* \(30802\)"):
        gluster.start("shared")
    assert len(daemon.asked) > 2


def test_other_refusals_are_not_repeated(daemon, answer):
    daemon.answers["volume start shared"] = [answer("start_again")]
    with pytest.raises(CommandExecutionError, match=r"already started \(30800\)"):
        gluster.start("shared")
    assert daemon.asked == ["volume start shared"]


def test_a_list_of_peers_that_is_not_to_be_had_during_a_probe_is_asked_for_again(
    daemon, answer, impatient
):
    probing = answer("peer_status_probing")
    daemon.answers["peer status"] = [probing, probing, answer("peer_status")]
    assert len(pool.peers()) == 2
    assert len(daemon.asked) == 3
    daemon.answers["peer status"] = [probing]
    impatient()
    with pytest.raises(CommandExecutionError, match="lists no peers while one is being probed"):
        pool.peers()


# By glusterd 10.3, of three nodes that had become a pool two seconds before; and by 11.1, of a pool
# one of whose members had just been started.
REFUSAL = """\
<cliOutput>
  <opRet>-1</opRet>
  <opErrno>30800</opErrno>
  <opErrstr>{}</opErrstr>
</cliOutput>
"""


@pytest.mark.parametrize(
    "words",
    [
        "Staging failed on 192.168.35.12. Error: Host 192.168.35.14 not connected",
        "Staging failed on db-2. Error: Host db-3 is not in 'Peer in Cluster' state",
        "Staging failed on db-2. Error: Some of the peers are down",
        "Pre Validation failed on db-2. Host db-3 not connected",
    ],
)
def test_members_that_have_not_met_yet_are_asked_again(daemon, answer, impatient, words):
    refused = refusal(words)
    daemon.answers["volume start shared"] = [refused, refused, answer("start")]
    assert gluster.start("shared") is True
    assert len(daemon.asked) == 3
    daemon.answers["volume start shared"] = [refused]
    impatient()
    with pytest.raises(CommandExecutionError, match=words):
        gluster.start("shared")


@pytest.mark.parametrize(
    "words", ["Host 192.168.35.14 not connected", "Some of the peers are down"]
)
def test_a_host_that_is_down_is_told_at_once(daemon, words):
    refused = refusal(words)
    daemon.answers["volume start shared"] = [refused]
    with pytest.raises(CommandExecutionError, match=words):
        gluster.start("shared")
    assert len(daemon.asked) == 1


# What glusterd 10 and 11 say to what comes as soon as a rebalance or remove-brick was stopped or
# called completed, while the process of one node has not ended yet; and as long as one goes on.
LINGERING = [
    "Rebalance is in progress. Please retry after completion",
    "Pre Validation failed on db-2. Rebalance on shared is already started",
    "Volume name shared rebalance is in progress. Please retry after completion",
    "rebalance session is in progress for the volume 'shared'",
    "use 'force' option as migration is in progress",
]
TASK = """\
<cliOutput>
  <opRet>0</opRet>
  <volStatus><volumes><volume><volName>shared</volName><tasks><task>
    <type>Rebalance</type>
    <id>8d19361b-4d86-4e0c-a9aa-cbf0a800bee5</id>
    <status>{}</status>
    <statusStr>{}</statusStr>
  </task></tasks></volume></volumes></volStatus>
</cliOutput>
"""


def said(text):
    return {"retcode": 0, "stdout": text, "stderr": ""}


def refusal(words):
    return said(REFUSAL.format(words))


@pytest.mark.parametrize("words", LINGERING)
@pytest.mark.parametrize("task", [None, (3, "completed"), (7, "fix-layout completed")])
def test_what_meets_a_process_whose_work_is_over_is_done_again(daemon, answer, words, task):
    daemon.answers["volume start shared"] = [refusal(words), refusal(words), answer("start")]
    none = TASK[: TASK.index("<task>")] + TASK[TASK.index("</tasks>") :]
    daemon.answers["volume status shared tasks"] = [said(TASK.format(*task) if task else none)]
    assert gluster.start("shared") is True
    assert daemon.asked.count("volume start shared") == 3


@pytest.mark.parametrize("words", LINGERING)
@pytest.mark.parametrize("task", [(1, "in progress"), (5, "fix-layout in progress")])
def test_what_meets_work_that_goes_on_is_told_at_once(daemon, words, task):
    daemon.answers["volume start shared"] = [refusal(words)]
    daemon.answers["volume status shared tasks"] = [said(TASK.format(*task))]
    with pytest.raises(CommandExecutionError, match=words):
        gluster.start("shared")
    assert daemon.asked == ["volume start shared", "volume status shared tasks"]


def test_a_process_that_does_not_end_is_told_in_glusterds_words(daemon, impatient):
    impatient()
    daemon.answers["volume start shared"] = [refusal(LINGERING[0])]
    # Such as of a volume that does not exist: what was asked for says so better.
    daemon.answers["volume status shared tasks"] = [refusal("none")]
    with pytest.raises(CommandExecutionError, match=LINGERING[0]):
        gluster.start("shared")
    assert daemon.asked.count("volume start shared") > 2


REFUSED = {
    "retcode": 1,
    "stdout": "",
    "stderr": "Connection failed. Please check if gluster daemon is operational.",
}
SILENT = {"retcode": 1, "stdout": "Error : Request timed out\n", "stderr": ""}
DISTANT = ["--remote-host=db-2", "peer", "status"]


def test_a_question_to_another_node_that_got_lost_is_asked_again(daemon, answer):
    # Not for long: what is lost now and then is one connection.
    asked = " ".join(["--timeout=10", *DISTANT])
    daemon.answers[asked] = [REFUSED, SILENT, answer("peer_status")]
    assert len(utils.peers(utils.run(DISTANT, daemon, 0))) == 2
    assert daemon.asked == [asked] * 3


@pytest.mark.parametrize("silence", [REFUSED, SILENT])
def test_a_node_that_does_not_answer_is_not_asked_for_ever(daemon, silence):
    daemon.answers[" ".join(["--timeout=10", *DISTANT])] = [silence]
    with pytest.raises(CommandExecutionError, match=r"Connection failed|Request timed out"):
        utils.run(DISTANT, daemon, 10)
    assert len(daemon.asked) == 3


@pytest.mark.parametrize("silence", [REFUSED, SILENT])
def test_ones_own_glusterd_is_not_asked_again_when_it_is_silent(daemon, silence):
    # Whether it did what it was told, nobody knows.
    daemon.answers["volume start shared"] = [silence]
    with pytest.raises(CommandExecutionError, match=r"Connection failed|Request timed out"):
        gluster.start("shared")
    assert len(daemon.asked) == 1


def test_a_missing_command_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(utils.salt.utils.path, "which", lambda command: None)
    with pytest.raises(CommandExecutionError, match="missing: install glusterfs-server") as raised:
        pool.peers()
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
    daemon.answers = {
        words: [answer("set_multi")],
        "volume info shared": [answer("info"), answer("info_opts")],
    }
    options = {"network.ping-timeout": 12, "cluster.quorum-type": "auto"}
    assert option.set_options("shared", options) == {
        "network.ping-timeout": "12",
        "cluster.quorum-type": "auto",
    }
    with pytest.raises(CommandExecutionError, match="no option to set"):
        option.set_options("shared", {})


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
    monkeypatch.setattr(pool, "_addresses", lambda host: addresses.get(host, set()))
    # It asks other nodes; the functional tests have some.
    monkeypatch.setattr(pool, "_refuse_forgetful", lambda hosts: None)

    def here(name):
        monkeypatch.setattr(pool, "_own_addresses", lambda: addresses[name])

    return here


def test_hosts_are_found_by_name_by_address_and_as_this_node(daemon, answer, names, monkeypatch):
    names("db-1")
    known = answer("peer_status_fresh")
    known["stdout"] = known["stdout"].replace(">db-2<", ">192.0.2.2<")
    addresses = {"192.0.2.2": {"192.0.2.2"}, "db-1": {"192.0.2.1"}, "db-2": {"192.0.2.2"}}
    addresses["db-3"] = {"192.0.2.3"}
    monkeypatch.setattr(pool, "_addresses", lambda host: addresses.get(host, set()))
    daemon.answers["peer status"] = [known]
    found = pool.find_peers(["db-1", "db-2", "db-3"])
    assert found["db-1"]["self"]
    assert (found["db-2"]["member"], found["db-2"]["ready"]) == (True, True)
    assert found["db-3"]["state"] == "not a peer"
    with pytest.raises(CommandExecutionError, match="db-9 does not resolve"):
        pool.find_peers(["db-9"])


def test_the_first_of_new_nodes_probes_at_once(daemon, answer, names):
    names("db-1")
    daemon.answers = {
        "peer status": [answer("peer_status_alone"), answer("peer_status_alone")]
        + [answer("peer_status")],
        "peer probe db-2": [answer("probe_new")],
        "peer probe db-3": [answer("probe_again")],
    }
    assert pool.gather(["db-1", "db-2", "db-3"], timeout=1) == ["db-2"]


def test_a_later_new_node_waits_to_be_taken_in(daemon, answer, names):
    names("db-3")
    taken_in = answer("peer_status")
    taken_in["stdout"] = taken_in["stdout"].replace("db-3", "db-1")
    alone = answer("peer_status_alone")
    daemon.answers["peer status"] = [alone] * 5 + [taken_in]
    assert pool.gather(["db-1", "db-2", "db-3"], timeout=2) == []
    assert not any(words.startswith("peer probe") for words in daemon.asked)


def test_a_refused_probe_is_in_the_error(daemon, answer, names):
    names("db-1")
    daemon.answers = {
        "peer status": [answer("peer_status_fresh")],
        "peer probe db-3": [answer("probe_bad")],
    }
    with pytest.raises(CommandExecutionError) as raised:
        pool.gather(["db-1", "db-2", "db-3"], timeout=0.05)
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


@pytest.mark.parametrize(
    ("state", "remedy"),
    [
        ("Peer Rejected", "run on db-3: systemctl stop glusterd && rm -rf "),
        ("Accepted peer request", "Run gluster.rejoin db-3 confirm=db-1 here"),
    ],
)
def test_a_state_that_does_not_end_is_told_early_with_the_remedy(
    daemon, answer, names, monkeypatch, state, remedy
):
    names("db-1")
    monkeypatch.setattr(pool, "SETTLE_SECONDS", 0)
    stuck = answer("peer_status")
    head, _, tail = stuck["stdout"].rpartition("Peer in Cluster")
    stuck["stdout"] = head + state + tail
    daemon.answers["peer status"] = [stuck]
    for wait in (pool.wait_peers, pool.gather):
        with pytest.raises(CommandExecutionError) as raised:
            wait(["db-1", "db-2", "db-3"], timeout=600)
        assert f"not in the pool after 0 s: db-3 ({state}). db-3: " in str(raised.value)
        assert remedy in str(raised.value)


@pytest.mark.parametrize("confirm", [None, "", "db-2", True])
def test_detach_wants_the_name_twice(daemon, confirm):
    with pytest.raises(CommandExecutionError, match="db-3 was not detached.* say confirm=db-3"):
        pool.detach("db-3", force=True, confirm=confirm)
    assert daemon.asked == []


def test_detach_is_refused_in_glusterds_words(daemon, answer):
    daemon.answers = {
        "peer detach db-3 force": [answer("detach_bricks")],
        "peer detach db-9": [answer("detach_stranger")],
    }
    with pytest.raises(CommandExecutionError, match=r"Peer db-3 hosts one or more bricks.*\(3\)"):
        pool.detach("db-3", force=True, confirm="db-3")
    with pytest.raises(CommandExecutionError, match=r"db-9 is not part of cluster \(2\)"):
        pool.detach("db-9", confirm="db-9")


def test_the_op_version_is_left_alone_while_a_member_cannot_be_asked(daemon, answer):
    daemon.answers["peer status"] = [answer("peer_status_down")]
    with pytest.raises(CommandExecutionError, match="not set to 110000: db-3 cannot be asked"):
        pool.set_op_version(110000)
    assert daemon.asked == ["peer status"]


def test_the_op_version_is_never_lowered(daemon, answer):
    daemon.answers = {
        "peer status": [answer("peer_status")],
        "volume set all cluster.op-version 90000": [answer("op_version_low")],
    }
    with pytest.raises(CommandExecutionError, match="should not be equal or lower than current"):
        pool.set_op_version("90000")


def test_granular_entry_heal_answers_in_words(daemon, answer):
    daemon.answers = {
        "volume list": [answer("volume_list")],
        "volume info shared": [answer("info")],
        "volume heal shared granular-entry-heal disable": [answer("granular")],
    }
    now = option.set_options("shared", {"cluster.granular-entry-heal": False})
    assert now == {"cluster.granular-entry-heal": "on"}  # as the recorded answer still has it


def test_a_check_that_meets_another_command_is_no_refusal_of_the_option(daemon, answer, impatient):
    impatient()
    daemon.answers = {
        "volume list": [answer("volume_list")],
        "volume info shared": [answer("info")],
        "volume set shared network.ping-timeout 9 check.only on": [answer("set_locked")],
    }
    with pytest.raises(CommandExecutionError, match=r"Another transaction .* \(30802\)"):
        option.check_options({"network.ping-timeout": 9}, volume="shared")
