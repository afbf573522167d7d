"""Topics and subscriptions on disk: they outlive the process, as in Azure."""

import os
from pathlib import Path

import msgspec

from local.emulators.eventgrid.subscription import ProvisioningState, Subscription
from local.emulators.eventgrid.topic import Topic


class StoredSubscription(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A subscription and its provisioning state."""

    properties: Subscription
    provisioning_state: ProvisioningState


class StoredTopic(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A topic and its subscriptions by name."""

    topic: Topic
    subscriptions: dict[str, StoredSubscription] = {}


class Store:
    """One JSON file. It contains keys, so only its owner may read it."""

    def __init__(self, path: Path) -> None:
        """Set the file, and create its folder."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)

    def load(self) -> list[StoredTopic]:
        """The topics saved last; empty without a file.

        Raises:
            ValueError: the file can't be read; the message names it.
        """
        if not self._path.exists():
            return []
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[StoredTopic])
        except msgspec.DecodeError as error:
            raise ValueError(
                f"{self._path} can't be read ({error}). Remove the file to start without topics."
            ) from error

    def save(self, topics: list[StoredTopic]) -> None:
        """Replace the saved topics."""
        new_path = self._path.with_suffix(".new")
        file = os.open(new_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(file, "wb") as output:
            output.write(msgspec.json.format(msgspec.json.encode(topics)))
        new_path.replace(self._path)
