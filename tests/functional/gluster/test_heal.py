"""Healing: healed and the functions under it, on copies that were made to differ."""

import concurrent.futures

import pytest

from tests.functional.gluster import nodes as storage
from tests.functional.gluster.nodes import GLUSTER, CallError, everywhere
from tests.support.waiting import until

pytestmark = pytest.mark.every_glusterfs

OLD = "older and longer"
NEW = "newer"


@pytest.fixture(scope="module")
def volume(nodes):
    """A volume that lets one copy be written alone, mounted on the first node; its name."""
    name, arguments = storage.declare(storage.join(nodes))
    storage.create(nodes, name, arguments)
    nodes[0].sh(
        f"{GLUSTER} volume set {name} cluster.quorum-type none\n"
        f"mkdir -p /mnt/{name} && mount -t glusterfs localhost:/{name} /mnt/{name}"
    )
    yield name
    nodes[0].sh(f"umount /mnt/{name}")
    storage.remove(nodes, name)


def brick(node, volume):
    return f"{node.name}:/srv/gluster/{volume}/brick"


def kill_bricks(nodes, client, volume):
    everywhere(lambda node: node.sh(f"kill -9 $(cat /run/gluster/vols/{volume}/*.pid)"), nodes)
    seen(client, volume, [node.name for node in nodes], 0)


def start_bricks(client, volume):
    client.sh(f"{GLUSTER} volume start {volume} force")
    seen(client, volume, ["db-1", "db-2", "db-3"], 1)


def seen(client, volume, names, up):
    """Wait until the mount has seen these bricks come or go: its next write depends on it."""
    told = f"/mnt/{volume}/.meta/graphs/active/{volume}-replicate-0/private"
    lines = {f"child_up[{int(name[-1]) - 1}] = {up}" for name in names}
    until(
        lambda: client.sh(f"cat {told}").splitlines(),
        30,
        f"the mount says {sorted(lines)}",
        wanted=lines.issubset,
    )


def write(client, volume, names, text):
    client.sh("\n".join(f"printf %s '{text}' > '/mnt/{volume}/{name}'" for name in names))


def tear(pool, volume, names):
    """Have files whose copy on the first node contradicts the other two; no daemon is to heal."""
    first, *others = pool
    first.sh(f"{GLUSTER} volume set {volume} cluster.self-heal-daemon off")
    write(first, volume, names, "same")
    kill_bricks(others, first, volume)
    write(first, volume, names, OLD)
    start_bricks(first, volume)
    kill_bricks([first], first, volume)
    write(first, volume, names, NEW)
    start_bricks(first, volume)


def contents(pool, volume, name):
    return everywhere(lambda node: node.sh(f"cat '/srv/gluster/{volume}/brick/{name}'"), pool)


def healed(node, volume, **keywords):
    return node.state("gluster.healed", volume, **keywords)


def test_what_waits_is_told_and_healed_when_the_brick_is_back(pool, volume):
    first, second, third = pool
    kill_bricks([third], first, volume)
    first.sh(
        f"cd /mnt/{volume}\nfor i in 1 2 3; do echo $i > file-$i; done\n"
        'touch "$(printf "odd \\\\377 \\\\001 name")" "$(printf "two\\nlines")" "<&> é"'
    )
    waiting = first.call("gluster.heal_info", volume, entries=True)
    assert waiting["total"] >= 6
    paths = {entry["path"] for entry in waiting["bricks"][0]["entries"]}
    assert {"/file-1", "/file-2", "/file-3", "/two\nlines", "/<&> é"} <= paths
    assert [item["connected"] for item in waiting["bricks"]] == [True, True, False]

    planned = healed(first, volume, test=True)
    assert planned["result"] is None
    assert set(planned["changes"]["healed"]) == {brick(first, volume), brick(second, volume)}
    late = healed(first, volume, timeout=1)
    assert (late["result"], late["changes"]) == (False, {})
    assert f"volume {volume} not healed after 1 s: " in late["comment"]
    assert f"{brick(third, volume)} cannot be asked" in late["comment"]
    assert "/file-1" in late["comment"]
    with pytest.raises(CallError, match=f"entries on {brick(first, volume)}"):
        first.call("gluster.wait_healed", volume, timeout=0)

    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        state = threads.submit(healed, second, volume, timeout=60)
        log = "/var/log/glusterfs/cmd_history.log"
        # A state that has ended has not waited for the brick; what it says is told below.
        until(
            lambda: second.sh(f"cat {log}"),
            30,
            "a heal is launched",
            wanted=lambda commands: state.done() or f"volume heal {volume} :" in commands,
        )
        start_bricks(first, volume)
        done = state.result()
    assert done["result"] is True, done
    assert set(done["changes"]["healed"]) == set(planned["changes"]["healed"])
    assert contents(pool, volume, "file-1") == ["1\n"] * 3
    again = healed(first, volume)
    assert (again["result"], again["changes"]) == (True, {})
    assert healed(first, volume, test=True)["result"] is True
    # The daemons that heal go over to the brick's new port some time after it is healed.
    until(
        lambda: first.call("gluster.heal", volume),
        30,
        "a heal can be launched",
        wanted=True,
        ignoring=(CallError,),
    )
    assert first.call("gluster.heal", volume, full=True) is True
    with pytest.raises(CallError, match="Volume nowhere does not exist"):
        first.call("gluster.heal", "nowhere")


def test_a_split_brain_is_told_and_resolved_as_said(pool, volume):
    first, second, _ = pool
    names = ["newest", "biggest", "source", "by-gfid", "same", "rest 1", "rest 2"]
    tear(pool, volume, names)

    info = first.call("gluster.heal_info", volume, entries=True)
    assert info["split_brain"] == len(names)
    gfids = {
        entry["path"]: entry["gfid"]
        for item in info["bricks"]
        for entry in item["entries"]
        if entry["split_brain"]
    }
    assert {f"/{name}" for name in names} <= set(gfids)
    reasons = first.call("gluster.healthy", volume)["reasons"]
    assert f"{len(names)} entries in split-brain on {brick(first, volume)}" in reasons
    for test in (True, False):
        refused = healed(first, volume, test=test)
        assert (refused["result"], refused["changes"]) == (False, {})
        assert f"{len(names)} files of volume {volume} are in split-brain" in refused["comment"]
        assert "/rest 2, /same, /source. Say which copy holds with resolve: " in refused["comment"]
    assert "resolve must be newest" in healed(first, volume, resolve="mine")["comment"]
    with pytest.raises(CallError, match="does not heal by itself: 7 entries on"):
        first.call("gluster.wait_healed", volume, timeout=30)

    def resolve(path, **keywords):
        return first.call("gluster.resolve_split_brain", volume, path, **keywords)

    def refusal(path, **keywords):
        with pytest.raises(CallError) as raised:
            resolve(path, **keywords)
        return str(raised.value)

    old, new = brick(first, volume), brick(second, volume)
    assert resolve("/newest") == {"resolved": ["/newest"], "failed": {}}
    assert resolve("/biggest", by="biggest") == {"resolved": ["/biggest"], "failed": {}}
    assert resolve("/source", by="source", source=old)["resolved"] == ["/source"]
    gfid = f"gfid:{gfids['/by-gfid']}"
    assert resolve(gfid, by="newest")["resolved"] == [gfid]

    assert "No such file" in refusal("/nowhere")
    assert "Lookup failed on /nowhere:No such file" in refusal("/nowhere", by="biggest")
    assert "/newest on volume" in refusal("/newest")
    assert "File not in split-brain" in refusal("/newest", by="source", source=new)
    assert "No such brick available" in refusal("/same", by="source", source="db-9:/b")
    assert "is neither a path" in refusal("same")
    assert "by must be one of" in refusal("/same", by="mine")
    assert "name the file" in refusal(None)
    assert "source is the brick" in refusal("/same", by="source")

    planned = healed(first, volume, resolve="newest", test=True)
    assert planned["result"] is None
    resolved = {"/same": "newest", "/rest 1": "newest", "/rest 2": "newest"}
    assert planned["changes"]["resolved"] == resolved
    whole = resolve(None, by="source", source=old)
    assert (len(whole["resolved"]), whole["failed"]) == (3, {})
    assert resolve(None, by="source", source=old) == {"resolved": [], "failed": {}}

    first.sh(f"{GLUSTER} volume set {volume} cluster.self-heal-daemon on")
    assert healed(first, volume, timeout=60)["result"] is True
    for name in names:
        expected = NEW if name in ("newest", "by-gfid") else OLD
        assert contents(pool, volume, name) == [expected] * 3, name


def test_the_state_resolves_where_it_is_declared(pool, volume):
    first = pool[0]
    names = ["one", "other"]
    tear(pool, volume, names)
    first.sh(f"{GLUSTER} volume set {volume} cluster.self-heal-daemon on")
    done = healed(first, volume, resolve="biggest", timeout=60)
    assert done["result"] is True, done
    assert done["changes"]["resolved"] == {"/one": "biggest", "/other": "biggest"}
    assert contents(pool, volume, "one") == [OLD] * 3
    again = healed(first, volume, resolve="biggest")
    assert (again["result"], again["changes"]) == (True, {})
