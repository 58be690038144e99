"""
The fleet's secrets: which there are, and having another one take the place of one.

    salt-run secret.list
    salt-run secret.rotate mongodb_app test=True
    salt-run secret.rotate mongodb_app
"""

from typing import Any

from fleet import command, rotation
from fleet.master import Master
from fleet.minions import SaltMinions
from fleet.screen import audience

__context__: dict[str, Any]
__opts__: dict[str, Any]
__func_alias__ = {"list_": "list"}


@command.checked
def list_() -> dict[str, dict[str, Any]]:
    """
    Return the secrets that can be rotated, and how old they are.

    Each has ``nodes`` (who has to do with it), ``since`` (since when nodes have it), ``days`` (its
    age), ``rotated`` (the ID of the change that made it, as far as the history says, or null) and
    ``unfinished`` (bool: its rotation has not come to its end).

    CLI Example:

    .. code-block:: bash

        salt-run secret.list
    """
    return rotation.table(Master(__opts__))


@command.checked
def rotate(
    name: str, test: bool = False, wait: float = 0, min_in_service: int | None = None
) -> dict[str, Any]:
    """
    Have another secret take the place of one; the old one is refused afterwards.

    No request fails meanwhile: while nodes go over one by one, the old one and the new one are both
    good. One that failed or died goes on when it is given again, and until then no other change
    begins. The new one is random, and told to nobody.

    name
        Which secret, as ``secret.list`` has it.
    test
        True to say what would be done, and do nothing.
    wait
        Seconds to wait for another change to end.
    min_in_service
        Web servers that stay in rotation, instead of what the pillar's ``rollout`` has: 0 where
        there is only one.

    Returns a dictionary: ``secret``, ``goes_on`` (bool: an earlier one had not come to its end),
    ``did`` (a sentence), with ``test`` ``steps``, and else ``change`` (ID).

    CLI Example:

    .. code-block:: bash

        salt-run secret.rotate mongodb_app test=True
    """
    master = Master(__opts__)
    said = {} if min_in_service is None else {"min_in_service": min_in_service}
    listeners = () if test else audience(master)
    return rotation.rotate(master, SaltMinions(master), name, test, wait, said, listeners)
