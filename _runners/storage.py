"""
The steps by which the whole fleet switches Gluster's TLS, for ``salt/orch/storage_tls.sls``.

Daemons and mounts with TLS do not hear those without. So everything of Gluster stops, every node
gets its new files, and everything starts again. A file on the master, ``storage_tls.json`` beside
the rollout's journal, says that a switch has begun; it goes when the switch is through, and until
then the command, given again, does it all once more.

A step that cannot do its work ends with ``retcode`` 1 and ``failed``: sentences that name node and
reason.
"""

import json
import pathlib
import re
from collections.abc import Callable
from typing import Any

from salt.exceptions import CommandExecutionError, SaltException

__context__: dict[str, Any]
__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]
__utils__: dict[str, Callable[..., Any]]

COMMAND = "salt-run state.orchestrate orch.storage_tls"
_SWITCHING = {"gluster_tls_switch": True}


def _fleet(function: str, *args: Any, **kwargs: Any) -> Any:
    return __utils__[f"fleet.{function}"](*args, **kwargs)


def _ledger(function: str, *args: Any, **kwargs: Any) -> Any:
    return __utils__[f"ledger.{function}"](_state_dir(), *args, **kwargs)


def _state_dir() -> pathlib.Path:
    return pathlib.Path(__opts__.get("counterapp_state", "/var/lib/counterapp"))


def _marker() -> pathlib.Path:
    return _state_dir() / "storage_tls.json"


def _gluster() -> dict[str, Any]:
    found: dict[str, Any] = __salt__["counterapp.settings"]()["gluster"]
    return found


def _step(step: str, action: Callable[[], Any]) -> dict[str, Any]:
    _fleet("tell", "storage", f"switching TLS: {step}")
    try:
        return {"step": step, "did": action()}
    except SaltException as error:
        __context__["retcode"] = 1
        return {"retcode": 1, "step": step, "failed": [str(error)]}


def plan_tls(restart: bool = False) -> dict[str, Any]:
    """
    Return what has to be done so that all of Gluster does with or without TLS as the pillar says.

    restart
        True to stop and start everything in any case, for certificates that were renewed.

    Returns ``tls`` (bool, the pillar's), ``reasons`` (list of sentences; empty when there is
    nothing to do), ``keepers`` (storage nodes), ``others`` (nodes that only mount) and ``begun``
    (an earlier switch did not get to its end). Touches nothing. When a node does not answer or
    there is no volume yet, it fails.

    CLI Example:

    .. code-block:: bash

        salt-run storage.plan_tls
    """
    try:
        return _plan_tls(restart)
    except SaltException as error:
        __context__["retcode"] = 1
        return {"retcode": 1, "failed": [str(error)]}


def _plan_tls(restart: bool) -> dict[str, Any]:
    nodes = list(__salt__["counterapp.topology"]()["nodes"])
    keepers = __salt__["counterapp.with_role"]("storage")
    gluster = _gluster()
    begun = _marker().exists()
    made = {
        "tls": gluster["tls"],
        "begun": begun,
        "keepers": keepers,
        "others": [node for node in nodes if node not in keepers],
        "reasons": ["an earlier switch has not come to its end"] if begun else [],
    }
    if restart:
        made["reasons"].append("a restart was asked for")
    reports = _fleet("apply", nodes, ["gluster.tls"], pillar=_SWITCHING, test=True)
    if bad := [f"{node}: {_fleet('why', each)}" for node, each in reports.items() if each["error"]]:
        raise CommandExecutionError("; ".join(bad))
    for node, report in reports.items():
        if report["changed"]:
            ids = ", ".join(each["id"] for each in report["changed"])
            made["reasons"].append(f"{node}: these states would change something: {ids}")
    if begun:
        return made
    seen = _fleet("everyone", keepers, "gluster.info", [gluster["volume"]])
    if not seen["answers"]:
        words = "; ".join(f"{node}: {reason}" for node, reason in seen["failed"].items())
        raise CommandExecutionError(
            f"volume {gluster['volume']} cannot be seen, so there is nothing to switch yet: roll "
            f"out, or see to the storage nodes first ({words})"
        )
    wanted = "on" if gluster["tls"] else "off"
    volume = next(iter(seen["answers"].values()))
    for option in ("client.ssl", "server.ssl"):
        value = volume["options"].get(option, "off")
        if value != wanted:
            made["reasons"].append(f"volume {volume['name']}: {option} is {value}, not {wanted}")
    return made


def begin_tls() -> dict[str, Any]:
    """
    Note that a switch has begun, so that it is brought to its end whatever happens to this run.

    CLI Example:

    .. code-block:: bash

        salt-run storage.begin_tls
    """

    def act() -> dict[str, Any]:
        _marker().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        noted = {"tls": _gluster()["tls"], "since": __utils__["ledger.now"]()}
        _marker().write_text(json.dumps(noted) + "\n", encoding="utf-8")
        return noted

    return _step("noting that it has begun", act)


def unmount(nodes: list[str]) -> dict[str, Any]:
    """
    Unmount the shared volume on these nodes; where one of them cannot, mount it again on all.

    nodes
        List of minion IDs.

    CLI Example:

    .. code-block:: bash

        salt-run storage.unmount '[web-1, web-2]'
    """

    def act() -> str:
        path = _gluster()["mount"]
        states = _fleet("ask", nodes, "gluster.mount_status", [path])
        # A node that has not had its first rollout yet has no such unit.
        known = [node for node, state in states.items() if state["enabled"]]
        found = _fleet("everyone", known, "gluster.unmount", [path], timeout=30)
        if found["failed"]:
            _fleet("everyone", list(found["answers"]), "gluster.mount", [path], timeout=90)
            words = "; ".join(f"{node}: {reason}" for node, reason in found["failed"].items())
            raise CommandExecutionError(
                f"{path} could not be unmounted everywhere and is mounted again: {words}"
            )
        # A service with a mount namespace of its own can hold the old mount, and so the process
        # that served it, which would go on calling the servers in the old mode.
        kill = ["pkill", "-KILL", "-f", "-x", f"[^ ]*/glusterfs .* {re.escape(path)}"]
        _fleet("ask", known, "cmd.run_all", [kill], {"python_shell": False})
        return f"{path} is unmounted"

    return _step(f"unmounting on {', '.join(nodes)}", act)


def stop_daemons(nodes: list[str]) -> dict[str, Any]:
    """
    Stop glusterd on these nodes, at once.

    nodes
        List of minion IDs.

    CLI Example:

    .. code-block:: bash

        salt-run storage.stop_daemons '[db-1, db-2, db-3]'
    """

    def act() -> str:
        _fleet("ask", nodes, "service.stop", ["glusterd"], timeout=60)
        return "glusterd is stopped"

    return _step(f"stopping glusterd on {', '.join(nodes)}", act)


def start_daemons(nodes: list[str]) -> dict[str, Any]:
    """
    Start glusterd on these nodes, at once, and wait until all of them are one pool again.

    nodes
        List of minion IDs.

    CLI Example:

    .. code-block:: bash

        salt-run storage.start_daemons '[db-1, db-2, db-3]'
    """

    def act() -> str:
        # Debian's unit allows six starts an hour, by whomever.
        _fleet("ask", nodes, "cmd.run", ["systemctl reset-failed glusterd"])
        _fleet("ask", nodes, "service.start", ["glusterd"], timeout=60)
        topology = __salt__["counterapp.topology"]()["nodes"]
        addresses = [topology[node]["address"] for node in nodes]
        _fleet("ask", nodes, "gluster.wait_peers", [addresses], timeout=90)
        return "glusterd runs, the pool is whole"

    return _step(f"starting glusterd on {', '.join(nodes)}", act)


def stop_volume() -> dict[str, Any]:
    """
    Stop the shared volume, if it is started: its bricks know old options until they start anew.

    CLI Example:

    .. code-block:: bash

        salt-run storage.stop_volume
    """

    def act() -> str:
        keeper = __salt__["counterapp.with_role"]("storage")[0]
        volume = _gluster()["volume"]
        if not _fleet("ask", [keeper], "gluster.info", [volume])[keeper]["started"]:
            return "was stopped already"
        _fleet("ask", [keeper], "gluster.stop", [volume], timeout=60)
        return "stopped"

    return _step("stopping the volume", act)


def finish_tls() -> dict[str, Any]:
    """
    End a switch that came through: forget that it had begun, and unlock.

    CLI Example:

    .. code-block:: bash

        salt-run storage.finish_tls
    """

    def act() -> str:
        _marker().unlink(missing_ok=True)
        _ledger("release")
        return f"Gluster works {'with' if _gluster()['tls'] else 'without'} TLS"

    return _step("done", act)


def abandon_tls() -> dict[str, Any]:
    """
    End a switch that failed: unlock, and say how to go on. Always ends with ``retcode`` 1.

    CLI Example:

    .. code-block:: bash

        salt-run storage.abandon_tls
    """
    __context__["retcode"] = 1
    if not _ledger("release"):
        return {"retcode": 1, "failed": ["a rollout has the lock; see the step before"]}
    words = "nothing was touched"
    if _marker().exists():
        words = f"the volume may be stopped or not mounted; mend what it says, then run {COMMAND}"
    return {"retcode": 1, "failed": [f"the switch has failed, see the step before: {words}"]}
