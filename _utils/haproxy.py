"""
Speak to a running HAProxy over its stats socket (the runtime API of HAProxy's management guide).

Callers name the socket the way HAProxy's own configuration does: ``/run/haproxy/admin.sock``,
``unix@/run/haproxy/admin.sock``, ``127.0.0.1:9999``, ``ipv4@127.0.0.1:9999``, ``[::1]:9999`` or
``ipv6@::1:9999``. One connection carries one command: that is HAProxy's non-interactive mode,
in which the end of the answer is the end of the connection and nothing has to be guessed.

Salt's loader hands out functions only, so errors are Python's own classes, which :py:func:`call`
makes Salt's:

* ``OSError`` (with its ``TimeoutError``, ``PermissionError``): the socket cannot be used;
* ``LookupError``: HAProxy knows no such backend or server;
* ``ValueError``: HAProxy refused the command, or the caller's words cannot be a command.
"""

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from salt.exceptions import CommandExecutionError

__virtualname__ = "haproxy"

#: Operational state 0 is "stopped"; 1 (slow start), 2 (running) and 3 (finishing) take traffic.
_OP_STOPPED = 0
#: Bits of srv_admin_state: forced, inherited, configured, resolution and name-change maintenance.
_ADMIN_MAINT = 0x01 | 0x02 | 0x04 | 0x20 | 0x40
#: Bits of srv_admin_state: forced and inherited drain.
_ADMIN_DRAIN = 0x08 | 0x10
#: Bits of srv_check_state and srv_agent_state: checks are configured for the server, and on.
_CHECK_CONFIGURED = 0x02
_CHECK_ON = 0x04
#: srv_check_result: the last check passed, or passed with a condition (404 with disable-on-404).
_CHECK_PASSED = (3, 4)

_NO_BACKEND = ("No such backend", "Can't find backend")
_UNKNOWN = (*_NO_BACKEND, "No such server", "No such frontend", "No such proxy")
_NAME = re.compile(r"[A-Za-z0-9_.:-]+\Z")
DEFAULT_SOCKET = "/run/haproxy/admin.sock"
_POLL = 0.1
#: How often connections are counted anew when some came meanwhile, so that the count is exact.
_LOOKS = 5
#: What tells a connection from what else a process has open.
_CONNECTION = "sock_conn_iocb"
#: The variable of the process by which a configuration has answers end their connection.
CLOSING = "proc.closing_until"


def __virtual__() -> str:
    return __virtualname__


def _connect(address: str, timeout: float) -> socket.socket:
    kind, at, rest = address.partition("@")
    if not at:
        kind, rest = ("unix" if address.startswith("/") else "tcp"), address
    if kind == "unix":
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout)
        try:
            connection.connect(rest)
        except OSError:
            connection.close()
            raise
        return connection
    if kind not in ("tcp", "tcp4", "tcp6", "ipv4", "ipv6"):
        raise ValueError(
            f"'{address}' is no HAProxy socket: give a path, or HOST:PORT for one on TCP"
        )
    host, _, port = rest.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"'{address}' is no HAProxy socket: the port is missing (HOST:PORT)")
    return socket.create_connection((host.strip("[]"), int(port)), timeout)


def chosen(address: str | None, opts: dict[str, Any], pillar: dict[str, Any]) -> str:
    """
    Return a stats socket: one that was given, else the one that a minion is configured with.

    opts, pillar
        The minion's configuration and pillar; see the execution module for the keys.
    """
    if address:
        return str(address)
    own = (where.get("haproxy.socket") for where in (opts, pillar))
    nested = (
        (where.get(section) or {}).get("socket")
        for section in ("haproxy", "lb")
        for where in (opts, pillar)
    )
    return next((str(each) for each in (*own, *nested) if each), DEFAULT_SOCKET)


def call(
    function: str,
    address: str | None,
    opts: dict[str, Any],
    pillar: dict[str, Any],
    *arguments: Any,
) -> Any:
    """
    Call a function of this module, by its name, on the socket that :py:func:`chosen` returns.

    Raises ``CommandExecutionError`` for what the function raises.
    """
    called = globals()[function]
    try:
        return called(chosen(address, opts, pillar), *arguments)
    except (OSError, LookupError, ValueError) as error:
        raise CommandExecutionError(str(error)) from error


def looks(timeout: float) -> Iterator[float]:
    """
    Yield before each look at what is waited for: the seconds since the first.

    The last is one that begins after ``timeout`` seconds: there is one in any case.
    """
    start = time.monotonic()
    last = False
    while not last:
        waited = time.monotonic() - start
        last = waited >= timeout
        yield round(waited, 1)
        if not last:
            time.sleep(_POLL)


def command(
    address: str,
    line: str,
    timeout: float = 10,
    several: bool = False,
    payload: str | None = None,
) -> str:
    """
    Send one command and return HAProxy's whole answer, trailing blank lines removed.

    address
        The stats socket, in one of the forms named at the top.
    line
        The command, e.g. ``show info``. One command: no newline, no ``;``.
    timeout
        Seconds that connecting, and each read, may take.
    several
        True to allow more than one command, separated by ``;``.
    payload
        Lines that the command takes, none of which is empty.

    Raises ``OSError`` when the socket cannot be reached or does not answer, or when its level does
    not allow the command; ``ValueError`` when the line is not one command, or the payload has an
    empty line.
    """
    if re.search(r"[\n\r\\]" if several else r"[;\n\r\\]", line):
        raise ValueError(f"not one HAProxy command: {line!r}")
    sent = line if payload is None else f"{line} <<\n{payload}\n"
    if payload is not None and not all(each.strip() for each in payload.split("\n")):
        raise ValueError(f"the payload of {line!r} has an empty line, which would end it")
    chunks = []
    try:
        with _connect(address, timeout) as connection:
            connection.sendall(sent.encode() + b"\n")
            # The master process waits for another command until it is told that none comes.
            connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                chunks.append(chunk)
    except TimeoutError as error:
        raise TimeoutError(f"HAProxy at {address} gave no answer within {timeout} s") from error
    except PermissionError as error:
        raise PermissionError(
            f"HAProxy cannot be asked at {address}: this user may not use that socket; be root, or"
            " give the configuration's 'stats socket' line another 'user', 'group' or 'mode'"
        ) from error
    except OSError as error:
        reason = error.strerror or error
        raise type(error)(
            f"HAProxy cannot be asked at {address}: {reason}; is it running, and does its"
            " configuration have this 'stats socket'?"
        ) from error
    answer = b"".join(chunks).decode(errors="replace").rstrip("\n")
    # Whatever the command: what is told to those who may not ask is no answer to it.
    if answer.startswith("Permission denied"):
        raise PermissionError(
            f"HAProxy at {address} refused '{line}': {answer.splitlines()[0]}; its 'stats socket'"
            " line needs 'level admin'"
        )
    return answer


def _refuse(address: str, line: str, answer: str) -> NoReturn:
    message = f"HAProxy at {address} refused '{line}': {answer.splitlines()[0]}"
    if answer.startswith(_NO_BACKEND):
        message += f" (its backends: {', '.join(backends(address)) or 'none'})"
    if answer.startswith(_UNKNOWN):
        raise LookupError(message)
    raise ValueError(message)


def _json(address: str, line: str) -> Any:
    answer = command(address, line)
    if not answer.startswith("["):
        _refuse(address, line, answer or "(no answer)")
    return json.loads(answer)


def _name(kind: str, value: Any) -> str:
    if not isinstance(value, str) or not _NAME.match(value):
        raise ValueError(f"{value!r} cannot be the name of a {kind} in HAProxy")
    return value


def _record(fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {field["field"]["name"]: field["value"]["value"] for field in fields}


def info(address: str) -> dict[str, Any]:
    """
    Return ``show info`` as a dictionary, numbers as numbers (e.g. ``Version``, ``Uptime_sec``).

    Raises ``OSError`` when HAProxy cannot be asked.
    """
    return _record(_json(address, "show info json"))


def stat(address: str) -> list[dict[str, Any]]:
    """
    Return ``show stat`` as a list with one dictionary for each frontend, backend and server.

    The keys are HAProxy's own (``pxname``, ``svname``, ``scur``, ``status`` …), numbers are
    numbers. Raises ``OSError`` when HAProxy cannot be asked.
    """
    return [_record(fields) for fields in _json(address, "show stat json")]


def backends(address: str) -> list[str]:
    """
    Return the names of the backends, in the configuration's order.

    Raises ``OSError`` when HAProxy cannot be asked.
    """
    line = "show backend"
    answer = command(address, line)
    if not answer.startswith("# name"):
        _refuse(address, line, answer or "(no answer)")
    return answer.splitlines()[1:]


def servers_state(address: str, backend: str | None = None) -> str:
    """
    Return the text of ``show servers state``, which is also what HAProxy loads after a reload.

    backend
        Only this backend's servers; every backend's when left out.

    Raises ``LookupError`` for an unknown backend, ``OSError`` when HAProxy cannot be asked.
    """
    line = "show servers state"
    if backend is not None:
        line += f" {_name('backend', backend)}"
    answer = command(address, line)
    if not answer.startswith("1\n"):
        _refuse(address, line, answer or "(no answer)")
    return answer + "\n"


def parse_servers_state(text: str) -> list[dict[str, str]]:
    """
    Return the rows of ``show servers state`` as dictionaries of strings, keyed as HAProxy does.

    Raises ``ValueError`` when the text is of another version than 1.
    """
    version, _, table = text.partition("\n")
    if version.strip() != "1" or not table.startswith("# "):
        raise ValueError(f"'show servers state' has an unknown format: {text[:60]!r}")
    header, *rows = table[2:].splitlines()
    names = header.split()
    return [dict(zip(names, row.split(), strict=False)) for row in rows if row.strip()]


def servers(address: str, backend: str) -> list[dict[str, Any]]:
    """
    Return what HAProxy knows of each server of a backend, in the configuration's order.

    Each is a dictionary: ``name``; ``backend``; ``address`` (``host:port``); ``admin``
    (``ready``, ``drain`` or ``maint``: what an operator asked for); ``status`` (HAProxy's own
    word, e.g. ``UP``, ``DOWN 1/2``, ``no check``); ``up`` (the checks call it alive, whatever the
    operator asked for; always False in maint, where there are no checks); ``checked`` (the last
    check passed and the next has not begun, or there are none to pass); ``in_service`` (gets new
    sessions); ``sessions`` and ``queued`` (now); ``weight`` and ``initial_weight`` (the
    configuration's); ``health_checks`` and ``agent_checks`` (whether they are on; None where the
    configuration has none); ``check`` (result of the last check, in words); ``since`` (seconds
    since it last went up or down).

    Raises ``LookupError`` for an unknown backend, ``OSError`` when HAProxy cannot be asked.
    """
    states = parse_servers_state(servers_state(address, backend))
    line = f"show stat {_name('backend', backend)} 4 -1 json"
    stats = {row["svname"]: row for row in map(_record, _json(address, line))}
    found = []
    for state in states:
        row = stats.get(state["srv_name"])
        if row is None:
            # Removed from a dynamic backend between the two answers.
            continue
        admin_bits = int(state["srv_admin_state"])
        admin = "ready"
        if admin_bits & _ADMIN_MAINT:
            admin = "maint"
        elif admin_bits & _ADMIN_DRAIN:
            admin = "drain"
        up = int(state["srv_op_state"]) != _OP_STOPPED
        health = _checks(state["srv_check_state"])
        weight = int(state["srv_uweight"])
        # A star before the word says that the next check is under way.
        words = (str(row.get(key) or "") for key in ("check_status", "check_code", "last_chk"))
        check = " ".join(word.removeprefix("* ") for word in words if word)
        found.append(
            {
                "name": state["srv_name"],
                "backend": backend,
                "address": f"{state['srv_addr']}:{state['srv_port']}",
                "admin": admin,
                "status": row["status"],
                "up": up,
                "checked": not health or int(state["srv_check_result"]) in _CHECK_PASSED,
                "in_service": up and admin == "ready" and weight > 0,
                "sessions": row["scur"],
                "queued": row["qcur"],
                "weight": weight,
                "initial_weight": int(state["srv_iweight"]),
                "health_checks": health,
                "agent_checks": _checks(state["srv_agent_state"]),
                "check": check,
                "since": int(state["srv_time_since_last_change"]),
            }
        )
    return found


def _checks(bits: str) -> bool | None:
    return bool(int(bits) & _CHECK_ON) if int(bits) & _CHECK_CONFIGURED else None


def tell_server(address: str, verb: str, backend: str, server: str, *words: str) -> None:
    """
    Send a command about one server, e.g. ``set server``, a backend, a server, ``state``, ``drain``.

    verb
        The words before the server's name.
    words
        Those after it.

    Raises ``LookupError`` for an unknown backend or server, ``PermissionError`` when the socket
    is not of level admin, ``ValueError`` when HAProxy refuses, ``OSError`` when it cannot be asked.
    """
    _tell(address, verb, f"{_name('backend', backend)}/{_name('server', server)}", *words)


def tell_frontend(address: str, verb: str, frontend: str, *words: str) -> None:
    """
    Send a command about one frontend, e.g. ``set maxconn frontend``, a frontend, ``100``.

    Its arguments and errors are those of :py:func:`tell_server`.
    """
    _tell(address, verb, _name("frontend", frontend), *words)


def _tell(address: str, *words: str) -> None:
    line = " ".join(words)
    if answer := command(address, line):
        _refuse(address, line, answer)


def close_until(address: str, moment: int) -> None:
    """
    Have each answer end its connection until a moment, in seconds since 1970.

    The configuration has to go by the variable ``proc.closing_until``.

    Raises ``LookupError`` where it does not, ``PermissionError`` when the socket is not of level
    admin, ``OSError`` when HAProxy cannot be asked.
    """
    # HAProxy would make a variable that nothing goes by.
    known = command(address, f"get var {CLOSING}")
    if "value=" not in known:
        raise LookupError(
            f"HAProxy at {address} does not go by {CLOSING} ({known}): its configuration needs "
            f"`set-var {CLOSING} int(0)` in `global`, and `http-after-response set-header "
            f"Connection close if {{ date,sub({CLOSING}) lt 0 }}` in the frontend"
        )
    line = f"set var {CLOSING} int({int(moment)})"
    # In HAProxy 2.6 it counts as experimental; the word is for this one connection.
    if answer := command(address, f"experimental-mode on; {line}", several=True):
        _refuse(address, line, answer)


def workers(address: str) -> dict[int, bool]:
    """
    Return HAProxy's worker processes, by ID: whether each is the one that takes connections.

    address
        The socket of HAProxy's master process, its option ``-S``.

    Raises ``ValueError`` when it is no such socket, ``OSError`` when HAProxy cannot be asked.
    """
    line = "show proc"
    answer = command(address, line)
    if not answer.startswith("#<PID>"):
        _refuse(address, line, answer or "(no answer)")
    found, current = {}, True
    for row in answer.splitlines():
        if row.startswith("# "):
            current = row == "# workers"
        elif (words := row.split())[1:2] == ["worker"]:
            found[int(words[0])] = current
    return found


def connections(address: str, frontend: str, worker: int | None = None) -> dict[str, int]:
    """
    Return how many of a frontend's connections are at what.

    ``asking``: a request is there, and nothing of its answer yet; ``answering``: an answer is under
    way, which of a stream it is for as long as the stream lasts; ``idle``: between two requests, or
    before the end of the first one's head. Where connections come and go all the while, ``idle``
    may be too high, but never too low. ``multiplexed``: how many carry HTTP/2; each request on one
    counts by itself above, and one without any is not ``idle``.

    worker
        The ID of the process to ask, where ``address`` is the socket of the master process.

    Raises ``LookupError`` for an unknown frontend, ``OSError`` when HAProxy cannot be asked.
    """
    name = _name("frontend", frontend)

    def ask(line: str) -> str:
        return command(address, line if worker is None else f"@!{int(worker)} {line}")

    for _ in range(_LOOKS):
        before = _frontend(ask, name)
        sessions = ask("show sess all")
        carried = [line for line in ask("show fd").splitlines() if _CONNECTION in line]
        after = _frontend(ask, name)
        if before is None or after is None:
            # One that takes no connections any more has no numbers.
            open_now, came = len([line for line in carried if f" fe={name} " in line]), 0
        else:
            open_now, came = before["scur"], after["conn_tot"] - before["conn_tot"]
        if not came:
            break
    if worker is None and before is None:
        raise LookupError(f"HAProxy at {address} has no frontend '{name}'")
    answers = [
        "rsp.st=MSG_RPBEFORE" in stream
        for stream in re.split(r"^(?=0x)", sessions, flags=re.MULTILINE)
        if f"frontend={name} " in stream
    ]
    # Of each connection with HTTP/2, how many requests are under way on it.
    streams = [
        int(match[1])
        for line in carried
        if f" fe={name} mux=H2 " in line and (match := re.search(r" \.nbst=(\d+)", line))
    ]
    # HAProxy lists no connection without a stream. There were no more of them than those before and
    # those that came; one that went, or came too late, counts as idle, and never as none.
    asking = sum(answers)
    alone = len(answers) - sum(streams)
    return {
        "asking": asking,
        "answering": len(answers) - asking,
        "idle": max(open_now + came - len(streams) - max(alone, 0), 0),
        "multiplexed": len(streams),
    }


def wait_answered(
    address: str,
    frontend: str,
    timeout: float,
    stream_after: float,
    request_within: float = 0,
    worker: int | None = None,
) -> dict[str, Any]:
    """
    Wait until no request of a frontend is without its answer.

    timeout
        Seconds to wait.
    stream_after
        Seconds after which an answer that goes on counts as a stream, whose end is not waited for.
    request_within
        Seconds for a connection that was let in to send its first request.
    worker
        As of :py:func:`connections`; one that has ended has answered all.

    Returns what :py:func:`connections` does, with ``waited`` (seconds) added.

    Raises ``TimeoutError`` when requests are left after the timeout, and what
    :py:func:`connections` does.
    """
    start = time.monotonic()
    while True:
        found = connections(address, frontend, worker)
        since = time.monotonic() - start
        waits = found["answering"] and since < stream_after
        waits = waits or found["idle"] and since < request_within
        if not found["asking"] and not waits:
            return {**found, "waited": round(since, 2)}
        if since >= timeout:
            left = found["asking"]
            raise TimeoutError(
                f"{left} request{'' if left == 1 else 's'} of frontend '{frontend}' still"
                f" {'has' if left == 1 else 'have'} no answer after {timeout} s"
            )
        # Nobody new is let in meanwhile: each moment counts.
        time.sleep(_POLL / 5)


def _frontend(ask: Callable[[str], str], name: str) -> dict[str, Any] | None:
    answer = ask(f"show stat {name} 1 -1 json")
    rows = [_record(fields) for fields in json.loads(answer)] if answer.startswith("[") else []
    for row in rows:
        if row["svname"] == "FRONTEND":
            return row
    return None
