"""
The shared volume of the whole fleet: switching its TLS.

    salt-run storage.switch_tls test=True
    salt-run storage.switch_tls

Daemons and mounts with TLS do not hear those without, so no node can change its mode alone.
"""

from typing import Any

from fleet import command, tls
from fleet.master import Master
from fleet.minions import SaltMinions
from fleet.screen import audience

__context__: dict[str, Any]
__opts__: dict[str, Any]


@command.checked
def switch_tls(restart: bool = False, test: bool = False, wait: float = 0) -> dict[str, Any]:
    """
    Have all of Gluster work with or without TLS, as ``gluster:tls`` in the checkout's pillar says.

    The shared volume is gone for half a minute; nothing that serves needs it. Does nothing where
    Gluster works so already. Given again after it has died or failed, it does everything once more.
    Refused when the checkout differs in more than that from what was rolled out.

    restart
        True to stop and start everything in any case, for certificates that were renewed.
    test
        True to say why and what would be done, and do nothing.
    wait
        Seconds to wait for another change to end.

    Returns a dictionary: ``tls``, ``reasons`` (sentences; empty when there is nothing to do),
    ``did`` (a sentence), with ``test`` ``steps``, and else ``change`` and ``revision`` (IDs).

    CLI Example:

    .. code-block:: bash

        salt-run storage.switch_tls test=True
    """
    master = Master(__opts__)
    listeners = () if test else audience(master)
    return tls.switch(master, SaltMinions(master), restart, test, listeners, wait)


_STEP = "a step of `salt-run storage.switch_tls`"
_NOW = {
    "plan_tls": "`salt-run storage.switch_tls test=True`",
    "begin_tls": _STEP,
    "unmount": _STEP,
    "stop_daemons": _STEP,
    "start_daemons": _STEP,
    "stop_volume": _STEP,
    "finish_tls": _STEP,
    "abandon_tls": _STEP,
}
command.moved(globals(), _NOW)
