"""Every setting of Helios, read from the environment in one place.

The settings are a msgspec Struct and not pydantic-settings: importing pydantic-settings takes longer than the rest of
a function's cold start, and every function imports this module.
"""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from helios.errors import ConfigurationError

PREFIX = "HELIOS_"

Secret = Annotated[str, Meta(pattern=r"^\S{16,}( \S{16,})?$")]
"""At least 16 characters; two secrets, separated by a space, during a rotation."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration of this process; each field is the variable ``HELIOS_<FIELD>``."""

    database_url: Annotated[
        str | None,
        Meta(
            description="URL of Postgres: postgresql://... Required. Where HELIOS_ENGINE is flink, neither functions "
            "that ingest nor the job need it."
        ),
    ] = None
    database_direct_url: Annotated[
        str | None,
        Meta(
            description="URL of Postgres itself, where HELIOS_DATABASE_URL is that of a pooler in transaction mode "
            "(PgBouncer, RDS Proxy), for LISTEN and for dropping partitions. Empty: HELIOS_DATABASE_URL."
        ),
    ] = None
    redis_url: Annotated[
        str | None, Meta(description="URL of Redis or Valkey: redis://... or rediss://... Empty: no dedupe cache.")
    ] = None
    relay_queue_url: Annotated[
        str | None, Meta(description="URL of the SQS queue that starts the relay function. Empty: no such function.")
    ] = None
    websocket_endpoint: Annotated[
        str | None, Meta(description="Management endpoint of API Gateway, https://..., for the relay function.")
    ] = None
    notify_url: Annotated[
        str | None, Meta(description="URL that a function outside of AWS notifies: https://.../api/v1/relay/notify.")
    ] = None
    notify_secret: Annotated[
        Secret | None,
        Meta(
            description="Shared secret of /api/v1/relay/notify, on both sides: at least 16 characters. Two, separated "
            "by a space, during a rotation: a function sends the first. Empty: every notification is refused."
        ),
    ] = None
    sample_above_watchers: Annotated[
        int,
        Meta(
            description="Number of clients of the live stream above which they get at most two messages a second, with "
            "exact counts and fewer of the events. Of each process that sends the stream.",
            ge=0,
        ),
    ] = 50
    notify_listeners: Annotated[
        bool,
        Meta(
            description="true: notify the processes that listen on the database (API servers, the Kafka sink) with "
            "NOTIFY, although HELIOS_RELAY_QUEUE_URL or HELIOS_NOTIFY_URL is set. Without these two settings they are "
            "always notified."
        ),
    ] = False
    secret_id: Annotated[
        str | None,
        Meta(description="Name or ARN of an AWS secret that holds more settings, as a JSON object. Empty: none."),
    ] = None
    flows_file: Annotated[
        str | None, Meta(description="TOML file that declares the flows. Empty: the order flow that ships with Helios.")
    ] = None
    sources_file: Annotated[
        str | None,
        Meta(description="TOML file that declares sources beside the three clouds. Empty: none. See docs/sources.md."),
    ] = None
    source_secrets: Annotated[
        str | None,
        Meta(
            description="Secrets of declared sources, as NAME=SECRET separated by spaces, each at least 16 characters. "
            "Repeat the name with both secrets during a rotation."
        ),
    ] = None
    notifications_file: Annotated[
        str | None,
        Meta(
            description="TOML file with the receivers of notifications about incidents, and the routes to them. Empty: "
            "nobody is notified. See docs/incidents.md."
        ),
    ] = None
    notification_secrets: Annotated[
        str | None,
        Meta(
            description="Secrets of the receivers of notifications, as NAME=SECRET separated by spaces: whsec_... of a "
            "webhook (repeat the name with both during a rotation), the Apprise URL of any other."
        ),
    ] = None
    kafka_brokers: Annotated[
        str | None, Meta(description="Kafka brokers, as host:port,host:port. Empty: events are not forwarded to Kafka.")
    ] = None
    kafka_topic: Annotated[
        str,
        Meta(description="Kafka topic of an event; {source} and {type} are replaced by the event's own.", min_length=1),
    ] = "helios.{source}.{type}"
    kafka_config: Annotated[
        str | None,
        Meta(description="File of more librdkafka properties (TLS, SASL), one name=value per line. Empty: none."),
    ] = None
    kafka_secret: Annotated[
        str | None,
        Meta(
            description="More librdkafka properties, as name=value separated by spaces, such as sasl.password=..., for "
            "processes that read no file. They replace those of HELIOS_KAFKA_CONFIG."
        ),
    ] = None
    engine: Annotated[
        Literal["postgres", "flink"],
        Meta(
            description="What stores and judges events. postgres: whatever receives them, in one transaction a batch. "
            "flink: deliveries are appended to a log in Kafka, a job of Apache Flink judges them, and helios projector "
            "stores the results. See docs/log.md."
        ),
    ] = "postgres"
    log_brokers: Annotated[
        str | None,
        Meta(
            description="Kafka brokers of the log, as host:port,host:port. Required where HELIOS_ENGINE is flink. "
            "HELIOS_KAFKA_CONFIG applies to them too."
        ),
    ] = None
    log_prefix: Annotated[
        str,
        Meta(
            description="Prefix of the log's topics: helios for helios.deliveries, helios.verdicts and so on.",
            pattern=r"^[A-Za-z0-9._-]{1,200}$",
        ),
    ] = "helios"
    dedupe_ttl_seconds: Annotated[
        int, Meta(description="How long the dedupe cache holds the key of a stored event, in seconds.", ge=1)
    ] = 86_400
    database_connections: Annotated[
        int, Meta(description="Maximum number of Postgres connections of this process.", ge=1, le=100)
    ] = 4
    database_timeout_seconds: Annotated[
        int, Meta(description="Timeout of one statement, and of connecting to Postgres, in seconds.", ge=1, le=300)
    ] = 10
    partition_days: Annotated[
        int,
        Meta(
            description="Days of events in one partition of the table, from the next new partition on. Retention and "
            "archive work on whole partitions.",
            ge=1,
            le=366,
        ),
    ] = 7
    manifest_grace_seconds: Annotated[
        int,
        Meta(
            description="Seconds after the end of a minute until what a manifest declares and has not arrived is "
            "missing. The clock of a producer may be wrong by as much.",
            ge=5,
            le=3600,
        ),
    ] = 60
    retention: Annotated[
        str | None,
        Meta(
            description="Days for which to store each topic (events, unarchived_events, ids, flows, dead_letters, "
            "audit, counts): events=90 ids=400. A topic that is not named is stored forever."
        ),
    ] = None
    event_store: Annotated[
        Literal["postgres", "archive"],
        Meta(
            description="Where events are stored with HELIOS_ENGINE=flink. postgres: in Postgres. archive: only in "
            "HELIOS_ARCHIVE_URL, to which helios archive run --from-log writes them. See docs/log.md."
        ),
    ] = "postgres"
    archive_url: Annotated[
        str | None,
        Meta(
            description="Where events are archived: a folder, file:///folder, s3://bucket/prefix, gs://bucket/prefix "
            "or az://container/prefix; credentials as the cloud's tools read them. Empty: no archive."
        ),
    ] = None
    erasure_secret: Annotated[
        Secret | None,
        Meta(
            description="Signs the receipts of helios erase, and names what was erased by a keyed digest: at least 16 "
            "characters. Two during a rotation: the first signs."
        ),
    ] = None
    max_body_bytes: Annotated[
        Annotated[int, Meta(ge=1024)] | None,
        Meta(
            description="Maximum size of the body of a request, in bytes; a larger one is answered with 413. Empty: "
            "the most that each cloud sends, 1 MB for CloudEvents.",
        ),
    ] = None
    webhook_auth: Annotated[
        str | None,
        Meta(
            description="Authenticators of each webhook: eventbridge=key,sns pubsub=oidc eventgrid=secret,entra "
            "cloudevents=hmac. A webhook that is not listed is closed; the value closed closes all. Required by the "
            "API."
        ),
    ] = None
    trust_loopback: Annotated[
        bool, Meta(description="true: requests from this machine need no credentials. Refused in a cloud.")
    ] = False
    eventbridge_secret: Annotated[
        Secret | None,
        Meta(
            description="key: the x-helios-key header that the API destination sends, at least 16 characters. "
            "Two during a rotation."
        ),
    ] = None
    sns_topics: Annotated[
        str | None, Meta(description="sns: ARNs of the topics that may send, separated by spaces.")
    ] = None
    sns_certificates_url: Annotated[
        str | None,
        Meta(description="sns: mirror of Amazon's signing certificates, under the same paths. Empty: Amazon."),
    ] = None
    pubsub_audience: Annotated[str | None, Meta(description="oidc: audience of the push subscription.")] = None
    pubsub_service_account: Annotated[
        str | None, Meta(description="oidc: e-mail address of the push subscription's service account.")
    ] = None
    pubsub_keys_url: Annotated[str, Meta(description="oidc: URL of Google's public keys.")] = (
        "https://www.googleapis.com/oauth2/v3/certs"
    )
    eventgrid_secret: Annotated[
        Secret | None,
        Meta(description="secret: the delivery property x-helios-key, at least 16 characters. Two during a rotation."),
    ] = None
    entra_tenant: Annotated[str | None, Meta(description="entra: id of the tenant.")] = None
    entra_audience: Annotated[
        str | None, Meta(description="entra: application id (URI) for which Event Grid requests its tokens.")
    ] = None
    entra_keys_url: Annotated[
        str, Meta(description="entra: URL of the tenant's public keys; {tenant} is replaced by the tenant's id.")
    ] = "https://login.microsoftonline.com/{tenant}/discovery/v2.0/keys"
    cloudevents_secret: Annotated[
        str | None, Meta(description="hmac: Standard Webhooks secret, whsec_... Two during a rotation.")
    ] = None
    replay_hosts: Annotated[
        str | None,
        Meta(
            description="Hosts of webhooks to which stored events may be replayed, separated by spaces: HOST for port "
            "443, HOST:PORT, or HOST:* for any port; private:HOST for a host with a private address. Empty: none."
        ),
    ] = None
    replay_secret: Annotated[
        str | None,
        Meta(description="Standard Webhooks secret that signs these replays, whsec_... Two during a rotation."),
    ] = None
    replay_topics: Annotated[
        str | None,
        Meta(
            description="Topics to which stored events may be replayed: aws=BUS gcp=projects/P/topics/T "
            "azure=https://.../api/events. Empty: none."
        ),
    ] = None
    replay_eventgrid_secret: Annotated[
        str | None, Meta(description="Access key of the Event Grid topic in HELIOS_REPLAY_TOPICS.")
    ] = None
    recovery_places: Annotated[
        str | None,
        Meta(
            description="Where recoveries look for missing legs: aws-archive=ARN with aws-queue=ARN, "
            "aws-dead-letters=URL, gcp-topic=projects/P/topics/T, gcp-dead-letters=projects/P/subscriptions/S, "
            "azure-dead-letters=URL; separated by spaces. Empty: nowhere."
        ),
    ] = None
    recovery_azure_secret: Annotated[
        str | None,
        Meta(
            description="Shared access signature that may list and read the container of azure-dead-letters. Empty: "
            "the identity of the process."
        ),
    ] = None
    redact: Annotated[
        str | None,
        Meta(
            description="Payload fields whose values are not stored, as paths separated by spaces: card.number email."
        ),
    ] = None
    oidc_issuer: Annotated[
        str | None,
        Meta(description="Identity provider of people: the iss of its tokens. Empty: people use API tokens."),
    ] = None
    oidc_audience: Annotated[str | None, Meta(description="Audience that a person's token must have.")] = None
    oidc_keys_url: Annotated[
        str | None, Meta(description="URL of the provider's public keys: jwks_uri in its OpenID configuration.")
    ] = None
    oidc_token_type: Annotated[
        str,
        Meta(
            description="Type in the header of a person's access token: at+jwt (RFC 9068), or JWT for a provider that "
            "does not set it, such as Microsoft Entra. Its ID tokens are then admitted too."
        ),
    ] = "at+jwt"  # noqa: S105 - the name of a type
    rate_per_minute: Annotated[
        int, Meta(description="Requests to the API per caller and minute; more are answered with 429.", ge=1)
    ] = 1200
    dashboard_origin: Annotated[
        str, Meta(description="The only web origin that may call the API from a browser (CORS).")
    ] = "http://localhost:5173"
    dashboard_folder: Annotated[
        str | None,
        Meta(description="Folder of the built dashboard that the API serves at /. Empty: none; helios serve sets it."),
    ] = None
    otlp_url: Annotated[
        str | None,
        Meta(
            description="Endpoint of an OpenTelemetry collector, for OTLP over HTTP: https://collector.example:4318, "
            "to which Helios appends /v1/traces. It gets one span per batch. Empty: no spans."
        ),
    ] = None
    otlp_secret: Annotated[
        str | None,
        Meta(
            description="Headers with which the collector admits Helios, as NAME=VALUE,NAME=VALUE with percent-encoded "
            "values: authorization=Bearer%20... Empty: none."
        ),
    ] = None
    otlp_resource: Annotated[
        str,
        Meta(
            description="Attributes of the resource of all spans, as NAME=VALUE,NAME=VALUE: "
            "service.name=helios,deployment.environment.name=prod."
        ),
    ] = "service.name=helios"
    trace_url: Annotated[
        Annotated[str, Meta(pattern=r"^https?://\S*\{trace_id\}\S*$")] | None,
        Meta(
            description="Where a trace is shown, for the links on the page of an order: "
            "https://tracing.example/trace/{trace_id}. Empty: no links."
        ),
    ] = None
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Meta(description="Lowest level that is logged.")
    ] = "INFO"

    @property
    def postgres_url(self) -> str:
        """The URL of Postgres.

        Raises:
            ConfigurationError: it is not set.
        """
        if self.database_url is None:
            raise _missing("database_url")
        return self.database_url

    @property
    def session_url(self) -> str:
        """The URL for a connection that needs a session of its own.

        Raises:
            ConfigurationError: as ``postgres_url``.
        """
        return self.database_direct_url or self.postgres_url

    def shown(self) -> dict[str, object]:
        """All settings with their secrets masked, for the start-up log."""
        return {name: _shown(name, getattr(self, name)) for name in self.__struct_fields__}

    def __repr__(self) -> str:
        """All settings with their secrets masked: no secret is printed by accident."""
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.shown().items())})"


_PASSWORD_OF_USER = re.compile(r"(\w://[^/?#@:\s]*:)\S*@")
_PASSWORD_NAMED = re.compile(
    r"(\b\w*(?:password|passwd|secret|token)\s*=\s*)('(?:[^'\\]|\\.)*'|[^&\s]*)", re.IGNORECASE
)
"""A password in the query of a URL, or in libpq's keyword form (PostgreSQL documentation, "Connection Strings")."""


def _shown(name: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    return "***" if name.endswith(("_secret", "_secrets")) else masked(value)


def masked(url: str) -> str:
    """The URL with every password in it replaced by ``***``; any other text is returned unchanged."""
    url = _PASSWORD_OF_USER.sub(r"\g<1>***@", url)
    return _PASSWORD_NAMED.sub(r"\g<1>***", url)


def variable(field: str) -> str:
    """The name of the environment variable that sets this field."""
    return PREFIX + field.upper()


def load(environ: Mapping[str, str] = os.environ, *, require: Sequence[str] = ()) -> Settings:
    """The settings in the environment. An empty variable counts as not set.

    Args:
        environ: the environment variables.
        require: settings that this process needs, beside the store of its engine.

    Raises:
        ConfigurationError: a variable is missing or has the wrong form; the message names the variable.
    """
    fields = {variable(field): field for field in Settings.__struct_fields__}
    values = {fields[name]: value for name, value in environ.items() if name in fields and value}
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        raise ConfigurationError(f"{variable(path.rstrip('`'))}: {reason}") from error
    if missing := [field for field in (_STORE_OF[settings.engine], *require) if field not in values]:
        raise _missing(missing[0])
    return settings


_STORE_OF: Final = {"postgres": "database_url", "flink": "log_brokers"}
"""The setting of what holds the deliveries of each engine, without which no process of it works."""


def _missing(field: str) -> ConfigurationError:
    return ConfigurationError(f"{variable(field)} is not set. See .env.example for its format.")
