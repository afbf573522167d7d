"""The Functions host as a process, and the requests that tests send to it."""

import http.client
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from helios.processes.ports import HOST, free_port
from helios.processes.probes import answers
from helios.processes.process import Process, scrubbed_environment
from local.emulators.azure_host.client import event_grid_url
from tests.support.envelopes import eventgrid_event

REPOSITORY = Path(__file__).resolve().parents[3]
APP = Path(__file__).parent / "app"
MASTER, DEFAULT, EVENT_GRID = "master-key", "default-key", "event-grid-key"
KEYS = {
    "AZURE_HOST_MASTER_KEY": MASTER,
    "AZURE_HOST_DEFAULT_KEY": DEFAULT,
    "AZURE_HOST_EVENT_GRID_KEY": EVENT_GRID,
}


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str


class Hosted:
    """One host with the app of these tests, or with another app."""

    def __init__(self, folder: Path, app: Path = APP, *, env: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.log = folder / "azure_host.log"
        self._record = folder / "record"
        self._app = app
        self._env = {"RECORD": str(self._record), "TICK": "0 0 0 1 1 *", **KEYS, **(env or {})}

    def launch(self) -> None:
        """Start the process and return without waiting until it is ready."""
        self.process = Process(
            "azure-host",
            [sys.executable, "-m", "local.emulators.azure_host", self._app, "--port", str(self.port)],
            log=self.log,
            env=scrubbed_environment(PYTHONDONTWRITEBYTECODE="1", **self._env),
            cwd=REPOSITORY,
        )

    def start(self) -> None:
        self.launch()
        self.process.wait_ready(answers(f"{self.url}/admin/host/ping"), seconds=20)

    def event_grid_url(self, function: str = "inventory", key: str = EVENT_GRID) -> str:
        return event_grid_url(self.url, function, key)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=20)
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, content, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        text = response.read().decode()
        answer = Response(response.status, {name.lower(): value for name, value in response.getheaders()}, text)
        connection.close()
        return answer

    def notify(self, *events: dict[str, Any], function: str = "inventory") -> Response:
        """Deliver events as Event Grid does."""
        path = self.event_grid_url(function).removeprefix(self.url)
        return self.call("POST", path, list(events), aeg_event_type="Notification")

    def records(self) -> list[dict[str, Any]]:
        """The calls that the functions have recorded so far."""
        if not self._record.exists():
            return []
        return [json.loads(line) for line in self._record.read_text().splitlines()]

    def wait_records(self, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        deadline = time.monotonic() + 60
        while not enough(records := self.records()):
            assert time.monotonic() < deadline, (records, self.log.read_text()[-2000:])
            time.sleep(0.02)
        return records


def grid_event(id_: str, **data: Any) -> dict[str, Any]:
    """An event in Event Grid's schema, of the topic ``/topics/helios``."""
    return eventgrid_event(id_, topic="/topics/helios", data=data)


def run_to_its_end(hosted: Hosted) -> tuple[int | None, str]:
    """The exit code and the log of a host that does not start."""
    hosted.launch()
    code = hosted.process.wait(20)
    log = hosted.log.read_text()
    hosted.process.kill()
    return code, log


def write_app(folder: Path, source: str, host_json: str | None = '{"version": "2.0"}') -> Path:
    """A new folder with this app."""
    app = folder / f"app-{os.urandom(4).hex()}"
    app.mkdir()
    (app / "function_app.py").write_text(f"import azure.functions as func\napp = func.FunctionApp()\n{source}")
    if host_json is not None:
        (app / "host.json").write_text(host_json)
    return app
