"""Whose page a request comes from, as far as a browser says so.

``Sec-Fetch-Site`` tells, but browsers send it only to hosts that they trust: over HTTPS, or on the
same machine. Over plain HTTP, ``Origin`` and ``Referer`` have to do.
"""

from urllib.parse import urlsplit

from flask import Request

_USUAL = frozenset({"80", "443"})


def is_ours(request: Request, header: str) -> bool:
    """Return whether a header, ``Origin`` or ``Referer``, names a page of this very host."""
    try:
        named = urlsplit(request.headers.get(header, "")).netloc
    except ValueError:
        return False
    return bool(named) and _place(named) == _place(request.headers.get("Host", ""))


def is_of_our_page(request: Request) -> bool:
    """Return whether a browser says that a page of this very host makes this request."""
    return (
        request.headers.get("Sec-Fetch-Site") == "same-origin"
        or is_ours(request, "Origin")
        or is_ours(request, "Referer")
    )


def may_be_of_another_site(request: Request) -> bool:
    """Return whether a page of another site may have made a browser send this request.

    Programs that are no browsers act for nobody but who runs them.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("none", "same-origin")
    browser = request.headers.get("User-Agent", "").startswith("Mozilla/")
    return browser and not is_ours(request, "Origin")


def _place(host: str) -> tuple[str, str]:
    """Return name and port; both usual ports are one, since nobody can see who ended the TLS."""
    host = host.rpartition("@")[2].lower()
    name, _, port = host.rpartition(":")
    if not port.isascii() or not port.isdigit():
        return host, ""
    return (name, "" if port in _USUAL else port) if name else (host, "")
