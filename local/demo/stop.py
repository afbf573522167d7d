"""``python -m local.demo.stop``, also ``make local-stop``: stops the demo that runs in another terminal."""

import os
import signal
import sys

from helios.errors import ConfigurationError
from helios.processes import instance
from local.stack import config

_SECONDS = 90
"""The demo waits for the events in flight, and then stops its services one after the other."""


def main() -> int:
    """Stop the demo, and return 0 when no demo runs any more."""
    try:
        folder = config.load().folder
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    pid = instance.running(folder)
    if pid is None:
        sys.stdout.write("No demo is running.\n")
        return 0
    os.kill(pid, signal.SIGTERM)
    if not instance.wait_for_end(folder, seconds=_SECONDS):
        sys.stderr.write(
            f"The demo (process {pid}) did not stop within {_SECONDS} s. `kill -9 {pid}` stops it at once.\n"
        )
        return 1
    sys.stdout.write("The demo has stopped.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
