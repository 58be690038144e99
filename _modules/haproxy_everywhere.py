"""
Bring one server of a running HAProxy into a state in each backend that has it, in one call.
"""

from salt.exceptions import CommandExecutionError

__virtualname__ = "haproxy"


def __virtual__():
    return __virtualname__


def set_server(
    server,
    state,
    backend=None,
    weight=None,
    health_checks=None,
    agent_checks=None,
    timeout=None,
    shutdown_sessions=False,
    min_in_service=1,
    fail_on_not_found=True,
    socket=None,
):
    """
    Bring a server into a state, in one backend or in each that has it.

    What is wrong with the arguments, and where too few servers would stay in service, is found
    before anything is changed. A server that cannot be taken out of rotation in one backend is put
    back in those where it already was.

    server
        Its name in HAProxy's configuration.
    state
        ``ready``, ``drain`` or ``maint``, as :py:func:`set_state` has them.
    backend
        The backend's name; each that has the server, when it is left out.
    weight
        As :py:func:`set_weight` has it; None leaves it as it is.
    health_checks, agent_checks
        True to turn them on, False to turn them off, None to leave them as they are.
    timeout
        Seconds to wait in each backend: for ``ready`` until the checks call the server up, for
        ``drain`` and ``maint`` until it has no sessions (so that ``maint`` begins after them).
        None: nothing is waited for.
    shutdown_sessions
        True to end the sessions that it then has: after the timeout, or at once without one. Goes
        with ``drain`` and ``maint``.
    min_in_service
        Refuse ``drain`` and ``maint`` when fewer servers than this would stay in service in a
        backend.
    fail_on_not_found
        False to do nothing when there is no such server.
    socket
        HAProxy's stats socket; see the top of this page for the default.

    Returns a dictionary by backend: the server as :py:func:`servers` has it, and ``changed``.

    Raises CommandExecutionError for an unknown backend, server or state, for a weight or checks
    that cannot be, when too few would stay in service, when the time is over, and when HAProxy
    cannot be asked or refuses.

    CLI Example:

    .. code-block:: bash

        salt 'lb-*' haproxy.set_server web-1 maint timeout=60
        salt 'lb-*' haproxy.set_server web-1 ready weight=50% timeout=30
    """
    __utils__["haproxy_declared.state"](state)
    if state == "ready" and shutdown_sessions:
        raise CommandExecutionError(
            "shutdown_sessions goes with 'drain' and 'maint': a server in 'ready' gets new ones"
        )
    if timeout is not None:
        __utils__["haproxy_declared.seconds"]("timeout", timeout)
    settings = {"weight": weight, "health_checks": health_checks, "agent_checks": agent_checks}
    settings = {name: value for name, value in settings.items() if value is not None}
    known = {
        name: __salt__["haproxy.servers"](name, socket=socket)
        for name in ([backend] if backend else __salt__["haproxy.backends"](socket=socket))
    }
    every = [entry for entries in known.values() for entry in entries]
    found = {entry["backend"]: entry for entry in every if entry["name"] == server}
    if not found and fail_on_not_found:
        names = ", ".join(f"{entry['backend']}/{entry['name']}" for entry in every) or "none"
        where = f"backend '{backend}' has no" if backend else "no backend has a"
        raise CommandExecutionError(f"No such server: {where} '{server}' (the servers: {names})")
    for entry in found.values():
        _refuse_early(entry, state, settings, min_in_service, socket)
    if state == "ready":
        for name in found:
            _set(name, server, settings, socket)
            __salt__["haproxy.ready"](name, server, socket=socket)
        for name in found if timeout is not None else ():
            __salt__["haproxy.wait_up"](name, server, timeout=timeout, socket=socket)
    else:
        out = []
        try:
            for name in found:
                out.append(name)
                _take_out(name, server, state, timeout, shutdown_sessions, min_in_service, socket)
        except CommandExecutionError:
            for name in out:
                __salt__["haproxy.set_state"](name, server, found[name]["admin"], socket=socket)
            raise
        for name in found:
            _set(name, server, settings, socket)
    done = {}
    for name, before in found.items():
        after = __salt__["haproxy.server_state"](name, server, socket=socket)
        keys = ("admin", "weight", "health_checks", "agent_checks")
        ended = shutdown_sessions and before["sessions"] > 0
        done[name] = {**after, "changed": ended or any(after[key] != before[key] for key in keys)}
    return done


def _refuse_early(entry, state, settings, min_in_service, socket):
    if "weight" in settings:
        __utils__["haproxy_declared.weight"](entry, settings["weight"])
    for kind in ("health", "agent"):
        if f"{kind}_checks" in settings:
            __utils__["haproxy_declared.checks"](entry, kind, settings[f"{kind}_checks"])
    if state != "ready":
        verdict = __salt__["haproxy.may_drain"](
            entry["backend"], entry["name"], min_in_service=min_in_service, socket=socket
        )
        if not verdict["allowed"]:
            raise CommandExecutionError(verdict["reason"])


def _take_out(backend, server, state, timeout, shutdown_sessions, min_in_service, socket):
    before = __salt__["haproxy.server_state"](backend, server, socket=socket)["admin"]
    # From maint there is no drain to wait for: its checks would begin again.
    if timeout is not None and not before == state == "maint":
        __salt__["haproxy.drain"](
            backend,
            server,
            timeout=timeout,
            min_in_service=min_in_service,
            shutdown_sessions=shutdown_sessions,
            socket=socket,
        )
    if state == "maint" or timeout is None:
        __salt__["haproxy.set_state"](backend, server, state, socket=socket)
    if shutdown_sessions:
        __salt__["haproxy.shutdown_sessions"](backend, server, socket=socket)


def _set(backend, server, settings, socket):
    for name, value in settings.items():
        __salt__[f"haproxy.set_{name}"](backend, server, value, socket=socket)
