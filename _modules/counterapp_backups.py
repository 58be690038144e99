"""
How far the counters can be restored, told to the app on this node: the part of ``counterapp`` for
what the app's metrics say of backups.
"""

import json
import os
import pathlib
import re

from salt.exceptions import CommandExecutionError, SaltInvocationError

__virtualname__ = "counterapp"

#: Where the app looks (``COUNTERAPP_BACKUPS``): in memory, so that it is there at once or not at
#: all, and gone when the node begins anew.
PATH = "/run/counterapp/backups.json"
_NAME = re.compile(r"[a-z_]{1,64}\Z")


def __virtual__():
    return __virtualname__


def tell_backups(numbers, path=None):
    """
    Have the app's metrics tell these numbers of backups, in one step. Return True.

    The master calls it, every few minutes, on each web server.

    numbers
        A dictionary: by the name of the metric, without ``counterapp_backup_``, its number. Times
        are seconds since 1970.
    path
        The file that the app reads; ``/run/counterapp/backups.json`` unless given. Its folder is
        made when missing.

    Raises SaltInvocationError for what is no such dictionary, and CommandExecutionError when the
    file cannot be written.

    CLI Example:

    .. code-block:: bash

        salt web-1 counterapp.tell_backups '{newest_timestamp_seconds: 1795836367}'
    """
    if not isinstance(numbers, dict):
        raise SaltInvocationError(f"numbers must be a dictionary, not {numbers!r}")
    for name, number in numbers.items():
        if not _NAME.match(str(name)):
            raise SaltInvocationError(f"{name!r} is no name of a number: use small letters and '_'")
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise SaltInvocationError(f"{name} must be a number, not {number!r}")
    target = pathlib.Path(path or PATH)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        partial.write_text(json.dumps(numbers) + "\n")
        # The app's user reads it.
        partial.chmod(0o644)
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise CommandExecutionError(f"{target} cannot be written: {error.strerror}") from error
    return True
