"""A release as nodes get it: built, unpacked, installed offline, started."""

import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
import requests

from tests.support.loading import ROOT

BUILDER = ROOT / "app" / "build_release.py"
VERSION = "9.8.7"
# A node's pip must neither reach an index nor miss one.
OFFLINE = {
    "PIP_NO_INDEX": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_CONFIG_FILE": "/dev/null",
}


def build(version, out, *more, umask=0o022):
    return subprocess.run(
        [sys.executable, BUILDER, "--version", version, "--out", out, *more],
        capture_output=True,
        text=True,
        timeout=300,
        umask=umask,
        check=False,
    )


def pip(python, *arguments):
    return subprocess.run(
        [python, "-m", "pip", *arguments],
        env=os.environ | OFFLINE,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    built = build(VERSION, out)
    assert built.returncode == 0, built.stderr
    return out


@pytest.fixture(scope="module")
def release(dist, tmp_path_factory):
    """The unpacked archive."""
    folder = tmp_path_factory.mktemp("release")
    archive = dist / f"counterapp-{VERSION}.tar.gz"
    subprocess.run(["tar", "-xzf", archive, "-C", folder], check=True, timeout=60)
    return folder / f"counterapp-{VERSION}"


@pytest.fixture(scope="module")
def venv(release, tmp_path_factory):
    """The release installed as a node does it."""
    folder = tmp_path_factory.mktemp("node") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=60)
    installed = pip(folder / "bin" / "python", "install", *install_arguments(release))
    assert installed.returncode == 0, installed.stderr
    return folder


def install_arguments(release):
    return [
        *("--no-index", "--find-links", release / "wheels"),
        *("--require-hashes", "--requirement", release / "requirements.txt"),
    ]


def test_the_manifest_is_true(release):
    manifest = json.loads((release / "manifest.json").read_text())
    assert (manifest["name"], manifest["version"]) == ("counterapp", VERSION)
    assert {"3.11", "3.12", "3.13"} <= set(manifest["pythons"])
    found = {
        path.relative_to(release).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in release.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    assert manifest["files"] == found
    scripts = {name for name in found if re.fullmatch("static/assets/.*[.]js", name)}
    assert scripts
    # What browsers get of them is checked as well.
    assert {f"{name}{end}" for name in scripts for end in (".br", ".gz")} <= found.keys()
    assert f"wheels/counterapp-{VERSION}-py3-none-any.whl" in found


def test_somebody_else_building_it_gets_the_same_bytes_and_is_told_so(dist):
    before = (dist / f"counterapp-{VERSION}.tar.gz").read_bytes()
    again = build(VERSION, dist, "--afresh", umask=0o077)
    assert again.returncode == 0, again.stderr
    assert "was there with the same content" in again.stdout
    assert (dist / f"counterapp-{VERSION}.tar.gz").read_bytes() == before


def test_a_bad_version_is_one_sentence_and_no_archive(tmp_path):
    refused = build("1.0-final", tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.startswith("build_release: '1.0-final' is not a version")
    assert not list(tmp_path.iterdir())


def test_every_python_of_the_manifest_finds_all_its_wheels(release, tmp_path):
    for python in json.loads((release / "manifest.json").read_text())["pythons"]:
        got = pip(
            sys.executable,
            *("download", "--quiet", "--only-binary=:all:", "--python-version", python),
            *("--platform", "manylinux_2_28_x86_64", "--platform", "manylinux_2_17_x86_64"),
            *("--dest", tmp_path / python, *install_arguments(release)),
        )
        assert got.returncode == 0, f"{python}: {got.stderr}"
        wheels = [path.name for path in (tmp_path / python).glob("*.whl")]
        assert any(name.startswith("counterapp-") for name in wheels)
        assert any(f"cp{python.replace('.', '')}" in name for name in wheels)


def test_it_runs_from_its_own_venv_and_serves_its_own_page(release, venv, single, make_node):
    node = make_node(
        single,
        gunicorn=[str(venv / "bin" / "gunicorn")],
        COUNTERAPP_STATIC=str(release / "static"),
        PYTHONPATH="",
    )
    node.start()
    hit = node.post()
    assert hit.json()["release"] == VERSION
    assert hit.headers["X-Release"] == VERSION
    page = node.get("/")
    assert "<title>counterapp</title>" in page.text
    script = page.text.split('src="')[1].split('"')[0]
    asset = requests.get(node.url + script, timeout=10)
    assert asset.status_code == 200
    assert "immutable" in asset.headers["Cache-Control"]


def test_a_wheel_that_was_tampered_with_is_not_installed(release, venv, tmp_path):
    broken = pathlib.Path(shutil.copytree(release, tmp_path / "broken"))
    [wheel] = broken.glob("wheels/counterapp-*.whl")
    with wheel.open("ab") as handle:
        handle.write(b"\0")
    refused = pip(
        venv / "bin" / "python", "install", "--force-reinstall", *install_arguments(broken)
    )
    assert refused.returncode != 0
    assert "DO NOT MATCH" in refused.stderr
