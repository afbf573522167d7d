"""``python -m scripts.redrive aws|gcp|azure``: puts the events on which a cloud gave up back on their way to Helios.

Repair the cause first. Each event is removed from the dead letters only after the cloud accepted it again. It keeps its
identity, so it is safe to run the command twice: Helios recognises an event that it stored before as a duplicate.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Final

from helios.errors import ConfigurationError, HeliosError
from scripts.deploy.clouds import CLOUDS, add_environment
from scripts.deploy.plan import StepFailed
from scripts.deploy.terraform import Outputs, outputs

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2


def _aws(options: argparse.Namespace) -> str:
    # Imported late: each cloud's library, so that only that of the chosen cloud has to be installed.
    from scripts.redrive import aws

    known = _known(options)
    region = options.region or known.get("region")
    queue = options.queue or _last(known.get("queue_url") or aws.QUEUE)
    dead_letter_queue = options.dead_letter_queue or _last(known.get("dead_letter_queue_url") or aws.DEAD_LETTER_QUEUE)
    moved = aws.run(queue=queue, dead_letter_queue=dead_letter_queue, region=region)
    return f"{moved} messages moved from {dead_letter_queue} to {queue}"


def _gcp(options: argparse.Namespace) -> str:
    from scripts.redrive import gcp

    known = _known(options)
    project = options.project or known.get("project") or os.environ.get("GOOGLE_CLOUD_PROJECT")
    if not project:
        raise ConfigurationError("The project is not known. Use --project or --deployed, or set GOOGLE_CLOUD_PROJECT.")
    subscription = options.subscription or known.get("dead_letter_subscription") or gcp.SUBSCRIPTION
    topic = options.topic or _last(known.get("topic") or gcp.TOPIC)
    published = gcp.run(project=project, subscription=subscription, topic=topic)
    return f"{published} messages of {subscription} published to {topic}"


def _azure(options: argparse.Namespace) -> str:
    from scripts.redrive import azure

    known = _known(options)
    endpoint = options.endpoint or known.get("topic_endpoint") or os.environ.get("HELIOS_AZURE_EVENTGRID_ENDPOINT")
    key = os.environ.get("HELIOS_AZURE_EVENTGRID_KEY") or known.get("topic_key")
    account = options.account or known.get("storage_account")
    if not endpoint:
        raise ConfigurationError(
            "The topic is not known. Use --endpoint or --deployed, or set HELIOS_AZURE_EVENTGRID_ENDPOINT."
        )
    with azure.Storage.open(account=account, connection=os.environ.get("AZURE_STORAGE_CONNECTION_STRING")) as storage:
        published = azure.republish(storage, endpoint=endpoint, key=key, container=options.container)
        moved = azure.move(storage, queue=options.queue, poison_queue=options.poison_queue)
    return (
        f"{published} events of {options.container} published to {endpoint}, and {moved} messages moved from "
        f"{options.poison_queue} to {options.queue}"
    )


def _last(path: str) -> str:
    """The name at the end of a URL or of a full name."""
    return path.rpartition("/")[2]


def _known(options: argparse.Namespace) -> Outputs:
    cloud = CLOUDS[options.cloud]._replace(environment=options.env)
    return outputs(cloud) if options.deployed or options.env else {}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="redrive", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    clouds = parser.add_subparsers(dest="cloud", required=True, metavar="aws|gcp|azure")

    def cloud(name: str, what: str, run: Callable[[argparse.Namespace], str]) -> argparse.ArgumentParser:
        added = clouds.add_parser(name, help=what, description=what)
        added.set_defaults(run=run)
        added.add_argument("--deployed", action="store_true", help="read the names from the outputs of Terraform")
        add_environment(added)
        return added

    aws = cloud("aws", "move the messages of SQS' dead-letter queue back to the queue of the ingest function", _aws)
    aws.add_argument("--queue", help="name of the queue; default: helios-events")
    aws.add_argument("--dead-letter-queue", help="name of its dead-letter queue; default: helios-events-dlq")
    aws.add_argument("--region", help="the region; default: that of the environment or the profile")
    gcp = cloud("gcp", "publish the messages of Pub/Sub's dead-letter subscription again", _gcp)
    gcp.add_argument("--project", help="id of the project; default: GOOGLE_CLOUD_PROJECT")
    gcp.add_argument("--subscription", help="name of the dead-letter subscription; default: helios-dead-letters")
    gcp.add_argument("--topic", help="name of the topic; default: helios-events")
    azure = cloud(
        "azure", "publish the events in Event Grid's dead-letter blobs again, and empty the poison queue", _azure
    )
    azure.add_argument("--account", help="name of the storage account, unless AZURE_STORAGE_CONNECTION_STRING is set")
    azure.add_argument("--endpoint", help="endpoint of the topic; default: HELIOS_AZURE_EVENTGRID_ENDPOINT")
    azure.add_argument("--container", default="dead-letters", help="container of the dead letters (%(default)s)")
    azure.add_argument("--queue", default="events", help="name of the queue (%(default)s)")
    azure.add_argument("--poison-queue", default="events-poison", help="name of its poison queue (%(default)s)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and redrive; returns 1 when a call to the cloud failed, and 2 when a setting is missing."""
    options = _parser().parse_args(arguments)
    try:
        result = options.run(options)
    except (ConfigurationError, StepFailed) as error:
        sys.stderr.write(f"redrive: {error}\n")
        return EXIT_USAGE
    except (HeliosError, OSError) as error:
        sys.stderr.write(f"redrive: {error}\n")
        return EXIT_FAILED
    sys.stdout.write(f"{result}\n")
    return EXIT_OK
