"""How tests run a command in a node: by the kernel's own means, not by podman's.

``podman exec`` computes a tenth of a second for each command, and tests that wait look again and
again. What is run here is where podman would have it: in the container's namespaces and groups.
"""

import json
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab import engine
from lab.config import LabError

_GROUPS = Path("/sys/fs/cgroup")
# Words that the kernel writes of a process: its start, in ticks since the boot, is the 22nd. Those
# up to the bracket behind its name are two.
_START = 22 - 3
# With version 2 of the groups, a group that has others within has no processes.
_ENTER = """\
while [ "$1" != -- ]; do
    echo 0 >"$1/cgroup.procs" || echo 0 >"$1/init.scope/cgroup.procs" || exit
    shift
done 2>/dev/null
shift
unset PWD
exec nsenter "$@"
"""


@dataclass(frozen=True)
class _First:
    """The first process of a container; by the time of its start no other one is taken for it."""

    number: int
    start: str
    groups: tuple[str, ...]
    variables: dict[str, str]

    @property
    def runs(self) -> bool:
        return _start(self.number) == self.start


_known: dict[str, _First] = {}


def run(container: str, *command: str, check: bool = True, stdin: str = "") -> str:
    """Run a command as root in a container, hand it ``stdin``, and return what it printed.

    :raises LabError: it exits other than 0, and with ``check``; or the container does not run.
    """
    first = _first(container)
    done = subprocess.run(
        [
            *("sh", "-c", _ENTER, "enter", *first.groups, "--"),
            *(f"--target={first.number}", "--all", "--", *command),
        ],
        env=first.variables,
        capture_output=True,
        text=True,
        input=stdin,
    )
    if done.returncode != 0:
        # Ended by the command, or before it.
        _first(container)
        if check:
            words = (done.stderr.strip() or done.stdout.strip())[-3000:]
            raise LabError(f"'{shlex.join(command)}' failed in {container}: {words}")
    return done.stdout


def _first(container: str) -> _First:
    known = _known.get(container)
    if known is None or not known.runs:
        [told] = json.loads(engine.podman("container", "inspect", container))
        number = told["State"]["Pid"]
        if not number:
            raise LabError(f"The container {container} is {told['State']['Status']}.")
        variables = {
            "HOME": "/root",
            "HOSTNAME": told["Config"]["Hostname"],
            **dict(each.split("=", 1) for each in told["Config"]["Env"]),
        }
        known = _known[container] = _First(number, _start(number), _groups(number), variables)
    return known


def _start(number: int) -> str:
    """Return when a process began; nothing when there is none."""
    try:
        text = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[_START]


def _groups(number: int) -> tuple[str, ...]:
    """Return the folders of the container's groups, by one of its processes."""
    found = []
    for line in Path(f"/proc/{number}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        unified = _GROUPS / "unified"
        version_2 = unified if unified.exists() else _GROUPS
        root = _GROUPS / controllers.removeprefix("name=") if controllers else version_2
        # What is in the root of a controller was never put into a group.
        if path != "/":
            found.append(f"{root}{path.removesuffix('/init.scope')}")
    return tuple(found)
