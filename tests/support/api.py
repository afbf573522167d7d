"""The API as it runs in production: uvicorn in a process of its own."""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from local.stack.ports import HOST, free_port
from local.stack.probes import answers
from local.stack.process import scrubbed_environment
from local.stack.server import Command

ROOT = Path(__file__).parents[2]
"""The repository, where child processes find ``tests`` and ``functions``."""


TRUST_LOOPBACK: Mapping[str, str] = MappingProxyType({"HELIOS_TRUST_LOOPBACK": "true"})


class Api(Command):
    """One API process; it keeps its port when it is started again.

    Attributes:
        url: where it answers.
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
        """Describe it; nothing is started yet.

        Args:
            database_url: a migrated database.
            redis_url: its seen-filter.
            log: its log file.
            crash_at: a step of ``tests.support.crash`` at which it kills itself.
            dashboard_origin: the dashboard that may call it; by default the one of the settings.
            webhook_auth: the settings that say who may send; by default this machine, without a proof.
        """
        port = free_port()
        self.url = f"http://{HOST}:{port}"
        crash = ["tests.support.crash", crash_at, "-m"] if crash_at else []
        uvicorn = ["uvicorn", "--factory", "helios.api:create_app", "--host", HOST, "--port", str(port)]
        options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log"]
        super().__init__(
            "api",
            [sys.executable, "-m", *crash, *uvicorn, *options],
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
        """How it ended, in words; it is killed when it has not by itself after so many seconds."""
        self._running.wait(seconds)
        self._running.kill()
        return self._running.ending()
