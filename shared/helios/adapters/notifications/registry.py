"""A target for each receiver in the file of notifications."""

from helios.adapters.notifications.webhook import WebhookNotifications
from helios.errors import ConfigurationError
from helios.model.notifications import Notifications, ReceiverDeclaration
from helios.notifications import SECRETS, SETTING, secrets_of
from helios.ports.notifications import NotificationTarget
from helios.standard_webhooks import key_of


def targets_of(declared: Notifications, *, secrets: str, loopback: bool) -> dict[str, NotificationTarget]:
    """A target for each receiver, by its name.

    Args:
        declared: the content of the file.
        secrets: HELIOS_NOTIFICATION_SECRETS.
        loopback: whether this machine itself is an allowed target.

    Raises:
        ConfigurationError: a URL or a secret is wrong or missing, or Apprise is not installed.
    """
    by_name = secrets_of(secrets, declared.receiver)
    return {
        receiver.name: _target(receiver, by_name[receiver.name], loopback=loopback) for receiver in declared.receiver
    }


def _target(receiver: ReceiverDeclaration, secrets: list[str], *, loopback: bool) -> NotificationTarget:
    if receiver.kind == "webhook":
        return WebhookNotifications(
            receiver.url or "",
            private=receiver.private,
            keys=[key_of(secret, variable=f"{SECRETS}: {receiver.name}") for secret in secrets],
            loopback=loopback,
            field=f"{SETTING}: the url of the receiver {receiver.name}",
        )
    # Imported late: Apprise is an optional dependency.
    try:
        from helios.adapters.notifications.apprise import AppriseNotifications
    except ImportError as error:
        raise ConfigurationError(
            f"{SETTING}: the receiver {receiver.name} needs Apprise: pip install 'helios[notify]'"
        ) from error

    (url,) = secrets
    field = f"{SECRETS}: {receiver.name}"
    return AppriseNotifications(receiver.kind, url, private=receiver.private, loopback=loopback, field=field)
