"""``/livez`` and ``/readyz``, for the service manager and the load balancers."""

from typing import Any

from flask import Blueprint, Response

from counterapp.problems import problem
from counterapp.readiness import Readiness
from counterapp.settings import Settings

PATHS = frozenset({"/livez", "/readyz"})


def blueprint(settings: Settings, readiness: Readiness) -> Blueprint:
    """Return the routes for health checks."""
    health = Blueprint("health", __name__)
    who = {"release": settings.release, "node": settings.node}

    @health.get("/livez")
    def livez() -> dict[str, Any]:
        return {"live": True, **who}

    @health.get("/readyz")
    def readyz() -> dict[str, Any] | Response:
        reason = readiness.reason_against()
        if reason is None:
            return {"ready": True, **who}
        return problem(503, f"{reason}.", ready=False, reason=reason, **who)

    return health
