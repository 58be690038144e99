"""Our patch of Salt: what its rules let a minion say, and that it is the locked version's.

What the patched master does is in ``tests/integration/test_event_bus.py``.
"""

import logging
import re
import types

import pytest

from lab import wheels

ME, OTHER = "web-1", "web-2"
JID = "20260101000000000000"


@pytest.fixture(scope="module")
def patch():
    return wheels._find_patch(wheels._split_lock()[0]).read_text()


@pytest.fixture
def rules(patch):
    """The file of rules that the patch adds."""
    added = patch.partition("+++ b/salt/utils/minionevents.py\n")[2].partition("\ndiff ")[0]
    code = [line[1:] for line in added.splitlines() if line.startswith("+")]
    module = types.ModuleType("salt.utils.minionevents")
    exec("\n".join(code), module.__dict__)
    return module


class Keys:
    def fetch(self, bank, minion):
        assert bank == "keys"
        return {"state": "accepted"} if minion in (ME, OTHER) else {}


def test_a_patched_salt_says_so(patch):
    assert re.search(r"^\+__version__ = .*\+counterapp\.\d+\"$", patch, re.M)


@pytest.mark.parametrize(
    "tag",
    [
        "shop/order/new",
        "minion_start",
        "_salt_error",
        f"salt/minion/{ME}/start",
        f"salt/beacon/{ME}/load/",
        f"salt/job/{JID}/prog/{ME}/0",
        f"salt/job/{JID}/start/{ME}",
        f"salt/state_result/{JID}/{ME}/a name",
    ],
)
def test_a_minion_may_speak_of_itself(rules, tag, caplog):
    assert rules.may_fire({}, ME, tag, {"id": ME, "data": {}})
    assert not caplog.records


@pytest.mark.parametrize(
    "tag",
    [
        f"salt/job/{JID}/publish",
        "salt/job/publish",
        f"salt/job/{JID}/new",
        f"salt/job/{JID}/ret/{ME}",
        f"salt/job/{JID}/ret/{OTHER}",
        f"salt/job/{JID}/prog/{OTHER}/0",
        f"salt/job/{JID}/prog/{ME}x/0",
        f"salt/minion/{OTHER}/start",
        f"salt/beacon/{OTHER}/load/",
        f"salt/batch/{JID}/new",
        f"salt/run/{JID}/ret",
        f"salt/wheel/{JID}/ret",
        "salt/auth",
        "salt/key",
        "salt/fileserver/gitfs/update",
        "salt/presence/change",
        "salt/netapi/hook/deploy",
        "salt/event/exit",
        "any/salt/reactors/manage/add",
        "cluster/runner/sync_roots",
        "cluster/peer/join",
        "rotate_aes_key",
        "rotate_cluster_aes_key",
        "key",
        f"minion/refresh/{OTHER}",
        f"syndic/{ME}/{JID}",
        f"{JID}/ret",
        "shop/order\n\n",
        f"salt/job/{JID}/prog/{ME}/0\n\n",
        b"salt/auth",
        None,
        "",
    ],
)
def test_a_minion_may_not_speak_for_the_master_or_another(rules, tag, caplog):
    assert not rules.may_fire({}, ME, tag, {"id": ME})
    # Salt's loggers make text of bytes.
    told = tag.decode() if isinstance(tag, bytes) else tag
    assert f"{told!r} of minion {ME!r}: " in caplog.text
    assert caplog.records[0].levelno == logging.WARNING


@pytest.mark.parametrize(
    ("tag", "data"),
    [
        ("shop/order/new", {"__peer_id": "peer"}),
        ("shop/order/new", {"id": OTHER}),
        ("shop/order/new", ["id"]),
        (f"salt/job/{JID}/prog/{ME}/0", {"minions": [OTHER]}),
        (f"salt/job/{JID}/prog/{ME}/0", {"resource_id": OTHER}),
    ],
)
def test_nor_in_what_it_says(rules, tag, data):
    assert not rules.may_fire({}, ME, tag, data)


@pytest.mark.parametrize(
    ("opts", "pretag", "may"),
    [
        ({}, f"syndic/{ME}", False),
        ({"order_masters": True}, f"syndic/{ME}", True),
        ({"order_masters": True}, f"syndic/{OTHER}", False),
        ({"order_masters": True}, f"salt/job/{JID}", False),
    ],
)
def test_only_a_master_of_masters_takes_a_pretag_and_only_the_syndics_own(rules, opts, pretag, may):
    tag = f"{pretag}/salt/job/{JID}/new"
    assert rules.may_fire(opts, ME, tag, {"minions": [OTHER]}, pretag=pretag) is may


@pytest.mark.parametrize(
    ("load", "may"),
    [
        ({"jid": JID}, True),
        ({"jid": "req"}, True),
        ({"jid": JID, "resource_id": ME}, True),
        ({"jid": JID, "resource_id": "a-switch"}, True),
        ({"jid": JID, "resource_id": OTHER}, False),
        ({"jid": JID, "resource_id": "../minions"}, False),
        ({"jid": JID, "resource_id": [OTHER]}, False),
        ({"jid": JID, "__peer_id": "peer"}, False),
        ({"jid": f"{JID}/ret/{OTHER}"}, False),
        ({"jid": f"{JID}\n\n"}, False),
        ({"jid": b"1/publish\n\n"}, False),
        ({}, False),
    ],
)
def test_a_minion_returns_for_itself_and_its_devices(rules, load, may, tmp_path):
    opts = {"pki_dir": str(tmp_path)}
    assert rules.may_return(opts, ME, load, Keys()) is may


def test_only_a_master_of_masters_takes_returns_of_many(rules):
    assert not rules.may_return_for_others({}, ME)
    assert rules.may_return_for_others({"order_masters": True}, ME)


def test_the_name_of_a_failed_state_is_one(rules):
    assert rules.may_name_state(ME, "file.managed")
    assert not rules.may_name_state(ME, "salt/job/x.y/publish")


def test_refusals_do_not_fill_the_log_and_one_minions_do_not_hide_anothers(rules, caplog):
    for _ in range(1000):
        rules.may_fire({}, ME, "salt/auth", {})
    assert len(caplog.records) == rules._LOGGED
    rules.may_fire({}, OTHER, "salt/auth", {})
    assert f"of minion {OTHER!r}" in caplog.records[-1].message
    begun, count = rules._refused[ME]
    rules._refused[ME] = (begun - rules._SECONDS, count)
    rules.may_fire({}, ME, "salt/auth", {})
    assert f"{1000 - rules._LOGGED} more events of minion {ME!r}" in caplog.text
