"""CloudFront's function and the demo's server agree about which paths are the dashboard's page."""

import json
import shutil
import subprocess

import pytest
from aiohttp import web

from local.demo.dashboard import _file
from tests.support.terraform import SOURCES

FUNCTION = SOURCES / "modules/aws/dashboard/rewrite.js"
PATHS = {
    "/": "/index.html",
    "/orders": "/index.html",
    "/orders/ORD-1": "/index.html",
    "/v1.2/orders": "/index.html",
    "/assets/": "/index.html",
    "/index.html": "/index.html",
    "/config.js": "/config.js",
    "/assets/index-Bx12.js": "/assets/index-Bx12.js",
    "/assets/missing.js": "/assets/missing.js",
}
"""The object that CloudFront requests for each path."""


def rewritten(paths):
    """What the function makes of each path, in Node; CloudFront runs the same language."""
    script = (
        f"{FUNCTION.read_text()}\n"
        "const paths = JSON.parse(process.argv[1]);"
        "console.log(JSON.stringify(paths.map((uri) => handler({ request: { uri } }).uri)));"
    )
    command = [shutil.which("node") or "node", "-e", script, json.dumps(paths)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout)


def test_a_path_without_a_file_is_the_page_and_a_missing_file_stays_missing():
    assert dict(zip(PATHS, rewritten(list(PATHS)), strict=True)) == PATHS


def test_the_demo_s_server_does_the_same(tmp_path):
    dist = tmp_path / "dist"
    for name in ("index.html", "config.js", "assets/index-Bx12.js"):
        (dist / name).parent.mkdir(parents=True, exist_ok=True)
        (dist / name).write_text(name)
    for path, target in PATHS.items():
        if (dist / target.lstrip("/")).is_file():
            served = _file(dist, path.lstrip("/"))
            assert isinstance(served, web.FileResponse)
            assert served._path == dist / target.lstrip("/"), path
        else:
            with pytest.raises(web.HTTPNotFound):
                _file(dist, path.lstrip("/"))
