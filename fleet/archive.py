"""
The last revisions on the shared volume, so that a new master can go back to them as well.

An archive is believed only when it is, byte for byte, what was noted of it in ``revisions.json``
in the master's configuration folder, which is part of the copy that a new master gets; and what is
unpacked from it only when its digest is the one noted. The file has ``base`` (the ID of the
revision that the fleet is on) and ``revisions``, oldest use first, each with ``id``, ``sha256``,
``release``, ``created``, ``commit``, ``archive_sha256`` and ``size`` (bytes of the archive).
"""

import gzip
import json
import os
import re
import shutil
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleet import files, revision, volume
from fleet.errors import FleetError
from fleet.master import Master
from fleet.revision import Revision
from fleet.utils import release

FOLDER = "revisions"
#: Of the master's configuration folder.
NOTES = "revisions.json"
#: What this module makes there: an archive, or a part of one whose maker died.
_OURS = re.compile(r"(?P<id>r[0-9a-f]{12})\.tar\.gz|\.r[0-9a-f]{12}\.tar\.gz\.[0-9a-f]{16}")
_ID = re.compile(r"r[0-9a-f]{12}\Z")
_KEYS = ("id", "sha256", "release", "created", "commit")


@dataclass
class Recovered:
    """
    What a master has got back from the volume.

    ``revisions`` were missing here and are back; ``base`` is what the fleet is on, or None where
    that is not known or could not be brought back; ``problems`` says of each other one why not.
    """

    revisions: list[Revision] = field(default_factory=list)
    base: Revision | None = None
    problems: list[str] = field(default_factory=list)


def noted(master: Master) -> dict[str, Any]:
    """
    Return what is noted of archives: ``base`` and ``revisions``.

    Raises FleetError when the file is damaged.
    """
    path = master.config / NOTES
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"base": None, "revisions": []}
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FleetError(f"{path} is damaged ({error}): put its copy back, or remove it") from error
    try:
        for each in found["revisions"]:
            if not _ID.match(each["id"]) or f"r{each['sha256'][:12]}" != each["id"]:
                raise ValueError(f"{each['id']!r} is no revision")
            release.check_note(each["archive_sha256"], each["size"])
            str(each["release"]), str(each["created"]), str(each["commit"])
        return {"base": found["base"], "revisions": list(found["revisions"])}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FleetError(
            f"{path} is damaged ({error!r}): put its copy back, or remove it"
        ) from error


def keep(kept: Revision, mount: Path | str, number: int) -> bool:
    """
    Have a revision on the volume, noted as the one used last, and only so many in all.

    kept
        A revision of this master, mostly the one that the fleet has just come to.
    mount
        Where the shared volume is mounted.
    number
        How many stay on the volume. The one that the fleet is on always does.

    Returns whether its archive had to be put there.

    Raises FleetError when the volume is not mounted or somebody has made something in the way,
    OSError when it cannot be written.
    """
    mount = Path(mount)
    volume.require(mount)
    master = kept.master
    kept.check()
    notes = noted(master)
    known = {each["id"]: each for each in notes["revisions"]}
    entry = known.pop(kept.id, None)
    changed = False
    name = _name(kept.id)
    if entry is None or not _there(mount, entry):
        with tempfile.TemporaryDirectory(prefix=".archive.", dir=revision.home(master)) as folder:
            made = Path(folder) / name
            pack(kept, made)
            found = release.digest(made)
            entry = {key: kept.note.get(key) for key in _KEYS}
            entry.update(archive_sha256=found["sha256"], size=found["size"])
            changed = volume.put(mount, FOLDER, name, made, _check(entry), mode=0o600)
    base = revision.base(master)
    on = base.id if base else None
    entries = [*known.values(), entry]
    gone = [each for each in entries[: -max(number, 1)] if each["id"] not in (on, kept.id)]
    entries = [each for each in entries if each not in gone]
    files.write_json(master.config / NOTES, {"base": on, "revisions": entries})
    _clean(mount, {each["id"] for each in entries})
    return changed


def keep_or_tell(
    kept: Revision, mount: Path | str, number: int, tell: Callable[[str], None]
) -> None:
    """
    Like :func:`keep`, for the end of a change that has succeeded: it does so without a volume too.

    tell
        Gets a sentence when the revision could not be put on the volume; the next change that
        succeeds puts its own there.
    """
    try:
        keep(kept, mount, number)
    except (FleetError, ValueError, OSError) as error:
        tell(f"revision {kept.id} is not on the volume, and only on this master: {error}")


def recover(master: Master, mount: Path | str) -> Recovered:
    """
    Bring the noted revisions back that are missing on this master, and name the fleet's as base.

    mount
        Where the shared volume is mounted.

    A base that this master has already stays. Nothing is read from the volume where nothing is
    missing. On a master where the volume is not mounted yet, a rollout of the checkout mounts it.

    Raises FleetError when the notes are damaged.
    """
    mount = Path(mount)
    done = Recovered()
    notes = noted(master)
    there = {each.id for each in revision.kept(master)}
    missing = [each for each in notes["revisions"] if each["id"] not in there]
    if missing:
        revision.home(master).mkdir(mode=0o700, parents=True, exist_ok=True)
    for age, entry in zip(range(len(missing), 0, -1), missing, strict=True):
        try:
            volume.require(mount)
            brought = _bring(master, mount, entry)
            # The order of use, for what is kept: a second apart.
            used = time.time() - age
            os.utime(brought.folder / revision.NOTE, (used, used))
            done.revisions.append(brought)
        except (ValueError, OSError, FleetError) as error:
            done.problems.append(
                f"revision {entry['id']} (release {entry['release']}) is not brought back from the "
                f"volume: {error}"
            )
    done.base = revision.base(master)
    if done.base is None and notes["base"] in {each.id for each in revision.kept(master)}:
        done.base = revision.find(master, notes["base"])
        files.point(master.state / revision.BASE, f"{FOLDER}/{done.base.id}")
    return done


def pack(packed: Revision, target: Path) -> None:
    """
    Write the archive of a revision, which is the same whenever and by whomever it is made.

    Raises FleetError when a link in the revision leads out of it.
    """
    top = packed.folder
    with target.open("wb") as raw:
        # Without name and time in its header.
        with (
            gzip.GzipFile("", "wb", 6, raw, mtime=0) as stream,
            tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for path in sorted(top.rglob("*"), key=lambda each: str(each.relative_to(top))):
                name = str(path.relative_to(top))
                # It is written anew from what the master has noted.
                if name == revision.NOTE:
                    continue
                if path.is_symlink() and not _inside(path, top):
                    raise FleetError(
                        f"{name} of revision {packed.id} is a link to {path.readlink()}, outside "
                        "of it: put the file itself there and roll out again"
                    )
                member = tar.gettarinfo(str(path), name)
                member.uid = member.gid = 0
                member.uname = member.gname = ""
                member.mtime = 0
                member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
                if member.isreg():
                    with path.open("rb") as content:
                        tar.addfile(member, content)
                else:
                    tar.addfile(member)
        raw.flush()


def _inside(link: Path, top: Path) -> bool:
    target = link.readlink()
    return not target.is_absolute() and link.resolve().is_relative_to(top.resolve())


def _name(id_: str) -> str:
    return f"{id_}.tar.gz"


def _check(entry: dict[str, Any]) -> Callable[[Path], None]:
    return lambda path: release.check(path, entry["archive_sha256"], entry["size"])


def _there(mount: Path, entry: dict[str, Any]) -> bool:
    try:
        _check(entry)(mount / FOLDER / _name(entry["id"]))
    except (ValueError, OSError):
        # It is made anew; what lies in its place is told of then.
        return False
    return True


def _clean(mount: Path, wanted: set[str]) -> None:
    for name in volume.names(mount, FOLDER):
        ours = _OURS.fullmatch(name)
        if ours and ours["id"] not in wanted:
            volume.remove(mount, FOLDER, name)


def _unpack(tar: tarfile.TarFile, folder: Path) -> None:
    """
    Unpack files, folders and links that stay within a folder, and nothing else.

    By hand, since ``tarfile.data_filter`` came with Python 3.11.4 and Debian 12 has 3.11.2.

    Raises ValueError naming what is refused.
    """
    links = []
    for member in tar:
        parts = member.name.split("/")
        if any(part in ("", ".", "..") for part in parts):
            raise ValueError(f"the path {member.name!r} in it leads out of the revision")
        path = folder.joinpath(*parts)
        # Whatever the archive says, what is written to was made here, and is no link.
        path.parent.mkdir(parents=True, exist_ok=True)
        if member.isdir():
            path.mkdir(exist_ok=True)
        elif member.isreg():
            content = tar.extractfile(member)
            assert content, "a regular file has a content"
            with path.open("xb") as stream:
                shutil.copyfileobj(content, stream)
            path.chmod(0o755 if member.mode & 0o100 else 0o644)
        elif member.issym():
            links.append((path, member.linkname))
        else:
            raise ValueError(f"{member.name!r} in it is neither a file, nor a folder, nor a link")
    for path, target in links:
        path.symlink_to(target)
    for path, target in links:
        if not _inside(path, folder):
            raise ValueError(
                f"{path.relative_to(folder)} in it is a link to {target}, outside of it"
            )


def _bring(master: Master, mount: Path, entry: dict[str, Any]) -> Revision:
    """Unpack a copy that nobody else can write to, and take it for what it is."""
    home = revision.home(master)
    path = mount / FOLDER / _name(entry["id"])
    made = Path(tempfile.mkdtemp(prefix=".new.", dir=home))
    try:
        with release.fetch(path, entry["archive_sha256"], entry["size"], home) as copy:
            copy.seek(0)
            try:
                with tarfile.open(fileobj=copy, mode="r:gz") as tar:
                    _unpack(tar, made)
            except (tarfile.TarError, zlib.error, EOFError) as error:
                raise ValueError(f"{path} cannot be unpacked: {error}") from error
        found = revision.digest(made)
        if found != entry["sha256"]:
            raise ValueError(f"{path} holds another revision, with the SHA-256 {found}")
        # Only those that the fleet has come to are put on the volume.
        note = {key: entry[key] for key in _KEYS} | {"reached": True}
        return revision.adopt(master, made, note)
    finally:
        shutil.rmtree(made, ignore_errors=True)
