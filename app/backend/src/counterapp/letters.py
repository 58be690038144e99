"""How wide text is in Verdana, near enough for a badge, whose ``textLength`` makes it exact."""

import unicodedata

# Thousandths of the font's size, for the characters from space to '~'.
_WIDTHS = [
    *(352, 394, 459, 818, 636, 1076, 727, 269, 454, 454, 636, 818, 364, 454, 364, 454),
    *(636, 636, 636, 636, 636, 636, 636, 636, 636, 636, 454, 454, 818, 818, 818, 545),
    *(1000, 684, 686, 698, 771, 632, 575, 775, 751, 421, 455, 693, 557, 843, 748, 787),
    *(603, 787, 695, 684, 616, 732, 684, 989, 685, 615, 685, 454, 454, 454, 818, 636),
    *(636, 601, 623, 521, 623, 596, 352, 623, 633, 274, 344, 592, 274, 973, 633, 607),
    *(623, 623, 427, 521, 394, 633, 592, 818, 592, 592, 525, 635, 454, 635, 818),
]
_OTHER, _WIDE = 700, 1000


def width(text: str, size: float, bold: bool = False) -> float:
    """Return how many pixels a text takes at a font size."""
    thousandths = sum(map(_advance, text))
    return round(thousandths * size / 1000 * (1.12 if bold else 1), 1)


def drawable(text: str, most: int) -> str:
    """Return a text without what XML cannot hold or nobody can see, cut to ``most`` characters."""
    # Cc, Cs, Cn and the like: controls, halves of characters, marks that turn the direction round.
    seen = "".join(" " if unicodedata.category(sign)[0] in "CZ" else sign for sign in text)
    seen = " ".join(seen.split())
    return seen if len(seen) <= most else f"{seen[: most - 1]}…"


def _advance(sign: str) -> int:
    if " " <= sign <= "~":
        return _WIDTHS[ord(sign) - 32]
    if unicodedata.combining(sign):
        return 0
    return _WIDE if unicodedata.east_asian_width(sign) in "WF" else _OTHER
