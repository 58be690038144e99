"""
Ask and steer a running HAProxy: who is up, drain a server, put it back, let go of clients.

Needs HAProxy 2.4 or later with a ``stats socket`` of ``level admin``. Which socket: the argument
``socket``, else the minion's configuration or pillar ``haproxy.socket``, else pillar
``lb:socket``, else ``/run/haproxy/admin.sock``. A path or ``HOST:PORT``.

.. code-block:: yaml

    haproxy.socket: /run/haproxy/admin.sock

HAProxy forgets what was set here when it is reloaded, unless its configuration has
``server-state-file`` and ``load-server-state-from-file global`` and :py:func:`save_state` ran
before the reload.
"""

import contextlib
import os
import pathlib
import sys
import tempfile
import time

import salt.utils.path
from salt.exceptions import CommandExecutionError

__virtualname__ = "haproxy"

_POLL = 0.1
#: What `show stat` says of requests that a server did not answer well.
_FAILURES = ("hrsp_5xx", "econ", "eresp", "wretr", "wredis")


def __virtual__():
    return __virtualname__


def _address(socket):
    return __utils__["haproxy.chosen"](socket, dict(__opts__), dict(__pillar__))


def _ask(function, socket, *args):
    call = __utils__[f"haproxy.{function}"]
    try:
        return call(_address(socket), *args)
    except (OSError, LookupError, ValueError) as error:
        raise CommandExecutionError(str(error)) from error


def _seconds(name, value):
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise CommandExecutionError(f"{name} must be a number of seconds, not {value!r}")
    return value


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


def servers(backend, socket=None):
    """
    Return the servers of a backend, in the configuration's order.

    Each is a dictionary with ``name``, ``backend``, ``address``, ``admin`` (``ready``, ``drain``,
    ``maint``), ``status`` (HAProxy's word), ``up``, ``checked``, ``in_service`` (gets new
    sessions), ``sessions``, ``queued``, ``weight``, ``initial_weight`` (the configuration's),
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
    _ask("set_server_state", socket, backend, server, state)
    return server_state(backend, server, socket)


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
    words = str(weight)
    before = server_state(backend, server, socket)
    percent = words.endswith("%") and words[:-1].isdigit() and int(words[:-1])
    if percent and not before["initial_weight"] * percent // 100:
        raise CommandExecutionError(
            f"{words} of the weight of {backend}/{server} in the configuration, "
            f"{before['initial_weight']}, is none: give its server a `weight 100` there"
        )
    _ask("set_server_weight", socket, backend, server, words)
    return server_state(backend, server, socket)


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
    if isinstance(min_in_service, bool) or not isinstance(min_in_service, int):
        raise CommandExecutionError(
            f"min_in_service must be a whole number of servers, not {min_in_service!r}"
        )
    found = servers(backend, socket)
    entry = _pick(found, backend, server)
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
        f"socket={_address(socket)}",
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


def drain(backend, server, timeout=30, min_in_service=1, socket=None, lease=None):
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

    Returns the server as :py:func:`servers` does, with ``changed`` (False when it was drained
    already) and ``waited`` (seconds) added.

    Raises CommandExecutionError for an unknown backend or server, when too few would stay in
    service, when sessions are left after the timeout, or when HAProxy cannot be asked.

    CLI Example:

    .. code-block:: bash

        salt 'lb-*' haproxy.drain web web-1 timeout=60
    """
    _seconds("timeout", timeout)
    before = server_state(backend, server, socket)["admin"]
    verdict = may_drain(backend, server, min_in_service, socket)
    if not verdict["allowed"]:
        raise CommandExecutionError(verdict["reason"])
    if lease is not None:
        _arm(backend, server, _seconds("lease", lease), socket)
    if before != "drain":
        _ask("set_server_state", socket, backend, server, "drain")
    try:
        entry = wait_drained(backend, server, timeout, socket)
    except CommandExecutionError as error:
        if before == "drain":
            raise
        _disarm(backend, server)
        _ask("set_server_state", socket, backend, server, before)
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
    start = time.monotonic()
    deadline = start + _seconds("timeout", timeout)
    while True:
        entry = server_state(backend, server, socket)
        if entry["admin"] == "ready":
            raise CommandExecutionError(
                f"{backend}/{server} is in rotation and gets new sessions: drain it first"
            )
        if not _load(entry) or not entry["up"]:
            return {**entry, "waited": round(time.monotonic() - start, 1)}
        if time.monotonic() >= deadline:
            left = _load(entry)
            raise CommandExecutionError(
                f"{backend}/{server} still has {left} session{'' if left == 1 else 's'}"
                f" {timeout} s after it was drained"
            )
        time.sleep(_POLL)


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
    entry = set_state(backend, server, "ready", socket)
    _disarm(backend, server)
    return entry


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
    start = time.monotonic()
    deadline = start + _seconds("timeout", timeout)
    while True:
        entry = server_state(backend, server, socket)
        if entry["admin"] == "maint":
            raise CommandExecutionError(
                f"{backend}/{server} is in maint, where HAProxy checks nothing: set it to"
                " 'ready' or 'drain' first"
            )
        if entry["up"] and entry["checked"]:
            return {**entry, "waited": round(time.monotonic() - start, 1)}
        if time.monotonic() >= deadline:
            raise CommandExecutionError(
                f"{backend}/{server} is {entry['status']} after {timeout} s; HAProxy's last"
                f" check of {entry['address']} said: {entry['check'] or 'nothing yet'}"
            )
        time.sleep(_POLL)


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
    until = int(time.time() + _seconds("seconds", seconds)) if seconds else 0
    _ask("close_until", socket, until)
    return {"closing": bool(until), "until": until}


def wait_answered(frontend, timeout=5, stream_after=0.5, socket=None):
    """
    Wait until no request of a frontend is without its answer; change nothing.

    frontend
        The frontend's name.
    timeout
        Seconds to wait.
    stream_after
        Seconds after which an answer that goes on counts as a stream, whose end is not waited for;
        nor is then the request of a connection on which none has come. Who was let in last may not
        have sent it yet.
    socket
        HAProxy's stats socket; see the top of this page for the default.

    Returns what :py:func:`connections` does, with ``waited`` (seconds) added.

    Raises CommandExecutionError when requests are left after the timeout, for an unknown frontend,
    or when HAProxy cannot be asked.

    CLI Example:

    .. code-block:: bash

        salt 'lb-1' haproxy.wait_answered http
    """
    start = time.monotonic()
    _seconds("stream_after", stream_after)
    deadline = start + _seconds("timeout", timeout)
    while True:
        found = connections(frontend, socket)
        now = time.monotonic()
        waits = (found["answering"] or found["idle"]) and now - start < stream_after
        if not found["asking"] and not waits:
            return {**found, "waited": round(now - start, 2)}
        if now >= deadline:
            left = found["asking"]
            raise CommandExecutionError(
                f"{left} request{'' if left == 1 else 's'} of frontend '{frontend}' still"
                f" {'has' if left == 1 else 'have'} no answer after {timeout} s"
            )
        # Nobody new is let in meanwhile: each moment counts.
        time.sleep(_POLL / 5)


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
