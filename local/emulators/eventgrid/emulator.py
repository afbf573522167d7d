"""The emulator itself: topics, their subscriptions, and events from the one to the other."""

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
from local.emulators.eventgrid.delivery import Deliverer
from local.emulators.eventgrid.entra import Entra
from local.emulators.eventgrid.errors import Refused
from local.emulators.eventgrid.journal import Debts
from local.emulators.eventgrid.running import RunningSubscription, RunningTopic
from local.emulators.eventgrid.store import Store
from local.emulators.eventgrid.subscription import ProvisioningState, Subscription
from local.emulators.eventgrid.topic import Schema, Topic, new_key

log = logging.getLogger("helios.local.eventgrid")


class Options(NamedTuple):
    """How the emulator is set up.

    Attributes:
        url: where others reach it, for endpoints and validation URLs.
        data: its folder; topics, subscriptions and undelivered events are kept there.
        dead_letters: the folder that stands for the storage account of dead letters.
        scale: factor on every wait that Event Grid's schedule has, and on the time to live.
        response_seconds: how long an endpoint has to answer.
        concurrency: most requests at a time, per subscription.
    """

    url: str
    data: Path
    dead_letters: Path
    scale: float = 1.0
    response_seconds: float = retry.RESPONSE_SECONDS
    concurrency: int = 16


class Emulator:
    """Every topic and subscription. To be used within one event loop, between ``start`` and ``stop``.

    Attributes:
        entra: gives the tokens of the deliveries.
    """

    def __init__(self, options: Options) -> None:
        """Describe it; nothing runs yet."""
        self._options = options
        self.entra = Entra()
        self._store = Store(options.data / "topics.json")
        self._topics: dict[str, RunningTopic] = {}
        self._asking: dict[tuple[str, str], RunningSubscription] = {}
        self._changing = asyncio.Lock()  # one change of the configuration at a time; publishing goes on

    async def start(self) -> None:
        """Take up what an earlier process left.

        Raises:
            ValueError: what it left can't be read.
        """
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._options.response_seconds),
            connector=aiohttp.TCPConnector(limit=0),
        )
        for kept in self._store.load():
            running = self._topics[kept.topic.name] = RunningTopic(kept.topic)
            for name, one in kept.subscriptions.items():
                # A validation URL is good only for the process that gave it out.
                state: ProvisioningState = "Succeeded" if one.provisioning_state == "Succeeded" else "Failed"
                subscription = running.subscriptions[name] = RunningSubscription(one.properties, state)
                if state == "Succeeded":
                    self._begin(kept.topic, name, subscription)
                else:
                    self._count_what_waits(kept.topic, name, subscription)

    async def stop(self) -> None:
        """Stop delivering; what is pending is kept."""
        running = [one.deliverer for topic in self._topics.values() for one in topic.subscriptions.values()]
        await asyncio.gather(*(deliverer.stop() for deliverer in running if deliverer))
        await self._http.close()

    def publish(self, topic_name: str, headers: Mapping[str, str], body: bytes) -> None:
        """Take events in; once this returns, every subscription that wants them will get them.

        Raises:
            Refused: none was taken in.
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
            if subscription.deliverer and (wanted := [event for event in events if subscription.wants(event)]):
                subscription.deliverer.accept(wanted, now)
        running.published += len(events)

    def status(self) -> dict[str, Any]:
        """Counts for each topic and subscription, no secrets."""
        return {name: running.status() for name, running in self._topics.items()}

    async def put_topic(self, name: str, schema: Schema, *, key1: str | None, key2: str | None) -> dict[str, Any]:
        """Create a topic, or change its keys; a key that is not given is made, or stays as it is.

        Raises:
            Refused: 400, its input schema would change, which Azure does not allow either.
        """
        async with self._changing:
            running = self._topics.get(name)
            if running and running.topic.input_schema != schema:
                raise Refused(
                    HTTPStatus.BAD_REQUEST,
                    f"The topic {name} has the inputSchema {running.topic.input_schema}, which can't be changed.",
                    code="InvalidRequest",
                )
            known = running.topic if running else None
            topic = Topic(
                name=name,
                input_schema=schema,
                key1=key1 or (known.key1 if known else new_key()),
                key2=key2 or (known.key2 if known else new_key()),
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

    async def delete_topic(self, name: str) -> None:
        """Delete a topic with its subscriptions. Raises Refused, 404."""
        async with self._changing:
            running = self._topic(name)
            for subscription in list(running.subscriptions):
                await self._drop(running, subscription)
            del self._topics[name]
            self._save()

    async def put_subscription(self, topic_name: str, name: str, wanted: Subscription) -> dict[str, Any]:
        """Create or change a subscription, once its endpoint agreed.

        Raises:
            Refused: 400, it did not agree, or the subscription makes no sense; 404, no such topic.
        """
        async with self._changing:
            running = self._topic(topic_name)
            try:
                fresh = RunningSubscription(_with_schema(wanted, running.topic), "Creating")
            except ValueError as error:
                raise Refused(HTTPStatus.BAD_REQUEST, f"{error}.", code="InvalidRequest") from error
            try:
                await self._ask(running.topic, name, fresh)
            except Refused:
                if name not in running.subscriptions:  # Azure keeps it as well; one that is there stays as it was
                    fresh.state = "Failed"
                    self._adopt(running, name, fresh)
                raise
            at_work = running.subscriptions.get(name)
            if at_work and at_work.deliverer and fresh.state != "Succeeded":
                at_work.proposed = fresh  # it goes on as it was until somebody consents
            else:
                self._adopt(running, name, fresh)
            return fresh.resource(running.topic, name)

    def subscription(self, topic_name: str, name: str) -> dict[str, Any]:
        """A subscription as Azure Resource Manager shows it, secrets left out. Raises Refused, 404."""
        running, subscription = self._subscription(topic_name, name)
        return subscription.resource(running.topic, name)

    def subscriptions(self, topic_name: str) -> list[dict[str, Any]]:
        """All subscriptions of a topic. Raises Refused, 404."""
        return [self.subscription(topic_name, name) for name in self._topic(topic_name).subscriptions]

    async def delete_subscription(self, topic_name: str, name: str) -> None:
        """Delete a subscription with the events it still had to deliver. Raises Refused, 404."""
        async with self._changing:
            running, _ = self._subscription(topic_name, name)
            await self._drop(running, name)
            self._save()

    def validate(self, topic_name: str, name: str, code: str) -> None:
        """Consent by hand: somebody opened the validation URL, perhaps while the endpoint is still being asked.

        Raises:
            Refused: 400, the URL is wrong or too old; 404, no such subscription.
        """
        asked = self._asking.get((topic_name, name))
        if asked and secrets.compare_digest(code.encode(), asked.code.encode()):
            asked.state = "Succeeded"
            return
        running, subscription = self._subscription(topic_name, name)
        asked = subscription.proposed or subscription
        if asked.state == "AwaitingManualAction" and time.monotonic() > asked.manual_until:
            asked.state = "Failed"
        fits = secrets.compare_digest(code.encode(), asked.code.encode())
        if asked.state != "AwaitingManualAction" or not fits:
            raise Refused(HTTPStatus.BAD_REQUEST, "This validation URL is wrong, used already, or too old.")
        asked.state = "Succeeded"
        self._adopt(running, name, asked)

    async def _ask(self, topic: Topic, name: str, fresh: RunningSubscription) -> None:
        """Ask the endpoint for its consent, and note how far that got. Raises Refused, 400."""
        fresh.code = secrets.token_urlsafe(24)
        path = f"/topics/{topic.name}/eventSubscriptions/{name}/validate"
        self._asking[topic.name, name] = fresh
        try:
            state = await handshake.validate(
                self._http,
                topic,
                name,
                fresh.properties,
                entra=self.entra,
                code=fresh.code,
                validation_url=f"{self._options.url}{path}?id={fresh.code}",
                scale=self._options.scale,
            )
        finally:
            del self._asking[topic.name, name]
        if fresh.state != "Succeeded":  # the validation URL may have been opened meanwhile
            fresh.state = state
        fresh.manual_until = time.monotonic() + handshake.MANUAL_SECONDS * self._options.scale

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
        """Put it in the place of the one of its name, whose events it takes over."""
        if before := running.subscriptions.get(name):
            subscription.deliverer = before.deliverer
            subscription.unconsented = before.unconsented
        running.subscriptions[name] = subscription
        if subscription.state == "Succeeded":
            self._begin(running.topic, name, subscription)
        self._save()

    def _count_what_waits(self, topic: Topic, name: str, subscription: RunningSubscription) -> None:
        """Say what an earlier process owed an endpoint that has not consented; it is delivered once that does."""
        if not self._journal(topic, name).exists():
            return
        debts = Debts(self._journal(topic, name))
        subscription.unconsented = len(debts.owed)
        debts.close()
        if subscription.unconsented:
            facts = {"subscription": name, "topic": topic.name, "events": subscription.unconsented}
            log.error("an earlier process left events undelivered, and their endpoint has not consented", extra=facts)

    def _begin(self, topic: Topic, name: str, subscription: RunningSubscription) -> None:
        if subscription.deliverer:  # an update: events that wait go by the new properties
            subscription.deliverer.subscription = subscription.properties
            return
        subscription.deliverer = Deliverer(
            name,
            subscription.properties,
            debts=Debts(self._journal(topic, name)),
            http=self._http,
            entra=self.entra,
            dead_letter_folder=self._options.dead_letters,
            concurrency=self._options.concurrency,
            scale=self._options.scale,
        )
        subscription.deliverer.start()
        subscription.unconsented = 0

    async def _drop(self, running: RunningTopic, name: str) -> None:
        gone = running.subscriptions.pop(name)
        if gone.deliverer:
            await gone.deliverer.stop()
        if gone.pending:
            facts = {"subscription": name, "events": gone.pending}
            log.warning("events dropped: their subscription was deleted", extra=facts)
        self._journal(running.topic, name).unlink(missing_ok=True)

    def _save(self) -> None:
        self._store.save([running.kept() for running in self._topics.values()])


def _with_schema(wanted: Subscription, topic: Topic) -> Subscription:
    """The same with its delivery schema spelled out: by default the topic's, and never back from CloudEvents."""
    schema = wanted.event_delivery_schema or topic.input_schema
    if topic.input_schema == "CloudEventSchemaV1_0" and schema == "EventGridSchema":
        raise ValueError(f"the topic {topic.name} takes CloudEvents, which can't be delivered as EventGridSchema")
    return msgspec.structs.replace(wanted, event_delivery_schema=schema)
