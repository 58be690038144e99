"""
Gluster mounts as systemd and the kernel see them.
"""

import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from salt.exceptions import CommandExecutionError

_CLIENT = re.compile(r"-client-\d+$")
_MOUNT_OPTION = re.compile(r"[A-Za-z0-9_.-]+(=[^\s,]+)?")


def unit_name(path: str, suffix: str = "mount") -> str:
    """Return systemd's unit name for a mount point, as ``systemd-escape --path`` makes it."""
    trimmed = re.sub("/+", "/", path).strip("/")
    if not trimmed:
        return f"-.{suffix}"
    escaped = []
    for position, byte in enumerate(trimmed.encode()):
        char = chr(byte)
        if char == "/":
            escaped.append("-")
        elif (char.isascii() and char.isalnum()) or char in ":_" or (char == "." and position):
            escaped.append(char)
        else:
            escaped.append(f"\\x{byte:02x}")
    return f"{''.join(escaped)}.{suffix}"


def units(
    path: str, volume: str, servers: Sequence[str], options: Iterable[str] | None = None
) -> dict[str, str]:
    """Return the systemd units that keep a volume mounted: ``{file name: text}``.

    The mount unit, and a companion that starts with it. systemd never repeats a mount that failed,
    so at boot a node that is up before the storage nodes would stay without the volume. The
    companion starts the mount again every ten seconds until it succeeds, and ends then. It is not
    left to ``OnFailure=``: glusterfs without its volume may mount and go again within
    milliseconds, which systemd takes for a success and an unmount.
    A third, for whoever finds that the mount has lost its client: it takes the mount away, which
    answers every access with an error, and mounts anew.
    The mount has three minutes: a server that is gone without a word costs two, a TCP connection's
    attempts, before the next one is asked. ``nofail`` keeps a volume that is gone from holding up
    the boot (logins wait for remote-fs.target); units that need the volume say so with
    ``RequiresMountsFor=``.

    :raises CommandExecutionError: for a path, volume, server or option that cannot be used.
    """
    if not isinstance(path, str) or not path.startswith("/") or not path.strip("/"):
        raise CommandExecutionError(f"mount point {path!r} must be an absolute path below /")
    if re.search(r"[\x00-\x1f\x7f]", path) or re.search(r"(^|/)\.{1,2}(/|$)", path):
        raise CommandExecutionError(
            f"mount point {path!r} must hold no control character and no '.' or '..' step"
        )
    if isinstance(servers, str) or not servers:
        raise CommandExecutionError(
            f"servers of volume {volume} must be a list with at least one host"
        )
    first, *others = servers
    if any(":" in str(server) for server in servers):
        raise CommandExecutionError(
            "servers of a mount are parted by ':', so name them where they have IPv6 addresses"
        )
    fields = ["_netdev", "nofail"]
    if others:
        fields.append("backup-volfile-servers=" + ":".join(others))
    for option in ["log-level=WARNING"] if options is None else options:
        if not isinstance(option, str) or not _MOUNT_OPTION.fullmatch(option):
            raise CommandExecutionError(f"{option!r} is no mount option")
        if option.partition("=")[0] in ("_netdev", "nofail", "backup-volfile-servers"):
            raise CommandExecutionError(
                f"mount option {option} is set by this function: leave it out"
            )
        fields.append(option)
    path = "/" + re.sub("/+", "/", path).strip("/")
    mount = unit_name(path)
    retry, lost = (mount.removesuffix(".mount") + f"-{word}.service" for word in ("retry", "lost"))
    where, joined = path.replace("%", "%%"), ",".join(fields).replace("%", "%%")
    return {
        mount: f"""\
# Written by Salt (gluster.mounted); changes made here are overwritten.
[Unit]
Description=Gluster volume {volume} on {where}
Wants=network-online.target {retry}
After=network-online.target glusterd.service

[Mount]
What={first}:/{volume}
Where={where}
Type=glusterfs
Options={joined}
TimeoutSec=180

[Install]
WantedBy=multi-user.target
""",
        retry: f"""\
# Written by Salt (gluster.mounted); changes made here are overwritten.
[Unit]
Description=Try again to mount Gluster volume {volume} on {where}
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=systemctl start {_quoted(mount)}
# A mount that comes and goes at once counts as started, and as active for up to a second after that
# (systemd looks at mounts five times a second at most): it has to answer, and to be there after it.
ExecStart=stat "{_quoted(path)}"
ExecStart=mountpoint --quiet "{_quoted(path)}"
StandardOutput=null
Restart=on-failure
RestartSec=10
""",
        lost: f"""\
# Written by Salt (gluster.mounted); changes made here are overwritten.
[Unit]
Description=Mount Gluster volume {volume} anew on {where}, where its client is gone
StartLimitIntervalSec=0

[Service]
Type=oneshot
# Also where files are open; all that they can be is closed. Without a mount it fails, as it may.
ExecStart=-umount --lazy "{_quoted(path)}"
ExecStart=systemctl restart --no-block {_quoted(mount)}
""",
    }


def mounts(mountinfo: str, path: str) -> list[dict[str, Any]]:
    """Return what is mounted on ``path``, lowest first: ``[{"source", "fstype", "options"}]``.

    :param mountinfo: the text of ``/proc/self/mountinfo``.
    """
    path = "/" + re.sub("/+", "/", path).strip("/")
    found = []
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        if _unescape(fields[4]) == path:
            fstype, source, super_options = fields[fields.index("-", 6) + 1 :][:3]
            options = list(dict.fromkeys(f"{fields[5]},{super_options}".split(",")))
            found.append({"source": _unescape(source), "fstype": fstype, "options": options})
    return found


def unconnected(path: str | pathlib.Path) -> list[str]:
    """Return who has no connection to its brick of the clients in a mount, ``shared-client-0`` say.

    Raises OSError where no volume is mounted, or its process is gone.
    """
    # To look for a pattern would find nothing where nothing can be read.
    clients = [
        each
        for each in pathlib.Path(path, ".meta/graphs/active").iterdir()
        if _CLIENT.search(each.name)
    ]
    return sorted(
        each.name for each in clients if "connected = 1" not in (each / "private").read_text()
    )


def _quoted(word: str) -> str:
    # systemd unescapes command lines, and expands variables and specifiers in them; unit names hold
    # "\x2d".
    for special, written in (("\\", "\\\\"), ('"', '\\"'), ("$", "$$"), ("%", "%%")):
        word = word.replace(special, written)
    return word


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), field)
