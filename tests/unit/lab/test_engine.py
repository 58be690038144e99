"""How podman is configured where it needs help, and left alone where it does not."""

import resource

from lab import engine, machines


def config(**changes):
    facts = {
        "cgroup_v1": False,
        "cgroup_v2": True,
        "can_raise_limits": True,
        "nofile": 1048576,
        "nproc": resource.RLIM_INFINITY,
    }
    return engine.container_config(engine.Host(**{**facts, **changes}))


def test_an_ordinary_machine_keeps_podmans_defaults():
    assert "runtime" not in config()
    assert "default_ulimits" not in config()


def test_a_machine_with_both_cgroup_versions_gets_runc():
    assert 'runtime = "runc"' in config(cgroup_v1=True)


def test_a_machine_with_only_the_first_version_keeps_crun():
    assert "runtime" not in config(cgroup_v1=True, cgroup_v2=False)


def test_limits_that_cannot_be_raised_are_set_below_the_machines_own():
    text = config(can_raise_limits=False, nofile=4096, nproc=96365)
    assert 'default_ulimits = ["nofile=4096:4096", "nproc=16384:16384"]' in text


def test_an_unlimited_machine_sets_no_limit():
    text = config(can_raise_limits=False, nofile=resource.RLIM_INFINITY)
    assert "default_ulimits" not in text


def test_the_facts_of_this_machine_can_be_read():
    host = engine.read_host()
    assert host.nofile > 0
    assert host.cgroup_v1 or host.cgroup_v2


def test_nodes_with_the_whole_checkout_in_them_are_told():
    seen = [
        {"Names": ["lab-web-1"], "Mounts": ["/srv/counterapp", "/srv/counterapp-wheels"]},
        {"Names": ["lab-lb-1"], "Mounts": ["/srv/counterapp/bootstrap"]},
        {"Names": ["lab-db-1"], "Mounts": None},
    ]
    assert machines.sees_too_much(seen) == ["lab-web-1"]
