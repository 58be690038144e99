"""
Taking the fleet from one revision to another: look at it, do it, watch it, go back.

    salt-run rollout.plan release=1.4.0
    salt-run state.orchestrate orch.rollout pillar='{"release": "1.4.0"}'

What a revision is and how a rollout goes is in ``fleet/`` and in docs/architecture.md. A command
that cannot do what it was asked for ends with exit code 1 and ``failed``: sentences that name the
thing and the remedy.
"""

from collections.abc import Callable
from typing import Any

from fleet import canary, command, journal, lock, plan_view, rollout, screen
from fleet.master import Master
from fleet.minions import SaltMinions

__context__: dict[str, Any]
__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]


def _master() -> Master:
    return Master(__opts__)


# What an operator types


@command.checked
def plan(release: str | None = None, revision: str | None = None) -> Any:
    """
    Show what a rollout would change, node by node and in its order, with the differences of files.

    Touches nothing. The exit code is 0 when there is nothing to do, 2 when there are changes, and 1
    when the rollout would be refused. On a terminal it is tables and colours, with ``--out=json``
    data.

    release
        Which release. Default: the one that the fleet is on; before the first rollout the newest.
    revision
        The ID of an earlier revision to look at, instead of what is in the checkout.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.plan release=1.4.0
    """
    return plan_view.command(_master(), SaltMinions(_master()), release, revision)


@command.checked
def history(limit: int = 20) -> Any:
    """
    Return the last changes of the fleet, newest first: who, when, from, to, how it ended and why.

    limit
        How many of them.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.history limit=5
    """
    return journal.history(_master().state, limit)


@command.checked
def show(change: str | None = None) -> Any:
    """
    Return the journal of a change: every step, what it did, and what failed.

    change
        Its ID, as the history has it. Default: the last one.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.show
    """
    return journal.find(_master().state, change).lines()


@command.checked
def watch() -> Any:
    """
    Show the change that runs, as it runs, and end with it; exit code 1 when it fails.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.watch
    """
    return screen.watch(_master())


@command.checked
def rollback(
    revision: str | None = None,
    wait: float = 0,
    batch: str | int | None = None,
    min_in_service: int | None = None,
) -> Any:
    """
    Take the fleet back to an earlier revision: release, states, pillar and topology.

    It is a rollout as any other, with the same steps and gates, and without a canary. While a
    canary is watched, the rollout that runs undoes itself instead.

    revision
        Its ID, as the history and ``fleet.status`` have it. Default: the revision that the fleet
        was on before; where a rollout has died, the one that it began from.
    wait
        Seconds to wait for a change that runs.
    batch, min_in_service
        As in the pillar's ``rollout``, for this one.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.rollback
    """
    if revision is None and canary.watched(_master()):
        return canary.reject(_master())
    given: dict[str, Any] = {
        "revision": rollout.back_to(_master(), revision),
        "wait": wait,
        "canary": {"enabled": False},
    }
    if batch is not None:
        given["batch"] = batch
    if min_in_service is not None:
        given["min_in_service"] = min_in_service
    done: dict[str, Any] = __salt__["state.orchestrate"]("orch.rollout", pillar=given)
    return done


@command.checked
def promote(change: str | None = None) -> Any:
    """
    Take a canary for good that could not be judged, so that its rollout goes on.

    change
        The ID of the rollout. Default: the one that runs.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.promote
    """
    return canary.promote(_master(), change)


@command.checked
def unlock(confirm: str | None = None) -> Any:
    """
    Break the lock of a change, whoever has it. A change that runs is not stopped by this.

    confirm
        The lock's owner, as ``fleet.status`` and a refused rollout show it.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.unlock confirm=root@master
    """
    return {"broken": lock.break_(_master().state, confirm)}


# The steps of salt/orch/rollout.sls


@command.checked
def begin(pillar: dict[str, Any]) -> Any:
    """
    Take the lock, and serve what is to be rolled out as the candidate.

    pillar
        The pillar of the orchestration: what was said to this rollout is in it, beside the fleet's.

    Called by ``orch.rollout``, in whose process the rollout runs.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.begin pillar='{"release": "1.4.0"}'
    """
    begun = rollout.begin(_master(), rollout.said(_master(), pillar))
    return {"change": begun.change.id, "revision": begun.target.id}


@command.checked
def preflight() -> Any:
    """
    Check everything that the rollout needs, and find out what it would change.

    Called by ``orch.rollout``, in whose process the rollout runs.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.preflight
    """
    return rollout.running().preflight()


@command.checked
def stage(stage: str) -> Any:
    """
    Do one stage of the rollout.

    stage
        ``prepare``, ``storage``, ``db``, ``web``, ``lb`` or ``leaving``.

    Called by ``orch.rollout``, in whose process the rollout runs.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.stage web
    """
    return rollout.running().stage(stage)


@command.checked
def verify() -> Any:
    """
    Count hits through the VIP, and see that every web server has the release.

    Called by ``orch.rollout``, in whose process the rollout runs.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.verify
    """
    return rollout.running().verify()


@command.checked
def finish() -> Any:
    """
    Have the candidate be the fleet's revision, and end the rollout.

    Called by ``orch.rollout``, in whose process the rollout runs.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.finish
    """
    return rollout.running().finish()


@command.checked
def undo() -> Any:
    """
    Put back what the rollout has touched, and end it; always ends with exit code 1.

    Called by ``orch.rollout``, in whose process the rollout runs.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.undo
    """
    return {"retcode": 1, "failed": rollout.undo()}
