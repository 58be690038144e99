"""What operators may do to any counter, whoever owns it, with a token that allows it."""

import logging
import re
from time import monotonic
from typing import Any

from flask import Blueprint, abort
from flask.typing import ResponseReturnValue

from counterapp import access, inputs, problems
from counterapp.counters import CounterStore, StoreError
from counterapp.settings import Settings

ALL = "/operator/counters"
PATH = f"{ALL}/<namespace>/<name>"

STEP = 1000
"""How many counters are deleted at a time."""

TIME = 20.0
"""Seconds after which no more are deleted: the rest is for another request."""

PREFIX = re.compile("[A-Za-z0-9_.-]{3,64}(/[A-Za-z0-9_.-]{0,64})?")
"""What the beginning of ``<namespace>/<key>`` looks like; not so short as to be of nearly all."""

log = logging.getLogger(__name__)


def add_routes(
    api: Blueprint, settings: Settings, store: CounterStore, rules: access.Operators
) -> None:
    """Add the operators' routes to the API. Each change is logged with who made it."""

    @api.put(f"{PATH}/value")
    def operator_put(namespace: str, name: str) -> dict[str, Any]:
        key = inputs.key(namespace, name)
        inputs.query()
        who = rules.operator(access.WRITE)
        value = inputs.json_object({"value": inputs.integer()}, ["value"])["value"]
        before, after = store.operator_set(key, value)
        log.warning("operator %s set %s from %d to %d", who, key, before, after)
        return {
            "namespace": namespace,
            "key": name,
            "value": after,
            "previous": before,
            "node": settings.node,
            "release": settings.release,
        }

    @api.delete(PATH)
    def operator_delete(namespace: str, name: str) -> ResponseReturnValue:
        key = inputs.key(namespace, name)
        inputs.query()
        who = rules.operator(access.WRITE)
        store.operator_delete(key)
        log.warning("operator %s deleted %s", who, key)
        return "", 204

    @api.delete(ALL)
    def operator_delete_all() -> ResponseReturnValue:
        parameters = inputs.query("prefix", "confirm")
        who = rules.operator(access.WRITE)
        prefix = _prefix(parameters)
        if parameters.get("confirm") != prefix:
            number = store.operator_count(prefix)
            return problems.problem(
                422,
                f"This deletes the counters whose namespace/key begins with '{prefix}', {number} of"
                f" them. Send confirm={prefix} as well to do it.",
                counters=number,
            )
        return _delete_all(store, prefix, who)


def _prefix(parameters: dict[str, str]) -> str:
    prefix = parameters.get("prefix", "")
    if not PREFIX.fullmatch(prefix):
        abort(
            400,
            "prefix is the beginning of <namespace>/<key>: 3 letters, digits, '_', '.' or '-' at"
            " least, such as spam/ or spam/post-.",
        )
    return prefix


def _delete_all(store: CounterStore, prefix: str, who: str) -> ResponseReturnValue:
    begun, deleted, left = monotonic(), 0, 0
    try:
        while step := store.operator_delete_all(prefix, STEP):
            deleted += step
            if monotonic() - begun > TIME:
                left = store.operator_count(prefix)
                break
    except StoreError as error:
        return problems.refusal(error, deleted=deleted)
    finally:
        log.warning("operator %s deleted %d counters that begin with %s", who, deleted, prefix)
    return {"deleted": deleted, "left": left}
