"""The Event Grid emulator as a process, and the requests that tests send to it."""

import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from azure.core.credentials import AzureKeyCredential
from azure.eventgrid import EventGridPublisherClient

from helios.processes.ports import HOST, free_port
from helios.processes.probes import answers
from helios.processes.process import Process
from local.emulators.eventgrid import client

REPOSITORY = Path(__file__).resolve().parents[3]
KEY = "aGVsaW9zLXRlc3Qta2V5LTE="
SCALE = 0.001
"""Factor for all times: ten seconds become ten milliseconds."""
_numbers = itertools.count(1)


class Emulated:
    """One emulator, which a test may kill and start again."""

    def __init__(self, folder: Path, *options: str, scale: float = SCALE) -> None:
        self.folder = folder
        self._scale = scale
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.log = folder / "eventgrid.log"
        self._options = options

    def start(self) -> None:
        self.process = Process(
            "eventgrid",
            [
                *(
                    sys.executable,
                    "-m",
                    "local.emulators.eventgrid",
                    "--port",
                    str(self.port),
                    "--data",
                    self.folder / "data",
                ),
                *("--time-scale", str(self._scale), *self._options),
            ],
            log=self.log,
            cwd=REPOSITORY,
        )
        self.process.wait_ready(answers(f"{self.url}/health"), seconds=20)

    def topic(self, schema: str = "EventGridSchema", **properties: Any) -> str:
        """The name of a new topic."""
        name = f"topic-{next(_numbers)}"
        body = {"key1": KEY, "properties": {"inputSchema": schema, **properties}}
        client.call(self.url, "PUT", f"/topics/{name}", body)
        return name

    def subscribe(self, topic: str, endpoint: str, name: str = "helios", **properties: Any) -> dict[str, Any]:
        """The new or changed subscription; ``webhook`` adds properties to its destination."""
        webhook = {"endpointUrl": endpoint, **properties.pop("webhook", {})}
        requested = {"destination": {"endpointType": "WebHook", "properties": webhook}, **properties}
        path = f"/topics/{topic}/eventSubscriptions/{name}"
        answer: dict[str, Any] = client.call(self.url, "PUT", path, {"properties": requested})
        return answer

    def subscription(self, topic: str, name: str = "helios") -> dict[str, Any]:
        answer: dict[str, Any] = client.call(self.url, "GET", f"/topics/{topic}/eventSubscriptions/{name}")
        return answer

    def endpoint(self, topic: str) -> str:
        return f"{self.url}/topics/{topic}/api/events"

    def publisher(self, topic: str, key: str = KEY) -> EventGridPublisherClient:
        """An unchanged client of the vendor."""
        return EventGridPublisherClient(self.endpoint(topic), AzureKeyCredential(key))

    def publish(self, topic: str, *events: Any) -> None:
        with self.publisher(topic) as publisher:
            publisher.send(list(events))

    def counts(self, topic: str, name: str = "helios") -> dict[str, Any]:
        counts: dict[str, Any] = client.status(self.url)[topic]["eventSubscriptions"][name]
        return counts

    def wait_counts(
        self, topic: str, reached: Callable[[dict[str, Any]], bool], name: str = "helios"
    ) -> dict[str, Any]:
        """The subscription's counts, once ``reached`` holds for them."""
        deadline = time.monotonic() + 20
        while not reached(counts := self.counts(topic, name)):
            assert time.monotonic() < deadline, counts
            time.sleep(0.02)
        return counts

    def dead_letters(self, container: str = "dead") -> list[dict[str, Any]]:
        files = sorted((self.folder / "data" / "dead-letters" / container).rglob("*.json"))
        return [dead_letter for file in files for dead_letter in json.loads(file.read_bytes())]


BLOB = {"endpointType": "StorageBlob", "properties": {"blobContainerName": "dead"}}
