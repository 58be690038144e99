"""The text of mount units, and how the kernel's list of mounts is read."""

import shutil
import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from salt.exceptions import CommandExecutionError

from tests.support.loading import load

utils = load("_utils/gluster_mount.py")

MOUNTINFO = r"""
388 373 0:151 / /srv/shared rw,relatime - fuse.glusterfs db-1:/shared rw,user_id=0,allow_other
389 373 0:152 / /srv/with\040space rw shared:5 master:1 - tmpfs none rw,size=1k
390 388 0:153 / /srv/shared rw - tmpfs on\040top rw
""".strip()


def test_the_units_of_a_mount():
    units = utils.units("/srv/shared/", "shared", ["db-1", "db-2", "db-3"])
    assert sorted(units) == [
        *("srv-shared-lost.service", "srv-shared-retry.service", "srv-shared.mount")
    ]
    mount = units["srv-shared.mount"].splitlines()
    for line in (
        "What=db-1:/shared",
        "Where=/srv/shared",
        "Type=glusterfs",
        "Options=_netdev,nofail,backup-volfile-servers=db-2:db-3,log-level=WARNING",
        "Wants=network-online.target srv-shared-retry.service",
        "After=network-online.target glusterd.service",
        "WantedBy=multi-user.target",
    ):
        assert line in mount
    retry = units["srv-shared-retry.service"]
    assert "ExecStart=systemctl start srv-shared.mount\n" in retry
    assert 'ExecStart=stat "/srv/shared"\n' in retry
    assert 'ExecStart=mountpoint --quiet "/srv/shared"\n' in retry


def test_one_server_has_no_backup_and_options_replace_the_default():
    units = utils.units("/srv/s", "s", ["db-1"], ["log-level=ERROR", "ro"])
    assert "Options=_netdev,nofail,log-level=ERROR,ro\n" in units["srv-s.mount"]


def test_unit_names_with_escapes_survive_where_systemd_unescapes():
    units = utils.units('/srv/a-b 100% "$x"', "s", ["db-1"])
    name = r"srv-a\x2db\x20100\x25\x20\x22\x24x\x22"
    assert sorted(units) == [f"{name}-lost.service", f"{name}-retry.service", f"{name}.mount"]
    assert 'Where=/srv/a-b 100%% "$x"\n' in units[f"{name}.mount"]
    retry = units[f"{name}-retry.service"]
    doubled = name.replace("\\", r"\\")
    assert f"ExecStart=systemctl start {doubled}.mount\n" in retry
    assert r'ExecStart=stat "/srv/a-b 100%% \"$$x\""' in retry


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("srv", "s", ["a"]), "must be an absolute path below /"),
        (("/", "s", ["a"]), "must be an absolute path below /"),
        (("/srv/../x", "s", ["a"]), "no '.' or '..' step"),
        (("/srv/\nx", "s", ["a"]), "no control character"),
        (("/srv/x", "s", []), "servers of volume s must be a list"),
        (("/srv/x", "s", "a"), "servers of volume s must be a list"),
        (("/srv/x", "s", ["fe80::1"]), "name them where they have IPv6 addresses"),
        (("/srv/x", "s", ["a"], ["a,b"]), "is no mount option"),
        (("/srv/x", "s", ["a"], ["_netdev"]), "is set by this function"),
        (("/srv/x", "s", ["a"], ["backup-volfile-servers=b"]), "is set by this function"),
    ],
)
def test_what_cannot_be_mounted_is_refused(arguments, words):
    with pytest.raises(CommandExecutionError) as raised:
        utils.units(*arguments)
    assert words in str(raised.value)


def test_mounts_are_listed_lowest_first():
    assert utils.mounts(MOUNTINFO, "/srv/shared/") == [
        {
            "source": "db-1:/shared",
            "fstype": "fuse.glusterfs",
            "options": ["rw", "relatime", "user_id=0", "allow_other"],
        },
        {"source": "on top", "fstype": "tmpfs", "options": ["rw"]},
    ]
    assert utils.mounts(MOUNTINFO, "/srv/with space")[0]["fstype"] == "tmpfs"
    assert utils.mounts(MOUNTINFO, "/srv") == []


PATHS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20
)


@pytest.mark.skipif(not shutil.which("systemd-escape"), reason="systemd-escape is not installed")
@given(PATHS)
@example("srv/.hidden/a-b_c:d.e")
@example(".first")
def test_unit_names_are_those_of_systemd(path):
    if any(step in (".", "..") for step in path.split("/")):
        return  # refused by systemd and by units
    expected = subprocess.run(
        ["systemd-escape", "--path", "--suffix=mount", "--", "/" + path],
        capture_output=True,
        check=True,
        text=True,
    ).stdout.rstrip("\n")
    assert utils.unit_name("/" + path) == expected
