"""What the master tells a web server of backups, as a file for the app."""

import json

import pytest
from salt.exceptions import CommandExecutionError, SaltInvocationError

from tests.support.loading import load

module = load("_modules/counterapp_backups.py")


def test_the_file_is_there_in_one_step_and_for_the_apps_user(tmp_path):
    path = tmp_path / "run" / "backups.json"
    for number in (1795836367.5, 3):
        assert module.tell_backups({"newest_timestamp_seconds": number}, str(path)) is True
        assert json.loads(path.read_text()) == {"newest_timestamp_seconds": number}
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.parent.stat().st_mode & 0o777 == 0o755
    assert [each.name for each in path.parent.iterdir()] == ["backups.json"]


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ("x", "numbers must be a dictionary, not 'x'"),
        ({"a b": 1}, "'a b' is no name of a number"),
        ({"a": "1"}, "a must be a number, not '1'"),
        ({"a": True}, "a must be a number, not True"),
    ],
)
def test_what_is_no_number_is_refused_and_the_file_stays(tmp_path, numbers, words):
    path = tmp_path / "backups.json"
    path.write_text("{}")
    with pytest.raises(SaltInvocationError, match=words):
        module.tell_backups(numbers, str(path))
    assert path.read_text() == "{}"


def test_a_folder_in_its_place_is_told(tmp_path):
    (tmp_path / "backups.json").mkdir()
    with pytest.raises(CommandExecutionError, match=r"backups\.json cannot be written: "):
        module.tell_backups({}, str(tmp_path / "backups.json"))
    assert [each.name for each in tmp_path.iterdir()] == ["backups.json"]
