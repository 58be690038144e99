"""
Releases of the app, of which a rollout takes one to the fleet.

They lie in the master's folder ``counterapp_dist`` (default ``/srv/counterapp-dist``), where the
builder puts them, or on the shared volume since they were published.
"""

from typing import Any

from fleet import command, releases
from fleet.master import Master

__context__: dict[str, Any]
__opts__: dict[str, Any]

__func_alias__ = {"list_": "list"}


@command.checked
def list_() -> list[dict[str, Any]]:
    """
    Return the releases that can be rolled out, oldest first.

    What lies on the volume and was not published is none.

    Returns of each ``version``, ``path``, ``sha256`` and ``size`` as they were noted when it was
    published, and ``published``, when that was (ISO 8601); the last three are None before that.

    CLI Example:

    .. code-block:: bash

        salt-run release.list
    """
    return releases.listed(Master(__opts__))


@command.checked
def current() -> str | None:
    """
    Return the release that the fleet is on; None before the first rollout.

    CLI Example:

    .. code-block:: bash

        salt-run release.current
    """
    return releases.current(Master(__opts__))


@command.checked
def publish(version: str, source: str | None = None) -> dict[str, Any]:
    """
    Vouch for a release, and put it on the shared volume, where the web nodes take it from.

    Its SHA-256 and size are noted where root of the master alone can write (``pillar/releases.sls``
    of ``counterapp_config``); the nodes have them by pillar and install nothing else, whatever lies
    on the volume. What lies there of this version is replaced unless it is the same. A release that
    was published with other content is refused, since a release never changes.

    A rollout does this by itself.

    version
        Which release.
    source
        Path of the archive on the master, outside of the volume; the default is that of the
        version in the builder's output folder.

    Returns ``version``, ``path``, ``sha256``, ``size`` and ``changed``.

    CLI Example:

    .. code-block:: bash

        salt-run release.publish 1.4.0
    """
    return releases.publish(Master(__opts__), version, source)
