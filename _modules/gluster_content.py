"""
Look at what single bricks of a Gluster volume hold: the part of ``gluster`` for proof that a brick
may go.

:depends: the ``gluster`` and ``glusterfs`` commands, on a node of the pool. Works with glusterfs 10
    and 11.
"""

import contextlib
import errno
import os
import pathlib
import stat
import tempfile

import salt.utils.platform
from salt.exceptions import CommandExecutionError

# Of a mount that lasts for a moment: a log for each would never be removed.
LOG = "/var/log/glusterfs/salt-brick.log"
LINK_XATTR = "trusted.glusterfs.dht.linkto"

__virtualname__ = "gluster"


def __virtual__():
    if not salt.utils.platform.is_linux():
        return False, "gluster: GlusterFS servers and mounts are managed on Linux only"
    return __virtualname__


def files_on(volume, bricks, most=10):
    """
    Return the files that bricks of a volume hold, seen on the bricks and not through the volume.

    Each brick is mounted alone for a moment, read-only and in private, wherever in the pool it is.
    Directories, which every brick has, and the pointers that a distributed volume leaves to files
    on other bricks are not counted; all else is.

    :param str volume: its name; it must be started.
    :param list bricks: ``host:/path`` of each brick to look at.
    :param int most: how many files of a brick to name; it is read no further.
    :returns: dict of brick to a list of paths from the volume's root, without the bricks that hold
        none.
    :raises CommandExecutionError: if the volume has no such brick, or one cannot be read wholly.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.files_on shared '[db-3:/srv/gluster/shared/brick]'
    """
    volume = __utils__["gluster_declared.volume_name"](volume)
    volfile = _gluster_text("system::", "getspec", volume)
    found = {}
    for brick in bricks:
        brick = __utils__["gluster_declared.brick"](brick)
        client = __utils__["gluster_brick.client"](volfile, brick["host"], brick["path"])
        if client is None:
            raise CommandExecutionError(f"volume {volume} has no brick {brick['name']}")
        try:
            with _mounted(client) as root:
                files = _files(root, int(most))
        except OSError as error:
            raise CommandExecutionError(
                f"volume {volume}: brick {brick['name']} cannot be read: {error.strerror}"
            ) from None
        if files:
            found[brick["name"]] = files
    return found


@contextlib.contextmanager
def _mounted(client):
    with tempfile.TemporaryDirectory(prefix="gluster-brick-") as folder:
        root = pathlib.Path(folder, "mnt")
        root.mkdir()
        # Has the volume's password, in a directory that is root's alone.
        volfile = pathlib.Path(folder, "brick.vol")
        volfile.write_text(client, encoding="utf-8")
        _run("glusterfs", f"--volfile={volfile}", "--read-only", f"--log-file={LOG}", str(root))
        try:
            yield root
        finally:
            _run("umount", "--lazy", str(root))


def _files(root, most):
    files = []

    def fail(error):
        raise error

    for folder, directories, names in os.walk(root, onerror=fail):
        if pathlib.Path(folder) == root:
            # glusterfs's own, such as what healing keeps for a moment.
            directories[:] = [name for name in directories if not name.startswith(".glusterfs")]
        # os.walk takes a symbolic link to a directory for one, and does not follow it.
        links = [name for name in directories if pathlib.Path(folder, name).is_symlink()]
        for name in sorted([*names, *links]):
            path = pathlib.Path(folder, name)
            if not _is_pointer(path):
                files.append(f"/{path.relative_to(root)}")
                if len(files) >= most:
                    return files
    return files


def _is_pointer(path):
    """Tell whether this is how DHT marks that a file of this name lies on another brick."""
    status = path.lstat()
    marked = stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) == stat.S_ISVTX
    if not marked or status.st_size:
        return False
    try:
        return bool(os.getxattr(path, LINK_XATTR))
    except OSError as error:
        if error.errno == errno.ENODATA:
            return False
        raise


def _run(*argv):
    __utils__["gluster.succeed"](argv, __salt__["cmd.run_all"])


def _gluster_text(*words):
    patience = __salt__["config.get"]("gluster.lock_timeout", 30)
    return __utils__["gluster.run"](words, __salt__["cmd.run_all"], patience, text=True)
