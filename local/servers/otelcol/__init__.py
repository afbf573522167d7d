"""OpenTelemetry's Collector on this machine: takes OTLP over HTTP, and writes what it takes to a file.

``go build`` builds it from the Collector's own modules when it is first needed, which takes about a minute.
"""

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from helios.processes.ports import HOST
from helios.processes.probes import accepts
from helios.processes.process import ServiceFailed
from helios.processes.server import Server

_SOURCES = Path(__file__).parent
_BUILT = Path(__file__).resolve().parents[3] / "build" / "otelcol"
_BUILD_SECONDS = 900
_START_SECONDS = 30


class Collector(Server):
    """One collector process, and the file of what it has taken."""

    def __init__(self, data: Path, port: int, *, log: Path) -> None:
        """Describe the collector; ``start`` builds and starts it.

        Args:
            data: its folder, created when missing.
            port: the port of OTLP over HTTP.
            log: its log file.
        """
        self.port = port
        self._data = data.absolute()
        self._log = log

    @property
    def url(self) -> str:
        """The endpoint, as HELIOS_OTLP_URL names it."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        """Start the collector, and return once it listens.

        Raises:
            ServiceFailed: it can't be built, or does not listen.
        """
        program = build()
        self._data.mkdir(parents=True, exist_ok=True)
        settings = self._data / "otelcol.yaml"
        settings.write_bytes(msgspec.json.encode(self._settings()))  # YAML contains JSON
        process = self._launch("otelcol", [program, f"--config=file:{settings}"], log=self._log)
        process.wait_ready(accepts(self.port), seconds=_START_SECONDS)

    def stop(self) -> None:
        """End the collector; the file stays."""
        if self.process:
            self.process.stop()

    def spans(self) -> list[dict[str, Any]]:
        """Every span that it has taken, in OTLP's JSON, with the attributes of its resource as ``resource``."""
        file = self._data / "spans.json"
        lines = file.read_text().splitlines(keepends=True) if file.exists() else []
        return [
            span | {"resource": {item["key"]: item["value"]["stringValue"] for item in of["resource"]["attributes"]}}
            for line in lines
            if line.endswith("\n")  # the collector may be writing the last one
            for of in json.loads(line)["resourceSpans"]
            for scope in of["scopeSpans"]
            for span in scope["spans"]
        ]

    def _settings(self) -> dict[str, Any]:
        return {
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"{HOST}:{self.port}"}}}},
            "exporters": {"file": {"path": str(self._data / "spans.json"), "flush_interval": "100ms"}},
            "service": {
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["file"]}},
                "telemetry": {"metrics": {"level": "none"}},
            },
        }


def build() -> Path:
    """The program. Go builds it if it is missing or out of date.

    Raises:
        ServiceFailed: Go is missing, or failed.
    """
    sources = [_SOURCES / name for name in ("go.mod", "go.sum", "main.go")]
    wanted = "".join(source.read_text() for source in sources)
    program, stamp = _BUILT / "otelcol", _BUILT / ".built"
    _BUILT.mkdir(parents=True, exist_ok=True)
    with (_BUILT / ".lock").open("w") as mutex:
        fcntl.flock(mutex, fcntl.LOCK_EX)  # the workers of a test run may build at the same time
        if not stamp.exists() or stamp.read_text() != wanted:
            if (go := shutil.which("go")) is None:
                raise ServiceFailed("The collector needs Go 1.26 or newer, which is not installed")
            done = subprocess.run(
                [go, "build", "-o", program, "."],
                cwd=_SOURCES,
                env=os.environ,
                check=False,
                capture_output=True,
                text=True,
                timeout=_BUILD_SECONDS,
            )
            if done.returncode:
                raise ServiceFailed(f"Go could not build the collector: {done.stderr.strip()[-500:]}")
            stamp.write_text(wanted)
    return program
