"""
Commands by the names that they had before: each says what it is called now.

Commands are named by what they are about: ``fleet``, ``rollout``, ``release``, ``operator``.
"""

from typing import Any

from fleet import command

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

command.moved(globals(), _NOW)
