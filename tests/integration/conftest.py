"""A real master with two minions on loopback, over our tree with harmless states in the roles.

The roles' own states would change this machine, so in the copy of the tree that the master makes
revisions of each of their SLS is one state that does nothing, does something or fails as the test
says. All the rest is the real thing: revisions and environments, top files, guards, pillar,
runners, orchestration, key store, keys, and the strict settings that bootstrap gives to master and
minions.
"""

import contextlib
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
from saltfactories.plugins.event_listener import EventListener

from fleet import files
from fleet import revision as revisions
from fleet.master import Master
from lab import wheels
from tests.support import release_archive

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLATFORMS = {"debian12": {"family": "Debian", "python": "3.11"}}
SECRETS = (
    "mongodb_keyfile",
    "mongodb_admin",
    "mongodb_app",
    "mongodb_health",
    "https_certificate",
    "mongodb_backup",
    "counterapp_operator",
)
KEPT_SLS = ("init.sls",)
ROLES = ("base", "gluster", "storage", "db", "web", "lb")
#: What the web servers are said to serve.
RELEASE = "0.1.0"

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
    """
    What the tests steer the fleet with, and what they look at.

    ``checkout`` is what revisions are made from; what is edited there, in ``tree`` (its states) and
    in ``pillar`` (before its pillar), is as it was after the test. ``notes`` is the pillar folder
    of what is no part of a revision.
    """

    def __init__(self, folder):
        self.folder = folder
        self.checkout = folder / "checkout"
        self.tree = self.checkout / "salt"
        self.switches = folder / "switches"
        self.pillar = folder / "pillar"
        self.config = folder / "config"
        self.notes = self.config / "pillar"
        self.state = folder / "state"
        self.dist = folder / "dist"
        for each in (self.switches, self.pillar, self.notes / "secrets", self.dist):
            each.mkdir(parents=True)
        self.nodes = {
            "alpha": _node("192.168.77.11", ["master", "web", "lb"]),
            "beta": _node("192.168.77.12", ["db", "storage"]),
        }
        for name in SECRETS:
            path = self.notes / f"secrets/{name}.sls"
            path.write_text(f"secrets: {{{name}: only-for-those-who-need-{name}}}\n")
        # As bootstrap has it, on a master and in its Python.
        (folder / "orchestrations").mkdir()
        (folder / "orchestrations/orch").symlink_to(self.tree / "orch")
        (folder / "python").mkdir()
        (folder / "python/fleet").symlink_to(ROOT / "fleet")
        release_archive.archive(self.dist, RELEASE)
        self.bare()

    @property
    def opts(self):
        """What of the master's configuration says where this fleet has what."""
        state, notes = self.state, str(self.notes)
        return {
            "counterapp_topology": "pair",
            "counterapp_tree": str(self.checkout),
            "counterapp_pillar": [str(self.pillar)],
            "counterapp_config": str(self.config),
            "counterapp_state": str(state),
            "counterapp_dist": str(self.dist),
            "file_roots": {
                "base": [str(state / "base/salt"), str(self.folder / "orchestrations")],
                "candidate": [str(state / "candidate/salt")],
            },
            "pillar_roots": {
                "base": [str(state / "base/pillar"), notes],
                "candidate": [str(state / "candidate/pillar"), notes],
            },
        }

    @property
    def master(self):
        return Master({"id": "integration-master", **self.opts})

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

    def capture(self):
        """Return the revision of what is in the checkout now."""
        return revisions.capture(self.master, RELEASE)

    def settle(self):
        """Have what is in the checkout be what the fleet is on, as after a rollout; return it."""
        revision = self.capture()
        revisions.settle(revision)
        return revision

    def history(self):
        path = self.state / "history.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def bare(self):
        """Be as bootstrap leaves a fleet: nothing was rolled out yet, and nothing is pending."""
        for path in self.switches.iterdir():
            path.unlink()
        shutil.rmtree(self.state, ignore_errors=True)
        files.write_json(self.notes / "moving.yaml", {})
        self.write_topology(self.nodes)
        self._copy_tree()

    def reset(self):
        """Be on what is in the repository, with nothing pending, no lock and no history."""
        self.bare()
        self.settle()

    def _copy_tree(self):
        shutil.rmtree(self.checkout, ignore_errors=True)
        for name in ("salt", "pillar", "_modules", "_states", "_utils"):
            shutil.copytree(
                ROOT / name,
                self.checkout / name,
                symlinks=True,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
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
def fleet(tmp_path_factory):
    return Fleet(tmp_path_factory.mktemp("fleet"))


@pytest.fixture(scope="session")
def package(fleet):
    """The Python of daemons and commands has our package, as a master's has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(fleet.folder / "python"), prepend=os.pathsep)
        yield


@pytest.fixture(scope="session")
def event_listener():
    """What salt-factories has the daemons tell their events to, on a port that is free."""
    with contextlib.ExitStack() as listening:
        yield _listener(listening)


def _listener(listening, tries=3):
    try:
        return listening.enter_context(EventListener())
    except RuntimeError:
        # Its port was free a moment before.
        if tries == 1:
            raise
        return _listener(listening, tries - 1)


@pytest.fixture(scope="session")
def salt_factories_config(package):
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
def master(salt_factories, fleet):
    overrides = {
        **settings("master"),
        "user": "root",
        # These run Salt as it is published, which loses signed returns: see test_strict.py.
        "require_minion_sign_messages": False,
        **fleet.opts,
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
    """
    Both minions, joined by having their fingerprints noted before they knock.

    As after a rollout they have our modules.
    """
    run = master.salt_run_cli()
    daemons = {}
    for name, node in fleet.nodes.items():
        daemon, fingerprint = make_minion(master, fleet, name, node["roles"])
        noted = run.run("enroll.expect", name, fingerprint, _timeout=300)
        # A runner that Salt cannot load ends with 0 as well.
        assert noted.data["id"] == name, noted
        daemons[name] = daemon
    with daemons["alpha"].started(), daemons["beta"].started():
        # The daemons have made the folders that they are to serve.
        fleet.bare()
        fleet.settle()
        synced = master.salt_cli().run("saltutil.sync_all", minion_tgt="*", _timeout=180)
        assert set(synced.data) == set(daemons), synced
        yield daemons


@pytest.fixture
def clean(fleet, minions):
    """The fleet on what is in the repository, with nothing pending, no lock and no history."""
    fleet.reset()
    yield fleet
    fleet.reset()


@pytest.fixture(scope="session")
def salt_run(master):
    cli = master.salt_run_cli()

    def run(*args, **kwargs):
        return cli.run(*args, _timeout=300, **kwargs)

    return run


@pytest.fixture(scope="session")
def salt_cli(master):
    cli = master.salt_cli()

    def run(*args, minion_tgt, **kwargs):
        return cli.run(*args, minion_tgt=minion_tgt, _timeout=180, **kwargs)

    return run
