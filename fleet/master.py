"""Where this master has what: the checkout, what was rolled out, lock, journals and history."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Master:
    """
    This master, by its Salt configuration.

    opts
        The configuration. Of it are used, with their defaults: ``counterapp_state``
        (``/var/lib/counterapp``: lock, journals, history, revisions), ``counterapp_config``
        (``/etc/salt/counterapp``: secrets, notes of releases and revisions), ``counterapp_dist``
        (``/srv/counterapp-dist``: built releases), ``counterapp_tree`` (``/srv/counterapp``: the
        checkout), ``counterapp_pillar`` (list of pillar folders that come before the checkout's
        own; ``[/srv/counterapp-lab/pillar]``) and ``counterapp_topology`` (``default``).
    """

    opts: Mapping[str, Any]

    @property
    def state(self) -> Path:
        return Path(self.opts.get("counterapp_state", "/var/lib/counterapp"))

    @property
    def config(self) -> Path:
        return Path(self.opts.get("counterapp_config", "/etc/salt/counterapp"))

    @property
    def dist(self) -> Path:
        return Path(self.opts.get("counterapp_dist", "/srv/counterapp-dist"))

    @property
    def tree(self) -> Path:
        return Path(self.opts.get("counterapp_tree", "/srv/counterapp"))

    @property
    def pillars(self) -> list[Path]:
        """The pillar folders that a revision is made from; the first that has a file wins."""
        own = self.opts.get("counterapp_pillar", ["/srv/counterapp-lab/pillar"])
        return [*map(Path, own), self.tree / "pillar"]

    @property
    def notes(self) -> Path:
        """The pillar folder of what is no part of a revision: secrets, notes, who is moved."""
        return self.config / "pillar"

    @property
    def topology_name(self) -> str:
        return str(self.opts.get("counterapp_topology", "default"))

    @property
    def id(self) -> str:
        return str(self.opts["id"])
