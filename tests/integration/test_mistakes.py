"""Mistakes on a command line: one sentence, exit code 1, and nothing was done.

The commands are of the Salt that nodes get, whose patch sees to what only Salt itself can: the
name of a function, and the arguments of Salt's own.
"""

import pathlib

import pytest

from tests.support.light_fleet import ROOT


@pytest.fixture(scope="module")
def run(patched_factories, tmp_path_factory):
    """Runs ``salt-run`` of a master that needs no daemon for what is refused."""
    folder = tmp_path_factory.mktemp("mistakes")
    master = patched_factories.salt_master_daemon(
        "mistaken-master",
        overrides={
            "user": "root",
            "runner_dirs": [str(ROOT / "_runners")],
            "counterapp_tree": str(ROOT),
            "counterapp_config": str(folder / "config"),
            "counterapp_state": str(folder / "state"),
            "counterapp_dist": str(folder / "dist"),
        },
    )
    # A daemon's start would make it.
    pathlib.Path(master.config["cachedir"], "proc").mkdir(parents=True, exist_ok=True)
    cli = master.salt_run_cli()

    def run(*args):
        done = cli.run(*args, _timeout=300)
        return done.returncode, done.data if done.data is not None else done.stdout

    return run


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["release.lsit"], "'release.lsit' is not available: is release.list meant?"),
        (["relaese.list"], "'relaese.list' is not available: is release.list meant?"),
        (["nothing.alike"], "'nothing.alike' is not available."),
        (
            ["state.orchestrate", "orch.rollout", "relase=1.4.0"],
            "The following keyword arguments are not valid: relase=1.4.0",
        ),
    ],
)
def test_what_only_salt_can_refuse(run, args, sentence):
    assert run(*args) == (1, sentence)


def test_a_missing_argument_of_salts_own(run):
    code, said = run("state.orchestrate")
    assert code == 1
    assert "missing 1 required positional argument: 'mods'" in said


def test_a_modules_name_alone_asks_for_what_it_has(run):
    code, said = run("release")
    assert code == 1
    assert "salt-run release.publish 1.4.0" in str(said)


@pytest.mark.parametrize(
    ("args", "failed"),
    [
        (["operator.token", "minutes=ten"], ["minutes must be a whole number, not 'ten'"]),
        (
            ["release.publish", "1.4.0", "suorce=x"],
            [
                "release.publish has no argument 'suorce': is source meant? "
                "There are version, source"
            ],
        ),
        (["release.publish"], ["release.publish needs version: it takes version, source"]),
        (["counterapp.status"], ["counterapp.status is now `salt-run fleet.status`"]),
    ],
)
def test_what_a_runner_of_ours_refuses(run, args, failed):
    assert run(*args) == (1, {"retcode": 1, "failed": failed})


def test_what_is_right_ends_with_0(run):
    assert run("release.current")[0] == 0
