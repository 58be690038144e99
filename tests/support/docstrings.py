"""What the docstrings of our Salt modules say, as data."""

import inspect
import shlex
from dataclasses import dataclass, field

import docutils.core
import docutils.nodes
import docutils.parsers.rst.roles as roles
import salt.utils.args

# Sphinx's references, which docutils by itself does not know.
for _role in ("py:func", "py:mod", "doc", "ref"):
    roles.register_generic_role(_role, docutils.nodes.literal)


@dataclass
class Docstring:
    """The parts of a docstring."""

    text: str
    parameters: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    blocks: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Call:
    """A command line ``salt TARGET function …``, parsed as Salt's command line does it."""

    target: str
    function: str
    arguments: list
    keywords: dict


def parse(text):
    """Return the parts of a docstring; raises for one that is not valid reStructuredText."""
    tree = docutils.core.publish_doctree(
        text, settings_overrides={"halt_level": 2, "report_level": 5, "_disable_config": True}
    )
    found = Docstring(text)
    for name in tree.findall(docutils.nodes.field_name):
        word, _, rest = name.astext().partition(" ")
        found.fields.append(word)
        if word == "param":
            found.parameters.append(rest.split()[-1])
    for child in tree.children:
        # Salt's older way: a list of terms, each one or more names.
        if isinstance(child, docutils.nodes.definition_list):
            for term in child.findall(docutils.nodes.term):
                found.parameters += [name.strip(" *") for name in term.astext().split(",")]
    for block in tree.findall(docutils.nodes.literal_block):
        (language,) = [word for word in block["classes"] if word != "code"] or [""]
        found.blocks.setdefault(language, []).append(block.astext())
    return found


def commands(docstring):
    """Return the command lines of a docstring's CLI examples."""
    blocks = docstring.blocks.get("bash", [])
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def accepts(function, arguments, keywords):
    """Tell whether a function could be called like this, by its signature alone."""
    scope = {}
    exec(f"def {function.signature}: pass", scope)
    try:
        inspect.signature(scope[function.name]).bind(*arguments, **keywords)
    except TypeError as error:
        return f"{function.signature}: {error}"
    return True


def call(line):
    """Parse a command line as the program of Salt would; raises ValueError for another program."""
    program, *words = (word for word in shlex.split(line) if word != "--local")
    if program not in ("salt", "salt-call", "salt-run"):
        raise ValueError(f"this is no salt command: {line}")
    target = words.pop(0) if program == "salt" else ""
    arguments, keywords = salt.utils.args.parse_input(words[1:], condition=False)
    return Call(target, words[0], arguments, keywords)
