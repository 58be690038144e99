"""What a node that has no database loads of ours."""

import json
import subprocess
import sys

from tests.support.loading import ROOT

# What states ask for on every node. Salt's loader tries each module in whose file's name it finds
# what it is asked for, ours as well.
ASKED = (
    *("user.info", "group.info", "shadow.info", "file.stats", "pkg.version", "service.status"),
    *("cmd.run_all", "mount.active", "config.option", "saltutil.is_running", "pillar.get"),
)
PROGRAM = """
import json, sys
import salt.config, salt.loader
asked, folder, modules = json.loads(sys.argv[1])
opts = salt.config.minion_config(None)
opts.update(
    id="web-1", cachedir=folder, extension_modules=folder + "/extmods", file_client="local",
    grains={"id": "web-1", "kernel": "Linux", "os_family": "Debian", "os": "Debian"},
    module_dirs=[modules],
)
functions = salt.loader.minion_mods(opts, utils={})
found = {name: name in functions for name in asked}
print(json.dumps([found, "pymongo" in sys.modules, "mongodb.user_list" in functions]))
print("pymongo" in sys.modules)
"""


def test_what_every_node_asks_for_loads_no_driver(tmp_path):
    asked = json.dumps([ASKED, str(tmp_path), str(ROOT / "_modules")])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, asked], capture_output=True, text=True, check=True
    )
    [first, second] = done.stdout.splitlines()
    found, loaded, ours = json.loads(first)
    assert not loaded
    assert found["user.info"]
    assert found["file.stats"]
    # Where it is asked for, it is there: else nothing could have loaded it.
    assert (ours, second) == (True, "True")
