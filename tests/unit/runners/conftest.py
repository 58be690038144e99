"""The runners as a master loads them, over folders of the test."""

import pathlib
from collections.abc import Callable
from typing import Any

import pytest
import salt.loader
import salt.minion

from tests.support.checkout import Checkout


class Runners(Checkout):
    """A master's folders, and its runners by name; ``context`` has the exit code."""

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__(folder)
        self.context: dict[str, Any] = {}
        self.functions = salt.loader.runner(self.opts, utils={}, context=self.context)

    def __getitem__(self, name: str) -> Callable[..., Any]:
        return self.functions[name]

    def run(self, name: str, *args: Any) -> tuple[Any, int]:
        """Call a function with arguments as ``salt-run`` has them; return answer and exit code."""
        self.context.clear()
        function = self.functions[name]
        given, named = salt.minion.load_args_and_kwargs(function, list(args), {"user": "root"})
        return function(*given, **named), self.context.get("retcode", 0)


@pytest.fixture
def runners(tmp_path: pathlib.Path) -> Runners:
    return Runners(tmp_path)
