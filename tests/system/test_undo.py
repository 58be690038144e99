"""A release that turns bad on the way is taken back everywhere, and nobody notices."""

import os
import shutil
import subprocess
import sys

import pytest

from lab import up
from lab.config import ROOT
from tests.system.conftest import BAD

_ASKED = '''        """Return None when traffic may come'''
_REFUSES = """        if self._node == "web-2":
            return "this release is never ready on web-2"
"""


@pytest.fixture
def bad_release(tmp_path):
    """A release, built as any other, that is ready on web-1 and never on web-2."""
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "app", tree / "app", ignore=shutil.ignore_patterns("node_modules"))
    shutil.copytree(ROOT / "pillar", tree / "pillar")
    for folder in ("build", "app/frontend/node_modules"):
        (tree / folder).symlink_to(ROOT / folder)
    readiness = tree / "app" / "backend" / "src" / "counterapp" / "readiness.py"
    before, asked, after = readiness.read_text().partition(_ASKED)
    assert asked, "readiness.py is not what this test knows"
    docstring, quotes, body = after.partition('"""\n')
    readiness.write_text(before + asked + docstring + quotes + _REFUSES + body)
    subprocess.run(
        [sys.executable, tree / "app/build_release.py", "--version", BAD, "--out", up.DIST],
        env={**os.environ, "SOURCE_DATE_EPOCH": "0"},
        check=True,
    )
    return BAD


def test_a_release_that_is_never_ready_on_one_node_is_taken_back_on_all(cluster, bad_release):
    web = cluster.with_role("web")
    before = cluster.salt("roles:web", "counterapp.current", kind="grain")
    # What is never ready is given up sooner; what is, was never seen to take ten seconds.
    cluster.settings("web", ready_timeout=25)
    with cluster.traffic("undo") as traffic:
        code, output = cluster.rollout(bad_release)
    assert code != 0
    assert "this release is never ready on web-2" in output
    assert traffic.failures == []
    assert cluster.count("undo") == len(traffic.values) > 0
    assert cluster.salt("roles:web", "counterapp.current", kind="grain") == before
    (last,) = cluster.runner("rollout.history", "limit=1")
    assert last["outcome"] == "undone"
    assert set(traffic.nodes) == set(web)
    cluster.until_whole()
