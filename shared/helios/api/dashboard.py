"""The built dashboard, served by the API itself: the page, its files, and the addresses that it uses."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import FileResponse
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from helios.errors import ConfigurationError
from helios.shapes import WEBSOCKET_PATH

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""The security headers of the page and its files, besides the policy."""

CACHED = "public, max-age=31536000, immutable"
"""For the files in ``assets``, whose names contain a digest of their content."""
NOT_CACHED = "no-cache"

# The page's own origin: right under every name of this server, and behind a proxy.
_CONFIG = f"""window.heliosConfig = {{
  apiUrl: location.origin,
  wsUrl: location.origin.replace(/^http/, "ws") + "{WEBSOCKET_PATH}",
}};
"""


def policy(*origins: str) -> str:
    """A content security policy: the page loads its server's own files, and connects to its server and these origins.

    It allows no inline script.
    """
    connect = " ".join(["'self'", *sorted(set(origins))])
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def install(app: FastAPI, folder: Path) -> None:
    """Add the page at ``/``, and its files.

    Args:
        app: the API, whose own routes come first.
        folder: the output of the dashboard's build.

    Raises:
        ConfigurationError: the folder contains no dashboard.
    """
    page, assets = folder / "index.html", folder / "assets"
    if not page.is_file() or not assets.is_dir():
        raise ConfigurationError(f"HELIOS_DASHBOARD_FOLDER: {folder} contains no built dashboard.")
    headers = HEADERS | {"Content-Security-Policy": policy(), "Cache-Control": NOT_CACHED}

    @app.get("/config.js", include_in_schema=False)
    def config() -> Response:
        """The page's addresses; it replaces the empty file of the build."""
        return Response(_CONFIG, media_type="text/javascript", headers=headers)

    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name != "config.js":
            route = "/" if path == page else f"/{path.name}"
            app.add_api_route(route, _file(path, headers), include_in_schema=False)
    app.mount("/assets", GZipMiddleware(_Assets(directory=assets)), name="assets")


def _file(path: Path, headers: Mapping[str, str]) -> Callable[[], Response]:
    def send_file() -> Response:
        return FileResponse(path, headers=headers)

    return send_file


class _Assets(StaticFiles):
    """The files whose names contain a digest of their content, so that a browser needs each of them only once."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """The response of the parent class, with the headers of these files."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(HEADERS | {"Cache-Control": CACHED})
        return response
