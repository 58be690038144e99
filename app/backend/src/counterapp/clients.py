"""Who a client is: its address, which our own balancers vouch for, and only they."""

import functools
import ipaddress
from collections.abc import Collection
from typing import NamedTuple

HEADER = "X-Forwarded-For"

_LONGEST = 45
"""Characters of an address."""

_NETWORK = 64
"""Bits of an IPv6 address that a client was given; those behind them it chooses itself."""


class Client(NamedTuple):
    """A client."""

    address: str
    """As the log has it."""
    group: str
    """What limits go by: the address, or of IPv6 the network that is one client's."""


class Clients:
    """Tells clients by the connection and the header that a request came with.

    :param balancers: addresses of those whose header is believed.
    """

    def __init__(self, balancers: Collection[str]) -> None:
        self._balancers = balancers

    def of(self, peer: str, forwarded: str) -> Client:
        """Return the client.

        :param peer: the address that the connection is from.
        :param forwarded: what ``X-Forwarded-For`` says. Whatever is before the last comma is what
            the balancer was told itself.
        """
        client = _client(peer) or Client(peer, peer)
        if not forwarded or client.address not in self._balancers:
            return client
        word = forwarded.rpartition(",")[2].strip(" \t")
        return (_client(word) if len(word) <= _LONGEST else None) or client


@functools.lru_cache(maxsize=10_000)
def _client(text: str) -> Client | None:
    """Return the client at an address, None if it is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return Client(str(address), str(address))
    if address.ipv4_mapped:
        return Client(str(address.ipv4_mapped), str(address.ipv4_mapped))
    network = ipaddress.IPv6Network((int(address), _NETWORK), strict=False)
    return Client(str(address), str(network))
