"""Everything that must be so before a rollout touches anything; all that is not is told at once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from salt.exceptions import SaltException

from fleet import backups, canary, clocks, plan, releases, unfinished
from fleet import revision as revisions
from fleet.change import Step
from fleet.errors import FleetError, refuse, sentences
from fleet.plan import Plan
from fleet.revision import CANDIDATE
from fleet.stages import leaving
from fleet.stages.db import replica_set
from fleet.stages.web import balancers_views, batch
from fleet.utils import mongodb_version
from fleet.waiting import until
from fleet.work import Work

#: What a node missed while it was down is healed in the background within seconds.
_HEALS = 30.0
_AGREE = 15.0
#: Returns sentences, or raises SaltException with them.
Check = Callable[[Work, list[str], Step], Iterable[str]]


def examine(work: Work, step: Step) -> tuple[Plan, list[str]]:
    """
    Check everything, and find out what would change; returns that and the nodes that answer.

    Raises FleetError with a sentence for each problem, of all checks together.
    """
    step.waits(f"asking {len(work.nodes)} nodes by name")
    has, found = unreachable(work)
    reached = list(has)
    found += bring_modules(work, has, step)
    made: Plan | None = None
    step.waits("looking at what every state would change, on every node")
    try:
        made = plan.make(work.minions, work.target, CANDIDATE, reached)
    except FleetError as error:
        found += error.problems
    step.waits("asking what runs already for its health")
    found += problems(work, reached, step)
    refuse(found)
    assert made is not None
    return made, reached


def unreachable(work: Work) -> tuple[dict[str, Any], list[str]]:
    """
    Ask every node by name, and return who answers, and a sentence about each that does not.

    Those who answer come with the digest of the modules that they have, or with something else
    where they have none of ours yet. A node that claims other roles than the topology gives it is
    as bad as one that is silent.
    """
    # The pillar that a minion has in memory, which plain functions go by, is as old as the minion;
    # while the states render it is brought up to date.
    functions = ["grains.item", "saltutil.refresh_pillar", "synced.digest"]
    found = work.minions.everyone(list(work.nodes), functions, [["roles"], [], []], None, 10, 5)
    problems = [
        f"{node}: {reason}; look at `salt-key -L` on the master and at `systemctl status "
        "salt-minion` on the node"
        for node, reason in found.failed.items()
    ]
    for node, answer in found.answers.items():
        claimed = sorted(answer["grains.item"].get("roles") or [])
        given = sorted(work.nodes[node]["roles"])
        if claimed != given:
            problems.append(
                f"{node}: its roles grain is {claimed}, but the topology gives it {given}; correct "
                "/etc/salt/grains on the node or pillar/topology.sls"
            )
    has = {node: answer.get("synced.digest") for node, answer in found.answers.items()}
    return has, problems


def bring_modules(work: Work, has: Mapping[str, Any], step: Step) -> list[str]:
    """
    Have nodes load the target's modules where they have others, all at once.

    has
        The digest of the modules that a node has, by node.

    Returns a sentence for each that could not. Nothing that runs goes by them, and without them
    not even what would change can be told.
    """
    others = [node for node, digest in has.items() if digest != work.target.modules]
    if not others:
        return []
    step.waits(f"bringing the modules of the revision to {', '.join(others)}")
    found = work.everyone(others, "saltutil.sync_all", saltenv=work.environment, timeout=30)
    return [f"{node}: its modules: {why}" for node, why in found.failed.items()]


def problems(
    work: Work, reached: list[str], step: Step, checks: Sequence[Check] | None = None
) -> list[str]:
    """
    Return a sentence for each thing that is not as a rollout needs it, of all checks.

    reached
        The nodes that answer; the checks of parts go by these.
    checks
        Which checks, for a change that needs less than a rollout.
    """
    checks = checks or (
        _limits,
        _release,
        _clocks,
        database,
        _zlib,
        _versions,
        volume,
        balancers,
        _leaving,
        _unfinished,
    )

    def run(check: Check) -> list[str]:
        try:
            return list(check(work, reached, step))
        except SaltException as error:
            return sentences(error)

    # Each asks other nodes, and mostly waits for their answers.
    with ThreadPoolExecutor(len(checks)) as threads:
        found = [problem for problems in threads.map(run, checks) for problem in problems]
    # What several checks stumble over is told once.
    return list(dict.fromkeys(found))


def _having(work: Work, reached: list[str], role: str) -> list[str]:
    return [node for node in work.with_role(role) if node in reached]


def _limits(work: Work, _reached: list[str], _step: Step) -> list[str]:
    batch(work.limits, len(work.with_role("web")))
    found = []
    for key in ("min_healthy_time", "deadline", "total_deadline"):
        value = work.limits.get(key)
        if key == "total_deadline" and value is None:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0:
            found.append(f"{key} must be a number of seconds, not {value!r}")
    canary.settings(work.limits)
    backups.settings(work.settings)
    return found


def _release(work: Work, _reached: list[str], _step: Step) -> list[str]:
    releases.require_whole(work.change.master, work.target.release)
    return []


def _clocks(work: Work, reached: list[str], _step: Step) -> list[str]:
    return clocks.problems(work.minions, work.nodes, reached)[1]


def database(work: Work, reached: list[str], _step: Step) -> list[str]:
    """Return why the replica set is not healthy; one that was never begun is."""
    members = _having(work, reached, "db")
    if not members:
        return []
    found = replica_set(work.minions, members)
    if not found["begun"]:
        return []
    # One whose daemon is down cannot tell; the rollout brings it up, as long as the rest serve.
    witness = next(
        (node for node, state in found["states"].items() if state["initialized"]), members[0]
    )
    healthy = work.ask([witness], "mongodb.healthy")[witness]
    return [f"{witness}: the replica set is not healthy: {why}" for why in healthy["reasons"]]


def _zlib(work: Work, _reached: list[str], _step: Step) -> list[str]:
    """
    Return for which nodes the settings that are rolled out want zlib of a vulnerable mongod.

    They decide, and not what runs: it may be what this very rollout ends.
    """
    wanted = work.settings["mongodb"]
    install = wanted["install"]
    key = "version" if install["source"] == "wheel" else "repo_least"
    version = str(install[key])
    try:
        repaired = mongodb_version.repaired_in(version)
    except ValueError as error:
        return [f"mongodb:install:{key} in pillar/mongodb.sls: {error}"]
    if not repaired or "zlib" not in wanted["compressors"]:
        return []
    return [
        f"{node}: its mongod would be {version} and offer zlib, over which a stranger reads its "
        "memory (CVE-2025-14847): take zlib out of mongodb:compressors in pillar/mongodb.sls, or "
        f"have {repaired} or newer installed"
        for node in work.with_role("db")
    ]


def _versions(work: Work, reached: list[str], _step: Step) -> list[str]:
    """Return for which nodes the mongod that is rolled out is none, or none that may follow."""
    install = work.settings["mongodb"]["install"]
    repo = install["source"] == "repo"
    key = "repo_series" if repo else "version"
    wanted = str(install[key])
    members = _having(work, reached, "db")
    try:
        mongodb_version.series(wanted)
    except ValueError as error:
        return [f"mongodb:install:{key} in pillar/mongodb.sls: {error}"]
    names = ["os", "os_family", "osrelease", "cpuarch", "cpu_flags"]
    found = []
    for node, grains in work.everyone(members, "grains.item", *names).answers.items():
        os, family, release, machine = (str(grains.get(name) or "") for name in names[:4])
        flags = grains.get("cpu_flags") or []
        problems = mongodb_version.platform_problems(
            wanted, os, family, release, machine, flags, repo
        )
        found += [f"{node}: {problem}" for problem in problems]
    # One that does not run yet cannot tell.
    for node, info in work.everyone(members, "mongodb.server_info").answers.items():
        if isinstance(info, dict):
            problem = mongodb_version.change_problem(
                info["version"], wanted, info.get("compatibility")
            )
            found += [f"{node}: its mongod {info['version']}: {problem}"] if problem else []
    return found


def warnings(work: Work, reached: list[str]) -> list[tuple[str, str]]:
    """Return which nodes run a mongod with CVE-2025-14847, and whether a stranger can use it."""
    found = []
    # One that does not run yet cannot tell.
    told = work.everyone(_having(work, reached, "db"), "mongodb.server_info").answers
    for node, info in told.items():
        if not isinstance(info, dict):
            continue
        if repaired := mongodb_version.repaired_in(info["version"]):
            state = (
                "strangers read its memory over zlib until its configuration is rolled out"
                if "zlib" in info["compressors"]
                else "it is out of reach, since zlib is off"
            )
            has = f"its mongod {info['version']} has CVE-2025-14847, repaired in {repaired}"
            found.append((node, f"{has}: {state}"))
    return found


def volume(work: Work, reached: list[str], step: Step) -> list[str]:
    """Return why the shared volume is not healthy; one that does not exist yet is."""
    name = work.settings["gluster"]["volume"]
    answers = work.everyone(_having(work, reached, "storage"), "gluster.volumes").answers
    holders = [node for node, found in answers.items() if isinstance(found, list) and name in found]
    if not holders:
        return []
    seen: dict[str, Any] = {}

    def look() -> tuple[bool, str]:
        seen.update(work.ask(holders[:1], "gluster.healthy", name)[holders[0]])
        seen["reasons"] = leaving.excused(work, seen["reasons"])
        return not seen["reasons"], "; ".join(seen["reasons"])

    try:
        until(look, _HEALS, f"volume {name} is healthy", step.waits)
    except FleetError as error:
        reasons = seen.get("reasons") or error.problems
        return [f"{holders[0]}: volume {name}: {why}" for why in reasons]
    return []


def _unfinished(work: Work, _reached: list[str], _step: Step) -> list[str]:
    return unfinished.problems(work.change.master)


def _leaving(work: Work, _reached: list[str], _step: Step) -> list[str]:
    return leaving.check(work)


def balancers(work: Work, reached: list[str], step: Step) -> list[str]:
    """Have the balancers agree on which web servers are up. Raises FleetError when they do not."""
    # One that a change has left on its way may see what it likes: this rollout is what mends it.
    moving = revisions.moving(work.change.master)
    asked = [node for node in _having(work, reached, "lb") if node not in moving]

    def look() -> tuple[bool, str]:
        # One that does not run or has no such backend yet is brought up by the rollout.
        views = {
            node: sorted(each["name"] for each in servers if each["up"])
            for node, servers in balancers_views(work, asked).items()
        }
        words = "; ".join(f"{node} sees {', '.join(up) or 'none'}" for node, up in views.items())
        return len({tuple(up) for up in views.values()}) <= 1, words

    until(look, _AGREE, "the balancers agree on which web servers are up", step.waits)
    return []
