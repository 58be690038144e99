"""Admin keys: made once, told once, kept only as their SHA-256."""

import hashlib
import uuid

from flask import Request

from counterapp import origins

QUERY = ("admin_key", "token")
"""Query parameters that carry a key, for clients that cannot send headers."""


def make() -> str:
    """Return a new admin key: 122 random bits from the operating system, as a UUID."""
    return str(uuid.uuid4())


def digest(key: str) -> str:
    """Return what is kept of a key.

    Comparing digests tells nothing by the time it takes: who does not know the key cannot choose
    how far its digest agrees with the one that is kept.
    """
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def presented(request: Request) -> str | None:
    """Return the digest of the admin key that a request carries; None if it carries none."""
    key = bare(request)
    return None if key is None else digest(key)


def bare(request: Request) -> str | None:
    """Return the admin key that a request carries, as it came.

    From ``Authorization: Bearer``, else from ``Authorization: Basic`` (the key as password, or as
    the user of no password: a base URL such as ``https://:key@host`` gives it to clients that know
    of no keys), else from the query.
    """
    given = request.authorization
    if given is not None and given.type == "bearer" and given.token:
        return given.token
    if given is not None and given.type == "basic" and not remembered(request):
        return given.password or given.username or None
    for name in QUERY:
        if key := request.args.get(name):
            return key
    return None


def remembered(request: Request) -> bool:
    """Return whether a request has a password that is not taken.

    A browser adds one that it remembers by itself, so that any page could act with it.
    """
    given = request.authorization
    return given is not None and given.type == "basic" and origins.may_be_of_another_site(request)


def remedy(request: Request) -> str:
    """Return what to do for a request that was refused for it has no admin key."""
    way = "Send the admin key as 'Authorization: Bearer <key>' or as ?admin_key=<key>"
    if remembered(request):
        return (
            f"A browser's password is not taken where a page of another site may have asked. {way}"
        )
    return way
