"""The second place of backups on another host: the real rsync and ssh, to a server of SSH."""

import shutil

import pytest

from fleet import backups, second
from fleet.errors import FleetError
from tests.functional.fleet.test_second import NAME, chosen, made, master, place, tree
from tests.functional.fleet.test_second_archive import ALL, archive
from tests.support import ssh_host

__all__ = ["archive", "chosen", "master", "place"]


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    with ssh_host.running(tmp_path_factory.mktemp("ssh")) as running:
        yield running


@pytest.fixture
def there(chosen, host, place):
    """The settings, with the second place on the host."""
    where = {"host": f"root@{ssh_host.ADDRESS}", "port": host.port, "folder": str(place)}
    files = {"key": str(host.key), "known_hosts": str(host.known_hosts)}
    return {**chosen, "second": {**where, **files}}


def test_a_backup_goes_there_comes_back_and_is_removed(master, there, host, place):
    folder, entry = made(master, there)
    assert second.copy(master, there, entry) is True
    assert tree(place / NAME) == tree(folder)
    assert all(command.startswith("rsync --server") for command in host.commands)
    assert second.names(master, there) == [NAME]
    before = tree(folder)
    shutil.rmtree(folder)
    assert second.fetch(master, there, NAME) == folder
    assert tree(folder) == before
    second.remove(master, there, NAME)
    assert second.names(master, there) == []
    assert list(place.iterdir()) == []


def test_the_archive_goes_there_comes_back_and_is_pruned(archive, host):
    where = {"host": f"root@{ssh_host.ADDRESS}", "port": host.port, "folder": str(archive.place)}
    files = {"key": str(host.key), "known_hosts": str(host.known_hosts)}
    archive.chosen["second"] = {**where, **files}
    archive.close(*ALL)
    before = tree(archive.folder)
    assert archive.keep() == {"noted": 3, "copied": 3, "removed": 0}
    assert tree(archive.there) == before
    shutil.rmtree(archive.folder)
    assert archive.fetch()["brought"] == 3
    assert tree(archive.folder) == before
    archive.back_up("new", 125)
    backups.forget(archive.master, ["mine"])
    assert archive.keep()["removed"] == 2
    assert list(tree(archive.there)) == archive.index()
    assert all(command.startswith("rsync --server") for command in host.commands)


def test_a_host_with_another_key_is_given_nothing(master, there, host, place, tmp_path):
    _folder, entry = made(master, there)
    known = tmp_path / "known_hosts"
    other = host.key.with_name("other")
    other.mkdir()
    with ssh_host.running(other) as stranger:
        line = stranger.known_hosts.read_text()
        known.write_text(line.replace(f":{stranger.port} ", f":{host.port} "))
    changed = {**there, "second": {**there["second"], "known_hosts": str(known)}}
    with pytest.raises(FleetError, match="cannot be used: .*REMOTE HOST IDENTIFICATION"):
        second.copy(master, changed, entry)
    assert list(place.iterdir()) == []
    assert backups.find(master, NAME)["second"] is None


def test_a_host_that_lets_nobody_in_or_is_not_there_is_told(master, there, host, tmp_path):
    _folder, entry = made(master, there)
    with ssh_host.running(tmp_path) as other:
        changed = {**there, "second": {**there["second"], "key": str(other.key)}}
        with pytest.raises(FleetError, match="cannot be used: .*Permission denied"):
            second.copy(master, changed, entry)
    changed = {**there, "second": {**there["second"], "port": other.port}}
    with pytest.raises(FleetError, match="cannot be used: .*Connection refused"):
        second.copy(master, changed, entry)
