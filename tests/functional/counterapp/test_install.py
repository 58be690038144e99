"""Installing releases for real: wheels, a virtual environment, kills and full disks."""

import fcntl
import os
import pathlib
import pwd
import signal
import subprocess
import sys
import tempfile

import pytest
from salt.exceptions import CommandExecutionError

from tests.support import release_archive
from tests.support.waiting import until


@pytest.fixture(scope="module")
def good(node):
    """An archive that installs, and is installed."""
    from_source = _build(node, "1.0.0")
    ret = node.state("released", "1.0.0", **_published(from_source))
    assert ret["result"] is True, ret["comment"]
    assert ret["changes"] == {"release": {"old": None, "new": "1.0.0"}}
    return from_source


def _build(node, version, **options):
    modules = {"counterapp/__init__.py": "", "counterapp/wsgi.py": "app = None\n"}
    options.setdefault("pythons", (f"{sys.version_info.major}.{sys.version_info.minor}",))
    return release_archive.installable(
        node.archives, version, modules, packages=("gunicorn", "packaging"), **options
    )


def _published(archive):
    return {"source": str(archive), **release_archive.note(archive)}


def _leftovers(node):
    folder = node.root / "releases"
    return sorted(entry.name for entry in folder.iterdir() if entry.name.startswith("."))


def test_release_has_the_layout_that_was_promised(node, good):
    folder = node.root / "releases" / "1.0.0"
    assert sorted(entry.name for entry in folder.iterdir()) == [
        "manifest.json",
        "requirements.txt",
        "static",
        "venv",
    ]
    assert node.modules["counterapp.current"]() is None
    [entry] = node.modules["counterapp.releases"]()
    assert (entry["version"], entry["current"], entry["previous"]) == ("1.0.0", False, False)
    assert _leftovers(node) == []


def test_nothing_belongs_to_or_is_writable_by_anybody_else(node, good):
    for path in [node.root, *node.root.rglob("*")]:
        status = path.lstat()
        assert status.st_uid == os.geteuid(), path
        if not path.is_symlink():
            assert not status.st_mode & 0o022, path


def test_the_app_gets_no_pip(node, good):
    found = (node.root / "releases" / "1.0.0" / "venv" / "lib").glob("*/site-packages/*")
    assert sorted({entry.name.split("-")[0] for entry in found}) == [
        "counterapp",
        "gunicorn",
        "packaging",
    ]


@pytest.mark.parametrize("through", ["releases/1.0.0", "current"])
@pytest.mark.parametrize("command", [["gunicorn"], ["python", "-m", "gunicorn"]])
def test_environment_works_where_it_was_moved_to(node, good, through, command):
    node.modules["counterapp.activate"]("1.0.0")
    try:
        program, *rest = command
        argv = [str(node.root / through / "venv" / "bin" / program), *rest, "--version"]
        outcome = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert outcome.returncode == 0, outcome.stderr
        assert "gunicorn (version" in outcome.stdout
    finally:
        (node.root / "current").unlink()


def test_no_trace_of_the_place_where_it_was_built(node, good):
    venv = node.root / "releases" / "1.0.0" / "venv"
    scripts = [venv / "pyvenv.cfg", *(venv / "bin").iterdir()]
    named = [path.name for path in scripts if b"/.new-" in path.read_bytes()]
    assert named == []


def test_second_run_changes_nothing_and_needs_no_archive(node, good):
    ret = node.state("released", "1.0.0", source="/nowhere/at/all.tar.gz")
    assert ret["result"] is True
    assert ret["changes"] == {}
    again = node.install(good)
    assert again["installed"] is False


def test_a_release_of_other_content_is_refused(node, good, tmp_path):
    other = release_archive.archive(tmp_path, "1.0.0", commit="f" * 40)
    with pytest.raises(CommandExecutionError, match="a release never changes"):
        node.install(other)


def test_dry_run_says_what_would_come_and_does_nothing(node, good):
    source = _build(node, "1.0.1")
    ret = node.dry_state("released", "1.0.1", **_published(source))
    assert ret["result"] is None
    assert ret["changes"] == {"release": {"old": None, "new": "1.0.1"}}
    assert not (node.root / "releases" / "1.0.1").exists()

    ret = node.dry_state("released", "1.0.1", source=str(source))
    assert ret["result"] is None
    assert "first release 1.0.1 must be published" in ret["comment"]

    asked = {**_published(source), "source": "/nowhere/counterapp-1.0.1.tar.gz"}
    ret = node.dry_state("released", "1.0.1", **asked)
    assert ret["result"] is None
    assert "which is not there yet" in ret["comment"]


@pytest.fixture
def marks():
    """A folder in which code of a release leaves the user IDs that it has run as."""
    with tempfile.TemporaryDirectory(prefix="counterapp-marks-") as folder:
        pathlib.Path(folder).chmod(0o777)
        yield pathlib.Path(folder)


def _evil(folder, version, marks, how=".pth"):
    """Build a whole archive whose code runs wherever its Python starts: beside it, or as it."""
    program = f'#!/bin/sh\n: > {marks}/python-$(id -u)\nexec {sys.executable} "$@"\n'
    files = {
        ".pth": {"evil.pth": f"import os; open('{marks}/pth-%d' % os.geteuid(), 'w')\n"},
        "python": {f"counterapp-{version}.data/scripts/python": program},
    }
    modules = {"counterapp/__init__.py": "", **files[how]}
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    return release_archive.installable(folder, version, modules, pythons=(minor,))


@pytest.mark.parametrize("how", ["changed", "link", "fifo", "endless"])
def test_what_was_changed_on_the_volume_is_not_installed(node, good, marks, how):
    version = f"1.0.7+{how}"
    source = _build(node, version)
    asked = _published(source)
    source.unlink()
    if how == "changed":
        source = _evil(node.archives, version, marks)
        # Of the same size, so that its hash alone gives it away.
        asked["size"] = source.stat().st_size
        words = "is not what was published, somebody has changed it: it has the SHA-256"
    elif how == "link":
        source.symlink_to(good)
        words = "is a link"
    elif how == "fifo":
        os.mkfifo(source)
        words = "is no regular file"
    else:
        with source.open("wb") as stream:
            stream.truncate(2**40)
        words = f"it has {2**40} bytes, published were"
    for run in (node.dry_state, node.state):
        ret = run("released", version, **asked)
        assert (ret["result"], ret["changes"]) == (False, {})
        assert words in ret["comment"]
    assert not (node.root / "releases" / version).exists()
    assert _leftovers(node) == []
    assert list(marks.iterdir()) == []


def test_a_release_that_nobody_published_is_not_installed(node, good):
    ret = node.state("released", "1.0.7", source=str(good))
    assert (ret["result"], ret["changes"]) == (False, {})
    assert "salt-run release.publish 1.0.7" in ret["comment"]


@pytest.mark.parametrize(("how", "as_whom"), [(".pth", []), ("python", ["python-nobody"])])
def test_no_code_of_a_release_runs_as_root_while_it_is_installed(node, good, marks, how, as_whom):
    if os.geteuid() != 0:
        pytest.skip("it is root that has to be seen not to run it")
    source = _evil(node.archives, "1.0.8", marks, how)
    ret = node.state("released", "1.0.8", **_published(source))
    node.state("absent", "1.0.8")
    assert ret["result"] is True, ret["comment"]
    nobody = pwd.getpwnam(node.user).pw_uid
    assert [path.name.replace(str(nobody), "nobody") for path in marks.iterdir()] == as_whom


def test_a_user_who_is_not_there_is_named(node, good):
    if os.geteuid() != 0:
        pytest.skip("nobody but root can check a release as another user")
    with pytest.raises(CommandExecutionError, match="there is no user somebody to check"):
        node.install(good, user="somebody")


def test_a_package_that_the_lock_lacks_is_missed(node, good):
    modules = {"counterapp/__init__.py": ""}
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    source = release_archive.installable(
        node.archives, "1.0.9", modules, pythons=(minor,), requires=("packaging",)
    )
    ret = node.state("released", "1.0.9", **_published(source))
    assert ret["result"] is False
    assert "installing the wheels of release 1.0.9 failed" in ret["comment"]
    assert "packaging" in ret["comment"]


def test_another_versions_archive_is_refused(node, good):
    for run in (node.state, node.dry_state):
        ret = run("released", "9.9.9", **_published(good))
        assert ret["result"] is False
        assert "is release 1.0.0, not 9.9.9" in ret["comment"]
        assert ret["changes"] == {}


def test_unsupported_python_is_named_with_those_supported(node, good):
    source = _build(node, "1.0.2", pythons=("3.7", "3.8"))
    ret = node.state("released", "1.0.2", **_published(source))
    assert ret["result"] is False
    assert "supports Python 3.7, 3.8, but" in ret["comment"]
    assert "counterapp.python" in ret["comment"]
    assert _leftovers(node) == []


def test_missing_interpreter_is_an_error(node, good):
    source = _build(node, "1.0.3")
    with pytest.raises(CommandExecutionError, match="/nowhere/python3"):
        node.install(source, python="/nowhere/python3")


def test_wheel_of_another_version_leaves_nothing_behind(node, good):
    source = _build(node, "1.0.4", wheel_version="1.0.3")
    ret = node.state("released", "1.0.4", **_published(source))
    assert ret["result"] is False
    assert "the counterapp wheel in it is version 1.0.3" in ret["comment"]
    assert not (node.root / "releases" / "1.0.4").exists()
    assert _leftovers(node) == []


def test_wheel_that_the_lock_does_not_know_is_not_installed(node, good):
    lock = f"counterapp==1.0.5 --hash=sha256:{'0' * 64}\n".encode()
    source = _build(node, "1.0.5", files={"requirements.txt": lock})
    ret = node.state("released", "1.0.5", **_published(source))
    assert ret["result"] is False
    assert "installing the wheels of release 1.0.5 failed" in ret["comment"]
    assert _leftovers(node) == []


def test_archive_from_the_masters_file_server(node, good, tmp_path):
    node.loaders.opts["file_roots"]["base"] = [str(node.archives)]
    note = release_archive.note(good)
    manifest = node.modules["counterapp.verify"]("salt://counterapp-1.0.0.tar.gz", **note)
    assert manifest["version"] == "1.0.0"
    with pytest.raises(CommandExecutionError, match="has no salt://counterapp-7"):
        node.modules["counterapp.verify"]("salt://counterapp-7.tar.gz", **note)


def test_killed_installation_shows_nothing_and_the_next_one_cleans_up(node, good, run_and_kill):
    source = _build(node, "1.1.0")
    process = run_and_kill(
        "import pathlib\n"
        "from tests.support.loading import minion_loader\n"
        f"loaders = minion_loader(pathlib.Path({str(node.folder / 'killed')!r}),"
        f" **{node.overrides!r})\n"
        f"loaders.modules['counterapp.install']({str(source)!r},"
        f" **{release_archive.note(source)!r})\n"
    )

    def installed():
        found = (node.root / "releases").glob(".new-1.1.0-*/venv/lib/*/site-packages/*")
        return {entry.name for entry in found}

    # Often: the installation goes on meanwhile.
    until(
        installed,
        20,
        "the installation is at work",
        wanted=lambda names: "gunicorn" in names,
        interval=0.01,
    )
    with pytest.raises(CommandExecutionError, match="another installation or switch"):
        node.modules["counterapp.remove"]("0.0.1")
    # Its children go on writing, as pip does when a minion is killed.
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [entry["version"] for entry in node.modules["counterapp.releases"]()] == ["1.0.0"]
    assert _leftovers(node) != []

    ret = node.state("released", "1.1.0", **_published(source))
    assert ret["result"] is True, ret["comment"]
    assert _leftovers(node) == []
    node.state("absent", "1.1.0")


def test_lock_is_taken_by_a_process_and_not_by_a_file(node, good):
    handle = os.open(node.root / ".lock", os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(CommandExecutionError, match="at work in"):
            node.modules["counterapp.activate"]("1.0.0")
    finally:
        os.close(handle)
    assert node.modules["counterapp.remove"]("0.0.1") == {"version": "0.0.1", "removed": False}


def test_root_that_others_can_write_to_is_refused(node, good, tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(CommandExecutionError, match="chmod go-w"):
        node.install(good, root=str(tmp_path))


@pytest.fixture
def small_disk(request, tmp_path):
    """A file system of its own, with little room."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"{request.param},mode=755", "tmpfs", str(tmp_path)],
        check=True,
    )
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize(
    ("small_disk", "message"),
    [
        ("size=16m", "not enough disk space: .* MiB free"),
        ("nr_inodes=200", "no space left on the disk"),
    ],
    indirect=["small_disk"],
    ids=["no room", "no inodes half-way"],
)
def test_full_disk_leaves_nothing_behind(node, good, small_disk, message):
    with pytest.raises(CommandExecutionError, match=message):
        node.install(good, root=str(small_disk))
    assert list((small_disk / "releases").iterdir()) == []


def test_archive_needs_no_network(node, good, monkeypatch, tmp_path):
    """Whatever index the machine's pip settings name, it is never asked."""
    asked = tmp_path / "pip.conf"
    asked.write_text("[global]\nindex-url = http://127.0.0.1:9/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(asked))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    lock = b"flask==0.0.1 --hash=sha256:" + b"0" * 64 + b"\n"
    source = _build(node, "1.0.6", files={"requirements.txt": lock})
    with pytest.raises(CommandExecutionError, match="No matching distribution found") as caught:
        node.install(source)
    assert "127.0.0.1:9" not in str(caught.value)
