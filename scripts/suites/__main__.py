"""``python -m scripts.suites python|node CHECKOUT``: run the system suite of one of Google's clients.

CHECKOUT is a clone of googleapis/python-pubsub or googleapis/nodejs-pubsub. The emulator runs on free ports, with an
empty folder. A case of a feature that the emulator does not imitate is expected to fail; the exit status is 1 if
another case fails, or if one of these passes.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from helios.processes.ports import HOST, free_port
from helios.processes.probes import answers
from helios.processes.process import Process
from scripts.build.tools import ROOT
from scripts.suites import node, python

SUITES = {"python": python.run, "node": node.run}


def main() -> int:
    """Read the command line, run the suite and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m scripts.suites", description="Run a system suite of Google's.")
    parser.add_argument("client", choices=SUITES)
    parser.add_argument("checkout", type=Path, help="a clone of the client's repository")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        port, http_port = free_port(), free_port()
        command = [sys.executable, "-m", "local.emulators.pubsub", "--port", str(port), "--http-port", str(http_port)]
        log = Path(folder) / "log"
        with Process("pubsub", [*command, "--data", f"{folder}/data"], log=log, cwd=ROOT) as emulator:
            emulator.wait_ready(answers(f"http://{HOST}:{http_port}/healthz"), seconds=60)
            return SUITES[options.client](options.checkout.resolve(), f"{HOST}:{port}")


if __name__ == "__main__":
    sys.exit(main())
