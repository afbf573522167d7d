"""Builds one zip per cloud function: the helios wheel, the function's own code and its hash-pinned requirements.

``python -m scripts.build.package [--native | --architecture arm64] [NAME ...]``. Every folder below ``functions/`` that
has a ``requirements.txt`` is a function; ``functions/aws/ingest`` is called ``aws-ingest`` and becomes
``build/aws-ingest.zip``. The same inputs give the same bytes, so an unchanged function is not deployed again.
The module ``scripts.build.layouts`` defines the layout of each cloud's zips. A module that several functions of one
cloud share, such as ``functions/aws/_common.py``, is in the zip of each of them, under the same path as here.

A zip with requirements also contains their bytecode. A function's folder is read-only, so each cold start would
otherwise compile every module again, which takes three times as long as to import it.
"""

import argparse
import fcntl
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Column, Table

from scripts.build import layouts
from scripts.build.layouts import MEBIBYTE, Layout, layout_of

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
NATIVE = BUILD / "native"
"""The folder of the packages for this machine."""


class Target(NamedTuple):
    """A platform to build for.

    Attributes:
        platform: the platform of compiled modules, in uv's spelling.
        python: the version of Python.
        folder: the folder of its packages.
    """

    platform: str
    python: str
    folder: Path


TARGETS = {
    "x86_64": Target("x86_64-manylinux2014", "3.11", BUILD),
    # AWS Lambda Developer Guide, "Building Lambda functions with Python": up to Python 3.11 Lambda runs Amazon Linux 2,
    # whose C library is older than the one that psycopg's wheels for this architecture need.
    "arm64": Target("aarch64-manylinux_2_28", "3.12", BUILD / "arm64"),
}
"""The targets by AWS' name of the architecture; the other clouds have the first one only."""

_FUNCTIONS = ROOT / "functions"
_INSTALL_NOTES = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", ".lock"}
"""Files that installers write next to a package: they contain local paths and hashes of files that are left out."""
_NOT_CODE = {"requirements.in", "requirements.txt", "__init__.py"}
"""Files of a function's folder that its zip omits; a cloud that installs the requirements gets them separately."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can store."""


class Package(NamedTuple):
    """A built zip.

    Attributes:
        name: ``aws-ingest``.
        path: the zip.
        zipped: its size in bytes.
        unzipped: the size of its contents in bytes.
        layout: the requirements of its cloud.
        fresh: whether it was built now; False when it was up to date.
    """

    name: str
    path: Path
    zipped: int
    unzipped: int
    layout: Layout
    fresh: bool

    @property
    def fits(self) -> bool:
        """Whether it is within the size limits of its cloud."""
        return self.zipped <= self.layout.max_zipped and self.unzipped <= self.layout.max_unzipped


def functions() -> dict[str, Path]:
    """The folder of every function by its name."""
    folders = sorted(file.parent for file in _FUNCTIONS.rglob("requirements.txt"))
    return {"-".join(folder.relative_to(_FUNCTIONS).parts): folder for folder in folders}


def build(name: str, *, native: bool, architecture: str = "x86_64") -> Package:
    """Build one function's zip, unless it is up to date.

    Args:
        name: a key of ``functions()``.
        native: build for this machine's platform and Python, into ``NATIVE``, instead of for the cloud.
        architecture: a key of ``TARGETS``; ignored for a native package.

    Raises:
        subprocess.CalledProcessError: a requirement could not be installed; uv has printed the reason.
    """
    machine = None if native else TARGETS[architecture]
    target = (machine.folder if machine else NATIVE) / f"{name}.zip"
    stamp = target.with_suffix(".inputs")
    inputs = _digest(functions()[name], machine)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two demos, or the workers of a test run, may build at the same time
        fresh = not target.exists() or not stamp.exists() or stamp.read_text() != inputs
        if fresh:
            with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
                contents, archive = Path(scratch) / "contents", Path(scratch) / target.name
                _collect(functions()[name], contents, layout_of(name), machine)
                _zip(contents, archive, level=1 if native else 9)
                stamp.unlink(missing_ok=True)
                archive.replace(target)
            stamp.write_text(inputs)
    with zipfile.ZipFile(target) as archive_file:
        unzipped = sum(entry.file_size for entry in archive_file.infolist())
    return Package(name, target, target.stat().st_size, unzipped, layout_of(name), fresh)


def build_all(names: Collection[str], *, native: bool, architecture: str = "x86_64") -> list[Package]:
    """Build several packages, one per CPU core at a time; the arguments are those of ``build``."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(partial(build, native=native, architecture=architecture), names))


def _digest(folder: Path, machine: Target | None) -> str:
    """A digest of everything that the zip depends on."""
    digest = hashlib.sha256()
    wheel = [
        *_files(ROOT / "shared/helios"),
        ROOT / "pyproject.toml",
        ROOT / "README.md",
        *sorted(ROOT.glob("LICENSE*")),
    ]
    for file in (*_files(folder), *_shared_by(folder), *wheel, Path(__file__), Path(layouts.__file__)):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(ROOT)} {len(content)}\n".encode())
        digest.update(content)
    cloud = f"{machine and machine[:2]} {_bytecode_for(machine)}"
    digest.update((cloud if machine else f"{sys.version} {platform.platform()}").encode())
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """Every file below the folder except caches, in a fixed order."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            yield file


def _shared_by(folder: Path) -> list[Path]:
    """The modules beside the function's folder that it may import, and the package that contains them."""
    cloud = folder.parent
    modules = sorted(cloud.glob("*.py")) if cloud != _FUNCTIONS else []
    return [_FUNCTIONS / "__init__.py", *modules] if modules else []


def _bytecode_for(machine: Target | None) -> bool:
    """Whether the bytecode of this Python works where the package will run."""
    return machine is None or f"{sys.version_info.major}.{sys.version_info.minor}" == machine.python


def _collect(folder: Path, target: Path, layout: Layout, machine: Target | None) -> None:
    """Copy the requirements, the helios package and the function's own files into the layout's folders."""
    where = ["--python", sys.executable]
    if machine:
        where = ["--python-platform", machine.platform, "--python-version", machine.python, "--only-binary", ":all:"]
    packages = target / layout.packages
    install = ["pip", "install", "--quiet", "--target", str(packages), "--no-deps", *where]
    if layout.vendored:
        _uv(*install, "--require-hashes", "--requirement", str(folder / "requirements.txt"))
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        _uv(*install, str(_wheel(Path(scratch))))
    for file in _files(folder):
        if file.name not in _NOT_CODE:
            copy = target / file.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    for file in _shared_by(folder):
        copy = target / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    shutil.rmtree(packages / "bin", ignore_errors=True)  # command-line programs, which no function calls
    for leftover in list(target.rglob("__pycache__")):  # uv's settings may enable compilation
        shutil.rmtree(leftover)
    if not layout.vendored:
        shutil.copyfile(folder / "requirements.txt", target / "requirements.txt")
    elif _bytecode_for(machine):
        _compile(target, layout)


def _compile(folder: Path, layout: Layout) -> None:
    """Write bytecode next to every module, with the same bytes each time.

    The bytecode is never compared with its source (PEP 552, "unchecked"): a zip stores no exact modification times, so
    bytecode that is checked by time would always be stale. Python sets the path of a module when it loads it.
    """
    how = ["-q", "--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", layout.runs_in]
    subprocess.run([sys.executable, "-I", "-m", "compileall", *how, str(folder)], check=True)


def _wheel(folder: Path) -> Path:
    """Build the helios wheel into this folder, and return its path."""
    build = ["build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable]
    _uv(*build, "--out-dir", str(folder), str(ROOT))
    return next(folder.glob("*.whl"))


def _uv(*arguments: str) -> None:
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    subprocess.run([uv, *arguments], check=True, env={**os.environ, "UV_LINK_MODE": "copy"})


def _zip(folder: Path, archive: Path, *, level: int) -> None:
    """Zip a folder with a fixed order, times and modes, without files that a function never reads."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as out:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = file.relative_to(folder)
            if file.name in _INSTALL_NOTES or file.suffix == ".pyi":
                continue
            entry = zipfile.ZipInfo(name.as_posix(), _EPOCH)
            entry.create_system = 3  # Unix, so that the modes are used
            mode = 0o755 if file.stat().st_mode & stat.S_IXUSR else 0o644
            entry.external_attr = (stat.S_IFREG | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            out.writestr(entry, file.read_bytes(), compresslevel=level)


def _show(packages: Sequence[Package]) -> None:
    table = Table(Column("package", no_wrap=True), "zipped", "limit", "unzipped", "limit", "")
    for package in packages:
        layout = package.layout
        table.add_row(
            str(package.path.relative_to(ROOT)),
            f"{package.zipped / 1e6:.1f} MB",
            f"{package.zipped / layout.max_zipped:.0%} of {layout.max_zipped / MEBIBYTE:.0f} MiB",
            f"{package.unzipped / 1e6:.1f} MB",
            f"{package.unzipped / layout.max_unzipped:.0%} of {layout.max_unzipped / MEBIBYTE:.0f} MiB",
            "built" if package.fresh else "up to date",
        )
    Console().print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the packages, show their sizes, and return 1 if a package exceeds the limits of its cloud."""
    known = functions()
    parser = argparse.ArgumentParser(prog="package", description="Build the zips of the cloud functions.")
    machine = parser.add_mutually_exclusive_group()
    machine.add_argument("--native", action="store_true", help="build for this machine instead of the clouds")
    machine.add_argument(
        "--architecture",
        choices=TARGETS,
        default="x86_64",
        help="architecture of Lambda; arm64 packages are written to build/arm64",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(known)}; all by default")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - known.keys():
        parser.error(f"no such function: {', '.join(sorted(unknown))}; known functions: {', '.join(known)}")
    names = options.names or known
    if options.architecture != "x86_64":
        names = [name for name in names if name.startswith("aws-")]
    try:
        packages = build_all(names, native=options.native, architecture=options.architecture)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"package: {' '.join(map(str, error.cmd))} failed, see above\n")
        return 1
    _show(packages)
    target = None if options.native else TARGETS[options.architecture]
    if target and not _bytecode_for(target):
        sys.stdout.write(
            f"The packages have no bytecode and start more slowly. Build with the cloud's Python, {target.python}.\n"
        )
    return int(not all(package.fits for package in packages))


if __name__ == "__main__":
    sys.exit(main())
