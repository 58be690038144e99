"""How ``/api/v1`` writes things down: counters, times, and answers that need no second sending."""

from datetime import UTC, datetime
from typing import Any

from flask import Response, abort, json, request

from counterapp import history
from counterapp.counters import LARGEST, Counter


def time(moment: datetime) -> str:
    """Write a moment as RFC 3339 has it, in UTC."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def exact(total: int) -> int | None:
    """Write a sum over many counters: None where a reader of JSON would not keep it exactly."""
    return total if abs(total) <= LARGEST else None


def counter(found: Counter) -> dict[str, Any]:
    """Write a counter with its rates."""
    return {
        "namespace": found.key.namespace,
        "key": found.key.name,
        "value": found.value,
        "step": found.plan.step,
        "lower": found.plan.lower,
        "upper": found.plan.upper,
        "resettable": found.plan.resettable,
        "owned": found.owned,
        "created": time(found.created),
        "updated": time(found.updated),
        "expires": time(found.expires) if found.expires else None,
        "nodes": found.nodes,
        "rates": history.rates(found),
    }


def conditional(body: Any) -> Response:
    """Answer with a body and its ``ETag``; with 304 and no body to who has that one already.

    The tag is the body's own hash, so it is the same from every node.
    """
    return conditional_text(json.dumps(body))


def conditional_text(body: str) -> Response:
    """As :func:`conditional`, for a body that is JSON already."""
    response = Response(body, mimetype="application/json")
    response.add_etag()
    # May be kept, but must be asked for again each time.
    response.headers["Cache-Control"] = "no-cache"
    response.make_conditional(request)
    if response.status_code == 412:
        abort(412, "This is not what If-Match names.")
    return response
