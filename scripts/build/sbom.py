"""``python -m scripts.build.sbom [--traces]``: bills of materials of each zip and of the dashboard, as CycloneDX JSON.

The tools read the hash-pinned requirements and npm's lock file. The same input gives the same bytes. ``--traces`` lists
what ``scripts.build.package --traces`` adds to each zip, too.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.build.audit import LOCK
from scripts.build.package import BUILD, names, requirements_of
from scripts.build.tools import ROOT, install

DASHBOARD = ROOT / "dashboard"


def write(name: str, target: Path, *, traces: bool = False) -> Path:
    """Write the bill of materials of one zip, and return its file.

    Args:
        name: one of ``names()``.
        target: the folder of the file.
        traces: whether the zip has what HELIOS_OTLP_URL requires.

    Raises:
        subprocess.CalledProcessError: the tool failed; the reason is on standard error.
    """
    file = target / f"{name}.cdx.json"
    options = ["--output-reproducible", "--output-format", "JSON", "--spec-version", "1.6", "--output-file", str(file)]
    tool = install(LOCK) / "cyclonedx-py"
    # The tool warns that the result has no dependency graph, which a lock file does not contain.
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    helios = ["--pyproject", str(ROOT / "pyproject.toml")]
    requirements = requirements_of(name, traces=traces)
    command = [str(tool), "requirements", "-", *helios, *options]
    subprocess.run(command, input=requirements, text=True, check=True, env=environment)
    return file


def write_dashboard(target: Path) -> Path:
    """Write the bill of materials of the dashboard, without build tools, and return its file.

    Raises:
        FileNotFoundError: npm is missing; the message names what to install.
        subprocess.CalledProcessError: npm failed; the reason is on standard error.
    """
    options = ["--package-lock-only", "--sbom-format", "cyclonedx", "--sbom-type", "application"]
    with tempfile.TemporaryDirectory() as folder:
        _without_tools(Path(folder))
        done = subprocess.run([_npm(), "sbom", *options], cwd=folder, check=True, stdout=subprocess.PIPE)
    bill = json.loads(done.stdout)
    del bill["serialNumber"], bill["metadata"]["timestamp"]  # they differ in each run
    bill["metadata"]["component"]["name"] = "helios-dashboard"  # instead of the folder's name
    file = target / "dashboard.cdx.json"
    file.write_text(json.dumps(bill, indent=2) + "\n")
    return file


def _without_tools(folder: Path) -> None:
    """Write package.json and its lock file to the folder, without the packages that build or test the dashboard.

    npm's own ``--omit dev`` also omits React, because tools depend on it too.
    """
    manifest = json.loads((DASHBOARD / "package.json").read_text())
    lock = json.loads((DASHBOARD / "package-lock.json").read_text())
    for root in (manifest, lock["packages"][""]):
        del root["devDependencies"]
    lock["packages"] = {path: package for path, package in lock["packages"].items() if not package.get("dev")}
    (folder / "package.json").write_text(json.dumps(manifest))
    (folder / "package-lock.json").write_text(json.dumps(lock))


def _npm() -> str:
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is missing; install Node.js 20.19 or newer from nodejs.org")
    return npm


def main() -> int:
    """Write the bill of materials of every zip and of the dashboard."""
    parser = argparse.ArgumentParser(prog="scripts.build.sbom", description="Write the bills of materials.")
    parser.add_argument("--traces", action="store_true", help="list the packages that HELIOS_OTLP_URL requires, too")
    options = parser.parse_args()
    BUILD.mkdir(exist_ok=True)
    for name in names():
        print(write(name, BUILD, traces=options.traces).name)
    print(write_dashboard(BUILD).name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
