"""Cross-origin requests: counters are for pages of other sites.

Any origin may ask. That is safe because nothing here is known by cookies: ``*`` makes browsers send
no credentials of their own, and who has a key sends it on purpose.
"""

from flask import Flask, Response, request

from counterapp import family

PREFIXES = ("/badge/", "/stream/", "/api/")

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
ASKED = "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, X-Request-ID"
SHOWN = (
    "ETag, Idempotency-Replayed, Link, Location, Retry-After, WWW-Authenticate, X-Path, X-Release,"
    " X-Request-ID, X-Served-By"
)
DAY = 24 * 3600


def register(app: Flask) -> None:
    """Let ``app`` tell browsers that pages of any origin may use it, but for its own page."""

    @app.after_request
    def allow(response: Response) -> Response:
        response.headers.update(headers(request.path, request.method))
        return response


def headers(path: str, method: str) -> dict[str, str]:
    """Return the headers that browsers want to see in the answer to a request."""
    if not family.has(path) and not path.startswith(PREFIXES):
        return {}
    found = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": SHOWN,
        # Images and scripts, too, in pages that only take what says that it is for them.
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    if method == "OPTIONS":
        found["Access-Control-Allow-Methods"] = METHODS
        found["Access-Control-Allow-Headers"] = ASKED
        found["Access-Control-Max-Age"] = str(DAY)
    return found
