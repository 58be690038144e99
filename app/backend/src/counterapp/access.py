"""Who may do what in ``/api/v1``: owners by their admin key, operators by a signed token.

Both come as ``Authorization: Bearer …``. A token is a JWT (RFC 7519) signed with HS256 and the
fleet's operator key, or with one of two while that is rotated; it is told from an admin key by
its two dots.
"""

import contextlib
import math
import re
import time
from typing import Any

import jwt
from flask import abort, request

from counterapp import admin
from counterapp.counters import CounterStore

READ = "counters:read"
WRITE = "counters:write"
AUDIENCE = "counterapp"
LEEWAY = 10
"""Seconds by which the clocks of master and web nodes may differ."""

LONGEST_LIFE = 24 * 3600
"""Seconds for which an operator's token may be good: there is no list of those revoked."""

LEAST_KEY = 32
"""Characters of an admin key that counters are put under."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,4096}=*")


def bearer() -> str | None:
    """Return what ``Authorization: Bearer`` carries; None without the header."""
    header = request.headers.get("Authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not _TOKEN.fullmatch(token.strip()):
        abort(401, "The Authorization header must be 'Bearer <admin key or token>'.")
    return token.strip()


def owner() -> str | None:
    """Return the ``admin`` of the store for what the request carries; None if it has no key."""
    token = bearer()
    return None if token is None else admin.digest(token)


def owner_surely() -> str:
    """Return the ``admin`` of the store for what the request carries; refused without a key."""
    found = owner()
    if found is None:
        abort(401, "This takes an admin key: send it as 'Authorization: Bearer <key>'.")
    return found


def owner_to_be() -> str | None:
    """Return the admin key that the request wants to put counters under; None for a new one."""
    key = bearer()
    if key is not None and _is_token(key):
        abort(403, "An operator's token can own no counters: send an admin key, or none.")
    if key is not None and len(key) < LEAST_KEY:
        abort(422, f"An admin key that is to own counters has at least {LEAST_KEY} characters.")
    return key


def _is_token(word: str) -> bool:
    return word.count(".") == 2


def owns_some(owner: str, store: CounterStore) -> None:
    """Refuse a key that owns no counter: to a mistyped one, an empty list would be misleading."""
    if not store.page(owner, None, 1):
        abort(403, "No counter has this admin key.")


def _life(claims: dict[str, Any]) -> float:
    """Return for how many seconds a token is good, from when it was made if it says so."""
    return int(claims["exp"]) - min(float(claims.get("iat", math.inf)), time.time())


class Operators:
    """Checks operators' tokens.

    :param keys: what they are signed with: any of these. Where this node knows none, it takes no
        token.
    """

    def __init__(self, *keys: str | None) -> None:
        self._keys = [key for key in keys if key is not None]

    def owner_or_operator(self) -> str | None:
        """Return the ``admin`` of an owner; None for an operator, who may read everything."""
        token = bearer()
        if token is None:
            abort(401, "Send an admin key, or an operator's token, as 'Authorization: Bearer …'.")
        if _is_token(token):
            self._subject(token, READ)
            return None
        return admin.digest(token)

    def operator(self, scope: str) -> str:
        """Return who the operator is that a token with this scope was made for."""
        token = bearer()
        if token is None:
            abort(401, "This is for operators: send a token as 'Authorization: Bearer …'.")
        return self._subject(token, scope)

    def _subject(self, token: str, scope: str) -> str:
        if not self._keys:
            abort(401, "This node takes no operator's tokens: it was started without their key.")
        try:
            claims = self._claims(token)
            short = _life(claims) <= LONGEST_LIFE + LEEWAY
        except jwt.ExpiredSignatureError:
            abort(401, "The token has expired: make a new one with 'salt-run operator.token'.")
        except (jwt.InvalidTokenError, ArithmeticError, ValueError, TypeError, RecursionError):
            abort(401, "The token is not valid here.")
        if not short:
            abort(
                401,
                "The token is good for more than a day, which none may be: make a new one with"
                " 'salt-run operator.token'.",
            )
        scopes = claims.get("scope")
        if not isinstance(scopes, str) or scope not in scopes.split():
            abort(403, f"The token has not the scope {scope}.")
        return str(claims["sub"])

    def _claims(self, token: str) -> dict[str, Any]:
        """Return what a token says. Raises as ``jwt.decode`` does, of the last key."""
        *others, last = self._keys
        for key in others:
            with contextlib.suppress(jwt.InvalidSignatureError):
                return _decoded(token, key)
        return _decoded(token, last)


def _decoded(token: str, key: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=["HS256"],
        audience=AUDIENCE,
        leeway=LEEWAY,
        options={"require": ["exp", "sub", "aud"]},
    )
    return claims
