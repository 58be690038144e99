"""Options: told, checked, set and reset, on real nodes."""

import pytest

from tests.functional.gluster.nodes import CallError

# Names that glusterd lists otherwise than most, or documents nowhere.
ODD = {
    "auth.ssl-allow": "db-1,db-2",
    "client.ssl": "off",
    "cluster.server-quorum-type": "server",
    "config.memory-accounting": "on",
    "features.ctime": "on",
    "nfs.disable": "on",
    "performance.cache-size": "64MB",
    "server.ssl": "off",
    "ssl.certificate-depth": "2",
    "ssl.cipher-list": "HIGH:!SSLv2",
    "storage.owner-uid": "1000",
    "user.label": "ours",
}


def stored(node):
    return node.sh("cat /var/lib/glusterd/vols/*/info /var/lib/glusterd/options")


def test_options_are_told_with_those_that_nobody_set_marked(pool, lasting):
    first = pool[0]
    options = first.call("gluster.options", lasting)
    assert len(options) > 300
    assert options["network.ping-timeout"] == {"value": "10", "default": False}
    # glusterd marks neither of these two as a default.
    assert options["auth.allow"] == {"value": "*", "default": True}
    assert options["nfs.disable"] == {"value": "on", "default": True}
    assert options["cluster.lookup-unhashed"] == {"value": "on", "default": True}
    assert options["ssl.own-cert"] == {"value": None, "default": True}
    assert "cluster.server-quorum-ratio" not in options
    assert first.call("gluster.options", lasting, defaults=False) == {
        "network.ping-timeout": {"value": "10", "default": False}
    }
    assert first.call("gluster.option", lasting, "network.ping-timeout")["value"] == "10"
    with pytest.raises(CallError, match="has no option ping-timeout; the nearest are network.ping"):
        first.call("gluster.option", lasting, "ping-timeout")
    with pytest.raises(CallError, match="Volume nowhere does not exist"):
        first.call("gluster.options", "nowhere")
    known = first.call("gluster.known_options")
    assert known["network.ping-timeout"]["default"] == "42"
    assert "client waits to check" in known["network.ping-timeout"]["description"]


def test_every_kind_of_option_is_set_listed_and_reset(pool, lasting):
    first = pool[0]
    assert first.call("gluster.check_options", ODD, volume=lasting) == ODD
    assert first.call("gluster.check_options", ODD) == ODD
    assert first.call("gluster.set_options", lasting, ODD) == ODD
    listed = first.call("gluster.options", lasting)
    assert {name: listed[name]["value"] for name in ODD if name in listed} == ODD
    strays = first.call("gluster.strays", lasting, ["ssl.cipher-list", "network.ping-timeout"])
    assert set(strays) == set(ODD) - {"ssl.cipher-list", "nfs.disable", "user.label"}
    with pytest.raises(CallError, match="cannot reset user.label alone"):
        first.call("gluster.reset_options", lasting, ["ssl.cipher-list", "user.label"])
    done = first.call("gluster.reset_option", lasting, "ssl.cipher-list")
    assert done == {"ssl.cipher-list": {"old": "HIGH:!SSLv2", "new": None}}
    assert set(first.call("gluster.reset_options", lasting)) == {*strays, "network.ping-timeout"}
    assert first.call("gluster.reset_options", lasting) == {}
    left = first.call("gluster.options", lasting, defaults=False)
    assert left == {"user.label": {"value": "ours", "default": False}}
    first.call("gluster.set_option", lasting, "network.ping-timeout", 10)


def test_a_wrong_option_is_found_before_anything_is_set(pool, lasting):
    first = pool[0]
    before = stored(first)
    good = {"network.ping-timeout": 33, "user.label": "ours"}
    for wrong, words in (
        ({"network.ping-timeoutt": 1}, "no option network.ping-timeoutt: .*nearest are network.pi"),
        ({"client.event-threads": 0}, r"cannot be '0': .*out of range \[1 - 32\] \(30800\)"),
        ({"cluster.quorum-type": "banana"}, "possible options are none, auto, fixed"),
        ({"cluster.quorum-count": 9}, "out of range"),
        ({"features.quota": True}, "Use 'gluster volume quota <VOLNAME> enable' instead"),
        ({"cluster.granular-entry-heal": "maybe"}, "heal cannot be 'maybe': it must be on or off"),
        ({"cluster.brick-multiplex": True}, "Not a valid option for single volume"),
        ({"cluster.op-version": 100000}, "is no setting: see gluster.set_op_version"),
        ({"ping-timeout": 1}, "write its full name"),
    ):
        with pytest.raises(CallError, match=words):
            first.call("gluster.check_options", {**good, **wrong}, volume=lasting)
        with pytest.raises(CallError):
            first.call("gluster.set_options", lasting, {**good, **wrong})
    several = {"network.ping-timeout": "banana", "no.such": 1}
    with pytest.raises(
        CallError, match='invalid time format "banana".*; glusterd has no option no'
    ):
        first.call("gluster.check_options", several, volume=lasting)
    with pytest.raises(CallError, match="network.ping-timeoutt does not exist.*nearest are netw"):
        first.call("gluster.set_option", lasting, "network.ping-timeoutt", 1)
    with pytest.raises(CallError, match="has no option no.such"):
        first.call("gluster.reset_options", lasting, ["network.ping-timeout", "no.such"])
    assert stored(first) == before


def test_options_are_checked_for_a_volume_that_does_not_exist_yet(pool, lasting):
    first = pool[0]
    before = stored(first)
    good = {"network.ping-timeout": 33, "cluster.quorum-count": 9, "server.event-threads": 4}
    text = {name: str(value) for name, value in good.items()}
    assert first.call("gluster.check_options", good, volume="later") == text
    for wrong, words in (
        ({"network.ping-timeoutt": 1}, "no option network.ping-timeoutt: .*nearest are network.pi"),
        ({"client.event-threads": 0}, r"out of range \[1 - 32\]"),
        ({"cluster.quorum-type": "banana"}, "possible options are none, auto, fixed"),
        ({"cluster.brick-multiplex": True}, "is one of the pool: set it on volume all"),
    ):
        with pytest.raises(CallError, match=words):
            first.call("gluster.check_options", {**good, **wrong}, volume="later")
    assert stored(first) == before


def test_granular_entry_heal_is_set_by_the_command_that_glusterd_wants(pool, lasting):
    first = pool[0]
    name = "cluster.granular-entry-heal"
    both = {name: False, "network.ping-timeout": 33}
    assert first.call("gluster.set_options", lasting, both) == {
        name: "disable",
        "network.ping-timeout": "33",
    }
    assert first.call("gluster.set_options", lasting, both)[name] == "disable"
    assert first.call("gluster.strays", lasting, ["network.ping-timeout"]) == {name: "disable"}
    done = first.call("gluster.reset_option", lasting, name)
    assert done == {name: {"old": "disable", "new": "enable"}}
    assert first.call("gluster.strays", lasting, ["network.ping-timeout"]) == {}


def test_options_of_the_pool(pool, lasting):
    first, second, _ = pool
    name = "cluster.server-quorum-ratio"
    before = first.call("gluster.options", "all")
    assert before[name]["default"] is True
    assert "cluster.op-version" not in before
    with pytest.raises(CallError, match='invalid percent format "banana"'):
        first.call("gluster.check_options", {name: "banana"}, volume="all")
    with pytest.raises(CallError, match="Not a valid option for all volumes"):
        first.call("gluster.check_options", {"network.ping-timeout": 10}, volume="all")
    assert first.call("gluster.options", "all") == before
    try:
        assert first.call("gluster.set_option", "all", name, "60%") == "60%"
        assert second.call("gluster.option", "all", name) == {"value": "60%", "default": False}
        # glusterd lists it for each volume, where it is no stray.
        assert first.call("gluster.info", lasting)["options"][name] == "60%"
        assert name not in first.call("gluster.strays", lasting)
    finally:
        done = first.call("gluster.reset_options", "all")
    assert done == {name: {"old": "60%", "new": before[name]["value"]}}
    assert first.call("gluster.options", "all") == before
