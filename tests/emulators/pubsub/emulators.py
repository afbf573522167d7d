"""The emulators of the conformance suite: the one of Helios, and Google's where it is installed."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import grpc
from google.cloud import pubsub_v1
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from helios.processes.ports import HOST, free_port
from helios.processes.probes import answers
from helios.processes.process import Process, scrubbed_environment

ROOT = Path(__file__).parents[3]


class Emulator:
    """A running emulator, and Google's unchanged clients of it."""

    name = ""
    process: Process

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.http_port = free_port()
        self._channels: list[grpc.Channel] = []

    def publisher(self, **options: Any) -> pubsub_v1.PublisherClient:
        transport = PublisherGrpcTransport(channel=self._channel())
        return pubsub_v1.PublisherClient(transport=transport, **options)

    def subscriber(self) -> pubsub_v1.SubscriberClient:
        return pubsub_v1.SubscriberClient(transport=SubscriberGrpcTransport(channel=self._channel()))

    def _channel(self) -> grpc.Channel:
        channel = grpc.insecure_channel(f"{HOST}:{self.port}")
        self._channels.append(channel)
        return channel

    def close(self) -> None:
        for channel in self._channels:
            channel.close()
        self.process.stop()


class Helios(Emulator):
    """The emulator of Helios."""

    name = "helios"
    options: tuple[str, ...] = ()

    def start(self) -> None:
        self.process = Process(
            "pubsub",
            [
                *(sys.executable, "-m", "local.emulators.pubsub", "--port", str(self.port)),
                *("--http-port", str(self.http_port), "--data", self.folder),
                *self.options,
            ],
            log=self.folder / "pubsub.log",
            cwd=ROOT,
        )
        self.process.wait_ready(answers(f"{self.url}/healthz"), seconds=30)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.http_port}"

    def stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/status") as answer:
            return json.load(answer)

    def status(self) -> dict[str, dict[str, int]]:
        return self.stats()["subscriptions"]


class Google(Emulator):
    """Google's emulator, as the package google-cloud-cli-pubsub-emulator installs it."""

    name = "google"

    def start(self) -> None:
        jar = google_jar()
        assert jar
        self.process = Process(
            "google-pubsub",
            ["java", "-jar", jar, f"--host={HOST}", f"--port={self.port}"],
            log=self.folder / "google.log",
            env=scrubbed_environment(),
        )
        self.process.wait_ready(answers(f"http://{HOST}:{self.port}/"), seconds=60)


def google_jar() -> str | None:
    """The path of Google's emulator, from PUBSUB_EMULATOR_JAR or the package manager; None if it can't be run."""
    if not shutil.which("java"):
        return None
    if jar := os.environ.get("PUBSUB_EMULATOR_JAR"):
        return jar
    if not shutil.which("dpkg"):
        return None
    listed = subprocess.run(
        ["dpkg", "-L", "google-cloud-cli-pubsub-emulator"], capture_output=True, check=False, text=True
    )
    return next((line for line in listed.stdout.splitlines() if line.endswith("-all.jar")), None)
