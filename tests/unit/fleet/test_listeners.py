"""Gluster's listeners as the rotation of certificates asks them: real TLS, by a small server."""

import socket
import ssl
import struct
import threading

import pytest

from fleet.errors import FleetError
from fleet.rotation import listeners
from fleet.rotation.course import maker

HERE = "127.0.0.1"


@pytest.fixture(scope="module")
def authorities():
    """Two authorities, each with a certificate for a node of its own."""
    return [maker().Authority.fresh().certify("db-1", HERE) for _ in range(2)]


@pytest.fixture
def listener(tmp_path):
    """Return what has a node's files listen for one connection; gives port and what it heard."""
    threads, heard = [], []

    def listen(files, answer=b"\x80\x00\x00\x18"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (tmp_path / "own.pem").write_text(files["key"] + files["certificate"])
        context.load_cert_chain(tmp_path / "own.pem")
        context.load_verify_locations(cadata=files["ca"])
        context.verify_mode = ssl.CERT_REQUIRED
        plain = socket.create_server((HERE, 0))

        def serve():
            with plain:
                connection, _ = plain.accept()
                try:
                    with context.wrap_socket(connection, server_side=True) as secure:
                        heard.append(secure.recv(100))
                        secure.sendall(answer)
                except OSError:
                    connection.close()

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[-1].start()
        return plain.getsockname()[1]

    yield listen, heard
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_who_is_let_in_gets_the_certificate_that_is_shown(authorities, listener):
    listen, heard = listener
    [one, _] = authorities
    shown = listeners.asked(HERE, listen(one), one, one["ca"])
    assert shown.split() == one["certificate"].split()
    # One record of RPC: a call of version 2 to the program, and its length before it.
    [call] = heard
    assert struct.unpack(">I", call[:4])[0] == 0x80000000 | len(call[4:])
    assert struct.unpack(">6I", call[4:28])[1:] == (0, 2, 123451501, 1, 1)


def test_who_is_of_another_authority_is_refused(authorities, listener):
    listen, heard = listener
    one, other = authorities
    assert listeners.asked(HERE, listen(one), other, one["ca"]) is None
    assert heard == []


def test_with_both_authorities_either_is_let_in(authorities, listener):
    listen, _ = listener
    one, other = authorities
    both = one["ca"] + other["ca"]
    for client in authorities:
        assert listeners.asked(HERE, listen({**one, "ca": both}), client, both) is not None


def test_a_listener_of_another_authority_is_not_believed(authorities, listener):
    listen, _ = listener
    one, other = authorities
    with pytest.raises(FleetError, match="shows a certificate that nobody has to trust"):
        listeners.asked(HERE, listen(other), one, one["ca"])


def test_one_that_ends_without_a_word_has_refused(authorities, listener):
    listen, _ = listener
    [one, _] = authorities
    assert listeners.asked(HERE, listen(one, b""), one, one["ca"]) is None


def test_one_that_is_silent_is_told(authorities, monkeypatch):
    monkeypatch.setattr(listeners, "PATIENCE", 0.2)
    [one, _] = authorities
    with (
        socket.create_server((HERE, 0)) as silent,
        pytest.raises(FleetError, match="does not answer within 0.2 s"),
    ):
        listeners.asked(HERE, silent.getsockname()[1], one, one["ca"])


def test_one_that_does_not_listen_is_told(authorities):
    [one, _] = authorities
    with socket.create_server((HERE, 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(FleetError, match=f"{HERE}:{port} does not listen"):
        listeners.asked(HERE, port, one, one["ca"])
