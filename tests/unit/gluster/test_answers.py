"""What glusterd answers becomes typed data, and what it refuses an error in its own words."""

import pytest
from salt.exceptions import CommandExecutionError

from tests.support.loading import load

utils = load("_utils/gluster.py")
layout = load("_utils/gluster_layout.py")
BRICKS = [f"db-{number}:/srv/gluster/shared/brick" for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("name", "errno", "words"),
    [
        ("info_missing", 30806, "Volume does not exist"),
        ("create_again", 0, "Volume shared already exists"),
        ("create_root", 30800, "is being created in the root partition"),
        ("start_again", 30800, "Volume shared already started"),
        ("status_stopped", 30800, "Volume shared is not started"),
        ("set_bad", 30800, "option : no.such does not exist"),
        ("set_badvalue", 30800, 'invalid time format "banana"'),
        ("set_locked", 30802, "Another transaction is in progress for shared"),
        ("probe_bad", 107, "Transport endpoint is not connected"),
        ("quota_disabled", 30800, "Quota is disabled, please enable quota"),
        ("profile_not_started", 30800, "Profile on Volume shared is not started"),
        ("detach_bricks", 3, "Peer db-3 hosts one or more bricks"),
        ("heal_plain", 22, "only volumes of replicate/disperse type"),
        ("heal_stopped", 5, "Not able to fetch volfile from glusterd"),
    ],
)
def test_a_refusal_keeps_glusterds_words_and_number(answer, name, errno, words):
    with pytest.raises(CommandExecutionError) as raised:
        utils.reply(["volume", "x"], answer(name))
    assert str(raised.value).startswith("gluster volume x: ")
    assert str(raised.value).endswith(f" ({errno})") is (errno != 0)
    assert words in str(raised.value)
    assert raised.value.errno == errno
    assert raised.value.answered
    assert utils.locked(raised.value) is (name == "set_locked")


@pytest.mark.parametrize(
    ("stderr", "retcode", "answered"),
    [
        ("Connection failed. Please check if gluster daemon is operational.", 1, False),
        ("the gluster command is missing", 127, False),
        ("unrecognized word: frobnicate (position 1)\n\nUsage:", 1, True),
    ],
)
def test_without_xml_the_error_is_what_was_printed(stderr, retcode, answered):
    result = {"retcode": retcode, "stdout": "", "stderr": stderr}
    with pytest.raises(CommandExecutionError) as raised:
        utils.reply(["volume", "info"], result)
    assert stderr.split("\n")[0] in str(raised.value)
    assert raised.value.answered is answered
    assert not utils.locked(raised.value)


def test_a_rebalance_that_just_begins_or_ends_is_known_by_glusterds_words():
    words = (
        "Brick ops failed on db-2. Glusterd Syncop Mgmt brick op 'Rebalance' failed. "
        "Please check brick log file for details."
    )
    assert utils.turning(utils.GlusterError("gluster volume rebalance shared status", 30800, words))
    assert not utils.turning(CommandExecutionError("disk full"))


def test_another_errors_are_never_taken_for_a_lock():
    assert not utils.locked(CommandExecutionError("disk full"))


def test_peers(parsed):
    assert utils.peers(parsed("peer_status_alone")) == []
    found = utils.peers(parsed("peer_status"))
    assert [peer["hostname"] for peer in found] == ["db-2", "db-3"]
    assert all(peer["ready"] and peer["state"] == "Peer in Cluster" for peer in found)
    down = utils.peers(parsed("peer_status_down"))[1]
    assert (down["hostname"], down["connected"], down["ready"]) == ("db-3", False, False)
    assert down["names"] == ["db-3"]


@pytest.mark.parametrize(
    ("name", "added"), [("probe_new", True), ("probe_again", False), ("probe_self", False)]
)
def test_probe_tells_whether_it_added_a_peer(parsed, name, added):
    assert utils.probe(parsed(name))["added"] is added


def test_volume_names(parsed):
    assert utils.volumes(parsed("volume_list_empty")) == []
    assert utils.volumes(parsed("volume_list")) == ["shared"]


def test_info(parsed):
    volume = utils.info(parsed("info_opts"))
    assert volume["name"] == "shared"
    assert volume["type"] == "Replicate"
    assert volume["started"] is True
    assert (volume["distribute"], volume["replica"], volume["arbiter"]) == (1, 3, 0)
    assert [brick["name"] for brick in volume["bricks"]] == BRICKS
    assert volume["bricks"][0]["host"] == "db-1"
    assert volume["bricks"][0]["path"] == "/srv/gluster/shared/brick"
    assert volume["options"]["network.ping-timeout"] == "12"
    assert volume["options"]["cluster.quorum-type"] == "auto"


def test_info_of_an_arbiter_volume(parsed):
    volume = utils.info(parsed("info_arb"))
    assert (volume["status"], volume["started"], volume["arbiter"]) == ("Created", False, 1)
    assert [brick["arbiter"] for brick in volume["bricks"]] == [False, False, True]


def test_status_with_sizes(parsed):
    volume = utils.info(parsed("info"))
    state = utils.status(parsed("status_detail"), volume)
    assert [brick["name"] for brick in state["bricks"]] == BRICKS
    for brick in state["bricks"]:
        assert brick["online"] is True
        assert brick["pid"] > 0
        assert 0 < brick["port"] < 65536
        assert 0 < brick["size_free"] < brick["size_total"]
        assert 0 < brick["inodes_free"] < brick["inodes_total"]
    assert state["daemons"] == []


def test_status_with_daemons(parsed):
    state = utils.status(parsed("status"), utils.info(parsed("info")))
    assert [brick["online"] for brick in state["bricks"]] == [True] * 3
    assert [daemon["daemon"] for daemon in state["daemons"]] == ["Self-heal Daemon"] * 3
    assert {daemon["uuid"] for daemon in state["daemons"]} == {
        brick["uuid"] for brick in state["bricks"]
    }


@pytest.mark.parametrize("name", ["status_killed", "status_down"])
def test_a_brick_is_offline_whether_killed_or_left_out(parsed, name):
    state = utils.status(parsed(name), utils.info(parsed("info")))
    assert [brick["name"] for brick in state["bricks"]] == BRICKS
    assert [brick["online"] for brick in state["bricks"]] == [True, True, False]
    assert state["bricks"][2]["pid"] is None
    assert state["bricks"][2]["port"] is None


def test_heal_counts(parsed):
    for item in utils.heal(parsed("heal_summary")):
        assert item["connected"] is True
        assert (item["total"], item["pending"], item["split_brain"], item["healing"]) == (0,) * 4
    first, _, third = utils.heal(parsed("heal_summary_killed"))
    assert (first["total"], first["pending"]) == (4, 4)
    assert third["connected"] is False
    assert third["total"] is None
    assert third["reason"] == (
        "Failed to process entries completely. (Transport endpoint is not connected)"
    )


def test_heal_entries(parsed):
    first, _, third = utils.heal(parsed("heal_info_killed"))
    assert first["total"] == 4
    assert {"/", "/a", "/d", "/d/odd <name> & é"} == {entry["path"] for entry in first["entries"]}
    assert third["entries"] == []
    assert third["total"] is None
    assert third["reason"] == "Transport endpoint is not connected"


def test_heal_entries_in_split_brain(parsed):
    left, right = utils.heal(parsed("split_split_brain"))
    assert left["entries"][0]["gfid"] == right["entries"][0]["gfid"]
    assert right["entries"][0]["path"] == "/torn"
    assert [item["split_brain"] for item in utils.heal(parsed("split_summary"))] == [1, 1]


def health(parsed, status, heal):
    volume = utils.info(parsed("info"))
    healing = utils.heal(parsed(heal))
    # As the module does it: bricks and daemons come from one answer, not from the detailed one.
    return layout.health(volume, utils.status(parsed(status), volume), healing)


def test_healthy(parsed):
    assert health(parsed, "status", "heal_summary") == []


def test_an_offline_brick_and_what_waits_for_it(parsed):
    assert health(parsed, "status_killed", "heal_summary_killed") == [
        f"brick {BRICKS[2]} is offline",
        f"4 entries wait to be healed on {BRICKS[0]}",
        f"4 entries wait to be healed on {BRICKS[1]}",
    ]


def test_split_brain_is_told_apart_from_waiting(parsed):
    reasons = health(parsed, "status", "split_summary")
    assert "1 entries in split-brain on db-2:/srv/gluster/two/b" in reasons
    assert not any("wait to be healed on db-2" in reason for reason in reasons)


def test_a_volume_that_is_not_started(parsed):
    volume = utils.info(parsed("info_arb"))
    assert layout.health(volume, None, []) == ["volume arb is Created, not Started"]


@pytest.mark.parametrize(("offline", "lost"), [(0, False), (1, False), (2, True), (3, True)])
def test_quorum_is_lost_with_most_of_the_copies(parsed, offline, lost):
    volume = utils.info(parsed("info"))
    state = utils.status(parsed("status"), volume)
    for brick in state["bricks"][:offline]:
        brick["online"] = False
    reasons = layout.health(volume, state, [])
    assert any("quorum lost" in reason for reason in reasons) is lost
    assert len(reasons) == offline + lost


def test_quorum_of_erasure_coding_and_of_two_copies():
    plain = {"disperse": 0, "redundancy": 0}
    assert layout.quorum({"disperse": 6, "redundancy": 2}, ["b"] * 6) == 4
    assert layout.quorum(plain, ["b"] * 2) == 1
    assert layout.quorum(plain, ["b"]) == 1


def test_a_daemon_that_is_gone_and_a_brick_that_cannot_be_asked(parsed):
    volume = utils.info(parsed("info"))
    state = utils.status(parsed("status"), volume)
    state["daemons"][1]["online"] = False
    healing = utils.heal(parsed("heal_summary_killed"))
    reasons = layout.health(volume, state, healing[2:])
    assert reasons[0] == "Self-heal Daemon on db-2 is not running"
    assert reasons[1].startswith(f"heal state of {BRICKS[2]} is unknown: Failed to process")


@pytest.mark.parametrize(
    ("words", "locked"),
    [
        ("volume get option: failed", True),
        ("Locking failed on db-3. Please check log file for details.", True),
        ("volume get option: failed: Did you mean network.ping-timeout?", False),
        ("volume get option: failed: Volume none does not exist", False),
    ],
)
def test_what_a_question_to_the_pool_says_when_the_lock_is_taken(words, locked):
    said = (
        f"<cliOutput><opRet>-1</opRet><opErrno>0</opErrno><opErrstr>{words}</opErrstr></cliOutput>"
    )
    with pytest.raises(CommandExecutionError) as raised:
        utils.reply(["volume", "get", "all", "all"], {"stdout": said, "stderr": "", "retcode": 0})
    assert utils.locked(raised.value) is locked
