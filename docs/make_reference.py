"""
Make ``docs/reference`` from the docstrings of the Salt modules: ``make docs``.

One page for each name that Salt knows a module by, and kind of module; a name whose parts lie in
several files (``gluster``) has one page. Sphinx reads the docstrings, sphinx-markdown-builder
writes them as Markdown. The modules are parsed and not imported, for they want Salt's loader.
"""

import ast
import io
import re
import shutil
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "docs" / "reference"
KINDS = {"modules": "Execution modules", "states": "States", "runners": "Runners"}
TITLES = {"modules": "execution module", "states": "states", "runners": "runner"}

_NOTICE = "<!-- Made by `make docs` from the docstrings: change those. -->\n\n"
_SETTINGS = {
    "extensions": ["sphinx_markdown_builder"],
    "root_doc": "README",
    "smartquotes": False,
    "markdown_anchor_signatures": True,
    "markdown_flavor": "github",
    # A reference to a function that is not there is an error; types are words here, no references.
    "nitpicky": True,
    "nitpick_ignore_regex": [("py:(class|exc|obj)", ".*")],
}


@dataclass
class Function:
    """A public function of a Salt module, as its source has it."""

    name: str
    signature: str
    parameters: list[str]
    doc: str
    file: str


@dataclass
class Source:
    """A file of a Salt module."""

    file: Path
    virtual: str
    doc: str
    functions: list[Function]


def sources(kind):
    """Return the files of a kind of module by the name that Salt knows them by, its own first."""
    found = defaultdict(list)
    for file in sorted((ROOT / f"_{kind}").glob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        virtual = file.stem
        functions = []
        for node in tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__virtualname__":
                virtual = ast.literal_eval(node.value)
            # Salt alone calls mod_watch, for whoever watches.
            hidden = isinstance(node, ast.FunctionDef) and node.name.startswith(("_", "mod_watch"))
            if isinstance(node, ast.FunctionDef) and not hidden:
                functions.append(_function(node, file))
        found[virtual].append(Source(file, virtual, ast.get_docstring(tree) or "", functions))
    return {
        virtual: sorted(parts, key=lambda part: (part.file.stem != virtual, part.file.stem))
        for virtual, parts in sorted(found.items())
    }


def functions(kind, virtual):
    """Return the public functions of a module, from all of its files."""
    return [function for part in sources(kind)[virtual] for function in part.functions]


def pages():
    """Return the Markdown pages as they should be: path below ``docs/reference`` to text."""
    with tempfile.TemporaryDirectory() as scratch:
        source, output = Path(scratch, "source"), Path(scratch, "output")
        for kind in KINDS:
            (source / kind).mkdir(parents=True)
            for virtual, parts in sources(kind).items():
                (source / kind / f"{virtual}.rst").write_text(_page(kind, virtual, parts))
        (source / "README.rst").write_text(_index())
        warnings = io.StringIO()
        with patch_docutils(), docutils_namespace():
            app = Sphinx(
                source,
                None,
                output,
                Path(scratch, "doctrees"),
                "markdown",
                confoverrides=_SETTINGS,
                status=None,
                warning=warnings,
                freshenv=True,
            )
            app.connect("doctree-resolved", _adapt)
            app.build(force_all=True)
        if warnings.getvalue():
            raise SystemExit(warnings.getvalue().replace(f"{source}/", ""))
        return {
            str(file.relative_to(output)): _NOTICE + file.read_text(encoding="utf-8").strip() + "\n"
            for file in sorted(output.rglob("*.md"))
        }


def write():
    """Write the pages, and remove those of modules that are gone."""
    made = pages()
    shutil.rmtree(OUTPUT, ignore_errors=True)
    for path, text in made.items():
        (OUTPUT / path).parent.mkdir(parents=True, exist_ok=True)
        (OUTPUT / path).write_text(text, encoding="utf-8")


def _function(node, file):
    arguments = node.args
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    names += [argument.arg for argument in arguments.kwonlyargs]
    names += [star.arg for star in (arguments.vararg, arguments.kwarg) if star]
    # Salt's users write values on a command line, and most modules have no annotations to show.
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    doc = ast.get_docstring(node) or ""
    file = str(file.relative_to(ROOT))
    # Salt's way, with `__func_alias__`, to name a function like one of Python's own.
    name = node.name.rstrip("_")
    return Function(name, f"{name}({ast.unparse(arguments)})", names, doc, file)


def _page(kind, virtual, parts):
    lines = [
        ":orphan:",
        "",
        *_title(f"{virtual} ({TITLES[kind]})", "="),
        f".. py:module:: salt.{kind}.{virtual}",
        "",
    ]
    lines += [parts[0].doc, ""]
    # The functions of some are not written out, since they say the same.
    if any(part.functions for part in parts):
        lines += _table(kind, virtual, parts)
    for part in parts:
        if len(parts) > 1:
            lines += _title(part.file.name, "-")
            if part is not parts[0]:
                lines += [part.doc, ""]
        elif part.functions:
            lines += _title("Functions" if kind != "states" else "States", "-")
        for function in part.functions:
            lines += [f".. py:function:: {function.signature}", ""]
            lines += [f"   {line}".rstrip() for line in function.doc.splitlines()]
            lines.append("")
    return "\n".join(lines) + "\n"


def _table(kind, virtual, parts):
    rows = sorted((f.name, f.doc) for part in parts for f in part.functions)
    lines = [".. list-table::", "   :header-rows: 1", ""]
    lines += [f"   * - {'state' if kind == 'states' else 'function'}", "     - what it does"]
    for name, doc in rows:
        lines += [f"   * - :py:func:`{virtual}.{name} <{name}>`", f"     - {_summary(doc)}"]
    return [*lines, ""]


def _index():
    lines = _title("Module reference", "=")
    lines += [
        "Every function, with its arguments, what it returns, what it raises and an example.",
        "",
    ]
    for kind, title in KINDS.items():
        lines += [*_title(title, "-"), ".. list-table::", "   :header-rows: 1", ""]
        lines += ["   * - name", "     - what it is for"]
        for virtual, parts in sources(kind).items():
            lines += [
                f"   * - :doc:`{virtual} <{kind}/{virtual}>`",
                f"     - {_summary(parts[0].doc)}",
            ]
        lines.append("")
    return "\n".join(lines)


def _title(text, line):
    return [text, line * len(text), ""]


def _summary(doc):
    """Return the first sentence of a docstring, in one line."""
    paragraph = " ".join(doc.strip().partition("\n\n")[0].split())
    return re.split(r"\. (?=[A-Z])", paragraph)[0].rstrip(".:")


def _adapt(app, doctree, docname):
    """Give functions the name that Salt calls them by, and lists a form that Markdown has."""
    for name in doctree.findall(addnodes.desc_addname):
        _, kind, virtual, _ = name.astext().split(".")
        name.children = [nodes.Text(f"{virtual}.")]
    for text in list(doctree.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" – "))
    for terms in list(doctree.findall(nodes.definition_list)):
        items = nodes.bullet_list()
        for entry in terms:
            term, definition = entry[0], entry[-1]
            first = nodes.paragraph("", "", nodes.strong("", "", *term.children))
            rest = list(definition.children)
            if rest and isinstance(rest[0], nodes.paragraph):
                first += [nodes.Text(" – "), *rest.pop(0).children]
            items += nodes.list_item("", first, *rest)
        # Salt's older way to list parameters: what stands under the function itself.
        if isinstance(terms.parent, addnodes.desc_content):
            label = nodes.field_name("", "Parameters")
            fields = nodes.field_list("", nodes.field("", label, nodes.field_body("", items)))
            terms.replace_self(fields)
        else:
            terms.replace_self(items)


if __name__ == "__main__":
    sys.exit(write())
