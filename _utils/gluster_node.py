"""
What a Gluster node is to its pool: its identity, and the directories of its bricks.
"""

import re
import uuid
import xml.etree.ElementTree as ElementTree
from collections.abc import Collection, Iterable

# What a new file system has at its root without holding any data.
_NO_DATA = {"lost+found"}


def own_uuid(root: ElementTree.Element) -> str | None:
    """Return the UUID in the answer to ``system:: uuid get``."""
    return root.findtext("uuidGenerate/uuid")


def with_uuid(text: str, wanted: str) -> str:
    """Return the text of ``glusterd.info`` with another UUID, the rest of it as it was."""
    line = f"UUID={wanted}"
    if re.search("^UUID=.*$", text, re.MULTILINE):
        return re.sub("^UUID=.*$", line, text, flags=re.MULTILINE)
    return f"{line}\n{text}"


def peer_file(member: str, names: Iterable[str]) -> str:
    """Return what glusterd keeps of a peer in the cluster (state 3) in a file named by its UUID."""
    hosts = "".join(f"hostname{number}={name}\n" for number, name in enumerate(names, 1))
    return f"uuid={member}\nstate=3\n{hosts}"


def brick_state(
    volume_id: str, xattr: bytes | None, names: Collection[str] | None
) -> tuple[bool | None, str]:
    """Tell what a brick's directory is to a volume: ``(lost, words)``.

    :param volume_id: the volume's, as ``gluster.info`` has it.
    :param xattr: the directory's ``trusted.glusterfs.volume-id``, as bytes, or None without one.
    :param names: what lies in the directory; None if there is no directory.
    :returns: ``lost`` is True if the brick has to be made anew and holds nothing, False if it is
        there, None if it must not be touched; ``words`` tell why.
    """
    if names is None:
        return True, "its directory is missing"
    if xattr is not None:
        held = str(uuid.UUID(bytes=xattr)) if len(xattr) == 16 else xattr.hex()
        if held == volume_id:
            if not names:
                # glusterd marks the directory before it refuses one on the root file system.
                return True, "its directory is empty but for the volume's mark"
            return False, "it is there"
        return None, f"its directory belongs to another volume ({held})"
    kept = sorted(set(names) - _NO_DATA)
    if kept:
        return None, f"its directory is no brick but holds {', '.join(kept[:3])}"
    return True, "its directory is empty"
