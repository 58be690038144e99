"""
Have a state run go by the modules of its own revision.

With ``autoload_dynamic_modules: False`` a minion does not compare each module with the master's
before each run, which takes longer than a run with nothing to do. Instead the pillar says the
digest of all modules, and the SLS have this module compare it with what is on the disk.
"""

import pathlib

from salt.exceptions import CommandExecutionError

_KNOWN = "synced.known"

__virtualname__ = "synced"


def __virtual__():
    return __virtualname__


def digest():
    """
    Return the digest of the modules that this minion has synced, as a revision says it.

    CLI Example:

    .. code-block:: bash

        salt web-1 synced.digest
    """
    return __utils__["synced.of_minion"](pathlib.Path(__opts__["extension_modules"]))


def require(wanted, saltenv):
    """
    Refuse to go on unless the modules here are those that an environment's states were written for.

    Where they are not, they are synced, for the next run: what this one has loaded it would keep.
    A run looks once.

    :param str wanted: the digest that the environment's modules have.
    :param str saltenv: the environment.
    :returns: True.
    :raises CommandExecutionError: if there were others.

    CLI Example:

    .. code-block:: bash

        salt web-1 synced.require 9f86d081884c7d65 base
    """
    known = __context__.setdefault(_KNOWN, {})
    if (wanted, saltenv) not in known:
        known[wanted, saltenv] = None if digest() == wanted else _sync(wanted, saltenv)
    if known[wanted, saltenv]:
        raise CommandExecutionError(known[wanted, saltenv])
    return True


def _sync(wanted, saltenv):
    """Sync the modules of an environment, and return what is to be told of it."""
    __salt__["saltutil.sync_all"](saltenv=saltenv)
    if digest() == wanted:
        return "the modules here were of another revision, and are synced now: run this again"
    return (
        f"the modules of the environment {saltenv} are not those that the pillar tells of: say "
        f"saltenv={saltenv} pillarenv={saltenv}"
    )
