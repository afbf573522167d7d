"""The passwords, keys and secrets of one local stack: random, and stored in its state folder for its user alone."""

import base64
import fcntl
import os
import secrets
from pathlib import Path

import msgspec

from helios.errors import ConfigurationError
from local.stack.private import append_private, private_folder

FILE = "credentials.json"


def _token() -> str:
    return secrets.token_urlsafe(24)


def _webhook_secret() -> str:
    """A signing secret of Standard Webhooks."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def _topic_key() -> str:
    """A key in the form of Event Grid's: Base64."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """One value for each door of the stack.

    Attributes:
        postgres_superuser: password of the role that administers Postgres.
        postgres: password of the role that owns Helios' database.
        valkey: password of Valkey.
        eventbridge: key of the API destination.
        eventgrid: secret of Event Grid's delivery property.
        cloudevents: signing secret of the channel for CloudEvents.
        replay: signing secret of replay jobs.
        topic_key: key for publishers to Event Grid.
        host_master: the Azure host's key for everything.
        host_default: the Azure host's key for HTTP functions.
        host_event_grid: the Azure host's key for deliveries of Event Grid.
    """

    postgres_superuser: str = msgspec.field(default_factory=_token)
    postgres: str = msgspec.field(default_factory=_token)
    valkey: str = msgspec.field(default_factory=_token)
    eventbridge: str = msgspec.field(default_factory=_token)
    eventgrid: str = msgspec.field(default_factory=_token)
    cloudevents: str = msgspec.field(default_factory=_webhook_secret)
    replay: str = msgspec.field(default_factory=_webhook_secret)
    topic_key: str = msgspec.field(default_factory=_topic_key)
    host_master: str = msgspec.field(default_factory=_token)
    host_default: str = msgspec.field(default_factory=_token)
    host_event_grid: str = msgspec.field(default_factory=_token)

    def __repr__(self) -> str:
        """A text without the values."""
        return "Credentials(***)"

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

    Later runs use the same ones, as the data of Postgres and the pending events of the emulators outlive a run.

    Raises:
        ConfigurationError: the file can't be read.
    """
    path = private_folder(folder) / FILE
    with append_private(path) as file:
        os.fchmod(file.fileno(), 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)  # two processes create one set
        content = path.read_bytes()
        try:
            credentials = msgspec.json.decode(content or b"{}", type=Credentials)
        except msgspec.DecodeError as error:
            raise ConfigurationError(f"{path} can't be read ({error}). Remove it, and start with --fresh.") from error
        complete = msgspec.json.encode(credentials)
        if complete != content:
            file.truncate(0)
            file.write(complete)
    return credentials
