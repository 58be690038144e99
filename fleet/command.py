"""
What every runner of this tree does alike: judge its arguments, and tell a failure.

A command is a function of a module in ``_runners`` with annotations, and this decorator on it::

    @command.checked
    def publish(version: str, source: str | None = None) -> dict[str, Any]:
        return releases.publish(Master(__opts__), version, source)

It ends with exit code 0 and what the function returns; or with exit code 1 and a dictionary with
``retcode`` 1 and ``failed``, a list of sentences that name the thing and the remedy. A dictionary
with another ``retcode`` ends with that one.
"""

import difflib
import functools
import inspect
import types
import typing
from collections.abc import Callable, Collection, Mapping, MutableMapping
from typing import Any, ParamSpec

from salt.exceptions import SaltException

from fleet.errors import FleetError, refuse, sentences

P = ParamSpec("P")

_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    list: "a list",
    dict: "a mapping",
}


def run(context: MutableMapping[str, Any], action: Callable[[], Any]) -> Any:
    """
    Return what the action returns, or what says why it failed: ``retcode`` 1 and ``failed``.

    context
        The runner's ``__context__``, where Salt reads the exit code.

    What may fail raises SaltException (FleetError above all) or OSError; all else is an error of
    this code, and Salt shows its trace.
    """
    try:
        answer = action()
    except (SaltException, OSError) as error:
        answer = {"retcode": 1, "failed": sentences(error)}
    except TypeError as error:
        # Salt would take it for a wrong argument, and end with 0.
        raise RuntimeError(f"an error of this code: {error}") from error
    if isinstance(answer, dict) and answer.get("retcode"):
        context["retcode"] = answer["retcode"]
    return answer


def checked(function: Callable[P, Any]) -> Callable[P, Any]:
    """
    Have a runner's function called with arguments that it has, of the types that it says.

    To Salt such a function takes whatever comes: by itself Salt would answer a misspelt or missing
    argument with the function's documentation and exit code 0.
    """

    @functools.wraps(function)
    def command(*args: Any, **kwargs: Any) -> Any:
        def action() -> Any:
            return function(**arguments(function, args, kwargs))  # type: ignore[call-arg]

        return run(function.__globals__["__context__"], action)

    # Salt follows it to the arguments.
    del command.__wrapped__
    return typing.cast(Callable[P, Any], command)


def arguments(
    function: Callable[..., Any], args: Collection[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """
    Return the arguments of a call by name, converted to what the function's annotations say.

    A whole number is taken for text where text is asked for, and text for a list of its parts
    between commas where a list is: YAML makes a number of ``version=2``.

    Raises FleetError with a sentence for each argument that is unknown, missing or of another type.
    """
    name = f"{function.__module__.rpartition('.')[2]}.{function.__name__.rstrip('_')}"
    parameters = inspect.signature(function).parameters
    # Salt adds what begins so, of the job.
    given = {key: value for key, value in kwargs.items() if not key.startswith("__")}
    problems = _unknown(given, parameters, f"{name} has no argument")
    if len(args) > len(parameters):
        surplus = ", ".join(repr(each) for each in list(args)[len(parameters) :])
        problems.append(f"{name} takes {len(parameters)} arguments at most: leave out {surplus}")
    by_place = dict(zip(parameters, args, strict=False))
    problems += [f"{name} was given {key} twice" for key in by_place if key in given]
    given = {**by_place, **given}
    hints = typing.get_type_hints(function)
    found = {}
    for key, parameter in parameters.items():
        if key in given:
            try:
                found[key] = _convert(key, given[key], hints.get(key, Any))
            except FleetError as error:
                problems += error.problems
        elif parameter.default is inspect.Parameter.empty:
            problems.append(f"{name} needs {key}: it takes {', '.join(parameters)}")
    refuse(problems)
    return found


def _convert(name: str, value: Any, hint: Any) -> Any:
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    wanted = typing.get_args(hint) if union else (hint,)
    kinds = [typing.get_origin(each) or each for each in wanted]
    if Any in kinds or value is None and type(None) in kinds or type(value) in kinds:
        return value
    # What YAML makes of a mapping keeps its order.
    if isinstance(value, dict) and dict in kinds:
        return value
    if type(value) is int and float in kinds:
        return float(value)
    if type(value) is int and str in kinds:
        return str(value)
    if isinstance(value, str) and list in kinds:
        return [part.strip() for part in value.split(",") if part.strip()]
    if type(value) is float and str in kinds:
        raise FleetError(
            f"{name} came as the number {value} (1.10 would become 1.1): write it as text, "
            f"{name}='\"1.10\"'"
        )
    words = " or ".join(_WORDS[kind] for kind in kinds if kind in _WORDS)
    raise FleetError(f"{name} must be {words}, not {value!r}")


def known(given: Mapping[str, Any], known: Collection[str], what: str) -> None:
    """
    Raise FleetError with a sentence for each name that nobody knows, and the nearest one.

    what
        Has no such name: ``the pillar of orch.rollout``.
    """
    refuse(_unknown(given, known, f"{what} has no"))


def _unknown(given: Collection[str], known: Collection[str], what: str) -> list[str]:
    return [f"{what} {name!r}{_nearest(name, known)}" for name in given if name not in known]


def _nearest(name: str, known: Collection[str]) -> str:
    there = f"here are {', '.join(known) or 'none'}"
    near = difflib.get_close_matches(name, known, n=1)
    return f": is {near[0]} meant? T{there}" if near else f": t{there}"


def one_of(given: str, known: Collection[str], what: str) -> str:
    """
    Return a name that is one of the known ones, as of a node or a role.

    what
        What it is the name of: ``node``.

    Raises FleetError with the nearest one.
    """
    refuse(_unknown([given], known, f"there is no {what}"))
    return given


def moved(namespace: dict[str, Any], now: Mapping[str, str]) -> None:
    """
    Give a runner functions of old names that do nothing but say what each is called now.

    namespace
        The runner's ``globals()``.
    now
        What each is now, by its old name.
    """
    module = namespace["__name__"].rpartition(".")[2]
    namespace.update({name: _old_name(namespace, module, name, now[name]) for name in now})


def _old_name(namespace: dict[str, Any], module: str, name: str, now: str) -> Callable[..., Any]:
    def refused() -> None:
        raise FleetError(f"{module}.{name} is now {now}")

    def function(*_args: Any, **_kwargs: Any) -> Any:
        return run(namespace["__context__"], refused)

    function.__name__ = name
    # Salt's loader gives a module the functions that it has made itself.
    function.__module__ = namespace["__name__"]
    function.__doc__ = f"""
    Was {name}; it is now {now}.

    CLI Example:

    .. code-block:: bash

        salt-run {module}.{name}
    """
    return function
