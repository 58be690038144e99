"""The built front end, served by the node itself."""

from pathlib import Path

from flask import Blueprint, Response, send_file
from flask.typing import ResponseReturnValue

YEAR = 365 * 24 * 3600

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


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
        _add(pages, f"/{relative}", file)
        if relative == "index.html":
            _add(pages, "/", file)
    return pages


def _add(pages: Blueprint, path: str, file: Path) -> None:
    # Vite puts a hash of the content into every name below assets/.
    immutable = path.startswith("/assets/")

    def serve() -> ResponseReturnValue:
        response = send_file(file, conditional=True, max_age=YEAR if immutable else None)
        if immutable:
            response.cache_control.immutable = True
        if file.suffix == ".html":
            _protect(response)
        return response

    pages.add_url_rule(path, endpoint=path.replace(".", "%2E"), view_func=serve, methods=["GET"])


def _protect(response: Response) -> None:
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
