"""
Putting files on the shared volume, where root of any node can make whatever it likes.

What lies there is believed only when it is what was noted on the master, and nothing there leads a
process of the master's to another place: folders are gone through by their handles, and no link is
followed.
"""

import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from salt.exceptions import SaltException

from fleet.errors import FleetError

log = logging.getLogger(__name__)


def require(mount: Path) -> None:
    """Raise FleetError unless the shared volume is mounted there."""
    if not mount.is_mount():
        raise FleetError(
            f"the shared volume is not mounted on {mount} of the master: apply the state `gluster` "
            "there first"
        )


def put(
    mount: Path,
    folder: str,
    name: str,
    source: Path,
    check: Callable[[Path], object],
    mode: int = 0o644,
) -> bool:
    """
    Have a file lie at its place on the volume, whatever others have made there.

    mount, folder, name
        Where the volume is mounted, the folder in it, and the file's name.
    source
        The file on the master's disk that is copied.
    check
        Gets the place, and raises ValueError, OSError or SaltException unless what lies there is
        the file. It must not follow a link there.
    mode
        The file's permissions.

    Returns whether it had to be put there.

    Raises FleetError when a link or a file is in the folder's place, and what ``check`` raises
    when the file is not what it should be even then.
    """
    target = mount / folder / name
    try:
        check(target)
    except (ValueError, OSError, SaltException) as error:
        if os.path.lexists(target):
            log.warning("%s; it is replaced", error)
    else:
        return False
    with contextlib.suppress(FileExistsError):
        target.parent.mkdir(mode=0o755)
    with opened(mount, folder) as handle:
        _copy(source, handle, name, mode)
    check(target)
    return True


def names(mount: Path, folder: str) -> list[str]:
    """Return what lies in a folder of the volume; nothing when there is no such folder."""
    if not os.path.lexists(mount / folder):
        return []
    with opened(mount, folder) as handle, os.scandir(handle) as found:
        return sorted(each.name for each in found)


def remove(mount: Path, folder: str, name: str) -> None:
    """
    Remove a file or a link from a folder of the volume; it may be gone already.

    Raises FleetError when it is a folder: then somebody has made it.
    """
    with opened(mount, folder) as handle:
        try:
            os.unlink(name, dir_fd=handle)
        except FileNotFoundError:
            return
        except IsADirectoryError as error:
            raise FleetError(
                f"{mount / folder / name} is a folder; somebody has made it: remove it"
            ) from error


@contextlib.contextmanager
def opened(mount: Path, folder: str) -> Iterator[int]:
    """
    Open a folder of the volume, and each on the way to it, by itself: a link in the place of one
    would lead elsewhere.

    Raises FleetError naming what is no folder.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    path = mount
    with contextlib.ExitStack() as handles:
        handle = os.open(mount, flags)
        handles.callback(os.close, handle)
        for part in Path(folder).parts:
            path /= part
            try:
                handle = os.open(part, flags, dir_fd=handle)
            except NotADirectoryError as error:
                raise FleetError(
                    f"{path} is a link or a file, and no folder; somebody has made it: remove it"
                ) from error
            except FileNotFoundError as error:
                raise FileNotFoundError(error.errno, error.strerror, str(path)) from error
            handles.callback(os.close, handle)
        yield handle


def opened_at(mount: Path, path: Path) -> contextlib.AbstractContextManager[int]:
    """Open a folder of the volume, given by its whole path, as :func:`opened` does.

    Raises FleetError when the volume is not mounted, too.
    """
    require(mount)
    return opened(mount, str(path.relative_to(mount)))


def _copy(source: Path, folder: int, name: str, mode: int) -> None:
    partial = f".{name}.{os.urandom(8).hex()}"
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(partial, flags, 0o600, dir_fd=folder)
        with os.fdopen(handle, "wb") as copy, source.open("rb") as content:
            shutil.copyfileobj(content, copy, 2**20)
            copy.flush()
            os.fchmod(handle, mode)
            os.fsync(handle)
        os.rename(partial, name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial, dir_fd=folder)
