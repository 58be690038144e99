"""Putting nodes back one after the other; one that cannot be put back holds up no other."""

from collections.abc import Callable, Iterable

from fleet.change import StepFailed


def each(nodes: Iterable[str], replace: Callable[[str], None]) -> list[str]:
    """Replace each of these nodes, and return a sentence for each that could not be."""
    problems = []
    for node in nodes:
        try:
            replace(node)
        except StepFailed as error:
            problems += error.problems
    return problems
