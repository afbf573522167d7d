"""The emulator: topics, their subscriptions, and the routing of events from topics to subscriptions."""

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec

from local.emulators.eventgrid import handshake, keys, retry, schemas
from local.emulators.eventgrid.blobs import Blobs
from local.emulators.eventgrid.delivery import Deliverer
from local.emulators.eventgrid.entra import Entra
from local.emulators.eventgrid.errors import Refused
from local.emulators.eventgrid.journal import PendingEvents
from local.emulators.eventgrid.running import RunningSubscription, RunningTopic
from local.emulators.eventgrid.store import Store
from local.emulators.eventgrid.subscription import ProvisioningState, Subscription
from local.emulators.eventgrid.topic import DeliverySchema, InputSchema, InputSchemaMapping, Topic, new_key

log = logging.getLogger("helios.local.eventgrid")


class Options(NamedTuple):
    """The options of the emulator.

    Attributes:
        url: its URL for clients, used in endpoints and validation URLs.
        data: the folder of topics, subscriptions and undelivered events.
        dead_letters: the folder that replaces the storage account of dead letters.
        scale: factor on every wait of Event Grid's schedule, and on the time to live.
        response_seconds: how long an endpoint has to answer.
        concurrency: the largest number of concurrent requests per subscription.
        undeliverable: the field that marks events which can't be delivered; empty for none.
    """

    url: str
    data: Path
    dead_letters: Path
    scale: float = 1.0
    response_seconds: float = retry.RESPONSE_SECONDS
    concurrency: int = 16
    undeliverable: str = ""


class Emulator:
    """Every topic and subscription. It may be used within one event loop only, between ``start`` and ``stop``.

    Attributes:
        entra: issues the tokens of the deliveries.
    """

    def __init__(self, options: Options) -> None:
        """Describe the emulator; ``start`` starts it."""
        self._options = options
        self.entra = Entra()
        self._store = Store(options.data / "topics.json")
        self._topics: dict[str, RunningTopic] = {}
        self._validating: dict[tuple[str, str], RunningSubscription] = {}
        self._changing = asyncio.Lock()  # one configuration change at a time; publishing continues

    async def start(self) -> None:
        """Restore the topics, subscriptions and events of an earlier process.

        Raises:
            ValueError: the stored topics can't be read.
        """
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._options.response_seconds),
            connector=aiohttp.TCPConnector(limit=0),
        )
        for stored_topic in self._store.load():
            running = self._topics[stored_topic.topic.name] = RunningTopic(stored_topic.topic)
            for name, stored in stored_topic.subscriptions.items():
                # A validation URL is valid only in the process that issued it.
                state: ProvisioningState = "Succeeded" if stored.provisioning_state == "Succeeded" else "Failed"
                subscription = running.subscriptions[name] = RunningSubscription(stored.properties, state)
                if state == "Succeeded":
                    self._begin(stored_topic.topic, name, subscription)
                else:
                    self._count_pending(stored_topic.topic, name, subscription)

    async def stop(self) -> None:
        """Stop the deliveries; pending events stay in the journals."""
        deliverers = [
            subscription.deliverer for topic in self._topics.values() for subscription in topic.subscriptions.values()
        ]
        await asyncio.gather(*(deliverer.stop() for deliverer in deliverers if deliverer))
        await self._http.close()

    def publish(self, topic_name: str, headers: Mapping[str, str], body: bytes) -> None:
        """Publish events; once this returns, every subscription whose filter matches will receive them.

        Raises:
            Refused: the request is invalid; no event was published.
        """
        running = self._topic(topic_name)
        try:
            keys.authorize(headers, running.topic)
            events = schemas.read(body, headers.get("Content-Type", ""), running.topic)
        except Refused:
            running.refused += 1
            raise
        now = time.time()
        for subscription in running.subscriptions.values():
            if subscription.deliverer and (matches := [event for event in events if subscription.matches(event)]):
                subscription.deliverer.accept(matches, now)
        running.published += len(events)

    def status(self) -> dict[str, Any]:
        """The counts of each topic and subscription, without secrets."""
        return {name: running.status() for name, running in self._topics.items()}

    async def put_topic(
        self,
        name: str,
        schema: InputSchema,
        mapping: InputSchemaMapping | None = None,
        *,
        key1: str | None,
        key2: str | None,
    ) -> dict[str, Any]:
        """Create a topic, or change its keys; a missing key is generated, or stays as it is.

        Raises:
            Refused: 400, the input schema or its mapping would change, which Azure does not allow either.
        """
        async with self._changing:
            running = self._topics.get(name)
            if running and (running.topic.input_schema, running.topic.input_schema_mapping) != (schema, mapping):
                raise Refused(
                    HTTPStatus.BAD_REQUEST,
                    f"The topic {name} has the inputSchema {running.topic.input_schema}, "
                    "which can't be changed, nor can its mapping.",
                    code="InvalidRequest",
                )
            existing = running.topic if running else None
            topic = Topic(
                name=name,
                input_schema=schema,
                input_schema_mapping=mapping,
                key1=key1 or (existing.key1 if existing else new_key()),
                key2=key2 or (existing.key2 if existing else new_key()),
            )
            if running:
                running.topic = topic
            else:
                self._topics[name] = RunningTopic(topic)
            self._save()
            return self.topic(name)

    def topic(self, name: str) -> dict[str, Any]:
        """A topic as Azure Resource Manager shows it. Raises Refused, 404."""
        return self._topic(name).resource(self._options.url)

    def topics(self) -> list[dict[str, Any]]:
        """All topics."""
        return [self.topic(name) for name in self._topics]

    def keys(self, name: str) -> dict[str, str]:
        """A topic's two keys. Raises Refused, 404."""
        topic = self._topic(name).topic
        return {"key1": topic.key1, "key2": topic.key2}

    def dead_letters(self, signature: str) -> Blobs:
        """The dead letters, for a client with this signature.

        Raises:
            Refused: 403, the signature is no key of a topic.
        """
        known = [key for running in self._topics.values() for key in (running.topic.key1, running.topic.key2)]
        if not any(secrets.compare_digest(signature.encode(), key.encode()) for key in known):
            raise Refused(HTTPStatus.FORBIDDEN, "The signature is not valid.", code="AuthorizationFailure")
        return Blobs(self._options.dead_letters)

    async def delete_topic(self, name: str) -> None:
        """Delete a topic with its subscriptions. Raises Refused, 404."""
        async with self._changing:
            running = self._topic(name)
            for subscription in list(running.subscriptions):
                await self._drop(running, subscription)
            del self._topics[name]
            self._save()

    async def put_subscription(self, topic_name: str, name: str, properties: Subscription) -> dict[str, Any]:
        """Create or change a subscription after its endpoint has consented.

        Raises:
            Refused: 400, the endpoint did not consent, or the subscription is invalid; 404, no such topic.
        """
        async with self._changing:
            running = self._topic(topic_name)
            try:
                new = RunningSubscription(_with_schema(properties, running.topic), "Creating")
            except ValueError as error:
                raise Refused(HTTPStatus.BAD_REQUEST, f"{error}.", code="InvalidRequest") from error
            try:
                await self._validate(running.topic, name, new)
            except Refused:
                if name not in running.subscriptions:  # Azure stores it as well; an existing one does not change
                    new.state = "Failed"
                    self._adopt(running, name, new)
                raise
            current = running.subscriptions.get(name)
            if current and current.deliverer and new.state != "Succeeded":
                current.proposed = new  # the current one remains in effect until the manual consent
            else:
                self._adopt(running, name, new)
            return new.resource(running.topic, name)

    def subscription(self, topic_name: str, name: str) -> dict[str, Any]:
        """A subscription as Azure Resource Manager shows it, without secrets. Raises Refused, 404."""
        running, subscription = self._subscription(topic_name, name)
        return subscription.resource(running.topic, name)

    def subscriptions(self, topic_name: str) -> list[dict[str, Any]]:
        """All subscriptions of a topic. Raises Refused, 404."""
        return [self.subscription(topic_name, name) for name in self._topic(topic_name).subscriptions]

    async def delete_subscription(self, topic_name: str, name: str) -> None:
        """Delete a subscription and its pending events. Raises Refused, 404."""
        async with self._changing:
            running, _ = self._subscription(topic_name, name)
            await self._drop(running, name)
            self._save()

    def validate(self, topic_name: str, name: str, code: str) -> None:
        """Consent manually: a client opened the validation URL, possibly before the handshake has ended.

        Raises:
            Refused: 400, the URL is wrong or has expired; 404, no such subscription.
        """
        candidate = self._validating.get((topic_name, name))
        if candidate and secrets.compare_digest(code.encode(), candidate.code.encode()):
            candidate.state = "Succeeded"
            return
        running, subscription = self._subscription(topic_name, name)
        candidate = subscription.proposed or subscription
        if candidate.state == "AwaitingManualAction" and time.monotonic() > candidate.manual_until:
            candidate.state = "Failed"
        matches = secrets.compare_digest(code.encode(), candidate.code.encode())
        if candidate.state != "AwaitingManualAction" or not matches:
            raise Refused(HTTPStatus.BAD_REQUEST, "This validation URL is wrong, was used already, or has expired.")
        candidate.state = "Succeeded"
        self._adopt(running, name, candidate)

    async def _validate(self, topic: Topic, name: str, new: RunningSubscription) -> None:
        """Ask the endpoint for its consent, and set the resulting state. Raises Refused, 400."""
        new.code = secrets.token_urlsafe(24)
        path = f"/topics/{topic.name}/eventSubscriptions/{name}/validate"
        self._validating[topic.name, name] = new
        try:
            state = await handshake.validate(
                self._http,
                topic,
                name,
                new.properties,
                entra=self.entra,
                code=new.code,
                validation_url=f"{self._options.url}{path}?id={new.code}",
                scale=self._options.scale,
            )
        finally:
            del self._validating[topic.name, name]
        if new.state != "Succeeded":  # a client may have opened the validation URL in the meantime
            new.state = state
        new.manual_until = time.monotonic() + handshake.MANUAL_SECONDS * self._options.scale

    def _topic(self, name: str) -> RunningTopic:
        if name not in self._topics:
            raise Refused(HTTPStatus.NOT_FOUND, f"There is no topic {name}.", code="ResourceNotFound")
        return self._topics[name]

    def _subscription(self, topic_name: str, name: str) -> tuple[RunningTopic, RunningSubscription]:
        running = self._topic(topic_name)
        if name not in running.subscriptions:
            raise Refused(
                HTTPStatus.NOT_FOUND, f"The topic {topic_name} has no subscription {name}.", code="ResourceNotFound"
            )
        return running, running.subscriptions[name]

    def _journal(self, topic: Topic, name: str) -> Path:
        return self._options.data / "journals" / topic.name / f"{name}.jsonl"

    def _adopt(self, running: RunningTopic, name: str, subscription: RunningSubscription) -> None:
        """Replace the subscription of this name, whose pending events the new one inherits."""
        if current := running.subscriptions.get(name):
            subscription.deliverer = current.deliverer
            subscription.unconsented = current.unconsented
        running.subscriptions[name] = subscription
        if subscription.state == "Succeeded":
            self._begin(running.topic, name, subscription)
        self._save()

    def _count_pending(self, topic: Topic, name: str, subscription: RunningSubscription) -> None:
        """Log the pending events for an endpoint that has not consented; they are delivered after its consent."""
        if not self._journal(topic, name).exists():
            return
        pending_events = PendingEvents(self._journal(topic, name))
        subscription.unconsented = len(pending_events.events)
        pending_events.close()
        if subscription.unconsented:
            facts = {"subscription": name, "topic": topic.name, "events": subscription.unconsented}
            log.error("an earlier process left undelivered events, and their endpoint has not consented", extra=facts)

    def _begin(self, topic: Topic, name: str, subscription: RunningSubscription) -> None:
        if subscription.deliverer:  # an update: the new properties apply to pending events, too
            subscription.deliverer.subscription = subscription.properties
            return
        subscription.deliverer = Deliverer(
            name,
            subscription.properties,
            pending_events=PendingEvents(self._journal(topic, name)),
            http=self._http,
            entra=self.entra,
            dead_letter_folder=self._options.dead_letters,
            concurrency=self._options.concurrency,
            undeliverable=self._options.undeliverable,
            scale=self._options.scale,
        )
        subscription.deliverer.start()
        subscription.unconsented = 0

    async def _drop(self, running: RunningTopic, name: str) -> None:
        subscription = running.subscriptions.pop(name)
        if subscription.deliverer:
            await subscription.deliverer.stop()
        if subscription.pending:
            facts = {"subscription": name, "events": subscription.pending}
            log.warning("events dropped, as their subscription was deleted", extra=facts)
        self._journal(running.topic, name).unlink(missing_ok=True)

    def _save(self) -> None:
        self._store.save([running.stored() for running in self._topics.values()])


_DELIVERY_SCHEMAS: Mapping[InputSchema, tuple[DeliverySchema, ...]] = {
    "EventGridSchema": ("EventGridSchema", "CloudEventSchemaV1_0"),
    "CloudEventSchemaV1_0": ("CloudEventSchemaV1_0",),
    "CustomEventSchema": ("EventGridSchema", "CloudEventSchemaV1_0", "CustomInputSchema"),
}
"""The schemas in which the events of a topic can be delivered, the default first."""


def _with_schema(properties: Subscription, topic: Topic) -> Subscription:
    """The same subscription with its delivery schema set.

    Raises:
        ValueError: the events of the topic can't be delivered in its schema.
    """
    possible = _DELIVERY_SCHEMAS[topic.input_schema]
    schema = properties.event_delivery_schema or possible[0]
    if schema not in possible:
        raise ValueError(f"the topic {topic.name} accepts {topic.input_schema}, which can't be delivered as {schema}")
    return msgspec.structs.replace(properties, event_delivery_schema=schema)
