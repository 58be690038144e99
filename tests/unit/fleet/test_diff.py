"""What differs between revisions, and which words are secrets."""

import json

import pytest

from fleet import diff, revision
from tests.support.checkout import Checkout

PASSWORD = "p4ss/word+of=theapp"
PEM = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\nAgEGCCqGSM49AwEHBG0w\n-----END-----\n"


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


@pytest.fixture
def master(checkout):
    return checkout.master


def test_kinds_of_differences(master, tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        (folder / "same").write_text("same")
        (folder / "revision.json").write_text(str(folder))
    one, two = folders
    (one / "gone").write_text("old\n")
    (two / "new").write_text("new\n")
    for folder, content in ((one, b"\0\1"), (two, b"\0\2")):
        (folder / "binary").write_bytes(content)
    for folder, mode in ((one, 0o644), (two, 0o755)):
        (folder / "program").write_text("#!/bin/sh\n")
        (folder / "program").chmod(mode)
    for folder, target in ((one, "same"), (two, "program")):
        (folder / "link").symlink_to(target)
    found = diff.of_revisions(
        revision.Revision(master, "0" * 12, one), revision.Revision(master, "1" * 12, two)
    )
    assert {each["path"]: (each["change"], each["diff"]) for each in found} == {
        "binary": ("changed", None),
        "gone": ("removed", "--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-old"),
        "link": ("changed", "--- a/link\n+++ b/link\n@@ -1 +1 @@\n-same\n+program"),
        "new": ("added", "--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+new"),
        "program": ("changed", "--- a/program (file)\n+++ b/program (program)"),
    }


def test_the_first_revision_has_nothing_to_be_held_against(master):
    assert diff.of_revisions(None, revision.Revision(master, "0" * 12, master.state)) == []


def test_a_large_file_is_only_named(master, tmp_path):
    for name, byte in (("one", b"a"), ("two", b"b")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "large").write_bytes(byte * (2**20 + 1))
    found = diff.of_revisions(
        revision.Revision(master, "0" * 12, tmp_path / "one"),
        revision.Revision(master, "1" * 12, tmp_path / "two"),
    )
    assert found == [{"path": "large", "change": "changed", "diff": None}]


# Secrets


def test_secrets_are_what_the_pillar_says_of_each_node(checkout, master):
    folder = checkout.notes / "secrets"
    (folder / "gluster_tls").mkdir(parents=True)
    for name, secrets in {
        "mongodb_app": {"mongodb_app": PASSWORD, "short": "yes"},
        "mongodb_keyfile": {"mongodb_keyfile": "keyfile-of-the-set"},
        "gluster_tls/one": {"gluster_tls": {"key": PEM, "count": 1234567, "none": None}},
    }.items():
        (folder / f"{name}.sls").write_text(json.dumps({"secrets": secrets}))
    made = revision.capture(master, "1.0")
    found = diff.secrets(made, ["boss", "one", "data"])
    assert {
        PASSWORD,
        "p4ss%2Fword%2Bof%3Dtheapp",
        "keyfile-of-the-set",
        "MIGHAgEAMBMGByqGSM49",
        "AgEGCCqGSM49AwEHBG0w",
        "1234567",
    } <= found
    assert not {"yes", "None", "", "-----BEGIN PRIVATE KEY-----"} & found
    assert "keyfile-of-the-set" not in diff.secrets(made, ["one"])
    assert diff.secrets(made, []) == set()


def test_a_secret_is_masked_however_it_is_written(monkeypatch):
    mask = diff.masker(diff._spellings(PASSWORD) | diff._spellings(PEM))
    text = (
        f"whole {PASSWORD}, in a URL app:p4ss%2Fword%2Bof%3Dtheapp@db\n"
        " -----BEGIN PRIVATE KEY-----\n+MIGHAgEAMBMGByqGSM49\n-AgEGCCqGSM49AwEHBG0w\n"
    )
    assert mask(text) == (
        "whole ***, in a URL app:***@db\n -----BEGIN PRIVATE KEY-----\n+***\n-***\n"
    )
    assert mask(json.dumps({"key": PEM})) == '{"key": "***\\n"}'
    assert mask({PASSWORD: [PASSWORD, {"deep": (PASSWORD, 1, None)}]}) == {
        "***": ["***", {"deep": ["***", 1, None]}]
    }


def test_the_longest_secret_is_masked_first():
    assert diff.masker({"secret", "secret-and-more"})("secret-and-more, secret") == "***, ***"


def test_without_secrets_nothing_is_masked():
    assert diff.masker([])({"a": "text"}) == {"a": "text"}
