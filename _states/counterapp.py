"""
Releases of counterapp on a web node: there, active and serving, cleaned up.
"""

import os

from salt.exceptions import CommandExecutionError

__virtualname__ = "counterapp"


def __virtual__():
    return __virtualname__


def _installed(name, root):
    return any(each["version"] == name for each in __salt__["counterapp.releases"](root=root))


def released(name, source, sha256=None, size=None, root=None, python=None, user=None):
    """
    Make sure that a release is installed. It is not activated.

    A release never changes, so one that is there already is not compared with its archive: a node
    converges without the shared volume.

    name
        The version.
    source
        Path of its archive, or a ``salt://`` URL.
    sha256, size
        SHA-256 and bytes of what was published. Without them the state fails, unless the release
        is installed already.
    root, python, user
        Where to, with which interpreter, and as whom it is checked; the defaults are those of the
        execution module.

    .. code-block:: yaml

        1.4.0:
          counterapp.released:
            - source: /srv/shared/releases/counterapp-1.4.0.tar.gz
            - sha256: f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51
            - size: 14409126
    """
    name = str(name)
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    try:
        if _installed(name, root):
            ret["comment"] = f"release {name} is installed"
            return ret
        change = {"release": {"old": None, "new": name}}
        if __opts__["test"]:
            return _would_install(ret, name, source, sha256, size, change)
        if sha256 is None or size is None:
            raise CommandExecutionError(_unpublished(name))
        done = __salt__["counterapp.install"](
            source, sha256, size, version=name, root=root, python=python, user=user
        )
        if not _installed(name, root):
            ret.update(result=False, comment=f"release {name} is not there after its installation")
            return ret
        ret["changes"] = change
        ret["comment"] = f"release {name} (commit {done['commit']}) is installed in {done['path']}"
    except CommandExecutionError as error:
        ret.update(result=False, changes={}, comment=str(error))
    return ret


def _would_install(ret, name, source, sha256, size, change):
    ret.update(result=None, changes=change, comment=f"release {name} would be installed")
    if sha256 is None or size is None:
        # A rollout publishes it before it gets to this node.
        ret["comment"] += f"; but first {_unpublished(name)}"
        return ret
    if str(source).startswith("/") and not os.path.lexists(source):
        # On a bare node the volume that it lies on would be mounted before.
        ret["comment"] += f" from {source}, which is not there yet"
        return ret
    version = __salt__["counterapp.verify"](source, sha256, size)["version"]
    if version != name:
        ret.update(result=False, changes={}, comment=f"{source} is release {version}, not {name}")
    return ret


def _unpublished(name):
    return (
        f"release {name} must be published: its SHA-256 and size are not known here. On the master"
        f" run: salt-run release.publish {name}; without a master, here: salt-call --local"
        " counterapp.note ARCHIVE"
    )


def active(
    name,
    service="counterapp",
    ready_timeout=60,
    hold=0,
    root=None,
    url=None,
):
    """
    Make sure that a release is the active one and that the running service is of it and ready.

    The link is switched, the service restarted, and the app must then answer as ready with this
    release. When it does not, the release that was there before is put back, restarted and waited
    for, and the state fails. The service is restarted when the link was switched, and when it is
    not running or runs another release than the link says (a run that died in between); a service
    that runs the right release and is not ready is waited for, since a restart would not help it.

    name
        The version; it must be installed.
    service
        The service that runs ``<root>/current``.
    ready_timeout
        Seconds in which the app must be ready after a restart.
    hold
        Seconds for which it must then stay ready.
    root, url
        The releases' root and the app's base URL; defaults are those of the execution module.

    .. code-block:: yaml

        1.4.0:
          counterapp.active:
            - ready_timeout: 60
            - hold: 3
            - require:
              - counterapp: 1.4.0
    """
    name = str(name)
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    try:
        linked = __salt__["counterapp.current"](root=root)
        serving = __salt__["counterapp.health"](url=url)
        if linked == name and serving["release"] == name:
            return _await(ret, name, serving, ready_timeout, url)
        if linked == name and not serving["live"] and _starting(service, name, url, ready_timeout):
            ret["comment"] = f"release {name} is active and ready"
            return ret

        changes = {}
        if linked != name:
            changes["current"] = {"old": linked, "new": name}
        if serving["release"] != name:
            changes["serving"] = {"old": serving["release"], "new": name}
        installed = _installed(name, root)
        if __opts__["test"]:
            # In a dry run the state that installs it has not done so either.
            later = "" if installed else ", once it is installed"
            ret.update(
                result=None,
                changes=changes,
                comment=f"release {name} would be activated and {service} restarted{later}",
            )
            return ret
        if not installed:
            ret["result"] = False
            ret["comment"] = f"release {name} is not installed: install it first"
            return ret
        fallback = linked if linked != name else serving["release"]
        if fallback == name or not _installed(fallback, root):
            fallback = None
        return _switch(ret, name, fallback, changes, service, ready_timeout, hold, root, url)
    except CommandExecutionError as error:
        ret["result"] = False
        ret["comment"] = str(error)
    return ret


def _await(ret, name, serving, ready_timeout, url):
    if not serving["ready"] and __opts__["test"]:
        ret["result"] = False
        ret["comment"] = f"release {name} is active but not ready: {serving['reason']}"
        return ret
    if not serving["ready"]:
        __salt__["counterapp.wait_ready"](timeout=ready_timeout, release=name, url=url)
    ret["comment"] = f"release {name} is active and ready"
    return ret


def _starting(service, name, url, ready_timeout):
    """Say whether a service that runs but does not answer yet comes up as the right release."""
    if __opts__["test"] or not __salt__["service.status"](service):
        return False
    try:
        __salt__["counterapp.wait_ready"](timeout=ready_timeout, release=name, url=url)
    except CommandExecutionError:
        # Not an answer yet: the caller restarts it and reports what comes of that.
        return False
    return True


def _restart(service, name, ready_timeout, hold, url):
    if not __salt__["service.restart"](service):
        raise CommandExecutionError(f"the service {service} could not be restarted")
    return __salt__["counterapp.wait_ready"](
        timeout=ready_timeout, release=name, hold=hold, url=url
    )


def _switch(ret, name, fallback, changes, service, ready_timeout, hold, root, url):
    __salt__["counterapp.activate"](name, root=root)
    try:
        seen = _restart(service, name, ready_timeout, hold, url)
    except CommandExecutionError as error:
        ret["result"] = False
        problem = f"release {name} did not become ready: {error}"
        if fallback is None:
            ret["changes"] = {key: changes[key] for key in changes if key == "current"}
            ret["comment"] = f"{problem}; there is no earlier release to go back to"
            return ret
        try:
            __salt__["counterapp.activate"](fallback, root=root, remember=False)
            _restart(service, fallback, ready_timeout, 0, url)
        except CommandExecutionError as second:
            ret["comment"] = (
                f"{problem}; release {fallback} was put back but is not ready either: {second}"
            )
        else:
            ret["comment"] = f"{problem}; release {fallback} is back and ready"
        if __salt__["counterapp.current"](root=root) == name:
            ret["changes"] = {key: changes[key] for key in changes if key == "current"}
        return ret
    ret["changes"] = changes
    ret["comment"] = f"release {name} is active, {service} ready after {seen['waited']} s"
    return ret


def pruned(name, keep=3, root=None):
    """
    Make sure that no more releases are installed than wanted.

    The active release and the one before it always stay and are counted; of the others the newest
    installed stay.

    name
        Anything; it is only the state's ID.
    keep
        How many releases stay, at least 1.
    root
        The releases' root; its default is that of the execution module.

    .. code-block:: yaml

        old releases:
          counterapp.pruned:
            - keep: 3
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    try:
        surplus = __salt__["counterapp.superseded"](keep, root=root)
        if not surplus:
            ret["comment"] = f"there is no release beyond the {keep} to keep"
            return ret
        listed = ", ".join(surplus)
        if __opts__["test"]:
            ret.update(
                result=None,
                changes={"removed": {"old": surplus, "new": []}},
                comment=f"would be removed: {listed}",
            )
            return ret
        removed = []
        # What went before a failure is reported too.
        ret["changes"] = {"removed": {"old": removed, "new": []}}
        for version in surplus:
            __salt__["counterapp.remove"](version, root=root)
            removed.append(version)
        ret["comment"] = f"removed: {listed}"
    except CommandExecutionError as error:
        ret["result"] = False
        ret["comment"] = str(error)
        if ret["changes"] and not ret["changes"]["removed"]["old"]:
            ret["changes"] = {}
    return ret


def absent(name, root=None):
    """
    Make sure that a release is not installed. The active one is not removed: the state fails.

    name
        The version.
    root
        The releases' root; its default is that of the execution module.

    .. code-block:: yaml

        1.2.0:
          counterapp.absent
    """
    name = str(name)
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    try:
        if not _installed(name, root):
            ret["comment"] = f"release {name} is not installed"
            return ret
        if __salt__["counterapp.current"](root=root) == name:
            ret["result"] = False
            ret["comment"] = f"release {name} is the active one: activate another release first"
            return ret
        change = {"release": {"old": name, "new": None}}
        if __opts__["test"]:
            ret.update(result=None, changes=change, comment=f"release {name} would be removed")
            return ret
        __salt__["counterapp.remove"](name, root=root)
        ret["changes"] = change
        ret["comment"] = f"release {name} is removed"
    except CommandExecutionError as error:
        ret["result"] = False
        ret["comment"] = str(error)
    return ret
