"""``python -m scripts.faults.hosted FOLDER``: a testbed in a separate process, so that its supervisor can be killed.

The process writes ``ready`` to standard output and runs until it is killed. The emulators of Pub/Sub and Event Grid
store undelivered messages on disk and resume; the AWS emulator does not, so the hosted testbed runs without it.
"""

import signal
import sys
from pathlib import Path

from scripts.faults.testbed import HOSTED_CLOUDS, READY, Testbed


def main() -> int:
    """Run the testbed until the process is killed."""
    # Progress is dropped: the parent reads the line below only, and each service has its log.
    with Testbed(Path(sys.argv[1]), lambda _: None, clouds=HOSTED_CLOUDS):
        sys.stdout.buffer.write(READY)
        sys.stdout.flush()
        signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main())
