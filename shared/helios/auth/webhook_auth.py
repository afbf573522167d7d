"""Which guards stand at which way in, as the settings say it."""

import os
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from helios.auth.authenticator import Authenticator, Headers, Refused
from helios.auth.hmac_signature import StandardWebhooks
from helios.auth.keys import KeySet
from helios.auth.oidc import BearerToken, permit_anyone, permit_application, permit_service_account
from helios.auth.secret import SecretHeader
from helios.auth.sns import SnsSignature
from helios.errors import ConfigurationError
from helios.model.events import Channel
from helios.settings import Settings, variable

GOOGLE_ISSUERS = ("https://accounts.google.com", "accounts.google.com")
EVENT_GRID_APPLICATION = "4962773b-9cdb-44cf-a8bf-237846a00ab7"
"""Microsoft.EventGrid in every tenant of the public cloud."""

HOSTED = ("AWS_LAMBDA_FUNCTION_NAME", "FUNCTIONS_WORKER_RUNTIME", "K_SERVICE")
"""Variables that Lambda, Azure Functions and Cloud Run set: who calls there is never this machine."""

CLOSED = "closed"
"""What the setting says where the API has no way in at all: functions take in every event."""

HOW = (
    "write which guard stands at which way in, such as eventbridge=key pubsub=oidc eventgrid=secret cloudevents=hmac, "
    "or closed"
)


class WebhookAuth:
    """All ways in. One that has no guard is closed.

    Attributes:
        loopback: whether who is on this machine may come in without a proof.
    """

    def __init__(self, webhook_auth: Mapping[Channel, Mapping[str, Authenticator]], *, loopback: bool = False) -> None:
        """Take the guards: for each way in, by name; the one whose proof is presented decides."""
        self._authenticators = webhook_auth
        self.loopback = loopback

    def authenticator(self, channel: Channel, headers: Headers, *, local: bool) -> tuple[str, Authenticator | None]:
        """The guard that has to check this request, after its name; None if it may pass without a proof.

        Raises:
            Refused: there is none whose proof it carries.
        """
        webhook_auth = self._authenticators.get(channel, {})
        for name, authenticator in webhook_auth.items():
            if authenticator.applies(headers):
                return name, authenticator
        if local and self.loopback:
            return "", None
        if not webhook_auth:
            raise Refused(
                f"this way in is closed: {variable('webhook_auth')} names none for it", status=403, code="closed"
            )
        raise Refused("this way in takes a proof of who sends, and there is none", code="missing")


def build(settings: Settings, environ: Mapping[str, str] = os.environ) -> WebhookAuth:
    """The gate that the settings describe.

    Raises:
        ConfigurationError: a way in would be open to the network, or a guard lacks what it checks with.
    """
    loopback = settings.trust_loopback
    if loopback and (host := next((name for name in HOSTED if name in environ), None)):
        raise ConfigurationError(
            f"{variable('trust_loopback')}: is for one machine, and {host} says that this is a cloud: {HOW}"
        )
    if not settings.webhook_auth and not loopback:
        raise ConfigurationError(
            f"{variable('webhook_auth')} is not set: {HOW}; or, on one machine only, HELIOS_TRUST_LOOPBACK=true"
        )
    webhook_auth: dict[Channel, dict[str, Authenticator]] = {}
    named = settings.webhook_auth or CLOSED
    for entry in [] if named == CLOSED else named.split():
        channel, _, names = entry.partition("=")
        known = KINDS.get(channel, {})  # type: ignore[call-overload]  # any text may be written there
        for name in names.split(","):
            if name not in known:
                raise ConfigurationError(f"{variable('webhook_auth')}: {entry!r} is not known: {HOW}")
            webhook_auth.setdefault(channel, {})[name] = known[name](settings)  # type: ignore[arg-type]  # it is in KINDS
    return WebhookAuth(webhook_auth, loopback=loopback)


def people(settings: Settings) -> BearerToken | None:
    """What reads the tokens of the OpenID provider that the settings name; None: they name none.

    Raises:
        ConfigurationError: they name it in part.
    """
    if not settings.oidc_issuer:
        return None
    return BearerToken(
        KeySet(_text(settings, "oidc_keys_url")),
        issuers=[settings.oidc_issuer],
        audience=_text(settings, "oidc_audience"),
        permit=permit_anyone,
    )


def _text(settings: Settings, field: str) -> str:
    value = getattr(settings, field)
    if not value:
        raise ConfigurationError(f"{variable(field)} is not set, and what checks tokens and keys takes it")
    return str(value)


def _secrets(settings: Settings, field: str) -> Sequence[str]:
    """One secret, or two while one is being replaced."""
    return _text(settings, field).split()


def _google(settings: Settings) -> Authenticator:
    return BearerToken(
        KeySet(settings.pubsub_keys_url),
        issuers=GOOGLE_ISSUERS,
        audience=_text(settings, "pubsub_audience"),
        permit=permit_service_account(_text(settings, "pubsub_service_account")),
    )


def _entra(settings: Settings) -> Authenticator:
    """Microsoft identity platform, "Access tokens": tokens of both versions, of one tenant."""
    tenant = quote(_text(settings, "entra_tenant"), safe="")
    return BearerToken(
        KeySet(settings.entra_keys_url.replace("{tenant}", tenant)),
        issuers=(f"https://sts.windows.net/{tenant}/", f"https://login.microsoftonline.com/{tenant}/v2.0"),
        audience=_text(settings, "entra_audience"),
        permit=permit_application(EVENT_GRID_APPLICATION),
    )


KINDS: Mapping[Channel, Mapping[str, Callable[[Settings], Authenticator]]] = {
    "eventbridge": {
        "key": lambda settings: SecretHeader(_secrets(settings, "eventbridge_secret")),
        "sns": lambda settings: SnsSignature(
            _text(settings, "sns_topics").split(), mirror=settings.sns_certificates_url
        ),
    },
    "pubsub": {"oidc": _google},
    "eventgrid": {
        "secret": lambda settings: SecretHeader(_secrets(settings, "eventgrid_secret")),
        "entra": _entra,
    },
    "cloudevents": {"hmac": lambda settings: StandardWebhooks(_secrets(settings, "cloudevents_secret"))},
}
"""The guards of each way in, by the name that the setting has for them."""
