"""/docs: the reference for people, a page that ships with the package and reads /openapi.json; nothing is from elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import resources

from aiohttp import web

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
FILES = {
    "": ("index.html", "text/html"),
    "page.js": ("page.js", "text/javascript"),
    "page.css": ("page.css", "text/css"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}


def add(app: web.Application) -> None:
    for name in FILES:
        app.router.add_get(f"/docs/{name}", _answering(name))
    app.router.add_get("/docs", _to_folder)


def _answering(name: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    file, kind = FILES[name]
    text = resources.files("relay.api").joinpath("page", file).read_text("utf-8")

    async def answer(_request: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"}
        return web.Response(text=text, content_type=kind, charset="utf-8", headers=headers)

    return answer


async def _to_folder(_request: web.Request) -> web.Response:
    """What the page names is beside it."""
    return web.Response(status=308, headers={"Location": "/docs/"})
