"""``python -m scripts.build.sbom``: bills of materials of each built zip and of the dashboard, as CycloneDX JSON.

The tools read what they were built from, the hash-pinned requirements and npm's lock file, and the same give the same
bytes.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.build.audit import LOCK
from scripts.build.package import BUILD, functions
from scripts.build.tools import ROOT, install

DASHBOARD = ROOT / "dashboard"


def write(name: str, folder: Path, target: Path) -> Path:
    """Write the bill of materials of one function, and return its file.

    Raises:
        subprocess.CalledProcessError: the tool failed; what went wrong is on standard error.
    """
    file = target / f"{name}.cdx.json"
    options = ["--output-reproducible", "--output-format", "JSON", "--spec-version", "1.6", "--output-file", str(file)]
    tool = install(LOCK) / "cyclonedx-py"
    # The tool warns that the file has no graph of dependencies: a lock file has none.
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    helios = ["--pyproject", str(ROOT / "pyproject.toml")]
    requirements = str(folder / "requirements.txt")
    subprocess.run([str(tool), "requirements", requirements, *helios, *options], check=True, env=environment)
    return file


def write_dashboard(target: Path) -> Path:
    """Write that of the dashboard, without what only builds it, and return its file.

    Raises:
        FileNotFoundError: there is no npm; the message says what to install.
        subprocess.CalledProcessError: npm failed; what went wrong is on standard error.
    """
    options = ["--package-lock-only", "--sbom-format", "cyclonedx", "--sbom-type", "application"]
    with tempfile.TemporaryDirectory() as folder:
        _without_tools(Path(folder))
        made = subprocess.run([_npm(), "sbom", *options], cwd=folder, check=True, stdout=subprocess.PIPE)
    bill = json.loads(made.stdout)
    del bill["serialNumber"], bill["metadata"]["timestamp"]  # else each is another
    bill["metadata"]["component"]["name"] = "helios-dashboard"  # not the folder
    file = target / "dashboard.cdx.json"
    file.write_text(json.dumps(bill, indent=2) + "\n")
    return file


def _without_tools(folder: Path) -> None:
    """Write what npm reads there, without what only builds or tests the dashboard.

    npm's own ``--omit dev`` leaves React out as well, since tools ask for it too.
    """
    wanted = json.loads((DASHBOARD / "package.json").read_text())
    lock = json.loads((DASHBOARD / "package-lock.json").read_text())
    for root in (wanted, lock["packages"][""]):
        del root["devDependencies"]
    lock["packages"] = {path: one for path, one in lock["packages"].items() if not one.get("dev")}
    (folder / "package.json").write_text(json.dumps(wanted))
    (folder / "package-lock.json").write_text(json.dumps(lock))


def _npm() -> str:
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is missing: it lists what is in the dashboard; Node.js 20.19 or newer, nodejs.org")
    return npm


def main() -> int:
    """Write one for every function, and one for the dashboard."""
    BUILD.mkdir(exist_ok=True)
    for name, folder in functions().items():
        print(write(name, folder, BUILD).name)
    print(write_dashboard(BUILD).name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
