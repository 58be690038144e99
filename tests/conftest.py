"""What every test of the project shares."""

import logging
import os
import sys
from pathlib import Path

import hypothesis
import pytest

import salt  # noqa: F401 (puts its hook in place)

pytest_plugins = ["tests.support.evidence"]

# The front end's Node.js is a package of .venv.
os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

# A machine that is busy with other lanes takes its time; how long an example takes is no property.
# The lanes try the same examples each time, so that what they say of a commit stays true;
# `make drill` looks for others.
hypothesis.settings.register_profile("lanes", deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("drill", deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "lanes"))

# At DEBUG, where pytest-salt-factories has them, they tell of every file and every message to a
# server, and pytest keeps it all: a tenth of what a test computes. Ours are told apart as usual.
for name in ("pymongo", "salt"):
    logging.getLogger(name).setLevel(logging.INFO)
logging.getLogger("salt.loaded").setLevel(logging.DEBUG)

# Salt's import hook of the old kind (it works around PyNaCl's libsodium, which nothing here uses)
# has no find_spec, and pytest's importlib mode asks every hook for one.
sys.meta_path[:] = [hook for hook in sys.meta_path if hasattr(hook, "find_spec")]


@pytest.fixture(autouse=True)
def _restart_event_listener() -> None:
    """Stand in for a fixture of salt-factories: what it starts is for tests with Salt's daemons.

    Started by every lane, it would fail the first test of one whenever another program has taken
    the port that it had found free a moment before.
    """


def pytest_unconfigure() -> None:
    # Salt holds its log records back and writes them out when Python ends, to a stream that
    # pytest has closed by then; logging would print a traceback for each.
    logging.raiseExceptions = False
