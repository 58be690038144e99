"""What ``/create`` of the CountAPI family asks for: names, a plan, and whose it will be."""

import secrets
import uuid

from flask import request

from counterapp import access, admin, inputs, params
from counterapp.counters import DEFAULT_NAMESPACE, Forbidden, Plan


def names(namespace: str | None, name: str | None) -> tuple[str, str]:
    """Return the names of the counter to be made, from the path, the query, or by chance."""
    for word, in_path in (("namespace", namespace), ("key", name)):
        if in_path is not None and word in request.args:
            raise ValueError(f"{word} is given in the path and in the query")
    return (
        request.args.get("namespace", namespace or DEFAULT_NAMESPACE),
        request.args.get("key", name or str(uuid.uuid4())),
    )


def random_names() -> tuple[str, str]:
    """Return a namespace and a name that nobody has: 96 random bits each, as Abacus makes them."""
    return secrets.token_urlsafe(12), secrets.token_urlsafe(12)


def plan(*, abacus: bool) -> Plan:
    """Return what the query says of the counter to be made.

    What it does not say is as each of the two families has it: with CountAPI nearly everything is
    forbidden, with Abacus nothing.
    """
    value = params.one_of(request, ("value", "initializer"))
    step = params.whole(request, "step", 1)
    if not step:
        raise ValueError("step must not be 0")
    lower = params.whole(request, "update_lowerbound", None if abacus else -1)
    upper = params.whole(request, "update_upperbound", None if abacus else 1)
    if lower is not None and lower > 0:
        raise ValueError("update_lowerbound must be negative or zero")
    if upper is not None and upper < 0:
        raise ValueError("update_upperbound must be positive or zero")
    return Plan(
        value=value or 0,
        step=step,
        lower=lower,
        upper=upper,
        resettable=params.flag(request, "enable_reset", abacus),
        lifetime=params.whole(request, "expiration", None, 1, inputs.LONGEST_LIFETIME),
    )


def owner() -> tuple[str, dict[str, str]]:
    """Return the digest of the admin key of a new counter, and what to tell of it.

    Who comes with a key keeps it for all counters; who has none is given one, this once.
    """
    if (mine := own_key()) is not None:
        return mine, {}
    key = admin.make()
    return admin.digest(key), {"admin_key": key}


def own_key() -> str | None:
    """Return the digest of the admin key that a new counter came with; None if it came with none.

    :raises ValueError: it is too easily guessed.
    :raises Forbidden: it is one that a browser remembers, and so is not taken.
    """
    key = admin.bare(request)
    if key is None and admin.remembered(request):
        # Without an owner, or with a new key, it would not be whose the client thinks it is.
        raise Forbidden("The counter was not made")
    if key is None:
        return None
    if len(key) < access.LEAST_KEY or key.count(".") == 2:
        raise ValueError(
            f"A key that is to own counters has at least {access.LEAST_KEY} characters,"
            " and is no operator's token"
        )
    return admin.digest(key)
