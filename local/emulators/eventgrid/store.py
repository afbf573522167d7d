"""Topics and subscriptions on disk: they outlive the process, as Azure's do."""

import os
from pathlib import Path

import msgspec

from local.emulators.eventgrid.subscription import ProvisioningState, Subscription
from local.emulators.eventgrid.topic import Topic


class KeptSubscription(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A subscription and how far it got."""

    properties: Subscription
    provisioning_state: ProvisioningState


class KeptTopic(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A topic and its subscriptions by name."""

    topic: Topic
    subscriptions: dict[str, KeptSubscription] = {}


class Store:
    """One JSON file. It holds keys, so only its owner may read it."""

    def __init__(self, path: Path) -> None:
        """Name the file; its folder is made."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def load(self) -> list[KeptTopic]:
        """What was saved last; nothing at first.

        Raises:
            ValueError: the file can't be read; the message says which to remove.
        """
        if not self._path.exists():
            return []
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[KeptTopic])
        except msgspec.DecodeError as error:
            raise ValueError(f"{self._path} can't be read ({error}): remove it to start without topics") from error

    def save(self, topics: list[KeptTopic]) -> None:
        """Replace what was saved."""
        fresh = self._path.with_suffix(".new")
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(file, "wb") as output:
            output.write(msgspec.json.format(msgspec.json.encode(topics)))
        fresh.replace(self._path)
