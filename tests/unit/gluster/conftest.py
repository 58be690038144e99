"""Answers recorded from real glusterd, versions 10.3 and 11.1, by `gluster --mode=script --xml`."""

import functools
import pathlib

import pytest

from tests.support.loading import load

ANSWERS = pathlib.Path(__file__).parent / "answers"


@pytest.fixture(params=["10", "11"])
def version(request):
    """A glusterfs release; a test that asks for it runs once for each."""
    return request.param


@pytest.fixture
def answer(version):
    """Return a recorded answer as ``cmd.run_all`` returns it."""

    def read(name, retcode=0):
        text = (ANSWERS / version / f"{name}.xml").read_text(encoding="utf-8")
        return {"retcode": retcode, "stdout": text, "stderr": "", "pid": 1}

    return read


@pytest.fixture
def parsed(answer):
    """Return a recorded answer, parsed."""
    utils = load("_utils/gluster.py")
    return lambda name: utils.reply(["volume"], answer(name))


@pytest.fixture
def utils_of(monkeypatch):
    """Return what makes ``__utils__`` of some files, on a node that has each command.

    What is tried again there is tried at once.
    """

    def made(files):
        utils = load("_utils/gluster.py")
        monkeypatch.setattr(utils.salt.utils.path, "which", lambda command: f"/usr/sbin/{command}")
        hasty = functools.partial(utils.attempts, pause=0.01)
        monkeypatch.setattr(utils, "attempts", hasty)
        return {
            f"{file}.{name}": value
            for file in files
            for name, value in vars(load(f"_utils/{file}.py")).items()
            if name[0] != "_"
        }

    return made
