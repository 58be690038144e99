"""A real master with two minions on loopback, over our tree with harmless states in the roles.

The roles' own states would change this machine, so in the copy of the tree that the master serves
each of their SLS is one state that does nothing, does something or fails as the test says. All the
rest is the real thing: top file, guards, pillar, runners, orchestration, key store, keys,
and the strict settings that bootstrap gives to master and minions.
"""

import json
import os
import pathlib
import shutil
import tempfile
import zipfile

import pytest
import salt.utils.crypt
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from lab import wheels
from tests.support import release_archive

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLATFORMS = {"debian12": {"family": "Debian", "python": "3.11"}}
SECRETS = (
    "mongodb_keyfile",
    "mongodb_admin",
    "mongodb_app",
    "mongodb_health",
    "counterapp_operator",
)
KEPT_SLS = ("init.sls",)
ROLES = ("base", "gluster", "storage", "mongodb", "web", "lb")

HARMLESS = """\
{{%- from 'lib/cluster.jinja' import me with context %}}

{sls} on {{{{ grains.id }}}}:
  test.configurable_test_state:
    - changes: {{{{ salt['file.file_exists']('{switches}/change.{sls}.' ~ grains.id) }}}}
    - result: {{{{ not salt['file.file_exists']('{switches}/fail.{sls}.' ~ grains.id) }}}}
    - comment: as the test says
"""


def _node(address, roles):
    return {
        "address": address,
        "roles": roles,
        "lab": "debian12",
        "vm": "debian12",
        "memory": 256,
        "cpus": 1,
    }


def settings(daemon):
    """Return what bootstrap sets on every ``master`` or ``minion``."""
    text = (ROOT / f"bootstrap/files/{daemon}.conf").read_text()
    found = yaml.safe_load(text.replace("@TOPOLOGY@", "pair").replace("@MASTER@", "127.0.0.1"))
    # Paths are those of a node, the log is what these tests read, and waiting is their own matter.
    for name in list(found):
        if name.endswith(("_roots", "_dirs")) or name.startswith(("log_", "counterapp_")):
            del found[name]
    return found


class Fleet:
    """What the tests steer the fleet with, and what they look at."""

    def __init__(self, folder):
        self.folder = folder
        self.tree = folder / "salt"
        self.switches = folder / "switches"
        self.pillar = folder / "pillar"
        self.config = folder / "config"
        self.state = folder / "state"
        self.dist = folder / "dist"
        for each in (self.switches, self.pillar, self.config / "pillar/secrets", self.dist):
            each.mkdir(parents=True)
        self.nodes = {
            "alpha": _node("192.168.77.11", ["master", "web", "lb"]),
            "beta": _node("192.168.77.12", ["db", "storage"]),
        }
        self.write_topology(self.nodes)
        for name in SECRETS:
            path = self.config / f"pillar/secrets/{name}.sls"
            path.write_text(f"secrets: {{{name}: only-for-those-who-need-{name}}}\n")
        self._copy_tree()
        release_archive.archive(self.dist, "0.1.0")

    def write_topology(self, nodes):
        document = {
            "platforms": PLATFORMS,
            "topologies": {
                "pair": {"network": "192.168.77.0/24", "vip": "192.168.77.200", "nodes": nodes}
            },
        }
        (self.pillar / "topology.sls").write_text(yaml.safe_dump(document, sort_keys=False))

    def switch(self, kind, sls, node):
        """Have the SLS ``change`` something or ``fail`` on a node from now on."""
        (self.switches / f"{kind}.{sls}.{node}").touch()

    def history(self):
        path = self.state / "history.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def reset(self):
        for path in self.switches.iterdir():
            path.unlink()
        shutil.rmtree(self.state, ignore_errors=True)
        self.write_topology(self.nodes)

    def _copy_tree(self):
        shutil.copytree(ROOT / "salt", self.tree, ignore=shutil.ignore_patterns("__pycache__"))
        for role in ROLES:
            for path in (self.tree / role).glob("*.sls"):
                if path.name not in KEPT_SLS:
                    sls = f"{role}.{path.stem}"
                    path.write_text(HARMLESS.format(sls=sls, switches=self.switches))
        # Nothing that could touch this machine may be left in what the minions are given.
        for path in self.tree.rglob("*.sls"):
            if path.parent.name in ROLES:
                for line in path.read_text().splitlines():
                    assert not line.strip().startswith(("file.", "pkg.", "service.", "user.")), path


@pytest.fixture(scope="session")
def salt_factories_config():
    # Short, because the paths of the daemons' sockets lie below it.
    folder = tempfile.mkdtemp(prefix="ca-", dir="/tmp")
    yield {"root_dir": folder, "start_timeout": 60}
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def patched_factories(salt_factories, event_listener, stats_processes):
    """Makes daemons and commands of the Salt that nodes get, with our patch."""
    # Short, because the paths of the daemons' sockets lie below it.
    with tempfile.TemporaryDirectory(prefix="ca-", dir="/tmp") as folder:
        code = pathlib.Path(folder, "code")
        with zipfile.ZipFile(wheels.salt_wheel(print)) as wheel:
            wheel.extractall(code)
        yield type(salt_factories)(
            root_dir=pathlib.Path(folder, "root"),
            code_dir=code,
            start_timeout=salt_factories.start_timeout,
            event_listener=event_listener,
            stats_processes=stats_processes,
            log_server_host=salt_factories.log_server_host,
            log_server_port=salt_factories.log_server_port,
            log_server_level=salt_factories.log_server_level,
        )


@pytest.fixture(scope="session")
def fleet(tmp_path_factory):
    return Fleet(tmp_path_factory.mktemp("fleet"))


@pytest.fixture(scope="session")
def master(salt_factories, fleet):
    overrides = {
        **settings("master"),
        "user": "root",
        # These run Salt as it is published, which loses signed returns: see test_strict.py.
        "require_minion_sign_messages": False,
        "counterapp_topology": "pair",
        "counterapp_config": str(fleet.config),
        "counterapp_state": str(fleet.state),
        "counterapp_dist": str(fleet.dist),
        "file_roots": {"base": [str(fleet.tree)]},
        "pillar_roots": {
            "base": [str(fleet.pillar), str(ROOT / "pillar"), str(fleet.config / "pillar")]
        },
        "runner_dirs": [str(ROOT / "_runners")],
        "utils_dirs": [str(ROOT / "_utils")],
        "module_dirs": [str(ROOT / "_modules")],
        "cache_dirs": [str(ROOT / "_cache")],
        "timeout": 5,
        "gather_job_timeout": 5,
        "log_level_logfile": "warning",
    }
    daemon = salt_factories.salt_master_daemon(
        "integration-master",
        overrides=overrides,
        # Left alone, salt-factories accepts every key that knocks.
        on_auth_event_callback=lambda _master, _payload: None,
    )
    with daemon.started():
        yield daemon


def make_minion(master, fleet, name, roles, **overrides):
    """Return a minion that is configured but not started, and its key's fingerprint."""
    own = settings("minion")
    del own["master"]
    daemon = master.salt_minion_daemon(
        name,
        overrides={
            **own,
            "user": "root",
            "minion_sign_messages": False,
            "grains": {},
            "acceptance_wait_time": 1,
            "acceptance_wait_time_max": 1,
            "auth_timeout": 5,
            "auth_tries": 1,
            "log_level_logfile": "warning",
            **overrides,
        },
    )
    conf = pathlib.Path(daemon.config["conf_file"]).parent
    (conf / "grains").write_text(yaml.safe_dump({"roles": roles}))
    return daemon, make_key(pathlib.Path(daemon.config["pki_dir"]))


def make_key(pki, bits=2048):
    """Make a minion's key pair where it looks for one, and return its fingerprint."""
    pki.mkdir(parents=True, exist_ok=True)
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (pki / "minion.pem").write_bytes(private)
    os.chmod(pki / "minion.pem", 0o400)  # noqa: PTH101
    (pki / "minion.pub").write_bytes(public)
    return salt.utils.crypt.pem_finger(path=str(pki / "minion.pub"), sum_type="sha256")


@pytest.fixture(scope="session")
def minions(master, fleet):
    """Both minions, joined by having their fingerprints noted before they knock."""
    run = master.salt_run_cli()
    daemons = {}
    for name, node in fleet.nodes.items():
        daemon, fingerprint = make_minion(master, fleet, name, node["roles"])
        noted = run.run("enroll.expect", name, fingerprint)
        assert noted.returncode == 0, noted
        daemons[name] = daemon
    with daemons["alpha"].started(), daemons["beta"].started():
        yield daemons


@pytest.fixture
def clean(fleet, minions):
    """The fleet with nothing pending, no lock and no history."""
    fleet.reset()
    yield fleet
    fleet.reset()


@pytest.fixture(scope="session")
def salt_run(master):
    cli = master.salt_run_cli()

    def run(*args, **kwargs):
        return cli.run(*args, _timeout=90, **kwargs)

    return run


@pytest.fixture(scope="session")
def salt_cli(master):
    cli = master.salt_cli()

    def run(*args, minion_tgt, **kwargs):
        return cli.run(*args, minion_tgt=minion_tgt, _timeout=60, **kwargs)

    return run
