"""No example of a Gluster function is left out where the examples are run."""

from docs import make_reference
from tests.functional.gluster.story import STORY
from tests.support import docstrings

FUNCTIONS = {function.name: function for function in make_reference.functions("modules", "gluster")}


def test_each_gluster_function_has_one_line_of_example():
    for name, function in FUNCTIONS.items():
        lines = docstrings.commands(docstrings.parse(function.doc))
        assert len(lines) == 1, f"{function.file}: {name} has {len(lines)} lines of CLI example"


def test_the_story_has_a_part_for_each_function_and_no_other():
    story = "tests/functional/gluster/story.py"
    without = sorted(set(FUNCTIONS) - set(STORY))
    assert not without, f"run the examples of {', '.join(without)}: give them a part in {story}"
    gone = sorted(set(STORY) - set(FUNCTIONS))
    assert not gone, f"{story} tells of functions that are gone: {', '.join(gone)}"
