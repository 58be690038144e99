"""Profiles: started, told and stopped, on real nodes."""

import pytest

from tests.functional.gluster.nodes import CallError


def test_what_the_bricks_do_is_measured(pool, lasting):
    first = pool[0]
    with pytest.raises(CallError, match=rf"Profile on Volume {lasting} is not started \(30800\)"):
        first.call("gluster.profile_info", lasting)
    assert first.call("gluster.profile_start", lasting) is True
    try:
        with pytest.raises(CallError, match="is already started"):
            first.call("gluster.profile_start", lasting)
        point = f"/mnt/{lasting}"
        first.sh(
            f"mkdir -p {point} && mount -t glusterfs localhost:/{lasting} {point}\n"
            f"dd if=/dev/zero of={point}/file bs=64k count=16 conv=fsync 2>/dev/null\n"
            f"umount {point}"
        )
        bricks = first.call("gluster.profile_info", lasting)
        assert [brick["name"] for brick in bricks] == [
            f"{node.name}:/srv/gluster/{lasting}/brick" for node in pool
        ]
        for brick in bricks:
            for part in ("cumulative", "interval"):
                seen = brick[part]
                assert seen["written"] == 1024**2
                assert seen["duration"] >= 0
                assert sum(block["writes"] for block in seen["blocks"].values()) >= 1
                write = seen["fops"]["WRITE"]
                assert write["hits"] >= 1
                # No write on this machine takes a microsecond, none takes a minute.
                assert 1 < write["min"] <= write["average"] <= write["max"] < 60_000_000

        (quiet, *_) = first.call("gluster.profile_info", lasting, part="interval")
        assert quiet["cumulative"] is None
        assert quiet["interval"]["written"] == 0
        (both, *_) = first.call("gluster.profile_info", lasting, part="cumulative", peek=True)
        assert both["interval"] is None
        assert both["cumulative"]["written"] == 1024**2
        assert first.call("gluster.profile_info", lasting, peek=True)[0]["interval"] is not None
        with pytest.raises(CallError, match="part must be 'cumulative' or 'interval'"):
            first.call("gluster.profile_info", lasting, part="all")
        assert first.call("gluster.strays", lasting, ["network.ping-timeout"]) == {}
    finally:
        assert first.call("gluster.profile_stop", lasting) is True
    with pytest.raises(CallError, match="is not started"):
        first.call("gluster.profile_stop", lasting)
    with pytest.raises(CallError, match="Volume nowhere does not exist"):
        first.call("gluster.profile_start", "nowhere")
