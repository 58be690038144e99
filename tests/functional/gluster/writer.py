"""Run inside a node: writes to a mount until told to stop, and keeps a log of what was answered.

Each record goes into a file of its own and to the end of one that stays open, both synced to disk.
The log, on the node's own disk, has a line for each that was acknowledged: number, time, seconds.
"""

import os
import pathlib
import sys
import time

PAUSE = 0.1


def record(number):
    return f"{number:08d} {'x' * (number % 100)}\n".encode()


def main(folder, log, stop):
    folder = pathlib.Path(folder)
    with (folder / "journal").open("ab") as journal, pathlib.Path(log).open("w") as acknowledged:
        number = 0
        while not pathlib.Path(stop).exists():
            number += 1
            began = time.monotonic()
            with (folder / f"record-{number:08d}").open("xb") as file:
                file.write(record(number))
                file.flush()
                os.fsync(file.fileno())
            journal.write(record(number))
            journal.flush()
            os.fsync(journal.fileno())
            acknowledged.write(f"{number} {time.time():.3f} {time.monotonic() - began:.3f}\n")
            acknowledged.flush()
            # The pace of an ordinary client: how fast copies can be made is not the question.
            time.sleep(PAUSE)
        acknowledged.write("end\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
