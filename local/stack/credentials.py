"""The passwords, keys and secrets of one local stack: random, and stored in its state folder for its user alone."""

import base64
import secrets
from pathlib import Path

import msgspec

from helios.embedded import credentials
from helios.embedded.credentials import DatabaseCredentials, random_password


def _webhook_secret() -> str:
    """A signing secret of Standard Webhooks."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def _topic_key() -> str:
    """A key in the form of Event Grid's: Base64."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


class Credentials(DatabaseCredentials, frozen=True, kw_only=True):
    """One value for each door of the stack.

    Attributes:
        eventbridge: key of the API destination.
        eventgrid: secret of Event Grid's delivery property.
        cloudevents: signing secret of the channel for CloudEvents.
        replay: signing secret of replay jobs.
        stripe: signing secret of the payment provider.
        shopify: signing secret of the shop.
        topic_key: key for publishers to Event Grid.
        host_master: the Azure host's key for everything.
        host_default: the Azure host's key for HTTP functions.
        host_event_grid: the Azure host's key for deliveries of Event Grid.
    """

    eventbridge: str = msgspec.field(default_factory=random_password)
    eventgrid: str = msgspec.field(default_factory=random_password)
    cloudevents: str = msgspec.field(default_factory=_webhook_secret)
    replay: str = msgspec.field(default_factory=_webhook_secret)
    stripe: str = msgspec.field(default_factory=_webhook_secret)
    shopify: str = msgspec.field(default_factory=random_password)
    topic_key: str = msgspec.field(default_factory=_topic_key)
    host_master: str = msgspec.field(default_factory=random_password)
    host_default: str = msgspec.field(default_factory=random_password)
    host_event_grid: str = msgspec.field(default_factory=random_password)

    @property
    def webhooks(self) -> dict[str, str]:
        """The settings of Helios with the secrets of its channels."""
        return {
            "HELIOS_EVENTBRIDGE_SECRET": self.eventbridge,
            "HELIOS_EVENTGRID_SECRET": self.eventgrid,
            "HELIOS_CLOUDEVENTS_SECRET": self.cloudevents,
        }

    @property
    def azure_host(self) -> dict[str, str]:
        """The variables from which the Azure Functions host reads its keys."""
        return {
            "AZURE_HOST_MASTER_KEY": self.host_master,
            "AZURE_HOST_DEFAULT_KEY": self.host_default,
            "AZURE_HOST_EVENT_GRID_KEY": self.host_event_grid,
        }


def load(folder: Path) -> Credentials:
    """The credentials in this state folder; the first call creates them.

    Raises:
        ConfigurationError: the file can't be read.
    """
    return credentials.load(folder, Credentials, remedy="Remove it, and start with --fresh.")
