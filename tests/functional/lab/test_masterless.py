"""A node without a master, set up by what docs/operating.md tells to type."""

import dataclasses
import json
import re

import pytest
import yaml

from lab import config, engine, images
from tests.support import evidence, guide, inside
from tests.support.loading import ROOT
from tests.support.waiting import PATIENCE, until

PAGE = "docs/operating.md"
ALONE = "A counter on one machine"
NETWORK = "192.168.40.0/24"
# What a state run writes although it changes nothing: Salt's own files and compiled Python.
UNWATCHED = ("/etc/salt", "/opt/salt", "*/__pycache__")


def moved(text):
    """Return a text of the page with its addresses on the network of this test."""
    return text.replace("192.168.33.", NETWORK.removesuffix("0/24"))


class Machine:
    """A fresh machine with what the page says to copy to it."""

    def __init__(self, lab, topology_folder):
        self.lab = lab
        self.node = lab.node("web-1")
        self.container = f"{lab.name}-{self.node.id}"
        self.topology_folder = topology_folder

    def start(self):
        build = config.BUILD
        trees = ("bootstrap", "salt", "pillar", *(each.name for each in ROOT.glob("_[a-z]*")))
        folders = {ROOT / tree: f"/srv/counterapp/{tree}" for tree in trees} | {
            build / "wheels": "/srv/counterapp-wheels",
            build / "artifacts": "/srv/counterapp-artifacts",
            build / "dist": "/srv/shared/releases",
            self.topology_folder: "/srv/counterapp-lab/pillar",
        }
        engine.podman(
            *("run", "--detach", f"--name={self.container}", f"--hostname={self.node.id}"),
            *(f"--label={engine.LABEL}={self.lab.name}", "--privileged", "--no-hosts"),
            *(f"--network={self.lab.name}", f"--ip={self.node.address}"),
            "--stop-signal=SIGRTMIN+3",
            *(f"--volume={host}:{there}:ro" for host, there in folders.items()),
            *(images.name(self.node.platform), "/sbin/init"),
        )
        until(
            lambda: self.run("sh", "-c", "systemctl is-system-running || true").strip(),
            60,
            "the machine has booted",
            wanted=lambda state: state in ("running", "degraded"),
        )

    def run(self, *words):
        """Run a command as root and return what it printed; one that fails is an error."""
        return inside.run(self.container, *words)

    def type(self, line):
        """Run a line of the page as root, in a shell, and return what it printed."""
        return self.run("bash", "-ec", moved(line))

    def results(self, line, fails=False):
        """Type a line that applies states and return the result of each of them."""
        whole = f"{line} --out=json --retcode-passthrough"
        if fails:
            whole = f"if {whole}; then exit 1; fi"
        answer = json.loads(self.type(whole))["local"]
        # What does not render is a list of sentences.
        assert isinstance(answer, dict), answer
        return list(answer.values())

    def has_topology(self, topology):
        """Have the machine read a topology as the default one, moved to this test's network."""
        document = {"topologies": {"default": config.moved(topology, NETWORK)}}
        text = yaml.safe_dump(document, sort_keys=False)
        (self.topology_folder / "topology.sls").write_text(text)

    def contents(self):
        """Return every file that a state could change, with owner, mode, time and size."""
        unwatched = [word for path in UNWATCHED for word in ("-path", path, "-prune", "-o")]
        return set(
            self.run(
                *("find", "/etc", "/opt", "/srv", "/usr", "/var/lib", "-xdev", *unwatched),
                *("-printf", r"%p %u:%g %m %T@ %s\n"),
            ).splitlines()
        )


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    whole = config.load("counterapp-test-masterless", "default", NETWORK)
    # The others do not run, and no failure shall name them.
    lab = dataclasses.replace(whole, nodes=(whole.node("web-1"),))
    machine = Machine(lab, tmp_path_factory.mktemp("pillar"))
    # What an earlier run left that was killed.
    engine.remove_containers(lab)
    evidence.watch(lab)
    try:
        machine.has_topology(config.read_document()["topologies"]["default"])
        engine.ensure_network(lab)
        machine.start()
        yield machine
    finally:
        evidence.forget(lab)
        engine.remove_containers(lab)
        engine.remove_network(lab)


def alone():
    """Return the lines of the subsection, and those of the section before it."""
    below = guide.section(PAGE, ALONE)
    whole = guide.section(PAGE, "Masterless")
    assert whole[-len(below) :] == below
    return below, whole[: -len(below)]


@pytest.fixture(scope="module")
def dry(machine):
    """The machine after the lines that only look, and what they would have changed."""
    _below, lines = alone()
    begin = next(n for n, line in enumerate(lines) if "state.apply" in line)
    for line in lines[:begin]:
        machine.type(line)
    before = machine.contents()
    for line in lines[begin:]:
        assert "test=True" in line
        machine.type(line)
    changed = before ^ machine.contents()
    return [result for line in lines[begin:] for result in machine.results(line)], changed


def test_a_dry_run_without_a_master_reports_no_failure(dry):
    results, _changed = dry
    assert [result for result in results if result["result"] is False] == []
    would_be = [str(result["name"]) for result in results if result["result"] is None]
    assert {"/etc/hosts", "counterapp", "/etc/counterapp/counterapp.env", "0.1.0"} <= set(would_be)


def test_a_dry_run_without_a_master_changes_nothing(machine, dry):
    _results, changed = dry
    assert changed == set()
    assert machine.run("sh", "-c", "ls -d /opt/counterapp /etc/counterapp || true") == ""


def test_a_minion_that_knows_no_master_does_not_look_for_one(machine, dry):
    # As the next start of the machine does.
    machine.run("systemctl", "start", "salt-minion")
    state = machine.run("sh", "-c", "systemctl is-active salt-minion || true")
    assert state.strip() == "inactive"


def test_a_web_server_without_a_database_says_what_it_lacks(machine, dry):
    _below, lines = alone()
    assert "test=True" in lines[-1]
    # It has to have started by then, to say what it lacks.
    seconds = int(2 * PATIENCE)
    line = lines[-1].replace(" test=True", "")
    line = line.replace("}'", f', "web": {{"ready_timeout": {seconds}}}}}\'')
    results = machine.results(line, fails=True)
    failed, _old_releases = [result for result in results if not result["result"]]
    assert "release 0.1.0 did not become ready: " in failed["comment"]
    assert f"was not ready within {seconds} s: The database has no primary" in failed["comment"]


def test_a_machine_alone_counts_and_then_stays_as_it_is(machine, dry):
    page = (ROOT / PAGE).read_text().partition(f"### {ALONE}\n")[2]
    (written,) = re.findall(r"^```yaml\n(topologies:\n.*?)^```", page, re.MULTILINE | re.DOTALL)
    machine.has_topology(yaml.safe_load(written)["topologies"]["default"])
    lines, _before = alone()
    printed = [machine.type(line) for line in lines]
    assert json.loads(printed[-1])["value"] == 1

    again = [line for line in lines if "state.apply" in line]
    assert len(again) == 3
    results = [result for line in again for result in machine.results(line)]
    assert [result for result in results if not result["result"] or result["changes"]] == []
    assert json.loads(machine.type(lines[-1]))["value"] == 2


@pytest.mark.parametrize("service", ["counterapp", "counterapp-watch"])
def test_a_daemon_that_is_stopped_is_begun_anew(machine, dry, service):
    # As the test before has left it.
    below, _lines = alone()

    def main():
        return machine.run("systemctl", "show", "--property=MainPID", "--value", service).strip()

    before = main()
    machine.run("systemctl", "kill", "--kill-who=all", "--signal=SIGSTOP", service)
    until(main, 60, f"{service} is begun anew", wanted=lambda now: now not in ("0", before))
    until(
        lambda: json.loads(machine.type(below[-1])),
        60,
        "it counts",
        wanted=lambda answer: answer["value"] > 2,
        ignoring=(engine.LabError, json.JSONDecodeError, KeyError),
    )
