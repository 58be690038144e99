"""
The worker processes of HAProxy: the one that takes connections, and those that a reload replaced.

Needs HAProxy in master-worker mode with the socket of its master process (``-S``), as units of
distributions start it. Which socket: the argument ``master``, else the minion's configuration or
pillar ``haproxy.master``, else ``/run/haproxy/master.sock``.
"""

import time

from salt.exceptions import CommandExecutionError

__virtualname__ = "haproxy"

DEFAULT_MASTER = "/run/haproxy/master.sock"
# Seconds between two looks. Nobody new is let in meanwhile: each moment counts.
_POLL = 0.02


def __virtual__():
    return __virtualname__


def _ask(function, master, *arguments):
    address = master or __salt__["config.get"]("haproxy.master") or DEFAULT_MASTER
    return __utils__["haproxy.call"](function, address, {}, {}, *arguments)


def workers(master=None):
    """
    Return HAProxy's worker processes.

    master
        The socket of HAProxy's master process; see the top of this page for the default.

    Returns a dictionary with ``current`` (the process that takes connections, None without one) and
    ``replaced`` (a list of those that go on with connections that they had).

    Raises CommandExecutionError when HAProxy cannot be asked.

    CLI Example:

    .. code-block:: bash

        salt 'lb-*' haproxy.workers
    """
    found = _ask("workers", master)
    return {
        "current": next((pid for pid, current in found.items() if current), None),
        "replaced": [pid for pid, current in found.items() if not current],
    }


def retire(frontend, timeout=5, stream_after=0.5, request_within=2, service="haproxy", master=None):
    """
    Reload HAProxy, and wait until the worker that this replaced has answered every request.

    It is what clients of HTTP/2 can be asked to leave by: a worker that is replaced tells them, on
    the connection, to use it for no further request.

    frontend
        The frontend whose requests are waited for.
    timeout
        Seconds to wait for the new worker, and again for the answers of the old one.
    stream_after
        Seconds after which an answer that goes on counts as a stream, whose end is not waited for.
    request_within
        Seconds for a connection of HTTP/1 that was let in to send its first request.
    service
        HAProxy's service.
    master
        The socket of HAProxy's master process; see the top of this page for the default.

    Returns a dictionary with ``worker`` (the new one), ``replaced`` (the old one) and ``waited``
    (seconds).

    Raises CommandExecutionError when HAProxy cannot be reloaded or asked, when no new worker is
    there, or when requests are left after the timeout.

    CLI Example:

    .. code-block:: bash

        salt 'lb-1' haproxy.retire http
    """
    start = time.monotonic()
    before = workers(master)["current"]
    # Who was let in last may not have sent its request yet, and a worker that is replaced ends a
    # connection of HTTP/1 that has none.
    while _ask("connections", master, frontend, before)["idle"]:
        if time.monotonic() - start >= request_within:
            break
        time.sleep(_POLL)
    if not __salt__["service.reload"](service):
        raise CommandExecutionError(f"{service} cannot be reloaded: see its log")
    new = _another(before, service, time.monotonic() + timeout, master)
    # Of those without a request none is left there: the worker has ended them.
    _ask("wait_answered", master, frontend, timeout, stream_after, 0, before)
    return {
        "worker": new,
        "replaced": before,
        "waited": round(time.monotonic() - start, 2),
    }


def _another(before, service, deadline, master):
    """Return the worker that takes the place of another one, when it is there."""
    while True:
        try:
            current, why = workers(master)["current"], ""
        except CommandExecutionError as error:
            # The master process begins anew, and for that moment nobody listens.
            current, why = None, f" ({error})"
        if current not in (None, before):
            return current
        if time.monotonic() >= deadline:
            raise CommandExecutionError(
                f"HAProxy has no new worker after the reload of {service}: see its log{why}"
            )
        time.sleep(_POLL)
