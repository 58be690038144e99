"""What the status of a fleet says that is well, for the tests of how it is shown."""

from typing import Any

STATE: dict[str, Any] = {
    "url": "https://192.168.33.200/",
    "release": "1.4.0",
    "revision": {
        "id": "aaaaaaaaaaaa",
        "release": "1.4.0",
        "created": "2026-11-27T10:00:00+00:00",
        "commit": None,
    },
    "drift": {"differs": False, "changed": [], "added": [], "gone": []},
    "lock": None,
    "last": None,
    "vip": {"address": "192.168.33.200", "holders": ["lb-1"]},
    "volume": {"name": "shared", "healthy": True, "reasons": []},
    "replica_set": {
        "members": [
            {"node": "db-1", "name": "192.168.33.14:27017", "state": "PRIMARY", "lag_s": 0.0},
            {"node": "db-2", "name": "192.168.33.15:27017", "state": "SECONDARY", "lag_s": 1.5},
            {"node": "db-3", "name": "192.168.33.16:27017", "state": "DOWN", "lag_s": None},
        ]
    },
    "nodes": {
        "web-1": {
            "os": "Debian-12",
            "release": "1.4.0",
            "up": True,
            "state": "ready",
            "since": "2026-11-27T08:48:00+00:00",
            "certificate": "2027-05-01T00:00:00+00:00",
        },
        "web-2": {"up": True, "certificate": "2027-04-01T00:00:00+00:00"},
    },
}
