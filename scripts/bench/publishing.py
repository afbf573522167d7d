"""Starts ``scripts.bench.publish`` in a separate process, and waits for the events that it published."""

import subprocess
import sys
import time

from helios.processes.ports import HOST
from helios.processes.process import scrubbed_environment
from local.demo import stats
from local.stack.config import REPOSITORY, Config
from local.stack.services import sdk_environment

SETTLE_SECONDS = 300


def publishing(config: Config, channel: str, rate: float, seconds: float) -> subprocess.Popen[str]:
    """Start to publish to one channel; a context manager."""
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.bench.publish", channel, str(rate), str(seconds), config.api_url],
        cwd=REPOSITORY,
        env=scrubbed_environment(**sdk_environment(config)),
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_until_begun(publisher: subprocess.Popen[str]) -> None:
    """Return once the first event was accepted and the schedule begins."""
    if not publisher.stdout or publisher.stdout.readline() != "began\n":
        raise RuntimeError("the publisher did not begin")


def finish(publisher: subprocess.Popen[str]) -> int:
    """Wait for the end of the publisher; return how many events were accepted."""
    if not publisher.stdout:
        raise RuntimeError("the publisher has no standard output")
    out = publisher.stdout.read()  # not communicate(), which loses what readline() has buffered
    if publisher.wait():
        raise RuntimeError(f"the publisher exited with {publisher.returncode}")
    return int(out)


def stored(config: Config) -> int:
    """How many events Helios has stored."""
    figures = stats.fetch(f"{HOST}:{config.api_port}")
    if figures is None:
        raise RuntimeError("the API does not answer")
    return figures.total_events


def settle(config: Config, expected: int) -> None:
    """Return once this many events are stored.

    Raises:
        RuntimeError: they are not stored in time.
    """
    deadline = time.monotonic() + SETTLE_SECONDS
    while stored(config) < expected:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{expected - stored(config)} events were accepted, but are not stored")
        time.sleep(0.2)
