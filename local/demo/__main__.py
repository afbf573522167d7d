"""``python -m local.demo``, also ``make local-demo``: run Helios and its clouds with live traffic until Ctrl-C."""

import sys

from helios.processes import interrupts


def main() -> int:
    """Load the demo, run it, and return its exit status."""
    interrupts.exit_before_the_start()
    from local.demo.run import main as run  # takes half a second

    return run()


if __name__ == "__main__":
    sys.exit(main())
