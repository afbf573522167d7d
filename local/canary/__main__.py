"""``python -m local.canary``: send canary events, and say past which guard none got, until it is told to end."""

import argparse
import http.client
import logging
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from http import HTTPStatus
from urllib.parse import quote, urlsplit

from azure.core.exceptions import AzureError
from botocore.exceptions import BotoCoreError, ClientError
from google.api_core.exceptions import GoogleAPIError

from helios import logs
from local.canary.aws import Bus
from local.canary.senders import Addresses, Sender, senders
from local.canary.sns import Server

log = logging.getLogger("helios.local.canary")

_STORED_SECONDS = 10
_POLL_SECONDS = 0.05
_AGAIN_SECONDS = 1
"""Pause before the next try as long as not every guard has let one in."""

_UNSENT = (OSError, http.client.HTTPException, AzureError, BotoCoreError, ClientError, GoogleAPIError)
"""What the SDKs raise when a service is away."""


def main() -> None:
    """Read the command line, and beat."""
    parser = argparse.ArgumentParser(prog="python -m local.canary", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="where SNS' certificate and /healthz are")
    parser.add_argument("--every", type=float, default=0.0, metavar="S", help="seconds between two (0: only the first)")
    for field in Addresses._fields:
        parser.add_argument(f"--{field.replace('_', '-')}", required=True)
    given = parser.parse_args()
    logs.configure("INFO")
    addresses = Addresses(given.api_url, given.aws_url, given.eventgrid_url)
    with ExitStack() as stack:
        bus = stack.enter_context(closing(Bus(addresses.aws_url)))
        endpoint_url = f"{addresses.api_url}/api/v1/webhooks/aws/eventbridge"
        server = stack.enter_context(Server(given.port, endpoint_url=endpoint_url, confirm=bus.confirm))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        everyone = senders(addresses, bus, server, stack)
        while True:
            if not beat(everyone, addresses.api_url):
                server.ready = True
            if server.ready and not given.every:
                threading.Event().wait()
            time.sleep(given.every if server.ready else _AGAIN_SECONDS)


def beat(everyone: Sequence[Sender], api_url: str) -> list[str]:
    """Send one past each guard, and wait until it is stored; the guards past which none got, which is logged too."""
    sent = {sender: _send(sender) for sender in everyone}
    deadline = time.monotonic() + _STORED_SECONDS
    missing = [
        one.authenticator for one, id_ in sent.items() if not (id_ and _stored(api_url, one.source, id_, deadline))
    ]
    if missing:
        log.error("canary events that were not stored", extra={"webhook_auth": missing})
    else:
        log.info("canary", extra={"webhook_auth": [one.authenticator for one in everyone]})
    return missing


def _send(sender: Sender) -> str | None:
    try:
        return sender.send()
    except _UNSENT as error:
        log.warning("not sent", extra={"authenticator": sender.authenticator, "error": str(error)})
        return None


def _stored(api_url: str, source: str, id_: str, deadline: float) -> bool:
    connection = http.client.HTTPConnection(urlsplit(api_url).netloc, timeout=_STORED_SECONDS)
    try:
        while True:
            connection.request("GET", f"/api/v1/events/{source}/{quote(id_, safe='')}")
            answer = connection.getresponse()
            answer.read()
            if answer.status == HTTPStatus.OK:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
    except (OSError, http.client.HTTPException):
        return False  # the API is away
    finally:
        connection.close()


if __name__ == "__main__":
    main()
