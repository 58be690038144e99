"""The built front end, served by the node itself."""

import re
import secrets
from collections.abc import Callable
from pathlib import Path

from flask import Blueprint, Response, send_file
from flask.typing import ResponseReturnValue

YEAR = 365 * 24 * 3600

POLICY = "; ".join(
    (
        "default-src 'none'",
        # Not 'self': answers with a callback are scripts of the same host.
        "script-src 'nonce-{nonce}'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""The page's Content-Security-Policy, but for the number that its own scripts have on them."""

_SCRIPT = re.compile(r"(<(?:script|link)(?=[\s>]))", re.IGNORECASE)


def blueprint(static: Path) -> Blueprint:
    """Return one route a file of ``static``, and ``/`` for its ``index.html``.

    A release never changes, so its files are looked up once. No request can name any other
    file: a path that is not in the list has no route.
    """
    pages = Blueprint("frontend", __name__)
    for file in sorted(path for path in static.rglob("*") if path.is_file()):
        relative = file.relative_to(static).as_posix()
        if set("<>") & set(relative):
            raise ValueError(f"a front end file must have no '<' or '>' in its name: {relative}")
        serve = _page(file) if file.suffix == ".html" else _file(file, relative)
        paths = [f"/{relative}", "/"] if relative == "index.html" else [f"/{relative}"]
        for path in paths:
            endpoint = path.replace(".", "%2E")
            pages.add_url_rule(path, endpoint=endpoint, view_func=serve, methods=["GET"])
    return pages


def _file(file: Path, relative: str) -> Callable[[], ResponseReturnValue]:
    # Vite puts a hash of the content into every name below assets/.
    immutable = relative.startswith("assets/")

    def serve() -> ResponseReturnValue:
        response = send_file(file, conditional=True, max_age=YEAR if immutable else None)
        if immutable:
            response.cache_control.immutable = True
        return response

    return serve


def _page(file: Path) -> Callable[[], ResponseReturnValue]:
    """Serve a page that runs its own scripts, and nothing that found its way into it later.

    Each time with another number, which only those scripts have on them: so nobody may keep it.
    """
    parts = _SCRIPT.split(file.read_text(encoding="utf-8"))

    def serve() -> ResponseReturnValue:
        nonce = secrets.token_urlsafe(16)
        whole = (
            f'{part} nonce="{nonce}"' if number % 2 else part for number, part in enumerate(parts)
        )
        response = Response("".join(whole), mimetype="text/html")
        response.headers["Content-Security-Policy"] = POLICY.format(nonce=nonce)
        # Our own answers see that it is our own page that asks; no other site hears of it.
        response.headers["Referrer-Policy"] = "same-origin"
        return response

    return serve
