"""The services of the demo, one row each: the server, the services it needs first, and its ports."""

import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from helios.embedded import postgres, valkey
from helios.embedded.postgres import Postgres
from helios.embedded.valkey import Valkey
from helios.processes.ports import HOST
from helios.processes.probes import accepts, answers, follows
from helios.processes.process import Probe, scrubbed_environment
from helios.processes.server import Command, Task
from helios.processes.supervisor import Service
from helios.services.sink import KAFKA
from local.aws import deployer, resources
from local.aws.ministack import Ministack
from local.emulators.azure_host.client import event_grid_url
from local.emulators.eventgrid.client import dead_letters_signature, dead_letters_url, topic_url
from local.stack import log_engine, providers
from local.stack.config import (
    ARCHIVE,
    AZURE_TOPIC,
    BUS,
    DEAD_LETTERS,
    GCP_INVOKER,
    GCP_PROJECT,
    GCP_TOPIC,
    QUEUE,
    REPOSITORY,
    UNDELIVERED,
    WEBHOOK_AUTH,
    Config,
)

NOTIFY_LISTENERS = {"HELIOS_NOTIFY_LISTENERS": "true"}
"""The API sends the live stream here, beside the relay function on AWS."""

EMPTY_DATABASE = "To start with an empty database, run: make local-demo ARGS=--fresh"


def services(config: Config, *, canary_seconds: float = 0, reload: bool = False) -> list[Service]:
    """Every service of the demo except the traffic.

    Args:
        config: their ports and folders.
        canary_seconds: time between two rounds of canary events; 0: only the first round, which shows readiness.
        reload: whether the API and the dashboard reload when their code changes.
    """
    secret = secrets.token_urlsafe()
    return [
        *_databases(config),
        *log_engine.rows(config, helios_environment(config)),
        *_aws(config),
        _api(config, secret, reload=reload),
        *_gcp(config, secret),
        *_azure(config, secret),
        _canary(config, canary_seconds),
        *_kafka(config),
        *_dashboard(config, reload=reload),
    ]


def _databases(config: Config) -> list[Service]:
    """Postgres with its tables, and Valkey."""
    data, log, credentials = config.folder, config.log, config.credentials
    return [
        Service(
            "postgres",
            Postgres(
                data / "postgres",
                config.postgres_port,
                log=log("postgres"),
                credentials=credentials,
                remedy=EMPTY_DATABASE,
            ),
            ports=("postgres_port",),
        ),
        Service(
            "valkey",
            Valkey(data / "valkey", config.valkey_port, log=log("valkey"), password=credentials.valkey),
            ports=("valkey_port",),
        ),
        _task(
            config,
            "migrations",
            _python("helios", "migrate"),
            env=helios_environment(config),
            needs=("postgres",),
            remedy=EMPTY_DATABASE,
        ),
    ]


def _aws(config: Config) -> list[Service]:
    """The AWS emulator, and the deployment of Helios to it."""
    packages = sorted({function.package for function in deployer.FUNCTIONS})
    return [
        Service(
            "aws",
            Ministack(config.folder, config.aws_port, log=config.log("aws"), origins=[config.dashboard_url]),
            ports=("aws_port",),
            restarts=True,
            data_loss="the events that it had accepted and not delivered are lost.",
        ),
        # The whole environment: uv reads settings from it (a proxy, an index, a cache).
        _task(config, "packages", _python("scripts.build.package", "--native", *packages), env=os.environ),
        _task(
            config,
            "deployment",
            _python("local.aws.deployer", config.aws_url, "--undeliverable", UNDELIVERED),
            env=resources.sdk_environment(config.aws_url) | helios_environment(config) | NOTIFY_LISTENERS,
            needs=("aws", "packages", *_stores(config)),
        ),
    ]


def _api(config: Config, secret: str, *, reload: bool) -> Service:
    """Helios' API. It notifies the relay function on AWS, for itself and for the functions of the other clouds."""
    notifier = {"HELIOS_RELAY_QUEUE_URL": deployer.relay_queue_url(config.aws_url), "HELIOS_NOTIFY_SECRET": secret}
    address = ["--host", HOST, "--port", str(config.api_port)]
    options = ["--reload", "--reload-dir", str(REPOSITORY / "shared")] if reload else []
    return _command(
        config,
        "api",
        _python("helios.api", *address, *options),
        env=helios_environment(config)
        | sdk_environment(config)
        | notifier
        | NOTIFY_LISTENERS
        | _replay_targets(config)
        | _recovery_places(config)
        | {"HELIOS_TRUST_LOOPBACK": "true", "HELIOS_KAFKA_BROKERS": config.kafka_brokers},
        ready=answers(f"{config.api_url}/api/v1/health"),
        needs=_stores(config),
        ports=("api_port",),
    )


def _gcp(config: Config, secret: str) -> list[Service]:
    """Pub/Sub, the Cloud Function behind the emulated Cloud Run, and the subscription that pushes to it."""
    data = config.folder / "pubsub"
    emulator = ["--port", str(config.pubsub_port), "--http-port", str(config.pubsub_admin_port)]
    function = ["--target", "ingest", "--source", str(REPOSITORY / "functions/gcp/main.py")]
    auth = ["--keys-url", _google_keys_url(config), "--audience", config.gcp_function_url, "--invoker", GCP_INVOKER]
    topic = ["--project", GCP_PROJECT, "--topic", GCP_TOPIC, "--function-url", config.gcp_function_url]
    return [
        _command(
            config,
            "pubsub",
            _python("local.emulators.pubsub", *emulator, "--data", str(data), "--undeliverable", UNDELIVERED),
            ready=answers(f"{config.pubsub_url}/healthz"),
            data=data,
            ports=("pubsub_port", "pubsub_admin_port"),
        ),
        _command(
            config,
            "gcp-function",
            _python("local.emulators.cloud_run", *function, "--port", str(config.gcp_function_port), *auth),
            env=_notifying_environment(config, secret),
            ready=accepts(config.gcp_function_port),
            needs=_stores(config),
            ports=("gcp_function_port",),
        ),
        _task(
            config,
            "gcp-topic",
            _python("local.emulators.pubsub.client", *topic, "--service-account", GCP_INVOKER),
            env={"PUBSUB_EMULATOR_HOST": f"{HOST}:{config.pubsub_port}"},
            needs=("pubsub", "gcp-function"),
        ),
    ]


def _azure(config: Config, secret: str) -> list[Service]:
    """Event Grid, the function app in the emulated host, and the subscription that posts to it."""
    data = config.eventgrid_folder
    ports = ["--port", str(config.eventgrid_port), "--tls-port", str(config.eventgrid_tls_port)]
    emulator = [*ports, "--data", str(data), "--undeliverable", UNDELIVERED]
    # A tenth of Event Grid's waits: the first retry after an outage starts after one second, not ten.
    scale = ["--time-scale", "0.1"]
    host = [str(REPOSITORY / "functions/azure"), "--port", str(config.azure_function_port)]
    credentials = config.credentials
    endpoint = event_grid_url(config.azure_function_url, "ingest", credentials.host_event_grid)
    topic = ["--url", config.eventgrid_url, "--topic", AZURE_TOPIC]
    return [
        _command(
            config,
            "eventgrid",
            _python("local.emulators.eventgrid", *emulator, *scale),
            ready=answers(f"{config.eventgrid_url}/health"),
            data=data,
            ports=("eventgrid_port", "eventgrid_tls_port"),
        ),
        _command(
            config,
            "azure-function",
            _python("local.emulators.azure_host", *host),
            env=_notifying_environment(config, secret) | credentials.azure_host,
            ready=answers(f"{config.azure_function_url}/admin/host/ping"),
            needs=_stores(config),
            ports=("azure_function_port",),
        ),
        _task(
            config,
            "azure-topic",
            _python("local.emulators.eventgrid.client", *topic),
            env={"EVENTGRID_TOPIC_KEY": credentials.topic_key, "EVENTGRID_ENDPOINT_URL": endpoint},
            needs=("eventgrid", "azure-function"),
        ),
    ]


def _canary(config: Config, seconds: float) -> Service:
    """The canary, which tests each authenticator of the API; ready once an event has passed every one."""
    urls = ["--api-url", config.api_url, "--aws-url", config.aws_url, "--eventgrid-url", config.eventgrid_url]
    return _command(
        config,
        "canary",
        _python("local.canary", "--port", str(config.canary_port), "--every", str(seconds), *urls),
        env=sdk_environment(config) | config.credentials.webhooks,
        ready=answers(f"{config.canary_url}/healthz"),
        needs=("aws", "api", "pubsub", "eventgrid", *log_engine.judges(config)),
        ports=("canary_port",),
    )


def _kafka(config: Config) -> list[Service]:
    """Kafka, and the sink that publishes every stored event to it."""
    cluster = Command(
        "kafka",
        _python("local.servers.kafka", "--port", str(config.kafka_port)),
        env=scrubbed_environment(),
        ready=accepts(config.kafka_port),
        log=config.log("kafka"),
        cwd=REPOSITORY,
    )
    return [
        Service("kafka", cluster, ports=("kafka_port",)),
        _command(
            config,
            "sink",
            _python("helios", "sink"),
            env=helios_environment(config) | {"HELIOS_KAFKA_BROKERS": config.kafka_brokers},
            ready=follows(postgres.url(config.postgres_port, config.credentials.postgres), KAFKA),
            needs=("migrations", "kafka"),
            ports=(),
        ),
    ]


def _dashboard(config: Config, *, reload: bool) -> list[Service]:
    """The dashboard, on the WebSocket of AWS; with ``reload``, Vite serves it from its sources."""
    websocket_url, port = deployer.websocket_url(config.aws_url), str(config.dashboard_port)
    built = _python("local.demo.dashboard", "--port", port, "--api-url", config.api_url, "--ws-url", websocket_url)
    npm = ["npm", "--prefix", str(REPOSITORY / "dashboard")]
    vite = [*npm, "run", "dev", "--", "--host", HOST, "--port", port]
    return [
        # The whole environment: npm reads settings from it, as uv does.
        _task(config, "dashboard-build", _python("local.demo.dashboard_build"), env=os.environ),
        _command(
            config,
            "dashboard",
            vite if reload else built,
            env={"VITE_API_URL": config.api_url, "VITE_WS_URL": websocket_url} if reload else None,
            ready=answers(f"http://{HOST}:{config.dashboard_port}/"),
            needs=("dashboard-build",),
            ports=("dashboard_port",),
        ),
    ]


def traffic(
    config: Config,
    *,
    rate: float,
    error_rate: float,
    duration: float,
    summary: Path,
    sources: int = 3,
    varied: float = 0.0,
) -> Command:
    """The simulator: it publishes through the clouds' own SDKs, and writes its summary to a file when it ends."""
    options = ["--via", "cloud", "--rate", rate, "--error-rate", error_rate, "--duration", duration]
    options += ["--url", config.api_url, "--varied", varied, "--manifests", "--undelivered", UNDELIVERED]
    options += [word for name in providers.names(sources) for word in ("--source", name)]
    return Command(
        "traffic",
        _python("scripts.simulator", *map(str, options), "--summary", str(summary)),
        env=scrubbed_environment(**sdk_environment(config)),
        ready=lambda: True,  # the demo waits for its first event instead
        log=config.log("traffic"),
        cwd=REPOSITORY,
        stop_seconds=30,  # it waits for the answers to its requests
    )


def sdk_environment(config: Config) -> dict[str, str]:
    """The variables that point the vendors' SDKs and the simulator to the emulators."""
    return resources.sdk_environment(config.aws_url) | {
        "PUBSUB_EMULATOR_HOST": f"{HOST}:{config.pubsub_port}",
        "GOOGLE_CLOUD_PROJECT": GCP_PROJECT,
        "HELIOS_GCP_TOPIC": GCP_TOPIC,
        "HELIOS_AZURE_EVENTGRID_ENDPOINT": topic_url(config.eventgrid_url, AZURE_TOPIC),
        "HELIOS_AZURE_EVENTGRID_KEY": config.credentials.topic_key,
        **providers.environment(config),
    }


def helios_environment(config: Config) -> dict[str, str]:
    """The settings of every process of Helios."""
    credentials = config.credentials
    return {
        "HELIOS_DATABASE_URL": postgres.url(config.postgres_port, credentials.postgres),
        "HELIOS_REDIS_URL": valkey.url(config.valkey_port, credentials.valkey),
        "HELIOS_DASHBOARD_ORIGIN": config.dashboard_url,
        "HELIOS_FLOWS_FILE": config.flows_file,
        "HELIOS_PUBSUB_KEYS_URL": _google_keys_url(config),
        "HELIOS_ENTRA_KEYS_URL": f"{config.eventgrid_url}/{{tenant}}/discovery/v2.0/keys",
        "HELIOS_SNS_CERTIFICATES_URL": config.canary_url,
        **WEBHOOK_AUTH,
        **credentials.webhooks,
        **log_engine.settings(config),
        **providers.environment(config),
    }


def _stores(config: Config) -> tuple[str, ...]:
    """The services that whatever takes events needs."""
    return ("migrations", "valkey", *((log_engine.TOPICS,) if config.engine == "flink" else ()))


def _replay_targets(config: Config) -> dict[str, str]:
    """The targets of replay jobs: the emulators, and webhooks on this machine."""
    topics = {
        "aws": BUS,
        "gcp": f"projects/{GCP_PROJECT}/topics/{GCP_TOPIC}",
        "azure": topic_url(config.eventgrid_url, AZURE_TOPIC),
    }
    return {
        "HELIOS_REPLAY_HOSTS": f"{HOST}:* localhost:*",
        "HELIOS_REPLAY_SECRET": config.credentials.replay,
        "HELIOS_REPLAY_TOPICS": " ".join(f"{cloud}={topic}" for cloud, topic in topics.items()),
        "HELIOS_REPLAY_EVENTGRID_SECRET": config.credentials.topic_key,
    }


def _recovery_places(config: Config) -> dict[str, str]:
    """Where recoveries look for missing legs: the archive of the bus, and the dead letters of each cloud."""
    places = {
        "aws-archive": resources.archive_arn(ARCHIVE),
        "aws-queue": resources.queue_arn(QUEUE),
        "aws-dead-letters": deployer.dead_letter_queue_url(config.aws_url),
        "gcp-dead-letters": f"projects/{GCP_PROJECT}/subscriptions/{GCP_TOPIC}{DEAD_LETTERS}",
        "azure-dead-letters": dead_letters_url(config.eventgrid_url, AZURE_TOPIC),
    }
    return {
        "HELIOS_RECOVERY_PLACES": " ".join(f"{kind}={name}" for kind, name in places.items()),
        "HELIOS_RECOVERY_AZURE_SECRET": dead_letters_signature(config.credentials.topic_key),
    }


def _google_keys_url(config: Config) -> str:
    return f"{config.pubsub_url}/oauth2/v3/certs"


def _notifying_environment(config: Config, secret: str) -> dict[str, str]:
    """The settings of a function outside AWS: those of every process, and the API's address to notify."""
    notify = {"HELIOS_NOTIFY_URL": f"{config.api_url}/api/v1/relay/notify", "HELIOS_NOTIFY_SECRET": secret}
    return helios_environment(config) | notify


def _command(
    config: Config,
    name: str,
    command: Sequence[str],
    *,
    ready: Probe,
    env: Mapping[str, str] | None = None,
    needs: tuple[str, ...] = (),
    ports: tuple[str, ...],
    data: Path | None = None,
) -> Service:
    """A row for a server that is a command, and that loses no data in a restart."""
    environment = scrubbed_environment(**env or {})
    server = Command(name, command, env=environment, ready=ready, log=config.log(name), cwd=REPOSITORY)
    return Service(name, server, needs=needs, ports=ports, restarts=True, data=data)


def _task(
    config: Config,
    name: str,
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    needs: tuple[str, ...] = (),
    remedy: str = "",
) -> Service:
    """A row for a command that runs to its end."""
    environment = scrubbed_environment(**env or {})
    server = Task(name, command, env=environment, log=config.log(name), cwd=REPOSITORY)
    return Service(name, server, needs=needs, remedy=remedy)


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]
