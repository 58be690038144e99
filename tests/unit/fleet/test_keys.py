"""Keys that are accepted, in a key store of Salt's own, and machines that answer or do not."""

import hashlib
import socket

import pytest
import salt.config

from fleet import keys
from fleet.master import Master

PEM = "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----"
BODY = "A" * 64


@pytest.fixture
def master(tmp_path):
    opts = salt.config.master_config(None)
    opts.update(
        id="boss",
        root_dir=str(tmp_path),
        cachedir=str(tmp_path / "cache"),
        pki_dir=str(tmp_path / "pki"),
        sock_dir=str(tmp_path / "sock"),
        rotate_aes_key=False,
        counterapp_config=str(tmp_path / "config"),
    )
    for folder in ("pki/minions", "sock", "cache", "config/enrolled"):
        (tmp_path / folder).mkdir(parents=True)
    return Master(opts)


@pytest.fixture
def accept(tmp_path):
    def accepted(node):
        (tmp_path / "pki/minions" / node).write_text(PEM.format(BODY))
        (tmp_path / "config/enrolled" / node).write_text("aa\n")

    return accepted


def test_the_fingerprint_is_what_the_node_prints_of_its_key(master, accept):
    accept("web-1")
    digest = hashlib.sha256(f"{BODY}\n".encode()).hexdigest()
    assert keys.accepted(master, "web-1").replace(":", "") == digest


@pytest.mark.parametrize("node", ["web-2", "../master", ""])
def test_without_a_key_none_is_accepted(master, accept, node):
    accept("web-1")
    assert keys.accepted(master, node) is None


def test_one_key_is_deleted_and_no_other(master, accept):
    accept("web-1")
    accept("web-11")
    keys.delete(master, "web-1")
    assert keys.accepted(master, "web-1") is None
    assert keys.accepted(master, "web-11")
    keys.delete(master, "web-1")


def test_who_is_forgotten_is_not_expected_either(master, accept, tmp_path):
    accept("web-1")
    keys.forget(master, "web-1")
    assert keys.accepted(master, "web-1") is None
    assert not (tmp_path / "config/enrolled/web-1").exists()


def test_a_machine_answers_with_an_open_port_and_with_a_closed_one(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(keys, "_PORT", server.getsockname()[1])
        assert keys.machine_answers("127.0.0.1")
    assert keys.machine_answers("127.0.0.1")


def test_where_nobody_is_nobody_answers(monkeypatch):
    def connect(*_):
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", connect)
    assert not keys.machine_answers("10.9.9.9")
