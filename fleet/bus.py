"""The events of changes on the master's event bus: telling them, and hearing them."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import salt.utils.event
from salt.exceptions import SaltException

from fleet.change import TAG
from fleet.master import Master

log = logging.getLogger(__name__)


class Bus:
    """A listener of a change (:data:`fleet.change.Listener`) that tells the master's event bus."""

    def __init__(self, master: Master) -> None:
        self._opts = dict(master.opts)
        self._silent = False

    def __call__(self, event: dict[str, Any]) -> None:
        """
        Fire an event under :data:`fleet.change.TAG`.

        A bus that cannot be reached is logged, and is no trouble of the change: its journal has
        the same events.
        """
        # Opened for each event: one that is kept open does not live through a fork.
        try:
            with salt.utils.event.get_event(
                "master", sock_dir=self._opts["sock_dir"], opts=self._opts, listen=False
            ) as bus:
                # The bus adds to what it is given.
                fired = bus.fire_event(dict(event), TAG)
        except (OSError, SaltException) as error:
            self._lost(str(error))
        else:
            if fired:
                self._silent = False
            else:
                self._lost("the master does not listen")

    def _lost(self, why: str) -> None:
        if not self._silent:
            log.warning("Events of this change do not reach the master's event bus: %s", why)
        self._silent = True


@contextlib.contextmanager
def events(master: Master, quiet: float = 1) -> Iterator[Iterator[dict[str, Any] | None]]:
    """
    Hear the events of changes, from the moment at which this block begins.

    quiet
        Seconds without an event after which None is given, so that who listens can look whether
        the change still lives.

    Gives an iterator without end over events as :data:`fleet.change.Listener` gets them.
    """
    opts = dict(master.opts)
    with salt.utils.event.get_event(
        "master", sock_dir=opts["sock_dir"], opts=opts, listen=True
    ) as bus:

        def heard() -> Iterator[dict[str, Any] | None]:
            while True:
                yield bus.get_event(wait=quiet, tag=TAG, auto_reconnect=True)

        yield heard()
