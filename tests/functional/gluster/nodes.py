"""Three real storage nodes for the tests: containers with systemd, glusterd and our Salt."""

import concurrent.futures
import ipaddress
import itertools
import json
import os
import re
import subprocess
from pathlib import Path

from lab import engine, images
from lab.config import ROOT, Lab, LabError, Node
from tests.support import evidence, inside
from tests.support.waiting import until

# What each platform of the lab has: glusterfs 10 and 11. A network for each, so that both can be
# tested at once; GLUSTER_TEST_NETWORKS moves them for a second checkout on the same machine.
PLATFORMS = ("debian12", "debian13")
NETWORKS = os.environ.get("GLUSTER_TEST_NETWORKS", "192.168.36.0/24,192.168.37.0/24").split(",")
NAMES = ["db-1", "db-2", "db-3"]
GLUSTER = "gluster --mode=script"
CALLER = Path(__file__).with_name("caller.py").relative_to(ROOT)

_MINION = """\
id: {name}
file_client: local
module_dirs: [/srv/counterapp/_modules]
states_dirs: [/srv/counterapp/_states]
utils_dirs: [/srv/counterapp/_utils]
"""
_INSTALL = """\
export DEBIAN_FRONTEND=noninteractive
dpkg -s glusterfs-server >/dev/null 2>&1 ||
    apt-get install -q -y --no-install-recommends glusterfs-server glusterfs-client ||
    { apt-get update -q &&
      apt-get install -q -y --no-install-recommends glusterfs-server glusterfs-client; }
systemctl enable --quiet --now glusterd
# Names come from /etc/hosts alone: no test asks, or waits for, a name server out there.
: > /etc/resolv.conf
"""


_numbers = itertools.count(1)


def lab(platform):
    """Return the description of the three nodes on a platform."""
    network = ipaddress.IPv4Network(NETWORKS[PLATFORMS.index(platform)])
    return Lab(
        name=f"counterapp-test-gluster-{str(network[0]).replace('.', '-')}",
        topology_name="gluster-tests",
        network=network,
        vip=str(network[200]),
        nodes=tuple(
            Node(name, str(network[11 + position]), ("storage",), platform)
            for position, name in enumerate(NAMES)
        ),
        platforms={},
    )


class CallError(Exception):
    """An execution function raised; the text is what Salt said."""


# What the nodes say where an earlier test has left them otherwise than it found them.
FAILURES = (CallError, AssertionError, LabError)


class StorageNode:
    """One node, reached as root."""

    def __init__(self, lab, node):
        self.lab = lab
        self.platform = node.platform
        self.name = node.id
        self.address = node.address
        self.container = f"{lab.name}-{node.id}"
        self.salt = None

    def start(self):
        """Make the container and bring it to a running glusterd."""
        engine.podman(
            "run",
            "--detach",
            f"--name={self.container}",
            f"--hostname={self.name}",
            f"--label={engine.LABEL}={self.lab.name}",
            "--privileged",
            # They wait most of the time, and those of the longest lane shall not wait for them.
            "--cpu-shares=256",
            "--no-hosts",
            f"--network={self.lab.name}",
            f"--ip={self.address}",
            "--stop-signal=SIGRTMIN+3",
            f"--volume={ROOT}:/srv/counterapp:ro",
            "--volume=/srv/gluster",
            images.name(self.platform),
            "/sbin/init",
        )
        hosts = "".join(f"{node.address} {node.id}\n" for node in self.lab.nodes)
        self.write("/etc/hosts", f"127.0.0.1 localhost\n{hosts}")
        self.sh("mkdir -p /etc/salt-test")
        self.write("/etc/salt-test/minion", _MINION.format(name=self.name))
        self.booted()
        self.sh(_INSTALL)

    def booted(self):
        """Wait until systemd has come up."""
        until(
            lambda: self.sh("systemctl is-system-running || true").strip(),
            30,
            f"{self.name} has booted",
            wanted=lambda state: state in ("running", "degraded", "starting"),
        )

    def sh(self, script):
        """Run a shell script as root and return what it printed."""
        return inside.run(self.container, "sh", "-ec", script)

    def write(self, path, text):
        """Write a file."""
        # /etc/hosts is a mount in some setups, so it is written to, not replaced.
        self.sh(f"cat > '{path}' <<'END_OF_FILE'\n{text}END_OF_FILE\n")

    def call(self, function, *arguments, **keywords):
        """Call an execution function through Salt; raises :class:`CallError` when it does."""
        if self.salt is None or self.salt.poll() is not None:
            self.salt = subprocess.Popen(
                [
                    *("podman", "exec", "--interactive", self.container),
                    *("/opt/salt/bin/python", f"/srv/counterapp/{CALLER}", "/etc/salt-test/minion"),
                ],
                env={**os.environ, "CONTAINERS_CONF": str(engine.write_container_config())},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        self.salt.stdin.write(json.dumps([function, arguments, keywords]) + "\n")
        self.salt.stdin.flush()
        answer = json.loads(self.salt.stdout.readline())
        if "error" in answer:
            raise CallError(answer["error"])
        return answer["return"]

    def state(self, function, name, test=False, **keywords):
        """Apply one state and return its result, checked against what Salt promises for it."""
        answer = self.call("state.single", function, name, test=test, **keywords)
        assert isinstance(answer, dict), answer
        (ret,) = answer.values()
        assert ret["name"] == name
        assert isinstance(ret["changes"], dict)
        assert isinstance(ret["comment"], str)
        assert ret["comment"]
        if test:
            assert ret["result"] is not True or ret["changes"] == {}, ret
        else:
            assert ret["result"] in (True, False), ret
        return ret

    def stop(self):
        """Shut the node down."""
        if self.salt:
            self.salt.communicate()
        self.salt = None
        engine.podman("stop", "--time=20", self.container)

    def boot(self):
        """Start the node again after :meth:`stop`."""
        engine.podman("start", self.container)
        self.booted()

    def glusterd(self, verb):
        """Start or stop glusterd; on Debian its bricks and self-heal daemon go with it."""
        # Its unit allows six starts an hour.
        self.sh(f"systemctl reset-failed glusterd || true; systemctl {verb} glusterd")


def everywhere(work, nodes):
    """Run ``work`` with each node at the same time and return the results in order."""
    with concurrent.futures.ThreadPoolExecutor(len(nodes)) as pool:
        return list(pool.map(work, nodes))


def up(lab):
    """Bring up a lab's nodes, after removing those that an earlier, killed run left behind."""
    down(lab)
    evidence.watch(lab)
    engine.ensure_network(lab)
    nodes = [StorageNode(lab, node) for node in lab.nodes]
    everywhere(StorageNode.start, nodes)
    for node in nodes:
        engine.check_route(lab, node.address)
    return nodes


def down(lab):
    """Remove the nodes, their storage and their network, in whatever state they are."""
    evidence.forget(lab)
    engine.remove_containers(lab)
    engine.remove_network(lab)


def join(nodes):
    """Have the nodes in one pool, each of them connected with all others; returns them."""
    try:
        _gather(nodes)
    except FAILURES:
        # What a failed test left is no pool any more: that one has told of it.
        everywhere(_forget, nodes)
        _gather(nodes)
    return nodes


def _gather(nodes):
    if not _joined(_peers(nodes[0])):
        nodes[0].call("gluster.gather", NAMES)
    until(
        lambda: {node.name: _peers(node) for node in nodes},
        30,
        "the pool is whole",
        wanted=lambda seen: all(map(_joined, seen.values())),
    )


def _forget(node):
    """Have a glusterd begin anew, with nothing but its UUID."""
    node.glusterd("stop")
    node.sh(
        "pkill -KILL -x 'glusterfsd|glusterfs' || true; cd /var/lib/glusterd && rm -rf vols peers"
    )
    node.glusterd("start")


def _peers(node):
    """Return the states that a node sees its peers in."""
    return re.findall("^State: (.*)$", node.sh(f"{GLUSTER} peer status"), re.MULTILINE)


def _joined(peers):
    return peers.count("Peer in Cluster (Connected)") == len(NAMES) - 1


def separate(nodes):
    """Have each of the nodes in a pool of its own, without volumes; returns them."""
    try:
        _part(nodes)
    except FAILURES:
        # As in `join`.
        everywhere(_forget, nodes)
    return nodes


def _part(nodes):
    for name in nodes[0].sh("ls /var/lib/glusterd/vols").split():
        remove(nodes, name)
    for peer in nodes[1:]:
        nodes[0].sh(f"{GLUSTER} peer detach {peer.name} force || true")
    until(
        lambda: [peer for node in nodes for peer in node.sh("ls /var/lib/glusterd/peers").split()],
        15,
        "the pool has come apart",
        wanted=[],
    )


def declare(nodes):
    """Return a new volume as ``volume_present`` takes it: name and arguments."""
    name = f"v{next(_numbers)}"
    everywhere(lambda node: node.sh(f"mkdir -p /srv/gluster/{name}"), nodes)
    bricks = [f"{node.name}:/srv/gluster/{name}/brick" for node in nodes]
    return name, {"bricks": bricks, "replica": 3, "options": {"network.ping-timeout": 10}}


def create(nodes, name, arguments):
    """Create and start a declared volume without our modules; returns its name."""
    nodes[0].sh(
        f"{GLUSTER} volume create {name} replica 3 {' '.join(arguments['bricks'])}\n"
        f"{GLUSTER} volume set {name} network.ping-timeout 10\n"
        f"{GLUSTER} volume start {name}"
    )

    until(
        lambda: nodes[0].sh(f"{GLUSTER} volume status {name}").splitlines(),
        30,
        f"the bricks and self-heal daemons of {name} run",
        wanted=lambda rows: sum(row.split()[-2:-1] == ["Y"] for row in rows) == 2 * len(nodes),
    )
    return name


def remove(nodes, name):
    """Remove a volume, if it is there.

    A member that does not see another one refuses, for a while after the start of a glusterd.
    """
    until(
        lambda: nodes[0].sh(
            f"{GLUSTER} volume list | grep -qx {name} || exit 0\n"
            f"{GLUSTER} volume stop {name} force >&2 || true\n"
            f"{GLUSTER} volume delete {name} >/dev/null 2>&1 || {GLUSTER} peer status\n"
        ),
        30,
        f"volume {name} is gone",
        wanted="",
    )
