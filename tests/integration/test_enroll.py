"""Who may join: an ID of the topology with the fingerprint that was noted, and nobody else."""

import pathlib

import pytest
import salt.payload
import zmq

from tests.integration.conftest import make_minion
from tests.support.light_fleet import make_key

OTHER = ":".join(["ab"] * 32)


def keys(master):
    """Return the IDs of accepted keys; there are no others."""
    listed = master.salt_key_cli().run("-L")
    assert listed.returncode == 0
    stored = dict(listed.data)
    accepted = stored.pop("minions")
    assert not any(stored.values())
    return accepted


@pytest.fixture(scope="module")
def gamma(master, minions, fleet):
    """A node of the topology whose minion has not joined."""
    fleet.write_topology(
        {**fleet.nodes, "gamma": dict(fleet.nodes["alpha"], address="192.168.77.13", roles=["web"])}
    )
    yield make_minion(master, fleet, "gamma", ["web"])
    master.salt_key_cli().run("-y", "-d", "gamma")
    fleet.reset()


def knock(daemon):
    """Offer a minion's key to the master once, as any start of a minion does."""
    return daemon.salt_call_cli().run("test.ping", _timeout=40)


def ask_in(master, id_, key="none"):
    """Ask the master to let an ID in, as anybody on the network can; return what it answers."""
    load = {"cmd": "_auth", "id": id_, "pub": key, "nonce": "1", "sig_algo": "PKCS1v15-SHA224"}
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.linger = 0
        socket.rcvtimeo = 30_000
        socket.connect(f"tcp://127.0.0.1:{master.config['ret_port']}")
        socket.send(salt.payload.dumps({"enc": "clear", "load": load, "version": 3}))
        answer = salt.payload.loads(socket.recv())
    return salt.payload.loads(answer["load"])["ret"]


def test_the_minions_of_the_topology_were_let_in(master, minions):
    assert {"alpha", "beta"} <= set(keys(master))


def test_a_stranger_is_left_out(master, minions, fleet, salt_run):
    daemon, fingerprint = make_minion(master, fleet, "stranger", ["db"])
    assert knock(daemon).returncode != 0
    refused = salt_run("enroll.expect", "stranger", fingerprint)
    assert refused.returncode != 0
    assert "'stranger' is not in the topology" in refused.stdout
    assert "stranger" not in keys(master)


def test_whatever_strangers_call_themselves_nothing_is_kept(master, minions):
    for id_ in ["*", "?lpha", "alpha\n[WARNING ] The key of beta was accepted", ".", "x" * 5000]:
        assert ask_in(master, id_) is False
    for number in range(50):
        assert ask_in(master, f"stranger-{number}") is False
    kept = [path for path in pathlib.Path(master.config["pki_dir"]).rglob("*") if path.is_file()]
    assert {path.name for path in kept if path.parent.name.startswith("minions")} <= {
        "alpha",
        "beta",
        "gamma",
    }
    log = pathlib.Path(master.config["log_file"]).read_text()
    assert r"'alpha\n[WARNING ] The key of beta was accepted'" in log
    assert log.count("A stranger was refused") <= 2 * 10


def test_a_known_id_with_a_wrong_key_is_left_out(master, gamma, salt_run):
    daemon, fingerprint = gamma
    assert salt_run("enroll.expect", "gamma", OTHER).data["state"] == "absent"
    assert knock(daemon).returncode != 0
    assert "gamma" not in keys(master)
    asked = salt_run("enroll.authenticate", "gamma")
    assert asked.returncode != 0
    assert fingerprint in asked.stdout
    assert OTHER in asked.stdout
    assert salt_run("enroll.refused").data["gamma"]["fingerprint"] == fingerprint


def test_the_right_fingerprint_lets_the_key_in_though_others_came_before(master, gamma, salt_run):
    daemon, fingerprint = gamma
    assert ask_in(master, "gamma", "another") is True
    noted = salt_run("enroll.expect", "gamma", fingerprint)
    assert noted.returncode == 0, noted
    assert ask_in(master, "gamma", "another") is True
    # The first time its key is accepted, the second time it is in.
    assert [knock(daemon).data for _ in range(2)][1] is True
    assert "gamma" in keys(master)
    # Said again it is a fact, not a change.
    assert salt_run("enroll.expect", "gamma", fingerprint).data["state"] == "accepted"
    assert ask_in(master, "gamma", "another") is False
    assert knock(daemon).data is True


def test_another_key_for_an_accepted_id_is_reported(master, gamma, salt_run):
    daemon, fingerprint = gamma
    new = make_key(pathlib.Path(daemon.config["pki_dir"]) / "other")
    refused = salt_run("enroll.expect", "gamma", new)
    assert refused.returncode != 0
    assert f"another key of 'gamma' is accepted, with {fingerprint}" in refused.stdout


@pytest.mark.parametrize(
    ("id_", "fingerprint", "words"),
    [
        ("alpha", "not-a-fingerprint", "is no SHA-256 fingerprint"),
        ("alpha", "ab:cd", "is no SHA-256 fingerprint"),
        ("../../etc/passwd", OTHER, "is not in the topology"),
    ],
)
def test_bad_input_is_refused(minions, salt_run, id_, fingerprint, words):
    refused = salt_run("enroll.expect", id_, fingerprint)
    assert refused.returncode != 0
    assert words in refused.stdout
