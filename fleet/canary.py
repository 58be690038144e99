"""
The canary of a rollout: the first web server that is replaced, watched before the others follow.

It goes back into the balancers at a small weight, and for a while its requests are compared with
those to the other web servers by the tests of :mod:`fleet.judging`:

* ``traffic``, what clients asked by the balancers: differences of HAProxy's counters;
* ``floor``, hits that the master sends straight to the web servers, as many to the canary as to the
  others: what there is to judge by where nobody asks. Each source is judged by itself, since good
  hits must not hide a leak in what clients ask for;
* the application's histograms, for the latency.

It fails as soon as one source says so, when its latency does at the end of the time, or when a
balancer calls it down for a while and others up. It passes when the time is over, one of the
sources is sure that it is good, and the other does not speak against it. All else is inconclusive,
above all where nothing could be counted.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fleet import files, lock
from fleet.change import Step
from fleet.command import known
from fleet.errors import FleetError, refuse
from fleet.journal import Journal
from fleet.judging import Errors, Latency, Verdict, latency
from fleet.master import Master
from fleet.minions import Answers
from fleet.readings import Durations, Traffic, hit
from fleet.work import Work

#: Seconds in which a round of hits ends, and after which a minion is asked whether it is there.
_ROUND, _ANSWER = 3.0, 5.0
#: Seconds in which a balancer's checks must call the canary up, and for which it may be down.
_UP, _DOWN = 40.0, 3.0
#: What an operator may say of a canary that is watched.
_SAID = ("promote", "reject")


@dataclass(frozen=True)
class Settings:
    """The settings ``rollout:canary`` of the pillar, which says what they mean."""

    enabled: bool = True
    weight: int = 10
    time: float = 10
    hits: int = 20
    inconclusive: str = "hold"
    hold: float = 300
    tolerance: float = 0.25
    noticeable: float = 0.02


def settings(limits: Mapping[str, Any]) -> Settings:
    """
    Return the settings of the canary, of ``rollout`` in the pillar and what was said to it.

    ``canary`` may be true or false as well; where it is missing there is none.

    Raises FleetError with a sentence for each that cannot be.
    """
    given = limits.get("canary", False)
    if isinstance(given, bool):
        return Settings(enabled=given)
    if not isinstance(given, Mapping):
        raise FleetError(f"canary must be true, false or a mapping of settings, not {given!r}")
    known(given, [each.name for each in fields(Settings)], "rollout:canary")
    chosen = Settings(**given)
    refuse(_problems(chosen))
    return chosen


def _problems(chosen: Settings) -> list[str]:
    found = []
    if type(chosen.enabled) is not bool:
        found.append(f"canary:enabled must be true or false, not {chosen.enabled!r}")
    if type(chosen.weight) is not int or not 1 <= chosen.weight <= 100:
        found.append(f"canary:weight must be a percentage from 1 to 100, not {chosen.weight!r}")
    if type(chosen.hits) is not int or not 0 <= chosen.hits <= 1000:
        found.append(f"canary:hits must be a whole number from 0 to 1000, not {chosen.hits!r}")
    if chosen.inconclusive not in ("hold", "pass", "fail"):
        found.append(f"canary:inconclusive must be hold, pass or fail, not {chosen.inconclusive!r}")
    for name in ("time", "hold", "tolerance", "noticeable"):
        value = getattr(chosen, name)
        if type(value) not in (int, float) or not 0 <= value < float("inf"):
            found.append(f"canary:{name} must be a number from 0 on, not {value!r}")
    return found


# In and out of the balancers


def wanted(work: Work, todo: list[str]) -> bool:
    """
    Tell whether the first of these web servers is to be a canary: that is wanted, and others serve.

    There is none on the way back, where what is known to be good replaces what is not.

    Raises FleetError when the settings cannot be.
    """
    chosen = settings(work.limits)
    if not chosen.enabled or not work.forward or not todo:
        return False
    return any(
        server["in_service"] and server["name"] != todo[0]
        for servers in _views(work).answers.values()
        for server in servers
    )


def reduced(server: Mapping[str, Any]) -> bool:
    """Tell whether a server, as ``haproxy.servers`` has it, has less than its weight."""
    return bool(server["weight"] < server.get("initial_weight", server["weight"]))


def restore(work: Work, node: str) -> None:
    """
    Give a web server its whole weight in every balancer where it has less.

    Raises FleetError naming each balancer that did not do so.
    """
    less = [
        balancer
        for balancer, servers in _views(work).answers.items()
        if any(server["name"] == node and reduced(server) for server in servers)
    ]
    work.ask(less, "haproxy.set_weight", work.settings["lb"]["backend"], node, "100%")


def _views(work: Work) -> Answers:
    """Return the servers as each balancer sees them that has the backend and so sends traffic."""
    found = work.everyone(work.with_role("lb"), "haproxy.servers", work.settings["lb"]["backend"])
    found.answers = {key: seen for key, seen in found.answers.items() if isinstance(seen, list)}
    return found


def _enter(work: Work, node: str, weight: int) -> list[str]:
    """Put the canary into rotation with so many percent of its weight; return the balancers."""
    with work.step("web", f"putting it into rotation at a weight of {weight} %", node) as step:
        backend = work.settings["lb"]["backend"]
        balancers = [
            balancer
            for balancer, servers in _views(work).answers.items()
            if any(server["name"] == node for server in servers)
        ]
        # Before it is ready, so that it never has more.
        found = work.everyone(balancers, "haproxy.set_weight", backend, node, f"{weight}%")
        work.ask(balancers, "haproxy.ready", backend, node)
        work.wait(balancers, "haproxy.wait_up", backend, node, timeout=_UP)
        # One whose configuration knows no such weights sends it its whole part: no reason to stop.
        step.did = [f"at a weight of {weight} % in {each}" for each in found.answers]
        step.did += [f"at its whole weight in {problem}" for problem in found.problems()]
    return balancers


# The watch


def judge(work: Work, node: str) -> None:
    """
    Put a web server that is ready into rotation as the canary, and watch it until it is judged.

    It keeps its small weight: :func:`restore` gives it the whole one, on the way there and back.

    Raises StepFailed with the figures when it is worse than the others, and when it could not be
    judged and nobody has promoted it.
    """
    chosen = settings(work.limits)
    _forget(work)
    balancers = _enter(work, node, chosen.weight)
    with work.step("web", "watching the canary", node) as step:
        work.change.note(canary={"node": node, "verdict": None})
        watch = _Watch(work, node, chosen, balancers)
        try:
            watch.run(step)
        except FleetError:
            watch.end()
            raise
        watch.end()
        step.did = watch.seen


def decide(traffic: Errors, floor: Errors, slower: bool, over: bool, complete: bool) -> Verdict:
    """
    Return what is to be said of a canary.

    traffic, floor
        What failed of what clients asked, and of the master's hits.
    slower
        Whether it is slower than the others.
    over
        Whether it was watched for as long as it should be.
    complete
        Whether all that counts has been read.
    """
    sources = (traffic, floor)
    if any(source.verdict is Verdict.FAIL for source in sources) or over and slower:
        return Verdict.FAIL
    if not over or not complete or any(source.doubtful for source in sources):
        return Verdict.INCONCLUSIVE
    sure = any(source.verdict is Verdict.PASS for source in sources)
    return Verdict.PASS if sure else Verdict.INCONCLUSIVE


class _Watch:
    """A canary that is watched."""

    def __init__(self, work: Work, node: str, chosen: Settings, balancers: list[str]) -> None:
        self.work = work
        self.node = node
        self.chosen = chosen
        self.balancers = balancers
        self.webs = work.with_role("web")
        #: Whose latency is read.
        self.timed = set(self.webs)
        self.traffic = Traffic(node, whole=work.settings["web"].get("workers", 1) == 1)
        self.floor = Errors()
        self.durations = Durations()
        self.latency: Latency = latency({}, {})
        self.verdict = Verdict.INCONCLUSIVE
        self.said: dict[str, Any] | None = None
        self.seen = ""
        self._begun = time.monotonic()
        self._down: float | None = None

    def run(self, step: Step) -> None:
        """Look until it is judged."""
        hold = self.chosen.hold if self.chosen.inconclusive == "hold" else 0
        self.work.until(
            self._look,
            self.chosen.time + hold,
            f"the canary {self.node} can be judged, or is promoted (`salt-run rollout.promote`)",
            step,
        )

    def end(self) -> None:
        """Have the verdict in the journal and the history, with what an operator has said."""
        _forget(self.work)
        facts = {"node": self.node, "verdict": str(self.verdict), "seen": self.seen}
        self.work.change.note(canary={**facts, **({"said": self.said} if self.said else {})})

    def _look(self) -> tuple[bool, str]:
        over = time.monotonic() - self._begun >= self.chosen.time
        serving, down, silent = self._read()
        self._hit(serving)
        others = [web for web in self.webs if web != self.node]
        self.latency = latency(self.durations.of([self.node]), self.durations.of(others))
        slower = self.latency.slower(self.chosen.tolerance, self.chosen.noticeable)
        complete = not silent and not down
        self.verdict = decide(self.traffic.errors, self.floor, slower, over, complete)
        self.seen = "; ".join(
            [
                f"of clients {self.traffic.errors}",
                f"of the master's hits {self.floor}",
                str(self.latency),
                *down,
                *silent,
            ]
        )
        if down and time.monotonic() - (self._down or 0.0) >= _DOWN:
            self.verdict = Verdict.FAIL
        if self.verdict is Verdict.FAIL:
            raise FleetError(f"the canary is worse than the others: {self.seen}")
        return self._ends(over), self.seen

    def _ends(self, over: bool) -> bool:
        """Tell whether a canary that is not bad has been watched enough."""
        if self.verdict is Verdict.PASS:
            return True
        if said := _heard(self.work):
            self.said = said
            if said["what"] == "reject":
                self.verdict = Verdict.FAIL
                raise FleetError(f"the canary was rejected by {said['by']}: {self.seen}")
            return True
        if over and self.chosen.inconclusive == "fail":
            raise FleetError(f"the canary could not be judged: {self.seen}")
        return over and self.chosen.inconclusive == "pass"

    def _read(self) -> tuple[list[str], list[str], list[str]]:
        """Return who serves, where the canary is down and others are up, and who was silent."""
        backend = self.work.settings["lb"]["backend"]
        counted = self.work.everyone(self.balancers, "haproxy.counters", backend, timeout=_ANSWER)
        # After the balancers, so that what these have moved is known here.
        timed = self.work.everyone(sorted(self.timed), "counterapp.latency", timeout=_ANSWER)
        # One that has no figures is not waited for each time.
        self.timed -= timed.failed.keys()
        self.traffic.whole &= self.node in self.timed
        serving: set[str] = set()
        down = []
        for balancer, counters in counted.answers.items():
            up = [name for name, each in counters["servers"].items() if _up(each["status"])]
            serving.update(up)
            if self.node not in up and up:
                mine = counters["servers"].get(self.node, {"status": "unknown"})
                down.append(f"{balancer} calls it {mine['status']}, and {', '.join(up)} up")
            self.traffic.read(balancer, counters)
        for web, seen in timed.answers.items():
            self.traffic.found_no_route(web, self.durations.read(web, seen))
        self.traffic.judge()
        self._down = (self._down or time.monotonic()) if down else None
        return [web for web in self.webs if web in serving], down, counted.problems()

    def _hit(self, serving: list[str]) -> None:
        """Hit the canary and the others in turn, so that both have the same moments."""
        port = self.work.settings["web"]["port"]
        others = [web for web in serving if web != self.node]
        end = time.monotonic() + _ROUND
        for number in range(self.chosen.hits):
            if time.monotonic() >= end:
                break
            if others:
                other = others[number % len(others)]
                good = hit(self.work.nodes[other]["address"], port)
                self.floor.others.add(1, 0 if good else 1)
            self.floor.add(1, 0 if hit(self.work.nodes[self.node]["address"], port) else 1)


def _up(status: str) -> bool:
    return status.startswith(("UP", "no check"))


# What an operator says


def promote(master: Master, change: str | None = None) -> dict[str, Any]:
    """
    Have the canary that is watched taken for good, so that its rollout goes on.

    change
        The ID of its rollout; None is the one that runs.

    Returns ``change`` and ``node``. One that is found to be bad until then fails all the same.

    Raises FleetError when no canary is watched, or that of another rollout.
    """
    return _say(master, "promote", change)


def reject(master: Master, change: str | None = None) -> dict[str, Any]:
    """Have the canary that is watched taken for bad, so that its rollout is undone."""
    return _say(master, "reject", change)


def watched(master: Master) -> dict[str, Any] | None:
    """Return ``change`` and ``node`` of the canary that is watched now, or None."""
    holder = lock.holder(master.state)
    if not holder or not holder["alive"]:
        return None
    facts = Journal(master.state, holder["change"]).facts().get("canary")
    if not facts or facts["verdict"]:
        return None
    return {"change": holder["change"], "node": facts["node"]}


def _say(master: Master, what: str, change: str | None) -> dict[str, Any]:
    found = watched(master)
    if not found:
        raise FleetError(f"no canary is watched now, so there is none to {what}")
    if change is not None and change != found["change"]:
        raise FleetError(
            f"the canary {found['node']} is of the rollout {found['change']}, not of {change!r}"
        )
    by = {"what": what, "by": lock.owner(), "at": lock.now()}
    files.write_json(_path(Journal(master.state, found["change"]), what), by)
    return found


def _path(journal: Journal, what: str) -> Path:
    return journal.path.with_suffix(f".{what}")


def _heard(work: Work) -> dict[str, Any] | None:
    for what in reversed(_SAID):
        path = _path(work.change.journal, what)
        if path.exists():
            return dict(json.loads(path.read_text(encoding="utf-8")))
    return None


def _forget(work: Work) -> None:
    for what in _SAID:
        _path(work.change.journal, what).unlink(missing_ok=True)
