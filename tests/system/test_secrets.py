"""Secrets: random enough, on the nodes that need them, and nowhere else."""

import base64
import json
import subprocess

import pytest
import yaml

from lab.config import ROOT

NAMES = (
    "mongodb_keyfile",
    "mongodb_admin",
    "mongodb_app",
    "mongodb_health",
    "mongodb_backup",
    "counterapp_operator",
)
DIRECTORY = "/etc/salt/counterapp/pillar/secrets"
AUTHORITIES = ("gluster_tls_authority.pem", "https_authority.pem")
CERTIFICATE = "https_certificate"
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


@pytest.fixture(scope="module")
def keys(cluster):
    """The private key of each node for Gluster, that of the balancers, and of both authorities."""
    found = {}
    for node in cluster.lab.nodes:
        text = cluster.master("cat", f"{DIRECTORY}/gluster_tls/{node.id}.sls")
        found[node.id] = yaml.safe_load(text)["secrets"]["gluster_tls"]["key"]
    for name in AUTHORITIES:
        text = cluster.master("cat", f"{DIRECTORY}/{name}")
        found[name] = text.partition("-----BEGIN CERTIFICATE")[0]
    text = yaml.safe_load(cluster.master("cat", f"{DIRECTORY}/{CERTIFICATE}.sls"))
    _, begin, key = text["secrets"][CERTIFICATE].partition("-----BEGIN PRIVATE KEY")
    return {**found, CERTIFICATE: begin + key}


@pytest.fixture(scope="module")
def values(secrets, keys):
    """What must be found nowhere: of a key its second line, the first is alike in all."""
    return [*secrets.values(), *(key.splitlines()[2] for key in keys.values())]


def test_each_has_256_bits(secrets):
    assert set(secrets) == set(NAMES)
    for value in secrets.values():
        standard = value.translate(str.maketrans("-_", "+/"))
        assert len(base64.b64decode(standard + "=" * (-len(value) % 4))) == 32
    assert len(set(secrets.values())) == len(NAMES)


def test_only_root_on_the_master_reads_them(cluster):
    tls = [f"{DIRECTORY}/gluster_tls/{node.id}.sls" for node in cluster.lab.nodes]
    names = (*(f"{name}.sls" for name in (*NAMES, CERTIFICATE)), *AUTHORITIES)
    files = [*(f"{DIRECTORY}/{name}" for name in names), *tls]
    modes = cluster.master("stat", "-c", "%a %U", DIRECTORY, f"{DIRECTORY}/gluster_tls", *files)
    assert modes.splitlines() == [*["700 root"] * 2, *["600 root"] * len(files)]


def test_a_minion_gets_those_of_its_role_only(cluster, keys):
    of_role = {
        "web": {"mongodb_app", "counterapp_operator"},
        "db": set(NAMES) - {"counterapp_operator"},
        "lb": {CERTIFICATE},
    }
    for node in cluster.lab.nodes:
        # Asked on the node itself, and not returned: what is unmasked must not reach a job cache.
        asked = ["salt-call", "--no-return-event", "pillar.items", "unmask=True", "--out=json"]
        pillar = json.loads(cluster.on(node.id, *asked))["local"]
        wanted = set().union(*(of_role.get(role, set()) for role in node.roles))
        assert set(pillar["secrets"]) == {"gluster_tls", *wanted}, node.id
        text = json.dumps(pillar)
        found = {name for name, key in keys.items() if key.splitlines()[2] in text}
        assert found == {node.id, *(wanted & {CERTIFICATE})}, node.id


def test_no_secret_is_in_a_log_a_job_an_argument_or_the_file_server(cluster, values):
    for node in cluster.lab.nodes:
        found = cluster.on(node.id, "python3", "-c", SEARCH, stdin="\n".join(values))
        assert found.splitlines() == [], node.id


def test_no_secret_is_in_what_commands_printed(cluster, values):
    printed = "\n".join(cluster.printed)
    assert "rolling out" in printed
    log = (cluster.lab.directory / "rollout.log").read_text()
    for value in values:
        assert value not in printed
        assert value not in log


def test_no_secret_is_in_the_repository(values):
    for value in values:
        found = subprocess.run(
            ["git", "grep", "--quiet", "--fixed-strings", "--untracked", "-e", value], cwd=ROOT
        )
        assert found.returncode == 1
