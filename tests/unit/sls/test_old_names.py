"""Orchestrations by the names that they had before: each says what to type now."""

import pytest

from tests.support import tree as support


@pytest.mark.parametrize(("name", "now"), [("orch.storage_tls", "salt-run storage.switch_tls")])
def test_an_old_name_fails_and_names_the_new_one(tmp_path, name, now):
    grains = support.recorded_grains("debian12", "default", "master")
    with support.Tree(tmp_path).compiler("master", grains, {}) as compiler:
        chunks, errors = compiler.chunks([name])
    assert not errors
    (only,) = chunks
    assert (only["state"], only["fun"]) == ("test", "fail_without_changes")
    assert now in only["comment"]
