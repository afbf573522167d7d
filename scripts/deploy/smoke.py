"""``python -m scripts.deploy.smoke URL``: one order through every cloud, as a shop publishes it; 0 when it has arrived.

It goes through the vendors' SDKs to where their usual variables lead (``--via cloud`` of the simulator): emulators or
real clouds, never a mix. ``--deployed`` asks Terraform's outputs for all of it instead. A server that declares the flow
``order`` must find the legs matched; any other must have stored all of them.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from helios.cli.client import TOKEN, ApiError, Client
from helios.errors import HeliosError
from helios.model.events import SOURCES, Source
from scripts.deploy.clouds import CLOUDS
from scripts.deploy.plan import StepFailed
from scripts.deploy.terraform import outputs
from scripts.simulator.endpoints import connect, find
from scripts.simulator.plan import Emission, Planner

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2

_FLOW: Final = "order"
_SECONDS_BETWEEN_QUESTIONS: Final = 0.5
_ANSWER_SECONDS: Final = 30
"""Longer than the command line waits: the first request may start a function cold."""
_AGREED: Final = {"matched", "matched_late"}
"""Late is well enough: a function that starts cold takes its time."""


class NotTaken(Exception):  # noqa: N818 - reads as the fact it is
    """A cloud did not take its event; the message is its own."""


def order(sources: Sequence[Source]) -> list[Emission]:
    """The events of one new order without any anomaly."""
    planner = Planner(
        seed=None, start=datetime.now(UTC), via="cloud", sources=sources, error_rate=0, jitter=0, lateness=0
    )
    return planner.order(0.0, horizon=0.0)[0]


async def publish(legs: Sequence[Emission], environ: Mapping[str, str]) -> None:
    """Publish each leg at its cloud.

    Raises:
        ConfigurationError: a variable or credentials are missing; the message names them.
        NotTaken: a cloud refused its event.
    """
    endpoints = find([leg.source for leg in legs], allow_mixed=False, environ=environ)
    for leg in legs:
        sys.stdout.write(f"{leg.type} -> {endpoints[leg.source]}\n")
        publisher = connect(endpoints[leg.source], environ=environ)
        try:
            answer = (await publisher.publish([leg]))[0]
        finally:
            await publisher.close()
        if answer.outcome != "accepted":
            raise NotTaken(f"{leg.source} did not take it: {answer.reason or answer.outcome}")


def fetch(client: Client, path: str, **query: str) -> Any:
    """What the API answers as JSON; None where there is nothing (404).

    Raises:
        ApiError: there is no answer, or one that is no success.
    """
    try:
        return client.get(path, object, **query)
    except ApiError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        if error.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise ApiError(f"{error}. Set {TOKEN} to a token that may read.", status=error.status) from error
        raise


def arrived(client: Client, order_id: str, sources: Sequence[Source], *, has_flow: bool) -> tuple[bool, str]:
    """Whether the order is all there, and in words how it stands."""
    if has_flow and len(sources) == len(SOURCES):
        row = fetch(client, f"flows/{_FLOW}/{order_id}")
        status = row["status"] if row else "not seen yet"
        if status == "mismatched":
            raise NotTaken(f"order {order_id} is {status}: {_issues(row)}")
        return status in _AGREED, status
    page = fetch(client, "events", order_id=order_id)
    there = {event["source"] for event in (page or {}).get("items", [])}
    missing = [source for source in sources if source not in there]
    return not missing, f"waiting for {', '.join(missing)}" if missing else "stored"


def _issues(row: Mapping[str, Any] | None) -> str:
    return "; ".join(str(issue["detail"]) for issue in (row or {}).get("issues", [])) or "no issue was told"


def greet(client: Client) -> None:
    """Return if a Helios answers there, before anything is published.

    Raises:
        ApiError: none does.
    """
    if fetch(client, "health") is None:
        raise ApiError("This URL is not a Helios API: it has no /api/v1/health.", status=HTTPStatus.NOT_FOUND)


def wait(client: Client, order_id: str, sources: Sequence[Source], *, seconds: float) -> str:
    """Ask until the order is all there, and return how it stands.

    Raises:
        NotTaken: it did not arrive in time, or not as it was sent.
        ApiError: nothing answers at the URL.
    """
    declared: list[Any] = fetch(client, "flows/declarations") or []
    has_flow = any(flow["name"] == _FLOW for flow in declared)
    end = time.monotonic() + seconds
    while True:
        done, words = arrived(client, order_id, sources, has_flow=has_flow)
        if done:
            return words
        if time.monotonic() > end:
            raise NotTaken(f"order {order_id}: {words} after {seconds:.0f} s")
        time.sleep(_SECONDS_BETWEEN_QUESTIONS)


def deployed() -> tuple[str, dict[str, str]]:
    """The API's URL and the publishers' variables, as Terraform's outputs tell them.

    Raises:
        StepFailed: Terraform can't read a state.
    """
    aws, gcp, azure = (outputs(CLOUDS[source]) for source in SOURCES)
    told = {
        "AWS_REGION": aws.get("region"),
        "HELIOS_AWS_EVENT_BUS": aws.get("bus"),
        "GOOGLE_CLOUD_PROJECT": gcp.get("project"),
        "HELIOS_GCP_TOPIC": str(gcp.get("topic", "")).rpartition("/")[2],
        "HELIOS_AZURE_EVENTGRID_ENDPOINT": azure.get("topic_endpoint"),
        "HELIOS_AZURE_EVENTGRID_KEY": azure.get("topic_key"),
    }
    return str(aws.get("api_url", "")), {name: value for name, value in told.items() if value}


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, publish, wait, and say what came of it."""
    parser = argparse.ArgumentParser(prog="smoke", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("url", nargs="?", metavar="URL", help="Helios' API, such as http://localhost:8001")
    parser.add_argument("--deployed", action="store_true", help="all addresses from Terraform's outputs")
    parser.add_argument("--source", action="append", choices=SOURCES, help="only this cloud; may be said twice")
    parser.add_argument(
        "--timeout", type=float, default=120.0, help="seconds to wait; functions start cold (%(default)s)"
    )
    given = parser.parse_args(arguments)
    if bool(given.url) == given.deployed:
        parser.error("give the URL of the API, or --deployed")
    sources = [source for source in SOURCES if source in (given.source or SOURCES)]
    try:
        url, told = deployed() if given.deployed else (given.url, {})
        client = Client(url, token=os.environ.get(TOKEN), timeout_seconds=_ANSWER_SECONDS)
        greet(client)
        legs = order(sources)
        began = time.monotonic()
        asyncio.run(publish(legs, {**os.environ, **told}))
        words = wait(client, legs[0].order_id, sources, seconds=given.timeout)
    except (NotTaken, ApiError) as error:
        sys.stderr.write(f"smoke: {error}\n")
        return EXIT_FAILED
    except (HeliosError, StepFailed) as error:
        sys.stderr.write(f"smoke: {error}\n")
        return EXIT_USAGE
    sys.stdout.write(f"order {legs[0].order_id}: {words} after {time.monotonic() - began:.1f} s\n")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
