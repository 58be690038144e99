"""The process's standard output, on which the log goes, and which may have no reader.

Whoever reads it may be slow, stopped or gone, and the disk below it full. Nothing here ever waits
for that: with gevent, a write that waits stops the whole process. What cannot be written is kept,
what is too much is dropped and counted, and writing goes on as soon as it can.
"""

import atexit
import contextlib
import os
import select
import stat
import threading
import time
from collections import deque
from collections.abc import Callable

from gevent import monkey  # type: ignore[import-untyped]

MOST = 4 * 1024 * 1024
"""Bytes that are kept: about what is logged in four seconds at the most."""

PAUSE = 0.01
"""Seconds until writing is tried again after it has failed."""

PATIENCE = 1.0
"""Seconds that a process gives its output at its end."""

# gevent's own would let others run, for which a line of a log is no good moment.
_poll = monkey.get_original("select", "poll")
_lock = monkey.get_original("_thread", "RLock")


class Output:
    """Lines on their way out, in order.

    :param number: the file descriptor that they are written to.
    :param gap: returns the line that says that so many were dropped, to stand in their place.
    """

    def __init__(self, number: int, gap: Callable[[int], bytes]) -> None:
        self._number = _own(number)
        self._gap = gap
        self._ready = _poll()
        self._ready.register(self._number, select.POLLOUT)
        self._forget()
        os.register_at_fork(after_in_child=self._forget)
        atexit.register(self._finish)

    def _forget(self) -> None:
        """Begin anew. After a fork, what was kept is the parent's to write."""
        self._lines: deque[bytes] = deque()
        self._rest = b""
        self._kept = 0
        self._dropped = self._untold = 0
        # Of the kind that a signal's handler, which logs, may take once more.
        self._keeping = _lock()
        self._writing = threading.Lock()
        self._there = threading.Event()
        self._thread: threading.Thread | None = None

    def put(self, line: bytes) -> None:
        """Keep a line, with its end, to be written by :meth:`flush`; or drop it."""
        with self._keeping:
            # Once it is full, nothing more until all is out: one gap in the log, and told of once.
            if self._untold or self._kept + len(line) > MOST:
                self._untold += 1
                self._dropped += 1
                return
            self._kept += len(line)
            self._lines.append(line)

    def dropped(self) -> int:
        """Return how many lines were dropped since the process began."""
        return self._dropped

    def flush(self) -> bool:
        """Write what can be written now; return whether that was all there is."""
        # Whoever writes already looks again before it leaves.
        while self._left() and self._writing.acquire(blocking=False):
            try:
                if self._left() and not self._write():
                    self._there.set()
                    return False
            finally:
                self._writing.release()
        return not self._left()

    def flush_soon(self) -> None:
        """Let a thread of its own write, in one go, what comes together.

        The first call starts it, for none must be made before a fork.
        """
        self._there.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="output", daemon=True)
            self._thread.start()

    def _left(self) -> bool:
        return bool(self._lines or self._rest or self._untold)

    def _write(self) -> bool:
        """Write as much as surely fits; return whether that could be done."""
        self._rest = self._rest or self._next()
        try:
            if not self._ready.poll(0):
                return False
            written = os.write(self._number, self._rest[: select.PIPE_BUF])
        except OSError:
            return False
        self._rest = self._rest[written:]
        with self._keeping:
            self._kept -= written
        return True

    def _next(self) -> bytes:
        """Return the lines that go out together: whole ones, so that none is torn by another's."""
        with self._keeping:
            if not self._lines:
                line = self._gap(self._untold)
                self._kept, self._untold = self._kept + len(line), 0
                return line
        part = [self._lines.popleft()]
        size = len(part[0])
        while self._lines and size + len(self._lines[0]) <= select.PIPE_BUF:
            part.append(self._lines.popleft())
            size += len(part[-1])
        return b"".join(part)

    def _run(self) -> None:
        while self._there.wait():
            self._there.clear()
            while not self.flush():
                time.sleep(PAUSE)

    def _finish(self) -> None:
        end = time.monotonic() + PATIENCE
        while not self.flush() and time.monotonic() < end:
            # A pause that lets nobody else run, for there is nobody any more.
            _poll().poll(PAUSE * 1000)


def _own(number: int) -> int:
    """Return a descriptor of a pipe that is ours alone and never waits; else the one given.

    Other processes write to the same pipe, and may fill it between our look and our write.
    """
    with contextlib.suppress(OSError):
        if stat.S_ISFIFO(os.fstat(number).st_mode):
            return os.open(f"/proc/self/fd/{number}", os.O_WRONLY | os.O_NONBLOCK)
    return number
