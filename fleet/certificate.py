"""The certificate that all balancers show at the VIP, as the master knows it."""

import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509

from fleet import edge, secret_files
from fleet.errors import FleetError
from fleet.master import Master

#: The secret: certificates as PEM, the VIP's own first, then the key.
CERTIFICATE = "https_certificate"
#: A certificate that ends within this is told.
SOON = timedelta(days=14)


def end(text: Any) -> datetime | None:
    """Return until when the first certificate in a text is good; None without one."""
    try:
        return x509.load_pem_x509_certificate(str(text).encode()).not_valid_after_utc
    except ValueError:
        return None


def problems(master: Master, settings: Mapping[str, Any]) -> Iterator[str]:
    """Return why clients are, or soon will be, refused by the certificate that balancers show."""
    if not edge.secure(settings):
        return
    try:
        ends = end(secret_files.value(master, CERTIFICATE))
    except FleetError as error:
        yield from error.problems
        return
    if ends is None:
        yield _damaged(master)
    elif (left := ends - datetime.now(UTC)) < SOON:
        verb = "ended" if left < timedelta() else "ends"
        own = settings["lb"]["https"].get("certificate")
        before = f"have a new one in {own} on the master, then " if own else ""
        yield (
            f"the certificate of HTTPS {verb} on {ends.isoformat(sep=' ', timespec='minutes')}: "
            f"{before}run `salt-run secret.rotate {CERTIFICATE}` on the master"
        )


def opener(master: Master, settings: Mapping[str, Any]) -> urllib.request.OpenerDirector:
    """
    Return what opens URLs at the VIP, straight and not through a proxy of the environment.

    It trusts the certificate that the balancers were given, so whoever else answers is told.

    Raises FleetError when that was not made yet.
    """
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if edge.secure(settings):
        text = secret_files.value(master, CERTIFICATE)
        try:
            handlers.append(urllib.request.HTTPSHandler(context=edge.context(edge.first(text))))
        except (ValueError, ssl.SSLError):
            raise FleetError(_damaged(master)) from None
    return urllib.request.build_opener(*handlers)


def _damaged(master: Master) -> str:
    where = secret_files.path(master, CERTIFICATE)
    return (
        f"{where} has no certificate: remove it, and run "
        f"`/srv/counterapp/bootstrap/make-secrets {secret_files.folder(master)}`"
    )
