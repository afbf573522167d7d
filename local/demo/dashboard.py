"""The built dashboard as a small web server: ``python -m local.demo.dashboard --api-url http://localhost:8001``.

The server serves the files of ``dashboard/dist`` and, at ``/config.js``, the URLs of the API. Its content security
policy lets the page load these files and reach that API, and nothing else.
"""

import argparse
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from helios.api.dashboard import CACHED, HEADERS, NOT_CACHED, policy
from helios.processes.ports import HOST
from local.demo.dashboard_build import DIST
from local.stack import request_filter
from local.stack.aiohttp_filter import refusing
from local.stack.request_filter import RequestFilter

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_LINKS = RequestFilter(links=True)
"""A page of another site may link to the dashboard, which shows nothing without its API."""

_COMPRESSED = {"", ".html", ".css", ".js", ".svg"}
"""Suffixes of the files that are sent compressed, as a real server does; fonts are compressed already."""


def create_app(dist: Path, *, api_url: str, ws_url: str | None = None, rule: RequestFilter = _LINKS) -> web.Application:
    """Build the server.

    Args:
        dist: the output folder of ``npm run build``.
        api_url: URL of the Helios API, as the browser reaches it.
        ws_url: URL of the live stream, as the browser reaches it; by default the API's own.
        rule: refuses requests of other sites' pages.

    Raises:
        FileNotFoundError: the dashboard has not been built; the message says how to build it.
    """
    if not (dist / "index.html").is_file():
        raise FileNotFoundError(f"{dist} has no dashboard. Run `npm ci && npm run build` in {dist.parent}.")
    stream = ws_url or f"{api_url.rstrip('/').replace('http', 'ws', 1)}/api/v1/ws/events"
    headers = HEADERS | {"Content-Security-Policy": policy(_origin(api_url), _origin(stream))}
    config = f"window.heliosConfig = {json.dumps({'apiUrl': api_url, 'wsUrl': stream})};\n"

    async def serve_config(_: web.Request) -> web.Response:
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

    app = web.Application(middlewares=[refusing(rule), _cached])
    app.on_response_prepare.append(secure)
    app.router.add_get("/config.js", serve_config)
    app.router.add_get("/{path:.*}", serve)
    return app


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _file(dist: Path, path: str) -> web.StreamResponse:
    """The file; for an address of the page itself, which names no file, the page.

    Raises:
        HTTPBadRequest: no file can have this name.
        HTTPNotFound: the path names a missing file or one outside the folder, or there is no page at the moment.
    """
    try:
        file = (dist / path).resolve()
        served = file.is_relative_to(dist.resolve()) and file.is_file()
    except (OSError, ValueError) as error:  # a NUL character, or a name that is too long
        raise web.HTTPBadRequest from error
    if served:
        return web.FileResponse(file)
    page = dist / "index.html"
    if Path(path).suffix or not page.is_file():  # a running build removes the page for a moment
        raise web.HTTPNotFound
    return web.FileResponse(page)


@web.middleware
async def _cached(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Let browsers cache the built assets, whose names contain a digest of their content, and nothing else."""
    response = await handler(request)
    immutable = request.path.startswith("/assets/")
    response.headers["Cache-Control"] = CACHED if immutable else NOT_CACHED
    return response


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="dashboard",
        description="Serve the built dashboard.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=5173, help="the port to listen on")
    parser.add_argument("--host", default=HOST, help="the address to listen on")
    parser.add_argument("--api-url", default="http://localhost:8001", help="URL of the API for the browser")
    parser.add_argument("--ws-url", help="URL of the live stream for the browser; by default the API's own")
    parser.add_argument("--dist", type=Path, default=DIST, help="folder of the built dashboard")
    request_filter.add_option(parser)
    options = parser.parse_args(arguments)
    try:
        own = frozenset(f"http://{host}:{options.port}" for host in ("localhost", HOST))
        rule = RequestFilter(origins=own, hosts=request_filter.hosts(options), links=True)
        app = create_app(options.dist, api_url=options.api_url, ws_url=options.ws_url, rule=rule)
    except FileNotFoundError as error:
        parser.exit(1, f"{error}\n")
    web.run_app(app, host=options.host, port=options.port, print=None, access_log=None)


if __name__ == "__main__":
    main()
