#!/usr/bin/python3 -I
"""Have the VIP on a balancer that serves, and on one alone, within a second of what befell another.

keepalived moves the address in time when it ends or its node does. It does not see in time

- that this node's HAProxy is gone or stands still: its own checks begin at whole seconds, and two
  of them have to fail;
- that this node reaches nobody any more, as behind a firewall: it keeps the address, and another
  balancer takes it too;
- that another balancer has the address too, since the two do not hear each other;
- that it stands still itself: the address stays, and another balancer takes it too.

Of the first three it is told by a file that it watches, and gives the address away. In the last
case it is killed: systemd takes the address away, and starts it anew.

A second is short on a busy machine. So time counts only while this service has its turns, and a
HAProxy that waits for a turn of its own is given longer.

Runs on Python 3.9 and later, with nothing but the standard library. Salt has it run
(salt://lb/guard.sls).
"""

from __future__ import annotations

import argparse
import array
import asyncio
import contextlib
import functools
import itertools
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

TURN = 0.1
"""Seconds from one decision to the next, and from one question to the next."""

DEAD = 0.5
"""Seconds for which HAProxy may leave a question unanswered."""

BUSY = 2.0
"""Seconds for which it, or keepalived, may be silent while it waits for a processor or a disk."""

CUT_OFF = 0.5
"""Seconds for which all others may be silent."""

TWICE = 0.1
"""Seconds for which two balancers may have the address before the one that had it first gives it
away: who took it last has told all others where it is."""

LONG_TWICE = 3.0
"""Seconds after which the one that took it last does, when both came at once."""

STEADY = 1.0
"""Seconds for which all has to be well before keepalived may take the address again."""

HEARD = 8
"""Rounds of the event loop after which what had come before them is heard, and taken for a sign."""

AGAIN = 2.0
"""Seconds from one time that keepalived is killed to the next."""

UNIT = "keepalived.service"
STOPPED, WAITS = "TtZX", "RD"
"""The kernel's letters of processes that do nothing, and that wait for a processor or a disk."""

VRRP, IPV4, ARP = 112, 0x0800, 0x0806
"""The protocol of adverts within IP, and what frames have."""

ETH_P_ALL, SO_ATTACH_FILTER = 3, 26
"""From the kernel's if_ether.h and socket.h: only who takes all packets sees those that leave."""


class Turns:
    """The time for which this service had its turns: what it slept through does not count."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._last = time.monotonic()

    def take(self) -> None:
        """Count the time since the turn before; what is longer than a turn was none of ours."""
        now = time.monotonic()
        self.seconds += min(now - self._last, TURN)
        self._last = now


class Signs:
    """For how long who has been silent, by the time of our turns."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._last: dict[str, float] = {}

    def of(self, who: str) -> None:
        """Note a sign of life."""
        self._last[who] = self._turns.seconds

    def end_of(self, who: str) -> None:
        """Note that there is no life."""
        self._last[who] = float("-inf")

    def silence(self, who: str) -> float:
        """Return the seconds since the last sign; somebody new is not missed yet."""
        return self._turns.seconds - self._last.setdefault(who, self._turns.seconds)


def fault(signs: Signs, waits: Callable[[], bool]) -> str:
    """Return why this balancer is not to have the address; nothing when it may.

    :param waits: whether HAProxy waits for a processor or a disk.
    """
    silence = signs.silence("haproxy")
    if silence >= BUSY or (silence >= DEAD and not waits()):
        return "HAProxy does not answer"
    if signs.silence("others") >= CUT_OFF:
        return "no other node answers"
    return ""


def holds(address: str, trie: str) -> bool:
    """Tell whether this node has an address, by the text of ``/proc/net/fib_trie``."""
    return bool(re.search(rf"\|-- {re.escape(address)}\s+/32 host LOCAL", trie))


def router_of(packet: bytes) -> int | None:
    """Return the number of the virtual router that an advert is of; None when it is none.

    :param packet: from the IP header on.
    """
    length = 4 * (packet[0] & 0xF) if packet else 0
    return packet[length + 1] if len(packet) > length + 1 and packet[9] == VRRP else None


def is_own_advert(packet: bytes, sender: tuple[object, ...], router: int) -> bool:
    """Tell whether a packet is an advert that leaves this node.

    :param packet: from the IP header on.
    :param sender: what ``recvfrom`` says of it.
    :param router: the number of the virtual router.
    """
    _, protocol, kind, *_ = sender
    return (protocol, kind) == (IPV4, socket.PACKET_OUTGOING) and router_of(packet) == router


def adverts(interface: str) -> socket.socket:
    """Return a socket that hears the VRRP packets of an interface.

    :raises OSError: there is no such interface, or the right to hear it is missing.
    """
    hearing = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    # Load byte 9; if it is VRRP's number take 64 bytes, else none.
    steps = ((0x30, 0, 0, 9), (0x15, 0, 1, VRRP), (0x06, 0, 0, 64), (0x06, 0, 0, 0))
    program = array.array("B", b"".join(struct.pack("HBBI", *step) for step in steps))
    pointer = struct.pack("HL", len(steps), program.buffer_info()[0])
    hearing.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, pointer)
    hearing.bind((interface, ETH_P_ALL))
    hearing.setblocking(False)
    return hearing


def hardware(addresses: list[str], interface: str, table: str) -> list[bytes]:
    """Return the hardware addresses of nodes, as far as the kernel knows them.

    :param table: the text of ``/proc/net/arp``.
    """
    found = []
    for line in table.splitlines()[1:]:
        address, _, flags, mac, _, device = line.split()
        if address in addresses and device == interface and int(flags, 16) & 2:
            found.append(bytes.fromhex(mac.replace(":", "")))
    return found


class Rivals:
    """The other balancers, which are asked whether they have the address: by ARP, each by itself.

    :raises OSError: there is no such interface, or the right to use it is missing.
    """

    def __init__(self, vip: str, interface: str, balancers: list[str]) -> None:
        self._vip = socket.inet_aton(vip)
        self._interface = interface
        self._balancers = balancers
        self._asked: list[bytes] = []
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.bind((interface, ARP))
        self._socket.setblocking(False)
        self.own: bytes = self._socket.getsockname()[4]

    def ask(self) -> None:
        """Ask each. One that has the address answers at once."""
        table = Path("/proc/net/arp").read_text(encoding="utf-8")
        self._asked = hardware(self._balancers, self._interface, table)
        # A question of nobody, which teaches no cache anything.
        head = struct.pack("!HHHBBH", ARP, 1, IPV4, 6, 4, 1)
        for mac in self._asked:
            self._socket.send(mac + self.own + head + self.own + bytes(4 + 6) + self._vip)

    def heard(self) -> bytes:
        """Return the hardware address of one that has said since that it has it; b"" if none."""
        found = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                packet = self._socket.recv(64)
                mac, address = packet[22:28], packet[28:32]
                if address == self._vip and mac in self._asked:
                    found = mac
        return found


class Doubles:
    """Whether this balancer is to give the address away because another one has it, too.

    :param turns: the time.
    :param own: this balancer's hardware address.
    """

    def __init__(self, turns: Turns, own: bytes) -> None:
        self._turns = turns
        self._own = own
        self._rival = b""
        self._heard = float("-inf")
        self._since: float | None = None
        self._both: float | None = None
        self.gave_way = False

    def look(self, has: bool, rival: bytes, hears: bool) -> bool:
        """Return whether it is to.

        :param has: whether it has the address, and could give it away.
        :param rival: the hardware address of another that does; b"" when none was heard.
        :param hears: whether keepalived has heard another's advert.
        """
        now = self._turns.seconds
        if rival:
            self._rival, self._heard = rival, now
        there = now - self._heard < 3 * TURN
        if not has:
            self._since = self._both = None
            # Until it hears the other one it would take the address again.
            self.gave_way = self.gave_way and there and not hears
            return self.gave_way
        if self._since is None:
            self._since = now
        if not there:
            self._both = None
        elif self._both is None:
            self._both = now
        elif self._both - self._since > 3 * TURN:
            self.gave_way = self._heard - self._both >= TWICE
        else:
            self.gave_way = self._heard - self._both >= LONG_TWICE and self._own > self._rival
        return self.gave_way


def states(pid_file: Path, children: bool = False) -> str:
    """Return the kernel's letter of a process; nothing when there is none.

    :param pid_file: has its number.
    :param children: whether it is about the processes that it has started; one letter each.
    """
    letters = ""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        pids = pid_file.read_text(encoding="utf-8").split()
        if children and pids:
            pids = Path(f"/proc/{pids[0]}/task/{pids[0]}/children").read_text().split()
        for pid in pids:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            letters += stat.rpartition(")")[2].split()[0]
    return letters


async def is_alive(port: int) -> bool:
    """Ask HAProxy whether it is alive.

    :raises OSError: it cannot be asked.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /alive HTTP/1.0\r\n\r\n")
        return (await reader.readline()).split()[1:2] == [b"200"]
    finally:
        writer.close()


async def is_there(node: tuple[str, int]) -> bool:
    """Tell whether a node answers, even by a refusal, and be it late."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(*node), BUSY)
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    except (OSError, asyncio.TimeoutError):  # noqa: UP041  Python 3.9 has two
        return False
    writer.close()
    return True


class Guard:
    """The service.

    :param options: see ``main``.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._turns = Turns()
        self._signs = Signs(self._turns)
        self._reason: str | None = None
        self._well = 0.0
        self._next_kill = 0.0
        self._hearing = adverts(options.interface)
        self._rivals = Rivals(options.vip, options.interface, options.balancer)
        self._doubles = Doubles(self._turns, self._rivals.own)
        # As keepalived hears, behind this node's own firewall.
        self._others = socket.socket(socket.AF_INET, socket.SOCK_RAW, VRRP)
        self._others.setblocking(False)
        self._hears = False

    async def run(self) -> None:
        """Ask, hear and decide until the service is stopped.

        :raises OSError: the interface went down. What comes up may be another one.
        """
        loop = asyncio.get_running_loop()
        down = loop.create_future()
        loop.add_reader(self._hearing, self._hear, down)
        loop.add_reader(self._others, self._hear_others)
        await asyncio.gather(self._ask_haproxy(), self._ask_others(), self._decide(), down)

    def _hear(self, down: asyncio.Future[None]) -> None:
        try:
            while True:
                packet, sender = self._hearing.recvfrom(64)
                if is_own_advert(packet, sender, self._options.router):
                    self._signs.of("keepalived")
        except BlockingIOError:
            pass
        except OSError as error:
            down.set_exception(error)

    def _hear_others(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                packet, (sender, _) = self._others.recvfrom(64)
                if sender in self._options.balancer and router_of(packet) == self._options.router:
                    self._hears = True

    async def _ask_haproxy(self) -> None:
        answered = False
        while True:
            if answered:
                # What it was not asked it has not left unanswered.
                self._signs.of("haproxy")
            answered = False
            try:
                # One that was frozen answers this question when it goes on.
                if await asyncio.wait_for(is_alive(self._options.alive), BUSY):
                    self._signs.of("haproxy")
                    answered = True
            except asyncio.TimeoutError:  # noqa: UP041
                pass
            except ConnectionRefusedError:
                self._signs.end_of("haproxy")
            except OSError:
                # A worker ended, and another one may be there.
                pass
            await asyncio.sleep(TURN)

    async def _ask_others(self) -> None:
        """Ask one in each turn, and all when nobody has answered lately."""
        others = self._options.other
        asking: set[asyncio.Task[None]] = set()
        for one in itertools.cycle(others):
            silent = self._signs.silence("others") >= 2 * TURN
            for each in others if silent else [one]:
                asking.add(task := asyncio.create_task(self._ask(each)))
                task.add_done_callback(asking.discard)
            await asyncio.sleep(TURN)

    async def _ask(self, node: tuple[str, int]) -> None:
        if await is_there(node):
            self._signs.of("others")

    async def _decide(self) -> None:
        while True:
            self._turns.take()
            has = holds(self._options.vip, Path("/proc/net/fib_trie").read_text(encoding="utf-8"))
            # What keepalived is at matters to who has the address.
            keepalived = states(self._options.keepalived_pid) if has else ""
            stands_still = not keepalived or keepalived in STOPPED
            # One that stands still cannot give it away, and is killed.
            twice = self._is_there_twice(has, has and not stands_still)
            reason = fault(self._signs, self._haproxy_waits)
            if reason and not self._reason:
                # What has come while there was no turn is heard first.
                for _ in range(HEARD):
                    await asyncio.sleep(0)
                reason = fault(self._signs, self._haproxy_waits)
            self._tell(reason or ("another balancer has it, too" if twice else ""))
            if not has:
                self._signs.of("keepalived")
            elif self._is_to_be_killed(stands_still, waits=keepalived in WAITS):
                self._kill_keepalived()
            await asyncio.sleep(TURN)

    def _haproxy_waits(self) -> bool:
        return bool({*WAITS} & {*states(self._options.haproxy_pid, children=True)})

    def _is_there_twice(self, has: bool, can: bool) -> bool:
        """Tell whether another balancer has the address, too, and this one is to give it away.

        :param can: whether it has it, and could.
        """
        if has or self._doubles.gave_way:
            self._rivals.ask()
        hears, self._hears = self._hears, False
        return self._doubles.look(can, self._rivals.heard(), hears)

    def _tell(self, reason: str) -> None:
        """Have keepalived know whether it may have the address."""
        if reason:
            self._well = self._turns.seconds
        elif self._turns.seconds - self._well < STEADY:
            return
        if reason == self._reason:
            return
        if reason:
            say(f"{reason}: keepalived is to give {self._options.vip} away")
        elif self._reason:
            say("all is well again: keepalived may take the address")
        self._options.fault.write_text("1\n" if reason else "0\n", encoding="utf-8")
        self._reason = reason

    def _is_to_be_killed(self, stands_still: bool, waits: bool) -> bool:
        """Tell whether keepalived tells nobody of the address, and does not give it away."""
        silence = self._signs.silence("keepalived")
        if silence < self._options.silence or self._turns.seconds < self._next_kill:
            return False
        # One that waits is back soon, and heeds who has taken the address meanwhile. What one that
        # sleeps tells may be kept from others by a firewall; it heeds what it is told here.
        return stands_still or (silence >= BUSY and (waits or self._doubles.gave_way))

    def _kill_keepalived(self) -> None:
        say(f"{self._options.vip} is here, and keepalived tells nobody: killing it")
        self._next_kill = self._turns.seconds + AGAIN
        command = ["systemctl", "kill", "--signal=KILL", UNIT]
        done = subprocess.run(command, capture_output=True, text=True, timeout=AGAIN, check=False)
        if done.returncode:
            say(f"{' '.join(command)}: {done.stderr.strip()}")


def say(message: str) -> None:
    """Write a line to the journal, as a warning."""
    print(f"<4>{message}", file=sys.stderr, flush=True)


def node(text: str) -> tuple[str, int]:
    """Return an address and a port.

    :raises ValueError: the text says something else.
    """
    address, _, port = text.rpartition(":")
    return address, int(port)


def main() -> None:
    """Guard the VIP until the service is stopped, or has to start anew."""
    parser = argparse.ArgumentParser(prog="vip-guard", description=__doc__, allow_abbrev=False)
    wanted = functools.partial(parser.add_argument, required=True)
    wanted("--vip", help="the address")
    wanted("--interface", help="where adverts leave")
    wanted("--router", type=int, help="the number of the virtual router")
    wanted("--silence", type=float, help="seconds without an advert that a holder may be")
    wanted("--alive", type=int, help="the port at which HAProxy tells whether it is alive")
    wanted("--haproxy-pid", type=Path, help="the file with the number of HAProxy's master process")
    wanted("--keepalived-pid", type=Path, help="the file with the number of who sends adverts")
    wanted("--fault", type=Path, help="the file that keepalived watches")
    wanted(
        "--other",
        type=node,
        action="append",
        help="ADDRESS:PORT of a web server or balancer; when none answers this node is cut off",
    )
    wanted("--balancer", action="append", help="the address of another balancer")
    options = parser.parse_args()
    try:
        asyncio.run(Guard(options).run())
    except OSError as error:
        sys.exit(f"vip-guard: {options.interface}: {error}")


if __name__ == "__main__":
    main()
