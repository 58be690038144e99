"""
What a minion has loaded from a state tree, as one digest.

Written into a revision when it is made, and compared by the minion with what it has on its disk.
"""

import hashlib
import pathlib
from collections.abc import Mapping

# What `saltutil.sync_all` takes along.
_SUFFIXES = {".py", ".pyx", ".so", ".zip"}


def digest(folders: Mapping[str, pathlib.Path]) -> str:
    """Return the SHA-256 of the names and contents of modules.

    Modes and times are left out, for a minion has its own.

    :param folders: where the modules of a kind lie, by its name: ``modules``, ``states``, … One
        without modules, or that is not there, makes no difference.
    """
    whole = hashlib.sha256()
    for kind in sorted(folders):
        for path in sorted(folders[kind].rglob("*")):
            if path.suffix in _SUFFIXES and path.is_file():
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                whole.update(f"{kind}/{path.relative_to(folders[kind])} {content}\n".encode())
    return whole.hexdigest()


def of_tree(folder: pathlib.Path) -> str:
    """Return the digest of the modules that a tree has in ``_modules``, ``_states``, …"""
    return digest({path.name[1:]: path for path in folder.glob("_*") if path.is_dir()})


def of_minion(folder: pathlib.Path) -> str:
    """Return the digest of what a minion has in its ``extension_modules``."""
    return digest({path.name: path for path in folder.glob("*") if path.is_dir()})
