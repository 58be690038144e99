"""A real master with two minions on loopback, over the tree of ``tests/support/light_fleet.py``."""

import contextlib
import os
import pathlib
import shutil
import tempfile
import zipfile

import pytest
import yaml
from saltfactories.plugins.event_listener import EventListener

from lab import wheels
from tests.support import light_fleet
from tests.support.light_fleet import Fleet, make_key, settings

NODES = {
    "alpha": light_fleet.node("192.168.77.11", ["master", "web", "lb"]),
    "beta": light_fleet.node("192.168.77.12", ["db", "storage"]),
}


@pytest.fixture(scope="session")
def fleet(tmp_path_factory):
    return Fleet(tmp_path_factory.mktemp("fleet"), NODES)


@pytest.fixture(scope="session")
def package(fleet):
    """The Python of daemons and commands has our package, as a master's has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(fleet.python), prepend=os.pathsep)
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
