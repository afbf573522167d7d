"""``python -m local.canary``: send canary events until SIGTERM, and log each authenticator that let none through."""

import argparse
import http.client
import json
import logging
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from http import HTTPStatus
from urllib.parse import urlsplit

from azure.core.exceptions import AzureError
from botocore.exceptions import BotoCoreError, ClientError
from google.api_core.exceptions import GoogleAPIError

from helios import logs
from local.canary.aws import Bus
from local.canary.senders import Addresses, Sender, senders
from local.canary.sns import Server
from local.stack.config import CANARY_TYPE

log = logging.getLogger("helios.local.canary")

_STORED_SECONDS = 50
_POLL_SECONDS = 0.05
_NEWEST = 50
"""The number of stored canary events of a cloud among which a sent one is looked for."""
_RETRY_SECONDS = 1
"""Pause before the next round until an event has passed every authenticator."""

_SEND_ERRORS = (OSError, http.client.HTTPException, AzureError, BotoCoreError, ClientError, GoogleAPIError)
"""The errors that the SDKs raise when a service is not available."""


def main() -> None:
    """Read the command line, and send rounds of canary events."""
    parser = argparse.ArgumentParser(prog="python -m local.canary", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="port of the SNS certificate and of /healthz")
    parser.add_argument(
        "--every", type=float, default=0.0, metavar="S", help="seconds between two rounds (0: only the first round)"
    )
    for field in Addresses._fields:
        parser.add_argument(f"--{field.replace('_', '-')}", required=True)
    options = parser.parse_args()
    logs.configure("INFO")
    logging.getLogger("azure").setLevel(logging.WARNING)  # at INFO, the SDK logs the headers of every request
    addresses = Addresses(options.api_url, options.aws_url, options.eventgrid_url)
    with ExitStack() as stack:
        bus = stack.enter_context(closing(Bus(addresses.aws_url)))
        endpoint_url = f"{addresses.api_url}/api/v1/webhooks/aws/eventbridge"
        server = stack.enter_context(Server(options.port, endpoint_url=endpoint_url, confirm=bus.confirm))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        all_senders = senders(addresses, bus, server, stack)
        while True:
            if not send_round(all_senders, addresses.api_url):
                server.ready = True
            if server.ready and not options.every:
                threading.Event().wait()
            time.sleep(options.every if server.ready else _RETRY_SECONDS)


def send_round(all_senders: Sequence[Sender], api_url: str) -> list[str]:
    """The authenticators whose canary event was not stored in time; sends one event through each of them first."""
    sent = {sender: _send(sender) for sender in all_senders}
    deadline = time.monotonic() + _STORED_SECONDS
    missing = [
        sender.authenticator
        for sender, id_ in sent.items()
        if not (id_ and _stored(api_url, sender.source, id_, deadline))
    ]
    if missing:
        log.error("canary events not stored", extra={"webhook_auth": missing})
    else:
        log.info("canary events stored", extra={"webhook_auth": [sender.authenticator for sender in all_senders]})
    return missing


def _send(sender: Sender) -> str | None:
    try:
        return sender.send()
    except _SEND_ERRORS as error:
        log.warning("canary event not sent", extra={"authenticator": sender.authenticator, "error": str(error)})
        return None


def _stored(api_url: str, source: str, id_: str, deadline: float) -> bool:
    connection = http.client.HTTPConnection(urlsplit(api_url).netloc, timeout=_STORED_SECONDS)
    try:
        while True:
            connection.request("GET", f"/api/v1/events?source={source}&type={CANARY_TYPE}&limit={_NEWEST}")
            answer = connection.getresponse()
            body = answer.read()
            if answer.status == HTTPStatus.OK and any(item["id"] == id_ for item in json.loads(body)["items"]):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
    except (OSError, http.client.HTTPException):
        return False  # the API is not available
    finally:
        connection.close()


if __name__ == "__main__":
    main()
