"""The built front end, served by the node itself."""

import hashlib
import mimetypes
import re
import secrets
from collections.abc import Callable
from pathlib import Path

from flask import Blueprint, Response, request, send_file
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

COUNTER = ("/counter/<name>", "/counter/<namespace>/<name>")
"""Addresses of a counter for people: they get the page, which shows what its address names."""

ENCODINGS = {"br": ".br", "gzip": ".gz"}
"""Which encodings a file may be there in already, best first, and how their names end."""

_SCRIPT = re.compile(r"(<(?:script|link)(?=[\s>]))", re.IGNORECASE)


def blueprint(static: Path) -> Blueprint:
    """Return one route a file of ``static``, and ``/`` for its ``index.html``.

    A release never changes, so its files are looked up once. No request can name any other
    file: a path that is not in the list has no route. A file that is there in other encodings as
    well is sent in the one that the client takes best.
    """
    pages = Blueprint("frontend", __name__)
    there = {path for path in static.rglob("*") if path.is_file()}
    encoded = {_encoded(path, end) for path in there for end in ENCODINGS.values()}
    for file in sorted(there - encoded):
        relative = file.relative_to(static).as_posix()
        if set("<>") & set(relative):
            raise ValueError(f"a front end file must have no '<' or '>' in its name: {relative}")
        serve = _page(file) if file.suffix == ".html" else _file(file, relative)
        paths = [f"/{relative}"]
        if relative == "index.html":
            paths += ["/", *COUNTER]
        for path in paths:
            endpoint = path.replace(".", "%2E")
            pages.add_url_rule(path, endpoint=endpoint, view_func=serve, methods=["GET"])
    return pages


def _encoded(file: Path, end: str) -> Path:
    """Return where the build has left a file in another encoding."""
    return file.with_name(f"{file.name}{end}")


def _file(file: Path, relative: str) -> Callable[..., ResponseReturnValue]:
    # Vite puts a hash of the content into every name below assets/.
    immutable = relative.startswith("assets/")
    mimetype = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    known = ((name, _encoded(file, end)) for name, end in ENCODINGS.items())
    encoded = {name: path for name, path in known if path.is_file()}
    # Of what is sent, so that each encoding has its own, which is the same from every node.
    sent = (file, *encoded.values())
    tags = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in sent}

    def serve() -> ResponseReturnValue:
        accepted = request.accept_encodings
        encoding = accepted.best_match(list(encoded))
        if encoding and accepted.quality(encoding) < accepted.quality("identity"):
            encoding = None
        path = encoded[encoding] if encoding else file
        response = send_file(
            path,
            mimetype=mimetype,
            download_name=file.name,
            conditional=True,
            etag=tags[path],
            max_age=YEAR if immutable else None,
        )
        if encoding:
            response.headers["Content-Encoding"] = encoding
        if encoded:
            response.vary.add("Accept-Encoding")
        if immutable:
            response.cache_control.immutable = True
        return response

    return serve


def _page(file: Path) -> Callable[..., ResponseReturnValue]:
    """Serve a page that runs its own scripts, and nothing that found its way into it later.

    Each time with another number, which only those scripts have on them: so nobody may keep it.
    """
    parts = _SCRIPT.split(file.read_text(encoding="utf-8"))

    def serve(**_names: str) -> ResponseReturnValue:
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
