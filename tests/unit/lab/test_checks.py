"""What `make up` refuses to start on, each with its remedy."""

import pytest

from lab import checks
from lab.config import load


@pytest.fixture
def lab():
    return load(name="counterapp")


def test_another_user_than_root_is_told_to_use_sudo():
    assert checks.user_problems(0) == []
    assert "sudo make up" in checks.user_problems(1000)[0]


def test_a_missing_fuse_device_names_modprobe(tmp_path):
    assert "modprobe fuse" in checks.fuse_problems(tmp_path / "fuse")[0]


def test_a_regular_file_is_no_fuse_device(tmp_path):
    (tmp_path / "fuse").touch()
    assert checks.fuse_problems(tmp_path / "fuse")


def test_too_little_disk_names_the_place_and_the_need(tmp_path):
    assert checks.disk_problems([tmp_path / "not" / "there"], wanted_gib=0) == []
    (problem,) = checks.disk_problems([tmp_path / "not" / "there"], wanted_gib=10**6)
    assert str(tmp_path) in problem
    assert "1000000" in problem


@pytest.mark.parametrize(
    ("version", "words"),
    [(None, "apt-get install podman"), ("", "reinstall podman"), ("3.4.4", "too old")],
)
def test_a_podman_that_does_not_work_is_named(version, words):
    (problem,) = checks.program_problems({"podman": version})
    assert words in problem


def test_the_versions_of_debian_12_work():
    assert checks.program_problems({"podman": "4.3.1", "vagrant": "2.3.4"}) == []


def test_the_real_programs_have_versions():
    assert checks.program_version("podman")
    assert checks.program_version("no-such-program") is None


def network(name, subnet, bridge):
    return {"name": name, "subnets": [{"subnet": subnet}], "network_interface": bridge}


def test_a_route_in_the_way_is_named(lab):
    routes = [{"dst": "default", "dev": "eth0"}, {"dst": "192.168.33.0/25", "dev": "vboxnet0"}]
    (problem,) = checks.network_problems(lab, routes, [])
    assert "route to 192.168.33.0/25 through vboxnet0" in problem
    assert "LAB_NETWORK" in problem


def test_a_host_route_in_the_way_is_named(lab):
    assert checks.network_problems(lab, [{"dst": "192.168.33.9", "dev": "tun0"}], [])


def test_another_podman_network_in_the_way_is_named_once(lab):
    networks = [network("other", "192.168.0.0/16", "podman3")]
    routes = [{"dst": "192.168.0.0/16", "dev": "podman3"}]
    (problem,) = checks.network_problems(lab, routes, networks)
    assert "podman's network 'other'" in problem


def test_the_labs_own_network_is_not_in_the_way(lab):
    networks = [network(lab.name, str(lab.network), "podman1")]
    routes = [{"dst": str(lab.network), "dev": "podman1"}]
    assert checks.network_problems(lab, routes, networks) == []


def test_a_route_elsewhere_is_not_in_the_way(lab):
    assert checks.network_problems(lab, [{"dst": "10.0.0.0/8", "dev": "eth1"}], []) == []
