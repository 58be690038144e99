"""Servers that are not set up the way ours are: alone, without access control, with TLS."""

import contextlib
import subprocess

import pytest

from tests.support.mongod import Member, mongod_binary, replica_set

from .conftest import Node

PASSWORD = "a-pa55-word"


@pytest.fixture
def serve(tmp_path):
    """Return a maker of nodes: a mongod with these arguments, a minion with these settings."""
    with contextlib.ExitStack() as stack:

        def make(*args, **settings):
            member = Member(mongod_binary(), tmp_path, list(args))
            stack.callback(member.kill)
            if "tls" in settings:
                # The support code's own client speaks no TLS: the node waits below.
                (tmp_path / "data").mkdir()
                member._launch(tmp_path / "data")
            else:
                member.start()
            pillar = {"mongodb": settings, "secrets": {"mongodb_admin": PASSWORD}}
            return Node("alone", tmp_path, pillar, member.port), member

        yield make


def test_users_of_a_server_without_replication(serve):
    node, _ = serve("--auth", user="boss")
    seen = node.call("status")
    assert (seen["reachable"], seen["initialized"]) == (True, False)
    assert "NoReplicationEnabled, code 76" in seen["reason"]
    boss = {"password_pillar": "secrets:mongodb_admin", "roles": ["root"], "admin": True}
    made = node.state("user_present", "boss", **boss)
    assert made["result"] is True, made
    again = node.state("user_present", "boss", **boss)
    assert (again["result"], again["changes"]) == (True, {})

    ret = node.state("replica_set_present", "rs0", [node.call("hello")["address"]], "alone")
    assert (ret["result"], ret["changes"]) == (False, {})
    assert "runs without replication" in ret["comment"]


def test_a_set_without_access_control_needs_no_user(tmp_path):
    with replica_set(2, initiate=False) as rs:
        names = [member.address for member in rs.members]
        folders = [tmp_path / str(member.port) for member in rs.members]
        nodes = [
            Node(f"db-{n}", folder, {}, member.port)
            for n, (folder, member) in enumerate(zip(folders, rs.members, strict=True), 1)
        ]
        made = nodes[0].state("replica_set_present", "rs0", names, "db-1")
        assert made["result"] is True, made
        for node in nodes:
            assert node.state("replica_set_present", "rs0", names, "db-1")["changes"] == {}
            assert node.call("access")["level"] == "granted"
            assert node.call("wait_healthy", require="all", timeout=30) is True
        assert nodes[1].call("user_list") == []


def test_tls_settings_reach_the_driver(serve, tmp_path):
    pem = tmp_path / "server.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        + ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        + ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "ca.pem")],
        check=True,
        capture_output=True,
    )
    pem.write_text((tmp_path / "ca.pem").read_text() + (tmp_path / "key").read_text())
    node, member = serve(
        *("--tlsMode", "requireTLS", "--tlsCertificateKeyFile", str(pem)),
        *("--tlsCAFile", str(tmp_path / "ca.pem"), "--tlsAllowConnectionsWithoutCertificates"),
        tls={"tls": True, "tlsCAFile": str(tmp_path / "ca.pem")},
    )
    assert node.call("wait_reachable", timeout=30) is True
    assert node.call("user_list") == []
    plain = Node("plain", tmp_path / "plain", {}, member.port)
    assert plain.call("ping") is False
    assert plain.call("status")["reachable"] is False
