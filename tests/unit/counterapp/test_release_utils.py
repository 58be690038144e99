"""What an archive must be like, and everything that is refused."""

import json
import os
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import release_archive
from tests.support.loading import load
from tests.support.release_archive import regular

release = load("_utils/release.py")

FILES = {"static/index.html": b"<!doctype html>", "static/assets/app-1.js": b"1;"}


def _member(name, kind, link=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member, b""


@pytest.fixture
def archive(tmp_path):
    """A good archive."""
    return release_archive.archive(tmp_path, "1.4.0", FILES)


def test_good_archive_is_described(archive):
    found = release.inspect(archive)
    assert found["manifest"]["version"] == "1.4.0"
    assert found["manifest"]["pythons"] == ["3.11", "3.12", "3.13"]
    assert sorted(found["manifest"]["files"]) == [
        "requirements.txt",
        "static/assets/app-1.js",
        "static/index.html",
    ]
    manifest = json.dumps(found["manifest"]).encode()
    assert found["size"] == sum(map(len, FILES.values())) + len(manifest)


def test_unpacking_sets_modes_of_its_own(archive, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    old = os.umask(0o077)
    try:
        with _fetched(archive, tmp_path) as copy:
            # What becomes of the archive after that does not matter.
            described = release.inspect(archive)
            archive.write_bytes(b"something else")
            found = release.unpack(str(archive), copy, str(target))
    finally:
        os.umask(old)
    assert found == described
    for path, content in FILES.items():
        assert (target / path).read_bytes() == content
        assert (target / path).stat().st_mode & 0o7777 == 0o644
    assert (target / "static/assets").stat().st_mode & 0o7777 == 0o755


def _fetched(archive, folder):
    return release.fetch(archive, **release_archive.note(archive), folder=folder)


def test_what_is_hashed_is_what_is_noted(archive):
    assert release.digest(archive) == release_archive.note(archive)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x"), "it has the SHA-256"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "it has [0-9]+ bytes"),
        (lambda path: path.symlink_to(path.rename(path.with_name("moved"))), "is a link"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "is no regular file"),
        (lambda path: (path.unlink(), path.mkdir()), "is no regular file"),
    ],
    ids=["changed", "longer", "link", "fifo", "folder"],
)
def test_another_archive_than_the_noted_is_refused(archive, tmp_path, change, message):
    note = release_archive.note(archive)
    change(archive)
    with pytest.raises(ValueError, match=message):
        release.check(archive, **note)
    with pytest.raises(ValueError, match=message):
        release.fetch(archive, **note, folder=tmp_path)


def test_a_copy_needs_room(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(release.os, "statvfs", lambda _path: os.statvfs_result((1,) * 10))
    with pytest.raises(OSError, match="not enough disk space"):
        _fetched(archive, tmp_path)


@pytest.mark.parametrize(
    ("sha256", "size", "message"),
    [
        ("0" * 63, 1, "is no SHA-256"),
        ("A" * 64, 1, "is no SHA-256"),
        (None, 1, "is no SHA-256"),
        ("0" * 64, 0, "is no size"),
        ("0" * 64, "1", "is no size"),
        ("0" * 64, True, "is no size"),
    ],
)
def test_notes_that_are_none(archive, tmp_path, sha256, size, message):
    with pytest.raises(ValueError, match=message):
        release.fetch(archive, sha256, size, tmp_path)
    with pytest.raises(ValueError, match=message):
        release.note(tmp_path / "notes", "1.4.0", sha256, size)
    assert release.noted(tmp_path / "notes") == {}


def test_a_note_stays_as_it_is(tmp_path):
    folder = tmp_path / "notes"
    assert release.noted(folder) == {}
    assert release.note(folder, "1.10", "0" * 64, 5) is True
    assert release.note(folder, "1.9", "1" * 64, 6) is True
    before = release.noted(folder)
    assert release.note(folder, "1.10", "0" * 64, 5) is False
    with pytest.raises(ValueError, match="give the new build a version of its own"):
        release.note(folder, "1.10", "2" * 64, 5)
    assert release.noted(folder) == before
    assert {version: (each["sha256"][0], each["size"]) for version, each in before.items()} == {
        "1.10": ("0", 5),
        "1.9": ("1", 6),
    }
    assert [path.name for path in folder.iterdir()] == ["releases.sls"]
    assert (folder / "releases.sls").stat().st_mode & 0o7777 == 0o600


@pytest.mark.parametrize(
    "text",
    ["{", "", "[]", "releases: 1", "releases: {1.1: {}}", "releases: {'1': {sha256: x, size: 1}}"],
)
def test_damaged_notes_are_named(tmp_path, text):
    (tmp_path / "releases.sls").write_text(text)
    with pytest.raises(ValueError, match=r"releases\.sls is damaged"):
        release.noted(tmp_path)
    with pytest.raises(ValueError, match=r"releases\.sls is damaged"):
        release.note(tmp_path, "1.4.0", "0" * 64, 1)
    assert (tmp_path / "releases.sls").read_text() == text


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (regular("counterapp-1.4.0/../../etc/passwd"), "refusing the path"),
        (regular("../counterapp-1.4.0/x"), "refusing the path"),
        (regular("/etc/cron.d/x"), "refusing the path"),
        (regular("counterapp-1.4.0/./x"), "refusing the path"),
        (regular("counterapp-1.4.0//x"), "refusing the path"),
        (regular("counterapp-1.4.0/a\\b"), "refusing the path"),
        (regular("counterapp-1.4.0/a\nb"), "refusing the path"),
        (regular("counterapp-1.4.0"), "outside a top folder"),
        (regular("other-1.4.0/x"), "more than one top folder"),
        (regular("counterapp-1.4.0/static/index.html", b"2"), "is in it twice"),
        (regular("counterapp-1.4.0/manifest.json", b"{}"), "is in it twice"),
        (regular("counterapp-1.4.0/static/more.js"), "does not list: static/more.js"),
        (_member("counterapp-1.4.0/x", tarfile.SYMTYPE, "/etc/shadow"), "is a link or a device"),
        (_member("counterapp-1.4.0/x", tarfile.SYMTYPE, "static"), "is a link or a device"),
        (
            _member("counterapp-1.4.0/x", tarfile.LNKTYPE, "counterapp-1.4.0/manifest.json"),
            "is a link or a device",
        ),
        (_member("counterapp-1.4.0/x", tarfile.CHRTYPE), "is a link or a device"),
        (_member("counterapp-1.4.0/x", tarfile.FIFOTYPE), "is a link or a device"),
    ],
)
def test_dangerous_and_unlisted_members_are_refused(tmp_path, extra, message):
    path = release_archive.archive(tmp_path, "1.4.0", FILES, extra=[extra])
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(ValueError, match=message):
        release.inspect(path)
    with _fetched(path, tmp_path) as copy, pytest.raises(ValueError, match=message):
        release.unpack(path, copy, target)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [path.name, "target"]


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({"version": "../1"}, "no usable 'version'"),
        ({"version": 1.4}, "no usable 'version'"),
        ({"version": "1.5.0"}, "its manifest says counterapp 1.5.0, its folder is"),
        ({"name": "a/b"}, "no usable 'name'"),
        ({"name": None}, "no usable 'name'"),
        ({"commit": None}, "no 'commit'"),
        ({"pythons": []}, "names no Pythons"),
        ({"pythons": [3.11]}, "names no Pythons"),
        ({"pythons": "3.11"}, "names no Pythons"),
        ({"files": {}}, "lists no requirements.txt"),
        ({"files": ["requirements.txt"]}, "no 'files'"),
        ({"files": {"requirements.txt": "abc"}}, "no 'files'"),
    ],
)
def test_wrong_manifests_are_refused(tmp_path, manifest, message):
    path = release_archive.archive(tmp_path, "1.4.0", manifest=manifest)
    with pytest.raises(ValueError, match=message):
        release.inspect(path)


@pytest.mark.parametrize("raw", [b"not json", b"[]", b'"text"', b"\xff\xfe"])
def test_manifest_that_is_no_object(tmp_path, raw):
    path = tmp_path / "counterapp-1.tar.gz"
    release_archive.pack(path, [regular("counterapp-1/manifest.json", raw)])
    with pytest.raises(ValueError, match="manifest.json is no"):
        release.inspect(path)


def test_files_that_are_missing_or_changed_are_named(tmp_path):
    wanted = {"requirements.txt": "0" * 64, "static/gone.js": "0" * 64}
    path = release_archive.archive(tmp_path, "1", files={})
    with pytest.raises(ValueError, match="has files that are not what.*: requirements.txt"):
        release.inspect(_with_files(path, {"requirements.txt": wanted["requirements.txt"]}))
    with pytest.raises(ValueError, match="lacks files .*: static/gone.js"):
        release.inspect(_with_files(path, wanted))


def _with_files(path, files):
    manifest = {
        "name": "counterapp",
        "version": "1",
        "commit": "",
        "pythons": ["3.11"],
        "files": files,
    }
    release_archive.pack(
        path,
        [
            regular("counterapp-1/manifest.json", json.dumps(manifest).encode()),
            regular("counterapp-1/requirements.txt"),
        ],
    )
    return path


def test_archive_without_a_manifest(tmp_path):
    path = release_archive.pack(tmp_path / "x.tar.gz", [regular("counterapp-1/readme", b"hello")])
    with pytest.raises(ValueError, match=r"no manifest\.json in it"):
        release.inspect(path)


def test_archive_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="the release archive cannot be read"):
        release.inspect(tmp_path / "none.tar.gz")


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\x00garbage", bytes(2000)])
def test_file_that_is_no_archive(tmp_path, content):
    path = tmp_path / "x.tar.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.tar\.gz"):
        release.inspect(path)


@given(data=st.data())
def test_no_damage_goes_unnoticed(tmp_path_factory, data):
    """Cut off or with any byte changed, an archive is refused or still exactly what it was."""
    folder = tmp_path_factory.mktemp("damage")
    path = release_archive.archive(folder, "1.4.0", FILES)
    expected = release.inspect(path)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:place]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        found = release.inspect(path)
    except ValueError:
        return
    assert (found["manifest"], found["size"]) == (expected["manifest"], expected["size"])


@pytest.mark.parametrize(
    "version", ["", ".", "..", ".new-1", "-1", "a/b", "1 0", "1\n", "1..2", "x" * 65, 1.4, None]
)
def test_versions_that_are_none(version):
    with pytest.raises(ValueError, match="is no release version"):
        release.check_version(version)


@pytest.mark.parametrize("version", ["1", "1.4.0", "2024.1-rc.1+g1a2b", "1.4.0.dev3"])
def test_versions(version):
    assert release.check_version(version) == version


@pytest.mark.parametrize(
    ("name", "python", "fits"),
    [
        ("flask-3.1.3-py3-none-any.whl", "3.13", True),
        ("six-1.17.0-py2.py3-none-any.whl", "3.11", True),
        ("markupsafe-3.0.4-cp311-cp311-manylinux_2_17_x86_64.whl", "3.11", True),
        ("markupsafe-3.0.4-cp313-cp313-manylinux_2_17_x86_64.whl", "3.11", False),
        ("markupsafe-3.0.4-1-cp313-cp313-linux_x86_64.whl", "3.13", True),
        ("cryptography-45.0-cp37-abi3-manylinux_2_28_x86_64.whl", "3.12", True),
        ("only-1.0-py312-none-any.whl", "3.12", True),
        ("only-1.0-py312-none-any.whl", "3.11", False),
        ("nonsense.whl", "3.11", False),
    ],
)
def test_which_wheels_are_for_a_python(name, python, fits):
    assert release.wheel_fits(name, python) is fits


def test_size_of_wheels_counts_those_of_the_python_only(tmp_path):
    name, content = release_archive.wheel("one", "1", {"one.py": "x = 1\n" * 10_000})
    (tmp_path / name).write_bytes(content)
    (tmp_path / "two-1-cp399-cp399-linux_x86_64.whl").write_bytes(content)
    assert 60_000 < release.installed_size(tmp_path, "3.11") < 70_000
    (tmp_path / "bad-1-py3-none-any.whl").write_bytes(b"no zip")
    with pytest.raises(ValueError, match="bad-1-py3-none-any.whl is no wheel"):
        release.installed_size(tmp_path, "3.11")


def test_space_is_asked_of_the_disk(tmp_path):
    release.require_space(tmp_path, 1)
    with pytest.raises(OSError, match="not enough disk space: .* MiB needed, .* MiB free"):
        release.require_space(tmp_path, 2**60)
