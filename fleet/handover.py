"""
Handing the VIP over from one balancer to another, without cutting off a request.

What is under way when the address moves is lost: the other balancer knows nothing of it. So the
holder first has each answer end its connection, until those that are kept between requests are
gone. Then, for the moment in which the address moves, nobody new is let in: the kernel of a client
sends again after a second, and finds the other balancer. With HTTP/2 an answer cannot end its
connection; such clients are told to leave by a worker of HAProxy that a reload replaces, and so
HAProxy is reloaded in that moment when there are some. Streams are cut off, and come again by
themselves.
"""

import time
from collections.abc import Sequence
from typing import Any

from fleet import edge
from fleet.change import Step
from fleet.errors import FleetError
from fleet.minions import last_words
from fleet.work import Work

FRONTEND = "http"
#: Seconds in which another balancer must have taken the VIP.
_TAKEN = 20.0
#: Seconds in which kept connections end: HAProxy's `timeout http-keep-alive` and a little.
_KEPT = 17.0
#: Seconds for requests that are under way when nobody new is let in any more.
_ANSWERED = 5
#: Seconds after which new connections are answered again, and kept again, whatever becomes of us.
_HELD, _CLOSING = 15, 60


def holders(work: Work, also: Sequence[str] = ()) -> list[str]:
    """
    Return the balancers that have the VIP.

    also
        Balancers that the target does not have any more.

    Raises FleetError when one does not answer.
    """
    vip = work.target.topology["vip"]
    asked = dict.fromkeys([*work.with_role("lb"), *also])
    found = work.ask(list(asked), "network.ip_addrs")
    return [node for node, addresses in found.items() if vip in addresses]


def hand_over(work: Work, node: str, step: Step) -> str:
    """
    Make sure that a balancer does not hold the VIP while another one could; return what was done.

    Stops its keepalived, which says goodbye to the others; the state that follows starts it again.
    The only balancer of a fleet keeps the VIP. Where clients cannot be asked to leave first (a
    HAProxy that does not answer, or whose configuration is older), it is handed over all the same,
    and what is returned says so.

    Raises FleetError when no other balancer takes it; then keepalived runs again.
    """
    if node not in holders(work, [node]):
        return "does not hold the VIP"
    if work.with_role("lb") == [node]:
        return "the only balancer: it keeps the VIP"

    def look() -> tuple[bool, str]:
        taken = [each for each in holders(work) if each != node]
        return bool(taken), " and ".join(taken) or "nobody has it"

    notes, multiplexed = _let_clients_go(work, node, step)
    try:
        notes += _stop(work, node, multiplexed)
        taken = work.until(look, _TAKEN, "another balancer holds the VIP", step)
    except FleetError as error:
        started = work.everyone([node], "service.start", "keepalived")
        raise FleetError(*error.problems, *started.problems()) from error
    finally:
        # Its clients are gone; whoever it serves next, here or after it has the VIP again, stays.
        work.everyone([node], "haproxy.closing", 0)
    return "; ".join([f"handed the VIP over to {taken}", *notes])


def _let_clients_go(work: Work, node: str, step: Step) -> tuple[list[str], bool]:
    """
    Have no client keep its connection.

    Returns what is to be said of it, and whether some have HTTP/2 and so are still there.
    """
    asked = work.everyone([node], "haproxy.closing", _CLOSING)
    if asked.failed:
        return [f"clients were not asked to leave first ({'; '.join(asked.problems())})"], False
    end = time.monotonic() + work.left(_KEPT)
    while True:
        late = time.monotonic() >= end
        seen = work.everyone([node], "haproxy.connections", FRONTEND)
        if seen.failed:
            return [f"whether clients have left is not known ({'; '.join(seen.problems())})"], False
        answer = seen.answers[node]
        # Modules of before HTTPS say nothing of it.
        idle, multiplexed = answer["idle"], bool(answer.get("multiplexed"))
        if not idle:
            return [], multiplexed
        if late:
            kept = f"{idle} kept connection{'' if idle == 1 else 's'} had not ended"
            return [kept], multiplexed
        step.waits(f"{idle} kept connections left", max(end - time.monotonic(), 0.0))
        # Each of them ends with its next answer or its timeout, which no look makes sooner.
        time.sleep(0.5)


def _stop(work: Work, node: str, multiplexed: bool) -> list[str]:
    """Stop keepalived while nobody is under way; return what is to be said of it."""
    vip = work.target.topology["vip"]
    wait = "haproxy.retire" if multiplexed else "haproxy.wait_answered"
    # In one go, each within a fraction of a second after the one before.
    move = ["newcomers.hold", wait, "service.stop", "newcomers.admit"]
    arguments = [[vip, _ports(work), _HELD], [FRONTEND, _ANSWERED], ["keepalived"], []]
    answers: dict[str, Any] = work.ask([node], move, *arguments, timeout=2 * _HELD)[node]
    if answers.get("service.stop") is not True:
        raise FleetError(f"{node}: keepalived does not stop: {answers.get('service.stop')}")
    hold, answered = (answers.get(name) for name in move[:2])
    notes = []
    if not isinstance(hold, dict):
        notes.append(f"new connections were let in meanwhile ({_why(hold)})")
    if not isinstance(answered, dict):
        notes.append(f"not all requests had their answer ({_why(answered)})")
    return notes


def _ports(work: Work) -> int | list[int]:
    """Return where clients come; one port by itself, as modules of before HTTPS take it."""
    lb = work.settings["lb"]
    if edge.secure(work.settings):
        return [lb["frontend_port"], lb["https"]["port"]]
    port: int = lb["frontend_port"]
    return port


def _why(answer: Any) -> str:
    words = last_words(answer)
    # What Salt makes of a function that the minion has not loaded, in one job with others.
    return "its minion has no such function yet" if "not callable" in words else words
