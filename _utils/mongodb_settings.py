"""
The settings that a MongoDB replica set has as a whole, in MongoDB's own names: what is right of
each, and what has to change.

No connections here.
"""

from collections.abc import Mapping
from typing import Any

# MongoDB's defaults, and the bounds of what is a number. Others it calls internal.
DEFAULTS: dict[str, Any] = {
    "chainingAllowed": True,
    "heartbeatTimeoutSecs": 10,
    "electionTimeoutMillis": 10000,
    "catchUpTimeoutMillis": -1,
    "catchUpTakeoverDelayMillis": 30000,
}
BOUNDS = {
    "heartbeatTimeoutSecs": (1, 3600),
    # Below a second, a pause of the primary such as any machine makes would end its time.
    "electionTimeoutMillis": (1000, 3_600_000),
    "catchUpTimeoutMillis": (-1, 3_600_000),
    "catchUpTakeoverDelayMillis": (-1, 3_600_000),
}


def check(settings: Any) -> dict[str, Any]:
    """Return settings that somebody wrote; ``ValueError`` says what is wrong and what is right."""
    if not isinstance(settings, Mapping) or not settings:
        raise ValueError(
            f"settings must be a mapping, e.g. {{electionTimeoutMillis: 3000}}, not {settings!r}"
        )
    for key, value in settings.items():
        if key not in DEFAULTS:
            raise ValueError(f"there is no setting {key}: there are {', '.join(DEFAULTS)}")
        if key in BOUNDS:
            least, most = BOUNDS[key]
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise ValueError(f"{key} is {value!r}: write a whole number from {least} to {most}")
        elif not isinstance(value, bool):
            raise ValueError(f"{key} is {value!r}: write true or false")
    return dict(settings)


def of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a configuration document."""
    present = config.get("settings") or {}
    return {key: present.get(key, default) for key, default in DEFAULTS.items()}


def differing(config: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what has to change in a configuration document: ``{setting: {old, new}}``."""
    now = of(config)
    return {
        key: {"old": now[key], "new": value} for key, value in wanted.items() if now[key] != value
    }


def changed(config: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the configuration with these settings, or None when it has them."""
    if not differing(config, wanted):
        return None
    # With all others that it has, of which the server keeps some for itself.
    return {**config, "settings": {**(config.get("settings") or {}), **wanted}}
