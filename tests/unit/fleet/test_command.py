"""What every runner does alike, through Salt's own loader and client of runners."""

import pytest
import salt.config
import salt.loader
import salt.minion
from salt.exceptions import CommandExecutionError

from fleet import command
from fleet.errors import FleetError

RUNNER = '''
"""Commands of a test."""
from typing import Any

from fleet import command
from fleet.errors import FleetError


@command.checked
def count(hits: int = 20, release: str | None = None, timeout: float = 30) -> Any:
    """Count."""
    return [hits, release, timeout]


@command.checked
def replace(id: str, leaving: list[str] | None = None, batch: int | str = 1) -> Any:
    return [id, leaving, batch]


@command.checked
def fails(way: str) -> Any:
    if way == "fleet":
        raise FleetError("web-1: it is down", "web-2: so is it")
    if way == "code":
        return {"retcode": 2, "changes": 3}
    open("/no/such/file")


@command.checked
def list_() -> Any:
    return []


__func_alias__ = {"list_": "list"}
'''


@pytest.fixture
def call(tmp_path):
    """Calls a function as salt-run does, and returns its answer and the exit code."""
    (tmp_path / "runners").mkdir()
    (tmp_path / "runners/commands.py").write_text(RUNNER)
    opts = salt.config.master_config(None)
    opts.update(
        root_dir=str(tmp_path),
        cachedir=str(tmp_path / "cache"),
        extension_modules=str(tmp_path / "extmods"),
        runner_dirs=[str(tmp_path / "runners")],
    )
    context = {}
    functions = salt.loader.runner(opts, utils={}, context=context)

    def run(name, *args):
        context.clear()
        function = functions[f"commands.{name}"]
        given, named = salt.minion.load_args_and_kwargs(function, list(args), {"user": "root"})
        return function(*given, **named), context.get("retcode", 0)

    run.functions = functions
    return run


@pytest.mark.parametrize(
    ("args", "answer"),
    [
        (["count"], [20, None, 30]),
        (["count", 3], [3, None, 30]),
        (["count", "hits=3", "release=1.4.0", "timeout=5"], [3, "1.4.0", 5.0]),
        (["count", "release=2"], [20, "2", 30]),
        (["replace", "web-1", "leaving=web-1, web-2"], ["web-1", ["web-1", "web-2"], 1]),
        (["replace", "web-1", ["web-2"], "25%"], ["web-1", ["web-2"], "25%"]),
        (["list"], []),
    ],
)
def test_arguments_come_as_the_function_says(call, args, answer):
    found, code = call(*args)
    assert (found, code) == (answer, 0)
    assert [type(each) for each in found] == [type(each) for each in answer]


@pytest.mark.parametrize(
    ("args", "failed"),
    [
        (["count", "hits=ten"], ["hits must be a whole number, not 'ten'"]),
        (["count", "hits=2.5"], ["hits must be a whole number, not 2.5"]),
        (["count", "hits=True"], ["hits must be a whole number, not True"]),
        (
            ["count", "relase=1.4.0"],
            [
                "commands.count has no argument 'relase': is release meant? "
                "There are hits, release, timeout"
            ],
        ),
        (
            ["count", "release=1.10"],
            [
                "release came as the number 1.1 (1.10 would become 1.1): write it as text, "
                "release='\"1.10\"'"
            ],
        ),
        (["replace"], ["commands.replace needs id: it takes id, leaving, batch"]),
        (["replace", "web-1", "id=web-2"], ["commands.replace was given id twice"]),
        (
            ["replace", "a", "b", 3, "much"],
            ["commands.replace takes 3 arguments at most: leave out 'much'"],
        ),
        (["replace", "web-1", "leaving=5"], ["leaving must be a list, not 5"]),
        (["list", "all"], ["commands.list takes 0 arguments at most: leave out 'all'"]),
        (
            ["count", "hits=ten", "timeout=long"],
            ["hits must be a whole number, not 'ten'", "timeout must be a number, not 'long'"],
        ),
        (["fails", "fleet"], ["web-1: it is down", "web-2: so is it"]),
        (["fails", "file"], ["/no/such/file: No such file or directory"]),
    ],
)
def test_a_failure_is_told_in_sentences_and_ends_with_1(call, args, failed):
    assert call(*args) == ({"retcode": 1, "failed": failed}, 1)


def test_a_command_says_with_which_code_it_ends(call):
    assert call("fails", "code") == ({"retcode": 2, "changes": 3}, 2)


def test_the_documentation_is_the_functions_own(call):
    assert call.functions["commands.count"].__doc__ == "Count."


def test_other_failures_of_salt_are_told_too():
    def fails():
        raise CommandExecutionError("no")

    context = {}
    assert command.run(context, fails) == {"retcode": 1, "failed": ["no"]}
    assert context == {"retcode": 1}


def test_an_error_of_the_code_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        command.run({}, lambda: 1 / 0)
    # To Salt a TypeError is an argument that is wrong.
    with pytest.raises(RuntimeError):
        command.run({}, lambda: 1 + "")


def test_unknown_names_are_told_with_the_nearest():
    command.known({"release": "1.4.0"}, ["release", "batch"], "the pillar")
    with pytest.raises(FleetError) as error:
        command.known({"relase": 1, "x": 2}, ["release", "batch"], "the pillar")
    assert error.value.problems == [
        "the pillar has no 'relase': is release meant? There are release, batch",
        "the pillar has no 'x': there are release, batch",
    ]


def test_one_of_the_known():
    assert command.one_of("web-1", ["web-1"], "node") == "web-1"
    with pytest.raises(FleetError, match="there is no node 'wbe-1': is web-1 meant"):
        command.one_of("wbe-1", ["web-1", "db-1"], "node")
