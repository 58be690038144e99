"""What README and the pages in docs tell somebody to type, as data."""

import functools
import re
from dataclasses import dataclass
from pathlib import Path

from tests.support.loading import ROOT

SHELLS = ("sh", "bash")
#: A code span is a command when it begins with one of these and something follows: `make` alone,
#: and `gluster` or `mongod`, are names.
PROGRAMS = (
    "make|salt|salt-run|salt-call|salt-key|systemctl|journalctl|vagrant|curl|modprobe|sudo"
    r"|(?:/srv/counterapp/|bootstrap/)?(?:bootstrap\.sh|expect-key|make-secrets)|bench/hits"
)
_FENCE = re.compile(r"^[ ]*```(\w*)[^\n]*\n(.*?)^[ ]*```[ ]*$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`((?:[^`\n]|\n(?!\n))+)`(?!`)")
_HEADING = re.compile(r"^(#{1,6}) +(.+?) *$", re.MULTILINE)
# A quote hides what would begin a comment, and so does a word that it stands in.
_COMMAND = re.compile(r"""((?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^'"\\#]|(?<=\S)#)*)(?:#(.*))?""")


@dataclass(frozen=True)
class Heading:
    """A heading, and the anchor that GitHub gives it."""

    line: int
    level: int
    title: str
    anchor: str


@dataclass(frozen=True)
class Span:
    """Inline code, in one line whatever its lines were."""

    file: str
    line: int
    text: str


@dataclass(frozen=True)
class Command:
    """A line for a shell, without its comment."""

    file: str
    line: int
    headings: tuple[str, ...]
    """The titles of the headings that it stands below, the nearest last."""
    text: str
    comment: str
    fenced: bool
    """Whether it stands in a block of its own, and not within a sentence or a table."""


def commands(path: str | Path) -> list[Command]:
    """Return the commands of a page, those of its blocks and those within its text, as they come.

    :param path: a Markdown file, absolute or in the repository.
    """
    found = []
    text, _prose = _read(path)
    for block in _FENCE.finditer(text):
        if block[1] not in SHELLS:
            continue
        line = _line(text, block.start(2))
        for whole in re.findall(r"(?:[^\n]*\\\n)*[^\n]*\n", block[2]):
            joined = re.sub(r"\s*\\\n\s*", " ", whole).strip()
            match = _COMMAND.fullmatch(joined)
            if match is None:
                raise ValueError(f"{_name(path)}:{line}: a quote is not closed: {joined}")
            if match[1].strip():
                found.append(_command(path, line, match[1].strip(), (match[2] or "").strip(), True))
            line += whole.count("\n")
    for span in spans(path):
        if re.match(rf"(?:{PROGRAMS}) \S", span.text):
            found.append(_command(path, span.line, span.text, "", False))
    return sorted(found, key=lambda command: command.line)


def section(path: str | Path, title: str) -> list[str]:
    """Return what the blocks below a heading tell to type, up to the next one of its level.

    :param path: a Markdown file, absolute or in the repository.
    :param title: the heading, without its number signs.
    :raises LookupError: when the page does not have exactly one such heading, or no command there.
    """
    if [heading.title for heading in headings(path)].count(title) != 1:
        raise LookupError(f"{_name(path)} does not have exactly one heading '{title}'")
    below = [each.text for each in commands(path) if each.fenced and title in each.headings]
    if not below:
        raise LookupError(f"{_name(path)} has no command below '{title}'")
    return below


def spans(path: str | Path) -> list[Span]:
    """Return the inline code of a page."""
    _text, prose = _read(path)
    return [
        Span(_name(path), _line(prose, match.start()), " ".join(match[1].split()))
        for match in _SPAN.finditer(prose)
    ]


def headings(path: str | Path) -> list[Heading]:
    """Return the headings of a page."""
    found: list[Heading] = []
    taken: dict[str, int] = {}
    _text, prose = _read(path)
    for match in _HEADING.finditer(prose):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match[2]).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        again = taken[slug] = taken.get(slug, -1) + 1
        anchor = f"{slug}-{again}" if again else slug
        found.append(Heading(_line(prose, match.start()), len(match[1]), title, anchor))
    return found


def _command(path: str | Path, line: int, text: str, comment: str, fenced: bool) -> Command:
    above: list[Heading] = []
    for heading in headings(path):
        if heading.line < line:
            above = [each for each in above if each.level < heading.level] + [heading]
    titles = tuple(heading.title for heading in above)
    return Command(_name(path), line, titles, text, comment, fenced)


@functools.cache
def _read(path: str | Path) -> tuple[str, str]:
    """Return a page, and its prose: the page with its blocks blanked, so that lines stay."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return text, _FENCE.sub(lambda block: "\n" * block[0].count("\n"), text)


def _name(path: str | Path) -> str:
    whole = ROOT / path
    return str(whole.relative_to(ROOT) if whole.is_relative_to(ROOT) else whole)


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
