"""The keys of minions that this master has accepted, and forgetting them."""

import errno
import socket

import salt.key

from fleet import enroll
from fleet.errors import FleetError
from fleet.master import Master

#: Seconds in which a machine that is there answers a connection.
_PATIENCE = 2.0
#: A port on which most machines listen; one that does not says so at once.
_PORT = 22


def accepted(master: Master, node: str) -> str | None:
    """Return the fingerprint of the key that is accepted for a node, or None when none is."""
    if not enroll.plausible(node):
        return None
    with salt.key.get_key(dict(master.opts)) as keys:
        text: str | None = keys.key_str(node).get("minions", {}).get(node)
    return enroll.fingerprint(text) if text else None


def delete(master: Master, node: str) -> None:
    """
    Have the key of a node not be accepted any more; it may be gone already.

    Raises FleetError when it is accepted even then.
    """
    if accepted(master, node) is None:
        return
    with salt.key.get_key(dict(master.opts)) as keys:
        # Not by a pattern: an ID means that one node.
        keys.delete_key(match_dict={"minions": [node]})
    if accepted(master, node) is not None:
        raise FleetError(f"the key of {node} could not be deleted: see the master's log")


def forget(master: Master, node: str) -> None:
    """Delete the key of a node and its noted fingerprint, so that none is accepted for its ID."""
    # First what would let it in again.
    enroll.forget(master, node)
    enroll.settle(master, node)
    delete(master, node)


def machine_answers(address: str) -> bool:
    """
    Return whether a machine is up at an address, whatever runs on it.

    A connection that is refused is an answer as well.
    """
    try:
        with socket.create_connection((address, _PORT), _PATIENCE):
            return True
    except ConnectionRefusedError:
        return True
    except OSError as error:
        # Nobody there, or no way there; anything else says nothing about the machine.
        if error.errno in (None, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT):
            return False
        raise FleetError(f"whether {address} is up cannot be told: {error}") from error
