"""The app as clients reach it: at the VIP, with HTTPS where the balancers have it."""

import ssl
from collections.abc import Mapping
from typing import Any


def secure(settings: Mapping[str, Any]) -> bool:
    """Return whether the balancers have HTTPS by these settings; older revisions know of none."""
    return bool(settings["lb"].get("https", {}).get("enabled"))


def url(topology: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Return where the app of a topology with these settings is reached."""
    lb = settings["lb"]
    scheme, usual, port = "http", 80, lb["frontend_port"]
    if secure(settings):
        scheme, usual, port = "https", 443, lb["https"]["port"]
    return f"{scheme}://{topology['vip']}{'' if port == usual else f':{port}'}/"


def first(text: str) -> str:
    """
    Return the first certificate of what balancers show, as PEM the way Python writes it.

    Raises ValueError when there is none.
    """
    _, begin, rest = text.partition("-----BEGIN CERTIFICATE-----")
    body, end, _ = rest.partition("-----END CERTIFICATE-----")
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(begin + body + end))


def context(certificate: str) -> ssl.SSLContext:
    """
    Return how to connect to who shows a certificate, and to nobody else.

    certificate
        As PEM. Which names it has does not matter: the VIP need not be among those of the
        operator's own.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    made.load_verify_locations(cadata=certificate)
    return made
