"""The built dashboard as a small web server: ``python -m local.demo.dashboard --api-url http://localhost:8001``.

It serves the files of ``dashboard/dist``, tells them at ``/config.js`` where the API is, and allows the page to load
and reach nothing else.
"""

import argparse
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from local.stack.ports import HOST

DIST = Path(__file__).resolve().parents[2] / "dashboard" / "dist"

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_COMPRESSED = {"", ".html", ".css", ".js", ".svg"}
"""What is sent compressed, as a real server does; fonts are compressed already."""


def create_app(dist: Path, *, api_url: str, ws_url: str | None = None) -> web.Application:
    """Build the server.

    Args:
        dist: the folder that ``npm run build`` made.
        api_url: Helios' API as the browser reaches it.
        ws_url: the live stream as the browser reaches it; by default the API's own.

    Raises:
        FileNotFoundError: the dashboard has not been built; the message says how to.
    """
    if not (dist / "index.html").is_file():
        raise FileNotFoundError(f"{dist} holds no dashboard: run `npm ci && npm run build` in {dist.parent}")
    stream = ws_url or f"{api_url.rstrip('/').replace('http', 'ws', 1)}/api/v1/ws/events"
    headers = _HEADERS | {"Content-Security-Policy": _policy(api_url, stream)}
    config = f"window.heliosConfig = {json.dumps({'apiUrl': api_url, 'wsUrl': stream})};\n"

    async def say_config(_: web.Request) -> web.Response:
        return web.Response(text=config, content_type="text/javascript")

    async def serve(request: web.Request) -> web.StreamResponse:
        file = _file(dist, request.match_info["path"])
        # The answer to a conditional request may be 304, to which aiohttp would add an empty gzip stream as a body: the
        # browser would take that for the beginning of the next response.
        conditional = hdrs.IF_NONE_MATCH in request.headers or hdrs.IF_MODIFIED_SINCE in request.headers
        if Path(request.match_info["path"]).suffix in _COMPRESSED and not conditional:
            file.enable_compression()
        return file

    async def secure(_: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(headers)

    app = web.Application(middlewares=[_cached])
    app.on_response_prepare.append(secure)
    app.router.add_get("/config.js", say_config)
    app.router.add_get("/{path:.*}", serve)
    return app


def _policy(api_url: str, ws_url: str) -> str:
    """Own files, and connections to the API: nothing else, and no script that is not a file."""
    connect = " ".join(sorted({_origin(api_url), _origin(ws_url)}))
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
        f"connect-src 'self' {connect}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _file(dist: Path, path: str) -> web.StreamResponse:
    """The file; for an address of the page itself, which names no file, the page.

    Raises:
        HTTPNotFound: it names a file that isn't there, or one outside the folder; or there is no page just now.
    """
    found = (dist / path).resolve()
    if found.is_relative_to(dist.resolve()) and found.is_file():
        return web.FileResponse(found)
    page = dist / "index.html"
    if Path(path).suffix or not page.is_file():  # while it is being built again there is none
        raise web.HTTPNotFound
    return web.FileResponse(page)


@web.middleware
async def _cached(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Built assets carry a digest of their content in their names, and are kept; all else is asked for again."""
    response = await handler(request)
    kept = request.path.startswith("/assets/")
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if kept else "no-cache"
    return response


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until a signal."""
    parser = argparse.ArgumentParser(
        prog="dashboard",
        description="Serve the built dashboard.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=5173, help="where to listen")
    parser.add_argument("--host", default=HOST, help="the address to listen on")
    parser.add_argument("--api-url", default="http://localhost:8001", help="Helios' API as the browser reaches it")
    parser.add_argument("--ws-url", help="the live stream as the browser reaches it; by default the API's own")
    parser.add_argument("--dist", type=Path, default=DIST, help="the built dashboard")
    given = parser.parse_args(arguments)
    try:
        app = create_app(given.dist, api_url=given.api_url, ws_url=given.ws_url)
    except FileNotFoundError as error:
        parser.exit(1, f"{error}\n")
    web.run_app(app, host=given.host, port=given.port, print=None, access_log=None)


if __name__ == "__main__":
    main()
