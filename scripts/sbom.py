"""``python -m scripts.sbom``: beside each built zip a list of what is in it, as CycloneDX 1.6 JSON.

The tool reads what the zip was built from, the function's hash-pinned requirements, and the same requirements give the
same bytes.
"""

import subprocess
import sys
from pathlib import Path

from scripts.audit import LOCK
from scripts.package import BUILD, functions
from scripts.tools import install


def write(name: str, folder: Path, target: Path) -> Path:
    """Write the bill of materials of one function, and return its file.

    Raises:
        subprocess.CalledProcessError: the tool failed; what went wrong is on standard error.
    """
    file = target / f"{name}.cdx.json"
    options = ["--output-reproducible", "--output-format", "JSON", "--spec-version", "1.6", "--output-file", str(file)]
    tool = install(LOCK) / "cyclonedx-py"
    subprocess.run([str(tool), "requirements", str(folder / "requirements.txt"), *options], check=True)
    return file


def main() -> int:
    """Write one for every function."""
    BUILD.mkdir(exist_ok=True)
    for name, folder in functions().items():
        print(write(name, folder, BUILD).name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
