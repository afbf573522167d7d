"""The installed command ``helios``: a Ctrl-C while Python loads the command line ends it with one sentence."""

from helios.processes import interrupts


def main() -> int:
    """Load the command line, run it, and return its exit code."""
    interrupts.exit_before_the_start()
    from helios.__main__ import main as run  # takes half a second

    interrupts.restore_defaults()
    return run()
