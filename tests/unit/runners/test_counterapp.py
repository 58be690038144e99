"""Old names of commands lead to the new ones."""

import pytest

NAMES = """
current_release history lock plan preflight publish releases settings status token topology unlock
verify with_role
"""


@pytest.mark.parametrize("name", NAMES.split())
def test_an_old_name_fails_with_the_new_one_whatever_it_is_given(runners, name):
    answer, code = runners.run(f"counterapp.{name}", "1.4.0", "hits=5", "relase=1")
    assert code == 1
    assert answer["retcode"] == 1
    [sentence] = answer["failed"]
    assert sentence.startswith(f"counterapp.{name} is now ")
    assert "`salt-run " in sentence


def test_there_are_no_others(runners):
    old = {name for name in runners.functions if name.startswith("counterapp.")}
    assert old == {f"counterapp.{name}" for name in NAMES.split()}
