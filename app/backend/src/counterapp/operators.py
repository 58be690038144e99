"""What operators may do to any counter, whoever owns it, with a token that allows it."""

import logging
from typing import Any

from flask import Blueprint
from flask.typing import ResponseReturnValue

from counterapp import access, inputs
from counterapp.counters import CounterStore
from counterapp.settings import Settings

PATH = "/operator/counters/<namespace>/<name>"

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
