"""What systemd is told of Salt's daemons."""

import configparser
import subprocess

import pytest

from tests.support.loading import ROOT

FILES = ROOT / "bootstrap/files"


@pytest.mark.parametrize("daemon", ["salt-master", "salt-minion"])
def test_a_daemon_comes_back_however_often_it_dies(daemon):
    unit = configparser.RawConfigParser(strict=False)
    unit.read(FILES / f"{daemon}.service")
    assert unit["Service"]["Restart"] == "always"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"


def test_the_master_can_do_little_beside_its_work():
    unit = FILES / "salt-master.service"
    # In tenths; that of a unit without any of it is 9.8.
    judged = ["systemd-analyze", "security", "--offline=yes", "--threshold=27", str(unit)]
    done = subprocess.run(judged, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
