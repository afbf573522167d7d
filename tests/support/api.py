"""The API in a process of its own, under uvicorn as in production."""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from helios.processes.ports import HOST, free_port
from helios.processes.probes import answers
from helios.processes.process import scrubbed_environment
from helios.processes.server import Command

ROOT = Path(__file__).parents[2]
"""The repository, where child processes find ``tests`` and ``functions``."""


TRUST_LOOPBACK: Mapping[str, str] = MappingProxyType({"HELIOS_TRUST_LOOPBACK": "true"})


class Api(Command):
    """One API process, which has the same port after a restart.

    Attributes:
        url: the base URL.
    """

    def __init__(
        self,
        *,
        database_url: str,
        redis_url: str,
        log: Path,
        crash_at: str | None = None,
        dashboard_origin: str = "",
        webhook_auth: Mapping[str, str] = TRUST_LOOPBACK,
    ) -> None:
        """Prepare the process without starting it.

        Args:
            database_url: a migrated database.
            redis_url: the Redis of the dedupe cache.
            log: the log file.
            crash_at: a step of ``tests.support.crash`` at which the process kills itself.
            dashboard_origin: the origin of the dashboard that may call the API; by default the one of the settings.
            webhook_auth: the settings of the authenticators; by default loopback is trusted without credentials.
        """
        port = free_port()
        self.url = f"http://{HOST}:{port}"
        crash = ["tests.support.crash", crash_at, "-m"] if crash_at else []
        server = ["helios.api", "--host", HOST, "--port", str(port)]
        super().__init__(
            "api",
            [sys.executable, "-m", *crash, *server],
            env=scrubbed_environment(
                HELIOS_DATABASE_URL=database_url,
                HELIOS_REDIS_URL=redis_url,
                HELIOS_DASHBOARD_ORIGIN=dashboard_origin,
                HELIOS_RATE_PER_MINUTE="1000000",
                **webhook_auth,
            ),
            ready=answers(f"{self.url}/api/v1/health"),
            log=log,
            cwd=ROOT,
        )

    def ending(self, seconds: float) -> str:
        """How the process ended, in words; it is killed if it still runs after ``seconds``."""
        self._running.wait(seconds)
        self._running.kill()
        return self._running.ending()
