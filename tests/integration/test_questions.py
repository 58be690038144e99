"""What a run of states asks the master's file server, with the Salt that nodes get."""

import pathlib
import re
import shutil

import pytest

from tests.support.light_fleet import make_key

MODULE = '"""A module."""\n\n\ndef told():\n    """Return what it is for."""\n    return {!r}\n'
STATE = "told:\n  test.nop:\n    - name: {{ salt['asked.told']() }}\n"
FILES = 20


class Tree:
    """A master whose trace tells each question, its minion, and the files that it serves."""

    def __init__(self, master, run, folder):
        self._log = pathlib.Path(master.config["log_file"])
        self._run = run
        self.folder = folder

    def apply(self):
        """Apply the state; return its name, and the questions about files that it took."""
        before = self._log.stat().st_size
        done = self._run("state.apply", minion_tgt="gamma").data
        assert isinstance(done, dict), done
        [state] = done.values()
        assert state["result"], state
        with self._log.open() as log:
            log.seek(before)
            asked = re.findall(r"AES payload received with command (_file_\w+)", log.read())
        return state["name"], asked


@pytest.fixture
def tree(patched_factories, tmp_path):
    folder = tmp_path / "tree"
    modules = folder / "_modules"
    modules.mkdir(parents=True)
    (folder / "top.sls").write_text("base:\n  gamma:\n    - told\n")
    (folder / "told.sls").write_text(STATE)
    (modules / "asked.py").write_text(MODULE.format("first"))
    for number in range(FILES):
        (modules / f"other_{number}.py").write_text(MODULE.format(number))
    common = {"user": "root", "state_events": False}
    master = patched_factories.salt_master_daemon(
        "asked-master",
        overrides={
            **common,
            "open_mode": False,
            "auto_accept": False,
            "worker_threads": 2,
            "file_roots": {"base": [str(folder)]},
            "fileserver_list_cache_time": 0,
            "log_level_logfile": "trace",
            "log_file": str(tmp_path / "master.log"),
        },
        on_auth_event_callback=lambda _master, _payload: None,
    )
    minion = master.salt_minion_daemon(
        "gamma", overrides={**common, "grains": {}, "enable_fqdns_grains": False}
    )
    pki = pathlib.Path(minion.config["pki_dir"])
    make_key(pki)
    accepted = pathlib.Path(master.config["pki_dir"]) / "minions"
    accepted.mkdir(parents=True, exist_ok=True)
    shutil.copy(pki / "minion.pub", accepted / "gamma")
    cli = master.salt_cli()

    def run(*args, minion_tgt):
        return cli.run(*args, minion_tgt=minion_tgt, _timeout=180)

    with master.started(), minion.started():
        yield Tree(master, run, folder)


def test_a_run_asks_once_for_all_hashes_and_sees_each_change_of_a_module(tree):
    assert tree.apply()[0] == "first"
    name, asked = tree.apply()
    # Salt as it is published asks one for each kind of module, and one for each file.
    assert (name, "_file_hashes" in asked, len(asked) < 8) == ("first", True, True), asked
    module = tree.folder / "_modules" / "asked.py"
    module.write_text(MODULE.format("second"))
    assert tree.apply()[0] == "second"
    # One that is new, and one that is gone.
    module.rename(module.with_name("newer.py"))
    (tree.folder / "told.sls").write_text(STATE.replace("asked.told", "newer.told"))
    assert tree.apply()[0] == "second"
    gone = "{{ 'here' if 'asked.told' in salt else 'gone' }}"
    (tree.folder / "told.sls").write_text(STATE.replace("{{ salt['asked.told']() }}", gone))
    assert tree.apply()[0] == "gone"
