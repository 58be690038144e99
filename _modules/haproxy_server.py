"""
Steer one server of a running HAProxy: its state, weight, checks and sessions, each by itself.

See :py:func:`set_server` for all of it at once and in each backend, and :py:func:`drain` to take a
server out of rotation.
"""

from salt.exceptions import CommandExecutionError

__virtualname__ = "haproxy"


def __virtual__():
    return __virtualname__


def set_state(backend, server, state, socket=None):
    """
    Set a server's administrative state and return the server, without waiting for anything.

    This is the bare command: it does not ask who else is in service. Use :py:func:`drain` to
    take a server out of rotation.

    backend, server
        Their names in HAProxy's configuration.
    state
        ``ready``, ``drain`` (no new sessions, checks go on) or ``maint`` (no new sessions, no
        checks; a server that leaves maint gets sessions before its first check).
    socket
        HAProxy's stats socket; see the top of this page for the default.

    Raises CommandExecutionError for an unknown backend, server or state, and when HAProxy cannot
    be asked or refuses.

    CLI Example:

    .. code-block:: bash

        salt 'lb-1' haproxy.set_state web web-1 maint
    """
    wanted = __utils__["haproxy_declared.state"](state)
    # It says which servers there are, when this one is none of them.
    _state(backend, server, socket)
    _tell(socket, "set server", backend, server, "state", wanted)
    return _state(backend, server, socket)


def set_weight(backend, server, weight, socket=None):
    """
    Set how many requests a server gets beside the others, and return the server.

    With the algorithm ``roundrobin`` a weight is a part of the requests. With ``leastconn`` it is a
    part of those that run at once: servers that have nothing to do get the same, whatever their
    weight.

    backend, server
        Their names in HAProxy's configuration.
    weight
        ``10%`` is a part of the weight that the configuration gives the server, ``100%`` the whole
        one; 0 to 256 is a weight as it stands there. With 0 it gets no new sessions.
    socket
        HAProxy's stats socket; see the top of this page for the default.

    Raises CommandExecutionError for an unknown backend or server, for what is no weight, for a
    percentage of which nothing is left (of HAProxy's own default, 1, any but 100%: the
    configuration needs ``weight 100``), and when HAProxy cannot be asked or refuses, as with an
    algorithm of fixed weights.

    CLI Example:

    .. code-block:: bash

        salt 'lb-*' haproxy.set_weight web web-1 10%
    """
    entry = _state(backend, server, socket)
    words = __utils__["haproxy_declared.weight"](entry, weight)
    _tell(socket, "set server", backend, server, "weight", words)
    return _state(backend, server, socket)


def set_health_checks(backend, server, enabled, socket=None):
    """
    Turn the health checks of a server on or off, and return the server.

    While they are off it stays up or down, as it was. HAProxy leaves them as they are when its
    state of administration changes.

    backend, server
        Their names in HAProxy's configuration.
    enabled
        True or False.
    socket
        HAProxy's stats socket; see the top of this page for the default.

    Raises CommandExecutionError for an unknown backend or server, for one whose configuration has
    no health checks, and when HAProxy cannot be asked or refuses.

    CLI Example:

    .. code-block:: bash

        salt 'lb-1' haproxy.set_health_checks web web-1 False
    """
    return _set_checks("health", backend, server, enabled, socket)


def set_agent_checks(backend, server, enabled, socket=None):
    """
    Turn the agent checks of a server on or off, and return the server.

    While they are off, what the agent said last holds.

    backend, server
        Their names in HAProxy's configuration.
    enabled
        True or False.
    socket
        HAProxy's stats socket; see the top of this page for the default.

    Raises CommandExecutionError for an unknown backend or server, for one whose configuration has
    no agent checks, and when HAProxy cannot be asked or refuses.

    CLI Example:

    .. code-block:: bash

        salt 'lb-1' haproxy.set_agent_checks web web-1 False
    """
    return _set_checks("agent", backend, server, enabled, socket)


def _set_checks(kind, backend, server, enabled, socket):
    entry = _state(backend, server, socket)
    __utils__["haproxy_declared.checks"](entry, kind, enabled)
    if entry[f"{kind}_checks"] == enabled:
        return entry
    _tell(socket, f"{'enable' if enabled else 'disable'} {kind}", backend, server)
    return _state(backend, server, socket)


def shutdown_sessions(backend, server, socket=None):
    """
    End the sessions of a server at once. Their clients get no answer, or half of one.

    A server that is ready gets new ones at once: take it out of rotation first.

    backend, server
        Their names in HAProxy's configuration.
    socket
        HAProxy's stats socket; see the top of this page for the default.

    Returns ``{"ended": …}``: how many sessions it had.

    Raises CommandExecutionError for an unknown backend or server, and when HAProxy cannot be asked
    or refuses.

    CLI Example:

    .. code-block:: bash

        salt 'lb-1' haproxy.shutdown_sessions web web-1
    """
    had = _state(backend, server, socket)["sessions"]
    _tell(socket, "shutdown sessions server", backend, server)
    return {"ended": had}


def wait_up(backend, server, timeout=30, socket=None):
    """
    Wait until HAProxy's checks call a server up. Works on a drained server too: its checks go on.

    backend, server
        Their names in HAProxy's configuration.
    timeout
        Seconds to wait.
    socket
        HAProxy's stats socket; see the top of this page for the default.

    Returns the server as :py:func:`servers` does, with ``waited`` (seconds) added.

    Raises CommandExecutionError when the server is in maint (nothing is checked there), when it
    is not up after the timeout, for an unknown backend or server, or when HAProxy cannot be
    asked.

    CLI Example:

    .. code-block:: bash

        salt 'lb-*' haproxy.wait_up web web-1 timeout=60
    """
    __utils__["haproxy_declared.seconds"]("timeout", timeout)
    for waited in __utils__["haproxy.looks"](timeout):
        entry = _state(backend, server, socket)
        if entry["admin"] == "maint":
            raise CommandExecutionError(
                f"{backend}/{server} is in maint, where HAProxy checks nothing: set it to"
                " 'ready' or 'drain' first"
            )
        if entry["up"] and entry["checked"]:
            return {**entry, "waited": waited}
    raise CommandExecutionError(
        f"{backend}/{server} is {entry['status']} after {timeout} s; HAProxy's last"
        f" check of {entry['address']} said: {entry['check'] or 'nothing yet'}"
    )


def wait_status(backend, server, status="UP", timeout=30, socket=None):
    """
    Wait until HAProxy has a certain word for a server; change nothing.

    Where the checks have just begun to fail, ``UP`` is no promise: :py:func:`wait_up` waits for one
    that passes.

    backend, server
        Their names in HAProxy's configuration.
    status
        ``UP``, ``DOWN``, ``DRAIN``, ``MAINT``, ``NOLB`` (up, for sessions that belong to it) or
        ``no check`` (in rotation, without health checks); small letters do as well. What HAProxy
        adds, as in ``UP 1/3``, does not matter.
    timeout
        Seconds to wait.
    socket
        HAProxy's stats socket; see the top of this page for the default.

    Returns the server as :py:func:`servers` does, with ``waited`` (seconds) added.

    Raises CommandExecutionError when it is another after the timeout, for what is no status, for an
    unknown backend or server, or when HAProxy cannot be asked.

    CLI Example:

    .. code-block:: bash

        salt 'lb-1' haproxy.wait_status web web-1 DOWN timeout=60
    """
    wanted = __utils__["haproxy_declared.status"](status)
    __utils__["haproxy_declared.seconds"]("timeout", timeout)
    for waited in __utils__["haproxy.looks"](timeout):
        entry = _state(backend, server, socket)
        if f"{entry['status']} ".startswith(f"{wanted} "):
            return {**entry, "waited": waited}
    raise CommandExecutionError(
        f"{backend}/{server} is '{entry['status']}' after {timeout} s, not '{wanted}'"
    )


def _state(backend, server, socket):
    return __salt__["haproxy.server_state"](backend, server, socket=socket)


def _tell(socket, verb, backend, server, *words):
    __utils__["haproxy.call"](
        "tell_server", socket, dict(__opts__), dict(__pillar__), verb, backend, server, *words
    )
