"""Badges as SVG, in the five styles that shields has."""

from dataclasses import dataclass
from html import escape

from counterapp import colours
from counterapp.letters import width

FONT = "Verdana,Geneva,DejaVu Sans,sans-serif"


@dataclass(frozen=True)
class Badge:
    """What a badge says. The texts come as they are; drawing escapes them."""

    label: str
    message: str
    colour: str
    label_colour: str

    @property
    def title(self) -> str:
        """What a screen reader says of it."""
        return f"{self.label}: {self.message}" if self.label else self.message


@dataclass(frozen=True)
class _Style:
    """What distinguishes the styles that are two boxes side by side."""

    height: int
    radius: int
    shade: str = ""
    shadow: bool = True
    size: int = 11
    padding: int = 5
    spacing: float = 0
    capitals: bool = False


_FLAT_STOPS = (
    '<stop offset="0" stop-color="#bbb" stop-opacity=".1"/><stop offset="1" stop-opacity=".1"/>'
)
_PLASTIC_STOPS = (
    '<stop offset="0" stop-color="#fff" stop-opacity=".7"/>'
    '<stop offset=".1" stop-color="#aaa" stop-opacity=".1"/>'
    '<stop offset=".9" stop-opacity=".3"/><stop offset="1" stop-opacity=".5"/>'
)

_BOXES = {
    "flat": _Style(20, 3, _FLAT_STOPS),
    "flat-square": _Style(20, 0, shadow=False),
    "plastic": _Style(18, 4, _PLASTIC_STOPS),
    "for-the-badge": _Style(28, 0, shadow=False, size=10, padding=11, spacing=1.2, capitals=True),
}

STYLES = (*_BOXES, "social")


def draw(badge: Badge, style: str) -> str:
    """Return a badge in a style; one that shields does not have is ``flat``."""
    if style == "social":
        return _social(badge)
    return _boxes(badge, _BOXES.get(style, _BOXES["flat"]))


def _boxes(badge: Badge, style: _Style) -> str:
    label, message = badge.label, badge.message
    if style.capitals:
        label, message = label.upper(), message.upper()

    texts = [(label, False, badge.label_colour)] if label else []
    texts.append((message, style.capitals, badge.colour))
    left, boxes, words = 0.0, [], []
    for text, bold, colour in texts:
        length = round(width(text, style.size, bold) + style.spacing * len(text), 1)
        wide = round(length + 2 * style.padding, 1)
        boxes.append(_rect(left, wide, style.height, colour))
        words.append(_text(text, left + wide / 2, length, style, colour, bold))
        left = round(left + wide, 1)
    body = "".join(boxes)
    if style.shade:
        body += _rect(0, left, style.height, "url(#s)")
    if style.radius:
        body = f'<g clip-path="url(#r)">{body}</g>'
    return _svg(badge, left, style.height, _definitions(style, left) + body + "".join(words))


def _definitions(style: _Style, wide: float) -> str:
    found = ""
    if style.shade:
        found += f'<linearGradient id="s" x2="0" y2="100%">{style.shade}</linearGradient>'
    if style.radius:
        found += (
            f'<clipPath id="r"><rect width="{wide}" height="{style.height}" rx="{style.radius}"/>'
            "</clipPath>"
        )
    return found


def _rect(left: float, wide: float, height: int, fill: str) -> str:
    return f'<rect x="{left}" width="{wide}" height="{height}" fill="{fill}"/>'


def _text(text: str, middle: float, length: float, style: _Style, behind: str, bold: bool) -> str:
    light = colours.is_light(behind)
    base = round(style.height / 2 + style.size * 0.36, 1)
    common = (
        f'x="{round(middle, 1)}" text-anchor="middle" textLength="{length}" font-family="{FONT}"'
        f' font-size="{style.size}"' + (' font-weight="bold"' if bold else "")
    )
    word = f'<text y="{base}" {common} fill="{"#333" if light else "#fff"}">{escape(text)}</text>'
    if not style.shadow:
        return word
    shadow = "#ccc" if light else "#010101"
    return (
        f'<text y="{base + 1}" {common} fill="{shadow}" fill-opacity=".3" aria-hidden="true">'
        f"{escape(text)}</text>{word}"
    )


def _social(badge: Badge) -> str:
    label = badge.label[:1].upper() + badge.label[1:]
    look = (
        'font-family="Helvetica Neue,Helvetica,Arial,sans-serif" font-weight="700" font-size="11"'
    )
    box = 'stroke="#d5d5d5" fill="{}" height="19" rx="2" y=".5"'
    long, short = width(label, 11, bold=True), width(badge.message, 11, bold=True)
    wide = round(long + 10, 1)
    body = ""
    if label:
        body += f'<rect x=".5" width="{wide}" {box.format("#fcfcfc")}/>'
        body += f'<text x="{wide / 2 + 0.5}" y="14" text-anchor="middle" textLength="{long}" {look}'
        body += f' fill="#333">{escape(label)}</text>'
        left = wide + 6.5
        body += f'<path d="M{left} 6.5l-3 3v1l3 3" stroke="#d5d5d5" fill="#fafafa"/>'
    else:
        left = 0.5
    bubble = round(short + 10, 1)
    body += f'<rect x="{left}" width="{bubble}" {box.format("#fafafa")}/>'
    body += f'<text x="{round(left + bubble / 2, 1)}" y="14" text-anchor="middle"'
    body += f' textLength="{short}" {look} fill="#333">{escape(badge.message)}</text>'
    return _svg(badge, round(left + bubble + 0.5, 1), 20, body)


def _svg(badge: Badge, wide: float, height: int, body: str) -> str:
    title = escape(badge.title)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{height}" role="img"'
        f' aria-label="{title}"><title>{title}</title>{body}</svg>'
    )
