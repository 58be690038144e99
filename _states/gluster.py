"""
Keep GlusterFS pools, volumes and mounts as declared.

Peers and volumes belong to the pool as a whole: apply :py:func:`peered` and
:py:func:`volume_present` on one node of it, :py:func:`mounted` on each node that needs the volume.

.. code-block:: yaml

    storage pool:
      gluster.peered:
        - peers: [db-1, db-2, db-3]

    shared:
      gluster.volume_present:
        - replica: 3
        - bricks:
          - db-1:/srv/gluster/shared/brick
          - db-2:/srv/gluster/shared/brick
          - db-3:/srv/gluster/shared/brick
        - options:
            network.ping-timeout: 10
        - require:
          - gluster: storage pool

    /srv/shared:
      gluster.mounted:
        - volume: shared
        - servers: [db-1, db-2, db-3]
        - require:
          - gluster: shared
"""

from salt.exceptions import CommandExecutionError

# A move that glusterd calls completed may have left files behind; another run finds them.
RUNS = 3

__virtualname__ = "gluster"


def __virtual__():
    if "gluster.peers" not in __salt__:
        return False, "gluster: the gluster execution module is not there"
    return __virtualname__


def volume_present(
    name,
    bricks,
    replica=1,
    options=None,
    started=True,
    force=False,
    timeout=60,
    arbiter=0,
    disperse=0,
    redundancy=0,
    remove_bricks=False,
    reset_strays=False,
    data_timeout=600,
):
    """
    Have a volume of these bricks, with these options, started with all bricks online (or stopped).

    Creates what is missing, sets options that differ, starts or stops it, starts brick processes
    that are gone, and brings a volume of another layout to the declared one where no step of the
    way leaves fewer good copies than both layouts have:

    - the number of copies raised (an arbiter may be what is added) or lowered,
    - one brick of a set replaced by another,
    - whole sets added (:py:func:`rebalanced` spreads the files over them) and, if asked for, taken
      out after their data has been moved off.

    A change waits up to ``timeout`` for the copies that it relies on to be online and healed, and
    afterwards up to ``data_timeout`` for new copies to be complete. Everything else is refused with
    the reason, and the volume left as it is: another type, bricks put into other sets, an arbiter
    to become a full copy or a full copy an arbiter, two bricks of a set replaced at once, changes
    of several kinds at once, any change of a volume that is declared stopped.

    .. code-block:: yaml

        shared:
          gluster.volume_present:
            - replica: 3
            - arbiter: 1
            - bricks:
              - db-1:/srv/gluster/shared/brick
              - db-2:/srv/gluster/shared/brick
              - db-3:/srv/gluster/shared/arbiter
            - options:
                network.ping-timeout: 10
            - reset_strays: true

    name
        The volume's name.
    bricks
        List of ``host:/absolute/path``, each run of ``replica`` of them one set of copies. The
        directory above each must exist on its host. How the sets, and the copies in them, are
        ordered makes no difference for a volume that exists.
    replica
        Copies of each file.
    options
        Dict of full option names to values; booleans become ``on`` and ``off``. Names and values
        are checked before anything is done. Options that are not named are left alone.
    started
        False for a volume that is to be stopped.
    force
        Also take bricks on a root file system, several of one set on one host, and such as were
        part of a volume before, with the files that they hold.
    timeout
        Seconds to wait for all bricks to be online and, before copies change, healed.
    arbiter
        1 if the last brick of each set of three is to hold names and metadata only.
    disperse
        Instead of copies, erasure coding over each run of this many bricks.
    redundancy
        How many bricks of each such run may be lost; less than half of them.
    remove_bricks
        True to take out whole sets that are not declared any more. The files of the volume that
        they hold are moved to the other sets first.
    reset_strays
        True to reset options that are set on the volume and not declared here. Those that glusterd
        sets by itself or by commands of their own, and ``user.*``, are left alone.
    data_timeout
        Seconds to wait for data: until new copies are complete, or sets to go are empty. Copying
        and moving go on after them, and the next run of this state waits for the same move.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    try:
        declared = {
            "bricks": __utils__["gluster_declared.layout"](
                bricks, replica, arbiter, disperse, redundancy
            ),
            "replica": replica,
            "arbiter": arbiter,
            "disperse": disperse,
            "redundancy": redundancy,
            "remove": remove_bricks,
            "options": __utils__["gluster_declared.option_values"](options),
            "reset_strays": reset_strays,
            "started": started,
        }
        plan = _volume_plan(name, declared)
        if __opts__["test"]:
            _check_layout_change(name, plan, timeout=0)
            ret["result"], ret["changes"] = None if plan else True, plan
            verb = "would be created" if "volume" in plan else "would be changed"
            ret["comment"] = f"Volume {name} {verb if plan else 'is as declared'}{_words(plan)}"
            return ret
        while plan:
            step, change = next(iter(plan.items()))
            if step == "layout":
                change = change[:1]
            try:
                if step == "layout":
                    _check_layout_change(name, plan, timeout)
                _volume_step(ret, name, declared, step, change, force, timeout, data_timeout)
            except CommandExecutionError:
                # The same state on another node may have done this very step meanwhile.
                if _is_planned(_volume_plan(name, declared), step, change):
                    raise
                if "migration" in ret["changes"]:
                    _record(ret, step, change)
            else:
                _record(ret, step, change)
            if step == "layout":
                __salt__["gluster.wait_online"](name, timeout=timeout, bricks=declared["bricks"])
            plan = _volume_plan(name, declared)
            if _is_planned(plan, step, change):
                raise CommandExecutionError(f"volume {name} still differs: {plan}")
            if step == "layout" and change[0]["action"] in ("raise", "replace"):
                __salt__["gluster.wait_healed"](name, timeout=data_timeout, launch=True)
    except CommandExecutionError as error:
        return __utils__["gluster.failed"](ret, error, __opts__["test"])
    verb = "was created" if "volume" in ret["changes"] else "was changed"
    if not ret["changes"]:
        verb = "is as declared"
    ret["comment"] = f"Volume {name} {verb}{_words(ret['changes'])}"
    return ret


def volume_absent(name, confirm=None):
    """
    Have no volume of this name: it is stopped, which fails all its mounts, and deleted.

    The files stay on the bricks, in their directories, but no longer as a volume. A directory that
    was a brick is taken for a new one only with ``force``.

    .. code-block:: yaml

        old:
          gluster.volume_absent:
            - confirm: old

    name
        The volume's name.
    confirm
        The name once more. Without it a volume that is there is left alone, and the state fails.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": f"There is no volume {name}"}
    try:
        __utils__["gluster_declared.volume_name"](name)
        if name not in __salt__["gluster.volumes"]():
            return ret
        volume = __salt__["gluster.info"](name)
        names = [item["name"] for item in volume["bricks"]]
        if confirm != name:
            raise CommandExecutionError(
                f"volume {name} with bricks {', '.join(names)} was left as it is: "
                f"say confirm: {name}"
            )
        plan = {"status": {"old": "Started", "new": "Stopped"}} if volume["started"] else {}
        plan["volume"] = {"old": {"name": name, "bricks": names}, "new": None}
        if __opts__["test"]:
            ret["result"], ret["changes"] = None, plan
            ret["comment"] = f"Volume {name} would be deleted; its files would stay on the bricks"
            return ret
        for step, change in plan.items():
            try:
                if step == "status":
                    __salt__["gluster.stop"](name)
                else:
                    __salt__["gluster.delete"](name, confirm=confirm)
                ret["changes"][step] = change
            except CommandExecutionError:
                # The same state on another node may have done this very step meanwhile.
                there = name in __salt__["gluster.volumes"]()
                if there and (step == "volume" or __salt__["gluster.info"](name)["started"]):
                    raise
        if name in __salt__["gluster.volumes"]():
            raise CommandExecutionError(f"volume {name} is still there")
    except CommandExecutionError as error:
        return __utils__["gluster.failed"](ret, error, __opts__["test"])
    if ret["changes"]:
        ret["comment"] = f"Volume {name} was deleted; its files are still on {', '.join(names)}"
    return ret


def _volume_plan(name, declared):
    """Return what has to change on a volume, as the state's changes, in the order of doing."""
    plan = {}
    volume = __salt__["gluster.info"](name) if name in __salt__["gluster.volumes"]() else None
    if volume is None:
        plan["volume"] = {"old": None, "new": {"name": name, "bricks": declared["bricks"]}}
    now = volume["options"] if volume else {}
    differing = {
        key: {"old": now.get(key), "new": value}
        for key, value in declared["options"].items()
        if not __utils__["gluster_option.same"](now.get(key), value)
    }
    # Before the start, so that no client ever sees the volume without its access rules.
    if differing:
        # And before all else: glusterd finds a bad one only when the volume is there already.
        __salt__["gluster.check_options"](
            {key: declared["options"][key] for key in differing}, volume=name
        )
        plan["options"] = differing
    if volume and declared["reset_strays"]:
        strays = __salt__["gluster.strays"](name, list(declared["options"]))
        if strays:
            plan["strays"] = {key: {"old": value, "new": None} for key, value in strays.items()}
    running = bool(volume and volume["started"])
    if declared["started"] and not running:
        plan["status"] = {"old": volume["status"] if volume else None, "new": "Started"}
    elif running and not declared["started"]:
        plan["status"] = {"old": "Started", "new": "Stopped"}
    elif running:
        state = __salt__["gluster.status"](name, sizes=False)
        offline = [item["name"] for item in state["bricks"] if not item["online"]]
        # One that is to go may be lost for good.
        offline = [brick for brick in offline if brick in declared["bricks"]]
        if offline:
            plan["bricks"] = {brick: {"old": "offline", "new": "online"} for brick in offline}
    steps = []
    if volume:
        steps = __utils__["gluster_layout.steps"](volume, declared, remove=declared["remove"])
    if steps and not declared["started"]:
        raise CommandExecutionError(
            f"volume {name} is left as it is: only while it is started it is possible to "
            f"{_words({'layout': steps})[2:]}"
        )
    if steps:
        plan["layout"] = steps
    return plan


def _check_layout_change(name, plan, timeout):
    """Wait until the copies that the next layout step relies on are all there."""
    # What is to be started by this run cannot be told before it is.
    if "layout" not in plan or "status" in plan or "bricks" in plan:
        return
    step = plan["layout"][0]
    if step["action"] == "add":
        return
    dropped = {"replace": [step.get("old")], "lower": step.get("bricks")}.get(step["action"], [])
    for _ in __utils__["gluster.attempts"](timeout):
        reasons = __salt__["gluster.hindrances"](name, dropped)
        if not reasons:
            return
    raise CommandExecutionError(
        f"volume {name} was left as it is, unable to "
        f"{__utils__['gluster_layout.words'](step)}: {'; '.join(reasons)}"
    )


def _words(changes):
    steps = [__utils__["gluster_layout.words"](step) for step in changes.get("layout", [])]
    return f": {'; '.join(steps)}" if steps else ""


def _is_planned(plan, step, change):
    if step == "layout":
        return change[0] in plan.get("layout", [])
    return step in plan


def _record(ret, step, change):
    if step == "layout":
        ret["changes"].pop("migration", None)
        change = ret["changes"].get("layout", []) + change
    ret["changes"][step] = change


def _volume_step(ret, name, declared, step, change, force, timeout, data_timeout):
    if step == "volume":
        counts = {key: declared[key] for key in ("replica", "arbiter", "disperse", "redundancy")}
        __salt__["gluster.create"](name, declared["bricks"], force=force, **counts)
    elif step == "options":
        values = {key: declared["options"][key] for key in change}
        __salt__["gluster.set_options"](name, values)
    elif step == "strays":
        __salt__["gluster.reset_options"](name, list(change))
    elif step == "layout":
        _layout_step(ret, name, change[0], force, data_timeout)
    elif step == "status" and not declared["started"]:
        __salt__["gluster.stop"](name)
    else:
        # With force a started volume's missing brick processes are started.
        __salt__["gluster.start"](name, force=step == "bricks")
        __salt__["gluster.wait_online"](name, timeout=timeout, bricks=declared["bricks"])


def _layout_step(ret, name, step, force, data_timeout):
    action, bricks = step["action"], step.get("bricks")
    if action == "replace":
        __salt__["gluster.replace_brick"](name, step["old"], step["new"], force=force)
    elif action == "add":
        __salt__["gluster.add_bricks"](name, bricks, force=force)
    elif action == "raise":
        counts = {key: step[key] for key in ("replica", "arbiter")}
        __salt__["gluster.add_bricks"](name, bricks, force=force, **counts)
    elif action == "lower":
        __salt__["gluster.remove_bricks"](name, bricks, replica=step["replica"], confirm=name)
    else:
        _empty(ret, name, bricks, data_timeout)
        __salt__["gluster.remove_commit"](name, bricks, confirm=name)


def _empty(ret, name, bricks, data_timeout):
    for run in range(RUNS):
        _begin_removal(ret, name, bricks)
        try:
            __salt__["gluster.wait_emptied"](name, bricks, timeout=data_timeout)
        except CommandExecutionError:
            status = __salt__["gluster.remove_status"](name, bricks)["status"]
            # The second is what this same state on another node leaves between two runs.
            if run == RUNS - 1 or status not in ("completed", "not started"):
                raise
            if status == "completed":
                __salt__["gluster.remove_stop"](name, bricks)
        else:
            return


def _begin_removal(ret, name, bricks):
    # An earlier run, or the same state on another node, may have begun the very same move.
    if __salt__["gluster.remove_status"](name, bricks)["status"] != "not started":
        return
    try:
        __salt__["gluster.remove_bricks"](name, bricks)
        ret["changes"]["migration"] = {"old": None, "new": "in progress"}
    except CommandExecutionError:
        if __salt__["gluster.remove_status"](name, bricks)["status"] == "not started":
            raise
