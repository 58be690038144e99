"""``:HOST:``, ``:PATHNAME:`` and ``:PATH:`` in place of names: the page that asks.

``:PATHNAME:`` is CountAPI's. It made one name of ``/example/page`` and ``/examplepage``; below
``/countapi`` it does so still, since counts are found under the names that it made. At the root
each page has a name of its own. ``:PATH:`` is Abacus', which makes CountAPI's names of it.

Anybody can send any ``Origin`` and ``Referer``, as anybody can name any counter.
"""

import hashlib
import re
from urllib.parse import SplitResult, unquote, urlsplit

from flask import Request

from counterapp.counters import DEFAULT_NAMESPACE, NAME

HOST = ":HOST:"
PATHNAME = ":PATHNAME:"
PATH = ":PATH:"

INDEX = "index"
"""The name of the page ``/``."""

_NO_NAME = re.compile("[^A-Za-z0-9_.-]")
_LEAST, _MOST = 3, 64
_UNFIT = re.compile("[^A-Za-z0-9_.]+")
_CUT = 50
_DIGEST = 12
_MADE = re.compile(f"[A-Za-z0-9_.-]{{0,{_CUT}}}-[0-9a-f]{{{_DIGEST}}}")


def resolve(word: str, request: Request) -> str:
    """Return the name that a word of a path stands for; most stand for themselves.

    What comes back need not be a good name: a host such as ``[::1]`` is none.
    """
    if word == HOST:
        return _host(request)
    if word == PATHNAME:
        return page_name(_path(request))
    if word == PATH:
        if not request.headers.get("Referer"):
            raise ValueError("For :PATH: the header Referer has to name the page")
        return plain_name(_path(request))
    return word


def countapi(word: str, request: Request) -> str:
    """Return the name that a word of a path stood for with CountAPI."""
    if word == HOST:
        return plain_name(_host(request, ""))
    return plain_name(_path(request)) if word == PATHNAME else word


def plain_name(text: str) -> str:
    """Return the name that CountAPI made of a host or a path; several may have the same.

    What a name cannot have is left out, ``/example/page`` is ``examplepage``, and dots fill up what
    is too short. Its documentation does not say on which side: Abacus has them on the left.
    """
    return _NO_NAME.sub("", text)[:_MOST].rjust(_LEAST, ".")


def page_name(path: str) -> str:
    """Return the name of the counter of a page: readable, and another one for each page.

    A path that a name can hold is itself. Any other is made one, with a digest of the whole, since
    ``/a/b`` and ``/a-b`` are two pages; so is one that only looks like what is made here. One slash
    at the end makes no difference, nor does what is written as ``%xx`` without need.
    """
    path = _whole(path.removeprefix("/").removesuffix("/"))
    if not path:
        return INDEX
    if NAME.fullmatch(path) and path != INDEX and not _MADE.fullmatch(path):
        return path
    digest = hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return f"{_UNFIT.sub('-', path)[:_CUT]}-{digest}"


def _whole(path: str) -> str:
    """Return a path with what is quoted in it, but in one way only where it means another path."""
    parts = (unquote(part, errors="surrogateescape") for part in path.split("/"))
    return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)


def _path(request: Request) -> str:
    return _page(request.headers.get("Referer", "")).path


def _host(request: Request, none: str = DEFAULT_NAMESPACE) -> str:
    for header in ("Origin", "Referer"):
        if host := _page(request.headers.get(header, "")).hostname:
            return host
    # A client that is no browser has no page.
    return none


def _page(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        # Some nonsense is only found when it is asked for.
        _ = parts.hostname
    except ValueError:
        return urlsplit("")
    return parts
