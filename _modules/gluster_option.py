"""
Tell, check and set the options of Gluster volumes and pools: the part of ``gluster`` for settings.

:depends: the ``gluster`` command. Works with glusterfs 10 and 11.

Where a function takes a volume, ``all`` stands for the pool, as it does for glusterd: its options
(``cluster.server-quorum-ratio``, ``cluster.brick-multiplex`` and a few more) hold for each volume
and cannot be set on one.
"""

import salt.utils.platform
from salt.exceptions import CommandExecutionError

# `volume set` takes it only on a volume that was never started, `volume heal` only after that.
GRANULAR = "cluster.granular-entry-heal"
# Setting the first would end glusterd's checks of all that stand behind it.
VERSIONS = ("cluster.op-version", "cluster.max-op-version")
# glusterd's number for what it checked and does not want.
REFUSED = 30800

__virtualname__ = "gluster"


def __virtual__():
    if not salt.utils.platform.is_linux():
        return False, "gluster: GlusterFS servers and mounts are managed on Linux only"
    return __virtualname__


def options(volume, defaults=True):
    """
    Return the options of a volume, or of the pool.

    :param str volume: its name, or ``all`` for the options of the pool.
    :param bool defaults: False to leave out those that nobody set.
    :returns: dict of full option name to a dict with ``value`` (text as glusterd has it, None if
        there is none) and ``default`` (bool: nobody set it; also where glusterd itself did on
        creating the volume). Those of the pool are told for ``all`` only.
    :raises CommandExecutionError: if there is no such volume.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.options shared defaults=False
    """
    pool_wide = _pool_options()
    if volume == "all":
        found = pool_wide
    else:
        volume = __utils__["gluster_declared.volume_name"](volume)
        listed = __utils__["gluster_option.listed"](_gluster("volume", "get", volume, "all"))
        reconfigured = __salt__["gluster.info"](volume)["options"]
        found = __utils__["gluster_option.marked"](listed, reconfigured, pool_wide)
    return {name: option for name, option in found.items() if defaults or not option["default"]}


def option(volume, key):
    """
    Return one option of a volume, or of the pool, as a dict with ``value`` and ``default``.

    :param str volume: its name, or ``all`` for an option of the pool.
    :param str key: the option's full name, e.g. ``network.ping-timeout``.
    :raises CommandExecutionError: if there is no such volume or option, with the names nearest to
        it.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.option shared network.ping-timeout
    """
    found = options(volume)
    if key not in found:
        raise CommandExecutionError(f"{_label(volume)} has no option {key}{_nearest(key, found)}")
    return found[key]


def known_options():
    """
    Return the options that this glusterd documents, as dict of name to ``default`` and
    ``description`` (text, None for no default). No volume is needed.

    glusterd takes more than it documents: :py:func:`options` tells them all.

    :raises CommandExecutionError: if glusterd does not answer.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.known_options
    """
    found = _manual()
    if not found:
        _gluster("volume", "list")
        raise CommandExecutionError("gluster volume set help-xml answered nothing that can be read")
    return found


def check_options(options, volume=None):
    """
    Check that glusterd would take these options, without setting any.

    On a volume that exists, and for ``all``, glusterd itself checks names and values, as if to set
    them. For one that does not exist yet it knows the names; values are tried on another volume of
    the pool, if there is one, and refused here where they would be on every volume, as ``banana``
    for a number. What only glusterd can tell of the new volume is left to the setting.

    :param dict options: full option names to values, as in :py:func:`set_options`.
    :param str volume: its name, which may not exist yet, or ``all`` for options of the pool.
    :returns: the options as glusterd would be given them, a dict of text.
    :raises CommandExecutionError: naming each option that it would refuse, in glusterd's words, and
        for an unknown name the nearest known ones.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.check_options '{network.ping-timeout: 10}' volume=shared
    """
    values = _values(options, volume)
    existing = [] if volume == "all" else __salt__["gluster.volumes"]()
    if volume == "all" or volume in existing:
        refusals = _refusals(volume, _differing(volume, values))
    else:
        refusals = _unknown_names(values)
        if existing and not refusals:
            refusals = {
                name: error
                for name, error in _refusals(existing[0], values).items()
                if __utils__["gluster_option.bad_anywhere"](error)
            }
    if refusals:
        words = [_words(name, values[name], error) for name, error in refusals.items()]
        raise CommandExecutionError("; ".join(words))
    return values


def set_option(volume, key, value):
    """
    Set one option of a volume, or of the pool, and return its value as glusterd now has it, as
    text.

    :param str volume: its name, or ``all`` for an option of the pool.
    :param str key: the option's full name, e.g. ``network.ping-timeout``.
    :param value: text or number; booleans become ``on`` and ``off``.
    :raises CommandExecutionError: if glusterd does not know the option or the value.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.set_option shared network.ping-timeout 10
    """
    return set_options(volume, {key: value})[key]


def set_options(volume, options):
    """
    Set several options of a volume, or of the pool, in one transaction: either all or none.

    Those that have their value already are left out of it. ``cluster.granular-entry-heal`` is set
    before the others, by the command that glusterd wants for it.

    :param str volume: its name, or ``all`` for options of the pool.
    :param dict options: full option names to values: text or numbers; booleans become ``on`` and
        ``off``, lists are joined by commas.
    :returns: the same options as glusterd now has them, a dict of text.
    :raises CommandExecutionError: if glusterd does not know one of the options or values.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.set_options shared '{network.ping-timeout: 10, cluster.quorum-type: auto}'
    """
    values = _values(options, volume)
    if not values:
        raise CommandExecutionError(f"no option to set on {_label(volume)} was given")
    differing = _differing(volume, values)
    if GRANULAR in differing and volume != "all" and not _never_started(volume):
        # No part of the transaction, and may fail where the others, once checked, hardly can.
        check_options(values, volume)
        _granular_entry_heal(volume, differing.pop(GRANULAR))
    if differing:
        words = __utils__["gluster_option.set_words"](differing)
        try:
            _gluster("volume", "set", volume, *words)
        except CommandExecutionError as error:
            if not __utils__["gluster_option.unknown"](error):
                raise
            name = next((name for name in differing if f" {name} " in error.errstr), "")
            raise CommandExecutionError(f"{error}{_nearest(name, _manual())}") from error
    now = _reconfigured(volume)
    unset = sorted(name for name in values if name not in now)
    if unset:
        raise CommandExecutionError(
            f"glusterd took {', '.join(unset)} for {_label(volume)} but does not list it afterwards"
        )
    return {name: now[name] for name in values}


def reset_option(volume, key, force=False):
    """
    Give one option of a volume, or of the pool, its default again.

    :param str volume: its name, or ``all`` for an option of the pool.
    :param str key: the option's full name.
    :param bool force: also those that glusterd protects, as it says in its refusal.
    :returns: as :py:func:`reset_options`.
    :raises CommandExecutionError: if glusterd does not know the option or does not reset it.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.reset_option shared network.ping-timeout
    """
    return reset_options(volume, [key], force=force)


def reset_options(volume, names=None, force=False):
    """
    Give options of a volume, or of the pool, their defaults again, one by one.

    Those that glusterd itself sets on new volumes get back the value that they have there, while
    ``gluster volume reset`` would lose two of them.

    :param str volume: its name, or ``all`` for options of the pool.
    :param list names: full option names, each checked before the first is reset. Default: all that
        :py:func:`strays` tells.
    :param bool force: also those that glusterd protects, as it says in its refusal.
    :returns: dict of those that were set to ``old`` and ``new`` values, text or None.
    :raises CommandExecutionError: if glusterd does not know one of the options or does not reset
        it. ``user.…`` options it forgets only together with all others.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.reset_options shared '[network.ping-timeout]'
    """
    if names is None:
        names = list(strays(volume))
    if isinstance(names, str):
        raise CommandExecutionError(f"names must be a list of option names, not {names!r}")
    known = options(volume)
    for name in names:
        if name.startswith("user."):
            raise CommandExecutionError(
                f"glusterd cannot reset {name} alone: set it to another value, or run gluster "
                f"volume reset {volume}, which resets all options"
            )
        if name not in known:
            raise CommandExecutionError(
                f"{_label(volume)} has no option {name}{_nearest(name, known)}"
            )
    done = {}
    for name in names:
        if known[name]["default"]:
            continue
        _reset(volume, name, force)
        done[name] = {"old": known[name]["value"], "new": _reconfigured(volume).get(name)}
    return done


def strays(volume, declared=()):
    """
    Return the options that were set on a volume, or on the pool, and are not declared.

    :param str volume: its name, or ``all`` for the options of the pool.
    :param list declared: names of those that are.
    :returns: dict of name to value, as text. Those are left out that glusterd sets by itself or by
        commands of their own (quota, bitrot, profile, geo-replication), and ``user.…``, which are
        not its own.
    :raises CommandExecutionError: if there is no such volume.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.strays shared '[network.ping-timeout]'
    """
    if volume == "all":
        return {
            name: option["value"]
            for name, option in _pool_options().items()
            if not option["default"] and name not in declared
        }
    reconfigured = __salt__["gluster.info"](volume)["options"]
    found = __utils__["gluster_option.strays"](reconfigured, declared, pool_wide=())
    if not found:
        # To ask for the pool's options takes the lock that all nodes of it share.
        return {}
    return __utils__["gluster_option.strays"](found, declared, _pool_options())


def _values(options, volume):
    values = __utils__["gluster_declared.option_values"](options)
    if volume != "all" and volume is not None:
        __utils__["gluster_declared.volume_name"](volume)
    for name in VERSIONS:
        if name in values:
            raise CommandExecutionError(f"{name} is no setting: see gluster.set_op_version")
    return values


def _pool_options():
    listed = __utils__["gluster_option.listed"](_gluster("volume", "get", "all", "all"))
    return {name: option for name, option in listed.items() if name not in VERSIONS}


def _reconfigured(volume):
    if volume == "all":
        return {name: option["value"] for name, option in _pool_options().items()}
    return __salt__["gluster.info"](volume)["options"]


def _differing(volume, values):
    """Return those that are not set so already.

    glusterd 11 lists ``nfs.disable: on`` for each volume and would refuse to set it.
    """
    now, same = _reconfigured(volume), __utils__["gluster_option.same"]
    return {name: value for name, value in values.items() if not same(now.get(name), value)}


def _refusals(volume, values):
    """Return the errors that glusterd would answer to the setting of each: ``{name: error}``."""
    if volume != "all" and GRANULAR in values and not _never_started(volume):
        # It refuses this name, to point at the command that _granular_entry_heal uses.
        rest = {name: value for name, value in values.items() if name != GRANULAR}
        if not _switch(values[GRANULAR]):
            error = CommandExecutionError("it must be on or off")
            return {GRANULAR: error, **_refusals(volume, rest)}
        return _refusals(volume, rest)
    if not values or _refusal(volume, values) is None:
        return {}
    found = {name: _refusal(volume, {name: value}) for name, value in values.items()}
    return {name: error for name, error in found.items() if error is not None}


def _refusal(volume, values):
    words = __utils__["gluster_option.set_words"](values, check_only=True)
    try:
        _gluster("volume", "set", volume, *words)
    except CommandExecutionError as error:
        if __utils__["gluster_option.only_checked"](error):
            return None
        if getattr(error, "errno", None) == REFUSED:
            return error
        raise
    raise CommandExecutionError(f"glusterd took {words[-2]} for an option of {_label(volume)}")


def _unknown_names(values):
    """Return the errors for names that glusterd does not know for a single volume."""
    documented, pool_wide, found = _manual(), _pool_options(), {}
    for name, value in values.items():
        if __utils__["gluster_option.created"](name, value):
            continue
        if name in pool_wide:
            found[name] = CommandExecutionError("it is one of the pool: set it on volume all")
        elif name not in documented and not name.startswith("user."):
            try:
                _gluster("volume", "get", "all", name)
            except CommandExecutionError as error:
                if __utils__["gluster_option.unknown"](error):
                    found[name] = error
                elif not __utils__["gluster_option.not_pool_wide"](error):
                    raise
    return found


def _manual():
    result = __salt__["cmd.run_all"](
        __utils__["gluster.command"](["volume", "set", "help-xml"]),
        python_shell=False,
        ignore_retcode=True,
    )
    return __utils__["gluster_option.manual"](result)


def _reset(volume, name, force):
    replicated = volume != "all" and __salt__["gluster.info"](volume)["replica"] > 1
    created = __utils__["gluster_option.creation_value"](name)
    if replicated and created is not None:
        set_options(volume, {name: created})
    else:
        _gluster("volume", "reset", volume, name, *(["force"] if force else []))


def _never_started(volume):
    return __salt__["gluster.info"](volume)["status"] == "Created"


def _switch(value):
    """Return the verb for a value that means yes or no, None for any other."""
    for verb in ("enable", "disable"):
        if __utils__["gluster_option.same"](verb, value):
            return verb
    return None


def _granular_entry_heal(volume, value):
    try:
        _gluster("volume", "heal", volume, "granular-entry-heal", _switch(value))
    except CommandExecutionError as error:
        # It answers without XML, be it good or bad.
        if "has been successful" not in getattr(error, "errstr", ""):
            raise


def _words(name, value, error):
    words = getattr(error, "errstr", str(error))
    number = f" ({error.errno})" if getattr(error, "errno", 0) else ""
    if __utils__["gluster_option.unknown"](error):
        return f"glusterd has no option {name}: {words}{number}{_nearest(name, _manual())}"
    return f"option {name} cannot be {value!r}: {words}{number}"


def _nearest(name, known):
    near = __utils__["gluster_option.nearest"](name, known)
    return f"; the nearest are {near}" if near else ""


def _label(volume):
    return "the pool" if volume == "all" else f"volume {volume}"


def _gluster(*words):
    patience = __salt__["config.get"]("gluster.lock_timeout", 30)
    return __utils__["gluster.run"](words, __salt__["cmd.run_all"], patience)
