"""
Let new connections to an address wait in their clients while the address moves to another node.

A request that is under way when its address goes is lost, and at any moment some are. So before it
goes nobody new is let in: the first packet of a connection is not answered, its client sends it
once more a second later, and by then the other node has the address. Connections that are there
already go on.

:depends: ``nft`` (Debian and RedHat: ``nftables``), and no other firewall: the rule stands in a
    table of its own, ``counterapp_newcomers``.
"""

import ipaddress

import salt.utils.path
from salt.exceptions import CommandExecutionError

__virtualname__ = "newcomers"

_TABLE = "ip counterapp_newcomers"
# An element of a set ends by itself, which a rule does not.
_RULES = """
add table {table}
delete table {table}
table {table} {{
  set waiting {{ type ipv4_addr . inet_service; flags timeout; }}
  chain input {{
    type filter hook input priority -10; policy accept;
    ip daddr . tcp dport @waiting tcp flags & (syn | ack) == syn drop
  }}
}}
add element {table} waiting {{ {elements} }}
"""


def __virtual__():
    return __virtualname__


def _nft(rules):
    # The daemon's PATH may lack the folder where distributions put the program.
    binary = salt.utils.path.which("nft") or salt.utils.path.which("/usr/sbin/nft")
    if not binary:
        raise CommandExecutionError("nft is not installed here: install the package nftables")
    done = __salt__["cmd.run_all"](
        [binary, "-f", "-"], stdin=rules, python_shell=False, ignore_retcode=True
    )
    if done["retcode"]:
        raise CommandExecutionError(f"nft refuses: {done['stderr'].strip()}")


def hold(address, port, seconds=10):
    """
    Do not answer new connections to an address and ports, for so many seconds at the most.

    address
        An IPv4 address of this node.
    port
        The TCP port, or a list of them.
    seconds
        Whole seconds, 1 to 60, after which it ends by itself, whatever becomes of its caller.

    Returns ``{"address": …, "port": …, "seconds": …}``.

    Raises CommandExecutionError when an argument is none, when there is no ``nft``, or when the
    kernel refuses.

    CLI Example:

    .. code-block:: bash

        salt 'lb-1' newcomers.hold 192.168.33.10 '[80, 443]' seconds=5
    """
    try:
        address = str(ipaddress.IPv4Address(address))
    except ValueError as error:
        raise CommandExecutionError(f"{address!r} is no IPv4 address") from error
    ports = port if isinstance(port, list) and port else [port]
    for name, value, most in (
        *(("port", each, 65535) for each in ports),
        ("seconds", seconds, 60),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise CommandExecutionError(
                f"{name} must be a whole number from 1 to {most}, not {value!r}"
            )
    elements = ", ".join(f"{address} . {each} timeout {seconds}s" for each in ports)
    _nft(_RULES.format(table=_TABLE, elements=elements))
    return {"address": address, "port": port, "seconds": seconds}


def admit():
    """
    Answer new connections again; do nothing where they are.

    Returns True.

    Raises CommandExecutionError when there is no ``nft``, or when the kernel refuses.

    CLI Example:

    .. code-block:: bash

        salt 'lb-1' newcomers.admit
    """
    # To delete what is not there would be refused.
    _nft(f"add table {_TABLE}\ndelete table {_TABLE}\n")
    return True
