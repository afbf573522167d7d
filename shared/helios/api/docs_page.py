"""``/docs``: Swagger UI, from files of a package that the lock file pins. The page loads nothing from another host."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

PACKAGE = "fastapi_offline"
"""The package that contains Swagger UI. Helios uses its files and none of its code."""

POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""The page may use this host alone. Swagger UI's style sheet contains its icons as ``data:`` images."""

# The URLs are relative, so that they are right behind a proxy that adds a prefix.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Helios API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" href="docs/favicon.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""

# Without `validatorUrl: null` Swagger UI sends the schema's URL to validator.swagger.io.
_START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  layout: "BaseLayout",
  presets: [SwaggerUIBundle.presets.apis],
  showCommonExtensions: true,
  showExtensions: true,
  validatorUrl: null,
});
"""

_FILES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}


def router() -> APIRouter:
    """The routes of the page and of its files.

    Raises:
        ModuleNotFoundError: the package with Swagger UI is not installed.
    """
    routes = APIRouter(include_in_schema=False)
    folder = _folder()

    @routes.get("/docs")
    def page() -> Response:
        """The page."""
        return Response(_PAGE, media_type="text/html", headers={"Content-Security-Policy": POLICY})

    @routes.get("/docs/start.js")
    def start() -> Response:
        """The script that starts Swagger UI: a file, because the policy of the page allows no inline script."""
        return Response(_START, media_type="text/javascript")

    for name, media_type in _FILES.items():
        routes.add_api_route(f"/docs/{name}", _file(folder / name, media_type))
    return routes


def _file(path: Path, media_type: str) -> Callable[[], Response]:
    def send_file() -> Response:
        return FileResponse(path, media_type=media_type)

    return send_file


def _folder() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{PACKAGE} is not installed. It contains the files of /docs.", name=PACKAGE)
    return Path(spec.origin).parent / "static"
