"""What the demo is made of, a row per part: what runs, what it needs first, which ports it takes."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from helios.event import Source
from local import aws, postgres, valkey
from local.config import REPOSITORY, Config
from local.ministack import Ministack
from local.ports import HOST
from local.postgres import Postgres
from local.probes import answers
from local.process import scrubbed_environment
from local.server import Command, Server, Task
from local.valkey import Valkey

SOURCES: Final[tuple[Source, ...]] = ("aws",)
"""The clouds whose emulators are among the parts: traffic is sent to these."""


class Part(NamedTuple):
    """One row.

    Attributes:
        name: what the demo calls it; its log is ``.helios/logs/<name>.log``.
        server: what runs.
        needs: the parts that must be ready before it is started; the others start at the same time.
        ports: the settings of ``config.Config`` that name the ports it listens on.
        restarts: whether it is started again when it ends by itself. A part that would come back without what it
            held (the queues of the AWS emulator, say) is not: its end is the end of the demo, with a message.
        remedy: what to try when it does not start.
    """

    name: str
    server: Server
    needs: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    restarts: bool = False
    remedy: str = ""


def parts(config: Config) -> list[Part]:
    """Every part of the demo but the traffic."""
    log, folder = config.log, config.folder
    helios = helios_environment(config)
    return [
        Part(
            "postgres",
            Postgres(folder / "postgres", config.postgres_port, log=log("postgres")),
            ports=("postgres_port",),
        ),
        Part(
            "valkey",
            Valkey(folder / "valkey", config.valkey_port, log=log("valkey")),
            ports=("valkey_port",),
        ),
        Part(
            "aws",
            Ministack(folder, config.aws_port, log=log("aws")),
            ports=("aws_port",),
        ),
        Part(
            "packages",
            # The whole environment: uv has settings of its own there (a proxy, an index, a cache).
            Task(
                "packages", _python("scripts.package", "--native"), env=os.environ, log=log("packages"), cwd=REPOSITORY
            ),
        ),
        Part(
            "migrations",
            Task("migrations", _python("helios", "migrate"), env=scrubbed_environment(**helios), log=log("migrations")),
            needs=("postgres",),
            remedy="If the events of earlier runs are of no use, start without them: make local-demo ARGS=--fresh",
        ),
        Part(
            "deployment",
            Task(
                "deployment",
                _python("local.aws", config.aws_url),
                env=scrubbed_environment(**aws.sdk_environment(config.aws_url), **helios),
                log=log("deployment"),
                cwd=REPOSITORY,
            ),
            needs=("aws", "packages", "migrations", "valkey"),
        ),
        Part(
            "api",
            Command(
                "api",
                _python("uvicorn", *_uvicorn(config)),
                env=scrubbed_environment(**helios),
                ready=answers(f"{config.api_url}/api/v1/health"),
                log=log("api"),
            ),
            needs=("migrations", "valkey"),
            ports=("api_port",),
            restarts=True,
        ),
    ]


def traffic(config: Config, *, rate: float, error_rate: float, duration: float, summary: Path) -> Command:
    """The simulator: it publishes through the clouds' own SDKs, and writes its summary into a file when it ends."""
    sources = [word for source in SOURCES for word in ("--source", source)]
    options = ["--via", "cloud", "--rate", rate, "--error-rate", error_rate, "--duration", duration]
    return Command(
        "traffic",
        _python("scripts.simulate_traffic", *map(str, options), *sources, "--summary", str(summary)),
        env=scrubbed_environment(**aws.sdk_environment(config.aws_url)),
        ready=lambda: True,  # its first event is awaited instead
        log=config.log("traffic"),
        cwd=REPOSITORY,
        stop_seconds=30,  # it waits for the answers to what it has sent
    )


def helios_environment(config: Config) -> dict[str, str]:
    """The settings of every process of Helios."""
    return {
        "HELIOS_DATABASE_URL": postgres.url(config.postgres_port),
        "HELIOS_REDIS_URL": valkey.url(config.valkey_port),
        "HELIOS_DASHBOARD_ORIGIN": f"http://localhost:{config.dashboard_port}",
    }


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _uvicorn(config: Config) -> Sequence[str]:
    address = ["--host", HOST, "--port", str(config.api_port)]
    return [
        "--factory",
        "helios.api:create_app",
        *address,
        "--loop",
        "uvloop",
        "--http",
        "httptools",
        "--no-access-log",
    ]
