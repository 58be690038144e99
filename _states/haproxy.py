"""
Servers of a running HAProxy, in rotation or out of it.

Both states go by HAProxy's own view and end only when that view is the one declared: a server is
ready when HAProxy sends it sessions, drained when its last session has ended.
"""

from salt.exceptions import CommandExecutionError

__virtualname__ = "haproxy"


def __virtual__():
    return __virtualname__


def server_ready(name, backend, timeout=30, socket=None):
    """
    Make sure that a server is in rotation and that HAProxy's checks call it up.

    name
        The server's name in HAProxy's configuration.
    backend
        The backend that it belongs to.
    timeout
        Seconds that it may take to come up.
    socket
        HAProxy's stats socket; its default is that of the execution module.

    .. code-block:: yaml

        web-1:
          haproxy.server_ready:
            - backend: web
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    try:
        before = __salt__["haproxy.server_state"](backend, name, socket=socket)
        if before["in_service"] and before["checked"]:
            ret["comment"] = f"{backend}/{name} is in rotation and up"
            return ret
        if before["admin"] != "ready":
            change = {"admin": {"old": before["admin"], "new": "ready"}}
            if __opts__["test"]:
                ret.update(
                    result=None,
                    changes=change,
                    comment=f"{backend}/{name} would be put back in rotation",
                )
                return ret
            __salt__["haproxy.ready"](backend, name, socket=socket)
            ret["changes"] = change
        elif __opts__["test"]:
            ret["comment"] = (
                f"{backend}/{name} is in rotation but not up yet ({before['status']});"
                " it would be waited for"
            )
            return ret
        after = __salt__["haproxy.wait_up"](backend, name, timeout=timeout, socket=socket)
        if not after["in_service"]:
            ret["result"] = False
            ret["comment"] = (
                f"{backend}/{name} is up but gets no sessions: it is in '{after['admin']}'"
                f" with weight {after['weight']}"
            )
            return ret
        ret["comment"] = f"{backend}/{name} is in rotation and up after {after['waited']} s"
    except CommandExecutionError as error:
        ret["result"] = False
        ret["comment"] = str(error)
    return ret


def server_drained(name, backend, min_in_service=1, timeout=30, socket=None):
    """
    Make sure that a server gets no new sessions and has none left.

    A server in maint counts as drained and is left there. When its sessions do not end in time,
    the server goes back into rotation and the state fails.

    name
        The server's name in HAProxy's configuration.
    backend
        The backend that it belongs to.
    min_in_service
        Fail, and change nothing, when fewer servers than this would stay in service.
    timeout
        Seconds that the present sessions may take to end.
    socket
        HAProxy's stats socket; its default is that of the execution module.

    .. code-block:: yaml

        web-1:
          haproxy.server_drained:
            - backend: web
            - timeout: 60
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    try:
        before = __salt__["haproxy.server_state"](backend, name, socket=socket)
        if before["admin"] != "ready":
            if __opts__["test"]:
                ret["comment"] = (
                    f"{backend}/{name} is in {before['admin']}"
                    f" with {before['sessions']} sessions left"
                )
                return ret
            after = __salt__["haproxy.wait_drained"](backend, name, timeout=timeout, socket=socket)
            ret["comment"] = f"{backend}/{name} is in {after['admin']} with no sessions to wait for"
            return ret
        verdict = __salt__["haproxy.may_drain"](
            backend, name, min_in_service=min_in_service, socket=socket
        )
        if not verdict["allowed"]:
            ret["result"] = False
            ret["comment"] = verdict["reason"]
            return ret
        change = {"admin": {"old": before["admin"], "new": "drain"}}
        if __opts__["test"]:
            ret.update(result=None, changes=change, comment=f"{backend}/{name} would be drained")
            return ret
        after = __salt__["haproxy.drain"](
            backend, name, timeout=timeout, min_in_service=min_in_service, socket=socket
        )
        ret["changes"] = change
        ret["comment"] = f"{backend}/{name} is drained after {after['waited']} s"
        if after["admin"] != "drain":
            ret["result"] = False
            ret["comment"] = f"{backend}/{name} was drained, but is in '{after['admin']}' now"
    except CommandExecutionError as error:
        ret["result"] = False
        ret["comment"] = str(error)
    return ret
