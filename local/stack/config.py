"""Ports, folders and names of the local stack. The environment variable ``HELIOS_LOCAL_<FIELD>`` sets each field."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from helios.errors import ConfigurationError
from helios.processes.ports import HOST, free_ports
from local.stack import credentials
from local.stack.credentials import Credentials

PREFIX = "HELIOS_LOCAL_"
REPOSITORY = Path(__file__).resolve().parents[2]

AWS_REGION = "us-east-1"
AWS_ACCOUNT = "000000000000"
"""The account id of the emulator, whatever the credentials."""
BUS = "helios"
QUEUE = "helios-events"
DEAD_LETTER_QUEUE = "helios-events-dlq"
INGEST_FUNCTION = "helios-ingest"
API_FUNCTION = "helios-api"
WEBSOCKET_FUNCTION = "helios-websocket"
RELAY_FUNCTION = "helios-relay"
SWEEP_FUNCTION = "helios-sweep"
HTTP_API = "helios-api"
WEBSOCKET_API = "helios-live"
WEBSOCKET_STAGE = "live"
RELAY_QUEUE = "helios-relay"
SCHEDULE = "helios-every-minute"

GCP_PROJECT = "helios-local"
GCP_TOPIC = "helios-events"
GCP_INVOKER = f"helios@{GCP_PROJECT}.iam.gserviceaccount.com"
"""The service account that Pub/Sub uses to invoke the Cloud Function."""
AZURE_TOPIC = "helios-events"
CANARY = "helios-canary"
"""The name of the bus and the topics whose events go to the API's webhooks and pass its authenticators."""
CANARY_TYPE = "Canary"
CANARY_TOPIC_ARN = f"arn:aws:sns:{AWS_REGION}:{AWS_ACCOUNT}:{CANARY}"

UNDELIVERED = "undelivered"
"""The field of a payload that marks an event which no cloud delivers: the demo shows how it is brought back."""
DEAD_LETTERS = "-dead-letters"
"""How the names of the topic, the subscription and the container of dead letters end, after the name of the topic."""
ARCHIVE = BUS
"""The archive of the bus: Terraform gives it the same name."""

WEBHOOK_AUTH = {
    "HELIOS_WEBHOOK_AUTH": "eventbridge=key,sns pubsub=oidc eventgrid=secret,entra cloudevents=hmac",
    "HELIOS_SNS_TOPICS": CANARY_TOPIC_ARN,
    "HELIOS_PUBSUB_AUDIENCE": "helios-local",
    "HELIOS_PUBSUB_SERVICE_ACCOUNT": "helios-push@helios-local.iam.gserviceaccount.com",
    "HELIOS_ENTRA_TENANT": "4e110505-0000-4000-8000-000000000000",
    "HELIOS_ENTRA_AUDIENCE": "api://helios-local",
}
"""The settings of the authenticators; ``Credentials.webhooks`` has their secrets. The demo's API checks the credentials
of each request that carries any."""

Port = Annotated[int, Meta(ge=1, le=65_535)]


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The ports and folders of the local stack.

    Attributes:
        postgres_port: Postgres.
        valkey_port: Valkey.
        aws_port: every AWS service.
        api_port: Helios' own API.
        dashboard_port: the dashboard.
        pubsub_port: Pub/Sub, over gRPC and REST.
        pubsub_admin_port: HTTP port of the Pub/Sub emulator: its certificates and its state.
        eventgrid_port: Event Grid.
        eventgrid_tls_port: Event Grid over TLS, for the clients that send keys over HTTPS only.
        gcp_function_port: the Cloud Function.
        azure_function_port: the Azure Function.
        kafka_port: Kafka's bootstrap server.
        log_port: bootstrap server of the log, with the engine ``flink``.
        canary_port: HTTP port of the canary, which serves the certificate that signs the canary events of SNS.
        flows_file: the file that declares the flows; empty for the order flow that ships with Helios.
        sources_file: the file that declares sources beside the clouds; empty for none.
        engine: what judges events: ``postgres`` or ``flink``.
        log_prefix: the prefix of the topics of the log.
        state: folder of data, logs and other files that outlive a run; it may be deleted between runs.
    """

    postgres_port: Port = 55432
    valkey_port: Port = 56379
    aws_port: Port = 4566
    api_port: Port = 8001
    dashboard_port: Port = 5173
    pubsub_port: Port = 8085
    pubsub_admin_port: Port = 8086
    eventgrid_port: Port = 8087
    eventgrid_tls_port: Port = 8090
    gcp_function_port: Port = 8088
    azure_function_port: Port = 7071
    kafka_port: Port = 19092
    log_port: Port = 19093
    canary_port: Port = 8089
    flows_file: str = ""
    sources_file: str = ""
    engine: str = "postgres"
    log_prefix: str = "helios"
    state: str = str(REPOSITORY / ".helios")

    @property
    def folder(self) -> Path:
        """The state folder, absolute."""
        return Path(self.state).absolute()

    @property
    def credentials(self) -> Credentials:
        """The passwords, keys and secrets in the state folder, which the first use creates."""
        return credentials.load(self.folder)

    def log(self, name: str) -> Path:
        """The log file of a service."""
        return self.folder / "logs" / f"{name}.log"

    @property
    def aws_url(self) -> str:
        """The endpoint of every AWS service."""
        return f"http://{HOST}:{self.aws_port}"

    @property
    def pubsub_url(self) -> str:
        """The HTTP address of the Pub/Sub emulator."""
        return f"http://{HOST}:{self.pubsub_admin_port}"

    @property
    def eventgrid_url(self) -> str:
        """The address of the Event Grid emulator."""
        return f"http://{HOST}:{self.eventgrid_port}"

    @property
    def eventgrid_tls_url(self) -> str:
        """The address of the Event Grid emulator over TLS, with a certificate that it makes."""
        return f"https://{HOST}:{self.eventgrid_tls_port}"

    @property
    def eventgrid_folder(self) -> Path:
        """The data of the Event Grid emulator."""
        return self.folder / "eventgrid"

    @property
    def gcp_function_url(self) -> str:
        """The address of the Cloud Function."""
        return f"http://{HOST}:{self.gcp_function_port}"

    @property
    def azure_function_url(self) -> str:
        """The address of the Azure Functions host."""
        return f"http://{HOST}:{self.azure_function_port}"

    @property
    def kafka_brokers(self) -> str:
        """The bootstrap server for clients of Kafka."""
        return f"{HOST}:{self.kafka_port}"

    @property
    def log_brokers(self) -> str:
        """The bootstrap server of the log."""
        return f"{HOST}:{self.log_port}"

    @property
    def canary_url(self) -> str:
        """The address of the canary."""
        return f"http://{HOST}:{self.canary_port}"

    @property
    def dashboard_url(self) -> str:
        """The address of the dashboard, spelled as the browser must: the API allows this origin only."""
        return f"http://localhost:{self.dashboard_port}"

    @property
    def api_url(self) -> str:
        """The address of Helios' own API."""
        return f"http://{HOST}:{self.api_port}"


_PORT_FIELDS = [field for field in Config.__struct_fields__ if field.endswith("_port")]


def ports(config: Config) -> dict[str, int]:
    """The port of each field that is one."""
    return {field: getattr(config, field) for field in _PORT_FIELDS}


def variable(field: str) -> str:
    """The environment variable that sets this field."""
    return PREFIX + field.upper()


def load(environ: Mapping[str, str] = os.environ) -> Config:
    """The settings from the environment; an empty variable counts as not set.

    Raises:
        ConfigurationError: a variable is unknown or invalid, or two services share a port.
    """
    known = {variable(field): field for field in Config.__struct_fields__}
    values = {name: value for name, value in environ.items() if name.startswith(PREFIX) and value}
    if unknown := sorted(values.keys() - known.keys()):
        raise ConfigurationError(f"Unknown setting {unknown[0]}. The settings are {', '.join(known)}.")
    try:
        config = msgspec.convert({known[name]: value for name, value in values.items()}, Config, strict=False)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        raise ConfigurationError(f"{variable(path.rstrip('`'))}: {reason}") from error
    owners: dict[int, str] = {}
    for field in _PORT_FIELDS:
        port = getattr(config, field)
        if port in owners:
            raise ConfigurationError(f"{variable(owners[port])} and {variable(field)} are both {port}")
        owners[port] = field
    return config


def free_port_fields() -> dict[str, int]:
    """A free port for each port field: for a second set of services beside a running demo."""
    return dict(zip(_PORT_FIELDS, free_ports(len(_PORT_FIELDS)), strict=True))
