"""
The switch of Gluster's TLS, of the whole fleet at once.

Daemons and mounts with TLS do not hear those without. So everything of Gluster stops, every node
gets its new files, and everything starts again; the shared volume is gone for that while, and
nothing that serves needs it. It is a change as others are, whose revision differs from the one that
the fleet is on in ``gluster:tls`` alone.

A file on the master, ``storage_tls.json`` beside the history, says that a switch has begun. It goes
when the switch is through, and until then the command, given again, does it all once more.
"""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fleet import archive, hooks, pillar, unfinished
from fleet import revision as revisions
from fleet.change import Change, Listener
from fleet.errors import FleetError, refuse
from fleet.lock import now
from fleet.master import Master
from fleet.minions import Minions, apply
from fleet.revision import BASE, CANDIDATE, Revision
from fleet.stages.storage import volume_healthy
from fleet.work import Work, limits

STAGE = "tls"
STEPS = (
    "unmount the volume on every node",
    "stop glusterd on every storage node",
    "give every node the files of the new mode",
    "start glusterd, and wait until the pool is whole",
    "stop the volume, and start it in the new mode",
    "mount it on every node, and wait until it is healthy",
)
#: What lets a node change its mode, which alone it may not.
_ALLOWED = {"gluster_tls_switch": True}
_FILE = "pillar/gluster.sls"


@dataclass
class Plan:
    """
    What there is to do.

    tls
        Whether Gluster is to work with TLS, as the checkout says.
    anew
        Whether that is another mode than that of the revision that the fleet is on.
    begun
        Whether an earlier switch has not come to its end.
    reasons
        Why something has to be done, as sentences; there is nothing to do without one.
    """

    tls: bool
    anew: bool
    begun: bool
    reasons: list[str]

    @property
    def mode(self) -> str:
        return "with TLS" if self.tls else "without TLS"


# What there is to do


def plan(master: Master, minions: Minions, restart: bool = False) -> Plan:
    """
    Find out what has to be done so that all of Gluster works as the checkout says.

    restart
        True to stop and start everything in any case, for certificates that were renewed.

    Touches nothing.

    Raises FleetError when the fleet is on no revision yet, when the checkout has more that is to be
    rolled out, when a node does not answer, and when there is no volume.
    """
    refuse(unfinished.problems(master, but=unfinished.TLS))
    base = _base(master)
    mode = _mode(base)
    wanted = _wanted(master, base)
    begun = unfinished.noted(master, unfinished.TLS) is not None
    made = Plan(wanted, wanted != mode, begun, [])
    if begun:
        made.reasons.append("an earlier switch has not come to its end")
    if restart:
        made.reasons.append("a restart was asked for")
    if made.anew:
        made.reasons.append(
            f"the fleet was rolled out with gluster:tls {str(mode).lower()}, and the checkout has "
            f"{str(wanted).lower()}"
        )
    if not begun:
        # Who must be there for it is found out here as well.
        made.reasons += _files(minions, base, made)
        made.reasons += _options(minions, base, made)
    return made


def _base(master: Master) -> Revision:
    base = revisions.base(master)
    if base is None:
        raise FleetError(
            "the fleet is on no revision yet, so there is nothing to switch: roll out first, and "
            "Gluster works as gluster:tls says"
        )
    return base


def _mode(revision: Revision) -> bool:
    return bool(revision.settings["gluster"]["tls"])


def _wanted(master: Master, base: Revision) -> bool:
    """Return the mode that the checkout has; refuse another one among other edits."""
    with tempfile.TemporaryDirectory(prefix="counterapp-tls-") as name:
        folder = Path(name)
        revisions.gather(master, base.release, folder)
        gluster = pillar.settings(master, [folder / "pillar"])["gluster"]
        wanted = gluster["tls"]
        if not isinstance(wanted, bool):
            raise FleetError(f"gluster:tls must be true or false, not {wanted!r}: see {_FILE}")
        old, new = (
            {path: (kind, content) for path, kind, content in revisions.contents(each)}
            for each in (base.folder, folder)
        )
    if wanted == _mode(base):
        # Whatever else was edited stays where it is: what is served is what the fleet is on.
        return wanted
    others = sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))
    others = [path for path in others if path != _FILE]
    before = base.settings["gluster"]
    keys = sorted(
        key
        for key in before.keys() | gluster.keys()
        if key != "tls" and before.get(key) != gluster.get(key)
    )
    if others or keys:
        words = [*others[:3], *(["…"] if len(others) > 3 else []), *(f"gluster:{k}" for k in keys)]
        raise FleetError(
            "the checkout differs from what was rolled out in more than gluster:tls: "
            f"{', '.join(words)}; put tls back, roll that out, and then switch"
        )
    return wanted


def _files(minions: Minions, base: Revision, made: Plan) -> list[str]:
    """Return why files of TLS on nodes are a reason; raise when a node cannot say."""
    nodes = list(base.topology["nodes"])
    reports = apply(minions, nodes, BASE, ["gluster.tls"], _ALLOWED, test=True)
    refuse(f"{node}: {report.error}" for node, report in reports.items() if report.error)
    return [
        f"{node}: these states would change something: "
        f"{', '.join(each['id'] for each in report.changed)}"
        for node, report in reports.items()
        if report.changed and not made.anew
    ]


def _options(minions: Minions, base: Revision, made: Plan) -> list[str]:
    """Return why options of the volume are a reason; raise when there is no volume to be seen."""
    name = base.settings["gluster"]["volume"]
    seen = minions.everyone(base.with_role("storage"), "gluster.info", [name])
    if not seen.answers:
        raise FleetError(
            f"volume {name} cannot be seen, so there is nothing to switch yet: roll out, or see to "
            f"the storage nodes first ({'; '.join(seen.problems())})"
        )
    options = next(iter(seen.answers.values()))["options"]
    wanted = "on" if made.tls else "off"
    return [
        f"volume {name}: {option} is {options.get(option, 'off')}, not {wanted}"
        for option in ("client.ssl", "server.ssl")
        if options.get(option, "off") != wanted and not made.anew
    ]


# The switch


def switch(
    master: Master,
    minions: Minions,
    restart: bool = False,
    test: bool = False,
    listeners: Sequence[Listener] = (),
    wait: float = 0,
) -> dict[str, Any]:
    """
    Have all of Gluster work with or without TLS, as the checkout says.

    restart
        True to stop and start everything in any case, for certificates that were renewed.
    test
        True to say what would be done, and do nothing.
    wait
        Seconds to wait for the lock of another change.

    Returns ``tls``, ``reasons`` (empty when there is nothing to do) and ``did``, a sentence; with
    ``test`` also ``steps``, else also ``change`` and ``revision``.

    Raises FleetError when it is refused, and StepFailed when it fails: everything is as it was then
    if nothing was stopped yet, else the command has to be given again.
    """
    made = plan(master, minions, restart)
    told: dict[str, Any] = {"tls": made.tls, "reasons": made.reasons}
    if not made.reasons:
        return {**told, "did": f"nothing: Gluster works {made.mode}, as the checkout says"}
    if test:
        return {**told, "steps": list(STEPS), "did": "nothing: this is a test"}
    with Change(master, "tls", wait, tuple(listeners)) as change:
        # Another change may have ended since.
        made = plan(master, minions, restart)
        base = _base(master)
        target = revisions.capture(master, base.release) if made.anew else base
        chosen = limits(target)
        change.hook = hooks.hook(chosen, change)
        nodes = list(target.topology["nodes"])
        change.note(
            **{"from": base.id, "to": target.id},
            release=target.release,
            tls=made.tls,
            reasons=made.reasons,
            nodes=nodes,
        )
        change.hook("before", change.entry("begun"))
        environment = CANDIDATE if made.anew else BASE
        if made.anew:
            revisions.offer(target)
        try:
            _switch(Work(change, minions, target, environment, None, chosen), made)
        except FleetError as error:
            if unfinished.noted(master, unfinished.TLS) is not None:
                raise FleetError(str(error), *unfinished.problems(master)) from error
            # Nothing was stopped, and what was unmounted is mounted again.
            revisions.withdraw(master)
            change.undone = True
            raise
        with change.step(STAGE, "noting it as the fleet's revision"):
            revisions.settle(target)
            unfinished.forget(master, unfinished.TLS)
            if made.anew:
                keep = chosen["revisions_kept"]
                mount = target.settings["gluster"]["mount"]
                archive.keep_or_tell(target, mount, keep, partial(change.warn, STAGE))
                revisions.prune(master, keep)
    did = f"Gluster works {made.mode}"
    return {**told, "did": did, "change": change.id, "revision": target.id}


def _switch(work: Work, made: Plan) -> None:
    nodes, keepers = list(work.nodes), work.with_role("storage")
    _unmount(work, nodes, made)
    with work.step(STAGE, f"stopping glusterd on {', '.join(keepers)}"):
        work.ask(keepers, "service.stop", "glusterd", timeout=60)
    work.apply(STAGE, nodes, ["gluster.tls"], _ALLOWED)
    _start(work, keepers)
    _stop_volume(work, keepers[0])
    work.apply(STAGE, keepers[:1], ["storage"])
    work.apply(STAGE, nodes, ["gluster"])
    volume_healthy(work)


def _unmount(work: Work, nodes: Sequence[str], made: Plan) -> None:
    """
    Unmount the volume everywhere, which is where the switch begins.

    Where one node cannot, it is mounted again on all, and the switch has not begun.
    """
    path = work.settings["gluster"]["mount"]
    master = work.change.master
    with work.step(STAGE, f"unmounting {path}") as step:
        states = work.ask(nodes, "gluster.mount_status", path)
        # A node that has not had its first rollout yet has no such unit.
        known = [node for node in nodes if states[node]["enabled"]]
        unfinished.note(master, unfinished.TLS, tls=made.tls, since=now(), change=work.change.id)
        found = work.everyone(known, "gluster.unmount", path, timeout=30)
        if found.failed:
            back = work.everyone(list(found.answers), "gluster.mount", path, timeout=90)
            if not back.failed and not made.begun:
                unfinished.forget(master, unfinished.TLS)
            words = [f"{path} could not be unmounted everywhere: {'; '.join(found.problems())}"]
            raise FleetError(*words, *(f"not mounted again: {each}" for each in back.problems()))
        # A service with a mount namespace of its own can hold the old mount, and so the process
        # that served it, which would go on calling the servers in the old mode.
        kill = ["pkill", "-KILL", "-f", "-x", f"[^ ]*/glusterfs .* {re.escape(path)}"]
        work.ask(known, "cmd.run_all", kill, python_shell=False)
        step.did = f"unmounted on {', '.join(known) or 'no node'}"


def _start(work: Work, keepers: Sequence[str]) -> None:
    """Start every glusterd at once, and wait until all of them are one pool again."""
    addresses = [work.nodes[node]["address"] for node in keepers]
    with work.step(STAGE, f"starting glusterd on {', '.join(keepers)}"):
        # Debian's unit allows six starts an hour, by whomever.
        work.ask(keepers, "cmd.run", "systemctl reset-failed glusterd")
        work.ask(keepers, "service.start", "glusterd", timeout=60)
        work.ask(keepers, "gluster.wait_peers", addresses, timeout=90)


def _stop_volume(work: Work, keeper: str) -> None:
    """Stop the volume, if it is started: its bricks know old options until they start anew."""
    volume = work.settings["gluster"]["volume"]
    with work.step(STAGE, f"stopping the volume {volume}", keeper) as step:
        if not work.ask([keeper], "gluster.info", volume)[keeper]["started"]:
            step.did = "was stopped already"
            return
        work.ask([keeper], "gluster.stop", volume, timeout=60)
        step.did = "stopped"
