"""How far the counters can be restored, as the master tells this node, for ``/metrics``.

The master has Salt write the file (``counterapp.tell_backups``) on the node's own memory disk: the
shared volume, where the backups lie, may hang, and root of every node can write there. Times are
seconds since 1970, so that an age is ``time()`` less the number, and grows also when the master
has died. What is not known has no number.
"""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

MEANINGS = {
    "told_timestamp_seconds": "When the master has last told the numbers of backups.",
    "newest_timestamp_seconds": "The time that the newest backup restores.",
    "recoverable_until_timestamp_seconds": "Until when every second can be restored.",
    "second_place_timestamp_seconds": "Until when all can be restored from the second place.",
    "drill_timestamp_seconds": "When the last drill, which restores a backup, has ended.",
    "drill_success": "Whether the last drill proved its backup: 1, or 0 when it failed.",
}
"""What may be in the file, each the name of a metric without ``counterapp_backup_``."""

MOST = 4096
"""Bytes that are read of the file."""


class Backups(Collector):
    """The numbers of backups, read anew for each reader of the metrics."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._damaged: str | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the numbers that are known."""
        numbers = self._read()
        for name, meaning in MEANINGS.items():
            if name in numbers:
                yield GaugeMetricFamily(f"counterapp_backup_{name}", meaning, numbers[name])

    def _read(self) -> dict[str, float]:
        try:
            with self._path.open("rb") as file:
                found = json.loads(file.read(MOST))
            numbers = {name: float(value) for name, value in found.items()}
        except FileNotFoundError:
            # Nobody has told anything since this node has begun.
            return {}
        except (OSError, AttributeError, TypeError, ValueError) as error:
            if str(error) != self._damaged:
                log.warning("%s has no numbers of backups: %s", self._path, error)
            self._damaged = str(error)
            return {}
        self._damaged = None
        return numbers
