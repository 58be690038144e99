"""Secrets: random enough, on the nodes that need them, and nowhere else."""

import base64
import subprocess

import pytest
import yaml

from lab.config import ROOT

NAMES = ("mongodb_keyfile", "mongodb_admin", "mongodb_app", "vrrp")
DIRECTORY = "/etc/salt/counterapp/pillar/secrets"
# Run on a node: says where one of the patterns on its standard input stands.
SEARCH = """
import pathlib, sys
values = sys.stdin.read().split()
folders = ("/var/log", "/var/cache/salt/master/jobs", "/var/lib/counterapp", "/srv/counterapp/salt")
paths = [p for f in folders for p in pathlib.Path(f).rglob("*") if p.is_file()]
for path in [*paths, *pathlib.Path("/proc").glob("[0-9]*/cmdline")]:
    try:
        content = path.read_bytes()
    except OSError:  # a process that ended while we looked
        continue
    if any(value.encode() in content for value in values):
        print(path)
"""


@pytest.fixture(scope="module")
def secrets(cluster):
    found = {}
    for name in NAMES:
        found.update(yaml.safe_load(cluster.master("cat", f"{DIRECTORY}/{name}.sls"))["secrets"])
    return found


def test_each_has_256_bits(secrets):
    assert set(secrets) == set(NAMES)
    for value in secrets.values():
        standard = value.translate(str.maketrans("-_", "+/"))
        assert len(base64.b64decode(standard + "=" * (-len(value) % 4))) == 32
    assert len(set(secrets.values())) == len(NAMES)


def test_only_root_on_the_master_reads_them(cluster):
    files = [f"{DIRECTORY}/{name}.sls" for name in NAMES]
    modes = cluster.master("stat", "-c", "%a %U", DIRECTORY, *files)
    assert modes.splitlines() == ["700 root", *["600 root"] * len(NAMES)]


def test_a_minion_gets_those_of_its_role_only(cluster):
    of_role = {
        "web": {"mongodb_app"},
        "db": {"mongodb_keyfile", "mongodb_admin", "mongodb_app"},
        "lb": {"vrrp"},
    }
    pillars = cluster.salt("*", "pillar.items")
    for node in cluster.lab.nodes:
        wanted = set().union(*(of_role.get(role, set()) for role in node.roles))
        assert set(pillars[node.id].get("secrets", {})) == wanted, node.id


def test_no_secret_is_in_a_log_a_job_an_argument_or_the_file_server(cluster, secrets):
    for node in cluster.lab.nodes:
        found = cluster.on(node.id, "python3", "-c", SEARCH, stdin="\n".join(secrets.values()))
        assert found.splitlines() == [], node.id


def test_no_secret_is_in_what_a_run_printed(cluster, secrets, first_rollout):
    code, output = cluster.rollout()
    printed = first_rollout.run.text + first_rollout.killed.text + output
    log = (cluster.lab.directory / "rollout.log").read_text()
    for value in secrets.values():
        assert value not in printed
        assert value not in log


def test_no_secret_is_in_the_repository(secrets):
    for value in secrets.values():
        found = subprocess.run(
            ["git", "grep", "--quiet", "--fixed-strings", "--untracked", "-e", value], cwd=ROOT
        )
        assert found.returncode == 1
