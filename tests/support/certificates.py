"""Certificates of HTTPS for tests, made as bootstrap makes them."""

import base64
import hashlib
import pathlib
import socket
import ssl
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fleet import edge
from fleet.rotation.course import maker


class Authority:
    """An authority of HTTPS that is made for a test."""

    def __init__(self) -> None:
        self._made: Any = maker().Authority.fresh(maker().HTTPS_AUTHORITY)

    @property
    def certificate(self) -> str:
        """Its certificate as PEM, as clients have it that trust it."""
        text: str = maker().pem(self._made.certificate)
        return text

    def certify(self, *names: str, address: str = "127.0.0.1") -> str:
        """Return a new certificate with its key, as HAProxy wants them in its file."""
        text: str = self._made.certify_https(list(names), address)
        return text

    def context(self) -> ssl.SSLContext:
        """Return how a client connects that trusts this authority and no other."""
        return ssl.create_default_context(cadata=self.certificate)


def shown(address: tuple[str, int], trusts: ssl.SSLContext) -> str:
    """Return the certificate, as PEM, that a server shows to a client that trusts somebody."""
    host, port = address
    with (
        socket.create_connection((host, port), timeout=10) as plain,
        trusts.wrap_socket(plain, server_hostname=host) as secure,
    ):
        der = secure.getpeercert(binary_form=True)
    assert der
    return ssl.DER_cert_to_PEM_cert(der)


def key_hash(certificate: str) -> str:
    """Return what Chromium knows a key by: SHA-256 of the certificate's public key, in base64."""
    key = x509.load_pem_x509_certificate(certificate.encode()).public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


def first(path: pathlib.Path) -> str:
    """Return the first certificate in a file, as PEM."""
    return edge.first(path.read_text())
