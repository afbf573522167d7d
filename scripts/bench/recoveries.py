"""How soon a missing leg that is brought back from each emulated cloud gives the order its new verdict."""

import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import msgspec
from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas
from google.protobuf.duration_pb2 import Duration
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import PubsubMessage
from grpc import insecure_channel

from helios import bootstrap
from helios.client import Client
from helios.model.flows import FlowStatus
from helios.processes.ports import HOST, free_port
from helios.processes.probes import answers
from helios.processes.process import Process
from helios.settings import Settings
from local.aws import deployer, resources
from local.aws.ministack import Ministack
from local.servers.azurite import ACCOUNT, KEY, Azurite
from local.stack.config import AWS_ACCOUNT, AWS_REGION, BUS, QUEUE, REPOSITORY
from scripts.bench.orders import of_leg
from scripts.bench.report import Cell, Table, percentile
from scripts.bench.servers import Servers, api
from scripts.build import package

LEGS = ("order", "payment", "inventory")
FLOW, WINDOW, GRACE = "order", "window_seconds = 30", "grace_seconds = 60"
ARCHIVE = "helios-bench"
TOPIC = "projects/shop/topics/helios-events"
POLL_SECONDS = 0.01
TIMEOUT_SECONDS = 120.0

_ORDER = {"customer_id": "CUST-1", "amount": 10.0, "currency": "EUR", "quantity": 2}


class Lost(NamedTuple):
    """A cloud in which events are lost.

    Attributes:
        name: the place from which they come back.
        leg: the number of the leg that the cloud sends.
        lose: publishes that leg of these orders so that Helios does not receive it.
        others: the number of events that other consumers have received since the last call; None: there are none.
    """

    name: str
    leg: int
    lose: Callable[[Sequence[str]], None]
    others: Callable[[], int] | None = None


def measure(running: Servers, *, quick: bool) -> list[Table]:
    """Milliseconds from the request for a recovery to the new verdict, by the place that has the event."""
    number = 5 if quick else 15
    flows = running.folder / "flows.toml"
    declared = (files("helios") / "flows.toml").read_text()
    flows.write_text(declared.replace(WINDOW, "window_seconds = 1").replace(GRACE, "grace_seconds = 1"))
    with ExitStack() as stack:
        aws, aws_settings = stack.enter_context(_aws(running, flows))
        gcp, gcp_settings = stack.enter_context(_gcp(running.folder))
        azure, azure_settings = stack.enter_context(_azure(running.folder))
        clouds = (aws, gcp, azure)
        settings = {**aws_settings, **gcp_settings, **azure_settings}
        settings["HELIOS_RECOVERY_PLACES"] = " ".join(
            each["HELIOS_RECOVERY_PLACES"] for each in (aws_settings, gcp_settings, azure_settings)
        )
        port, _ = stack.enter_context(api(running, HELIOS_FLOWS_FILE=str(flows), **settings))
        client = Client(f"http://{HOST}:{port}")
        rows = [_row(running, flows, client, cloud, number) for cloud in clouds]
    return [
        Table(
            title="From the request for a recovery to the order's new verdict, ms",
            columns=("place", "recoveries", "p50", "p90", "max", "duplicates", "received by other consumers"),
            rows=rows,
            goal="goal: no duplicate, and nothing for other consumers. The API begins a recovery within a second.",
        )
    ]


def _row(running: Servers, flows: Path, client: Client, cloud: Lost, number: int) -> tuple[Cell, ...]:
    orders = [f"ORD-{uuid.uuid4().hex[:12]}" for _ in range(number)]
    settings = Settings(database_url=running.database_url, flows_file=str(flows))
    with closing(bootstrap.build(settings)) as services:
        for leg in {0, 1, 2} - {cloud.leg}:
            services.ingest(of_leg(leg, orders))
        # The cloud is not silent, or the deadlines of these orders would be deferred.
        services.ingest(of_leg(cloud.leg, [uuid.uuid4().hex for _ in orders]))
    cloud.lose(orders)
    for order in orders:
        _wait(partial(_has_verdict, client, order, "incomplete"))
    duplicates = client.stats().duplicates
    if cloud.others:
        cloud.others()
    times = [_recover(client, order, LEGS[cloud.leg]) for order in orders]
    received = cloud.others() if cloud.others else "not measured"
    quantiles = (round(1000 * percentile(times, percent)) for percent in (50, 90, 100))
    return (cloud.name, number, *quantiles, client.stats().duplicates - duplicates, received)


def _recover(client: Client, order: str, leg: str) -> float:
    """Seconds until the verdict is final again."""
    begin = time.monotonic()
    client.recover(FLOW, order, leg)
    _wait(lambda: not _has_verdict(client, order, "incomplete"))
    return time.monotonic() - begin


def _has_verdict(client: Client, order: str, verdict: FlowStatus) -> bool:
    return client.flow(FLOW, order).status == verdict


def _wait(holds: Callable[[], bool]) -> None:
    """Return once ``holds()`` is true.

    Raises:
        TimeoutError: it is not within TIMEOUT_SECONDS.
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("an order has no new verdict")
        time.sleep(POLL_SECONDS)


@contextmanager
def _aws(running: Servers, flows: Path) -> Iterator[tuple[Lost, dict[str, str]]]:
    """The bus with an archive, the real ingest function, and another consumer of every event."""
    packages = package.build_all([row.package for row in deployer.FUNCTIONS], native=True)
    environment = {
        "HELIOS_DATABASE_URL": running.database_url,
        "HELIOS_REDIS_URL": running.redis_url,
        "HELIOS_FLOWS_FILE": str(flows),
    }
    with Ministack(running.folder, free_port(), log=running.folder / "aws.log") as server, ExitStack() as stack:
        deployer.deploy(server.url, {built.name: built.path for built in packages}, environment)
        events = stack.enter_context(closing(resources.client("events", server.url)))
        sqs = stack.enter_context(closing(resources.client("sqs", server.url)))
        bus = f"arn:aws:events:{AWS_REGION}:{AWS_ACCOUNT}:event-bus/{BUS}"
        archive = events.create_archive(ArchiveName=ARCHIVE, EventSourceArn=bus)["ArchiveArn"]
        other = sqs.create_queue(QueueName="other")["QueueUrl"]
        events.put_rule(Name="other", EventBusName=BUS, EventPattern='{"source": [{"prefix": ""}]}')
        target = {"Id": "other", "Arn": f"arn:aws:sqs:{AWS_REGION}:{AWS_ACCOUNT}:other"}
        events.put_targets(Rule="other", EventBusName=BUS, Targets=[target])

        def lose(orders: Sequence[str]) -> None:
            events.disable_rule(Name=QUEUE, EventBusName=BUS)
            for order in orders:
                detail = msgspec.json.encode({"order_id": order, **_ORDER}).decode()
                entry = {"EventBusName": BUS, "Source": "shop", "DetailType": "OrderPlaced", "Detail": detail}
                events.put_events(Entries=[entry])
            events.enable_rule(Name=QUEUE, EventBusName=BUS)

        def others() -> int:
            received = 0
            while messages := sqs.receive_message(QueueUrl=other, MaxNumberOfMessages=10).get("Messages"):
                received += len(messages)
                for message in messages:
                    sqs.delete_message(QueueUrl=other, ReceiptHandle=message["ReceiptHandle"])
            return received

        queue = f"arn:aws:sqs:{AWS_REGION}:{AWS_ACCOUNT}:{QUEUE}"
        places = {"HELIOS_RECOVERY_PLACES": f"aws-archive={archive} aws-queue={queue}"}
        yield Lost("EventBridge, archive", 0, lose, others), resources.sdk_environment(server.url) | places


@contextmanager
def _gcp(folder: Path) -> Iterator[tuple[Lost, dict[str, str]]]:
    """A topic that retains its messages, without a subscription of Helios, and with another consumer."""
    port, http_port = free_port(), free_port()
    command = ["--port", str(port), "--http-port", str(http_port), "--data", str(folder / "pubsub")]
    emulator = Process(
        "pubsub", [sys.executable, "-m", "local.emulators.pubsub", *command], log=folder / "pubsub.log", cwd=REPOSITORY
    )
    with emulator, insecure_channel(f"{HOST}:{port}") as channel:
        emulator.wait_ready(answers(f"http://{HOST}:{http_port}/healthz"), seconds=30)
        publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        publisher.create_topic(request={"name": TOPIC, "message_retention_duration": Duration(seconds=86400)})
        other = "projects/shop/subscriptions/other"
        subscriber.create_subscription(name=other, topic=TOPIC)

        def lose(orders: Sequence[str]) -> None:
            for order in orders:
                data = msgspec.json.encode({"order_id": order, **_ORDER})
                message = PubsubMessage(data=data, attributes={"event_type": "PaymentProcessed"})
                publisher.publish(topic=TOPIC, messages=[message])

        def others() -> int:
            received = 0
            request = {"subscription": other, "max_messages": 100, "return_immediately": True}
            while messages := subscriber.pull(request=request).received_messages:
                received += len(messages)
                subscriber.acknowledge(subscription=other, ack_ids=[message.ack_id for message in messages])
            return received

        settings = {"PUBSUB_EMULATOR_HOST": f"{HOST}:{port}", "HELIOS_RECOVERY_PLACES": f"gcp-topic={TOPIC}"}
        yield Lost("Pub/Sub, side subscription", 1, lose, others), settings


@contextmanager
def _azure(folder: Path) -> Iterator[tuple[Lost, dict[str, str]]]:
    """A container of dead letters, as Event Grid writes them: one blob for each event."""
    with (
        Azurite(free_port(), free_port(), log=folder / "azurite.log") as azurite,
        BlobServiceClient.from_connection_string(azurite.connection_string) as blobs,
    ):
        container = blobs.create_container("dead-letters")
        sas = generate_container_sas(
            ACCOUNT,
            container.container_name,
            account_key=KEY,
            permission=ContainerSasPermissions(read=True, list=True),
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )

        def lose(orders: Sequence[str]) -> None:
            for delivery, order in zip(of_leg(2, orders), orders, strict=True):
                event = msgspec.json.decode(delivery.body) | {"deadLetterReason": "MaxDeliveryAttemptsExceeded"}
                container.upload_blob(f"HELIOS/{order}.json", msgspec.json.encode([event]))

        settings = {
            "HELIOS_RECOVERY_PLACES": f"azure-dead-letters={container.url}",
            "HELIOS_RECOVERY_AZURE_SECRET": sas,
        }
        yield Lost("Event Grid, dead-letter blobs", 2, lose), settings
