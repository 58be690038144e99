"""The master's key store lets in the key that is expected, and keeps no other."""

import logging
import os
import pathlib
import sys
import types

import pytest
import salt.cache
import salt.loader
from salt.exceptions import SaltCacheError

from fleet import enroll, revision
from tests.support.checkout import NODES
from tests.support.loading import ROOT

STRANGERS = [
    "stranger",
    "*",
    "evil\nThe key of one was accepted",
    ".hidden",
    "ü",
    "x" * 3000,
    "-d",
]


def pem(letter, first="-----BEGIN PUBLIC KEY-----"):
    return f"{first}\n{letter * 64}\n{letter * 20}\n-----END PUBLIC KEY-----"


@pytest.fixture
def store(runners):
    runners.opts.update(
        {"__role": "master", "cache_dirs": [str(ROOT / "_cache")], "key_cache": ""},
    )
    for each in ("pki", "cache"):
        (runners.folder / each).mkdir()
    return salt.cache.Cache(runners.opts, driver=runners.opts["keys.cache_driver"])


@pytest.fixture
def expect(runners, store):
    def note(id_, key):
        return runners["enroll.expect"](id_, enroll.fingerprint(key))

    return note


def knock(store, id_, key):
    """Do what Salt's master does with a key that is offered; return what the minion is told."""
    kept = store.fetch("keys", id_)
    denied = store.fetch("denied_keys", id_) or []
    if not kept:
        store.store("keys", id_, {"pub": key, "state": "pending"})
        return "wait"
    if kept["state"] == "rejected":
        return "no"
    if kept["pub"] == key:
        return "in" if kept["state"] == "accepted" else "wait"
    store.store("denied_keys", id_, [*denied, key])
    return "no"


def warnings(caplog):
    # Of the store alone: a thread that another module's tests have left may say something as well.
    ours = [each for each in caplog.records if each.name.endswith(".localfs_key")]
    return [record.getMessage() for record in ours if record.levelname == "WARNING"]


def files(runners):
    return sorted(
        str(pathlib.Path(folder, name).relative_to(runners.folder))
        for part in ("pki", "cache/refused")
        for folder, _folders, names in os.walk(runners.folder / part)
        for name in names
    )


def test_a_stranger_leaves_nothing_but_a_line(runners, store, caplog):
    for id_ in STRANGERS:
        assert knock(store, id_, pem("a")) == "no"
    assert files(runners) == []
    lines = warnings(caplog)
    assert len(lines) == 7
    assert max(len(line) for line in lines) < 160
    assert lines[2] == (
        r"A stranger was refused: the topology has no node 'evil\nThe key of one was accepted'"
    )


def test_many_strangers_are_counted_not_listed(runners, store, caplog, monkeypatch):
    now = [100.0]
    knock(store, "stranger-0", pem("a"))
    module = sys.modules["salt.loaded.ext.cache.localfs_key"]
    monkeypatch.setattr(module, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
    module._lines.clear()
    caplog.clear()
    for number in range(1000):
        knock(store, f"stranger-{number}", pem("a"))
    assert len(warnings(caplog)) == 10
    now[0] += 60
    knock(store, "stranger", pem("a"))
    assert warnings(caplog)[10:] == [
        "990 more lines like the next one were left out",
        "A stranger was refused: the topology has no node 'stranger'",
    ]


def test_the_expected_key_is_in_when_it_asks_again(runners, store, expect, caplog):
    caplog.set_level(logging.INFO)
    assert expect("one", pem("a"))["state"] == "absent"
    assert [knock(store, "one", pem("a")) for _ in range(2)] == ["wait", "in"]
    assert runners["enroll.authenticate"]("one")["state"] == "accepted"
    assert files(runners) == ["pki/minions/one"]
    assert "The key of one was accepted" in caplog.text


def test_whoever_comes_first_does_not_keep_a_node_out(runners, store, expect):
    for first in (pem("b"), pem("c")):
        assert knock(store, "one", first) == "wait"
    assert files(runners) == ["cache/refused/one"]
    expect("one", pem("a"))
    assert knock(store, "one", pem("b")) == "wait"
    asked = runners["enroll.authenticate"]("one")
    assert asked["retcode"] == 1
    assert asked["state"] == "refused"
    assert f"its fingerprint is {enroll.fingerprint(pem('b'))}" in asked["failed"][0]
    assert f"expected is {enroll.fingerprint(pem('a'))}" in asked["failed"][0]
    assert list(runners["enroll.refused"]()) == ["one"]
    assert [knock(store, "one", pem("a")) for _ in range(2)] == ["wait", "in"]
    assert runners["enroll.refused"]() == {}


def test_another_key_of_an_accepted_node_is_refused_without_a_trace_beside_it(
    runners, store, expect
):
    expect("one", pem("a"))
    knock(store, "one", pem("a"))
    for other in "bcd":
        assert knock(store, "one", pem(other)) == "no"
    assert knock(store, "one", pem("a")) == "in"
    assert files(runners) == ["cache/refused/one", "pki/minions/one"]
    assert runners["enroll.authenticate"]("one")["state"] == "accepted"
    new = expect("one", pem("b"))
    assert new["failed"] == [
        f"another key of 'one' is accepted, with {enroll.fingerprint(pem('a'))}: if the node was "
        "made anew, remove the old one with `salt-key -d one`"
    ]


@pytest.mark.parametrize(
    "altered",
    [
        pem("a", first="-----BEGIN RSA PUBLIC KEY-----"),
        pem("a").replace("\n", "\n\n"),
        pem("a").replace("\n", "\r\n"),
        pem("a").replace("a\n", "a \n"),
    ],
    ids=["another first line", "empty lines", "other line ends", "blanks"],
)
def test_a_key_that_only_looks_like_the_expected_one_locks_nobody_out(store, expect, altered):
    expect("one", pem("a"))
    knock(store, "one", altered)
    knock(store, "one", pem("a"))
    assert knock(store, "one", pem("a")) == "in"


@pytest.mark.parametrize("key", [None, 7, b"\xff", "", "x", pem("a")[:40]])
def test_what_is_no_key_is_refused(runners, store, expect, key):
    expect("one", pem("a"))
    knock(store, "one", key)
    assert files(runners) == ["cache/refused/one"]


def test_no_hand_accepts_what_is_not_expected(store, expect):
    for id_ in ("one", "stranger"):
        with pytest.raises(SaltCacheError, match="is left out"):
            store.store("keys", id_, {"pub": pem("b"), "state": "accepted"})


def test_a_broken_topology_lets_nobody_new_in_and_shuts_nobody_out(runners, store, expect, caplog):
    expect("one", pem("a"))
    expect("two", pem("b"))
    knock(store, "one", pem("a"))
    (runners.folder / "pillar/topology.sls").write_text("topologies: [")
    assert knock(store, "one", pem("a")) == "in"
    assert knock(store, "two", pem("b")) == "no"
    assert "No key of a new node is accepted: " in caplog.text
    runners.write_topology(NODES)
    assert [knock(store, "two", pem("b")) for _ in range(2)] == ["wait", "in"]


def test_a_node_that_is_added_or_taken_out_is_known_at_once(runners, store, expect):
    assert knock(store, "new", pem("a")) == "no"
    runners.write_topology(
        {"boss": ("127.0.0.10", ["master"]), "new": ("127.0.0.14", ["db", "storage", "web", "lb"])}
    )
    expect("new", pem("a"))
    assert [knock(store, "new", pem("a")) for _ in range(2)] == ["wait", "in"]
    assert knock(store, "one", pem("b")) == "no"


def test_nodes_that_were_rolled_out_are_known_whatever_is_being_written(runners, store, expect):
    revision.settle(revision.capture(runners.master, "1.0"))
    (runners.folder / "pillar/topology.sls").write_text("topologies: [")
    assert expect("one", pem("a"))["state"] == "absent"
    assert [knock(store, "one", pem("a")) for _ in range(2)] == ["wait", "in"]
    assert knock(store, "new", pem("b")) == "no"
    refused = expect("new", pem("b"))
    assert refused["retcode"] == 1
    assert "topology.sls is no YAML" in refused["failed"][0]
    # One that is taken out has its key until that is rolled out.
    runners.write_topology({name: NODES[name] for name in ("boss", "two", "data")})
    assert knock(store, "one", pem("a")) == "in"
    assert runners["enroll.authenticate"]("one")["state"] == "accepted"
    revision.settle(revision.capture(runners.master, "1.0"))
    assert expect("one", pem("a"))["failed"][0].startswith("'one' is not in the topology")


def test_what_a_command_is_given_is_judged(runners, store):
    answer, code = runners.run("enroll.expect", "one")
    assert (answer["failed"], code) == (
        ["enroll.expect needs fingerprint: it takes id, fingerprint"],
        1,
    )
    answer, code = runners.run("enroll.authenticate", "../one")
    assert code == 1
    assert "the topology has no such node" in answer["failed"][0]
    answer, code = runners.run("enroll.forget", "../one")
    assert (answer["failed"], code) == (["'../one' cannot be the ID of a node"], 1)


def test_a_key_is_deleted_by_its_name(runners, store, expect):
    for id_, letter in (("one", "a"), ("two", "b")):
        expect(id_, pem(letter))
        knock(store, id_, pem(letter))
    assert store.list_all("keys") == {"one": {"state": "accepted"}, "two": {"state": "accepted"}}
    store.flush("keys", "one")
    assert store.list("keys") == ["two"]


def test_each_function_of_salts_own_store_is_here(runners, store):
    own = salt.loader.cache({**runners.opts, "cache_dirs": []})
    names = {name for name in own if name.startswith("localfs_key.")}
    assert names == {name for name in store.modules if name.startswith("localfs_key.")}
