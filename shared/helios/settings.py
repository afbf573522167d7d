"""Every setting of Helios, read from the environment in one place.

A msgspec Struct and not pydantic-settings: importing that takes longer than the rest of a function's cold
start together, and this module lies on every function's cold path.
"""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from helios.errors import ConfigurationError

PREFIX = "HELIOS_"

Secret = Annotated[str, Meta(pattern=r"^\S{16,}( \S{16,})?$")]
"""At least 16 characters, and two of them while one is being replaced."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How this process of Helios is set up; each field is the variable ``HELIOS_<FIELD>``."""

    database_url: Annotated[str, Meta(description="Postgres, as a postgresql:// URL. Required.")]
    redis_url: Annotated[
        str | None, Meta(description="Redis or Valkey, as a redis:// or rediss:// URL. Empty: no duplicate filter.")
    ] = None
    relay_queue_url: Annotated[
        str | None, Meta(description="SQS queue that starts the relay function. Empty: not on AWS.")
    ] = None
    websocket_endpoint: Annotated[
        str | None, Meta(description="API Gateway's management endpoint, https://..., for the relay function.")
    ] = None
    notify_url: Annotated[
        str | None, Meta(description="Where a function outside of AWS rings: https://.../api/v1/relay/notify.")
    ] = None
    notify_secret: Annotated[
        Secret | None,
        Meta(
            description="What ringing takes, on both sides, 16 characters or more; two, to replace one, of which a "
            "function shows the first. Empty: nobody may ring."
        ),
    ] = None
    secret_id: Annotated[
        str | None,
        Meta(description="AWS secret that holds more settings, as a JSON object. Empty: none does."),
    ] = None
    flows_file: Annotated[
        str | None, Meta(description="TOML file that declares the flows. Empty: the order flow that ships with Helios.")
    ] = None
    kafka_brokers: Annotated[
        str | None, Meta(description="Kafka brokers, as host:port,host:port. Empty: events are not passed on to Kafka.")
    ] = None
    kafka_topic: Annotated[
        str, Meta(description="Topic of an event; {source} and {type} stand for its own.", min_length=1)
    ] = "helios.{source}.{type}"
    kafka_config: Annotated[
        str | None, Meta(description="File of more librdkafka properties, name=value a line (TLS, SASL). Empty: none.")
    ] = None
    dedupe_ttl_seconds: Annotated[
        int, Meta(description="How long Redis remembers a stored event, in seconds.", ge=1)
    ] = 86_400
    database_connections: Annotated[
        int, Meta(description="Most Postgres connections this process opens.", ge=1, le=100)
    ] = 4
    database_timeout_seconds: Annotated[
        int, Meta(description="Longest time for one statement, or to make a connection, in seconds.", ge=1, le=300)
    ] = 10
    max_body_bytes: Annotated[
        int, Meta(description="Largest webhook body accepted, in bytes; a larger one is answered 413.", ge=1024)
    ] = 1_048_576
    webhook_auth: Annotated[
        str | None,
        Meta(
            description="Which guard stands at which way in of the API: eventbridge=key,sns pubsub=oidc "
            "eventgrid=secret,entra cloudevents=hmac. One that is not named is closed; closed: all. The API needs it."
        ),
    ] = None
    trust_loopback: Annotated[
        bool, Meta(description="true: requests from this machine itself need no credentials. Refused in a cloud.")
    ] = False
    eventbridge_secret: Annotated[
        Secret | None,
        Meta(
            description="key: what the API destination sends as x-helios-key, 16 characters or more. "
            "Two, to replace one."
        ),
    ] = None
    sns_topics: Annotated[
        str | None, Meta(description="sns: the ARNs of the topics that may send, with spaces between.")
    ] = None
    sns_certificates_url: Annotated[
        str | None, Meta(description="sns: a mirror of Amazon's certificates, asked for the same paths. Empty: Amazon.")
    ] = None
    pubsub_audience: Annotated[str | None, Meta(description="oidc: the audience of the push subscription.")] = None
    pubsub_service_account: Annotated[
        str | None, Meta(description="oidc: the address of the service account in whose name it pushes.")
    ] = None
    pubsub_keys_url: Annotated[str, Meta(description="oidc: where Google's keys are.")] = (
        "https://www.googleapis.com/oauth2/v3/certs"
    )
    eventgrid_secret: Annotated[
        Secret | None,
        Meta(description="secret: the delivery property x-helios-key, 16 characters or more. Two, to replace one."),
    ] = None
    entra_tenant: Annotated[str | None, Meta(description="entra: the tenant's id.")] = None
    entra_audience: Annotated[
        str | None, Meta(description="entra: the application id (URI) for which Event Grid asks its tokens.")
    ] = None
    entra_keys_url: Annotated[
        str, Meta(description="entra: where its keys are; {tenant} stands for the tenant's id.")
    ] = "https://login.microsoftonline.com/{tenant}/discovery/v2.0/keys"
    cloudevents_secret: Annotated[
        str | None, Meta(description="hmac: a Standard Webhooks secret, whsec_... Two, to replace one.")
    ] = None
    replay_hosts: Annotated[
        str | None,
        Meta(
            description="Hosts of webhooks that stored events may be sent to, with spaces between: HOST for port 443, "
            "HOST:PORT, or HOST:* for any port; private:HOST for one with a private address. Empty: none."
        ),
    ] = None
    replay_secret: Annotated[
        str | None, Meta(description="What signs them: a Standard Webhooks secret, whsec_... Two, to replace one.")
    ] = None
    replay_topics: Annotated[
        str | None,
        Meta(
            description="Where stored events may be sent back to: aws=BUS gcp=projects/P/topics/T "
            "azure=https://.../api/events. Empty: nowhere."
        ),
    ] = None
    replay_eventgrid_secret: Annotated[
        str | None, Meta(description="The access key of the Event Grid topic among them.")
    ] = None
    redact: Annotated[
        str | None,
        Meta(description="Payload fields whose values are not kept, as paths with spaces between: card.number email."),
    ] = None
    oidc_issuer: Annotated[
        str | None, Meta(description="Who vouches for people, as its tokens' iss says it. Empty: people have tokens.")
    ] = None
    oidc_audience: Annotated[str | None, Meta(description="The audience that a person's token must be for.")] = None
    oidc_keys_url: Annotated[
        str | None, Meta(description="Where the provider's keys are: jwks_uri of its OpenID configuration.")
    ] = None
    rate_per_minute: Annotated[
        int, Meta(description="How many questions a caller may ask the API in a minute; then it answers 429.", ge=1)
    ] = 1200
    dashboard_origin: Annotated[
        str, Meta(description="The only web origin that may call the API from a browser (CORS).")
    ] = "http://localhost:5173"
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Meta(description="How much is logged, and what is worse.")
    ] = "INFO"

    def shown(self) -> dict[str, object]:
        """All settings, secrets masked, so that a start-up log may tell them."""
        return {name: _shown(name, getattr(self, name)) for name in self.__struct_fields__}

    def __repr__(self) -> str:
        """The same: no secret is ever printed by accident."""
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.shown().items())})"


_PASSWORD_OF_USER = re.compile(r"(\w://[^/?#@:\s]*:)\S*@")
_PASSWORD_NAMED = re.compile(
    r"(\b\w*(?:password|passwd|secret|token)\s*=\s*)('(?:[^'\\]|\\.)*'|[^&\s]*)", re.IGNORECASE
)
"""In the query of a URL, and in libpq's own form (PostgreSQL documentation, "Connection Strings")."""


def _shown(name: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    return "***" if name.endswith("_secret") else masked(value)


def masked(url: str) -> str:
    """The same URL with ``***`` for its password, wherever it stands; any other text as it is."""
    url = _PASSWORD_OF_USER.sub(r"\g<1>***@", url)
    return _PASSWORD_NAMED.sub(r"\g<1>***", url)


def variable(field: str) -> str:
    """The environment variable that sets this field."""
    return PREFIX + field.upper()


def load(environ: Mapping[str, str] = os.environ, *, require: Sequence[str] = ()) -> Settings:
    """Read the settings from the environment; a variable that is empty counts as not set.

    Args:
        environ: where they stand.
        require: the optional settings that this process can't do without.

    Raises:
        ConfigurationError: a variable is missing, unknown or of the wrong form; the message names it.
    """
    known = {variable(field): field for field in Settings.__struct_fields__}
    given = {known[name]: value for name, value in environ.items() if name in known and value}
    if missing := [field for field in ("database_url", *require) if field not in given]:
        raise ConfigurationError(f"{variable(missing[0])} is not set; .env.example says what belongs into it")
    try:
        return msgspec.convert(given, Settings, strict=False)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        raise ConfigurationError(f"{variable(path.rstrip('`'))}: {reason}") from error
