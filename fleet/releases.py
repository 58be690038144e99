"""
Releases of the app: which there are, whether they are whole, and putting them on the volume.

A release is built into the folder ``counterapp_dist`` of the master. When it is published, its
SHA-256 and size are noted where root of the master alone can write (``_utils/release.py``), and it
lies on the shared volume, where the web nodes take it from. What lies on the volume and was not
published is none.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import salt.utils.yaml
from salt.exceptions import SaltException

from fleet import pillar, revision, volume
from fleet.errors import FleetError
from fleet.master import Master
from fleet.utils import release as archives

_ARCHIVE = re.compile(r"counterapp-(?P<version>[A-Za-z0-9][A-Za-z0-9.+_-]*)\.tar\.gz\Z")
_FOLDER = "releases"


def current(master: Master) -> str | None:
    """Return the release that the fleet is on; None before the first rollout."""
    if base := revision.base(master):
        return base.release
    # What masters wrote that had no revisions yet.
    path = master.notes / "release.sls"
    if not path.is_file():
        return None
    try:
        found = salt.utils.yaml.safe_load(path.read_text(encoding="utf-8"))
        return str(found["release"])
    except (salt.utils.yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise FleetError(
            f"{path} does not tell the release that the fleet is on ({error!r}): remove it, and "
            "name the release to roll out"
        ) from None


def listed(master: Master, mount: Path | None = None) -> list[dict[str, Any]]:
    """
    Return the releases that can be rolled out, oldest first.

    mount
        Where the shared volume is mounted; the default is what the fleet's settings say.

    Returns of each ``version``, ``path``, ``sha256`` and ``size`` as they were noted when it was
    published, and ``published``, when that was (ISO 8601); the last three are None before that.
    """
    unpublished = {"sha256": None, "size": None, "published": None}
    notes, mount = _noted(master), mount or _mount(master)
    found = []
    for version in {**_built(master), **notes}:
        if path := _archive(master, version, notes, mount):
            note = notes.get(version, unpublished)
            # Times on the volume are what anybody wants them to be.
            when = _written(path) if path.parent == master.dist else note["published"]
            found.append((when, {"version": version, "path": str(path), **note}))
    return [each for _when, each in sorted(found, key=lambda pair: pair[0])]


def find(master: Master, release: str | float | None) -> str:
    """
    Return the version of the release to roll out.

    release
        Which one. None is the one that the fleet is on, and before the first rollout the newest.

    Raises FleetError when it is neither built nor published, with those that there are.
    """
    if isinstance(release, float):
        raise FleetError(
            f"the release came as the number {release} (1.10 would become 1.1): write it as "
            """text, release='"1.10"' or pillar='{"release": "1.10"}'"""
        )
    mount = _mount(master)
    known = [each["version"] for each in listed(master, mount)]
    version = release or current(master) or next(reversed(known), None)
    if version is None:
        raise FleetError(
            f"there is no release in {master.dist}, and none was published: build one with "
            "`make dist`"
        )
    version = str(version)
    if version not in known:
        published = version in _noted(master)
        raise FleetError(
            f"release {version} is not in {master.dist}, and "
            + (f"is gone from {mount / _FOLDER}" if published else "was not published")
            + f" (there are: {', '.join(known) or 'none'}): build it with `make dist VERSION="
            f"{version}`, or publish the archive from elsewhere with `salt-run release.publish "
            f"{version} source=ARCHIVE`; what only lies on the volume is not believed"
        )
    return version


def require_whole(master: Master, version: str, mount: Path | None = None) -> None:
    """
    Raise FleetError unless the archive of a release is whole and what was published.

    So that this is known before anything is touched; the web nodes find it out by themselves too.

    mount
        As for :func:`listed`.
    """
    notes, mount = _noted(master), mount or _mount(master)
    archive = _archive(master, version, notes, mount)
    if archive and archive.parent == master.dist:
        _inspect(version, archive, notes)
    target = mount / _FOLDER / _name(version)
    if version in notes and os.path.lexists(target):
        _check_published(master, version, target, notes[version])


def publish(
    master: Master, version: str, source: str | None = None, mount: Path | None = None
) -> dict[str, Any]:
    """
    Vouch for a release, and have it lie on the shared volume.

    What lies there of this version is replaced unless it is the same.

    version
        Which release.
    source
        Path of the archive on the master, outside of the volume; the default is that of the
        version in ``counterapp_dist``.
    mount
        As for :func:`listed`.

    Returns ``version``, ``path``, ``sha256``, ``size`` and ``changed``.

    Raises FleetError when the archive is not whole, is of another version, or was published with
    other content, since a release never changes; and when the volume is not mounted.
    """
    try:
        return _publish(master, version, source, mount or _mount(master))
    except (SaltException, OSError) as error:
        raise FleetError(f"release {version} cannot be published: {error}") from error


def _publish(master: Master, version: str, source: str | None, mount: Path) -> dict[str, Any]:
    with _judged():
        archives.check_version(version)
    volume.require(mount)
    notes, target = _noted(master), mount / _FOLDER / _name(version)
    archive = Path(source) if source else master.dist / target.name
    if not source and not archive.exists():
        # Then an earlier rollout has published it; a master made anew has no builds.
        version = find(master, version)
        _check_published(master, version, target, notes[version])
        found = {key: notes[version][key] for key in ("sha256", "size")}
        return {"version": version, "path": str(target), **found, "changed": False}
    if archive.resolve().is_relative_to(mount.resolve()):
        raise FleetError(
            f"{archive} lies on the volume, where root of any node can write: name the archive "
            "where it was built"
        )
    found = _inspect(version, archive, notes)
    with _judged():
        changed = volume.put(
            mount,
            _FOLDER,
            target.name,
            archive,
            lambda path: archives.check(path, found["sha256"], found["size"]),
        )
        archives.note(master.notes, version, found["sha256"], found["size"])
    return {"version": version, "path": str(target), **found, "changed": changed}


def _name(version: str) -> str:
    return f"counterapp-{version}.tar.gz"


def _mount(master: Master) -> Path:
    """Return where the fleet's settings have the shared volume mounted."""
    base = revision.base(master)
    settings = base.settings if base else pillar.settings(master, master.pillars)
    return Path(settings["gluster"]["mount"])


def _built(master: Master) -> dict[str, Path]:
    paths = master.dist.iterdir() if master.dist.is_dir() else ()
    return {match["version"]: path for path in paths if (match := _ARCHIVE.match(path.name))}


def _written(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat()


def _archive(master: Master, version: str, notes: dict[str, Any], mount: Path) -> Path | None:
    """Return where a release is read from: as it was built, else as it was published."""
    built = master.dist / _name(version)
    if built.exists():
        return built
    published = mount / _FOLDER / built.name
    return published if version in notes and os.path.lexists(published) else None


def _noted(master: Master) -> dict[str, dict[str, Any]]:
    with _judged():
        return archives.noted(master.notes)


@contextlib.contextmanager
def _judged() -> Iterator[None]:
    """Have what is wrong with an archive or a note be a failure that is told."""
    try:
        yield
    except ValueError as error:
        raise FleetError(str(error)) from error


def _check_published(master: Master, version: str, target: Path, note: dict[str, Any]) -> None:
    try:
        archives.check(target, note["sha256"], note["size"])
    except (ValueError, OSError) as error:
        raise FleetError(
            f"{error}; find out who did, then put it back with `salt-run release.publish "
            f"{version}`, where it is no longer in {master.dist} with `source=` and the path of an "
            "archive that did not lie on the volume"
        ) from error


def _inspect(version: str, archive: Path, notes: dict[str, Any]) -> dict[str, Any]:
    """Return SHA-256 and size of a whole archive; one that was published must still be the same."""
    with _judged():
        found = archives.digest(archive)
        manifest = archives.inspect(archive)["manifest"]
    if manifest["version"] != version:
        raise FleetError(f"{archive} holds release {manifest['version']}, not {version}")
    noted = notes.get(version)
    if noted and noted["sha256"] != found["sha256"]:
        raise FleetError(
            f"{archive} is not the release {version} that was published on {noted['published']} "
            f"with the SHA-256 {noted['sha256']}: give the new build a version of its own"
        )
    return found
