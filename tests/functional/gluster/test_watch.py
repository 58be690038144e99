"""What dies of Gluster without systemd's seeing it, brought back by the watch over daemons."""

import json

import pytest

from tests.functional.gluster import nodes as storage
from tests.support.loading import ROOT
from tests.support.waiting import until

POINT = "/srv/shared"
UNITS = "/etc/systemd/system"
KINDS = {
    "brick": "^/usr/sbin/glusterfsd .*--brick-name",
    "healer": "^/usr/sbin/glusterfs .*--process-name glustershd",
    "client": f"^/usr/sbin/glusterfs .* {POINT}$",
}


@pytest.fixture(scope="module")
def watched(nodes, lasting):
    """A node as the states leave it: confined, watched, and with the volume mounted."""
    node, volume = nodes[2], lasting
    salt = ROOT / "salt"
    node.sh(f"mkdir -p {UNITS}/glusterd.service.d /etc/counterapp")
    bricks = (salt / "storage/files/counterapp-bricks.service.jinja").read_text()
    configuration = {
        "units": {"glusterd.service": ""},
        "volume": {
            "name": volume,
            "home": "/var/lib/glusterd",
            "host": node.name,
            "path": f"/srv/gluster/{volume}/brick",
            "remedy": "counterapp-bricks.service",
        },
        "mount": POINT,
    }
    files = {
        f"{UNITS}/glusterd.service.d/counterapp.conf": "storage/files/glusterd.service.conf",
        f"{UNITS}/counterapp-watch.service": "base/files/counterapp-watch.service",
        "/usr/local/sbin/counterapp-watch": "base/files/watch.py",
    }
    for path, source in files.items():
        node.write(path, (salt / source).read_text())
    node.write(f"{UNITS}/counterapp-bricks.service", bricks.replace("{{ volume }}", volume))
    node.write("/etc/counterapp/watch.json", json.dumps(configuration) + "\n")
    node.sh("systemctl daemon-reload; systemctl restart glusterd")
    servers = [each.name for each in nodes]
    assert node.state("gluster.mounted", POINT, volume=volume, servers=servers)["result"]
    until(lambda: seen(node), 30, "all of it runs", wanted=lambda now: all(now.values()))
    node.sh("systemctl start counterapp-watch")
    yield node
    node.sh(
        "systemctl stop counterapp-watch srv-shared-retry.service srv-shared.mount\n"
        f"rm -rf /etc/counterapp {' '.join(files)} {UNITS}/counterapp-bricks.service\n"
        f"systemctl disable -q srv-shared.mount; rm -f {UNITS}/srv-shared*\n"
        "systemctl daemon-reload; systemctl restart glusterd"
    )
    storage.join(nodes)


def seen(node):
    """Return the processes by their kind."""
    return {kind: node.sh(f"pgrep -f '{words}' || true").split() for kind, words in KINDS.items()}


@pytest.mark.parametrize("signal", ["TERM", "STOP"])
def test_what_has_no_unit_is_brought_back(watched, signal):
    before = seen(watched)
    assert all(before.values())
    watched.sh(f"kill -{signal} {' '.join(sum(before.values(), []))}")
    until(
        lambda: seen(watched),
        60,
        f"all that was sent SIG{signal} is there anew",
        wanted=lambda now: all(
            now[kind] and not set(now[kind]) & set(before[kind]) for kind in now
        ),
        interval=0.5,
    )
    until(
        lambda: watched.call("gluster.mount_status", POINT),
        30,
        "the volume is mounted",
        wanted=lambda now: now["alive"] and now["active"] == "active",
    )
    watched.sh(f"echo {signal} > {POINT}/{signal}; ls {POINT}")
