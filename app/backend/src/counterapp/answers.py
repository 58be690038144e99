"""How the CountAPI family answers: as JSON, as JSONP (``callback``) or as an image (``img``)."""

import base64
import re
from typing import Any

from flask import Request, Response, g, json

from counterapp import origins

GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""One transparent pixel."""

_PART = "[A-Za-z_$][A-Za-z0-9_$]*"
_CALLBACK = re.compile(rf"{_PART}(\.{_PART})*")
_LONGEST_CALLBACK = 128
_RESERVED = re.compile(
    "await|break|case|catch|class|const|continue|debugger|default|delete|do|else|enum|export|extends"
    "|false|finally|for|function|if|implements|import|in|instanceof|interface|let|new|null|package"
    "|private|protected|public|return|static|super|switch|this|throw|true|try|typeof|var|void|while"
    "|with|yield"
)
"""Words with which no JavaScript name may begin."""


def choose(request: Request) -> None:
    """Find out in which form this request wants its answers.

    :raises ValueError: ``callback`` is not the name of a JavaScript function; the answer that says
        so will be plain JSON, which no browser executes.
    """
    callback = request.args.get("callback")
    if callback is not None:
        _check_callback(callback)
        # A page of ours that anything was smuggled into must find no script here.
        if origins.is_of_our_page(request):
            raise ValueError("callback is for pages of other sites")
    g.callback = callback
    g.image = request.args.get("img") is not None


def answer(body: dict[str, Any], status: int = 200) -> Response:
    """Build the response, in the form that :func:`choose` found."""
    if g.get("image"):
        response = Response(GIF, status, mimetype="image/gif")
    elif callback := g.get("callback"):
        # A script that fails runs nothing, so JSONP never fails: the status stands in the body.
        text = json.dumps({**body, "status": status}).replace("<", "\\u003c")
        response = Response(f"/**/{callback}({text});", 200, mimetype="application/javascript")
    else:
        response = Response(json.dumps(body), status, mimetype="application/json")
    return named(response)


def named(response: Response) -> Response:
    """Say in the head of a response which counter it is about, if it is about one."""
    if path := g.get("path"):
        response.headers["X-Path"] = path
    return response


def _check_callback(callback: str) -> None:
    if (
        len(callback) > _LONGEST_CALLBACK
        or not _CALLBACK.fullmatch(callback)
        or _RESERVED.fullmatch(callback.split(".")[0])
    ):
        raise ValueError(
            "callback must be the name of a JavaScript function, such as show or app.show,"
            f" of at most {_LONGEST_CALLBACK} characters"
        )
