"""
See and steer the frontends of a running HAProxy: whether they take connections, and how many.

HAProxy forgets this when it is reloaded.
"""

from salt.exceptions import CommandExecutionError

__virtualname__ = "haproxy"


def __virtual__():
    return __virtualname__


def frontends(socket=None):
    """
    Return the frontends, in the configuration's order; a ``listen`` section has one too.

    Each is a dictionary with ``name``, ``status`` (``OPEN`` or ``PAUSED``), ``sessions`` (now) and
    ``maxconn`` (how many it may have).

    socket
        HAProxy's stats socket; see the top of this page for the default.

    Raises CommandExecutionError when HAProxy cannot be asked.

    CLI Example:

    .. code-block:: bash

        salt 'lb-1' haproxy.frontends
    """
    return [
        {
            "name": row["pxname"],
            "status": row["status"],
            "sessions": row["scur"],
            "maxconn": row["slim"],
        }
        for row in __salt__["haproxy.stat"](socket=socket)
        if row["svname"] == "FRONTEND"
    ]


def enable_frontend(frontend, socket=None):
    """
    Have a frontend take connections again, and return it as :py:func:`frontends` does.

    frontend
        The frontend's name.
    socket
        HAProxy's stats socket; see the top of this page for the default.

    Raises CommandExecutionError for an unknown frontend, and when HAProxy cannot be asked or
    refuses.

    CLI Example:

    .. code-block:: bash

        salt 'lb-1' haproxy.enable_frontend http
    """
    if _frontend(frontend, socket)["status"] != "OPEN":
        _tell(socket, "enable frontend", frontend)
    return _frontend(frontend, socket)


def disable_frontend(frontend, socket=None):
    """
    Have a frontend take no new connections, and return it as :py:func:`frontends` does.

    Those that it has go on. New ones are refused by the kernel, until it is enabled.

    frontend
        The frontend's name.
    socket
        HAProxy's stats socket; see the top of this page for the default.

    Raises CommandExecutionError for an unknown frontend, and when HAProxy cannot be asked or
    refuses.

    CLI Example:

    .. code-block:: bash

        salt 'lb-1' haproxy.disable_frontend http
    """
    if _frontend(frontend, socket)["status"] == "OPEN":
        _tell(socket, "disable frontend", frontend)
    return _frontend(frontend, socket)


def set_frontend_maxconn(frontend, maxconn, socket=None):
    """
    Set how many connections a frontend may have at once, and return the frontend.

    Those above it are not closed: they go by themselves. What HAProxy as a whole may have is
    another limit.

    frontend
        The frontend's name.
    maxconn
        A whole number from 1 on; for none at all there is :py:func:`disable_frontend`.
    socket
        HAProxy's stats socket; see the top of this page for the default.

    Raises CommandExecutionError for an unknown frontend, for what is no such number, and when
    HAProxy cannot be asked or refuses.

    CLI Example:

    .. code-block:: bash

        salt 'lb-1' haproxy.set_frontend_maxconn http 2000
    """
    # HAProxy takes any word for 0, and with 0 no connection.
    __utils__["haproxy_declared.number"]("maxconn", maxconn, 1)
    _frontend(frontend, socket)
    _tell(socket, "set maxconn frontend", frontend, str(maxconn))
    return _frontend(frontend, socket)


def _frontend(name, socket):
    found = {each["name"]: each for each in frontends(socket)}
    if name not in found:
        raise CommandExecutionError(
            f"No such frontend: HAProxy has no '{name}' (its frontends: {', '.join(found)})"
        )
    return found[name]


def _tell(socket, verb, frontend, *words):
    __utils__["haproxy.call"](
        "tell_frontend", socket, dict(__opts__), dict(__pillar__), verb, frontend, *words
    )
