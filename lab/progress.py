"""Lines that tell an operator which step of how many is running, and on which node."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lab.config import LabError

# An operator shall never look at a silent screen for 20 s.
HEARTBEAT_SECONDS = 15.0


class Progress:
    """Prints the steps of a piece of work, and a heartbeat while one is silent."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.number = 0
        self.started = time.monotonic()
        self.timings: list[tuple[str, float]] = []
        self._title = ""
        self._detail = ""
        self._last = 0.0
        self._lock = threading.Lock()

    def _print(self, text: str) -> None:
        with self._lock:
            self._last = time.monotonic()
            elapsed = int(self._last - self.started)
            print(
                f"[{self.number}/{self.total}] {elapsed // 60:02d}:{elapsed % 60:02d}  {text}",
                flush=True,
            )

    def say(self, text: str) -> None:
        """Print a line of the running step; the heartbeat repeats it until the next."""
        self._detail = text
        self._print(f"{self._title}: {text}")

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Announce the next step, and keep saying that it runs."""
        self.number += 1
        self._title, self._detail = title, ""
        begun = time.monotonic()
        self._print(title)
        done = threading.Event()
        beat = threading.Thread(target=self._beat, args=(done, begun), daemon=True)
        beat.start()
        try:
            yield
        finally:
            done.set()
            beat.join()
            self.timings.append((title, time.monotonic() - begun))

    def _beat(self, done: threading.Event, begun: float) -> None:
        while not done.wait(1.0):
            if time.monotonic() - self._last >= HEARTBEAT_SECONDS:
                detail = f", last: {self._detail}" if self._detail else ""
                took = int(time.monotonic() - begun)
                self._print(f"{self._title}: still running after {took} s{detail}")


def stream(
    command: list[str],
    on_line: Callable[[str], None],
    log: Path,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    noise: re.Pattern[str] | None = None,
) -> None:
    """Run ``command``, hand each line it prints to ``on_line`` and keep all of it in ``log``.

    :param noise: lines that tell an operator nothing, and are left out of the error.
    :raises LabError: when it exits other than 0, with its last lines and the log's path.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    tail: list[str] = []
    with (
        log.open("w") as file,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            cwd=cwd,
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            file.flush()
            text = line.rstrip()
            if text:
                if not (noise and noise.search(text)):
                    tail = [*tail[-14:], text]
                on_line(text)
    if process.returncode != 0:
        lines = "\n  ".join(tail)
        raise LabError(
            f"'{' '.join(command)}' exited with {process.returncode}. Its last lines:\n  {lines}\n"
            f"The whole output is in {log}."
        )


class Deadline:
    """A point in time, and the wait between two looks until it has come."""

    def __init__(self, seconds: float, interval: float = 0.5) -> None:
        self._end = time.monotonic() + seconds
        self._interval = interval
        self._first = True

    def passed(self) -> bool:
        """Tell whether the time is over; waits a moment between one call and the next."""
        if not self._first:
            time.sleep(self._interval)
        self._first = False
        return time.monotonic() >= self._end


def fail(error: Exception) -> int:
    """Print an error for an operator; returns the exit code."""
    print(f"error: {error}", file=sys.stderr, flush=True)
    return 1
