"""A publisher in a process of its own, as ``scripts.bench.publish`` is one, and the wait for what it published."""

import subprocess
import sys
import time

from local.demo import stats
from local.stack.config import REPOSITORY, Config
from local.stack.ports import HOST
from local.stack.process import scrubbed_environment
from local.stack.services import sdk_environment

SETTLE_SECONDS = 300


def publishing(config: Config, way: str, rate: float, seconds: float) -> subprocess.Popen[str]:
    """Begin to publish one way; a context manager."""
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.bench.publish", way, str(rate), str(seconds), config.api_url],
        cwd=REPOSITORY,
        env=scrubbed_environment(**sdk_environment(config)),
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_until_begun(publisher: subprocess.Popen[str]) -> None:
    """Return once its first event was taken, and the others follow by the schedule."""
    if not publisher.stdout or publisher.stdout.readline() != "began\n":
        raise RuntimeError("the publisher did not begin")


def finish(publisher: subprocess.Popen[str]) -> int:
    """How many events were taken."""
    if not publisher.stdout:
        raise RuntimeError("the publisher says nothing")
    out = publisher.stdout.read()  # not communicate, which forgets what was read with the line before
    if publisher.wait():
        raise RuntimeError(f"the publisher ended with {publisher.returncode}")
    return int(out)


def stored(config: Config) -> int:
    """How many events Helios has."""
    found = stats.fetch(f"{HOST}:{config.api_port}")
    if found is None:
        raise RuntimeError("the API does not answer")
    return found.total_events


def settle(config: Config, expected: int) -> None:
    """Return once so many events are stored."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while stored(config) < expected:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{expected - stored(config)} events were taken and not stored")
        time.sleep(0.2)
