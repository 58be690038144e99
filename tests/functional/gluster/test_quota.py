"""Quotas: enabled, limited, enforced and told, on real nodes."""

import pytest

from tests.functional.gluster.nodes import CallError
from tests.support.waiting import until


@pytest.fixture
def mounted(pool, lasting):
    """The volume's mount point on the first node, with the directory ``/logs`` in it."""
    point = f"/mnt/{lasting}"
    pool[0].sh(
        f"mkdir -p {point} && mount -t glusterfs localhost:/{lasting} {point} && mkdir {point}/logs"
    )
    yield point
    pool[0].sh(f"umount {point}")


def test_a_quota_holds_until_it_is_removed(pool, lasting, mounted):
    first, second, _ = pool
    with pytest.raises(CallError, match=r"Quota is disabled, please enable quota \(30800\)"):
        first.call("gluster.quotas", lasting)
    assert first.call("gluster.quota_enable", lasting) is True
    assert first.call("gluster.quota_enable", lasting) is False
    assert first.call("gluster.quotas", lasting) == {}
    timeouts = {"features.hard-timeout": 0, "features.soft-timeout": 0}
    first.call("gluster.set_options", lasting, timeouts)

    set_to = first.call("gluster.quota_limit", lasting, "/logs", "4MB", soft=50)
    assert set_to == {
        "limit": 4 * 1024**2,
        "soft_limit": 2 * 1024**2,
        "soft_percent": 50,
        "used": 0,
        "available": 4 * 1024**2,
        "soft_exceeded": False,
        "exceeded": False,
        "objects": None,
    }
    first.call("gluster.quota_limit", lasting, "/", 10 * 1024**3)
    assert set(second.call("gluster.quotas", lasting)) == {"/", "/logs"}

    write = f"dd if=/dev/zero of={mounted}/logs/{{}} bs=64k count=64 conv=fsync 2>&1 || true"
    assert "exceeded" not in first.sh(write.format("a"))
    until(
        lambda: first.call("gluster.quotas", lasting)["/logs"],
        20,
        "/logs is full",
        wanted=lambda quota: quota["exceeded"],
    )
    assert "Disk quota exceeded" in first.sh(write.format("b"))
    told = second.call("gluster.quotas", lasting)["/logs"]
    assert (told["soft_exceeded"], told["available"]) == (True, 0)
    assert told["used"] >= told["limit"]

    # Strays are not what a quota sets.
    assert set(first.call("gluster.strays", lasting, ["network.ping-timeout"])) == set(timeouts)
    assert first.call("gluster.quota_unlimit", lasting, "/logs") is True
    until(
        lambda: first.sh(write.format("c")),
        20,
        "/logs takes more",
        wanted=lambda said: "exceeded" not in said,
    )
    with pytest.raises(CallError, match="/logs of volume .* has no limit"):
        first.call("gluster.quota_unlimit", lasting, "/logs")

    limited = first.call("gluster.quota_limit", lasting, "/logs", objects=5)
    assert (limited["limit"], limited["objects"]["limit"]) == (None, 5)
    assert limited["objects"]["used"] >= 3
    create = f"for n in 1 2 3 4 5 6; do touch {mounted}/logs/new$n 2>&1 || true; done"
    assert "Disk quota exceeded" in first.sh(create)

    with pytest.raises(CallError, match=rf"loses its limits \(/, /logs\): say confirm={lasting}"):
        first.call("gluster.quota_disable", lasting)
    assert set(first.call("gluster.quotas", lasting)) == {"/", "/logs"}
    assert first.call("gluster.quota_disable", lasting, confirm=lasting) is True
    with pytest.raises(CallError, match="Quota is disabled"):
        first.call("gluster.quota_disable", lasting, confirm=lasting)


def test_a_limit_that_makes_no_sense_is_refused(pool, lasting):
    first = pool[0]
    for path, keywords, words in (
        ("logs", {"size": "1GB"}, "is no directory of a volume"),
        ("/", {"size": "much"}, "is no size"),
        ("/", {"size": "1GB", "soft": 120}, "is no soft limit"),
        ("/", {"objects": 0}, "is no number of files"),
        ("/", {}, "give size or objects"),
        ("/", {"size": "1GB"}, "Quota is disabled"),
    ):
        with pytest.raises(CallError, match=words):
            first.call("gluster.quota_limit", lasting, path, **keywords)
    first.call("gluster.quota_enable", lasting)
    try:
        with pytest.raises(CallError, match="path /nowhere. Reason : No such file or directory"):
            first.call("gluster.quota_limit", lasting, "/nowhere", "1GB")
    finally:
        first.call("gluster.quota_disable", lasting, confirm=lasting)
    with pytest.raises(CallError, match="Volume does not exist"):
        first.call("gluster.quota_enable", "nowhere")
