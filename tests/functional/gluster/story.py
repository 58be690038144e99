"""What the example of each Gluster function needs and does: one story, told in order.

Each part has its function's name. It makes so what has to be so before the example runs, yields,
and looks at the example's answer and at what was done. ``test_examples.py`` runs them.
"""

from tests.functional.gluster import nodes as storage
from tests.functional.gluster.nodes import everywhere
from tests.support.waiting import until

VOLUME = "shared"
BRICKS = [f"{name}:/srv/gluster/shared/brick" for name in storage.NAMES]
POINT = "/srv/shared"
SECOND_SET = [f"{name}:/bricks/b" for name in storage.NAMES]
# Where a glusterd keeps who it is.
IDENTITY = "/var/lib/glusterd/glusterd.info"
# Where the tests themselves mount the volume.
HAND = "/mnt/shared"

STORY = {}


def part(tell):
    """Enter a function's part of the story; it has the function's name."""
    STORY[tell.__name__] = tell
    return tell


# A pool


@part
def set_op_version(site):
    # A glusterd that is alone takes back what a pool could never: the version of an older release.
    site.gluster("system:: uuid get")
    site.first.sh(
        "systemctl kill --signal=KILL glusterd; systemctl stop glusterd\n"
        f"sed -i 's/^operating-version=.*/operating-version=90000/' {IDENTITY}\n"
        "systemctl reset-failed glusterd; systemctl start glusterd"
    )
    assert site.first.call("gluster.op_version") == 90000
    assert (yield) == 100000


@part
def gather(site):
    added = yield
    assert added == ["db-2", "db-3"]


def until_written(site, node, stay):
    """Wait until the peers that glusterds have written down are those that stay.

    glusterd answers that one is detached before both sides have forgotten it, and one that is
    probed meanwhile would be forgotten as well.
    """
    for each, number in ((site.first, stay), (node, 0)):
        until(
            lambda each=each: len(each.sh("ls /var/lib/glusterd/peers").split()),
            30,
            "the peers are written down",
            wanted=number,
        )


@part
def detach(site):
    assert (yield) is True
    assert [peer["hostname"] for peer in site.first.call("gluster.peers")] == ["db-2"]
    until_written(site, site.nodes[2], 1)
    site.gluster("peer probe db-3")


@part
def probe(site):
    # A pool lets none go while one of it is not connected.
    site.first.call("gluster.wait_peers", storage.NAMES)
    site.gluster("peer detach db-2")
    until_written(site, site.nodes[1], 1)
    answer = yield
    assert (answer["host"], answer["added"]) == ("db-2", True)


@part
def wait_peers(site):
    peers = yield
    assert [peer["ready"] for peer in peers] == [True, True]


@part
def wait_met(site):
    assert (yield) is True


@part
def unmet(site):
    assert (yield) == []


@part
def peers(site):
    answer = yield
    assert [peer["hostname"] for peer in answer] == ["db-2", "db-3"]


@part
def find_peers(site):
    found = yield
    assert [found[name]["member"] for name in storage.NAMES] == [True] * 3
    assert found["db-1"]["self"] is True


@part
def is_member(site):
    assert (yield) is True


@part
def version(site):
    assert (yield).split(".")[0] == {"debian12": "10", "debian13": "11"}[site.first.platform]


@part
def op_version(site):
    assert (yield) == 100000


@part
def max_op_version(site):
    answer = yield
    assert answer == int(site.first.call("gluster.version").split(".")[0]) * 10000
    if answer > 100000:
        site.gluster(f"volume set all cluster.op-version {answer}")


# A volume


@part
def create(site):
    made = yield
    assert (made["replica"], len(made["bricks"]), made["status"]) == (3, 3, "Created")
    storage.remove(site.nodes, made["name"])
    site.gluster(f"volume create {VOLUME} replica 3 {' '.join(BRICKS)}")


@part
def start(site):
    assert site.info()["started"] is False
    assert (yield) is True
    assert site.info()["started"] is True


@part
def wait_online(site):
    bricks = yield
    assert [brick["name"] for brick in bricks] == BRICKS
    assert all(brick["online"] for brick in bricks)


@part
def volumes(site):
    assert (yield) == [VOLUME]


@part
def info(site):
    made_of = yield
    assert [brick["name"] for brick in made_of["bricks"]] == BRICKS


@part
def status(site):
    state = yield
    assert all(brick["online"] and brick["size_free"] > 0 for brick in state["bricks"])


@part
def healthy(site):
    until(
        lambda: site.first.call("gluster.healthy", VOLUME)["reasons"],
        30,
        "the volume is healthy",
        wanted=[],
    )
    assert (yield) == {"healthy": True, "reasons": []}


# Its options


@part
def known_options(site):
    assert "network.ping-timeout" in (yield)


@part
def check_options(site):
    before = site.info()["options"]
    assert (yield) == {"network.ping-timeout": "10"}
    assert site.info()["options"] == before


@part
def set_option(site):
    assert (yield) == "10"
    assert site.info()["options"]["network.ping-timeout"] == "10"


@part
def option(site):
    assert (yield) == {"value": "10", "default": False}


@part
def options(site):
    assert (yield)["network.ping-timeout"] == {"value": "10", "default": False}


@part
def strays(site):
    site.gluster(f"volume set {VOLUME} performance.cache-size 64MB")
    assert (yield) == {"performance.cache-size": "64MB"}
    site.gluster(f"volume reset {VOLUME} performance.cache-size")


@part
def reset_option(site):
    yield
    assert "network.ping-timeout" not in site.info()["options"]


@part
def set_options(site):
    done = yield
    assert done == {"network.ping-timeout": "10", "cluster.quorum-type": "auto"}
    assert {name: site.info()["options"][name] for name in done} == done


@part
def reset_options(site):
    yield
    assert "network.ping-timeout" not in site.info()["options"]


# Its quota and its profile


@part
def quota_enable(site):
    assert (yield) is True


@part
def quota_limit(site):
    answer = yield
    assert (answer["limit"], answer["soft_percent"]) == (100 * 1024**3, 90)


@part
def quotas(site):
    assert (yield)["/"]["limit"] == 100 * 1024**3


@part
def quota_unlimit(site):
    assert (yield) is True
    assert site.first.call("gluster.quotas", VOLUME) == {}


@part
def quota_disable(site):
    assert (yield) is True
    assert site.info()["options"].get("features.quota") in (None, "off")


@part
def profile_start(site):
    assert (yield) is True


@part
def profile_info(site):
    site.mount()
    site.first.sh(f"echo measured > {HAND}/measured")
    assert all(brick["cumulative"]["fops"]["WRITE"]["hits"] for brick in (yield))


@part
def profile_stop(site):
    assert (yield) is True


# Copies that differ


@part
def heal_info(site):
    site.mount()
    site.kill_brick(site.third)
    site.first.sh(f"echo meanwhile > {HAND}/meanwhile")
    answer = yield
    assert "/meanwhile" in {entry["path"] for entry in answer["bricks"][0]["entries"]}
    site.start_bricks()


@part
def wait_healed(site):
    assert (yield)["total"] == 0
    assert site.third.sh("cat /srv/gluster/shared/brick/meanwhile") == "meanwhile\n"


@part
def heal(site):
    assert (yield) is True


@part
def restart(site):
    def processes():
        bricks = site.first.call("gluster.status", VOLUME)["bricks"]
        return [brick["pid"] for brick in bricks]

    before = processes()
    assert (yield) == BRICKS[:1]
    assert [old == new for old, new in zip(before, processes(), strict=True)] == [False, True, True]
    site.healed()


@part
def resolve_split_brain(site):
    # While the volume still wants most of the copies, and heals the one that was late.
    site.first.sh(f"echo whole > {HAND}/torn")
    site.healed()
    for option in (
        "cluster.quorum-type none",
        *(f"cluster.{which} off" for which in ("self-heal-daemon", "data-self-heal")),
        *(f"cluster.{which} off" for which in ("metadata-self-heal", "entry-self-heal")),
    ):
        site.gluster(f"volume set {VOLUME} {option}")
    # Two sides that write in turn, neither of which sees the other.
    for text, away in (("first", site.nodes[1:]), ("second", site.nodes[:1])):
        site.unmount()
        everywhere(site.kill_brick, away)
        site.mount()
        site.first.sh(f"echo {text} > {HAND}/torn")
        site.start_bricks()
    assert site.first.call("gluster.heal_info", VOLUME)["split_brain"] == 1
    answer = yield
    assert (len(answer["resolved"]), answer["failed"]) == (1, {})
    texts = everywhere(lambda node: node.sh("cat /srv/gluster/shared/brick/torn"), site.nodes)
    assert texts == ["first\n"] * 3
    site.gluster(f"volume reset {VOLUME}")
    site.healed()


# A disk that is lost


@part
def lost_bricks(site):
    site.kill_brick(site.first)
    site.first.sh("rm -rf /srv/gluster/shared/brick")
    assert [lost["name"] for lost in (yield)] == BRICKS[:1]


@part
def reset_brick(site):
    assert (yield)["brick"] == BRICKS[0]
    site.healed()
    assert site.first.sh("cat /srv/gluster/shared/brick/torn") == "first\n"


# Its mount on a client


@part
def mount_units(site):
    changes = yield
    assert set(changes) == {"units", "enabled"}
    assert "srv-shared" not in site.third.sh("ls /etc/systemd/system")


@part
def mount(site):
    site.third.call("gluster.mount_units", POINT, VOLUME, storage.NAMES)
    assert (yield)["alive"] is True
    site.third.sh(f"mountpoint {POINT}")


@part
def mount_status(site):
    answer = yield
    assert (answer["mounted"], answer["source"]) == (True, f"db-1:/{VOLUME}")


@part
def wait_connected(site):
    assert (yield) is True


@part
def unmount(site):
    assert (yield) is True
    site.third.sh(f"! mountpoint -q {POINT}")


# More bricks, fewer, others


@part
def hindrances(site):
    assert (yield) == []


@part
def add_bricks(site):
    assert (yield)["distribute"] == 2
    assert site.bricks() == BRICKS + SECOND_SET


@part
def rebalance(site):
    site.mount()
    site.first.sh(f"cd {HAND}; for number in $(seq 100); do echo > file$number; done")
    assert (yield) == site.first.call("gluster.rebalance_status", VOLUME)["task"]


@part
def rebalance_status(site):
    assert (yield)["status"] in ("in progress", "completed")


@part
def wait_rebalanced(site):
    assert (yield)["status"] == "completed"
    assert "file" in site.first.sh("ls /bricks/b")


@part
def rebalance_stop(site):
    assert (yield)["status"] in ("completed", "stopped")
    assert site.first.call("gluster.rebalance_status", VOLUME)["status"] == "not started"


@part
def remove_bricks(site):
    yield
    status = site.first.call("gluster.remove_status", VOLUME, SECOND_SET)["status"]
    assert status in ("in progress", "completed")


@part
def remove_status(site):
    assert (yield)["status"] in ("in progress", "completed")


@part
def remove_stop(site):
    yield
    status = site.first.call("gluster.remove_status", VOLUME, SECOND_SET)["status"]
    assert status in ("not started", "stopped")


@part
def wait_emptied(site):
    site.first.call("gluster.remove_bricks", VOLUME, SECOND_SET)
    assert (yield)["status"] == "completed"


@part
def files_on(site):
    answer = yield
    assert all(path.startswith("/") for paths in answer.values() for path in paths)
    held = site.third.sh(
        f"find {BRICKS[2].partition(':')[2]} -path '*/.glusterfs*' -prune -o -type f -print"
    )
    assert bool(held) == bool(answer)


@part
def remove_commit(site):
    yield
    assert site.bricks() == BRICKS
    assert site.first.sh(f"ls {HAND} | grep -c file").strip() == "100"


@part
def replace_brick(site):
    yield
    assert site.bricks() == [*BRICKS[:2], "db-3:/bricks/c"]
    until(
        lambda: site.third.sh("ls /bricks/c").split(),
        60,
        "the last file is on the new brick",
        wanted=lambda names: "file100" in names,
    )


# A machine that is lost


@part
def replaced(site):
    assert (yield) == []


@part
def rejoin(site):
    before = site.first.sh(f"cat {IDENTITY}")
    site.unmount()
    site.first.sh(
        "systemctl stop glusterd; pkill -9 gluster || true\n"
        "cd /var/lib/glusterd; rm -rf glusterd.info peers/* vols/* glustershd/*\n"
        "rm -rf /srv/gluster/shared/brick\n"
        "systemctl start glusterd"
    )
    assert site.first.sh(f"cat {IDENTITY} || true") != before
    answer = yield
    assert (answer["identity"], answer["volumes"]) == (True, [VOLUME])
    assert site.first.sh(f"cat {IDENTITY}") == before
    assert list(answer["bricks"]) == BRICKS[:1]


# The end of a mount and a volume


@part
def remove_mount_units(site):
    assert "/etc/systemd/system/srv-shared.mount" in (yield)
    assert "srv-shared.mount" in site.third.sh("ls /etc/systemd/system")


@part
def stop(site):
    assert (yield) is True
    assert site.info()["status"] == "Stopped"


@part
def delete(site):
    assert (yield) is True
    assert site.first.call("gluster.volumes") == []
