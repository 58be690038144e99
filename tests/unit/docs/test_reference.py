"""The module reference says what the docstrings say, and these say all there is to say."""

import re

import pytest
import yaml
from salt.state import STATE_INTERNAL_KEYWORDS

from docs import make_reference
from tests.support import docstrings

FUNCTIONS = [
    pytest.param(kind, virtual, function, id=f"{kind}/{virtual}.{function.name}")
    for kind in make_reference.KINDS
    for virtual in make_reference.sources(kind)
    for function in make_reference.functions(kind, virtual)
]


def of(*kinds):
    """Run a test once for each public function of these kinds of module."""
    chosen = [row for row in FUNCTIONS if row.values[0] in kinds]
    return pytest.mark.parametrize(("kind", "virtual", "function"), chosen)


def test_the_committed_pages_are_what_the_docstrings_say():
    committed = {
        str(file.relative_to(make_reference.OUTPUT)): file.read_text(encoding="utf-8")
        for file in make_reference.OUTPUT.rglob("*.md")
    }
    made = make_reference.pages()
    differing = [path for path in {*committed, *made} if committed.get(path) != made.get(path)]
    assert not differing, f"run `make docs`: {', '.join(sorted(differing))} would change"


@of("modules", "states", "runners")
def test_each_parameter_is_documented_and_no_other(kind, virtual, function):
    documented = docstrings.parse(function.doc).parameters
    assert len(documented) == len(set(documented)), f"{function.file} documents one twice"
    missing = [name for name in function.parameters if name not in documented]
    invented = [name for name in documented if name not in function.parameters]
    assert not missing, f"{function.file}: {function.name} does not document {missing}"
    assert not invented, f"{function.file}: {function.name} documents {invented}, which it lacks"


@of("modules", "runners")
def test_each_function_has_an_example_that_its_signature_accepts(kind, virtual, function):
    lines = docstrings.commands(docstrings.parse(function.doc))
    where = f"{function.file}: {function.name}"
    assert "\nCLI Example:\n" in function.doc, f"{where} has no CLI example"
    assert lines, f"{where} has no line of bash below CLI Example"
    for line in lines:
        call = docstrings.call(line)
        assert call.function == f"{virtual}.{function.name}", f"{where} shows another: {line}"
        assert docstrings.accepts(function, call.arguments, call.keywords) is True, (
            f"{where}: {line}"
        )


@of("modules")
def test_each_function_says_what_it_returns_and_raises(kind, virtual, function):
    where = f"{function.file}: {function.name}"
    fields = docstrings.parse(function.doc).fields
    text = function.doc.partition("CLI Example:")[0]
    returns = "returns" in fields or re.search(r"\breturns?\b|\bTell whether\b", text, re.I)
    assert returns, f"{where} does not say what it returns"
    # healthy() and its like say why they raise nothing.
    source = (make_reference.ROOT / function.file).read_text(encoding="utf-8")
    raising = virtual == "gluster" and "CommandExecutionError" in source
    raises = "raises" in fields or "not an error" in " ".join(text.split())
    assert raises or not raising, f"{where} does not say what it raises"


@of("states")
def test_each_state_is_shown_in_yaml_that_its_signature_accepts(kind, virtual, function):
    parts = make_reference.sources(kind)[virtual]
    shown = []
    for doc in [function.doc, *(part.doc for part in parts)]:
        for block in docstrings.parse(doc).blocks.get("yaml", []):
            for name, body in yaml.safe_load(block).items():
                # A state without arguments is a bare name.
                states = {body: []} if isinstance(body, str) else body
                if f"{virtual}.{function.name}" in states:
                    shown.append((name, states[f"{virtual}.{function.name}"]))
    assert shown, f"{function.file}: no yaml example shows {virtual}.{function.name}"
    for name, arguments in shown:
        given = {key: value for entry in arguments for key, value in entry.items()}
        own = {key: value for key, value in given.items() if key not in STATE_INTERNAL_KEYWORDS}
        assert docstrings.accepts(function, [], {"name": name, **own}) is True, (
            f"{function.file}: {name}"
        )
