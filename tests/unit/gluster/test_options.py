"""Options: what glusterd tells of them becomes data, and their names and values are understood."""

import pytest
from salt.exceptions import CommandExecutionError

from tests.support.loading import load

gluster = load("_utils/gluster.py")
utils = load("_utils/gluster_option.py")


@pytest.fixture
def refused(answer):
    """Return the error for a recorded refusal."""

    def error(name):
        with pytest.raises(CommandExecutionError) as raised:
            gluster.reply(["volume"], answer(name))
        return raised.value

    return error


def test_options_have_text_or_nothing_and_keep_their_first_mention(parsed):
    found = utils.listed(parsed("get_all"))
    assert len(found) > 330
    assert found["cluster.lookup-unhashed"] == {"value": "on", "default": True}
    assert found["ssl.own-cert"] == {"value": None, "default": True}
    assert found["network.ping-timeout"] == {"value": "10", "default": False}
    # Two translators have it; the other one says 128MB.
    assert found["performance.cache-size"]["value"] == "32MB"


def test_a_default_is_what_nobody_set(parsed):
    listed, pool_wide = utils.listed(parsed("get_all")), utils.listed(parsed("get_pool"))
    reconfigured = {
        "network.ping-timeout": "10",
        "nfs.disable": "on",
        "user.label": "ours",
        "cluster.server-quorum-ratio": "60%",
    }
    found = utils.marked(listed, reconfigured, pool_wide)
    assert found["auth.allow"] == {"value": "*", "default": True}
    assert found["network.ping-timeout"]["default"] is False
    assert found["nfs.disable"]["default"] is True
    assert found["user.label"] == {"value": "ours", "default": False}
    assert "cluster.server-quorum-ratio" in pool_wide
    assert not set(pool_wide) & set(found)


def test_strays_are_what_was_set_by_hand():
    reconfigured = {
        "network.ping-timeout": "10",
        "cluster.quorum-type": "auto",
        "nfs.disable": "on",
        "transport.address-family": "inet6",
        "performance.client-io-threads": "on",
        "cluster.granular-entry-heal": "disable",
        "cluster.server-quorum-ratio": "60%",
        "features.quota": "on",
        "features.inode-quota": "on",
        "features.quota-deem-statfs": "on",
        "diagnostics.count-fop-hits": "on",
        "geo-replication.indexing": "on",
        "user.label": "ours",
    }
    pool_wide = {"cluster.server-quorum-ratio": {}}
    assert utils.strays(reconfigured, ["network.ping-timeout"], pool_wide) == {
        "cluster.quorum-type": "auto",
        "performance.client-io-threads": "on",
        "cluster.granular-entry-heal": "disable",
    }


@pytest.mark.parametrize(
    ("now", "wanted", "same"),
    [
        ("10", "10", True),
        ("10", "1", False),
        (None, "on", False),
        ("on", "enable", True),
        ("disable", "off", True),
        ("on", "off", False),
        ("none", "off", False),
        ("1", "on", False),
        ("10.0.0.1,10.0.0.2", "10.0.0.1, 10.0.0.2", True),
    ],
)
def test_values_are_compared_as_glusterd_keeps_them(now, wanted, same):
    assert utils.same(now, wanted) is same


def test_options_are_only_checked_when_a_name_that_is_none_follows(refused):
    assert utils.set_words({"a.b": "c"}) == ["a.b", "c"]
    assert utils.set_words({"a.b": "c"}, check_only=True) == ["a.b", "c", "check.only", "on"]
    assert utils.only_checked(refused("set_check_only"))
    for name in ("set_unknown", "set_badvalue", "set_locked"):
        assert not utils.only_checked(refused(name))


@pytest.mark.parametrize(
    ("name", "unknown", "not_pool_wide", "bad_anywhere"),
    [
        ("set_unknown", True, False, False),
        ("set_bad", True, False, False),
        ("get_unknown", True, False, False),
        ("get_not_pool", False, True, False),
        ("set_badvalue", False, False, True),
        ("set_locked", False, False, False),
        ("info_missing", False, False, False),
        ("quota_disabled", False, False, False),
    ],
)
def test_refusals_are_told_apart(refused, name, unknown, not_pool_wide, bad_anywhere):
    error = refused(name)
    assert utils.unknown(error) is unknown
    assert utils.not_pool_wide(error) is not_pool_wide
    assert utils.bad_anywhere(error) is bad_anywhere


@pytest.mark.parametrize(
    ("words", "anywhere"),
    [
        ("option quorum-type x: 'x' is not valid (possible options are none, auto, fixed.)", True),
        ("'0' in 'option event-threads 0' is out of range [1 - 32]", True),
        ("'x' in 'option shard-block-size 7' is smaller than minimum value '4'", True),
        ('invalid number format "banana" in option "brick-uid"', True),
        ("option data-self-heal x: 'x' is not a valid boolean value", True),
        ("option auth.addr./b.allow !: '!' is not a valid internet-address-list", True),
        # Another volume may have so many copies, such a name, such a type, or be stopped.
        ("9 in cluster.quorum-count 9 is out of range [1 - 3]", False),
        ("option read-subvolume x: 'x' is not a valid volume name", False),
        ("Cannot set disperse.shd-max-threads for a non-disperse volume.", False),
        ("Changing 'storage.linux-aio' is not supported when the volume is in started", False),
    ],
)
def test_a_value_is_wrong_anywhere_or_for_one_volume(words, anywhere):
    error = gluster.GlusterError("gluster volume set", 30800, words)
    assert utils.bad_anywhere(error) is anywhere


def test_the_manual_and_the_nearest_names(answer):
    known = utils.manual(answer("help"))
    assert len(known) > 200
    assert known["network.ping-timeout"]["default"] == "42"
    assert known["cluster.subvols-per-directory"]["default"] is None
    assert utils.nearest("network.ping-timeoutt", known).startswith("network.ping-timeout")
    assert utils.nearest("ping-timeout", known).startswith("network.ping-timeout")
    assert utils.nearest("zzz", known) == ""
    assert utils.manual({"stdout": "Connection failed", "stderr": "", "retcode": 1}) == {}
