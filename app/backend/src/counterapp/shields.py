"""Abacus' badges, as ``/hit/<namespace>/<key>/shield`` and ``/get/…/shield`` draw them.

They have parameters of their own, and boxes that grow with their letters; ``badges`` has those that
are like shields'.
"""

import re
from dataclasses import dataclass
from html import escape

from flask import Request, Response

from counterapp import answers
from counterapp.letters import drawable, width

QUERY = ("bgcolor", "textcolor", "text", "style", "fontsize", "font")
"""The parameters."""

LONGEST_TEXT = 100
SMALLEST, LARGEST, USUAL = 3, 200, 11
"""Pixels of a letter: more than the first, up to the second, else the third."""

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""For who opens the image itself: nothing in it runs or loads anything."""

NOT_KEPT = "max-age=0, no-cache, no-store, must-revalidate"
"""Proxies of images, as GitHub has one, are to count each view."""


@dataclass(frozen=True)
class _Font:
    family: str
    wide: float = 1
    """How wide its letters are, Verdana's being 1."""
    bold: bool = False
    italic: bool = False

    @property
    def look(self) -> str:
        """Its attributes."""
        weight = ' font-weight="bold"' if self.bold else ""
        return f'font-family="{self.family}"{weight}' + (
            ' font-style="italic"' if self.italic else ""
        )


_VERDANA, _ARIAL = "Verdana,DejaVu Sans,sans-serif", "Arial,Helvetica,sans-serif"

_FONTS = {
    "verdana": _Font(_VERDANA),
    "verdana-bold": _Font(_VERDANA, bold=True),
    "verdana-bold-italic": _Font(_VERDANA, bold=True, italic=True),
    "arial": _Font(_ARIAL, 0.87),
    "arial-bold": _Font(_ARIAL, 0.87, bold=True),
    "arial-italic": _Font(_ARIAL, 0.87, italic=True),
    "arial-bold-italic": _Font(_ARIAL, 0.87, bold=True, italic=True),
    "courier-new": _Font("Courier New,Courier,monospace", 0.95),
    "jetbrains-mono": _Font("JetBrains Mono,Courier New,monospace", 0.95),
}

_GRADIENTS = {
    "flat": '<stop offset="0" stop-color="#bbb" stop-opacity=".1"/>'
    '<stop offset="1" stop-opacity=".1"/>',
    "flat-square": "",
    "plastic": '<stop offset="0" stop-color="#fff" stop-opacity=".7"/>'
    '<stop offset="1" stop-opacity=".1"/>',
}
_SIMPLE = "-simple"
"""How styles end that show the value alone."""

_LABEL_COLOUR = "#555"
_COLOUR = re.compile("#?([0-9A-Fa-f]{3}|[0-9A-Fa-f]{6})")


@dataclass(frozen=True)
class Look:
    """How a badge is to look. The text comes as it is; drawing escapes it."""

    text: str
    """Beside the value; empty for none."""
    colour: str
    """Behind the value, ``#`` and digits."""
    letters: str
    """The colour of the letters."""
    style: str
    size: float
    font: str


def look(request: Request) -> Look:
    """Return how a request wants its badge.

    :raises ValueError: a colour is none. All else that is none is what it usually is.
    """
    asked = request.args
    style = asked.get("style", "flat").lower()
    base = style.removesuffix(_SIMPLE)
    font = asked.get("font", "verdana").lower()
    return Look(
        text=drawable(asked.get("text", "counter"), LONGEST_TEXT) if style == base else "",
        colour=_colour("bgcolor", asked.get("bgcolor", "007ec6")),
        letters=_colour("textcolor", asked.get("textcolor", "fff")),
        style=base if base in _GRADIENTS else "flat",
        size=_size(asked.get("fontsize", "")),
        font=font if font in _FONTS else "verdana",
    )


def answer(look: Look, value: int) -> Response:
    """Answer with a badge."""
    response = Response(draw(look, str(value)), mimetype="image/svg+xml")
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = NOT_KEPT
    return answers.named(response)


def draw(look: Look, value: str) -> str:
    """Return a badge as SVG."""
    font, size = _FONTS[look.font], look.size
    side, height = size * 0.75, round(size * 2.1, 1)
    left, boxes, words = 0.0, "", ""
    for text, colour in ((look.text, _LABEL_COLOUR), (value, look.colour)):
        if text:
            length = round(width(text, size * font.wide, font.bold), 1)
            wide = round(length + 2 * side, 1)
            boxes += f'<rect x="{left}" width="{wide}" height="{height}" fill="{colour}"/>'
            words += _word(text, left + wide / 2, height, length, look)
            left = round(left + wide, 1)
    title = escape(f"{look.text}: {value}" if look.text else value)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left}" height="{height}" role="img"'
        f' aria-label="{title}"><title>{title}</title>{_box(look.style, boxes, left, height)}'
        f'<g fill="{look.letters}" text-anchor="middle" {font.look} font-size="{size:g}">'
        f"{words}</g></svg>"
    )


def _box(style: str, boxes: str, wide: float, height: float) -> str:
    """Return the boxes behind the letters, with the style's shade and corners."""
    shade = _GRADIENTS[style]
    if not shade:
        return f"<g>{boxes}</g>"
    corner = min(max(round(height * 0.15, 1), 2), 5)
    whole = f'width="{wide}" height="{height}"'
    return (
        f'<linearGradient id="s" x2="0" y2="100%">{shade}</linearGradient>'
        f'<clipPath id="r"><rect {whole} rx="{corner}"/></clipPath>'
        f'<g clip-path="url(#r)">{boxes}<rect {whole} fill="url(#s)"/></g>'
    )


def _word(text: str, middle: float, height: float, length: float, look: Look) -> str:
    base = round(height / 2 + look.size * 0.36, 1)
    place = f'x="{round(middle, 1)}" textLength="{length}"'
    word = f'<text y="{base}" {place}>{escape(text)}</text>'
    if not _GRADIENTS[look.style]:
        return word
    shadow = f'y="{round(base - 1, 1)}" fill="#010101" fill-opacity=".3" aria-hidden="true"'
    return f"<text {shadow} {place}>{escape(text)}</text>{word}"


def _colour(name: str, given: str) -> str:
    found = _COLOUR.fullmatch(given.strip())
    if found is None:
        raise ValueError(f"{name} must be a colour of 3 or 6 hexadecimal digits, such as ff5500")
    return f"#{found[1]}"


def _size(given: str) -> float:
    try:
        size = float(given)
    except ValueError:
        return USUAL
    # Neither is what Python takes for a number and is none.
    return size if SMALLEST < size <= LARGEST else USUAL
