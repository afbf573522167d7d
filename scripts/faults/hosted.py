"""``python -m scripts.faults.hosted FOLDER``: a stage in a process of its own, so that its supervisor can be killed.

It says ``ready`` on standard output and runs until it is killed. Pub/Sub and Event Grid keep on disk what they have
not delivered, and go on; the AWS emulator does not, so it is no part of it.
"""

import signal
import sys
from pathlib import Path

from scripts.faults.stage import HOSTED_CLOUDS, READY, Stage


def main() -> int:
    """Run it."""
    # Beside the line that is waited for, nobody reads what is said: each service has its log.
    with Stage(Path(sys.argv[1]), lambda _: None, clouds=HOSTED_CLOUDS):
        sys.stdout.buffer.write(READY)
        sys.stdout.flush()
        signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main())
