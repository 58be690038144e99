"""
Take a server of a running HAProxy out of rotation without a lost request, and put it back: the part
of ``haproxy`` that looks after who stays in service.
"""

import pathlib
import sys

import salt.utils.path
from salt.exceptions import CommandExecutionError

__virtualname__ = "haproxy"

#: Seconds that HAProxy may take to end sessions that it was told to end.
_ENDING = 5


def __virtual__():
    return __virtualname__


def may_drain(backend, server, min_in_service=1, socket=None):
    """
    Say whether a server can be drained and enough others stay in service.

    A server that is not in service takes nothing away, so it may always be drained.

    backend, server
        Their names in HAProxy's configuration.
    min_in_service
        How many servers must get new sessions afterwards.
    socket
        HAProxy's stats socket; see the top of this page for the default.

    Returns a dictionary: ``allowed``, ``others`` (names of the other servers in service) and
    ``reason`` (a sentence; empty when allowed).

    Raises CommandExecutionError for an unknown backend or server, or when HAProxy cannot be
    asked.

    CLI Example:

    .. code-block:: bash

        salt 'lb-1' haproxy.may_drain web web-1
    """
    __utils__["haproxy_declared.number"]("min_in_service", min_in_service, 0)
    found = __salt__["haproxy.servers"](backend, socket=socket)
    entry = next((each for each in found if each["name"] == server), None)
    if entry is None:
        # It says what the backend has instead.
        entry = __salt__["haproxy.server_state"](backend, server, socket=socket)
    others = [each["name"] for each in found if each["in_service"] and each["name"] != server]
    allowed = not entry["in_service"] or len(others) >= min_in_service
    reason = ""
    if not allowed:
        reason = (
            f"{backend}/{server} stays in service: without it {len(others)}"
            f" server{'' if len(others) == 1 else 's'} would be left in backend '{backend}',"
            f" at least {min_in_service} must be; bring another one up first"
        )
    return {"allowed": allowed, "others": others, "reason": reason}


def _lease_unit(backend, server):
    return f"haproxy-lease-{backend}-{server}"


def _arm(backend, server, lease, socket):
    """Let systemd put the server back after ``lease`` seconds, whatever becomes of its drainer."""
    release = (
        str(pathlib.Path(sys.executable).with_name("salt-call")),
        "--local",
        "--log-level=error",
        "haproxy.ready",
        backend,
        server,
        f"socket={__utils__['haproxy.chosen'](socket, dict(__opts__), dict(__pillar__))}",
    )
    _disarm(backend, server)
    done = __salt__["cmd.run_all"](
        [
            "systemd-run",
            "--quiet",
            "--collect",
            f"--unit={_lease_unit(backend, server)}",
            f"--on-active={lease}s",
            "--timer-property=AccuracySec=1s",
            *release,
        ],
        python_shell=False,
    )
    if done["retcode"] != 0:
        raise CommandExecutionError(
            f"the lease of {backend}/{server} cannot be set, so it is not drained: {done['stderr']}"
        )


def _disarm(backend, server):
    if salt.utils.path.which("systemctl"):
        # Not there is as good as stopped, and when the lease itself calls this its timer has run.
        __salt__["cmd.run_all"](
            ["systemctl", "stop", f"{_lease_unit(backend, server)}.timer"],
            python_shell=False,
            ignore_retcode=True,
        )


def drain(
    backend,
    server,
    timeout=30,
    min_in_service=1,
    socket=None,
    lease=None,
    shutdown_sessions=False,
):
    """
    Give a server no new sessions and wait until its present ones have ended.

    A server that is down is not waited for: what hangs on it will not end by itself. When the
    sessions do not end in time the server is put back to the state it had, so that a failed
    drain costs no capacity.

    backend, server
        Their names in HAProxy's configuration.
    timeout
        Seconds to wait for zero sessions.
    min_in_service
        Refuse when fewer servers than this would stay in service. The default keeps the last one
        from ever being drained.
    socket
        HAProxy's stats socket; see the top of this page for the default.
    lease
        Seconds after which the server is put back by itself, unless :py:func:`ready` was called
        before: whoever drains it may die. Needs systemd on the minion. None: it stays drained.
    shutdown_sessions
        True to end the sessions that are left after the timeout, instead of putting the server
        back: their clients get no answer, or half of one.

    Returns the server as :py:func:`servers` does, with ``changed`` (False when it was drained
    already) and ``waited`` (seconds) added.

    Raises CommandExecutionError for an unknown backend or server, when too few would stay in
    service, when sessions are left after the timeout, or when HAProxy cannot be asked.

    CLI Example:

    .. code-block:: bash

        salt 'lb-*' haproxy.drain web web-1 timeout=60
    """
    __utils__["haproxy_declared.seconds"]("timeout", timeout)
    before = __salt__["haproxy.server_state"](backend, server, socket=socket)["admin"]
    verdict = may_drain(backend, server, min_in_service, socket)
    if not verdict["allowed"]:
        raise CommandExecutionError(verdict["reason"])
    if lease is not None:
        _arm(backend, server, __utils__["haproxy_declared.seconds"]("lease", lease), socket)
    if before != "drain":
        __salt__["haproxy.set_state"](backend, server, "drain", socket=socket)
    try:
        try:
            entry = wait_drained(backend, server, timeout, socket)
        except CommandExecutionError:
            if not shutdown_sessions:
                raise
            __salt__["haproxy.shutdown_sessions"](backend, server, socket=socket)
            entry = wait_drained(backend, server, _ENDING, socket)
    except CommandExecutionError as error:
        if before == "drain":
            raise
        _disarm(backend, server)
        __salt__["haproxy.set_state"](backend, server, before, socket=socket)
        raise CommandExecutionError(f"{error}; it was put back to '{before}'") from error
    return {**entry, "changed": before != "drain"}


def wait_drained(backend, server, timeout=30, socket=None):
    """
    Wait until a server that gets no new sessions has none left; change nothing.

    backend, server
        Their names in HAProxy's configuration.
    timeout
        Seconds to wait. A server that is down is not waited for.
    socket
        HAProxy's stats socket; see the top of this page for the default.

    Returns the server as :py:func:`servers` does, with ``waited`` (seconds) added.

    Raises CommandExecutionError when the server is not in drain or maint, for an unknown backend
    or server, when sessions are left after the timeout, or when HAProxy cannot be asked.

    CLI Example:

    .. code-block:: bash

        salt 'lb-*' haproxy.wait_drained web web-1 timeout=60
    """
    __utils__["haproxy_declared.seconds"]("timeout", timeout)
    for waited in __utils__["haproxy.looks"](timeout):
        entry = __salt__["haproxy.server_state"](backend, server, socket=socket)
        if entry["admin"] == "ready":
            raise CommandExecutionError(
                f"{backend}/{server} is in rotation and gets new sessions: drain it first"
            )
        left = entry["sessions"] + entry["queued"]
        if not left or not entry["up"]:
            return {**entry, "waited": waited}
    raise CommandExecutionError(
        f"{backend}/{server} still has {left} session{'' if left == 1 else 's'}"
        f" {timeout} s after it was drained"
    )


def ready(backend, server, socket=None):
    """
    Put a server back in rotation and return it, as :py:func:`servers` does.

    It gets sessions once HAProxy's checks call it up: :py:func:`wait_up` waits for that.

    backend, server
        Their names in HAProxy's configuration.
    socket
        HAProxy's stats socket; see the top of this page for the default.

    Raises CommandExecutionError for an unknown backend or server, or when HAProxy cannot be
    asked.

    CLI Example:

    .. code-block:: bash

        salt 'lb-*' haproxy.ready web web-1
    """
    entry = __salt__["haproxy.set_state"](backend, server, "ready", socket=socket)
    _disarm(backend, server)
    return entry
