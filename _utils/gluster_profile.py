"""
Measurements of a Gluster volume's bricks, from ``gluster volume profile``, as data.
"""

import math
import xml.etree.ElementTree as ElementTree
from typing import Any


def bricks(root: ElementTree.Element) -> list[dict[str, Any]]:
    """Return what ``volume profile NAME info`` measured, as a list of bricks by name.

    Each is ``{"name", "cumulative", "interval"}``; a part that was not asked for is None. A part is
    ``{"duration", "read", "written", "blocks", "fops"}``: seconds, bytes, bytes, ``{size: {"reads",
    "writes"}}`` of the block sizes that occurred, and ``{name: {"hits", "min", "average", "max"}}``
    with latencies in microseconds, None where nothing was measured.
    """
    found = [
        {
            "name": node.findtext("brickName"),
            "cumulative": _part(node.find("cumulativeStats")),
            "interval": _part(node.find("intervalStats")),
        }
        for node in root.iterfind("volProfile/brick")
    ]
    # They come in the order in which their nodes answered.
    return sorted(found, key=lambda brick: brick["name"])


def _part(node: ElementTree.Element | None) -> dict[str, Any] | None:
    if node is None:
        return None
    blocks: dict[str, dict[str, int]] = {}
    for block in node.iterfind("blockStats/block"):
        counts = {key: int(block.findtext(key, "")) for key in ("reads", "writes")}
        if any(counts.values()):
            # As text, for keys of a return are text by the time it has gone through JSON.
            blocks[block.findtext("size", "")] = counts
    return {
        "duration": int(node.findtext("duration", "")),
        "read": int(node.findtext("totalRead", "")),
        "written": int(node.findtext("totalWrite", "")),
        "blocks": blocks,
        "fops": {
            fop.findtext("name"): {
                "hits": int(fop.findtext("hits", "")),
                "min": _microseconds(fop.findtext("minLatency")),
                "average": _microseconds(fop.findtext("avgLatency")),
                "max": _microseconds(fop.findtext("maxLatency")),
            }
            for fop in node.iterfind("fopStats/fop")
        },
    }


def _microseconds(text: str | None) -> float | None:
    # glusterfs counts in nanoseconds. What was never measured is 0, or the highest number it has.
    nanoseconds = float(text or "nan")
    if math.isnan(nanoseconds) or not 0 < nanoseconds < 2**63:
        return None
    return round(nanoseconds / 1000, 3)
