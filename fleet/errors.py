"""How this package says no: in sentences that name the thing and the remedy."""

from collections.abc import Iterable

from salt.exceptions import CommandExecutionError


class FleetError(CommandExecutionError):
    """Something cannot be done; ``problems`` has a sentence for each reason."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)


def sentences(error: Exception) -> list[str]:
    """Return what an error says to an operator, a sentence for each reason."""
    if isinstance(error, FleetError):
        return error.problems
    if isinstance(error, OSError) and error.filename and error.strerror:
        return [f"{error.filename}: {error.strerror}"]
    return [str(error)]


def refuse(problems: Iterable[str]) -> None:
    """Raise with all these problems at once; do nothing where there is none."""
    found = list(problems)
    if found:
        raise FleetError(*found)
