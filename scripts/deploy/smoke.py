"""``python -m scripts.deploy.smoke URL``: publishes one order through every cloud and waits until Helios has it.

Exits with 0 when the order arrived. The vendors' SDKs find their endpoints in their usual variables, as with ``--via
cloud`` of the simulator: emulators or real clouds, never a mix. With ``--deployed`` all addresses come from Terraform's
outputs. A server that declares the flow ``order`` must report the order as matched; any other must store all its legs.
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

from helios.client import TOKEN, ApiError, Client
from helios.errors import HeliosError
from helios.model.sources import BUILT_IN, BuiltIn
from scripts.deploy.clouds import add_environment, selected
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
"""Longer than the timeout of the command line, because the first request may be a cold start."""
_SUCCESS: Final = {"matched", "matched_late"}
"""``matched_late`` is a success too: cold starts delay the legs."""


class NotDelivered(Exception):  # noqa: N818 - reads as the fact it is
    """A cloud refused its event, or the order did not arrive; the message has the reason."""


def order(sources: Sequence[BuiltIn]) -> list[Emission]:
    """The events of one new order without any anomaly."""
    planner = Planner(
        seed=None, start=datetime.now(UTC), via="cloud", sources=sources, error_rate=0, jitter=0, lateness=0
    )
    return planner.order(0.0, horizon=0.0)[0]


async def publish(legs: Sequence[Emission], environ: Mapping[str, str]) -> None:
    """Publish each leg at its cloud.

    Raises:
        ConfigurationError: a variable or credentials are missing; the message names them.
        NotDelivered: a cloud refused its event.
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
            raise NotDelivered(f"{leg.source} refused the event: {answer.reason or answer.outcome}")


def fetch(client: Client, path: str, **query: str) -> Any:
    """The API's response, decoded from JSON; None for 404.

    Raises:
        ApiError: the API did not answer, or returned another error.
    """
    try:
        return client.get(path, object, **query)
    except ApiError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        if error.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise ApiError(f"{error}. Set {TOKEN} to a token with the scope read.", status=error.status) from error
        raise


def arrived(client: Client, order_id: str, sources: Sequence[BuiltIn], *, has_flow: bool) -> tuple[bool, str]:
    """Whether the order arrived completely, and its state in words."""
    if has_flow and len(sources) == len(BUILT_IN):
        row = fetch(client, f"flows/{_FLOW}/{order_id}")
        status = row["status"] if row else "not seen yet"
        if status == "mismatched":
            raise NotDelivered(f"order {order_id} is {status}: {_issues(row)}")
        return status in _SUCCESS, status
    page = fetch(client, "events", order_id=order_id)
    stored = {event["source"] for event in (page or {}).get("items", [])}
    missing = [source for source in sources if source not in stored]
    return not missing, f"waiting for {', '.join(missing)}" if missing else "stored"


def _issues(row: Mapping[str, Any] | None) -> str:
    return "; ".join(str(issue["detail"]) for issue in (row or {}).get("issues", [])) or "no issue was reported"


def require_api(client: Client) -> None:
    """Return if the URL is a Helios API.

    Raises:
        ApiError: the URL does not answer, or is not a Helios API.
    """
    if fetch(client, "health") is None:
        raise ApiError("This URL is not a Helios API: it has no /api/v1/health.", status=HTTPStatus.NOT_FOUND)


def wait(client: Client, order_id: str, sources: Sequence[BuiltIn], *, seconds: float) -> str:
    """Poll until the order arrived completely, and return its state in words.

    Raises:
        NotDelivered: the order did not arrive in time, or its legs do not match.
        ApiError: the API does not answer.
    """
    declared: list[Any] = fetch(client, "flows/declarations") or []
    has_flow = any(flow["name"] == _FLOW for flow in declared)
    end = time.monotonic() + seconds
    while True:
        done, state = arrived(client, order_id, sources, has_flow=has_flow)
        if done:
            return state
        if time.monotonic() > end:
            raise NotDelivered(f"order {order_id}: {state} after {seconds:.0f} s")
        time.sleep(_SECONDS_BETWEEN_QUESTIONS)


def deployed(environment: str | None) -> tuple[str, dict[str, str]]:
    """The API's URL and the publishers' variables, from Terraform's outputs.

    Raises:
        StepFailed: Terraform can't read a state.
    """
    aws, gcp, azure = (outputs(cloud) for cloud in selected(BUILT_IN, environment))
    variables = {
        "AWS_REGION": aws.get("region"),
        "HELIOS_AWS_EVENT_BUS": aws.get("bus"),
        "GOOGLE_CLOUD_PROJECT": gcp.get("project"),
        "HELIOS_GCP_TOPIC": str(gcp.get("topic", "")).rpartition("/")[2],
        "HELIOS_AZURE_EVENTGRID_ENDPOINT": azure.get("topic_endpoint"),
        "HELIOS_AZURE_EVENTGRID_KEY": azure.get("topic_key"),
    }
    return str(aws.get("api_url", "")), {name: value for name, value in variables.items() if value}


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, publish the order, wait for it and print the result."""
    parser = argparse.ArgumentParser(prog="smoke", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("url", nargs="?", metavar="URL", help="URL of Helios' API, such as http://localhost:8001")
    parser.add_argument("--deployed", action="store_true", help="read all addresses from Terraform's outputs")
    add_environment(parser)
    parser.add_argument("--source", action="append", choices=BUILT_IN, help="only this cloud; may be repeated")
    parser.add_argument(
        "--timeout", type=float, default=120.0, help="seconds to wait, cold starts included (%(default)s)"
    )
    options = parser.parse_args(arguments)
    if bool(options.url) == options.deployed:
        parser.error("pass either the URL of the API or --deployed")
    sources = [source for source in BUILT_IN if source in (options.source or BUILT_IN)]
    try:
        url, variables = deployed(options.env) if options.deployed else (options.url, {})
        client = Client(url, token=os.environ.get(TOKEN), timeout_seconds=_ANSWER_SECONDS)
        require_api(client)
        legs = order(sources)
        began = time.monotonic()
        asyncio.run(publish(legs, {**os.environ, **variables}))
        state = wait(client, legs[0].order_id, sources, seconds=options.timeout)
    except (NotDelivered, ApiError) as error:
        sys.stderr.write(f"smoke: {error}\n")
        return EXIT_FAILED
    except (HeliosError, StepFailed) as error:
        sys.stderr.write(f"smoke: {error}\n")
        return EXIT_USAGE
    sys.stdout.write(f"order {legs[0].order_id}: {state} after {time.monotonic() - began:.1f} s\n")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
