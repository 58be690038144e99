"""Whether what is in the checkout differs from what was rolled out."""

import tempfile
from pathlib import Path
from typing import Any

from fleet import revision
from fleet.master import Master


def of(master: Master) -> dict[str, Any] | None:
    """
    Hold the checkout against the revision that the fleet is on.

    Returns ``differs`` and the names of the files that a rollout would bring: ``changed``,
    ``added`` and ``gone``, as a revision has them; None before the first rollout.

    Raises FleetError when the checkout has no such folders.
    """
    base = revision.base(master)
    if base is None:
        return None
    with tempfile.TemporaryDirectory(prefix="drift.") as name:
        revision.gather(master, base.release, Path(name))
        here = _by_name(Path(name))
    there = _by_name(base.folder)
    found = {
        "changed": [each for each in here if each in there and here[each] != there[each]],
        "added": [each for each in here if each not in there],
        "gone": [each for each in there if each not in here],
    }
    return {"differs": any(found.values()), **found}


def _by_name(folder: Path) -> dict[str, tuple[str, bytes]]:
    return {name: (kind, content) for name, kind, content in revision.contents(folder)}
