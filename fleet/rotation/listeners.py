"""
What listens to Gluster's clients, asked by TLS: whom it lets in, and which certificate it shows.

Gluster asks for a client's certificate and says by TLS itself when it does not take it. Whom it
takes is answered: here its own question for the programs that it has, which needs no volume.
"""

import contextlib
import socket
import ssl
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path

from fleet.errors import FleetError
from fleet.readings import PATIENCE

#: Of RPC: a call (0) of version 2 to GlusterFS' program for this, its version and its procedure;
#: no login, nothing to verify it, and the number that Gluster has in it.
_CALL = struct.pack(">10IQ", 1, 0, 2, 123451501, 1, 1, 0, 0, 0, 0, 0)
_LAST = 0x80000000


def asked(address: str, port: int, shown: Mapping[str, str], ca: str) -> str | None:
    """
    Return the certificate that a listener shows, as PEM, when it answers; None when it refuses.

    shown
        ``certificate`` and ``key`` that it is asked with, as PEM.
    ca
        The authorities, as PEM, one of which must have signed the certificate of the listener.

    Raises FleetError when it cannot be reached, does not answer in time, or shows a certificate of
    nobody in ``ca``.
    """
    where = f"{address}:{port}"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=ca)
    with tempfile.TemporaryDirectory(prefix="counterapp-tls-") as folder:
        # Python takes them from files only; the folder is this user's alone.
        file = Path(folder, "client.pem")
        file.write_text(shown["key"] + shown["certificate"], encoding="utf-8")
        context.load_cert_chain(file)
    try:
        plain = socket.create_connection((address, port), timeout=PATIENCE)
    except OSError as error:
        raise FleetError(f"{where} does not listen: {error}") from error
    with contextlib.closing(plain):
        try:
            with context.wrap_socket(plain) as secure:
                secure.sendall(struct.pack(">I", _LAST | len(_CALL)) + _CALL)
                answer = secure.recv(4)
                certificate = secure.getpeercert(binary_form=True)
        except ssl.SSLCertVerificationError as error:
            words = f"{where} shows a certificate that nobody has to trust: {error.verify_message}"
            raise FleetError(words) from error
        except TimeoutError as error:
            raise FleetError(f"{where} does not answer within {PATIENCE} s") from error
        except (ssl.SSLError, ConnectionError):
            return None
    # It may end without a word as well.
    return ssl.DER_cert_to_PEM_cert(certificate) if answer and certificate else None
