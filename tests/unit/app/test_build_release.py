"""The release builder's rules; building a whole release is a functional test."""

import gzip
import hashlib
import json
import os
import tarfile

import pytest

from tests.support.loading import load

build_release = load("app/build_release.py")
ReleaseError = build_release.ReleaseError


@pytest.mark.parametrize(
    "version",
    ["0", "0.1.0", "1.4", "10.20.30", "1.0a1", "1.0rc2", "1.0.post1", "1.0.dev3", "1+lab.1"],
)
def test_canonical_versions_are_taken(version):
    assert build_release.VERSION.fullmatch(version)


@pytest.mark.parametrize(
    "version",
    [
        "",
        "v1.0",
        "1.0-rc1",
        "1.0.0-1",
        "01.0",
        "1..0",
        "1.0 ",
        "1.0\n",
        "../1.0",
        "1!1.0",
        "a",
        "١",
    ],
)
def test_other_spellings_are_refused_before_anything_is_done(version, tmp_path):
    with pytest.raises(ReleaseError, match="canonical form"):
        build_release.build(version, tmp_path / "dist", ["3.11"])
    assert not (tmp_path / "dist").exists()


@pytest.mark.parametrize("python", ["3", "2.7", "3.11.2", "3.x", "python3.11", ""])
def test_bad_pythons_are_refused(python):
    with pytest.raises(ReleaseError, match="version such as 3.11"):
        build_release.checked_pythons([python])


def test_pythons_are_sorted_as_numbers():
    assert build_release.checked_pythons(["3.13", "3.9", "3.11", "3.9"]) == ["3.9", "3.11", "3.13"]


def test_the_topology_says_which_pythons():
    pythons = build_release.topology_pythons()
    assert {"3.11", "3.13"} <= set(pythons)


@pytest.mark.parametrize(
    "text", ["", "platforms: 3", "platforms: {debian12: {}}", "a: [", "{}", "platforms: {a: 1}"]
)
def test_a_topology_without_pythons_is_an_error_that_names_the_file(tmp_path, text):
    path = tmp_path / "topology.sls"
    path.write_text(text)
    with pytest.raises(ReleaseError, match=str(path)):
        build_release.topology_pythons(path)


def test_source_date_epoch_wins_and_must_be_a_number(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert build_release.source_identity()[1] == 1700000000
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(ReleaseError, match="SOURCE_DATE_EPOCH"):
        build_release.source_identity()


def test_requirements_that_pip_would_misjudge_are_refused(tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text('tomli==2.0 ; python_full_version < "3.11" --hash=sha256:0\n')
    with pytest.raises(ReleaseError, match="some Pythons only"):
        build_release.collect_wheels(requirements, ["3.11"], tmp_path)


def test_a_failing_command_shows_its_output(tmp_path):
    with pytest.raises(ReleaseError, match="failed with 3:\nwhy it failed"):
        build_release.run(["sh", "-c", "echo why it failed; exit 3"])
    with pytest.raises(ReleaseError, match="cannot run /nonexistent"):
        build_release.run(["/nonexistent"])


def test_a_long_command_does_not_stay_silent(monkeypatch, capsys):
    monkeypatch.setattr(build_release, "HEARTBEAT", 0.05)
    build_release.run(["sleep", "0.2"])
    assert "sleep is working" in capsys.readouterr().out


@pytest.mark.parametrize(("shown", "part"), [("v18.20.4", "is v18.20.4"), ("", "broken")])
def test_an_old_node_is_refused(tmp_path, monkeypatch, shown, part):
    for name in ("node", "npm"):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho {shown}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ReleaseError, match=f"20.19 or later.*{part}"):
        build_release.require_node()


def test_a_missing_node_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ReleaseError, match="20.19 or later with npm on PATH"):
        build_release.require_node()


@pytest.fixture
def stage(tmp_path):
    folder = tmp_path / "stage" / "counterapp-1.0"
    (folder / "static").mkdir(parents=True)
    (folder / "static" / "index.html").write_text("page")
    (folder / "requirements.txt").write_text("flask\n")
    return folder


def test_the_manifest_has_the_hash_of_every_file(stage):
    build_release.write_manifest(stage, "1.0", "abc", ["3.11"])
    manifest = json.loads((stage / "manifest.json").read_text())
    assert manifest == {
        "name": "counterapp",
        "version": "1.0",
        "commit": "abc",
        "pythons": ["3.11"],
        "files": {
            "requirements.txt": hashlib.sha256(b"flask\n").hexdigest(),
            "static/index.html": hashlib.sha256(b"page").hexdigest(),
        },
    }


def test_the_same_files_give_the_same_bytes(stage, tmp_path):
    first, second = tmp_path / "a.tar.gz", tmp_path / "b.tar.gz"
    build_release.pack(stage, 1_700_000_000, first)
    page = stage / "static" / "index.html"
    page.unlink()
    page.write_text("page")
    page.chmod(0o600)
    os.utime(page, (1, 1))
    build_release.pack(stage, 1_700_000_000, second)
    assert first.read_bytes() == second.read_bytes()


def test_the_archive_is_plain(stage, tmp_path):
    archive = tmp_path / "a.tar.gz"
    build_release.pack(stage, 1_700_000_000, archive)
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
    names = [member.name for member in members]
    assert names[0] == "counterapp-1.0"
    assert names == sorted(names)
    assert {member.mtime for member in members} == {1_700_000_000}
    assert {(member.uid, member.gid, member.uname) for member in members} == {(0, 0, "root")}
    assert {member.mode for member in members if member.isfile()} == {0o644}
    assert gzip.decompress(archive.read_bytes())
    assert archive.read_bytes()[4:8] == b"\0\0\0\0", "a time in gzip's header"


@pytest.fixture
def place(tmp_path):
    """Return a function that puts an archive with the given content into ``out``."""
    out = tmp_path / "out"
    out.mkdir()

    def put(content):
        built = tmp_path / "counterapp-1.0.tar.gz"
        built.write_bytes(content)
        return build_release.put_in_place(built, out)

    put.out = out
    return put


def test_the_same_release_again_is_fine(place):
    assert place(b"one") is True
    before = (place.out / "counterapp-1.0.tar.gz").stat().st_mtime_ns
    assert place(b"one") is False
    assert (place.out / "counterapp-1.0.tar.gz").stat().st_mtime_ns == before


def test_another_release_of_that_name_is_refused_and_changes_nothing(place):
    place(b"one")
    before = {path.name: path.read_bytes() for path in place.out.iterdir()}
    with pytest.raises(ReleaseError, match="never changes"):
        place(b"two")
    assert {path.name: path.read_bytes() for path in place.out.iterdir()} == before


@pytest.fixture
def frontend(tmp_path, monkeypatch):
    """A front end whose build notes that it was built; returns the notes' file."""
    root = tmp_path / "tree"
    folder = root / "app/frontend"
    (folder / "src").mkdir(parents=True)
    (folder / "src/main.jsx").write_text("one")
    (folder / "package-lock.json").write_text("{}")
    notes = tmp_path / "built"

    def run(command, **_options):
        if "build" in command:
            into = command[command.index("--outDir") + 1]
            into.mkdir(parents=True)
            (into / "index.html").write_text((folder / "src/main.jsx").read_text())
            with notes.open("a") as file:
                file.write("built\n")
        else:
            (folder / "node_modules").mkdir()

    monkeypatch.setattr(build_release, "ROOT", root)
    monkeypatch.setattr(build_release, "FRONTEND", folder)
    monkeypatch.setattr(build_release, "CACHE", root / "build/cache")
    monkeypatch.setattr(build_release, "require_node", lambda: "npm")
    monkeypatch.setattr(build_release, "run", run)
    return notes


def test_the_front_end_is_built_once_for_the_same_files(frontend, tmp_path):
    source = build_release.FRONTEND / "src/main.jsx"
    build_release.build_frontend(tmp_path / "first")
    (build_release.FRONTEND / "node_modules/changed").write_text("by npm")
    build_release.build_frontend(tmp_path / "second")
    assert frontend.read_text().splitlines() == ["built"]
    assert (tmp_path / "second/index.html").read_text() == "one"

    source.write_text("two")
    build_release.build_frontend(tmp_path / "third")
    assert (tmp_path / "third/index.html").read_text() == "two"
    assert len(frontend.read_text().splitlines()) == 2
    # What was built before is of no use any more.
    assert len(list((build_release.CACHE / "frontend").iterdir())) == 1

    build_release.build_frontend(tmp_path / "fourth", afresh=True)
    assert len(frontend.read_text().splitlines()) == 3
