"""
The certificates that a running HAProxy shows.

What else is set in a running HAProxy is not declared but done: a highstate would undo the drain of
a release that is being rolled out.
"""

from salt.exceptions import CommandExecutionError

__virtualname__ = "haproxy"


def __virtual__():
    if "haproxy.load_certificate" not in __salt__:
        return False, "haproxy: the execution module haproxy_certificate is not there"
    return __virtualname__


def certificate_shown(name, timeout=10, socket=None, loaded=False):
    """
    Have a running HAProxy show the certificate that is in a file.

    Where only what comes after the first certificate has changed, HAProxy says nothing of it: have
    the state watch the file, and it is loaded whenever that changes.

    name
        The file, as HAProxy's configuration has it.
    timeout
        Seconds for an HAProxy that is just being reloaded to know the file.
    socket
        HAProxy's stats socket; its default is that of the execution module.
    loaded
        True to load it in any case.

    .. code-block:: yaml

        /etc/haproxy/certificate.pem:
          file.managed:
            - contents_pillar: certificate
            - mode: '0600'
          haproxy.certificate_shown:
            - watch:
              - file: /etc/haproxy/certificate.pem
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    try:
        wanted = __salt__["haproxy.certificate_in_file"](name)
        shown = __salt__["haproxy.certificate"](name, socket=socket)["fingerprint"]
    except CommandExecutionError as error:
        if not __opts__["test"]:
            # One that is being reloaded may know the file in a moment.
            return _load(ret, None, timeout, socket)
        ret.update(result=None, comment=f"{name} would be shown: {error}")
        return ret
    if shown == wanted and not loaded:
        ret["comment"] = f"HAProxy shows {wanted}"
        return ret
    if __opts__["test"]:
        ret["result"] = None
        ret["changes"] = {"certificate": {"old": shown, "new": wanted}}
        ret["comment"] = f"HAProxy would show {wanted} without a reload"
        return ret
    return _load(ret, shown, timeout, socket)


def _load(ret, before, timeout, socket):
    try:
        shown = __salt__["haproxy.load_certificate"](ret["name"], timeout=timeout, socket=socket)
    except CommandExecutionError as error:
        ret.update(result=False, comment=str(error))
        return ret
    ret["changes"] = {"certificate": {"old": before, "new": shown["fingerprint"]}}
    ret["comment"] = f"HAProxy shows {shown['fingerprint']}, without a reload"
    return ret


def mod_watch(name, timeout=10, socket=None, sfun=None, **requisites):
    """
    Load the file once more, since it has changed; Salt calls this for ``watch``.

    name, timeout, socket
        As of :py:func:`certificate_shown`.
    sfun
        The state that watches: ``certificate_shown``.
    requisites
        What else Salt gives; nothing goes by it.
    """
    return certificate_shown(name, timeout=timeout, socket=socket, loaded=True)
