"""One look at all nodes at once: what each is asked by its roles, and what it answers."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any

from fleet import clocks
from fleet.minions import Answers, Minions, last_words

#: Seconds until a node that has not answered is asked whether it is still at it, and for the reply.
_TIMEOUT, _PATIENCE = 5, 4
#: The units whose state is that of a role.
UNITS = {
    "master": ("salt-master",),
    "web": ("counterapp",),
    "db": ("mongod",),
    "storage": ("glusterd",),
    "lb": ("haproxy", "keepalived"),
}
CERTIFICATE = "/etc/ssl/glusterfs.pem"


@dataclass
class Look:
    """
    What nodes have answered.

    ``answers`` has by node what each function returned; one that failed is in ``errors``, by node
    and function, with its reason. ``failed`` has who did not answer at all, and why.
    """

    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: dict[str, dict[str, str]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    readings: clocks.Readings = field(default_factory=clocks.Readings)

    def get(self, node: str, function: str) -> Any:
        """Return what a function of a node returned, or None where it did not."""
        return self.answers.get(node, {}).get(function)

    def add(self, asked: float, heard: float, found: Answers) -> None:
        """Add what nodes have answered between these two times of the master."""
        self.failed.update(found.failed)
        told = Answers()
        for node, answer in found.answers.items():
            good, bad = self.answers.setdefault(node, {}), self.errors.setdefault(node, {})
            for function, value in (answer if isinstance(answer, dict) else {}).items():
                # What a function of several has raised is told as a text.
                if isinstance(value, str) and (
                    function not in _TEXTS or value.startswith("Traceback ")
                ):
                    bad[function] = last_words(value)
                else:
                    good[function] = value
            if clocks.FUNCTION in good:
                told.answers[node] = good[clocks.FUNCTION]
            elif clocks.FUNCTION in bad:
                told.failed[node] = bad[clocks.FUNCTION]
        self.readings.add(asked, heard, told)


#: Functions that return a text.
_TEXTS = ("file.read",)


def functions(roles: list[str], settings: Mapping[str, Any], witness: bool) -> dict[str, list[Any]]:
    """
    Return what a node is asked, with the arguments.

    witness
        Whether it is the one that tells of the volume: glusterd answers one at a time.
    """
    units = [unit for role in roles for unit in UNITS[role]]
    properties = "Id,ActiveState,ActiveEnterTimestamp,InactiveEnterTimestamp"
    # Times of systemd are in the time zone of who asks.
    quiet = {"__kwarg__": True, "env": {"TZ": "UTC"}, "python_shell": False, "ignore_retcode": True}
    asked: dict[str, list[Any]] = {
        clocks.FUNCTION: [],
        "grains.item": ["osfinger"],
        "cmd.run_all": [f"systemctl show --property {properties} {' '.join(units)}", quiet],
        # Local ones: a volume that hangs would have the answer hang with it.
        "disk.usage": ["l"],
    }
    if settings["gluster"]["tls"]:
        asked["file.read"] = [CERTIFICATE]
    if "web" in roles:
        asked["counterapp.health"] = []
    if "db" in roles:
        asked["mongodb.status"] = []
    if witness:
        asked["gluster.healthy"] = [settings["gluster"]["volume"]]
    if "lb" in roles:
        asked["haproxy.servers"] = [settings["lb"]["backend"]]
        asked["network.ip_addrs"] = []
    return asked


def look(
    minions: Minions,
    nodes: Mapping[str, Any],
    settings: Mapping[str, Any],
    arrived: Callable[[Look, list[str]], None],
) -> Look:
    """
    Ask all nodes what they are at, in one job for each set of roles and all at the same time.

    arrived
        Is called with what is known so far, and the nodes whose answers have come just now.
    """
    keepers = [node for node, entry in nodes.items() if "storage" in entry["roles"]]
    groups: dict[tuple[Any, ...], list[str]] = {}
    for node, entry in nodes.items():
        groups.setdefault((node in keepers[:1], *sorted(entry["roles"])), []).append(node)
    found = Look()

    def ask(group: tuple[Any, ...]) -> tuple[float, float, Answers]:
        witness, *roles = group
        wanted = functions(roles, settings, witness)
        asked = time.time()
        answers = minions.everyone(
            groups[group], list(wanted), list(wanted.values()), None, _TIMEOUT, _PATIENCE
        )
        return asked, time.time(), answers

    with ThreadPoolExecutor(max_workers=len(groups)) as threads:
        jobs = {threads.submit(ask, group): group for group in groups}
        for job in as_completed(jobs):
            found.add(*job.result())
            arrived(found, groups[jobs[job]])
    return found
