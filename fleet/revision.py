"""
Revisions: what is rolled out, as it was when a change began, and never altered.

A revision is a folder ``revisions/<id>`` in the master's state folder, with the state tree
(``salt``), what minions load (``_modules``, ``_states``, ``_utils``) and the pillar with topology
and release, and without secrets. Its ID is the beginning of a digest of all of it. Two symbolic
links beside it are the environments of Salt's file server and pillar: ``base`` is the revision that
the fleet is on, ``candidate`` the one that a change takes it to. Which nodes a change is moving
stands in ``moving.yaml`` among the master's pillar notes, and the top files go by it: a node that
converges by itself stays on ``base``, or, while it is moved, refuses to.
"""

import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fleet import files, pillar
from fleet.errors import FleetError
from fleet.lock import now
from fleet.master import Master
from fleet.utils import synced

BASE, CANDIDATE = "base", "candidate"
#: What of the checkout is part of a revision, beside the pillar.
FOLDERS = ("salt", "_modules", "_states", "_utils")
#: What belongs to the master's own work, or is made by Python as it runs.
_LEFT_OUT = {"orch", "_runners", "__pycache__", ".pytest_cache"}
# The letter keeps digits alone from being taken for a number on the command line.
_ID = re.compile(r"r[0-9a-f]{12}\Z")
#: What a revision holds beside what it is a revision of.
NOTE = "revision.json"
_MOVING = "moving.yaml"
#: What is told before the first rollout.
BARE = (
    "nothing was rolled out yet: topology and settings are those of the checkout; "
    "`salt-run state.orchestrate orch.rollout` rolls it out"
)


@dataclass(frozen=True)
class Revision:
    """
    A revision of this master.

    id
        The letter r and twelve hexadecimal digits.
    folder
        Where it lies.
    """

    master: Master
    id: str
    folder: Path

    @cached_property
    def note(self) -> dict[str, Any]:
        """
        ``id``, ``sha256``, ``release``, ``created``, ``commit`` (of the checkout, or None), and
        ``reached``: True once the fleet has been on it.
        """
        found: dict[str, Any] = json.loads((self.folder / NOTE).read_text(encoding="utf-8"))
        return found

    @property
    def release(self) -> str:
        return str(self.note["release"])

    @property
    def pillars(self) -> list[Path]:
        return [self.folder / "pillar"]

    @cached_property
    def topology(self) -> dict[str, Any]:
        """``name``, ``network``, ``vip``, ``nodes`` by ID; raises FleetError when it is wrong."""
        return pillar.select(self.master, self.pillars)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The pillar of the master's own minion, without secrets."""
        return pillar.settings(self.master, self.pillars)

    def with_role(self, role: str) -> list[str]:
        """Return the IDs of the nodes with a role, in the topology's order."""
        nodes = self.topology["nodes"]
        return [node for node, entry in nodes.items() if role in entry["roles"]]

    @cached_property
    def modules(self) -> str:
        """The digest of what minions load from it, as ``synced.digest`` has it on a minion."""
        return synced.of_tree(self.folder)

    def check(self) -> None:
        """Raise FleetError unless it still is what it was when it was made."""
        found = digest(self.folder)
        if found != self.note["sha256"]:
            raise FleetError(
                f"revision {self.id} was altered ({self.folder}): a revision never changes; roll "
                "out another one, or remove the folder and roll out what is in the checkout"
            )


def contents(folder: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yield name, kind (``link``, ``program`` or ``file``) and content of all below a folder."""
    for path in sorted(folder.rglob("*"), key=lambda each: str(each.relative_to(folder))):
        name = str(path.relative_to(folder))
        if name == NOTE or path.is_dir() and not path.is_symlink():
            continue
        if path.is_symlink():
            yield name, "link", str(path.readlink()).encode()
        else:
            kind = "program" if path.stat().st_mode & 0o100 else "file"
            yield name, kind, path.read_bytes()


def digest(folder: Path) -> str:
    """Return the SHA-256 of the names, kinds and contents below a folder, its note left out."""
    whole = hashlib.sha256()
    for name, kind, content in contents(folder):
        whole.update(f"{kind} {len(name.encode())} {name} {len(content)}\n".encode() + content)
    return whole.hexdigest()


def capture(master: Master, release: str) -> Revision:
    """
    Make a revision of what is in the checkout now, and of a release; it may be there already.

    Raises FleetError when the checkout has no such folders.
    """
    home(master).mkdir(mode=0o700, parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".new.", dir=home(master)))
    try:
        gather(master, release, made)
        found = digest(made)
        note = {
            "id": f"r{found[:12]}",
            "sha256": found,
            "release": release,
            "created": now(),
            "commit": _commit(master.tree),
        }
        return adopt(master, made, note)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def gather(master: Master, release: str, folder: Path) -> None:
    """
    Copy what a revision of the checkout and a release is made of into an empty folder.

    Raises FleetError when the checkout has no such folders.
    """
    missing = [str(master.tree / name) for name in FOLDERS if not (master.tree / name).is_dir()]
    if missing:
        raise FleetError(f"{', '.join(missing)}: no such folder; put the repository's there")
    for name in FOLDERS:
        shutil.copytree(master.tree / name, folder / name, symlinks=True, ignore=_ignored)
    # The first folder that has a file wins.
    for each in reversed(master.pillars):
        if each.is_dir():
            shutil.copytree(
                each, folder / "pillar", symlinks=True, ignore=_ignored, dirs_exist_ok=True
            )
    (folder / "pillar/modules.sls").write_text(
        "# What minions load of this revision, as `synced.digest` tells what they have.\n"
        f"modules_digest: {synced.of_tree(folder)}\n",
        encoding="utf-8",
    )
    # Who is moved is not told by a revision, but by the master's notes.
    (folder / "pillar" / _MOVING).unlink(missing_ok=True)
    (folder / "pillar/release.sls").write_text(
        f"# What the web servers of this revision serve.\nrelease: {json.dumps(release)}\n",
        encoding="utf-8",
    )


def adopt(master: Master, made: Path, note: dict[str, Any]) -> Revision:
    """
    Have a folder be a revision, unless that is there already.

    made
        The folder, beside the revisions; it is moved.
    note
        What :attr:`Revision.note` has.
    """
    files.write_json(made / NOTE, note, 0o644)
    _settle(made)
    revision = Revision(master, note["id"], home(master) / note["id"])
    if revision.folder.exists():
        revision.check()
    else:
        made.chmod(0o700)
        made.rename(revision.folder)
        files.sync_folder(home(master))
    return revision


def home(master: Master) -> Path:
    """Return the folder of the revisions, which may not be there yet."""
    return master.state / "revisions"


def _ignored(_folder: str, names: list[str]) -> set[str]:
    return {name for name in names if name in _LEFT_OUT or name.endswith(".pyc")}


def _settle(folder: Path) -> None:
    """
    Give every file a time that follows from its content.

    Salt's file server goes by a file's time to tell whether it has changed, and an environment that
    comes to name another revision has other files under the same names.
    """
    for path in folder.rglob("*"):
        if path.is_symlink() or path.is_dir():
            continue
        value = int(hashlib.sha256(path.read_bytes()).hexdigest()[:12], 16)
        # Seconds within 16 years after 2001, and milliseconds.
        seconds, rest = 978307200 + (value >> 19), value & 0x1FF
        os.utime(path, ns=(seconds * 10**9, seconds * 10**9 + rest * 10**6))
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o222)


def _commit(tree: Path) -> str | None:
    """Return the commit of a checkout, or None where only its folders were copied."""
    try:
        head = (tree / ".git/HEAD").read_text(encoding="ascii").strip()
        if head.startswith("ref: "):
            head = (tree / ".git" / head.removeprefix("ref: ")).read_text(encoding="ascii").strip()
    except OSError:
        return None
    return head


# Which there are, and which is what


def find(master: Master, id_: str) -> Revision:
    """
    Return a revision by its ID.

    Raises FleetError when there is none, with those that there are.
    """
    if _ID.match(str(id_)) and (home(master) / id_ / NOTE).is_file():
        return Revision(master, id_, home(master) / id_)
    known = ", ".join(f"{each.id} ({each.release})" for each in kept(master)) or "none"
    raise FleetError(f"there is no revision {id_!r} on this master; there are: {known}")


def kept(master: Master) -> list[Revision]:
    """Return the revisions on this master, those used last at the end."""
    folders = [path for path in home(master).glob("*") if _ID.match(path.name)]
    there = [path for path in folders if (path / NOTE).is_file()]
    return [
        Revision(master, path.name, path)
        for path in sorted(there, key=lambda path: ((path / NOTE).stat().st_mtime, path.name))
    ]


def _linked(master: Master, name: str) -> Revision | None:
    link = master.state / name
    if not link.is_symlink():
        return None
    return find(master, link.readlink().name)


def base(master: Master) -> Revision | None:
    """Return the revision that the fleet is on; None before the first rollout."""
    return _linked(master, BASE)


def require_base(master: Master) -> Revision:
    """
    Return the revision that the fleet is on.

    Raises FleetError before the first rollout.
    """
    found = base(master)
    if found is None:
        raise FleetError(BARE)
    return found


def present(master: Master) -> tuple[dict[str, Any], dict[str, Any]]:
    """
    Return topology and settings that the fleet has: of its revision, else of the checkout.

    Raises FleetError when they cannot be read.
    """
    if found := base(master):
        return found.topology, found.settings
    return pillar.select(master, master.pillars), pillar.settings(master, master.pillars)


def candidate(master: Master) -> Revision | None:
    """Return the revision that a change takes the fleet to, or None."""
    return _linked(master, CANDIDATE)


def offer(revision: Revision) -> None:
    """Have a revision served as the environment ``candidate``."""
    files.point(revision.master.state / CANDIDATE, f"revisions/{revision.id}")
    # The order of use, for what is kept.
    os.utime(revision.folder / NOTE)


def settle(revision: Revision) -> None:
    """Have a revision be the one that the fleet is on: every node goes by ``base`` again."""
    master = revision.master
    before = base(master)
    if before and not before.note.get("reached"):
        _note_reached(before)
    files.point(master.state / BASE, f"revisions/{revision.id}")
    _note_reached(revision)
    for node in moving(master):
        arrived(master, node)
    withdraw(master)


def _note_reached(revision: Revision) -> None:
    # Written anew, and so the one used last as well.
    files.write_json(revision.folder / NOTE, {**revision.note, "reached": True}, 0o644)


def withdraw(master: Master) -> None:
    """Serve no candidate any more, unless nodes are still on their way to it."""
    if not moving(master):
        (master.state / CANDIDATE).unlink(missing_ok=True)


def moving(master: Master) -> dict[str, str]:
    """Return the nodes that a change is moving, and the ID of the change, by node."""
    path = master.notes / _MOVING
    if not path.exists():
        return {}
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return found


def move(master: Master, nodes: Iterable[str], change: str) -> None:
    """
    Note that a change moves nodes to the candidate.

    Until they have arrived, their pillar is the candidate's, and they refuse to converge by
    themselves.
    """
    _note_moving(master, {**moving(master), **dict.fromkeys(nodes, change)})


def arrived(master: Master, node: str) -> None:
    """Note that a node goes by ``base``: it was put back, or ``base`` is what it was moved to."""
    _note_moving(master, {name: id_ for name, id_ in moving(master).items() if name != node})


def _note_moving(master: Master, nodes: dict[str, str]) -> None:
    if nodes != moving(master) or not (master.notes / _MOVING).exists():
        # JSON is YAML, which the top files read.
        files.write_json(master.notes / _MOVING, nodes)


def prune(master: Master, keep: int) -> list[str]:
    """
    Delete all but the last ``keep`` revisions, and never one that is in use.

    Those that the fleet has never come to go first: several tries that were undone leave the one to
    go back to.

    Returns the IDs of those that were deleted.
    """
    used = {each.id for each in (base(master), candidate(master)) if each}
    there = kept(master)
    # Sorting leaves those alike in their order, by when they were used.
    free = sorted(
        (each for each in there if each.id not in used),
        key=lambda each: bool(each.note.get("reached")),
    )
    gone = free[: max(len(there) - keep, 0)]
    for revision in gone:
        shutil.rmtree(revision.folder)
    return [each.id for each in gone]
