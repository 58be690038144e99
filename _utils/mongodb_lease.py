"""
A lease among processes of several machines that share a folder: one of them works, the others wait.

Whoever holds it writes into a file, again and again, that it still does. The others watch the file,
each by its own clock, which only has to go as fast as others do, and take the lease when the file
has not changed for long enough. A lock would tell of a death sooner, but nobody can rely on one on
a network file system: it is lost by a server's restart while its owner lives, and stays when its
owner was cut off.

The lease saves work, and no more: after a cut two may hold it for some seconds. What they do must
not harm each other.
"""

from __future__ import annotations

import errno
import json
import os
import pathlib
import secrets
import time
from collections.abc import Mapping
from typing import Any

FILE = ".lease"
#: Beats within the time after which a silent holder loses the lease.
BEATS = 6
#: Beats for which who has taken the lease waits whether somebody else has taken it as well.
SETTLING = 0.5


class Lease:
    """What one process knows of the lease.

    :param folder: where the file is.
    :param holder: name of this process, for people.
    :param silence: seconds after which a holder that says nothing has lost the lease.
    """

    def __init__(self, folder: pathlib.Path, holder: str, silence: float) -> None:
        self.holder = holder
        #: Differs for each process.
        self.token = secrets.token_hex(8)
        #: Seconds between two beats.
        self.interval = silence / BEATS
        self._path = folder / FILE
        self._silence = silence
        self._beat = 0
        self._claimed: float | None = None
        self._seen: tuple[Any, Any] | None = None
        self._silent = 0.0
        self._looked = time.monotonic()

    def acquire(self) -> bool:
        """Look at the lease, and take it if nobody has it; tell whether it is ours.

        To be called each :attr:`interval` until it is.

        :raises OSError: the folder is not there, or cannot be written.
        """
        now = time.monotonic()
        passed, self._looked = now - self._looked, now
        found = self._read()
        if found.get("token") == self.token:
            return self._claimed is None or now - self._claimed >= self.interval * SETTLING
        self._claimed = None
        seen = (found.get("token"), found.get("beat"))
        if seen != self._seen:
            self._seen, self._silent = seen, 0.0
        else:
            # Where looking takes long, so does the holder's writing: that is no silence.
            self._silent += min(passed, 2 * self.interval)
        if found.get("token") is None or self._silent >= self._silence:
            self._write({})
            self._claimed = now
        return False

    def beat(self, facts: Mapping[str, Any]) -> bool:
        """Say that the lease is still held; tell whether it is.

        :param facts: what others shall know.
        :raises OSError: the folder is not there, or cannot be written.
        """
        if self._read().get("token") != self.token:
            self._forget()
            return False
        self._beat += 1
        self._write(facts)
        return True

    def release(self, facts: Mapping[str, Any]) -> None:
        """Let others have the lease at once, if it is ours.

        :raises OSError: the folder is not there, or cannot be written.
        """
        if self._read().get("token") == self.token:
            self._write(facts, token=None)
        self._forget()

    def _forget(self) -> None:
        self._claimed = self._seen = None
        self._silent = 0.0

    def _read(self) -> dict[str, Any]:
        return read(self._path.parent)

    def _write(self, facts: Mapping[str, Any], **changed: Any) -> None:
        told = {
            **facts,
            "holder": self.holder,
            "token": self.token,
            "beat": self._beat,
            "wall": time.time(),
            **changed,
        }
        new = self._path.with_name(f"{FILE}.{self.token}")
        with new.open("w") as target:
            os.fchmod(target.fileno(), 0o600)
            json.dump(told, target)
            target.flush()
            os.fsync(target.fileno())
        new.rename(self._path)


def lease(folder: pathlib.Path, holder: str, silence: float) -> Lease:
    """Return a lease that was not looked at yet; see :class:`Lease`."""
    return Lease(folder, holder, silence)


def read(folder: pathlib.Path) -> dict[str, Any]:
    """Return what the holder says, with ``holder``, ``token`` (None when it was released), ``beat``
    and ``wall``; empty when nobody ever held it, or the file is damaged.

    :raises OSError: the folder is not there, or cannot be read.
    """
    try:
        found = json.loads(_content(folder / FILE))
    except FileNotFoundError:
        folder.stat()
        return {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _content(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        if err.errno != errno.ESTALE:
            raise
        # On a network file system: it was replaced between its being found and its being opened.
        return path.read_bytes()
