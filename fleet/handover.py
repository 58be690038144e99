"""Handing the VIP over from one balancer to another, without cutting off a request."""

from fleet.change import Step
from fleet.errors import FleetError
from fleet.work import Work

_TAKEN = 20.0


def holders(work: Work) -> list[str]:
    """Return the balancers that have the VIP. Raises FleetError when one does not answer."""
    vip = work.target.topology["vip"]
    found = work.ask(work.with_role("lb"), "network.ip_addrs")
    return [node for node, addresses in found.items() if vip in addresses]


def hand_over(work: Work, node: str, step: Step) -> str:
    """
    Make sure that a balancer does not hold the VIP while another one could; return what was done.

    Stops its keepalived, which says goodbye to the others; the state that follows starts it again.
    The only balancer of a fleet keeps the VIP.
    """
    if node not in holders(work):
        return "does not hold the VIP"
    if len(work.with_role("lb")) == 1:
        return "the only balancer: it keeps the VIP"
    work.ask([node], "service.stop", "keepalived")

    def look() -> tuple[bool, str]:
        taken = [each for each in holders(work) if each != node]
        return bool(taken), " and ".join(taken) or "nobody has it"

    try:
        taken = work.until(look, _TAKEN, "another balancer holds the VIP", step)
    except FleetError:
        work.ask([node], "service.start", "keepalived")
        raise
    return f"handed the VIP over to {taken}"
