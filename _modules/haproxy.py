"""
Ask a running HAProxy who is up and what it does; let go of clients; keep its state over a reload.

Needs HAProxy 2.4 or later with a ``stats socket`` of ``level admin``. Which socket: the argument
``socket``, else the minion's configuration or pillar ``haproxy.socket``, else pillar
``lb:socket``, else ``/run/haproxy/admin.sock``. A path or ``HOST:PORT``.

.. code-block:: yaml

    haproxy.socket: /run/haproxy/admin.sock

HAProxy forgets what was set when it is reloaded, unless its configuration has
``server-state-file`` and ``load-server-state-from-file global`` and :py:func:`save_state` ran
before the reload.
"""

import contextlib
import os
import pathlib
import tempfile
import time

import salt.utils.path
from salt.exceptions import CommandExecutionError

__virtualname__ = "haproxy"

#: What `show stat` says of requests that a server did not answer well.
_FAILURES = ("hrsp_5xx", "econ", "eresp", "wretr", "wredis")


def __virtual__():
    return __virtualname__


def _ask(function, socket, *args):
    return __utils__["haproxy.call"](function, socket, dict(__opts__), dict(__pillar__), *args)


def info(socket=None):
    """
    Return ``show info`` as a dictionary: ``Version``, ``Uptime_sec``, ``CurrConns`` and so on.

    socket
        HAProxy's stats socket; see the top of this page for the default.

    Raises CommandExecutionError when HAProxy cannot be asked.

    CLI Example:

    .. code-block:: bash

        salt 'lb-1' haproxy.info
    """
    return _ask("info", socket)


def stat(socket=None):
    """
    Return ``show stat``: one dictionary for each frontend, backend and server, keys as HAProxy's.

    socket
        HAProxy's stats socket; see the top of this page for the default.

    Raises CommandExecutionError when HAProxy cannot be asked.

    CLI Example:

    .. code-block:: bash

        salt 'lb-1' haproxy.stat
    """
    return _ask("stat", socket)


def backends(socket=None):
    """
    Return the names of the backends, in the configuration's order; a ``listen`` section is one too.

    socket
        HAProxy's stats socket; see the top of this page for the default.

    Raises CommandExecutionError when HAProxy cannot be asked.

    CLI Example:

    .. code-block:: bash

        salt 'lb-1' haproxy.backends
    """
    return _ask("backends", socket)


def servers(backend, socket=None):
    """
    Return the servers of a backend, in the configuration's order.

    Each is a dictionary with ``name``, ``backend``, ``address``, ``admin`` (``ready``, ``drain``,
    ``maint``), ``status`` (HAProxy's word), ``up``, ``checked``, ``in_service`` (gets new
    sessions), ``sessions``, ``queued``, ``weight``, ``initial_weight`` (the configuration's),
    ``health_checks`` and ``agent_checks`` (True: on; False: off; None: the configuration has none),
    ``check`` (last check, in words) and ``since`` (seconds since it last went up or down).

    backend
        The backend's name.
    socket
        HAProxy's stats socket; see the top of this page for the default.

    Raises CommandExecutionError for an unknown backend or when HAProxy cannot be asked.

    CLI Example:

    .. code-block:: bash

        salt 'lb-*' haproxy.servers web
    """
    return _ask("servers", socket, backend)


def _pick(found, backend, server):
    for entry in found:
        if entry["name"] == server:
            return entry
    known = ", ".join(entry["name"] for entry in found) or "none"
    raise CommandExecutionError(
        f"No such server: backend '{backend}' has no '{server}' (its servers: {known})"
    )


def server_state(backend, server, socket=None):
    """
    Return one server of a backend, as :py:func:`servers` describes it.

    backend, server
        Their names in HAProxy's configuration.
    socket
        HAProxy's stats socket; see the top of this page for the default.

    Raises CommandExecutionError for an unknown backend or server, or when HAProxy cannot be
    asked.

    CLI Example:

    .. code-block:: bash

        salt 'lb-1' haproxy.server_state web web-1
    """
    return _pick(servers(backend, socket), backend, server)


def sessions(backend, server, socket=None):
    """
    Return how many sessions a server has now, those waiting in its own queue included.

    backend, server
        Their names in HAProxy's configuration.
    socket
        HAProxy's stats socket; see the top of this page for the default.

    Raises CommandExecutionError for an unknown backend or server, or when HAProxy cannot be
    asked.

    CLI Example:

    .. code-block:: bash

        salt 'lb-1' haproxy.sessions web web-1
    """
    return _load(server_state(backend, server, socket))


def _load(entry):
    return entry["sessions"] + entry["queued"]


def counters(backend, socket=None):
    """
    Return what a backend's servers were asked, and what became of it, since HAProxy has begun.

    They start from nothing with each reload: compare two readings only while ``process`` is the
    same.

    backend
        The backend's name.
    socket
        HAProxy's stats socket; see the top of this page for the default.

    Returns ``process`` (HAProxy's PID) and ``servers``, by name: ``answers`` (HTTP responses),
    ``hrsp_5xx`` (those of 500 and more), ``econ`` (connections that failed for good), ``eresp``
    (answers that were none, or broke off), ``wretr`` and ``wredis`` (tries that were made again on
    the same server, and on another one, for whatever reason of ``retry-on``), ``status`` (HAProxy's
    word).

    Raises CommandExecutionError for an unknown backend or when HAProxy cannot be asked.

    CLI Example:

    .. code-block:: bash

        salt 'lb-*' haproxy.counters web
    """
    process = info(socket)["Pid"]
    known = {entry["name"] for entry in servers(backend, socket)}
    found = {}
    for row in stat(socket):
        if row["pxname"] != backend or row["svname"] not in known:
            continue
        kinds = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")
        found[row["svname"]] = {
            "answers": sum(row.get(f"hrsp_{kind}", 0) for kind in kinds),
            **{name: row.get(name, 0) for name in _FAILURES},
            "status": row["status"],
        }
    return {"process": process, "servers": found}


def connections(frontend, socket=None):
    """
    Return how many of a frontend's connections are at what.

    A dictionary with ``asking`` (a request is there, and nothing of its answer yet), ``answering``
    (an answer is under way: of a stream, for as long as it lasts), ``idle`` (between two requests,
    or before the end of the first one's head) and ``multiplexed`` (of HTTP/2: each request on one
    counts by itself above, and one without any is not ``idle``).

    frontend
        The frontend's name.
    socket
        HAProxy's stats socket; see the top of this page for the default.

    Raises CommandExecutionError for an unknown frontend or when HAProxy cannot be asked.

    CLI Example:

    .. code-block:: bash

        salt 'lb-1' haproxy.connections http
    """
    return _ask("connections", socket, frontend)


def closing(seconds=60, socket=None):
    """
    Have each answer end its connection for so many seconds: clients come anew for the next one.

    So nobody is left on a connection that the address is about to leave. It ends by itself, with a
    reload, or with ``seconds=0``. HAProxy's configuration has to go by it:

    .. code-block:: text

        global
            set-var proc.closing_until int(0)
        frontend http
            http-after-response set-header Connection close if { date,sub(proc.closing_until) lt 0 }

    seconds
        For how long; 0 to have connections kept again.
    socket
        HAProxy's stats socket; see the top of this page for the default.

    Returns ``{"closing": …, "until": …}``: whether it is so, and until which second since 1970.

    Raises CommandExecutionError when the configuration does not go by it, or when HAProxy cannot be
    asked.

    CLI Example:

    .. code-block:: bash

        salt 'lb-1' haproxy.closing 30
    """
    __utils__["haproxy_declared.seconds"]("seconds", seconds)
    until = int(time.time() + seconds) if seconds else 0
    _ask("close_until", socket, until)
    return {"closing": bool(until), "until": until}


def wait_answered(frontend, timeout=5, stream_after=0.5, request_within=2, socket=None):
    """
    Wait until no request of a frontend is without its answer; change nothing.

    frontend
        The frontend's name.
    timeout
        Seconds to wait.
    stream_after
        Seconds after which an answer that goes on counts as a stream, whose end is not waited for.
    request_within
        Seconds for a connection that was let in to send its first request: with TLS a client far
        away, or busy, speaks of other things first.
    socket
        HAProxy's stats socket; see the top of this page for the default.

    Returns what :py:func:`connections` does, with ``waited`` (seconds) added.

    Raises CommandExecutionError when requests are left after the timeout, for an unknown frontend,
    or when HAProxy cannot be asked.

    CLI Example:

    .. code-block:: bash

        salt 'lb-1' haproxy.wait_answered http
    """
    given = {
        "timeout": timeout,
        "stream_after": stream_after,
        "request_within": request_within,
    }
    seconds = [__utils__["haproxy_declared.seconds"](*each) for each in given.items()]
    return _ask("wait_answered", socket, frontend, *seconds)


def save_state(path, socket=None):
    """
    Write the state of every server to a file that HAProxy reads at its next start or reload.

    Run it before each reload, or drains are forgotten. HAProxy reads the file when its
    configuration has ``server-state-file <path>`` (global) and ``load-server-state-from-file
    global`` (defaults or backend). The file is replaced in one step and readable by its owner
    alone (HAProxy reads it as root).

    path
        The file; its folder must exist.
    socket
        HAProxy's stats socket; see the top of this page for the default.

    Returns ``{"path": …, "servers": <how many>}``.

    Raises CommandExecutionError when HAProxy cannot be asked or the file cannot be written.

    CLI Example:

    .. code-block:: bash

        salt 'lb-1' haproxy.save_state /var/lib/haproxy/server-state
    """
    text = _ask("servers_state", socket)
    target = pathlib.Path(path)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(handle, "w") as stream:
            stream.write(text)
        pathlib.Path(temporary).replace(target)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                pathlib.Path(temporary).unlink()
        raise CommandExecutionError(
            f"HAProxy's server state cannot be saved to {path}: {error.strerror}"
        ) from error
    rows = __utils__["haproxy.parse_servers_state"](text)
    return {"path": str(path), "servers": len(rows)}


def check_config(path):
    """
    Check a configuration file with ``haproxy -c``.

    path
        The file, or a folder of files that HAProxy reads in order.

    Returns ``{"path": …, "valid": True, "warnings": [<sentence>, …]}``.

    Raises CommandExecutionError with HAProxy's own words when the configuration is not valid, or
    when no ``haproxy`` is installed.

    CLI Example:

    .. code-block:: bash

        salt 'lb-1' haproxy.check_config /etc/haproxy/haproxy.cfg
    """
    # The daemon's PATH may lack the folder where distributions put the program.
    binary = salt.utils.path.which("haproxy") or salt.utils.path.which("/usr/sbin/haproxy")
    if not binary:
        raise CommandExecutionError("haproxy is not installed here: install its package first")
    outcome = __salt__["cmd.run_all"](
        [binary, "-c", "-f", str(path)], python_shell=False, ignore_retcode=True
    )
    said = {"ALERT": [], "WARNING": []}
    for line in f"{outcome['stderr']}\n{outcome['stdout']}".splitlines():
        level, _, words = line.partition(" : ")
        level = level.partition("]")[0].lstrip("[")
        if level in said:
            said[level].append(words.removeprefix("config : ").strip())
    if outcome["retcode"]:
        words = said["ALERT"] or [outcome["stderr"].strip() or "haproxy -c gave no reason"]
        raise CommandExecutionError(f"HAProxy does not accept {path}: {'; '.join(words)}")
    return {"path": str(path), "valid": True, "warnings": said["WARNING"]}
