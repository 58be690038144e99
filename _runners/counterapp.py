"""
Commands by the names that they had before: each says what it is called now.

Commands are named by what they are about: ``fleet``, ``rollout``, ``release``, ``operator``.
"""

from collections.abc import Callable
from typing import Any

from fleet import command
from fleet.errors import FleetError

__context__: dict[str, Any]

_NOW = {
    "current_release": "`salt-run release.current`",
    "history": "`salt-run rollout.history`",
    "lock": "part of every change, which takes it by itself; `salt-run fleet.status` shows it",
    "plan": "`salt-run rollout.plan`",
    "preflight": "`salt-run rollout.plan`",
    "publish": "`salt-run release.publish`",
    "releases": "`salt-run release.list`",
    "settings": "`salt-run fleet.settings`",
    "status": "`salt-run fleet.status`",
    "token": "`salt-run operator.token`",
    "topology": "`salt-run fleet.topology`",
    "unlock": "`salt-run rollout.unlock`",
    "verify": "`salt-run fleet.verify`",
    "with_role": "`salt-run fleet.topology`",
}


def _moved(name: str, now: str) -> Callable[..., Any]:
    def refuse() -> None:
        raise FleetError(f"counterapp.{name} is now {now}")

    def function(*_args: Any, **_kwargs: Any) -> Any:
        return command.run(__context__, refuse)

    function.__name__ = name
    function.__doc__ = f"""
    Was {name}; it is now {now}.

    CLI Example:

    .. code-block:: bash

        salt-run counterapp.{name}
    """
    return function


globals().update({name: _moved(name, now) for name, now in _NOW.items()})
