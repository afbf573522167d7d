"""``python -m local.demo.stop``, also ``make local-stop``: ends the demo that runs in another terminal."""

import os
import signal
import sys

from helios.errors import ConfigurationError
from local.stack import config, instance

_SECONDS = 90
"""The demo waits for answers to what was sent, and then ends its services one after the other."""


def main() -> int:
    """End the demo, and return 0 when none is left."""
    try:
        folder = config.load().folder
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    pid = instance.running(folder)
    if pid is None:
        sys.stdout.write("no demo runs\n")
        return 0
    os.kill(pid, signal.SIGTERM)
    if not instance.wait_for_end(folder, seconds=_SECONDS):
        sys.stderr.write(f"the demo (process {pid}) did not end within {_SECONDS} s; kill -9 {pid} ends it at once\n")
        return 1
    sys.stdout.write("the demo has ended\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
