"""Sends the events of a simulated shop to Helios; see ``--help``. Exits with 1 if any answer was wrong."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

if not __package__:  # run by path: Python then searches modules in this folder only
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec
from rich.console import Console

from helios.errors import ConfigurationError
from scripts.simulator.display import Display
from scripts.simulator.options import parse
from scripts.simulator.run import run

EXIT_OK = 0
EXIT_WRONG = 1
EXIT_USAGE = 2


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # uvloop has no wheel for this platform; asyncio's own loop is slower
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the simulator and return its exit status."""
    options = parse(arguments)
    display = Display(Console())
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            summary = runner.run(run(options, display))
    except (ConfigurationError, OSError) as error:
        print(f"scripts.simulator: {error}", file=sys.stderr)
        return EXIT_USAGE
    display.finish(summary)
    if options.summary:
        options.summary.write_bytes(msgspec.json.format(msgspec.json.encode(summary)) + b"\n")
    return EXIT_OK if summary.ok else EXIT_WRONG


if __name__ == "__main__":
    sys.exit(main())
