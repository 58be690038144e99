"""What those who operate the counters need of the master."""

from typing import Any

from fleet import command
from fleet import token as tokens
from fleet.master import Master

__context__: dict[str, Any]
__opts__: dict[str, Any]


@command.checked
def token(
    scopes: str = "counters:read",
    minutes: int = 15,
    subject: str | None = None,
    path: str | None = None,
) -> dict[str, Any]:
    """
    Make a token for the operator's endpoints of the app, and put it into a file of root's alone.

    The file holds the whole header, for ``curl --header @<file>``: so the token is in no argument,
    no log and no job cache. It is signed with the fleet's operator key and ends by itself; a new
    one takes the place of the one before.

    scopes
        What it allows, separated by commas or blanks: ``counters:read`` (list and export all
        counters), ``counters:write`` (set and delete any).
    minutes
        For how long it is good, from 1 to 1440: a day is the longest that the app takes.
    subject
        Whom the app's log shall name. Default: the user who runs this, at this host; behind sudo
        the one who called it.
    path
        Where to put it. Default: ``operator.header`` in ``counterapp_state`` (default
        ``/var/lib/counterapp``).

    Returns ``path``, ``subject``, ``scopes`` and ``expires``; never the token.

    CLI Example:

    .. code-block:: bash

        salt-run operator.token scopes=counters:read,counters:write minutes=10
    """
    return tokens.make(Master(__opts__), scopes, minutes, subject, path)
