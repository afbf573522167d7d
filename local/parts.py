"""What the demo is made of, a row per part: what runs, what it needs first, which ports it takes."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from local import aws, postgres, valkey
from local.azure_host.client import event_grid_url
from local.config import AZURE_HOST_KEYS, AZURE_TOPIC, AZURE_TOPIC_KEY, GCP_PROJECT, GCP_TOPIC, REPOSITORY, Config
from local.eventgrid.client import topic_url
from local.ministack import Ministack
from local.ports import HOST
from local.postgres import Postgres
from local.probes import accepts, answers
from local.process import scrubbed_environment
from local.server import Command, Server, Task
from local.valkey import Valkey


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
        *_gcp(config, helios),
        *_azure(config, helios),
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


def _gcp(config: Config, helios: Mapping[str, str]) -> list[Part]:
    """Pub/Sub, the Cloud Function under Google's own framework, and the subscription that pushes to it."""
    pubsub = f"{HOST}:{config.pubsub_port}"
    emulator = ["--port", str(config.pubsub_port), "--http-port", str(config.pubsub_admin_port)]
    function = ["--target", "ingest", "--source", str(REPOSITORY / "functions/gcp/main.py")]
    address = ["--signature-type", "cloudevent", "--host", HOST, "--port", str(config.gcp_function_port)]
    deployment = ["--project", GCP_PROJECT, "--topic", GCP_TOPIC, "--function-url", config.gcp_function_url]
    return [
        Part(
            "pubsub",
            Command(
                "pubsub",
                _python("local.pubsub", *emulator, "--data", str(config.folder / "pubsub")),
                env=scrubbed_environment(),
                ready=answers(f"{config.pubsub_url}/healthz"),
                log=config.log("pubsub"),
                cwd=REPOSITORY,
            ),
            ports=("pubsub_port", "pubsub_admin_port"),
            restarts=True,
        ),
        Part(
            "gcp-function",
            Command(
                "gcp-function",
                _python("functions_framework", *function, *address),
                env=scrubbed_environment(**helios),
                ready=accepts(config.gcp_function_port),
                log=config.log("gcp-function"),
            ),
            needs=("migrations", "valkey"),
            ports=("gcp_function_port",),
            restarts=True,
        ),
        Part(
            "gcp-topic",
            Task(
                "gcp-topic",
                _python("local.pubsub.client", *deployment),
                env=scrubbed_environment(PUBSUB_EMULATOR_HOST=pubsub),
                log=config.log("gcp-topic"),
                cwd=REPOSITORY,
            ),
            needs=("pubsub", "gcp-function"),
        ),
    ]


def _azure(config: Config, helios: Mapping[str, str]) -> list[Part]:
    """Event Grid, the function app under our host, and the subscription that posts to it."""
    port, data = ["--port", str(config.eventgrid_port)], ["--data", str(config.folder / "eventgrid")]
    # A tenth of Event Grid's waits: the first retry after an outage comes after one second, not ten.
    emulator = [*port, *data, "--time-scale", "0.1"]
    host = [str(REPOSITORY / "functions/azure"), "--port", str(config.azure_function_port)]
    endpoint = event_grid_url(config.azure_function_url, "ingest", AZURE_HOST_KEYS["AZURE_HOST_EVENT_GRID_KEY"])
    deployment = ["--url", config.eventgrid_url, "--topic", AZURE_TOPIC, "--key", AZURE_TOPIC_KEY]
    return [
        Part(
            "eventgrid",
            Command(
                "eventgrid",
                _python("local.eventgrid", *emulator),
                env=scrubbed_environment(),
                ready=answers(f"{config.eventgrid_url}/health"),
                log=config.log("eventgrid"),
                cwd=REPOSITORY,
            ),
            ports=("eventgrid_port",),
            restarts=True,
        ),
        Part(
            "azure-function",
            Command(
                "azure-function",
                _python("local.azure_host", *host),
                env=scrubbed_environment(**helios, **AZURE_HOST_KEYS),
                ready=answers(f"{config.azure_function_url}/admin/host/ping"),
                log=config.log("azure-function"),
                cwd=REPOSITORY,
            ),
            needs=("migrations", "valkey"),
            ports=("azure_function_port",),
            restarts=True,
        ),
        Part(
            "azure-topic",
            Task(
                "azure-topic",
                _python("local.eventgrid.client", *deployment, "--endpoint-url", endpoint),
                env=scrubbed_environment(),
                log=config.log("azure-topic"),
                cwd=REPOSITORY,
            ),
            needs=("eventgrid", "azure-function"),
        ),
    ]


def traffic(config: Config, *, rate: float, error_rate: float, duration: float, summary: Path) -> Command:
    """The simulator: it publishes through the clouds' own SDKs, and writes its summary into a file when it ends."""
    options = ["--via", "cloud", "--rate", rate, "--error-rate", error_rate, "--duration", duration]
    return Command(
        "traffic",
        _python("scripts.simulate_traffic", *map(str, options), "--summary", str(summary)),
        env=scrubbed_environment(**sdk_environment(config)),
        ready=lambda: True,  # its first event is awaited instead
        log=config.log("traffic"),
        cwd=REPOSITORY,
        stop_seconds=30,  # it waits for the answers to what it has sent
    )


def sdk_environment(config: Config) -> dict[str, str]:
    """The variables that lead the vendors' SDKs, and the simulator, to the emulators."""
    return aws.sdk_environment(config.aws_url) | {
        "PUBSUB_EMULATOR_HOST": f"{HOST}:{config.pubsub_port}",
        "GOOGLE_CLOUD_PROJECT": GCP_PROJECT,
        "HELIOS_GCP_TOPIC": GCP_TOPIC,
        "HELIOS_AZURE_EVENTGRID_ENDPOINT": topic_url(config.eventgrid_url, AZURE_TOPIC),
        "HELIOS_AZURE_EVENTGRID_KEY": AZURE_TOPIC_KEY,
    }


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
