"""Builds ``build/flink.zip``: the job for Amazon Managed Service for Apache Flink, with its connector and packages.

``python -m scripts.build.flink_package --jar FILE [--flows FILE] [--sources FILE] [--python-version 3.12]``. The jar is
``flink-sql-connector-kafka-5.0.0-2.2.jar``, which ``make flink`` downloads and checks. The service has PyFlink; the
package has helios, and of the locks what the job needs beside it. The same inputs give the same bytes.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Collection
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "build/flink.zip"
PLATFORM = "x86_64-manylinux_2_28"
"""The service's machines, in uv's spelling."""

LOCKED = {
    "flink.lock": ("msgspec",),
    "requirements.lock": ("boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3"),
}
"""The packages of the job, by lock: boto3 reads the password of the log."""

MAIN = """from pathlib import Path

from helios.flink.managed import main

main(Path(__file__).parent)
"""

_MOMENT = (1980, 1, 1, 0, 0, 0)
"""The time of every file in the zip: the earliest that the format has."""


def pinned(lock: str, names: Collection[str]) -> str:
    """The requirements of some packages in a lock, with their hashes.

    Raises:
        ValueError: the lock lacks one of them.
    """
    blocks: dict[str, list[str]] = {}
    name = ""
    for line in lock.splitlines():
        if match := re.match(r"([a-zA-Z0-9_.-]+)==", line):
            name = match[1].lower()
        if name:
            blocks.setdefault(name, []).append(line)
        if not line.endswith("\\"):
            name = ""
    if missing := sorted(set(names) - blocks.keys()):
        raise ValueError(f"the lock lacks {', '.join(missing)}")
    return "".join(f"{line}\n" for wanted in sorted(names) for line in blocks[wanted])


def install(folder: Path, *, python_version: str) -> None:
    """Install the packages of the job into a folder."""
    requirements = "".join(pinned((ROOT / lock).read_text(), names) for lock, names in LOCKED.items())
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(requirements)
        file.flush()
        command = ["-m", "uv", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
        target = ["--python-version", python_version, "--python-platform", PLATFORM, "--target", str(folder)]
        subprocess.run([sys.executable, *command, *target, "--requirement", file.name], check=True)


def files_of(jar: Path, packages: Path, declarations: Collection[tuple[str, Path]]) -> dict[str, bytes]:
    """What the zip has, by path."""
    helios = ROOT / "shared/helios"
    content = {"main.py": MAIN.encode(), f"lib/{jar.name}": jar.read_bytes()}
    content |= {name: file.read_bytes() for name, file in declarations}
    for folder, prefix in ((helios, "packages/helios"), (packages, "packages")):
        for file in sorted(folder.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                content[f"{prefix}/{file.relative_to(folder)}"] = file.read_bytes()
    return content


def write(content: dict[str, bytes], target: Path) -> None:
    """Write the zip."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as package:
        for name in sorted(content):
            package.writestr(zipfile.ZipInfo(name, _MOMENT), content[name], zipfile.ZIP_DEFLATED)


def main() -> None:
    """Build the package that the options describe."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--jar", type=Path, required=True, help="the Kafka connector")
    parser.add_argument("--flows", type=Path, help="declared flows; by default those that Helios ships")
    parser.add_argument("--sources", type=Path, help="declared sources")
    parser.add_argument("--python-version", default="3.12", help="Python of the service (default: %(default)s)")
    options = parser.parse_args()
    named = (("flows.toml", options.flows), ("sources.toml", options.sources))
    with tempfile.TemporaryDirectory() as folder:
        install(Path(folder), python_version=options.python_version)
        write(files_of(options.jar, Path(folder), [(name, file) for name, file in named if file]), PACKAGE)
    sys.stdout.write(f"{PACKAGE.relative_to(ROOT)}  {PACKAGE.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
