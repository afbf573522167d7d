"""The authenticators of each channel, as configured in the settings."""

import os
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from helios.auth.authenticator import Authenticator, Headers, Refused
from helios.auth.hmac_signature import HmacSignature
from helios.auth.keys import KeySet
from helios.auth.oidc import BearerToken, permit_anyone, permit_application, permit_service_account, permit_subject
from helios.auth.secret import SecretHeader
from helios.auth.sns import SnsSignature
from helios.errors import ConfigurationError
from helios.model.events import Channel
from helios.model.sources import ApiKey, Hmac, Proof, Source, SourceDeclaration
from helios.settings import Settings, variable
from helios.sources.declaration import shipped_scheme
from helios.sources.registry import CLOUDS, Sources

MIN_SECRET_CHARS = 16
"""The shortest secret of a declared source."""

GOOGLE_ISSUERS = ("https://accounts.google.com", "accounts.google.com")
EVENT_GRID_APPLICATION = "4962773b-9cdb-44cf-a8bf-237846a00ab7"
"""Microsoft.EventGrid in every tenant of the public cloud."""

HOSTED = ("AWS_LAMBDA_FUNCTION_NAME", "FUNCTIONS_WORKER_RUNTIME", "K_SERVICE")
"""Variables that Lambda, Azure Functions and Cloud Run set. In these, no caller is on the same machine."""

CLOSED = "closed"
"""The setting's value for an API that accepts no event, because functions receive them all."""

USAGE = (
    "Write the authenticators of each channel, such as eventbridge=key pubsub=oidc eventgrid=secret cloudevents=hmac, "
    "or closed."
)


SECRETS = variable("source_secrets")

Authenticators = Mapping[str, Authenticator]
"""The authenticators of an endpoint, by name."""


class WebhookAuth:
    """The authenticators of all channels and of all declared sources. An endpoint without one is closed.

    Attributes:
        loopback: whether a client on this machine needs no credentials.
    """

    def __init__(
        self,
        webhook_auth: Mapping[Channel, Authenticators],
        *,
        sources: Mapping[Source, Authenticators] | None = None,
        loopback: bool = False,
    ) -> None:
        """Take the authenticators of each channel and of each declared source."""
        self._authenticators = webhook_auth
        self._of_sources = sources or {}
        self.loopback = loopback

    def authenticator(
        self, channel: Channel, headers: Headers, *, local: bool, declaration: SourceDeclaration | None = None
    ) -> tuple[str, Authenticator | None]:
        """The name of the authenticator that must check this request, and the authenticator.

        The first one whose credentials the request carries is chosen. None means that the request needs no credentials;
        its name is then empty.

        Args:
            channel: the channel.
            headers: the headers of the request.
            local: whether the request comes from this machine.
            declaration: the declared source whose endpoint it is; None: the endpoint is that of the channel.

        Raises:
            Refused: the request carries credentials of no authenticator of this endpoint.
        """
        of_channel = self._authenticators.get(channel, {})
        authenticators = self._of_sources.get(declaration.name, {}) if declaration else of_channel
        for name, authenticator in authenticators.items():
            if authenticator.applies(headers):
                return name, authenticator
        if local and self.loopback:
            return "", None
        if not authenticators:
            missing = (
                f"{declaration.name}=SECRET to {SECRETS}" if declaration else f"{channel} to {variable('webhook_auth')}"
            )
            raise Refused(f"This endpoint is closed. To open it, add {missing}.", status=403, code="closed")
        raise Refused("Missing credentials for this endpoint.", code="missing")


def build(settings: Settings, environ: Mapping[str, str] = os.environ, *, sources: Sources = CLOUDS) -> WebhookAuth:
    """The authenticators that the settings and the declared sources describe.

    Raises:
        ConfigurationError: a channel would be open to the network, or an authenticator lacks a setting.
    """
    loopback = settings.trust_loopback
    if loopback and (host := next((name for name in HOSTED if name in environ), None)):
        raise ConfigurationError(
            f"{variable('trust_loopback')} is for one machine only, and {host} is set, which means a cloud. {USAGE}"
        )
    if not settings.webhook_auth and not loopback:
        raise ConfigurationError(
            f"{variable('webhook_auth')} is not set. {USAGE} On one machine only, you can set "
            "HELIOS_TRUST_LOOPBACK=true instead."
        )
    webhook_auth: dict[Channel, dict[str, Authenticator]] = {}
    setting = settings.webhook_auth or CLOSED
    for entry in [] if setting == CLOSED else setting.split():
        channel, _, names = entry.partition("=")
        factories = FACTORIES.get(channel, {})  # type: ignore[call-overload]  # the setting may hold any text
        for name in names.split(","):
            if name not in factories:
                raise ConfigurationError(f"{variable('webhook_auth')}: unknown entry {entry!r}. {USAGE}")
            webhook_auth.setdefault(channel, {})[name] = factories[name](settings)  # type: ignore[arg-type]  # a key of FACTORIES
    return WebhookAuth(webhook_auth, sources=_of_sources(settings, sources), loopback=loopback)


def _of_sources(settings: Settings, sources: Sources) -> dict[Source, Authenticators]:
    """The authenticators of the declared sources. One that needs a secret and has none is closed.

    Raises:
        ConfigurationError: an entry has no name of a declared source, or a secret has the wrong form.
    """
    secrets: dict[Source, list[str]] = {}
    for entry in (settings.source_secrets or "").split():
        name, equals, secret = entry.partition("=")
        if not equals or name not in sources.declared:
            names = ", ".join(sources.declared) or "none"
            raise ConfigurationError(f"{SECRETS}: write NAME=SECRET, where NAME is a declared source ({names})")
        if len(secret) < MIN_SECRET_CHARS:
            raise ConfigurationError(f"{SECRETS}: the secret of {name} has fewer than {MIN_SECRET_CHARS} characters")
        secrets.setdefault(name, []).append(secret)
    return {
        name: {declaration.proof.name: authenticator}
        for name, declaration in sources.declared.items()
        if (authenticator := _of_proof(declaration.proof, secrets.get(name, []), f"{SECRETS}: {name}"))
    }


def _of_proof(proof: Proof, secrets: Sequence[str], name: str) -> Authenticator | None:
    if isinstance(proof, Hmac):
        return HmacSignature(proof, secrets, variable=name) if secrets else None
    if isinstance(proof, ApiKey):
        return SecretHeader(secrets, proof.header) if secrets else None
    if secrets:
        raise ConfigurationError(f"{name} proves itself by tokens of {proof.issuer}, and has no secret: remove it")
    return BearerToken(
        KeySet(proof.keys_url),
        issuers=[proof.issuer],
        audience=proof.audience,
        permit=permit_subject(proof.subject) if proof.subject else permit_anyone,
    )


def oidc_provider(settings: Settings) -> BearerToken | None:
    """The authenticator of the OpenID provider's tokens; None if the settings name no provider.

    Raises:
        ConfigurationError: the settings describe the provider only in part.
    """
    if not settings.oidc_issuer:
        return None
    return BearerToken(
        KeySet(_required(settings, "oidc_keys_url")),
        issuers=[settings.oidc_issuer],
        audience=_required(settings, "oidc_audience"),
        permit=permit_anyone,
        token_type=settings.oidc_token_type,
    )


def _required(settings: Settings, field: str) -> str:
    value = getattr(settings, field)
    if not value:
        raise ConfigurationError(f"{variable(field)} is not set. The authenticator that you configured requires it.")
    return str(value)


def _secrets(settings: Settings, field: str) -> Sequence[str]:
    """One secret, or two during a rotation."""
    return _required(settings, field).split()


def _google(settings: Settings) -> Authenticator:
    return BearerToken(
        KeySet(settings.pubsub_keys_url),
        issuers=GOOGLE_ISSUERS,
        audience=_required(settings, "pubsub_audience"),
        permit=permit_service_account(_required(settings, "pubsub_service_account")),
    )


def _entra(settings: Settings) -> Authenticator:
    """Accepts tokens of both versions, of one tenant (Microsoft identity platform, "Access tokens")."""
    tenant = quote(_required(settings, "entra_tenant"), safe="")
    return BearerToken(
        KeySet(settings.entra_keys_url.replace("{tenant}", tenant)),
        issuers=(f"https://sts.windows.net/{tenant}/", f"https://login.microsoftonline.com/{tenant}/v2.0"),
        audience=_required(settings, "entra_audience"),
        permit=permit_application(EVENT_GRID_APPLICATION),
    )


def _standard_webhooks(settings: Settings) -> Authenticator:
    secrets = _secrets(settings, "cloudevents_secret")
    return HmacSignature(shipped_scheme("standard_webhooks"), secrets, variable=variable("cloudevents_secret"))


FACTORIES: Mapping[Channel, Mapping[str, Callable[[Settings], Authenticator]]] = {
    "eventbridge": {
        "key": lambda settings: SecretHeader(_secrets(settings, "eventbridge_secret")),
        "sns": lambda settings: SnsSignature(
            _required(settings, "sns_topics").split(), mirror=settings.sns_certificates_url
        ),
    },
    "pubsub": {"oidc": _google},
    "eventgrid": {
        "secret": lambda settings: SecretHeader(_secrets(settings, "eventgrid_secret")),
        "entra": _entra,
    },
    "cloudevents": {"hmac": _standard_webhooks},
}
"""Builds the authenticators of each channel, by their names in the setting."""
