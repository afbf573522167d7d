"""``python3 -m local.demo.clone``: checks a clone, installs the packages into it, and becomes the demo.

The dashboard is built meanwhile, and the demo does not wait for it. The standard library is enough for this module and
for all that it imports, so that the system's Python can run it. ``shared`` must be on the path.
"""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from helios.processes import interrupts, obstacles
from helios.processes.interrupts import EXIT_INTERRUPTED, Interrupted
from helios.processes.process import Process
from local.demo import dashboard_build

_CLONE = Path(__file__).resolve().parents[2]
_MEGABYTES = 2_000
"""Free space for the packages of Python and Node, and for those of the functions."""
_NODE_SECONDS = 5


def problems(*, needs_node: bool = False) -> list[str | None]:
    """What stands in the way of an installation into this clone.

    Args:
        needs_node: whether Node runs even if the dashboard is built.
    """
    folder = obstacles.folder_problem(_CLONE, remedy="Clone the repository to a folder that this user can write.")
    return [
        folder,
        None if folder else obstacles.space_problem(_CLONE, megabytes=_MEGABYTES, remedy="clone to another disk."),
        node_problem() if needs_node or not dashboard_build.is_current() else None,
    ]


def node_problem() -> str | None:
    """Why the Node on the path can't build the dashboard."""
    engines = json.loads((_CLONE / "dashboard" / "package.json").read_text())["engines"]
    oldest = engines["node"].removeprefix(">=")
    remedy = f"Install Node.js {oldest} or newer (nodejs.org), which builds the dashboard."
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return f"{'Node' if node is None else 'npm'} is missing. {remedy}"
    try:
        answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False, timeout=_NODE_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{node} can't be run ({error}). {remedy}"
    version = re.fullmatch(r"v(\d+)\.(\d+)\.\d+\S*", answer.stdout.strip())
    if version is None:
        return f"{node} does not say its version. {remedy}"
    if (int(version[1]), int(version[2])) < tuple(map(int, oldest.split("."))):
        return f"Node {answer.stdout.strip()} is too old. {remedy}"
    return None


def main(arguments: list[str]) -> int:
    """Replace this process by the demo.

    Args:
        arguments: those of the demo.

    Returns:
        2 if something stands in the way, 130 after Ctrl-C, or what the installation returned.
    """
    interrupts.raise_on_the_first()
    try:
        if found := [problem for problem in problems() if problem]:
            sys.stderr.writelines(f"{problem}\n" for problem in found)
            return 2
        dashboard = None if dashboard_build.is_current() else _build_dashboard()
        # In a process group of its own, of which no process is left, whoever receives the signal.
        setup = ["make", "--silent", "setup", f"PYTHON={sys.executable}"]
        with Process("setup", setup, log=None, env=os.environ, cwd=_CLONE) as installation:
            code = installation.wait(math.inf)
    except Interrupted:
        sys.stderr.write("\nInterrupted before any service was started.\n")
        return EXIT_INTERRUPTED
    if code == 0:
        if dashboard:
            dashboard.keep_through_exec()
        _become_demo(arguments)
    return code or 1


def _become_demo(arguments: list[str]) -> NoReturn:
    os.environ.pop("PYTHONPATH", None)  # which was for this process
    python = str(_CLONE / ".venv" / "bin" / "python")
    os.execv(python, [python, "-m", "local.demo", *arguments])  # noqa: S606 - no shell is needed


def _build_dashboard() -> Process:
    """Start the build, which ends with the demo at the latest; the demo's own build waits for it.

    With a low priority: the first event needs what is done beside it, and not the dashboard.
    """
    command = ["nice", "-n", "10", sys.executable, "-m", "local.demo.dashboard_build"]
    return Process("dashboard", command, log=_CLONE / "build" / "dashboard.log", env=os.environ, cwd=_CLONE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
