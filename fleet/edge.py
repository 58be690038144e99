"""The app as clients reach it: at the VIP, with HTTPS where the balancers have it."""

import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509

from fleet import secret_files
from fleet.errors import FleetError
from fleet.master import Master

#: What the balancers show: certificates, the VIP's own first, then the key.
CERTIFICATE = "https_certificate"
#: A certificate that ends within this is told.
_ENDS = timedelta(days=14)


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


def problems(master: Master, settings: Mapping[str, Any]) -> Iterator[str]:
    """Return why clients are, or soon will be, refused by the certificate that balancers show."""
    if not secure(settings):
        return
    try:
        certificate = x509.load_pem_x509_certificate(
            first(secret_files.value(master, CERTIFICATE)).encode()
        )
    except ValueError:
        yield _damaged(master)
        return
    except FleetError as error:
        yield from error.problems
        return
    ends = certificate.not_valid_after_utc
    if (left := ends - datetime.now(UTC)) < _ENDS:
        verb = "ended" if left < timedelta() else "ends"
        own = settings["lb"]["https"].get("certificate")
        before = f"have a new one in {own} on the master, then " if own else ""
        yield (
            f"the certificate of HTTPS {verb} on {ends.isoformat(sep=' ', timespec='minutes')}: "
            f"{before}run `salt-run secret.rotate {CERTIFICATE}` on the master"
        )


def _damaged(master: Master) -> str:
    where = secret_files.path(master, CERTIFICATE)
    return (
        f"{where} has no certificate: remove it, and run "
        f"`/srv/counterapp/bootstrap/make-secrets {secret_files.folder(master)}`"
    )


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


def opener(master: Master, settings: Mapping[str, Any]) -> urllib.request.OpenerDirector:
    """
    Return what opens URLs at the VIP, straight and not through a proxy of the environment.

    It trusts the certificate that the balancers were given, so whoever else answers is told.

    Raises FleetError when that was not made yet.
    """
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if secure(settings):
        text = secret_files.value(master, CERTIFICATE)
        try:
            handlers.append(urllib.request.HTTPSHandler(context=context(first(text))))
        except (ValueError, ssl.SSLError):
            raise FleetError(_damaged(master)) from None
    return urllib.request.build_opener(*handlers)
