"""
Make a plain copy of an encrypted backup, for MongoDB's own tools.

:depends: as ``_modules/mongodb_backup.py``, whose functions are on the same page.
"""

try:
    import bson  # noqa: F401 - what the utilities want

    HAS_PYMONGO = True
except ImportError:
    HAS_PYMONGO = False

from salt.exceptions import CommandExecutionError

__virtualname__ = "mongodb_backup"


def __virtual__():
    if not HAS_PYMONGO:
        return False, "PyMongo is missing in Salt's Python: salt-pip install pymongo"
    return __virtualname__


def decrypt(folder, target):
    """
    Write a copy of an encrypted backup that is not encrypted.

    It is what ``mongodb_backup.dump`` makes without a key, so that mongorestore reads it. Whoever
    can read the copy can read all documents: nobody but this minion's user may enter its folder.
    Remove it when it has done its work.

    folder
        Path of the backup.

    target
        Path of the folder that the copy will be. It must not exist, and the one above must. It has
        its name as a whole only.

    Returns what ``mongodb_backup.info`` says of the copy. Raises ``CommandExecutionError``, and
    leaves nothing, when the backup is not encrypted, when its key is not in the pillar, and when a
    file of it is missing or not as it was written.

    CLI Example:

    .. code-block:: bash

        salt db-2 mongodb_backup.decrypt /srv/shared/backups/2026-11-28T03 /root/plain
    """
    source, copy = (__utils__["mongodb_files.path"](path) for path in (folder, target))
    pillar = dict(__pillar__)
    settings = __utils__["mongodb_login.settings"](dict(__opts__), pillar)
    keys = __utils__["mongodb_crypt.keyring"](settings, pillar)
    backup = __utils__["mongodb_files.backup"](source, keys)
    if "encrypted" not in backup.manifest:
        raise CommandExecutionError(
            f"{source} is not encrypted: mongorestore --gzip reads it as it is"
        )
    with __utils__["mongodb_files.published"](copy) as partial:
        __utils__["mongodb_files.copy_plain"](backup, partial)
    return __salt__["mongodb_backup.info"](str(copy))
