"""Prometheus on this machine: scrapes Helios' API and evaluates its alerting rules.

The program is the one on PATH (Debian's package ``prometheus`` has it, with promtool).
"""

import shutil
from pathlib import Path

import msgspec

from helios.processes.ports import HOST
from helios.processes.probes import answers
from helios.processes.process import ServiceFailed
from helios.processes.server import Server

_RULES = Path(__file__).resolve().parents[2] / "infra/prometheus/alerts.yml"
_START_SECONDS = 30


class Prometheus(Server):
    """One Prometheus server, and its data folder."""

    def __init__(self, data: Path, port: int, *, target: str, interval: str = "1s", log: Path) -> None:
        """Describe a server; ``start`` starts it.

        Args:
            data: its data folder, created when missing.
            port: the port of its API and its pages.
            target: host and port of Helios' API, which admits requests from this machine.
            interval: the time between two scrapes, and between two evaluations of the rules.
            log: its log file.
        """
        self.port = port
        self._data = data.absolute()
        self._target = target
        self._interval = interval
        self._log = log

    @property
    def url(self) -> str:
        """The base URL of its API."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        """Start the server, and return once it is ready to answer queries.

        Raises:
            ServiceFailed: there is no such program on PATH, or it does not start.
        """
        if (program := shutil.which("prometheus")) is None:
            raise ServiceFailed("prometheus is not on PATH. On Debian and Ubuntu: apt-get install prometheus")
        self._data.mkdir(parents=True, exist_ok=True)
        settings = self._data / "prometheus.yml"
        settings.write_bytes(msgspec.json.encode(self._settings()))  # YAML contains JSON
        process = self._launch(
            "prometheus",
            [
                *(program, f"--config.file={settings}", f"--storage.tsdb.path={self._data / 'tsdb'}"),
                f"--web.listen-address={HOST}:{self.port}",
            ],
            log=self._log,
        )
        process.wait_ready(answers(f"{self.url}/-/ready"), seconds=_START_SECONDS)

    def stop(self) -> None:
        """End the server; its data stays in the folder."""
        if self.process:
            self.process.stop()

    def _settings(self) -> dict[str, object]:
        return {
            "global": {"scrape_interval": self._interval, "evaluation_interval": self._interval},
            "rule_files": [str(_RULES)],
            "scrape_configs": [
                {"job_name": "helios", "metrics_path": "/metrics", "static_configs": [{"targets": [self._target]}]}
            ],
        }
