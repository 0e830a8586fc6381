"""The page at `/`: look up a user and watch. Plain files beside this module; nothing is loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI, Response

WEB = Path(__file__).parent / "web"
FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/docs.css": ("docs.css", "text/css"),
}

# What the page shows comes from strangers: no script but the one file, and no text that becomes markup.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)


def add_page(app: FastAPI) -> None:
    """The page's files as routes. They hold nothing about anybody, so no token is needed for them."""
    for path, (name, media_type) in FILES.items():
        app.get(path, include_in_schema=False)(_giving((WEB / name).read_bytes(), media_type))


def _giving(content: bytes, media_type: str) -> Callable[[], Awaitable[Response]]:
    async def give() -> Response:
        return Response(content, media_type=media_type, headers={"Content-Security-Policy": POLICY})

    return give
