"""A program that abuses a web node: many connections, in a process of their own.

    python -m tests.functional.app.attack.abuser

The first line of standard input says what to do, as JSON: ``port``, and ``groups`` of connections
that all do the same. Once each connection has sent its first bytes, or is there if it is one that
waits for its turn, a line comes back. A line ``turn`` has one connection of each group whose
connections take turns send, and is answered when those have their answers; a line ``report`` is
answered with a report. The end of the input ends it all. A group has:

- ``connections``: how many; ``addresses``: the addresses that they come from, in turn.
- ``send``: a list of what they send, in turn, with ``{n}`` where a number goes that never comes
  twice.
- ``turns``: true if each sends whenever it is its turn. Left out, each sends once, reads what
  comes, and counts as open for as long as it is.
- ``drip``: seconds after each of which an ``x`` follows, without ever making up a request.

A report has the statuses by how often they came, how many connections are open, and how often one
was closed by the node.
"""

import asyncio
import collections
import contextlib
import itertools
import json
import sys


class Abuser:
    """All the connections, and what they have been told so far."""

    def __init__(self, port):
        self._port = port
        self._numbers = itertools.count()
        self.statuses = collections.Counter()
        self.open = 0
        self.closed = 0

    async def run(self, groups):
        """Start the groups, and return when each connection has sent its first bytes."""
        begun = [asyncio.Event() for group in groups for _ in range(group["connections"])]
        events = iter(begun)
        self._tasks, self._turns = [], []
        for group in groups:
            addresses = itertools.cycle(group["addresses"])
            sends = itertools.cycle(group["send"])
            turns = [asyncio.Queue() for _ in range(group["connections"])]
            if group.get("turns"):
                self._turns.append(itertools.cycle(turns))
            for mine in turns:
                to_do = group | {"send": next(sends), "turns": mine if group.get("turns") else None}
                connection = self._connection(to_do, next(addresses), next(events))
                self._tasks.append(asyncio.create_task(connection))
        for event in begun:
            await event.wait()

    async def turn(self):
        """Have one connection of each group that takes turns send, and wait for the answers."""
        chosen = [next(each) for each in self._turns]
        for each in chosen:
            each.put_nowait(None)
        await asyncio.gather(*(each.join() for each in chosen))

    def report(self):
        return {"statuses": self.statuses, "open": self.open, "closed": self.closed}

    async def _connection(self, group, address, begun):
        """Be one connection, and another one where the node closes it, unless it was to be kept."""
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", self._port, local_addr=(address, 0), limit=2**20
                )
                self.open += 1
                try:
                    await self._use(group, reader, writer, begun)
                finally:
                    self.open -= 1
                    self.closed += 1
                    writer.close()
            if group["turns"] is None:
                return
            await asyncio.sleep(0.05)

    async def _use(self, group, reader, writer, begun):
        if group["turns"] is None:
            await self._ask(group, reader, writer, begun)
            # Its body, which may have no end, or whatever else comes until the node closes it.
            while await reader.read(65536):
                pass
            return
        while True:
            begun.set()
            await group["turns"].get()
            try:
                await self._ask(group, reader, writer, begun)
            finally:
                group["turns"].task_done()

    async def _ask(self, group, reader, writer, begun):
        drip = group.get("drip")
        writer.write(group["send"].replace("{n}", str(next(self._numbers))).encode())
        await writer.drain()
        begun.set()
        if drip:
            dripping = asyncio.create_task(self._drip(writer, drip))
        try:
            await self._answer(reader)
        finally:
            if drip:
                dripping.cancel()

    async def _drip(self, writer, seconds):
        with contextlib.suppress(OSError):
            while True:
                await asyncio.sleep(seconds)
                writer.write(b"x")
                await writer.drain()

    async def _answer(self, reader):
        head = await reader.readuntil(b"\r\n\r\n")
        self.statuses[head.split(b" ", 2)[1].decode()] += 1
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                await reader.readexactly(int(value))


async def main():
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    spec = json.loads(await lines.readline())
    abuser = Abuser(spec["port"])
    await abuser.run(spec["groups"])
    print("begun", flush=True)
    while line := await lines.readline():
        if line == b"turn\n":
            await abuser.turn()
            print("turned", flush=True)
        else:
            print(json.dumps(abuser.report()), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
