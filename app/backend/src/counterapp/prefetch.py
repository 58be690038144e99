"""Requests that a browser makes ahead, for a page that nobody has asked for yet."""

from flask import Request

HEADERS = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
"""Where browsers say so, the older ones in the last three."""

WORDS = ("prefetch", "prerender", "preview")

REFUSAL = (
    "A request that is made ahead changes nothing: send it again without Sec-Purpose, Purpose,"
    " X-Purpose and X-Moz once somebody asks for it"
)


def ahead(request: Request) -> bool:
    """Return whether this request is made ahead, and nobody has asked for it yet."""
    said = ",".join(request.headers.get(name, "") for name in HEADERS).lower()
    return any(word in said for word in WORDS)
