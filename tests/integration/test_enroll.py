"""Who may join: an ID of the topology with the fingerprint that was noted, and nobody else."""

import pathlib

import pytest

from tests.integration.conftest import make_key, make_minion

OTHER = ":".join(["ab"] * 32)


def keys(master):
    listed = master.salt_key_cli().run("-L")
    assert listed.returncode == 0
    return listed.data


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


def test_the_minions_of_the_topology_were_let_in(master, minions):
    assert {"alpha", "beta"} <= set(keys(master)["minions"])


def test_a_stranger_is_left_out(master, minions, fleet, salt_run):
    daemon, fingerprint = make_minion(master, fleet, "stranger", ["db"])
    assert knock(daemon).returncode != 0
    assert "stranger" not in keys(master)["minions"]
    refused = salt_run("enroll.expect", "stranger", fingerprint)
    assert refused.returncode != 0
    assert "'stranger' is not in the topology" in refused.stdout
    assert "stranger" not in keys(master)["minions"]


def test_a_known_id_with_a_wrong_key_is_left_out(master, gamma, salt_run):
    daemon, fingerprint = gamma
    assert salt_run("enroll.expect", "gamma", OTHER).data["state"] == "absent"
    assert knock(daemon).returncode != 0
    assert "gamma" not in keys(master)["minions"]
    assert "gamma" in keys(master)["minions_pre"]
    asked = salt_run("enroll.authenticate", "gamma")
    assert asked.returncode != 0
    assert fingerprint in asked.stdout
    assert OTHER in asked.stdout


def test_the_right_fingerprint_lets_the_waiting_key_in(master, gamma, salt_run):
    daemon, fingerprint = gamma
    noted = salt_run("enroll.expect", "gamma", fingerprint)
    assert noted.returncode == 0, noted
    assert noted.data["state"] == "accepted"
    assert "gamma" in keys(master)["minions"]
    assert knock(daemon).data is True
    # Said again it is a fact, not a change.
    assert salt_run("enroll.expect", "gamma", fingerprint).data["state"] == "accepted"


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
