"""Mounts: mounted and the functions under it, on real nodes with systemd."""

import json

import pytest

from tests.functional.gluster import nodes as storage
from tests.functional.gluster.nodes import NAMES, CallError, everywhere
from tests.support.waiting import until

pytestmark = pytest.mark.every_glusterfs

POINT = "/srv/shared"
UNIT = "/etc/systemd/system/srv-shared.mount"


@pytest.fixture
def client(pool):
    """A node on which the mount point is free, before and after."""
    node = pool[2]
    yield node
    node.sh(
        "systemctl stop srv-shared-retry.service srv-shared.mount 2>/dev/null || true\n"
        f"while umount {POINT} 2>/dev/null; do :; done\n"
        "systemctl disable -q srv-shared.mount 2>/dev/null || true\n"
        "rm -f /etc/systemd/system/srv-shared*; systemctl daemon-reload"
    )


@pytest.fixture(scope="module")
def volume(nodes):
    """The name of a started volume, the same for all tests here."""
    name, arguments = storage.declare(storage.join(nodes))
    yield storage.create(nodes, name, arguments)
    storage.remove(nodes, name)


def mounted(node, volume, **changed):
    arguments = {"volume": volume, "servers": NAMES, **changed}
    return node.state("gluster.mounted", POINT, **arguments)


def status(node):
    return node.call("gluster.mount_status", POINT)


def with_units(node):
    """Return the status of the mount with what systemd says of its units."""
    units = node.sh("systemctl status srv-shared-retry.service srv-shared.mount || true")
    return {**status(node), "units": units}


def comes_alive(node, timeout):
    until(lambda: with_units(node), timeout, "the mount lives", wanted=lambda now: now["alive"])


def process(node):
    """The process ID that serves the mount."""
    return node.sh(f"pgrep -f 'glusterfs .*{POINT}$'").strip()


def test_a_volume_is_mounted_once(pool, client, volume):
    planned = mounted(client, volume, test=True)
    assert planned["result"] is None
    assert planned["changes"]["mounted"] == {"old": None, "new": f"db-1:/{volume}"}
    assert client.sh("ls /etc/systemd/system").find("srv-shared") == -1
    assert status(client)["mounted"] is False

    done = mounted(client, volume)
    assert done["result"] is True, done
    assert done["changes"] == planned["changes"]
    now = status(client)
    assert (now["count"], now["source"], now["fstype"]) == (
        1,
        f"db-1:/{volume}",
        "fuse.glusterfs",
    )
    assert now["alive"]
    assert now["enabled"]
    assert now["active"] == "active"
    client.sh(f"echo hello > {POINT}/file")
    for node in pool:
        assert node.sh(f"cat /srv/gluster/{volume}/brick/file") == "hello\n"

    pid = process(client)
    again = mounted(client, volume)
    assert (again["result"], again["changes"]) == (True, {}), again
    assert mounted(client, volume, test=True)["result"] is True
    assert process(client) == pid
    assert client.call("gluster.mount", POINT)["count"] == 1
    assert client.sh(f"cat /proc/{pid}/cgroup").rstrip().endswith("srv-shared.mount")


def test_units_that_differ_are_written_and_hold_from_the_next_mount_on(client, volume):
    mounted(client, volume)
    pid = process(client)
    options = {"options": ["log-level=ERROR"]}
    planned = mounted(client, volume, test=True, **options)
    assert planned["result"] is None
    assert "log-level=WARNING" in client.sh(f"cat {UNIT}")
    changed = mounted(client, volume, **options)
    assert changed["result"] is True
    assert list(changed["changes"]) == ["units"]
    assert "+Options=" in changed["changes"]["units"][UNIT]
    assert "to hold from the next mount on" in changed["comment"]
    assert process(client) == pid
    assert mounted(client, volume, **options)["changes"] == {}

    anew = mounted(client, volume, remount=True)
    assert anew["result"] is True
    assert anew["changes"]["mounted"]["new"] == f"db-1:/{volume}"
    assert process(client) != pid
    assert status(client)["count"] == 1


def test_the_mount_outlives_the_service_that_asked_for_it(client, volume):
    # What a minion does: a service whose processes are all killed when it restarts.
    client.sh("mkdir -p /mnt/plain")
    arguments = " ".join(
        f"'{key}={json.dumps(value)}'"
        for key, value in {"volume": volume, "servers": NAMES}.items()
    )
    client.write(
        "/root/asks",
        f"mount -t glusterfs localhost:/{volume} /mnt/plain\n"
        "/opt/salt/bin/salt-call --local --config-dir=/etc/salt-test"
        f" state.single gluster.mounted {POINT} {arguments}\n"
        "touch /run/asked\nexec sleep infinity\n",
    )
    try:
        client.sh("systemd-run --unit=asks.service sh /root/asks")
        until(
            lambda: client.sh("ls /run/asked 2>/dev/null || systemctl status asks.service || true"),
            30,
            "Salt has been asked for the mount",
            wanted="/run/asked\n",
        )
        assert status(client)["alive"]
        pid = process(client)
        assert "/mnt/plain" in client.sh("cat /proc/self/mounts")
        client.sh("systemctl stop asks.service")
        # The control: a mount made inside the service dies with it.
        assert "/mnt/plain" not in client.sh("cat /proc/self/mounts")
        client.sh(f"touch {POINT}/still-here")
        assert process(client) == pid
        assert mounted(client, volume)["changes"] == {}
    finally:
        client.sh("umount /mnt/plain || true; systemctl stop asks.service || true")


def test_a_mount_whose_process_died_is_made_anew(client, volume):
    mounted(client, volume)
    client.sh(f"kill -9 {process(client)}")
    dead = status(client)
    assert (dead["mounted"], dead["alive"]) == (True, False)
    expected = {"old": f"db-1:/{volume}, without a process", "new": f"db-1:/{volume}"}
    planned = mounted(client, volume, test=True)
    assert (planned["result"], planned["changes"]) == (None, {"mounted": expected})
    mended = mounted(client, volume)
    assert (mended["result"], mended["changes"]) == (True, {"mounted": expected}), mended
    client.sh(f"touch {POINT}/file")
    assert status(client)["count"] == 1


def test_other_mounts_are_left_alone(client, volume):
    client.sh(f"mkdir -p {POINT} && mount -t tmpfs other {POINT}")
    for test in (True, False):
        ret = mounted(client, volume, test=test, remount=True)
        assert ret["result"] is False
        assert "other of type tmpfs is mounted there" in ret["comment"]
    client.sh(f"umount {POINT}; mount -t glusterfs localhost:/{volume} {POINT}")
    ret = mounted(client, volume)
    assert ret["result"] is False
    assert f"localhost:/{volume} is mounted there, not {volume} from db-1" in ret["comment"]
    assert client.sh("ls /etc/systemd/system").find("srv-shared") == -1

    replaced = mounted(client, volume, remount=True)
    assert replaced["result"] is True, replaced
    assert replaced["changes"]["mounted"] == {
        "old": f"localhost:/{volume}",
        "new": f"db-1:/{volume}",
    }
    busy = f"cd {POINT} && exec sleep 60"
    client.sh(f"systemd-run --quiet --unit=busy.service sh -c '{busy}'")
    try:
        with pytest.raises(CallError, match="systemctl stop"):
            client.call("gluster.unmount", POINT)
    finally:
        client.sh("systemctl stop busy.service")
    assert client.call("gluster.unmount", POINT) is True
    assert status(client)["mounted"] is False


def test_what_was_mounted_is_unmounted_for_good(client, volume):
    mounted(client, volume)
    client.sh(f"echo kept > {POINT}/kept")
    planned = client.state("gluster.unmounted", POINT, test=True)
    assert planned["result"] is None
    assert planned["changes"]["mounted"] == {"old": f"db-1:/{volume}", "new": None}
    assert planned["changes"]["units"]["old"][0] == UNIT
    assert status(client)["alive"]

    client.sh(f"systemd-run --quiet --unit=busy.service sh -c 'cd {POINT} && exec sleep 60'")
    try:
        busy = client.state("gluster.unmounted", POINT)
        assert (busy["result"], busy["changes"]) == (False, {})
        assert "systemctl stop" in busy["comment"]
    finally:
        client.sh("systemctl stop busy.service")
    done = client.state("gluster.unmounted", POINT)
    assert (done["result"], done["changes"]) == (True, planned["changes"]), done
    assert client.sh("ls -a /etc/systemd/system /etc/systemd/system/*").find("srv-shared") == -1
    assert (status(client)["mounted"], status(client)["enabled"]) == (False, False)
    assert client.sh(f"cat /srv/gluster/{volume}/brick/kept") == "kept\n"

    again = client.state("gluster.unmounted", POINT)
    assert (again["result"], again["changes"]) == (True, {})
    assert client.state("gluster.unmounted", POINT, test=True)["result"] is True
    client.sh(f"mount -t tmpfs other {POINT}")
    other = client.state("gluster.unmounted", POINT)
    assert (other["result"], other["changes"]) == (False, {})
    assert "other of type tmpfs is mounted there" in other["comment"]


def test_bad_declarations_are_refused(client):
    for changed, words in (
        ({"servers": []}, "must be a list with at least one host"),
        ({"options": ["a b"]}, "is no mount option"),
        ({"volume": "a/b"}, "is no volume name"),
    ):
        ret = mounted(client, **{"volume": "shared", **changed})
        assert ret["result"] is False
        assert words in ret["comment"]


def test_a_mount_is_tried_again_until_the_volume_is_there(pool, client, declared):
    name, arguments = declared
    ret = mounted(client, name, timeout=3)
    assert ret["result"] is False
    assert "failed" in ret["comment"]
    assert "/var/log/glusterfs/srv-shared.log says " in ret["comment"]
    assert "attempts go on in the background" in ret["comment"]
    assert set(ret["changes"]) == {"units", "enabled"}
    pool[0].state("gluster.volume_present", name, **arguments)
    comes_alive(client, 25)
    again = mounted(client, name)
    assert (again["result"], again["changes"]) == (True, {})


# Mounts as glusterfs does when its volume is not there and the node is busy: mount.glusterfs has
# already failed when the file system appears, and goes again as soon as systemd has seen it, or
# when the client has been told that there is no volume.
COMES_LATE = f"""#!/bin/sh
mkdir /run/came-late 2>/dev/null || exec /usr/sbin/mount.glusterfs.real "$@"
exec 3<>/dev/fuse
mount -i -t fuse.glusterfs -o fd=3,rootmode=40000,user_id=0,group_id=0 late {POINT}
bash -c 'exec -a glusterfs bash -c "$0" wait {POINT}' '
    until systemctl is-active --quiet srv-shared.mount; do :; done
    sleep LINGERS
    exec 3>&-
    umount --lazy {POINT}
' &
exit 1
"""


@pytest.mark.parametrize("lingers", [0, 2])
def test_a_mount_that_came_late_and_left_is_tried_again(client, volume, lingers):
    mounted(client, volume)
    client.call("gluster.unmount", POINT)
    client.sh("cd /usr/sbin && mv mount.glusterfs mount.glusterfs.real")
    try:
        script = COMES_LATE.replace("LINGERS", str(lingers))
        client.write("/usr/sbin/mount.glusterfs", script)
        client.sh("chmod +x /usr/sbin/mount.glusterfs")
        now = client.call("gluster.mount", POINT, timeout=30)
        assert (now["source"], now["alive"]) == (f"db-1:/{volume}", True)
        assert client.sh("ls -d /run/came-late")
    finally:
        client.sh("cd /usr/sbin && mv mount.glusterfs.real mount.glusterfs; rm -r /run/came-late")
    assert (status(client)["source"], status(client)["count"]) == (f"db-1:/{volume}", 1)


def test_after_a_boot_without_any_brick_the_mount_comes_with_the_bricks(pool, client, volume):
    mounted(client, volume)
    client.stop()
    others = pool[:2]
    everywhere(lambda node: node.glusterd("stop"), others)
    try:
        client.boot()
        until(
            lambda: with_units(client),
            30,
            "the first attempt has failed",
            wanted=lambda now: now["active"] == "failed",
        )
    finally:
        everywhere(lambda node: node.glusterd("start"), others)
    comes_alive(client, 30)
    again = mounted(client, volume)
    assert (again["result"], again["changes"]) == (True, {})
