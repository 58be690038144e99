"""What time the database has, as far as a process knows: its own clock is never asked.

Only updates that check it with the server's clock are built on it (``updates.more_hits``): a wrong
guess costs a second look, and nothing else.
"""

import time
from datetime import UTC, datetime, timedelta


class DatabaseClock:
    """The database's time, carried on from when it was last told by the monotonic clock."""

    def __init__(self) -> None:
        self._told: tuple[datetime, float] | None = None

    def note(self, moment: datetime) -> None:
        """Take note of a moment that the database has just told."""
        self._told = moment, time.monotonic()

    def now(self) -> datetime:
        """Return about what time the database has; 1970 before :meth:`note`."""
        if self._told is None:
            return datetime.fromtimestamp(0, UTC)
        moment, at = self._told
        return moment + timedelta(seconds=time.monotonic() - at)
